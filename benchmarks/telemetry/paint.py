"""How long a browser takes from asking for the console to its first contentful paint, and to its first live picture.

A headless Chromium, a new profile for every visit, so that nothing comes from a cache. The paint is what the browser
itself reports (Paint Timing, https://www.w3.org/TR/paint-timing/), in milliseconds since the navigation began.
"""

import shutil
import tempfile
from statistics import median

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 20.0
PAINT = """
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return paint ? paint.startTime : null;
"""


def browser() -> tuple[str, str] | None:
    """Chromium and its driver on this machine; None where one is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


def first_paint_ms(url: str, visits: int) -> float:
    """The median over `visits` first visits, after one that only warms the machine up."""
    found = browser()
    assert found is not None, "asked for where there is no browser"
    return round(median([_visit(url, *found) for _ in range(visits + 1)][1:]), 1)


def _visit(url: str, chromium: str, driver: str) -> float:
    with tempfile.TemporaryDirectory(prefix="fastgshare-paint-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        window = webdriver.Chrome(options=options, service=Service(driver))
        try:
            window.get(url)
            painted = WebDriverWait(window, PATIENCE_S, poll_frequency=0.02).until(
                lambda page: page.execute_script(PAINT)
            )
            return float(painted)
        finally:
            window.quit()
