"""What no scheduler can do anything about: objectives below the quickest batch, replicas larger than any device."""

from collections.abc import Iterator, Mapping, Sequence

from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile
from fastgshare.shared.units import ms_to_us, us_to_ms
from fastgshare.simulator.core.run import FunctionPlan, Run


def impossible_in(run: Run) -> dict[str, str]:
    """By function, why it can never meet its objective on this fleet; the others are not concerned."""
    found = {}
    for function in run.functions:
        reasons = list(_reasons(function, run))
        if reasons:
            found[str(function.spec.name)] = "; ".join(reasons)
    return found


def _reasons(function: FunctionPlan, run: Run) -> Iterator[str]:
    spec = function.spec
    largest_mib = max(device.memory_mib for device in run.devices)
    if spec.slice.gpu_mem_mib > largest_mib:
        yield (
            f"a replica takes {spec.slice.gpu_mem_mib} MiB, larger than any device: expected at most {largest_mib} MiB"
        )
    quickest_us = _quickest_us(run.tables, spec.model.digest, sorted({device.kind for device in run.devices}))
    way_us = 2 * (run.hops.client_us + run.hops.worker_us)
    if quickest_us is not None and quickest_us + way_us > ms_to_us(spec.slo_ms):
        yield (
            f"the objective of {spec.slo_ms:g} ms is impossible: one input takes {us_to_ms(quickest_us):.1f} ms "
            f"at least, alone on the best slice of a device, and {us_to_ms(way_us):.1f} ms on the way"
        )


def _quickest_us(tables: Mapping[tuple[Digest, str], Profile], digest: Digest, kinds: Sequence[str]) -> int | None:
    """The least device time of a batch on any slice of any kind; None where that is not known of all kinds."""
    known = [tables.get((digest, kind)) for kind in kinds]
    times = [min(point.device_us for point in table.surface) for table in known if table is not None and table.surface]
    return min(times) if times and len(times) == len(kinds) else None
