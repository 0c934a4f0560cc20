"""A real Chromium for tests of the page, driven by Playwright; and axe-core, which checks pages."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.live import patient, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WALL = {"width": 3840, "height": 2160}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium; the test is skipped where it is not installed."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra dev")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One open page, and what went wrong on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(patient(15) * 1000)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _note_console(self, message: Any) -> None:
        # An answer that is no success is told there too; the tests look at those themselves.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    @property
    def is_wider_than_screen(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def wait(self, condition: str, seconds: float = 20) -> None:
        """Wait until an expression of the page's language is true.

        `wait_for_function` cannot be used: the page's policy forbids to evaluate texts in it.
        """
        wait_for(lambda: self.page.evaluate(condition), condition, seconds)

    def violations(self) -> list[str]:
        """Return what axe-core finds, one line each."""
        self.page.evaluate(axe_script())  # a script element would break the page's own policy
        found = self.page.evaluate("axe.run().then((one) => one.violations)")
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found
            for node in one["nodes"]
        ]


@contextlib.contextmanager
def visit(
    browser: Browser, url: str, path: str = "/", *, language: str = "en-US", **options: Any
) -> Iterator[Visit]:
    """Open a page as a new visitor; at the end nothing has gone wrong and no request has left."""
    options.setdefault("viewport", DESKTOP)
    context = browser.new_context(locale=language, **options)
    try:
        one = Visit(context.new_page(), url)
        one.page.goto(url + path)
        yield one
        assert one.errors == []
        assert one.hosts == {urlsplit(url).netloc}
    finally:
        context.close()


def axe_script() -> str:
    """Return the text of axe-core, which a package of PyPI carries."""
    package = pytest.importorskip("axe_playwright_python", reason="needs the extra dev")
    return Path(package.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
