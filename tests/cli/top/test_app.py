"""The screen under a pilot: what keys do, at the smallest size and at large ones."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Input

from fastgshare.cli.top.app import Top
from fastgshare.cli.top.screens import AskScale, Detail, Keys
from fastgshare.cli.top.widgets import DeviceCard, Devices, Rows
from fastgshare.shared.overview.view import PlatformView
from tests.cli.top.views import decision, platform, with_devices

SMALL, LARGE = (80, 24), (160, 50)
PATIENCE_S = 40

pytestmark = pytest.mark.timeout(180)


class Scene:
    """A screen, what it looks at, and what it scaled."""

    def __init__(self, view: PlatformView) -> None:
        self.view = view
        self.is_connected = True
        self.scaled: list[tuple[str, int]] = []
        self.answer = (True, "done")
        self.app = Top("nats://here", lambda: self.view, lambda: self.is_connected, self._scale)
        self.pilot: Pilot[None]

    async def _scale(self, function: str, count: int) -> tuple[bool, str]:
        self.scaled.append((function, count))
        return self.answer

    @property
    def text(self) -> str:
        """Everything that stands on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        """Press keys and let the screen settle."""
        await self.pilot.press(*keys)

    async def back(self) -> None:
        """Leave what lies over the main screen."""
        await self.press("escape")
        await self.until(lambda: len(self.app.screen_stack) == 1)

    async def look_at(self, function: str) -> None:
        """Go down the functions until this one is looked at."""
        with anyio.move_on_after(PATIENCE_S):
            while self.rows("functions").looked_at != function:
                await self.press("down")  # one that comes before the rows are there moves nothing
                await self.pilot.pause(0.1)
        assert self.rows("functions").looked_at == function, self.text

    async def open(self, function: str, words: str) -> None:
        """Its page, which has these words: a key that comes while rows are drawn anew may open another row's."""
        with anyio.move_on_after(PATIENCE_S):
            while words not in self.text:
                if len(self.app.screen_stack) > 1:
                    await self.back()
                await self.look_at(function)
                await self.press("enter")
                await self.pilot.pause(0.5)
        assert words in self.text, self.text

    async def ask_scale(self, key: str = "c") -> AskScale:
        """Open the question how many there should be."""
        await self.press(key)
        await self.until(lambda: isinstance(self.app.screen, AskScale), key)
        assert isinstance(self.app.screen, AskScale)
        return self.app.screen

    async def sees(self, *words: str) -> None:
        """Wait until all of this stands there."""
        await self.until(lambda: all(word in self.text for word in words), words)

    async def until(self, holds: Callable[[], bool], what: object = "") -> None:
        """Wait for it."""
        with anyio.move_on_after(PATIENCE_S):
            while not holds():
                await anyio.sleep(0.02)
        assert holds(), f"{what} in\n{self.text}"

    def rows(self, name: str) -> Rows:
        """A table."""
        return self.app.screen_stack[0].query_one(f"#{name}", Rows)


@asynccontextmanager
async def _scene(size: tuple[int, int] = SMALL, view: PlatformView | None = None) -> AsyncIterator[Scene]:
    scene = Scene(view if view is not None else platform())
    async with scene.app.run_test(size=size, notifications=True) as pilot:
        scene.pilot = pilot
        await scene.sees("FaST-GShare")
        await scene.until(lambda: scene.rows("functions").row_count == len(scene.view.functions), "rows")
        yield scene


@pytest.mark.parametrize("size", [SMALL, LARGE, (60, 18)])
async def test_everything_has_its_place(size: tuple[int, int]) -> None:
    async with _scene(size) as scene:
        await scene.sees("devices", "functions by name", "decisions")
        if size[0] >= 80:
            await scene.sees(
                "n1-sim0 · sim · 4 chunks", "O▶ ocr", "D doc", "busy 25%", "p99 200 ms", "!50.0%", "scaled"
            )


async def test_nothing_is_shown_as_nothing() -> None:
    async with _scene(view=PlatformView(at_us=0)) as scene:
        await scene.sees("no node is heard", "none is deployed", "not heard: gateway")
        await scene.press("c", "enter", "1", "s", "z", "z")
        scene.view = platform()
        await scene.sees("O▶ ocr", "p99 200 ms")


async def test_it_follows_and_can_be_held() -> None:
    async with _scene() as scene:
        scene.view = replace(scene.view, decisions=(decision("news"), *scene.view.decisions))
        await scene.sees("news")
        await scene.press("p")
        await scene.sees("held")
        scene.view = replace(scene.view, decisions=(decision("later"), *scene.view.decisions))
        scene.is_connected = False
        await scene.sees("the server is away")
        assert "later" not in scene.text
        await scene.press("p")
        await scene.sees("later")


async def test_devices_stand_side_by_side_where_there_is_room() -> None:
    async with _scene(LARGE, with_devices(6)) as scene:
        await scene.sees("n0-sim0", "n5-sim0")
        await scene.until(lambda: len({card.region.y for card in scene.app.query(DeviceCard)}) == 2)
        scene.view = with_devices(1)
        await scene.until(lambda: len(scene.app.query(DeviceCard)) == 1)


