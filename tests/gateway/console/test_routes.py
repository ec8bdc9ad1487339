"""The console's routes: files that come from here alone, frames for as long as somebody looks, tables, definitions."""

import json
import re
from importlib.resources import files

import anyio
import pytest

from fastgshare.gateway.console.frames import Frames
from fastgshare.gateway.console.pages import Pages
from fastgshare.shared.units import US_PER_S
from tests.gateway.console.serving import serving_console
from tests.gateway.console.staged import GPU, Staged
from tests.gateway.http.serving import PATIENCE_S, Knock, knock, until

STATIC = files("fastgshare.gateway.console") / "static"


async def frame(door: Knock) -> dict[str, object]:
    """The next frame of a stream that was begun."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            line = await door.reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                found = json.loads(line.removeprefix(b"data: "))
                assert isinstance(found, dict)
                return found


async def begin(door: Knock, path: str = "/console/stream") -> bytes:
    """Ask for a stream; its head."""
    await door.send(b"GET %s HTTP/1.1\r\nhost: test\r\n\r\n" % path.encode())
    with anyio.fail_after(PATIENCE_S):
        return await door.reader.readuntil(b"\r\n\r\n")


async def test_browsers_find_the_page_and_programs_what_they_always_did() -> None:
    async with serving_console() as (port, _), knock(port) as door:
        browser = await door.request("GET", "/", Accept="text/html,*/*")
        assert (browser.status, browser.headers["location"]) == (307, "console/")
        assert (await door.request("GET", "/console")).headers["location"] == "console/"
        program = await door.request("GET", "/", Accept="*/*")
        assert (program.status, program.error) == (404, "no such path: /")
        page = await door.request("GET", "/console/")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await door.request("GET", "/console/static/none.js")).status == 404


async def test_a_file_that_did_not_change_is_not_sent_again() -> None:
    async with serving_console() as (port, _), knock(port) as door:
        first = await door.request("GET", "/console/static/main.js")
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"
        again = await door.request("GET", "/console/static/main.js", If_None_Match=first.headers["etag"])
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", Pages().names())
def test_nothing_on_the_page_comes_from_elsewhere(name: str) -> None:
    content = (STATIC / name).read_text()
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", content) == []
    assert content.count("\n") < 400
    for module in re.findall(r'from "\./([^"]+)"', content):
        assert (STATIC / module).is_file(), module
    if name.endswith((".js", ".html")):
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|style=\"", content)


def test_every_module_is_asked_for_at_once() -> None:
    index = (STATIC / "index.html").read_text()
    modules = {name for name in Pages().names() if name.endswith(".js")}
    assert set(re.findall(r'static/([\w-]+\.js)"', index)) == modules


def test_a_frame_is_drawn_once_a_tick_however_many_look() -> None:
    staged, now_us = Staged(), [10 * US_PER_S]
    frames = Frames(staged, lambda: now_us[0], interval_ms=1000)
    first = frames.newest()
    assert frames.newest() is first
    now_us[0] += 400_000
    assert frames.newest() is first
    assert frames.until_next_us() == 600_000
    now_us[0] += 600_000
    assert frames.newest() is not first
    assert staged.beat == 2


async def test_a_viewer_gets_a_frame_at_once_and_then_the_newest_of_each_tick() -> None:
    async with serving_console(interval_ms=50) as (port, console), knock(port) as door:
        assert b"text/event-stream" in await begin(door)
        first, second = await frame(door), await frame(door)
        assert isinstance(first["at_us"], int)
        assert isinstance(second["at_us"], int)
        assert first["at_us"] < second["at_us"]
        assert console.viewers.looking == 1
    assert console.viewers.looking == 0


async def test_nothing_is_drawn_when_nobody_looks() -> None:
    staged = Staged()
    async with serving_console(staged, interval_ms=10) as (port, console):
        async with knock(port) as door:
            await begin(door)
            await frame(door)
        await until(lambda: console.viewers.looking == 0)
        drawn = staged.beat
        async with knock(port) as door:
            for _ in range(20):
                await door.request("GET", "/console/static/dom.js")
        assert staged.beat == drawn


async def test_too_many_viewers_are_told_so_until_one_leaves() -> None:
    async with serving_console(max_viewers=1, interval_ms=20) as (port, console):
        async with knock(port) as first, knock(port) as second:
            await begin(first)
            await frame(first)
            refused = await second.request("GET", "/console/stream")
            assert refused.status == 503
            assert refused.error == "1 consoles look at this gateway already, the limit is 1"
            assert int(refused.headers["retry-after"]) > 0
        await until(lambda: console.viewers.looking == 0)
        async with knock(port) as third:
            assert b"200" in await begin(third)


async def test_streams_end_with_the_gateway() -> None:
    async with serving_console() as (port, console), knock(port) as door:
        await begin(door)
        await frame(door)
        console.viewers.stop.set()
        assert await door.is_closed()


async def test_a_functions_tables_come_with_every_point() -> None:
    async with serving_console() as (port, _), knock(port) as door:
        told = json.loads((await door.request("GET", "/console/profiles/resnet50")).body)
        [table] = told["tables"]
        assert (table["device_kind"], table["state"], len(table["points"])) == (GPU, "complete", 100)
        point = table["points"][0]
        assert (point["sm"], point["quota"], point["batch"], point["p99_ms"]) == (6, 0.2, 1, 85.0)
        unknown = await door.request("GET", "/console/profiles/nobody")
        assert (unknown.status, unknown.error) == (404, "no function is called 'nobody'")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: a\nmodel: {file: a.onnx}\n", {"name": "a", "model": {"file": "a.onnx"}}),
        ('{"name": "a", "slo_ms": 20}', {"name": "a", "slo_ms": 20}),
        ("", None),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
    ],
)
async def test_a_definition_as_text_becomes_plain_data(text: str, found: object) -> None:
    async with serving_console() as (port, _), knock(port) as door:
        answer = await door.request("POST", "/console/definition", text.encode())
    assert answer.document == {"definition": found}


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        (b"a: 1\na: 2\n", 400, "line 2, column 1: a stands there twice"),
        (b"a: [", 400, "not YAML"),
        (b"a: &x [1]\nb: [*x, *x]\n", 400, "an alias"),
        (b"\xff\xfe", 400, "not UTF-8"),
        (b"a: " + b"[" * 2000, 400, "2000 opening brackets, expected at most 64"),
        (b"- " * 3000, 400, "too deep|not YAML"),
        (b"? {a: 1}\n: 2\n", 400, "unhashable|form in JSON|not YAML"),
        (b"x" * (17 << 10), 413, "larger than the limit"),
    ],
)
async def test_text_that_is_no_definition_is_refused_in_words(text: bytes, status: int, told: str) -> None:
    async with serving_console() as (port, _), knock(port) as door:
        answer = await door.request("POST", "/console/definition", text)
        assert answer.status == status, answer.body
        assert re.search(told, answer.body.decode())
        assert (await door.request("GET", "/console/")).status == 200
