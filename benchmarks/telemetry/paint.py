"""How long a browser takes from asking for the console to its first contentful paint, and to its first live picture.

A headless Chromium, a new profile for every visit, so that nothing comes from a cache. The paint is what the browser
itself reports (Paint Timing, https://www.w3.org/TR/paint-timing/), in milliseconds since the navigation began.
"""

import shutil
import tempfile
from statistics import median

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
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


def first_paint_ms(url: str, visits: int) -> tuple[float | None, str]:
    """The median over `visits` first visits, after one that only warms the machine up; or None and why."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        return None, "there is no chromium with its driver here"
    try:
        painted_ms = [_visit(url, chromium, driver) for _ in range(visits + 1)][1:]
    except WebDriverException as error:
        return None, str(error.msg or type(error).__name__).splitlines()[0]
    return round(median(painted_ms), 1), ""


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
