"""Alarms on the page, in a real Chromium: acknowledge, shelve and unshelve, by keyboard alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeai.config.broker import Secret
from edgeai.config.node import Http
from edgeai.node.http_answers import Reply
from tests.support.browser import chromium, visit
from tests.support.page_stub import Stub, made_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.system

TOKEN = "the-token-of-the-page"
COMMANDS = ["acknowledge", "shelve", "unshelve"]
HOT = {
    "asset": "m", "alarm": "active", "status": "unacknowledged", "since": 900.0,
    "top": [["torque", 9.0]], "acknowledged": None, "shelved": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


class Desk:
    """A node whose state is what the commands have made of it."""

    def __init__(self, folder: Path, *others: dict[str, Any]) -> None:
        (folder / "token").write_text(TOKEN)
        self.alarm: dict[str, Any] = dict(HOT)
        self.others = others
        self.given: list[tuple[str, Any]] = []
        secret = Secret(file=str(folder / "token"))
        http = Http(port=0, token=secret, page_needs_token=False)
        self.stub = Stub(http, self.obey)
        self.stub.signals = [("torque", "N*m", 2.0)]
        self.url = self.stub.web.url
        self.show()

    def show(self) -> None:
        pipeline = {"shelve_max_seconds": 7200.0, "position": "cell-1"}
        shown = made_up(self.alarm, *self.others, pipeline=pipeline)
        self.stub.state = {**shown, "now": time.time(), "commands": COMMANDS}

    def obey(self, name: str, content: Any) -> Reply:
        self.given.append((name, content))
        if name == "acknowledge":
            by = {"at": time.time(), "by": content.get("operator", "")}
            self.alarm |= {"status": "acknowledged", "acknowledged": by}
        elif name == "shelve":
            self.alarm |= {
                "status": "shelved",
                "shelved": {
                    "until": time.time() + content["seconds"], "by": content.get("operator", ""),
                    "reason": content["reason"],
                },
            }  # fmt: skip
        else:
            self.alarm |= {"status": "unacknowledged", "shelved": None}
        self.show()
        return Reply(HTTPStatus.ACCEPTED, {"accepted": True})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path)
    yield one
    one.stub.close()


def test_an_alarm_is_handled_by_keyboard_alone(desk: Desk, browser: Browser) -> None:
    with visit(browser, desk.url, "/#/machine/m") as here:
        page, keyboard = here.page, here.page.keyboard
        head = page.locator(".machine-head")
        page.locator("button.acknowledge").focus()
        keyboard.press("Enter")
        page.locator("#token-input").fill(TOKEN)
        page.locator("#operator-input").fill("Kim")
        keyboard.press("Enter")
        here.wait('document.querySelector(".machine-head.is-acknowledged") !== null')
        assert desk.given == [("acknowledge", {"pipeline": "p", "asset": "m", "operator": "Kim"})]
        assert page.locator(".machine-head .word").text_content() == "Alarm, acknowledged"
        assert "by Kim" in (head.locator(".why").text_content() or "")
        here.wait('document.activeElement.textContent === "Acknowledged."')

        page.locator("button.shelve").focus()
        keyboard.press("Enter")
        assert page.get_by_role("dialog").is_visible()
        assert page.evaluate("document.activeElement.id") == "shelve-seconds"
        offered = page.locator("#shelve-seconds option").all_text_contents()
        assert offered == ["15 min", "60 min", "2 h"], "up to the declared maximum"
        assert here.violations() == []
        keyboard.press("ArrowDown")
        page.locator("#shelve-reason").fill("new tool")
        keyboard.press("Enter")
        here.wait('document.querySelector(".machine-head.is-shelved") !== null')
        name, content = desk.given[-1]
        assert (name, content["seconds"], content["reason"]) == ("shelve", 3600, "new tool")
        assert content["operator"] == "Kim"
        assert page.locator(".shelved-left").text_content() == "Shelved for another 60 min"
        assert "by Kim: new tool" in (head.locator(".why").text_content() or "")
        assert here.violations() == []

        # The time passes, and the button keeps the focus.
        page.locator("button.unshelve").focus()
        desk.alarm["shelved"] |= {"until": time.time() + 59}
        desk.show()
        left = 'document.querySelector(".shelved-left").textContent'
        here.wait(f"/another 5\\d s/.test({left})")
        before = page.locator(".shelved-left").text_content()
        time.sleep(1)
        desk.show()  # a later time
        here.wait(f"{left} !== {before!r}")
        assert page.evaluate("document.activeElement.className") == "unshelve"
        keyboard.press("Enter")
        here.wait('document.querySelector(".machine-head.is-active") !== null')
        assert page.locator(".shelved-left").is_hidden()
        page.get_by_role("button", name="Forget the token").click()
        assert page.evaluate("sessionStorage.length") == 0, "nor the name"


def test_the_dialog_of_shelving_is_left_without_a_command(desk: Desk, browser: Browser) -> None:
    with visit(browser, desk.url, "/#/machine/m") as here:
        here.page.locator("button.shelve").click()
        here.page.keyboard.press("Escape")
        here.wait('!document.querySelector("dialog[open]")')
        here.page.locator("button.shelve").click()
        here.page.get_by_role("button", name="Cancel").click()
        here.wait('!document.querySelector("dialog[open]")')
        assert desk.given == []


@pytest.mark.parametrize(("language", "shown"), [("en-US", "Shelved for"), ("ko-KR", "보류")])
def test_machines_stand_in_the_order_of_what_they_need(
    tmp_path: Path, browser: Browser, language: str, shown: str
) -> None:
    shelf = {"until": time.time() + 1200, "by": "", "reason": ""}
    desk = Desk(
        tmp_path,
        {"asset": "calm", "status": "shelved", "shelved": shelf},
        {**HOT, "asset": "put aside", "status": "shelved", "shelved": shelf},
        {**HOT, "asset": "follows", "status": "suppressed", "cause": "alarm:p/m"},
        {"asset": "stopped", "state": "stale", "since": 1.0},
        {**HOT, "asset": "seen", "status": "acknowledged",
         "acknowledged": {"at": time.time(), "by": "Lee"}},
        {**HOT, "asset": "was hot", "alarm": "latched", "status": "returned"},
        {**HOT, "asset": "minor", "priority": "medium", "since": 999.0},
        {**HOT, "asset": "worst", "priority": "critical", "since": 1.0},
    )  # fmt: skip
    desk.alarm["followers"] = 1
    desk.show()
    try:
        with visit(browser, desk.url, language=language) as here:
            here.wait('document.querySelectorAll(".tile").length === 9')
            names = here.page.locator(".tile .name").all_text_contents()
            assert names == [
                "worst", "m", "minor", "was hot", "seen", "stopped", "follows", "put aside", "calm",
            ]  # fmt: skip
            tiles = dict(zip(names, here.page.locator(".tile").all_text_contents(), strict=True))
            assert shown in tiles["put aside"]
            assert shown in tiles["calm"], "also of a machine that is normal"
            assert "Lee" in tiles["seen"]
            if language == "en-US":
                assert "It follows from the alarm of m" in tiles["follows"]
                assert "1 other alarm follows from it" in tiles["m"]
                assert "All" not in (here.page.locator("h1").text_content() or "")
                spoken = here.page.locator("#spoken").text_content() or ""
                assert "worst: Alarm" in spoken
                assert "put aside" not in spoken, "what is shelved is not announced"
            shapes = here.page.locator(".tile .shape use").all()
            assert len({one.get_attribute("href") for one in shapes}) == 7
            assert here.violations() == []
    finally:
        desk.stub.close()


def test_a_lost_broker_is_one_banner_with_the_number_of_machines(browser: Browser) -> None:
    stub = Stub()
    stub.state = made_up(
        *({"asset": f"m{n}", "state": "stale", "since": 1.0} for n in range(3)),
        pipeline={"stale": 3}, broker={"connected": False, "fault": "connection lost"},
    )  # fmt: skip
    try:
        with visit(browser, stub.web.url) as here:
            here.wait('document.querySelectorAll(".tile").length === 3')
            (banner,) = here.page.locator(".banner").all_text_contents()
            assert "The broker is not connected" in banner
            assert "3 machines have no data because of it." in banner
    finally:
        stub.close()
