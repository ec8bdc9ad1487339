"""Ways of scaling a function, by name; `fastgshare.shared.functions.POLICIES` is what may stand in a definition."""

from fastgshare.scheduler.core.policies.exclusive import Exclusive
from fastgshare.scheduler.core.policies.fixed import Fixed
from fastgshare.scheduler.core.policies.objective import Objective
from fastgshare.scheduler.core.policies.paper import Paper
from fastgshare.scheduler.core.policies.port import Policy
from fastgshare.scheduler.core.policies.time_sharing import TimeSharing

FIXED: Policy = Fixed()
_ALL: tuple[Policy, ...] = (FIXED, Objective(), Paper(), TimeSharing(), Exclusive())
POLICIES = {policy.name: policy for policy in _ALL}


def policy_named(name: str) -> Policy:
    """The policy of this name; of one that is not known, as a later version may write it, the fixed one."""
    return POLICIES.get(name, FIXED)
