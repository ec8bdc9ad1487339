"""New shares of time for a function that is deployed. Pure."""

from msgspec.structs import replace

from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.functions import keeps_slice
from fastgshare.shared.messages import FunctionSpec


def with_quotas(spec: FunctionSpec, request: float | None, limit: float | None) -> FunctionSpec:
    """`spec` with what is given, the rest as it was. Raises InvalidSpec for what makes no sense with that rest."""
    held = spec.slice
    chooser = spec.autoscale.policy if spec.autoscale is not None and not keeps_slice(spec) else ""
    if chooser and request is not None:
        told = f"quota_request is the scheduler's to choose under policy {chooser}"
        raise InvalidSpec([f"{told}: give a number of replicas, or policy: fixed, to set it"])
    if request is None and limit is not None and 0 < limit < held.quota_request:
        if not chooser:
            told = f"quota_limit {limit:g} is less than the {held.quota_request:g} that is promised as quota_request"
            raise InvalidSpec([f"{told}: lower both, as with --quota-request {limit:g} --quota-limit {limit:g}"])
        request = limit  # the scheduler's to choose, so what stands there is nobody's wish
    if limit is None and request is not None and held.quota_limit < request <= 1:
        told = f"quota_request {request:g} is more than quota_limit allows, which is {held.quota_limit:g}"
        raise InvalidSpec([f"{told}: raise both, as with --quota-request {request:g} --quota-limit {request:g}"])
    return replace(
        spec,
        slice=replace(
            held,
            quota_request=held.quota_request if request is None else request,
            quota_limit=held.quota_limit if limit is None else limit,
        ),
    )
