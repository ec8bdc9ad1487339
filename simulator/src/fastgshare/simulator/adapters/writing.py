"""Outcomes and reports into a directory. What an earlier run of ours wrote there is removed first."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from fastgshare.shared.errors import FastGShareError
from fastgshare.simulator.adapters.report import drawing, page
from fastgshare.simulator.core.figures import simulated
from fastgshare.simulator.core.outcome import Outcome
from fastgshare.simulator.core.scenario.definition import Scenario


class PlaceUnwritable(FastGShareError):
    """A file cannot be written: fields `path`, `reason`."""

    def __str__(self) -> str:
        return f"{self.fields['path']}: cannot write it: {self.fields['reason']}"


class PlaceUnusable(FastGShareError):
    """There cannot be a directory for a report: fields `path`, `reason`."""

    def __str__(self) -> str:
        return f"--out {self.fields['path']}: cannot make it: {self.fields['reason']}"


OURS = ("outcome-*.json", "figures.json", "report.md", "report.html")
PICTURES = ("cost", "devices", "use", "attainment", "latency", "replicas-*", "rectangles-*", "packing-*")


def prepare(directory: Path) -> None:
    """Make the directory before anything is simulated for it, without what an earlier run of ours wrote there.

    Only where there is an earlier run's `figures.json`, and only files of our names. Raises PlaceUnusable.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "figures.json").is_file():
            return
        for pattern in (*OURS, *(f"{name}.png" for name in PICTURES)):
            for path in directory.glob(pattern):
                if path.is_file():
                    path.unlink()
    except OSError as error:
        raise PlaceUnusable(path=directory, reason=error.strerror) from error


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
