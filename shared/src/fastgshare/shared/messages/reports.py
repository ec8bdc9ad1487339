"""What gateways tell of requests, for people and metrics: counts since the gateway started, so that none is lost."""

import msgspec

from fastgshare.shared.ids import FunctionName, GatewayId


class Histogram(msgspec.Struct, frozen=True, array_like=True):
    """Durations by bucket of `fastgshare.shared.histograms.BOUNDS_US`, and their sum in microseconds."""

    counts: tuple[int, ...]
    sum_us: int = 0


class FunctionReport(msgspec.Struct, frozen=True, kw_only=True):
    """One function at one gateway.

    `met` were answered within the objective, `missed` were not: too late, or refused or failed by no fault of the
    caller's. `refused` counts by error code every request that ended without an answer here, those that `failed` on
    their replica among them, and as `handed_back` those that another gateway was to take. `whole` is from arrival to
    answer, of those answered; `stages` are its parts (`route`, `queue`, `token`, `handler`, `execute`). `batches`
    counts executed batches by rows.
    """

    arrived: int = 0
    answered: int = 0
    met: int = 0
    missed: int = 0
    failed: int = 0
    refused: dict[str, int] = {}
    whole: Histogram | None = None
    stages: dict[str, Histogram] = {}
    batches: dict[int, float] = {}
    outstanding: int = 0
    held: int = 0


class SlotCount(msgspec.Struct, frozen=True, array_like=True):
    """Requests that met and that missed the objective in one of a window's slots, `ago` slots before the newest."""

    ago: int
    met: int
    missed: int


class PastTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """What one gateway has seen of the requests at all of them: by function and window, the slots that had any.

    Where there are many functions there are several messages.
    """

    gateway: GatewayId
    functions: dict[FunctionName, dict[str, tuple[SlotCount, ...]]]
    version: int = 1


class GatewayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of requests at one gateway, by function that it has seen traffic for."""

    gateway: GatewayId
    incarnation: str
    at_us: int
    functions: dict[FunctionName, FunctionReport]
    version: int = 1
