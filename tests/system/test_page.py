"""The page in a real Chromium: beside the running demo, and beside made-up states."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeai.config.broker import Secret
from edgeai.config.node import Http
from edgeai.demo.broker import find_mosquitto
from edgeai.node.http_answers import Reply
from edgeai.node.http_server import HttpServer
from tests.support.browser import DESKTOP, PHONE, chromium, visit
from tests.support.live import patient, wait_for
from tests.support.page_stub import Stub, made_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MACHINE = "agitator-2"  # its alarms latch in the demo
FAULT = "impeller_imbalance"
TILE = f'a.tile[href="#/machine/{MACHINE}"]'
KOREAN = re.compile("[가-힣]")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


class Demo:
    """A running demo."""

    def __init__(self, log: Path) -> None:
        self.log = log

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return re.search(r"status page\s+(http://\S+)/", self.text)[1]  # type: ignore[index]

    @property
    def token(self) -> str:
        return re.search(r"token\s+(\S{16,})", self.text)[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp("demo")
    one = Demo(folder / "log")
    with one.log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeai", "demo"], stdout=output, stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "EDGEAI_STATE_DIR": str(folder)},
        )  # fmt: skip
    try:
        wait_for(lambda: "config  " in one.text, "the demo to run", 40)
        yield one
    finally:
        process.terminate()
        process.wait(patient(15))
    assert "Traceback" not in one.text


# ----------------------------------------------------------------------------- the running demo


def test_a_fault_injected_on_the_page_becomes_an_alarm_and_is_acknowledged(
    demo: Demo, browser: Browser
) -> None:
    with visit(browser, demo.url) as here:
        page = here.page
        page.locator(TILE).click()
        here.wait(f'document.querySelector("h1").textContent === "{MACHINE}"')
        page.locator(f'button[data-fault="{FAULT}"]').click()

        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("not-the-right-token")
        dialog.get_by_role("button", name="Send the command").click()
        assert "not accepted" in dialog.get_by_role("alert").text_content()
        dialog.get_by_label("Token").fill(demo.token)
        dialog.get_by_role("button", name="Send the command").click()
        page.get_by_text("Injected: impeller imbalance").wait_for()

        here.wait('document.querySelector(".machine-head.is-active") !== null', 40)
        assert page.locator(".machine-head .word").text_content() == "Alarm"
        assert "Check" in page.locator(".machine-head .act").text_content()
        marked = page.locator('.signal[data-marked="true"]')
        assert "contributes" in marked.first.text_content()
        here.wait('document.querySelector(".chart canvas") !== null')
        page.get_by_role("link", name="Back to all machines").click()
        tile = page.locator(f"{TILE}.is-active")
        tile.wait_for()
        assert tile.locator(".word").text_content() == "Alarm"
        assert "vibration" in tile.locator(".why").text_content().lower()
        assert (
            page.locator(".tiles a").first.get_attribute("class").endswith(("is-active", "is-low"))
        )

        tile.click()
        page.get_by_role("button", name="End all faults").click()  # the token is kept
        here.wait('document.querySelector(".machine-head.is-latched") !== null', 60)
        page.get_by_role("button", name="Acknowledge the alarm").click()
        here.wait('document.querySelector(".machine-head.is-normal") !== null')
        page.locator(".events").get_by_text("Acknowledged").first.wait_for()
        assert page.evaluate("sessionStorage.length") == 1
        assert page.evaluate("document.cookie") == ""


def test_the_inside_of_the_mould_is_shown(demo: Demo, browser: Browser) -> None:
    with visit(browser, demo.url, "/#/machine/moulding-2") as here:
        page = here.page
        here.wait('document.querySelector("figure.field canvas") !== null', 60)
        picture = page.locator("figure.field canvas").first
        assert "from 2" in picture.get_attribute("aria-label"), "degrees"
        assert page.evaluate(
            """() => { const one = document.querySelector("figure.field canvas");
            const data = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
            return new Set(data).size > 20 }"""
        )
        estimates = page.locator(".estimates").all_text_contents()
        assert any("Coolant coefficient" in one and "90 % interval" in one for one in estimates)
        here.wait('document.querySelectorAll(".chart canvas").length >= 2', 40)
        other = page.get_by_role("button", name="melt temperature").first
        other.click()
        here.wait("""document.querySelector(".signal-heading").textContent.startsWith("melt")""")
        assert other.get_attribute("aria-pressed") == "true"


def test_the_language_is_the_browsers_and_can_be_switched(demo: Demo, browser: Browser) -> None:
    with visit(browser, demo.url, language="ko-KR") as here:
        page = here.page
        here.wait('document.querySelectorAll(".tiles a").length >= 5')
        assert page.evaluate("document.documentElement.lang") == "ko"
        assert KOREAN.search(page.locator("h1").text_content())
        assert KOREAN.search(page.title())
        page.get_by_role("button", name="English").click()
        here.wait('document.documentElement.lang === "en"')
        assert not KOREAN.search(page.locator("main").text_content())
        page.reload()
        here.wait('document.querySelectorAll(".tiles a").length >= 5')
        assert not KOREAN.search(page.locator("h1").text_content()), "the choice is kept"
    with visit(browser, demo.url, "/#/machine/moulding-1", language="ko") as here:
        here.wait('document.querySelectorAll(".signal").length > 10')
        names = here.page.locator(".signal-name").all_text_contents()
        assert all(KOREAN.search(name) or name in {"T²", "Q"} for name in names), names
    with visit(browser, demo.url, language="de-DE") as here:
        here.wait('document.querySelectorAll(".tiles a").length >= 5')
        assert here.page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("language", ["en-US", "ko-KR"])
def test_nothing_is_wider_than_a_phone(demo: Demo, browser: Browser, language: str) -> None:
    for path in ("/", "/#/machine/moulding-1"):
        with visit(browser, demo.url, path, language=language, viewport=PHONE) as here:
            here.wait('document.querySelector(".tiles a, .chart canvas") !== null', 40)
            assert not here.is_wider_than_screen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(demo: Demo, browser: Browser, scheme: str) -> None:
    with visit(browser, demo.url, color_scheme=scheme, reduced_motion="reduce") as here:
        page = here.page
        here.wait('document.querySelectorAll(".tiles a").length >= 5')
        assert here.violations() == []
        page.locator('a.tile[href="#/machine/moulding-1"]').click()
        here.wait('document.querySelector("figure.field canvas") !== null', 60)
        here.wait('document.querySelectorAll(".chart canvas").length >= 2', 40)
        assert here.violations() == []
        page.get_by_role("button", name="early shrinkage").click()
        page.get_by_role("dialog").wait_for()
        assert here.violations() == []
        page.keyboard.press("Escape")
        here.wait('document.querySelector("dialog[open]") === null')
        assert page.locator("h1").text_content() == "moulding-1", (
            "Escape has closed the dialog only"
        )


def test_the_keyboard_reaches_a_machine_and_comes_back(demo: Demo, browser: Browser) -> None:
    with visit(browser, demo.url) as here:
        page = here.page
        here.wait('document.querySelectorAll(".tiles a").length >= 5')
        focused = lambda: page.evaluate("document.activeElement.getAttribute('href')")  # noqa: E731
        for _ in range(20):
            page.keyboard.press("Tab")
            if (focused() or "").startswith("#/machine/"):
                break
        target = focused()
        assert target.startswith("#/machine/")
        page.keyboard.press("Enter")
        here.wait('document.querySelector(".machine-head") !== null')
        name = target.removeprefix("#/machine/")
        assert page.evaluate("document.activeElement.textContent") == name, "the heading"
        page.keyboard.press("Escape")
        here.wait('document.querySelector(".tiles a") !== null')
        assert focused() == target, "where it was"
        page.keyboard.press("Shift+Tab")
        time.sleep(1.2)  # two answers: drawing again must not move the focus
        assert page.evaluate("document.activeElement !== document.body")


# ------------------------------------------------------------------------------- made-up states


@pytest.fixture
def stub() -> Iterator[Stub]:
    one = Stub()
    yield one
    one.close()


def test_what_has_stopped_or_was_never_judged_does_not_look_healthy(
    stub: Stub, browser: Browser
) -> None:
    stub.state = made_up(
        {"asset": "runs"},
        {"asset": "stopped", "state": "stale", "since": 400.0},
        {"asset": "stopped in alarm", "state": "stale", "alarm": "active", "since": 100.0},
        {"asset": "latched", "alarm": "latched", "since": 100.0},
        {"asset": "outside", "alarm": "active", "priority": "low", "reason": "outside_domain",
         "since": 1.0},
        {"asset": "never", "state": "unknown", "alarm": "unknown", "score": None, "time": None,
         "waiting_for": ["b"]},
    )  # fmt: skip
    with visit(browser, stub.web.url) as here:
        here.wait('document.querySelectorAll(".tile").length === 6')
        tiles = here.page.locator(".tile").all()
        found = [(one.locator(".name").text_content(), one.get_attribute("class")) for one in tiles]
        assert found == [
            ("stopped in alarm", "tile is-active"), ("outside", "tile is-low"),
            ("latched", "tile is-latched"), ("stopped", "tile is-stale"),
            ("never", "tile is-unknown"), ("runs", "tile is-normal"),
        ]  # fmt: skip
        texts = [one.text_content() for one in tiles]
        words = ["Alarm", "Unknown conditions", "To acknowledge", "No data", "Waiting", "Normal"]
        assert all(word in text for word, text in zip(words, texts, strict=True)), "never a colour"
        shapes = [one.locator("use").first.get_attribute("href") for one in tiles]
        assert len(set(shapes)) == 6, "and a shape each"
        assert "No data since" in texts[0], "an alarm whose machine has stopped since"
        assert "for 10 min" in texts[3]
        assert "first value of b" in texts[4]
        system = here.page.locator(".system").text_content()
        assert "instead of npu: the NPU has crashed" in system
        assert "7 the payload is not JSON" in system


def test_the_operating_state_of_a_machine_is_shown_in_words(stub: Stub, browser: Browser) -> None:
    """On every tile, in both languages; a low alarm says that nobody declared the state."""
    low = {
        "alarm": "active",
        "priority": "low",
        "reason": "undeclared_state",
        "since": 1.0,
        "is_undeclared": True,
    }
    stub.state = {
        **made_up(
            {"asset": "a", "operating": "stopped", "not_judged": "state", "score": None},
            {"asset": "b", "operating": "undeclared", "not_judged": "undeclared", **low},
            {"asset": "c", "operating": "line 3", "not_judged": None},
            {"asset": "d"},
        ),
        "events": [{"kind": "operating", "time": 900.0, "pipeline": "p", "assets": ["b"],
                    "count": 1, "operating": "undeclared"}],
    }  # fmt: skip
    for language, words in {
        "en-GB": ("stopped, not judged", "in no declared state", "line 3"),
        "ko-KR": ("정지, 판정 안 함", "선언되지 않은 상태", "line 3"),
    }.items():
        with visit(browser, stub.web.url, language=language) as here:
            here.wait('document.querySelectorAll(".tile").length === 4')
            found = {
                one.locator(".name").text_content(): one.locator(".operating").text_content()
                for one in here.page.locator(".tile").all()
            }
            assert found == dict(zip("abcd", (*words, ""), strict=True))
            assert words[1] in (here.page.locator(".event .what").text_content() or "")
            why = here.page.locator(".tile.is-low .why").text_content()
            assert why == {
                "en-GB": "The machine is in no operating state that is declared",
                "ko-KR": "설비가 선언된 운전 상태 중 어느 것에도 있지 않습니다",
            }[language]  # fmt: skip


def test_names_are_text_and_never_markup(stub: Stub, browser: Browser) -> None:
    name = '<img src=x onerror="alert(1)">/<b>1'
    stub.state = made_up(
        {"asset": name, "alarm": "active", "since": 1.0, "top": [["<i>s</i>", 2.0]]},
        pipeline={"fault": "<script>1</script>"}, node="<u>n</u>",
    )  # fmt: skip
    with visit(browser, stub.web.url) as here:
        here.wait('document.querySelectorAll(".tile").length === 1')
        page = here.page
        assert page.locator(".tile .name").text_content() == name
        assert "<i>s</i>" in page.locator(".tile .why").text_content().lower()
        assert page.locator("main img, main script, main i:not(.level), main u").count() == 0
        page.locator(".tile").click()
        here.wait('document.querySelector(".machine-head") !== null')
        assert page.locator("h1").text_content() == name


def test_a_pipeline_without_machines_and_one_that_is_not_ready_are_told(
    stub: Stub, browser: Browser
) -> None:
    fault = "pipeline p: 140 messages and no sample (invalid_json 140)"
    stub.state = made_up(pipeline={"fault": fault})
    with visit(browser, stub.web.url) as here:
        here.wait('document.querySelectorAll(".tile.is-notready").length === 1')
        assert "140 messages and no sample" in here.page.locator(".tile").text_content()
        assert here.page.locator("h1").text_content() == "1 machine is not ready"
        stub.state = made_up()
        here.wait('document.querySelectorAll(".tile.is-unknown").length === 1')
        assert "No message yet" in here.page.locator(".tile").text_content()
        stub.state = made_up({"asset": "m"}, pipeline={"streams": 31})
        here.wait('document.querySelectorAll(".tile.is-normal").length === 1')
        assert "30 more machines" in here.page.locator(".hidden-machines").text_content()


def test_an_address_that_cannot_be_read_shows_all_machines(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "m"})
    with visit(browser, stub.web.url, "/#/machine/%E0%A4%A") as here:  # errors are looked at there
        here.wait('document.querySelectorAll(".tile").length === 1')


def test_what_is_told_about_a_token_that_is_not_accepted(tmp_path: Path, browser: Browser) -> None:
    """Also one that no header can carry, and when the refusal is faster than the dialog."""
    (tmp_path / "token").write_text("the-token-of-the-page")
    latched = {"asset": "m", "alarm": "latched", "since": 1.0}
    commanded: list[str] = []

    def obey(name: str, _content: Any) -> Reply:
        commanded.append(name)
        return Reply(HTTPStatus.OK, {})

    web = HttpServer(
        Http(port=0, token=Secret(file=str(tmp_path / "token")), page_needs_token=False),
        render_metrics=bytes, alive=dict, ready=dict, command=obey,
        state=lambda: {**made_up(latched), "commands": ["acknowledge"]},
    )  # fmt: skip
    try:
        with visit(browser, web.url, "/#/machine/m") as here:
            here.page.locator("button.acknowledge").click()
            for wrong in ("열쇠말입니다", "wrong", "token with spaces"):
                here.page.locator("#token-input").fill(wrong)
                here.page.evaluate("window.old = document.getElementById('token-input')")
                here.page.keyboard.press("Enter")
                here.wait("document.getElementById('token-input') !== window.old")
                # Time for the event `close` of the question before.
                here.page.evaluate("new Promise((done) => setTimeout(done, 100))")
                dialog = here.page.get_by_role("dialog")
                assert dialog.is_visible(), wrong
                assert "not accepted" in dialog.text_content().lower(), wrong
            # This answer comes at once: before the event `close` of the question before.
            here.page.evaluate("window.fetch = async () => new Response('{}', {status: 401})")
            here.page.locator("#token-input").fill("wrong too")
            here.page.keyboard.press("Enter")
            here.page.evaluate("new Promise((done) => setTimeout(done, 100))")
            assert here.page.get_by_role("dialog").is_visible()
            here.page.keyboard.press("Escape")
            here.wait('!document.querySelector("dialog[open]")')
        assert commanded == []
    finally:
        web.close()


def test_a_lost_broker_and_a_lost_node_are_told(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "m"}, broker={"connected": False, "fault": "not connected to b"})
    with visit(browser, stub.web.url) as here:
        here.wait('document.querySelector(".banner.broker") !== null')
        assert "not connected to b" in here.page.locator(".banner").text_content().lower()
        stub.close()
        here.wait('document.querySelector(".banner.lost") !== null')
        assert here.page.evaluate('document.body.classList.contains("old")')
        assert here.page.locator("h1").text_content() == "No current values"
        assert here.page.locator("#live").is_hidden()


def test_a_screen_reader_hears_of_a_new_alarm_once(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "m"})
    with visit(browser, stub.web.url) as here:
        here.wait('document.querySelectorAll(".tile").length === 1')
        spoken = here.page.locator("#spoken")
        assert spoken.get_attribute("aria-live") == "polite"
        assert spoken.text_content() == ""
        here.page.evaluate(
            "new MutationObserver(() => window.told = (window.told ?? 0) + 1)"
            '.observe(document.getElementById("spoken"), {childList: true})'
        )
        alarm = {"asset": "m", "alarm": "active", "since": 999.0, "top": [["melt_pressure", 3.0]]}
        stub.state = made_up(alarm)
        here.wait('document.getElementById("spoken").textContent.startsWith("m: Alarm, Melt")')
        time.sleep(1.2)  # two more answers
        assert here.page.evaluate("window.told") == 1


def test_without_motion_for_those_who_ask_for_it(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "m", "alarm": "active", "since": 1.0})
    animation = 'getComputedStyle(document.querySelector(".tile .shape")).animationName'
    for motion, name in (("reduce", "none"), ("no-preference", "pulse")):
        with visit(browser, stub.web.url, reduced_motion=motion) as here:
            here.wait('document.querySelectorAll(".tile").length === 1')
            assert here.page.evaluate(animation) == name


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_many_machines_with_long_names_fit(stub: Stub, browser: Browser, size: Any) -> None:
    long = "plantAhall3line12station04injectionmouldingmachinearburgallrounder570snumber"
    states = [{"alarm": "active", "since": 1.0}, {"state": "stale", "since": 1.0}, {}, {}]
    stub.state = made_up(
        *({"asset": f"{long}{number}", **states[number % 4]} for number in range(200))
    )
    with visit(browser, stub.web.url, viewport=size) as here:
        here.wait('document.querySelectorAll(".tile").length === 200')
        assert not here.is_wider_than_screen
        assert here.page.locator("h1").text_content() == "50 alarms"
        names = 'document.querySelectorAll(".tile .name")'
        lines = f"Math.max(...[...{names}].map((one) => one.clientHeight"
        lines += " / parseFloat(getComputedStyle(one).lineHeight)))"
        assert here.page.evaluate(lines) < 3.5, "one long name does not stretch its row"
        assert here.page.locator(".tile .name").first.get_attribute("title").startswith(long)


def test_forced_colours_keep_the_keys_of_the_chart(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "m"})
    with visit(browser, stub.web.url, forced_colors="active") as here:
        here.wait('document.querySelectorAll(".tile").length === 1')
        shown = here.page.evaluate(
            """() => {
              const list = document.createElement("ul");
              list.className = "legend";
              list.innerHTML = '<li class="key-alarm"></li>';
              document.querySelector("main").append(list);
              const colour = (...of) => getComputedStyle(...of).backgroundColor;
              return [colour(list.firstChild, "::before"), colour(document.body),
                      colour(document.querySelector(".level"))];
            }"""
        )
        swatch, page, level = shown
        assert swatch != page != level


def test_an_event_without_a_machine_begins_where_the_others_do(
    stub: Stub, browser: Browser
) -> None:
    stub.state = {
        **made_up({"asset": "m"}),
        "events": [
            {"kind": kind, "time": 900.0, "pipeline": "", "assets": assets, "count": len(assets)}
            for kind, assets in (("connected", []), ("stale", ["m"]))
        ],
    }
    with visit(browser, stub.web.url, viewport=PHONE) as here:
        here.wait('document.querySelectorAll(".event").length === 2')
        left = '[...document.querySelectorAll(".event .what")].map((one) => one.offsetLeft)'
        top = "document.querySelector('.event %s').offsetTop"
        assert len(set(here.page.evaluate(left))) == 1
        assert here.page.evaluate(top % ".what") == here.page.evaluate(top % "time")


def test_the_last_cycle_of_a_machine_is_shown(browser: Browser) -> None:
    """Number, duration and end, what is amiss with it, and whether one goes on."""
    last = {"number": 41, "end": 960.0, "duration_seconds": 7.95, "outcome": "too_short"}
    part = {
        "name": "p", "description": "", "signals": [], "top": [], "outputs": [], "fields": [],
        "has_fields": False, "cycle": {"last": last, "open_since": 990.0},
    }  # fmt: skip
    answer = {"asset": "m", "faults": {}, "pipelines": [part]}
    history = {"step_seconds": 5, "steps": [], "score": [], "lowest": [], "highest": [], "code": [],
               "codes": [], "threshold": 2.0}  # fmt: skip
    web = HttpServer(
        Http(port=0), render_metrics=bytes, alive=dict, ready=dict,
        state=lambda: made_up({"asset": "m"}), asset=lambda _: Reply(HTTPStatus.OK, answer),
        history=lambda _: Reply(HTTPStatus.OK, history),
    )  # fmt: skip
    try:
        with visit(browser, web.url) as here:
            here.page.locator(".tile").click()
            here.wait('document.querySelector(".facts")?.textContent.includes("no. 41")')
            shown = here.page.locator(".facts").text_content()
            assert "no. 41 took 7.95 s and ended at" in shown
            assert "; too short; one goes on since" in shown
    finally:
        web.close()
