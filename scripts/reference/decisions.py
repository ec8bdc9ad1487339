"""The page that lists the decisions, from their own headings."""

from pathlib import Path

DECISIONS = Path(__file__).resolve().parents[2] / "docs" / "decisions"
FIGURES = """\
## Benchmarks

[Overhead](../figures/overhead.md), [slices](../figures/quota.md), [tables](../figures/profiler.md), [scheduling](../figures/scheduler.md),
[on a GPU](../figures/gpu_check.md): what each measures, and how. Their figures stand in the repository's `README.md`.
"""


def page() -> str:
    """A line a decision."""
    found = sorted(DECISIONS.glob("[0-9]*.md"))
    lines = [f"- [{_heading(file)}]({file.name})" for file in found]
    intro = "Why something is as it is, with the measurements that decided."
    return "\n".join(["# Decisions and figures", "", intro, "", *lines, "", FIGURES])


def _heading(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        return opened.readline().lstrip("# ").strip()
