"""Scenarios to test with, as text."""

SMALL = """
devices: {gpu: v100, count: 2}
duration_s: 20
policies: [objective]
functions:
  - name: photos
    model: {curve: v100/resnet50}
    slo_ms: 150
    autoscale: {min: 1, max: 20}
    traffic: {rps: 50}
"""


def with_function(lines: str, more: str = "") -> str:
    """The small scenario with these lines as the function's keys, and more at the end."""
    kept = SMALL[: SMALL.index("    model:")]
    return kept + "".join(f"    {line}\n" for line in lines.strip().splitlines()) + more
