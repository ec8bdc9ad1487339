"""What is drawn: every rectangle says whose it is, in any size; numbers keep the digits that mean something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fastgshare.cli.top import columns, figures
from fastgshare.cli.top.details import decision_page, device_page, function_page
from fastgshare.cli.top.marks import Marks
from fastgshare.cli.top.picture import draw, title
from fastgshare.cli.top.printed import show
from fastgshare.shared.overview.rectangles import Holder, lay
from fastgshare.shared.overview.view import Piece, PlatformView
from tests.cli.top.views import NOW_US, decision, device, function, platform, replica

SIZES = [(80, 24), (120, 36), (200, 60)]


def _marks(*functions: str) -> Marks:
    marks = Marks()
    marks.meet(functions)
    return marks


def test_a_device_is_drawn_from_below_with_its_chunks_across() -> None:
    ocr = replica("ocr-1", "ocr", Piece(0, 2, 0.0, 0.5), had=0.25, is_running=True)
    doc = replica("doc-1", "doc", Piece(0, 4, 0.5, 0.25), had=0.1)
    lines = [line.plain for line in draw(device(ocr, doc), 80, 4, _marks("doc", "ocr"))]
    assert lines == [
        "·" * 80,
        " D doc 10% of 25%".ljust(80),
        " O▶ ocr 25% of 50%".ljust(40) + "·" * 40,
        " O".ljust(40) + "·" * 40,
    ]


def test_who_runs_is_lit_and_what_was_used_is_lighter() -> None:
    marks = _marks("ocr")
    mark = marks.of("ocr")
    idle = draw(device(replica("r", "ocr", Piece(0, 4, 0.0, 1.0), had=0.5)), 40, 4, marks)
    assert [str(line.spans[0].style).split()[-1] for line in idle] == [mark.unused] * 2 + [mark.used] * 2
    runs = draw(device(replica("r", "ocr", Piece(0, 4, 0.0, 1.0), is_running=True)), 40, 4, marks)
    assert {str(line.spans[0].style).split()[-1] for line in runs} == {mark.colour.lower()}


def test_a_sliver_is_a_row_high_and_a_loan_looks_lent() -> None:
    sliver = replica("a", "ocr", Piece(0, 4, 0.0, 0.01))
    below = replica("b", "doc", Piece(0, 4, 0.01, 0.9))
    lent = replica("c", "doc", Piece(0, 4, 0.91, 0.09), is_loan=True)
    lines = [line.plain for line in draw(device(sliver, below, lent), 40, 6, _marks("doc", "ocr"))]
    assert lines[-1].startswith(" O ocr")
    assert lines[1].startswith(" D doc")
    assert lines[0].startswith(" D doc 0% loan░░░")


def test_a_loan_over_others_has_a_row_of_theirs() -> None:
    ocr = replica("a", "ocr", Piece(0, 4, 0.0, 1.0))
    lent = replica("c", "doc", Piece(0, 4, 0.9, 0.1, is_over=True), is_loan=True)
    lines = [line.plain for line in draw(device(ocr, lent), 40, 6, _marks("doc", "ocr"))]
    assert lines[0].startswith(" D doc 0% loan░░░")
    assert lines[1].startswith(" O ocr 0% of 100%")


def test_who_has_no_row_of_his_own_gets_the_nearest_that_can_be_spared() -> None:
    low = [replica(f"r{at}", f"f{at}", Piece(0, 4, at / 100, 0.01)) for at in range(3)]
    marks = _marks("f0", "f1", "f2", "tall")
    lines = draw(device(*low, replica("r", "tall", Piece(0, 4, 0.03, 0.97))), 40, 4, marks)
    assert [line.plain.split()[1] for line in lines] == ["tall", "f2", "f1", "f0"]


@st.composite
def _devices(draw_one: st.DrawFn) -> tuple[list[Holder], int]:
    chunks = draw_one(st.integers(1, 130))
    holders = []
    for number in range(draw_one(st.integers(0, 6))):
        wide = draw_one(st.integers(1, chunks))
        first = draw_one(st.integers(0, chunks - wide))
        share = draw_one(st.floats(0.01, 1))
        holders.append(Holder(f"r{number}", tuple(range(first, first + wide)), share, draw_one(st.booleans())))
    return holders, chunks


@given(_devices(), st.integers(0, 130), st.integers(0, 30))
def test_any_device_fits_its_place(case: tuple[list[Holder], int], width: int, height: int) -> None:
    holders, chunks = case
    laid = lay(holders, chunks)
    replicas = [replica(name, name, *pieces) for name, pieces in laid.items()]
    marks = _marks(*laid)
    lines = draw(device(*replicas, chunks=chunks), width, height, marks)
    assert len(lines) == (height if width and height else 0)
    assert len({line.cell_len for line in lines}) <= 1
    assert all(line.cell_len <= width for line in lines)
    if width >= chunks and height >= 10:  # there is room for all
        shown = "".join(line.plain for line in lines)
        tall = [name for name, pieces in laid.items() if any(piece.height >= 0.2 for piece in pieces)]
        assert all(marks.of(name).letter in shown for name in tall)


def test_letters_tell_functions_apart() -> None:
    names = [f"f{number}" for number in range(30)]
    marks = _marks(*names)
    assert marks.of("f0").letter == "F"
    assert len({marks.of(name).letter for name in names}) == 30
    before = marks.of("f3")
    marks.meet(["another", *names])
    assert marks.of("f3") == before
    assert marks.of("nobody").letter == "?"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (1.0, "100%"), (0.99999, "100%"), (0.9999, "99.99%"), (0.98765, "98.8%"), (0.05, "5%"), (0.0, "0%")],
)
def test_shares_have_more_digits_near_the_whole(value: float | None, shown: str) -> None:
    assert figures.share(value) == shown


def test_figures_are_short() -> None:
    assert [figures.ms(value) for value in (None, 0.123, 1.26, 12.6, 12_600)] == ["-", "0.12", "1.3", "13", "12.6 s"]
    assert [figures.rate(value) for value in (0.0, 0.123, 12.34, 1234.5)] == ["0.0", "0.12", "12.3", "1234"]
    assert [figures.times(value) for value in (None, 1.25, 12.4)] == ["-", "1.2x", "12x"]
    assert [figures.ago(NOW_US, NOW_US + s * 1_000_000) for s in (0, 59, 60, 7200, 200_000)] == [
        "0s",
        "59s",
        "1m",
        "2h",
        "2d",
    ]


def test_sparklines_are_as_long_as_there_is_room() -> None:
    assert figures.spark((0, 1, 2, 3, 4, 5, 6, 7), 8) == "▁▂▃▄▅▆▇█"
    assert figures.spark((0, 0, 4, 4), 2) == "▁█"
    assert figures.spark((0.5, 0.5), 4, 1.0) == "▅▅"
    assert figures.spark((0.0,), 4) == "▁"
    assert figures.spark((), 4) == figures.spark((1.0,), 0) == ""


def test_columns_come_by_rank_and_stay_in_place() -> None:
    at_80 = [column.key for column in columns.fitting(80)]
    assert at_80 == ["objective", "met", "rate", "p99", "ready", "spark"]
    assert [column.key for column in columns.fitting(200)] == [column.key for column in columns.COLUMNS]
    assert columns.fitting(10) == []


def test_functions_are_sorted_and_chosen() -> None:
    view = platform()
    by = {order: [one.function for one in columns.chosen_functions(view, "", order)] for order in columns.ORDERS}
    assert by == {
        "name": ["doc", "ocr"],
        "met": ["ocr", "doc"],
        "burn": ["doc", "ocr"],
        "rate": ["ocr", "doc"],
        "p99": ["doc", "ocr"],
    }
    assert [one.function for one in columns.chosen_functions(view, "CR", "name")] == ["ocr"]
    assert [one.text for one in columns.chosen_decisions(view, "DEMAND")] == ["from 1 to 2 replicas: demand grows"]
    assert [one.function for one in columns.chosen_decisions(view, "", "doc")] == ["doc"]


def test_an_objective_that_is_missed_is_marked_not_by_colour_alone() -> None:
    met = next(column for column in columns.COLUMNS if column.key == "met")
    assert met.cell(function("a")).plain.strip() == "✓100%"
    assert met.cell(function("a", attainment={"1m": 0.5})).plain.strip() == "!50.0%"
    assert met.cell(function("a", attainment={})).plain.strip() == "-"


def test_trouble_stands_in_a_devices_title() -> None:
    assert title(device(is_healthy=False, reason="it burns")) == "! n1-sim0: it burns"
    assert title(device(chunks=1)) == "n1-sim0 · sim · 1 chunk"


@pytest.mark.parametrize("size", SIZES)
def test_pages_say_all_about_one(size: tuple[int, int]) -> None:
    view, marks = platform(), _marks("doc", "ocr")
    ocr = _printed(function_page(view, "ocr", marks, size[0]), size[0])
    for told in (
        "p99 200 ms",
        "1 to 4, objective",
        "each device is full",
        "! 50.0%",
        "ocr-1 ▶",
        "demand grows",
        "12.0/s",
    ):
        assert told in ocr
    sim = _printed(device_page(view, "n1-sim0", marks, *size), size[0])
    for told in ("4 chunks", "busy 25% promised 50%", "100% ", "O ocr-1 ▶", "0-3"):
        assert told in sim
    assert "not deployed" in _printed(function_page(view, "gone", marks, 80), 80)
    assert "not heard" in _printed(device_page(view, "gone", marks, 80, 24), 80)
    assert "scheduler" in _printed(decision_page(decision("why")), 80)


def test_a_plain_print_has_it_all() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        show(console, platform(), _marks("doc", "ocr"), "nats://here")
        text = console.export_text()
    for told in (
        "nats://here",
        "4 services  1 device  2 functions",
        "O▶ ocr 25% of 50%",
        "✓100%",
        "ocr: each device",
        "demand grows",
    ):
        assert told in text


def test_nothing_can_be_printed_too() -> None:
    text = _shown(PlatformView(at_us=NOW_US))
    assert "not heard: gateway, scheduler, profiler, node_manager" in text
    assert "nothing is deployed" in text


def _shown(view: PlatformView) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        show(console, view, _marks(), "nats://here")
    return capture.get()


def _printed(renderable: object, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
