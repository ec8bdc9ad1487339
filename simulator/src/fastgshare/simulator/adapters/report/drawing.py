"""The pictures of a report as PNG. matplotlib is an extra, imported only where something is drawn."""

import importlib.util
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fastgshare.simulator.adapters.report import bars, held, overtime
from fastgshare.simulator.core.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "pictures need matplotlib, which is not installed: pip install 'fastgshare-simulator[plot]'"
DPI = 110


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def pictures(outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, bytes]]:
    """File names and contents, in the order of a report: what concerns all policies, then each policy's."""
    yield "cost.png", _png(bars.cost(outcomes))
    yield "devices.png", _png(overtime.devices(outcomes))
    yield "use.png", _png(overtime.use(outcomes))
    yield "attainment.png", _png(overtime.attainment(outcomes))
    yield "latency.png", _png(bars.latency(outcomes))
    for policy, outcome in outcomes.items():
        yield f"replicas-{policy}.png", _png(overtime.replicas(policy, outcome))
        if outcome.rectangles:
            yield f"rectangles-{policy}.png", _png(held.over_time(policy, outcome))
            yield f"packing-{policy}.png", _png(held.at_once(policy, outcome))


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
