"""What the scheduler last said about an objective that cannot be met: told once, and taken back once it can."""

from fastgshare.client.logs import last_kept
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.functions import keeps_slice
from fastgshare.shared.messages import FunctionSpec

TOLD, TAKEN_BACK = "objective_infeasible", "objective_feasible"


async def why_infeasible(bus: Bus, spec: FunctionSpec) -> str:
    """Why the function's objective is missed whatever it is given; empty if it is not, or that cannot be had."""
    if keeps_slice(spec):
        return ""
    try:
        told = await last_kept(bus, spec.name, TOLD)
        taken_back = await last_kept(bus, spec.name, TAKEN_BACK) if told is not None else None
    except StorageUnavailable:
        return ""
    if told is None or (taken_back is not None and taken_back.position > told.position):
        return ""
    return told.event.text
