"""What a policy makes of a function that leaves its scaling to it, and of one whose replicas are a fixed number.

A function with `autoscale` is left to the policy: its name goes into the function's definition. One with `replicas`
keeps its slices, except that a policy that shares no SMs gives each of them the whole device's: `time_sharing` for its
quota of the time, `exclusive` for all of it.
"""

from msgspec.structs import replace

from fastgshare.shared.messages import FunctionSpec

TIME_SHARING, EXCLUSIVE = "time_sharing", "exclusive"
ALL_SMS = 100


def under(policy: str, spec: FunctionSpec) -> FunctionSpec:
    """The definition as this policy gets it. A policy that the function names itself stands."""
    if spec.autoscale is not None:
        own = spec.autoscale.policy or policy
        return replace(spec, autoscale=replace(spec.autoscale, policy=own))
    if policy == TIME_SHARING:
        return replace(spec, slice=replace(spec.slice, sm_partition=ALL_SMS))
    if policy == EXCLUSIVE:
        return replace(spec, slice=replace(spec.slice, sm_partition=ALL_SMS, quota_request=1.0, quota_limit=1.0))
    return spec
