"""Make the pictures of the page and the terminal for the README, from a running demo.

    python scripts/picture_page.py      # needs chromium, mosquitto and the extra `dev`

It writes docs/images/page.png, page-machine.png, page-phone.png and terminal.png. The values are
those of the simulated line, so no two pictures are the same.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI

from edgeai.demo.demo import run_demo

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
TALL = {"width": 1280, "height": 1560}
MACHINE, FAULT = "moulding-2", "coolant_blocked"
HEALTHY_SECONDS = 25
START_SECONDS, ALARM_SECONDS = 40.0, 90.0
TERMINAL_SECONDS, TERMINAL_COLUMNS = 16.0, 100
TERMINAL_STYLE = (
    "pre { display: inline-block; margin: 0; padding: 16px 22px; background: #0c0c0c;"
    " color: #d9d9d9; font: 15px/1.4 monospace; }"
)
TABLE_HEAD = "asset, pipeline"
ALARM = (
    'document.querySelector(".tile.is-active .act:not([hidden])") !== null'
    ' && document.querySelector(".tile.is-unknown") === null'
)
DIAGNOSED = 'document.querySelector(".machine-head .why").textContent.startsWith("Coolant bl")'
INSIDE = (
    'document.querySelector("figure.field canvas") !== null'
    ' && document.querySelectorAll(".chart canvas").length >= 2'
)


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory(prefix="edgeai-picture-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            demo = subprocess.Popen(
                [sys.executable, "-m", "edgeai", "demo"], stdout=output, stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "EDGEAI_STATE_DIR": folder},
            )  # fmt: skip
        try:
            url = found_in(log, r"status page\s+(http://\S+)/")
            take_pictures(url, found_in(log, r"token\s+(\S{16,})"))
        finally:
            demo.terminate()
            demo.wait()
        os.environ["EDGEAI_STATE_DIR"] = folder
        console = Console(record=True, width=TERMINAL_COLUMNS, force_terminal=False)
        run_demo(TERMINAL_SECONDS, console)
    picture_terminal(console.export_html(inline_styles=True, theme=MONOKAI))


def found_in(log: Path, pattern: str) -> str:
    """Return what a pattern captures, as soon as the demo prints it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.2)
    sys.exit(f"the demo does not start:\n{log.read_text()}")


def take_pictures(url: str, token: str) -> None:
    """Take the pictures once a machine is in alarm, and of one with a fault injected here."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=DESKTOP, locale="en-US", reduced_motion="reduce")
        page.goto(url)
        wait(page, ALARM, ALARM_SECONDS)
        page.screenshot(path=IMAGES / "page.png")
        page.locator(f'a.tile[href="#/machine/{MACHINE}"]').click()
        wait(page, INSIDE, ALARM_SECONDS)
        page.wait_for_timeout(HEALTHY_SECONDS * 1000)  # so that the chart shows both
        page.locator(f'button[data-fault="{FAULT}"]').click()
        page.locator("#token-input").fill(token)
        page.keyboard.press("Enter")
        page.set_viewport_size(TALL)
        wait(page, DIAGNOSED, ALARM_SECONDS)
        page.wait_for_timeout(HEALTHY_SECONDS * 1000)
        page.screenshot(path=IMAGES / "page-machine.png")
        phone = browser.new_page(
            viewport=PHONE, locale="ko-KR", color_scheme="dark", reduced_motion="reduce"
        )
        phone.goto(url)
        wait(phone, 'document.querySelectorAll(".tiles a").length >= 5', START_SECONDS)
        phone.screenshot(path=IMAGES / "page-phone.png")
        browser.close()


def picture_terminal(html: str) -> None:
    """Take a picture of the first lines, without the path on this machine, and the last table."""
    opening, _, _ = html.partition("  config")
    ending = html.rpartition(TABLE_HEAD)
    start = ending[0].rpartition("\n")[2]  # the beginning of the line that holds the head
    shown = f"{opening}\n{start}{ending[1]}{ending[2]}"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=DESKTOP)
        page.set_content(shown)
        page.add_style_tag(content=TERMINAL_STYLE)
        page.locator("pre").screenshot(path=IMAGES / "terminal.png")
        browser.close()


def wait(page: Page, condition: str, seconds: float) -> None:
    """Wait until an expression is true; the page's policy forbids `wait_for_function`."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:.0f} s for {condition}")
        page.wait_for_timeout(200)


if __name__ == "__main__":
    main()