async def test_two_looks_at_one_time_draw_each_device_once() -> None:
    async with _scene(LARGE, with_devices(1)) as scene, anyio.create_task_group() as tasks:
        devices = scene.app.query_one(Devices)
        for count in (6, 3):
            tasks.start_soon(devices.show, with_devices(count).devices)
        scene.view = with_devices(2)
        await scene.until(lambda: len(scene.app.query(DeviceCard)) == 2)


async def test_the_row_that_is_looked_at_stays_so_when_others_come() -> None:
    async with _scene() as scene:
        await scene.look_at("ocr")
        doc, ocr = scene.view.functions
        scene.view = replace(scene.view, functions=(replace(doc, function="abc"), doc, ocr))
        await scene.sees("abc")
        await scene.until(lambda: scene.rows("functions").looked_at == "ocr")


async def test_functions_are_sorted_by_the_next_column() -> None:
    async with _scene() as scene:
        await scene.press("s")
        await scene.sees("functions by met")
        assert scene.rows("functions").get_row_at(0)[0].plain.startswith("O ocr")
        await scene.press("S")
        await scene.sees("functions by name")


async def test_what_is_typed_after_a_slash_chooses_and_escape_undoes_it() -> None:
    async with _scene() as scene:
        await scene.press("slash")
        filtering = scene.app.query_one("#filter", Input)
        await scene.until(lambda: scene.app.focused is filtering)
        await scene.press("o", "c", "r")
        await scene.sees("1 of 2 with 'ocr'", "decisions with 'ocr'")
        await scene.until(
            lambda: (scene.rows("functions").row_count, scene.rows("decisions").row_count) == (1, 1), "rows"
        )
        await scene.press("enter")
        await scene.until(lambda: scene.app.focused is scene.rows("functions"), "focus")
        await scene.press("escape")
        await scene.until(lambda: scene.rows("functions").row_count == 2, "all rows")
        await scene.until(lambda: not filtering.display, "no filter")


async def test_enter_shows_all_about_a_function_a_device_and_a_decision() -> None:
    async with _scene(LARGE) as scene:
        await scene.open("ocr", "each device is full")
        await scene.sees("1 to 4, objective", "each device is full", "error budget burns")
        scene.view = replace(scene.view, functions=scene.view.functions[:1])
        await scene.sees("ocr is not deployed any more")
        await scene.back()
        await scene.press("1", "enter")
        await scene.sees("chunks of SMs from left to right", "at most")
        await scene.back()
        await scene.press("3", "enter")
        await scene.sees("told by scheduler")
        await scene.back()
        await scene.press("question_mark")
        await scene.sees("Everywhere")
        assert isinstance(scene.app.screen, Keys)
        await scene.back()


async def test_scaling_is_asked_first() -> None:
    async with _scene() as scene:
        await scene.ask_scale("plus")
        await scene.sees("How many replicas of doc?", "Now 1 ready of 1.")
        assert scene.scaled == []
        await scene.press("enter")
        await scene.until(lambda: scene.scaled == [("doc", 2)])
        await scene.sees("done")
        await scene.look_at("ocr")
        await scene.ask_scale()
        await scene.sees("ends its automatic scaling")
        await scene.back()
        assert scene.scaled == [("doc", 2)]


async def test_a_number_can_be_typed_or_stepped_and_nonsense_is_refused() -> None:
    async with _scene() as scene:
        scene.answer = (False, "it cannot [be]")
        count = (await scene.ask_scale()).query_one("#count", Input)
        await scene.until(lambda: scene.app.focused is count, "focus")
        await scene.press("7", "up")
        await scene.until(lambda: count.value == "8", "8")
        await scene.press("backspace", "enter")
        await scene.sees("a number from 0 to 1000")
        assert scene.scaled == []
        await scene.press("3")
        await scene.until(lambda: count.value == "3", "3")
        await scene.press("tab", "enter")
        await scene.until(lambda: scene.scaled == [("doc", 3)])
        await scene.sees("it cannot [be]")


async def test_a_functions_page_scales_and_a_devices_page_does_not() -> None:
    async with _scene(LARGE) as scene:
        await scene.press("enter")
        await scene.until(lambda: isinstance(scene.app.screen, Detail), "its page")
        await scene.ask_scale()
        await scene.sees("How many replicas of doc?")
        await scene.press("escape")
        await scene.until(lambda: isinstance(scene.app.screen, Detail), "its page again")
        await scene.back()
        await scene.press("1", "enter")
        await scene.until(lambda: isinstance(scene.app.screen, Detail), "a device's page")
        await scene.press("c")
        assert isinstance(scene.app.screen, Detail)


async def test_a_pane_can_have_all_of_the_screen() -> None:
    async with _scene() as scene:
        await scene.press("3", "z")
        await scene.until(lambda: scene.app.screen.maximized is scene.rows("decisions"))
        await scene.press("z", "1", "z")
        await scene.until(lambda: scene.app.screen.maximized is scene.app.query_one("#devices"))
        await scene.press("escape")
        await scene.until(lambda: scene.app.screen.maximized is None)


async def test_light_and_dark() -> None:
    async with _scene() as scene:
        before = scene.app.theme
        await scene.press("t")
        assert scene.app.theme != before
        await scene.press("t")
        assert scene.app.theme == before
