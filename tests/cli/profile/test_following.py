"""The bar fits beside what it tells; reasons have a line of their own; pipes get a line a reason."""

import io
from collections.abc import AsyncIterator

from rich.console import Console

from fastgshare.cli.commands.profile.following import follow, told
from fastgshare.shared.messages import ProfileProgress, ProfileState


def progress(done: int, state: ProfileState = ProfileState.MEASURING, **others: object) -> ProfileProgress:
    fields: dict[str, object] = {"function": "echo", "done": done, "planned": 18, "state": state}
    return ProfileProgress(**(fields | others))  # type: ignore[arg-type]


REPORTS = (
    progress(0, planned=0, reason="waits for 100 % of the SMs of an NVIDIA H200: traffic comes to 'ocr' there"),
    progress(0, planned=0, reason="waits for 100 % of the SMs of an NVIDIA H200: traffic comes to 'ocr' there"),
    progress(3, left_ms=127_000, error=0.3214),
    progress(18, ProfileState.COMPLETE, error=0.043),
)


async def reports(*given: ProfileProgress) -> AsyncIterator[ProfileProgress]:
    for one in given:
        yield one


async def followed(*given: ProfileProgress, is_terminal: bool) -> tuple[ProfileProgress | None, str, int]:
    out = io.StringIO()
    begun: list[None] = []
    console = Console(file=out, width=80, force_terminal=is_terminal, no_color=True, color_system=None)
    last = await follow(reports(*given), console, lambda: begun.append(None))
    return last, out.getvalue(), len(begun)


def test_time_left_and_error_are_told_where_they_are_known() -> None:
    assert told(REPORTS[0]) == ""
    assert told(REPORTS[2]) == "2 min 7 s left, error up to 32 %"
    assert told(progress(3, error=0.05)) == "error up to 5 %"


async def test_the_last_report_is_given_back_and_the_bar_stands_at_its_end() -> None:
    last, shown, begun = await followed(*REPORTS, is_terminal=True)
    assert (last, begun) == (REPORTS[-1], 1)
    steps = [line for line in shown.splitlines() if "/" in line]
    assert "0/?" in steps[0]
    assert "18/18" in steps[-1]
    assert "waits" not in shown[shown.index("18/18") :]


async def test_a_pipe_gets_each_reason_once() -> None:
    _, shown, _ = await followed(*REPORTS, is_terminal=False)
    assert " ".join(shown.split()).count("traffic comes to 'ocr' there") == 1


async def test_nothing_follows_where_nobody_reports() -> None:
    assert await followed(is_terminal=True) == (None, "", 0)
