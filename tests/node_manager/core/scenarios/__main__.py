"""Writes the transcripts of all scenarios anew: `python -m tests.node_manager.core.scenarios`, then read the diff."""

from tests.node_manager.core.scenarios.scenario import SCENARIOS, read, transcript

for path in SCENARIOS:
    path.with_suffix(".transcript").write_text(transcript(read(path.read_text())))
