"""Outcomes and reports into a directory. What was there of an earlier run under the same names is written over."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from fastgshare.shared.errors import FastGShareError, InvalidSpec
from fastgshare.simulator.adapters.report import drawing, page
from fastgshare.simulator.core.figures import simulated
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.definition import Scenario


class PlaceUnwritable(FastGShareError):
    """A file cannot be written: fields `path`, `reason`."""

    def __str__(self) -> str:
        return f"{self.fields['path']}: cannot write it: {self.fields['reason']}"


def prepare(directory: Path) -> None:
    """Make the directory before anything is simulated for it. Raises InvalidSpec."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSpec([f"{directory}: cannot make it: {error.strerror}"]) from error


def write_outcome(directory: Path, policy: str, outcome: Outcome) -> Path:
    """All that is known of one policy, as JSON. Raises PlaceUnwritable."""
    return _write(directory / f"outcome-{policy}.json", msgspec.json.encode(outcome) + b"\n")


def write_report(directory: Path, scenario: Scenario, outcomes: Mapping[str, Outcome], notes: tuple[str, ...]) -> Path:
    """Figures, pictures where matplotlib is installed, and two pages with both. Gives the page to open."""
    figures = [simulated(policy, outcome) for policy, outcome in outcomes.items()]
    _write(directory / "figures.json", msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    pictures = dict(drawing.pictures(outcomes)) if drawing.can_draw() else {}
    for name, png in pictures.items():
        _write(directory / name, png)
    content = page.Content(scenario, outcomes, figures, notes, tuple(pictures))
    _write(directory / "report.md", page.markdown(content).encode())
    return _write(directory / "report.html", page.html(content, pictures).encode())


def _write(path: Path, content: bytes) -> Path:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise PlaceUnwritable(path=path, reason=error.strerror) from error
    return path
