"""The console's page in a real browser, before a staged platform: in both themes, at all widths, without a mouse."""

import itertools
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace
from selenium.webdriver.common.keys import Keys

from fastgshare.client.bundle import write_zip
from fastgshare.shared.ids import FunctionName
from tests.browser import Browser, open_browser
from tests.gateway.console.serving import FORBIDDEN_KEY, console_in_background
from tests.gateway.console.sight import faint, too_wide, unspoken
from tests.gateway.console.staged import FUNCTIONS, Staged
from tests.gateway.http.serving import FakeFunctions

pytestmark = pytest.mark.timeout(240)
WHERE = """
const box = document.activeElement.getBoundingClientRect();
return [box.left, box.top + scrollY, document.activeElement.tagName];
"""
PAGES = ("#/", "#/functions/bert-large", "#/deploy")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def functions() -> FakeFunctions:
    return FakeFunctions()


@pytest.fixture(scope="module")
def page(functions: FakeFunctions) -> Iterator[str]:
    with console_in_background(Staged(), functions) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_complaints(browser: Browser) -> Iterator[None]:
    browser.look()
    yield
    expected = ("401", "403", "Failed to load resource", "net::ERR_")
    assert [line for line in browser.complaints() if not any(each in line for each in expected)] == []


def visit(browser: Browser, url: str) -> None:
    """Open a page and wait for its first frame, and whatever it loads beside."""
    browser.open(url)
    browser.until(lambda: browser.run("return document.getElementById('main')?.dataset.at"))
    if "functions/" in url:
        browser.one(".heat")


def beat(browser: Browser) -> str:
    """When the picture on the page was drawn."""
    return str(browser.run("return document.getElementById('main').dataset.at"))


@pytest.mark.parametrize("at", PAGES)
def test_everything_can_be_read_and_named_and_fits(browser: Browser, page: str, at: str) -> None:
    browser.look(still=True)
    visit(browser, page + at)
    for theme, width in itertools.product(("light", "dark"), (360, 1280, 2560)):
        browser.look(width, 900, theme, still=True)
        found = (faint(browser), unspoken(browser), too_wide(browser))
        assert found == ([], [], []), f"{theme}, {width} px wide"


def test_devices_are_drawn_as_their_rectangles_and_told_as_a_table(browser: Browser, page: str) -> None:
    browser.look(still=True)
    visit(browser, page)
    boxes = browser.run(
        "const frame = document.querySelector('.picture').getBoundingClientRect();"
        "return [...document.querySelectorAll('.picture')][0].querySelectorAll('.piece').values().map((piece) => {"
        " const box = piece.getBoundingClientRect();"
        " return [piece.dataset.replica, (box.left - frame.left) / frame.width, box.width / frame.width,"
        " (frame.bottom - box.bottom) / frame.height, box.height / frame.height]; }).toArray()"
    )
    found = {name: [round(value, 2) for value in rest] for name, *rest in boxes}
    assert found["bert-large-g1-0-0"] == pytest.approx([0, 0.5, 0.4, 0.6], abs=0.03)
    assert found["rnnt-g1-8-0"] == pytest.approx([0.5, 0.125, 0, 1], abs=0.03)
    assert found["vgg19-g1-10-0"] == pytest.approx([0.625, 0.375, 0, 0.5], abs=0.03)
    browser.one(".device details summary").click()
    rows = [row.text for row in browser.all(".device:first-child tbody tr")]
    assert "vgg19-g1-10-0 ready 10\u201315 50 % to 100 % 62 % 3 408 MiB 0" in rows


def test_a_loan_over_others_is_a_strip_of_its_own_shape_that_hides_nobodys_words(browser: Browser, page: str) -> None:
    browser.look(still=True)
    visit(browser, page)
    strip = browser.one(".piece[data-over]")
    assert "on loan" in (strip.get_attribute("aria-label") or "")
    assert strip.text.startswith("D ocr, on loan")
    assert strip.value_of_css_property("border-style") == "dotted"
    below, under = browser.run(
        "const words = document.querySelector(\"[data-replica='bert-large-g1-0-0'] .name\").getBoundingClientRect();"
        "return [words.top, arguments[0].getBoundingClientRect().bottom];",
        strip,
    )
    assert below >= under - 1


def test_who_runs_now_is_lit_as_it_changes(browser: Browser, page: str) -> None:
    visit(browser, page)
    for running in ("resnet50-g1-0-0", "bert-large-g1-0-0"):
        browser.until(lambda name=running: browser.all(f"[data-replica='{name}'][data-running]"))  # type: ignore[misc]
    browser.until(
        lambda: "runs a batch now" in (browser.one("[data-replica^='rnnt']").get_attribute("aria-label") or "")
    )


