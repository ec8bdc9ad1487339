"""Maps in a terminal: they fit its width, and say all that matters without colour."""

from rich.console import Console

from fastgshare.cli.commands.profile import heat
from fastgshare.cli.commands.profile.rows import Objective, Shown, shown_rows
from fastgshare.shared.messages import Profile
from tests.cli.profile.looks import nowhere, printed
from tests.client.tables import table

OBJECTIVE = Objective(100_000, 99.0)


def drawn(profile: Profile, batch: int = 8, width: int = 80, *, is_ascii: bool = False) -> list[str]:
    return printed(lambda on: heat.draw(on, shown_rows(profile), batch, OBJECTIVE), width, is_ascii=is_ascii)


def wide(sms: int) -> list[Shown]:
    (row,) = (row for row in shown_rows(table()) if (row.sm_percent, row.quota, row.batch) == (50, 1.0, 8))
    fields = {name: getattr(row, name) for name in Shown.__dataclass_fields__}
    return [Shown(**(fields | {"sm_percent": sm, "throughput_rps": 12_345.0 + sm})) for sm in range(1, sms + 1)]


def test_throughput_and_latency_stand_over_sms_and_quota() -> None:
    assert drawn(table()) == [
        "batch 8; --batch picks another of 1, 4, 8",
        "",
        "throughput, inputs/s by quota and share of SMs",
        "quota    12 %     24 %     50 %     100 %",
        "    1  ▂   138  ▄~  274  █   573  █   573",
        "  0.8  ▂~  110  ▄~  219  ▇~  457  ▇~  457",
        "  0.6  ▂  82.5  ▃~  165  ▅   344  ▅   344",
        "  0.4  ▁~ 54.9  ▂~  110  ▄~  229  ▄~  229",
        "  0.2  ▁~ 27.4  ▁~ 54.9  ▂   115  ▂   115",
        "",
        "p99 latency, ms by quota and share of SMs",
        "quota    12 %     24 %     50 %     100 %",
        "    1  ▅   262! ▃~  131! ▁  63.0  ▁  63.0",
        "  0.8  ▆~  367! ▄~  184! ▂~ 88.2  ▂~ 88.2",
        "  0.6  ▇   472! ▅~  236! ▂   113! ▂   113!",
        "  0.4  █~  577! ▆~  289! ▃~  139! ▃~  139!",
        "  0.2  █~  682! ▆~  341! ▄   164! ▄   164!",
        "",
        "▁ to █ least to most; ~ interpolated; ! misses p99 within 100 ms",
    ]


def test_a_terminal_without_blocks_gets_letters() -> None:
    lines = drawn(table(), is_ascii=True)
    assert all(line.isascii() for line in lines)
    assert lines[-1].startswith(". to # least to most")


def test_many_sms_are_split_into_blocks_that_fit() -> None:
    lines = printed(lambda on: heat.draw(on, wide(20), 8, OBJECTIVE))
    assert max(map(len, lines)) <= 80
    assert sum("quota  " in line for line in lines) == 2 * 3
    assert sum(line.count("12.3k") + line.count("12.4k") for line in lines) == 20


def test_numbers_stand_on_colours_that_grow_brighter() -> None:
    console = Console(width=80, force_terminal=True, color_system="truecolor", record=True, file=nowhere("utf-8"))
    heat.draw(console, shown_rows(table()), 8, OBJECTIVE)
    styled = console.export_text(styles=True)
    assert "48;2;253;231;37" in styled  # the brightest, under the most
    assert "\x1b[97;48;2;" in styled  # light on dark
    assert "\x1b[30;48;2;" in styled  # dark on light


def test_a_place_that_nothing_is_known_of_is_a_dash() -> None:
    rows = [row for row in shown_rows(table()) if (row.sm_percent, row.quota) != (24, 0.4)]
    lines = printed(lambda on: heat.draw(on, rows, 8, OBJECTIVE))
    (line,) = (line for line in lines if line.startswith("  0.4  ▁~ 54.9"))
    assert line.split()[3] == "-"
