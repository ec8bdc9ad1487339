"""One example of every message, and its payload as it was first committed: what was once sent must decode for ever.

`python -m tests.shared.golden_payloads` writes the payloads that are missing, and never touches one that is there. A
message that gained a field keeps its old example and payload, and gets a further example that sets the field. The
examples of a message stand in the module that bears the name of the message's own.
"""

from pathlib import Path

import msgspec

from tests.shared.golden_payloads import (
    events,
    fleet,
    functions,
    infer,
    jobs,
    keys,
    leases,
    load,
    profile,
    reports,
    traces,
    usage,
)

DIRECTORY = Path(__file__).parents[1] / "golden"
EXAMPLES: dict[str, msgspec.Struct] = {
    **events.EXAMPLES,
    **fleet.EXAMPLES,
    **functions.EXAMPLES,
    **infer.EXAMPLES,
    **jobs.EXAMPLES,
    **keys.EXAMPLES,
    **leases.EXAMPLES,
    **load.EXAMPLES,
    **profile.EXAMPLES,
    **reports.EXAMPLES,
    **traces.EXAMPLES,
    **usage.EXAMPLES,
}


def path_of(name: str) -> Path:
    """Where an example's payload lies."""
    return DIRECTORY / f"{name}.bin"