def test_numbers_show_on_hover_and_leave_with_the_pointer(browser: Browser, page: str) -> None:
    visit(browser, page)
    assert browser.said(".readout").startswith("7 replicas, ")
    point = "document.querySelector(arguments[0]).dispatchEvent(new PointerEvent(arguments[1], {bubbles: true}))"
    browser.run(point, "[data-replica='vgg19-g1-10-0']", "pointerover")
    assert "chunks 10\u201315; promised 50 % of the time, at most 100 %, had 62 %" in browser.said(".readout")
    browser.run(point, ".picture > div:last-child", "pointerleave")
    assert browser.said(".readout").startswith("7 replicas, ")


def test_functions_are_sorted_and_filtered(browser: Browser, page: str) -> None:
    visit(browser, page)

    def names() -> list[str]:
        return [link.text for link in browser.all(".functions tbody th a")]

    assert names() == [function.function for function in FUNCTIONS]
    [rate] = [button for button in browser.all(".functions th button") if button.text == "Requests/s"]
    rate.click()
    assert browser.all(".functions th[aria-sort=descending]")[0].text.startswith("Requests/s")
    assert names()[:2] == ["mobilenet-with-a-long-name", "resnet50"]
    rate.click()
    assert names()[-1] == "mobilenet-with-a-long-name"
    browser.one("#function-filter").send_keys("nn")
    assert names() == ["rnnt"]
    assert "p99 within 69 ms" in browser.said(".functions tbody")
    browser.one("#function-filter").send_keys("xyz")
    assert "No function's name contains" in browser.said("#functions .empty")


def test_decisions_have_their_reasons_and_are_filtered(browser: Browser, page: str) -> None:
    visit(browser, page)
    assert "12 of 16 chunks are promised" in browser.said(".decisions")
    browser.one("#decision-filter").send_keys("no room")
    assert {item.text.split()[1] for item in browser.all(".decision")} == {"no"}


def test_what_others_named_stays_text(browser: Browser) -> None:
    staged, evil = Staged(), '<img src=x onerror="document.title=1"><b>no</b>'
    staged.staged = (replace(staged.staged[0], reasons=(evil,), policy=evil),)
    with console_in_background(staged) as url:
        visit(browser, url)
        assert evil in browser.said(".functions")
        assert browser.all("main img") == []


def test_a_keyboard_is_enough(browser: Browser, page: str) -> None:
    visit(browser, page)
    browser.press(Keys.TAB)
    assert browser.said(".skip:focus") == "Skip to the content"
    browser.press(Keys.ENTER)
    assert browser.focused() == "main"
    browser.press(Keys.TAB)
    assert browser.focused("class") == "piece"
    first = browser.focused("data-replica")
    browser.press(Keys.ARROW_RIGHT)
    second = browser.focused("data-replica")
    assert second != first
    assert browser.said(".readout").startswith(second)
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    drawn = beat(browser)
    browser.until(lambda: beat(browser) != drawn)
    assert browser.focused("data-replica") == second, "a new frame takes the focus away"
    browser.press(Keys.TAB)
    assert browser.focused("data-replica") == "", "one stop for Tab in each picture"
    browser.press("/")
    browser.until(lambda: browser.focused() == "function-filter")
    browser.press("rnnt", Keys.ESCAPE, "f")
    browser.until(lambda: browser.focused() == "functions-title")
    browser.press("n")
    browser.until(lambda: browser.all(".page h1") and browser.focused("textContent") == "Deploy a function")
    browser.press(Keys.ESCAPE)
    browser.until(lambda: browser.all("#devices"))


def test_tab_goes_through_everything_and_out_again(browser: Browser, page: str) -> None:
    visit(browser, f"{page}#/functions/bert-large")
    browser.run("document.getElementById('main').focus()")
    places = []
    for _ in range(40):
        browser.press(Keys.TAB)
        places.append(browser.run(WHERE))
        if places[-1][2] == "BODY":
            break
    assert len(places) > 12
    assert all(a != b for a, b in pairwise(places)), "a trap"


