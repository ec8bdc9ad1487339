"""Scenarios: one for each rule of the tokens, and what comes of it, reviewed as text."""

from pathlib import Path

import pytest

from tests.node_manager.core.scenarios.scenario import SCENARIOS, read, transcript


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_what_comes_of_a_scenario_is_what_was_reviewed(path: Path) -> None:
    reviewed = path.with_suffix(".transcript").read_text()
    assert transcript(read(path.read_text())) == reviewed, "if meant: python -m tests.node_manager.core.scenarios"


def test_there_is_no_transcript_without_its_scenario() -> None:
    folder = SCENARIOS[0].parent
    assert {path.stem for path in folder.glob("*.transcript")} == {path.stem for path in SCENARIOS}


def test_a_line_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="cannot read '5 frobnicate a'"):
        read("device 1 chunk, window 100\n5 frobnicate a")
