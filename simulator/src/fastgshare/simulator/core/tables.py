"""A complete throughput table from a speed curve, so that what was only ever fitted can be simulated and planned with.

A batch takes what the curve says, scattered as little as `spread` tells; a closed loop of batches on a quota gets that
share of the time: throughput = quota * batch / time.
"""

from collections.abc import Iterable

from fastgshare.node_manager.core.speed import WHOLE_PERCENT, SpeedCurve
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ProfileAxes, ProfileState, SurfacePoint
from fastgshare.shared.units import US_PER_S

QUOTAS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
BATCHES = (1, 2, 4, 8)
SPREAD = 1.05
"""The 95th percentile of a batch's time over its mean: what sim devices and quiet GPUs show at most."""


def profile_of(
    curve: SpeedCurve,
    digest: Digest,
    kind: str,
    chunks: int,
    batches: Iterable[int] = BATCHES,
    quotas: Iterable[float] = QUOTAS,
    spread: float = SPREAD,
) -> Profile:
    """The table of a model of this curve on a device of `chunks` chunks, at every number of chunks.

    Widths are the whole percents that take so many chunks when rounded up; where two take the same, the larger.

    Raises:
        ValueError: no chunk, no batch, no quota, or a spread below 1.
    """
    sizes, shares = sorted(set(batches)), sorted(set(quotas))
    if chunks < 1 or not sizes or not shares or spread < 1:
        raise ValueError(
            f"chunks {chunks}, batches {sizes}, quotas {shares}, spread {spread}: expected at least one of each"
        )
    widths = sorted({WHOLE_PERCENT * held // chunks for held in range(1, chunks + 1)} - {0})
    surface = [
        _point(width, quota, batch, curve.batch_us(width, batch), spread)
        for width in widths
        for quota in shares
        for batch in sizes
    ]
    return Profile(
        model_digest=digest,
        device_kind=kind,
        state=ProfileState.COMPLETE,
        axes=ProfileAxes(sm_partitions=tuple(widths), quotas=tuple(shares), batches=tuple(sizes)),
        surface=tuple(surface),
        is_grid=True,
        source="a speed curve",
        max_batch=sizes[-1],
    )


def _point(width: int, quota: float, batch: int, device_us: int, spread: float) -> SurfacePoint:
    return SurfacePoint(
        sm_partition=width,
        quota=quota,
        batch=batch,
        throughput_rps=quota * batch * US_PER_S / device_us,
        throughput_error=0.0,
        device_us=device_us,
        device_p95_us=round(device_us * spread),
        measured=True,
    )
