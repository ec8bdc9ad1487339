"""The console before a real platform: a function is deployed, seen, changed, scaled and deleted from the page."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser import Browser, open_browser
from tests.integration import models
from tests.integration.world import World

pytestmark = pytest.mark.timeout(300)
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def console(world: World, browser: Browser) -> Browser:
    """The page of the shared platform, as a browser finds it from the gateway's address."""
    browser.look()
    browser.open(world.http_url)
    browser.until(lambda: "live" in browser.said("#connection"))
    return browser


def labelled(browser: Browser, label: str) -> WebElement:
    """The input that a person finds by its label."""
    [found] = [field for field in browser.all(".field") if field.is_displayed() and field.text.split("\n")[0] == label]
    control: WebElement = browser.run("return arguments[0].querySelector('input, select')", found)
    return control


def enter(browser: Browser, label: str, value: str, *after: str) -> None:
    """Put a value where another stood."""
    control = labelled(browser, label)
    control.send_keys(Keys.CONTROL, "a")
    control.send_keys(value, *after)


def deploy(browser: Browser, name: str, model: Path) -> None:
    """Fill the form in and send it."""
    browser.one("a[href='#/deploy']").click()
    browser.one("#model-file").send_keys(str(model))
    labelled(browser, "How many").send_keys("a fixed number")
    enter(browser, "Name", name)
    enter(browser, "Objective, ms", "2000")
    enter(browser, "Promised time, %", "5")
    enter(browser, "Memory, MiB", "32")
    browser.one(".form button.primary").click()


def figure(browser: Browser, name: str) -> str:
    """One of the large numbers on a function's page."""
    texts = [figure.text for figure in browser.all(".figures > div")]
    return next((text for text in texts if text.startswith(name)), "")


def test_a_functions_life_from_the_page(world: World, console: Browser, name: str, tmp_path: Path) -> None:
    deploy(console, name, models.times(tmp_path / "times.onnx", 2.0))
    console.until(lambda: "1 of 1" in figure(console, "Replicas ready"), 120)
    answer = httpx.post(f"{world.http_url}/v2/models/{name}/infer", json=ROW, timeout=30)
    assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]
    assert "times.onnx" in console.said(".plain")

    enter(console, "At most, % of time", "60", Keys.ENTER)
    console.until(lambda: "5 % to 60 %" in console.said(".replicas"), 60)
    enter(console, "Replicas", "2", Keys.ENTER)
    console.until(lambda: "2 of 2" in figure(console, "Replicas ready"), 120)
    enter(console, "Objective, ms", "0", Keys.TAB)
    assert console.run("return document.querySelector('.form form:last-of-type').checkValidity()") is False

    console.press(Keys.ESCAPE, Keys.ESCAPE)
    console.until(lambda: console.all("#devices"))
    pieces = f".piece[data-replica^='{name}-']"
    console.until(lambda: len(console.all(pieces)) >= 2)
    assert "promised 5 % of the time, at most 60 %" in (console.one(pieces).get_attribute("aria-label") or "")
    console.until(lambda: name in console.said(".decisions"))

    console.one(pieces).send_keys(Keys.ENTER)
    console.until(lambda: console.all("button.danger"))
    console.one("button.danger").click()
    console.one("dialog button.danger").click()
    console.until(lambda: console.all("#devices"))
    console.until(lambda: name not in console.said("#functions"))
    console.until(lambda: not console.all(pieces), 60)
    assert httpx.post(f"{world.http_url}/v2/models/{name}/infer", json=ROW, timeout=30).status_code == 404
    assert [line for line in console.complaints() if "favicon" not in line] == []


def test_a_model_that_is_none_is_told_on_the_page(console: Browser, name: str, tmp_path: Path) -> None:
    deploy(console, name, models.broken(tmp_path / "broken.onnx"))
    try:
        console.until(lambda: console.all("ul.reason li"), 120)
        assert "failed" in console.said(".replicas")
    finally:
        console.until(lambda: console.all("button.danger"))
        console.one("button.danger").click()
        console.one("dialog button.danger").click()
        console.until(lambda: console.all("#devices"))
