"""The page that lists the decisions, from their own headings."""

from pathlib import Path

DECISIONS = Path(__file__).resolve().parents[2] / "docs" / "decisions"
BENCHMARKS = {
    "overhead": "beside a bare bus and FastAPI",
    "quota": "how well slices hold",
    "profiler": "how well tables are known",
    "scheduler": "objectives with the fewest devices, and the simulator",
    "telemetry": "what traces and metrics cost, and whether violations are kept",
    "gpu_check": "what a GPU confirms",
}


def page() -> str:
    """A line a decision."""
    found = sorted(DECISIONS.glob("[0-9]*.md"))
    lines = [f"- [{_heading(file)}]({file.name})" for file in found]
    intro = "Why something is as it is, with the measurements that decided."
    figures = [f"- [{name}](../figures/{name}.md): {told}" for name, told in BENCHMARKS.items()]
    about = "What each measures, and how; the figures themselves stand in the repository's `README.md`."
    return "\n".join(["# Decisions and figures", "", intro, "", *lines, "", "## Benchmarks", "", about, "", *figures])


def _heading(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        return opened.readline().lstrip("# ").strip()