def test_shortcuts_can_be_switched_off(browser: Browser, page: str) -> None:
    visit(browser, page)
    browser.press("?")
    box = browser.one("dialog input[type=checkbox]")
    box.click()
    browser.press(Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog"))
    browser.press("n")
    assert browser.all("#devices")
    browser.one("#help").click()
    browser.one("dialog input[type=checkbox]").click()
    browser.press(Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog"))
    assert browser.focused() == "help", "focus goes back to where it came from"


def test_a_chosen_theme_stays(browser: Browser, page: str) -> None:
    browser.look(theme="light")
    visit(browser, page)
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.one("#theme").click()
    browser.one("#theme").click()
    assert browser.said("#theme") == "Theme: dark"
    dark = browser.run(ground)
    assert dark != light
    visit(browser, page)
    assert browser.run(ground) == dark
    browser.one("#theme").click()
    assert browser.said("#theme") == "Theme: auto"
    assert browser.run(ground) == light


def test_a_paused_picture_stands_still(browser: Browser, page: str) -> None:
    visit(browser, page)
    browser.one("#pause").click()
    drawn = beat(browser)
    assert "paused at" in browser.said("#connection")
    asked = browser.run("return performance.now()")
    browser.until(lambda: browser.run("return performance.now()") > asked + 1500)
    assert beat(browser) == drawn
    browser.one("#pause").click()
    browser.until(lambda: beat(browser) != drawn)


def test_nothing_moves_for_those_who_asked_for_that(browser: Browser, page: str) -> None:
    moves = "return getComputedStyle(document.querySelector('.used')).transitionDuration"
    visit(browser, page)
    assert browser.run(moves) != "0s"
    browser.look(still=True)
    assert browser.run(moves) == "0s"


def test_a_lost_connection_is_told_and_comes_back(browser: Browser) -> None:
    with console_in_background(Staged()) as url:
        visit(browser, url)
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    browser.until(lambda: "trying again" in browser.said("#connection"))
    assert browser.run("return document.getElementById('connection').dataset.state") == "waiting"
    assert browser.all(".piece"), "what was known stays on show"
    with console_in_background(Staged(), port=port):
        browser.until(lambda: "live" in browser.said("#connection"))
        browser.until(lambda: "connected again" in (browser.one("#announcements").get_attribute("textContent") or ""))


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser) -> None:
    with console_in_background(Staged(), key="sesame") as url:
        browser.open(url)
        assert "show an API key" in browser.said("dialog")
        browser.press("wrong", Keys.ENTER)
        browser.until(lambda: not browser.all("dialog") or browser.one("dialog input").get_attribute("value") == "")
        browser.one("dialog input").send_keys("sesame", Keys.ENTER)
        browser.until(lambda: "live" in browser.said("#connection"))
        assert browser.run("return sessionStorage.getItem('fastgshare.key')") == "sesame"
        assert browser.run("return JSON.stringify(localStorage)").find("sesame") == -1
        visit(browser, url)
        browser.run("sessionStorage.clear()")


def test_a_key_that_may_not_look_is_said_so_and_another_taken(browser: Browser) -> None:
    with console_in_background(Staged(), key="sesame") as url:
        browser.open(url)
        browser.one("dialog input").send_keys(FORBIDDEN_KEY, Keys.ENTER)
        browser.until(lambda: browser.all("dialog") and "this key may not" in browser.said("dialog"))
        browser.one("dialog input").send_keys("sesame", Keys.ENTER)
        browser.until(lambda: "live" in browser.said("#connection"))
        browser.one("#key").click()
        browser.one("dialog input").send_keys(FORBIDDEN_KEY, Keys.ENTER)
        browser.until(lambda: browser.all("dialog") and "this key may not" in browser.said("dialog"))
        browser.run("sessionStorage.clear()")


def test_an_address_that_was_cut_off_is_told_and_leads_back(browser: Browser, page: str) -> None:
    browser.open(f"{page}#/functions/%E0%A4%A")
    browser.until(lambda: "No function is called %E0%A4%A" in browser.said(".page > [role=status]"))
    browser.run("location.hash = '#/'")
    browser.until(lambda: browser.all("#devices"))


def test_a_change_of_somebody_elses_is_not_undone(browser: Browser, page: str, functions: FakeFunctions) -> None:
    visit(browser, f"{page}#/functions/bert-large")
    browser.until(lambda: browser.all(".form form"))
    name = FunctionName("bert-large")
    functions.specs[name] = replace(functions.specs[name], labels={"team": "other"})
    slo = browser.one(".form form:nth-of-type(3) input")
    slo.clear()
    slo.send_keys("77", Keys.ENTER)
    browser.until(lambda: "Somebody else changed bert-large" in browser.said(".notice"))
    assert functions.specs[name].slo_ms != 77


def test_a_surface_shows_what_was_measured_and_what_meets_the_objective(browser: Browser, page: str) -> None:
    visit(browser, f"{page}#/functions/resnet50")
    assert len(browser.all(".heat tbody td")) == 25
    best = browser.one(".heat .best")
    assert (best.get_attribute("title") or "").endswith("the best that meets the objective")
    misses = browser.one(".heat [data-misses]")
    assert "misses the objective" in (misses.get_attribute("title") or "")
    assert misses.text.startswith("~14 !")
    batch = browser.all(".heat-tools select")[2]
    browser.run("arguments[0].value = 1; arguments[0].dispatchEvent(new Event('change'))", batch)
    assert browser.one(".heat [data-measured]").text.split("\n")[0] == "33 !"


def test_quotas_are_changed_and_a_refusal_is_shown_in_words(
    browser: Browser, page: str, functions: FakeFunctions
) -> None:
    visit(browser, f"{page}#/functions/resnet50")
    browser.until(lambda: browser.all(".form form"))
    [request, limit] = browser.all(".form form:nth-of-type(2) input")
    request.clear()
    request.send_keys("90")
    limit.clear()
    limit.send_keys("50", Keys.ENTER)
    browser.until(lambda: "slice.quota_request is 0.9, expected at most quota_limit, 0.5" in browser.said(".notice"))
    limit.clear()
    limit.send_keys("95", Keys.ENTER)
    browser.until(lambda: "done" in browser.said(".notice"))
    held = functions.specs[FunctionName("resnet50")].slice
    assert (held.quota_request, held.quota_limit) == (0.9, 0.95)


def test_deleting_asks_first(browser: Browser, page: str, functions: FakeFunctions) -> None:
    visit(browser, f"{page}#/functions/ocr")
    browser.one("button.danger").click()
    assert browser.said("dialog").startswith("Delete ocr?")
    browser.press(Keys.ENTER)
    browser.until(lambda: not browser.all("dialog"))
    assert FunctionName("ocr") in functions.specs, "what has the focus first deletes nothing"
    browser.one("button.danger").click()
    browser.one("dialog button.danger").click()
    browser.until(lambda: FunctionName("ocr") not in functions.specs)
    browser.until(lambda: browser.all("#devices"))


def test_text_becomes_a_function_with_its_model_and_handler(
    browser: Browser, page: str, functions: FakeFunctions, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"a model")
    for name in ("zweite.py", "moody.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    visit(browser, f"{page}#/deploy")
    browser.one("#model-file").send_keys(str(tmp_path / "m.onnx"))
    browser.one("#handler-files").send_keys(f"{tmp_path / 'moody.py'}\n{tmp_path / 'zweite.py'}")
    browser.one("input[value=text]").click()
    handler = "{file: moody.py, class: Moody, files: [zweite.py]}"
    text = f"name: moody\nmodel: {{file: m.onnx}}\nhandler: {handler}\nslo_ms: nonsense\n"
    browser.one("#definition-text").send_keys(text)
    browser.one(".form button.primary").click()
    browser.until(lambda: "slo_ms" in browser.said(".notice.wrong"))
    browser.one("#definition-text").clear()
    browser.one("#definition-text").send_keys(text.replace("nonsense", "25"))
    browser.one(".form button.primary").click()
    spec = browser.until(lambda: functions.specs.get(FunctionName("moody")))
    assert (spec.slo_ms, spec.replicas, spec.model.size_bytes, spec.model.source) == (25, 1, 7, "m.onnx")
    assert spec.handler is not None
    assert (spec.handler.module, spec.handler.class_name) == ("moody.py", "Moody")
    by_command = write_zip(tmp_path / "h.zip", [tmp_path / "moody.py", tmp_path / "zweite.py"], "files")
    assert functions.stored[spec.handler.digest] == by_command.read_bytes(), "page and command make the same bytes"


def test_changes_for_the_worse_are_announced_once(browser: Browser) -> None:
    staged = Staged()
    staged.staged = (replace(FUNCTIONS[1]),)
    with console_in_background(staged) as url:
        visit(browser, url)
        said = "return document.getElementById('announcements').textContent"
        assert browser.run(said) == ""
        staged.staged = (replace(FUNCTIONS[1], ready=0, attainment={"1m": 0.5}),)
        browser.until(lambda: browser.run(said) == "filetype: 0 of 1 replicas ready, filetype misses its objective.")
        staged.staged = FUNCTIONS[1:2]
        browser.until(lambda: browser.run(said) == "function filetype: well again.")
        assert json.loads(browser.run("return JSON.stringify(document.querySelectorAll('[aria-live]').length)")) == 1
