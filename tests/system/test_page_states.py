"""What the page says of made-up states, in a real Chromium: the worst first, and nothing untrue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import DESKTOP, PHONE, WALL, Visit, chromium, visit
from tests.support.live import patient
from tests.support.page_stub import Stub, made_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

ANSWER_SECONDS = 5.0  # a request ends after 4 s: what is told then is told too late
TILES = 'document.querySelectorAll(".tile").length === {}'
HEADING = 'document.querySelector(".signal-heading")?.textContent'
SIGNALS = [("phase", "1", 3.0), ("pressure", "bar", 1.0), ("torque", "N*m", 2.0)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def stub() -> Iterator[Stub]:
    one = Stub()
    yield one
    one.close()


def names(here: Visit) -> list[str | None]:
    return [one.text_content() for one in here.page.locator(".tile .name").all()]


def counts(here: Visit) -> list[str | None]:
    return [one.text_content() for one in here.page.locator(".count").all()]


LINE = (
    {"asset": "runs"},
    {"asset": "hot", "alarm": "active", "since": 900.0, "top": [["torque", 9.0]]},
    {"asset": "was hot", "alarm": "latched", "since": 900.0},
)


def test_a_node_that_hangs_is_told_in_time_with_all_that_is_known(
    stub: Stub, browser: Browser
) -> None:
    stub.state = made_up(*LINE)
    with visit(browser, stub.web.url) as here:
        here.wait(TILES.format(3))
        assert counts(here) == ["1 to acknowledge", "1 normal"], "the heading tells the alarm"
        assert here.page.locator("#live").is_visible()
        stub.answers.clear()
        here.wait('document.querySelector(".banner.lost") !== null', ANSWER_SECONDS)
        assert here.page.locator("#live").is_hidden()
        assert here.page.locator("h1").text_content() == "No current values"
        assert counts(here) == ["1 in alarm", "1 to acknowledge", "1 was normal"]
        told = here.page.locator(".banner strong").text_content()
        assert int(told.split()[-2]) >= 3, "since the last answer"
        assert "Was normal" in here.page.locator(".tile").last.text_content()
        stub.answers.set()
        here.wait('document.querySelector(".banner.lost") === null')
        assert here.page.locator("h1").text_content() == "1 alarm"
        assert here.page.locator("#live").is_visible()


def test_without_a_broker_nothing_looks_live_or_healthy(stub: Stub, browser: Browser) -> None:
    stub.state = made_up({"asset": "a"}, {"asset": "b"}, broker={"connected": False})
    with visit(browser, stub.web.url) as here:
        here.wait(TILES.format(2))
        assert here.page.locator("h1").text_content() == "No current values"
        assert here.page.title() == "n: No current values"
        assert counts(here) == ["2 were normal"]
        assert here.page.locator("#live").is_hidden()
        assert here.page.locator('main use[href="#shape-normal"]').count() == 0
        assert here.page.locator(".percent:visible").count() == 0, "the score is old"
        assert here.violations() == []
        here.page.locator(".tile").first.click()
        here.wait('document.querySelector(".machine-head") !== null')
        assert here.page.locator(".machine-head .word").text_content() == "Was normal"
        assert here.page.locator(".part-word").text_content() == "Was normal"
        stub.state = made_up({"asset": "a"}, {"asset": "b"})
        here.wait('document.querySelector(".machine-head .word").textContent === "Normal"')


def test_each_chart_is_made_once_however_late_the_plot_library_comes(
    stub: Stub, browser: Browser
) -> None:
    stub.state, stub.signals = made_up({"asset": "m"}), SIGNALS

    def delay(route: Route) -> None:
        time.sleep(1.5)  # several answers come before
        route.continue_()

    with visit(browser, stub.web.url) as here:
        here.page.route("**/uPlot.iife.min.js", delay)
        here.wait(TILES.format(1))
        here.page.locator(".tile").click()
        here.wait('document.querySelectorAll(".signal").length === 3')
        for name in ("torque", "phase", "pressure"):
            here.page.get_by_role("button", name=name).click()
        here.wait('document.querySelectorAll(".chart .uplot").length === 2')
        here.page.wait_for_timeout(600)
        charts = here.page.locator(".chart").all()
        assert [one.locator(".uplot").count() for one in charts] == [1, 1]
        assert here.page.locator(".signal-heading").text_content() == "pressure: 1 bar"
        assert "from 1 bar to 1 bar" in charts[1].get_attribute("aria-label"), "its own values"


def test_the_plot_library_is_asked_for_again_if_it_did_not_come(
    stub: Stub, browser: Browser
) -> None:
    stub.state, stub.signals = made_up({"asset": "m"}), SIGNALS
    refused: list[str] = []

    def refuse_first(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    with visit(browser, stub.web.url) as here:
        here.page.route("**/uPlot.iife.min.js", refuse_first)
        here.wait(TILES.format(1))
        here.page.locator(".tile").click()
        here.wait('document.querySelectorAll(".chart .uplot").length === 2')
        assert refused


def test_the_chart_of_a_healthy_machine_keeps_its_signal(stub: Stub, browser: Browser) -> None:
    """The largest contribution to a healthy score is noise; that to an alarm is not."""

    def show(number: int, **asset: Any) -> None:
        top = [["torque", 0.4], ["phase", 0.3]] if number % 2 else [["phase", 0.4], ["torque", 0.3]]
        stub.state = made_up({"asset": "m", "top": top, **asset})
        stub.signals = [(name, unit, float(number)) for name, unit, _ in SIGNALS]

    show(0)
    with visit(browser, stub.web.url, "/#/machine/m") as here:
        here.wait(f'{HEADING} === "pressure: 0 bar"')
        for number in range(1, 4):
            show(number)
            # The heading and the list come from the same answer, at any moment.
            values = (
                f"[{HEADING}, document.querySelector('.signal[aria-pressed=true] .signal-value')"
                ".textContent]"
            )
            ends = time.monotonic() + patient(10)
            expected = [f"pressure: {number} bar", f"{number} bar"]
            while (shown := here.page.evaluate(values)) != expected:
                assert shown[0] == f"pressure: {shown[1]}"
                assert time.monotonic() < ends
        alarm = {"alarm": "active", "since": 1.0, "score": 0.7}
        show(5, **alarm)
        here.wait(f'{HEADING} === "torque: 5 N·m"')
        show(6, **alarm)
        here.wait(f'{HEADING}?.endsWith(": 6 N·m")')
        here.page.get_by_role("button", name="pressure").click()
        show(7, **alarm)
        here.wait(f'{HEADING} === "pressure: 7 bar"')


def test_the_worst_machine_and_the_worst_model_come_first(stub: Stub, browser: Browser) -> None:
    """Of equal ones that which changed last; machines that need nothing stay in their places."""
    stub.state = made_up(
        {"asset": "n2"}, {"asset": "n10"}, {"asset": "n1", "since": 990.0},
        {"asset": "silent", "state": "stale", "since": 999.0},
        {"asset": "waits", "alarm": "latched", "since": 10.0},
        *({"asset": f"a{n}", "alarm": "active", "since": float(n)} for n in (5, 700, 60)),
        {"asset": "b60", "alarm": "active", "since": 60.0},
    )  # fmt: skip
    with visit(browser, stub.web.url) as here:
        here.wait(TILES.format(9))
        expected = ["a700", "a60", "b60", "a5", "waits", "silent", "n1", "n2", "n10"]
        assert names(here) == expected
        calm = made_up({"asset": "m"}, pipeline={"name": "calm", "model": "calm"})
        hot = made_up({"asset": "m", "alarm": "active"}, pipeline={"name": "hot", "model": "hot"})
        stub.state = {**calm, "pipelines": [*calm["pipelines"], *hot["pipelines"]]}
        here.wait(TILES.format(1))
        here.page.locator(".tile").click()
        here.wait('document.querySelectorAll(".part").length === 2')
        heads = here.page.locator(".part-head h2")
        assert heads.all_text_contents() == ["Model hot", "Model calm"]
        stub.state["pipelines"][1]["assets"][0]["alarm"] = "normal"
        here.wait('document.querySelector(".part-head h2").textContent === "Model calm"')


def test_what_changed_last_is_what_the_node_keeps_of_the_machine(
    stub: Stub, browser: Browser
) -> None:
    """The list of the whole line is short: other machines may have pushed this one out."""
    stub.state = made_up({"asset": "m"})
    other = {"kind": "stale", "time": 900.0, "pipeline": "p", "assets": ["x"], "count": 1}
    stub.state["events"] = [{**other, "kind": "connected", "pipeline": "", "assets": []}, other]
    stub.events = [
        {"kind": "quality", "time": 950.0, "pipeline": "p", "assets": ["k", "l"], "count": 9,
         "quality": "bad"},
    ]  # fmt: skip
    with visit(browser, stub.web.url, "/#/machine/m") as here:
        here.wait('document.querySelectorAll(".event").length === 2')
        told = here.page.locator(".event .what").all_text_contents()
        assert told == ["Quality is bad now", "Connected to the broker"]
        stub.events, stub.state["events"] = [], []
        here.wait('document.querySelectorAll(".event").length === 0')
        shown = here.page.locator("section.panel").last.text_content()
        assert "No change is on record." in shown, "not that nothing has changed"


def test_the_cause_is_a_sentence_or_says_that_it_is_not_known(stub: Stub, browser: Browser) -> None:
    stub.state = made_up(
        {"asset": "latched", "alarm": "latched", "since": 9.0, "top": [], "cause_known": False},
        {"asset": "refused", "state": "stale", "since": 940.0, "stale_cause": "refused",
         "refused": "invalid_value", "at_fault": ["oil_pressure", "torque"]},
        reasons={"invalid_value": "a value cannot be used"},
    )  # fmt: skip
    with visit(browser, stub.web.url) as here:
        here.wait(TILES.format(2))
        latched, refused = [one.text_content() for one in here.page.locator(".tile").all()]
        assert "The alarm was there before edgeai was started again" in latched
        assert "none is used: a value cannot be used (oil pressure and torque)" in refused
        assert "for 60 s" in refused


@pytest.mark.parametrize("size", [DESKTOP, PHONE, WALL], ids=["desktop", "phone", "wall"])
@pytest.mark.parametrize("machines", [2, 57], ids=["few", "many"])
def test_names_are_whole_and_large(stub: Stub, browser: Browser, size: Any, machines: int) -> None:
    """Letters with a lower part too: `moulding-1`."""
    states: list[dict[str, Any]] = [{"alarm": "active", "since": 1.0}, {}, {}, {}, {}]
    stub.state = made_up(*({"asset": f"moulding-gpy{n}", **states[n % 5]} for n in range(machines)))
    with visit(browser, stub.web.url, viewport=size) as here:
        here.wait(TILES.format(machines))
        found = here.page.evaluate(
            """[...document.querySelectorAll(".tile .name")].map((one) =>
              [one.scrollHeight - one.clientHeight, parseFloat(getComputedStyle(one).fontSize)])"""
        )
        assert max(hidden for hidden, _ in found) <= 0, "pixels that are cut off"
        least = {3840: 32, 1440: 19, 390: 19}[size["width"]]
        assert min(pixels for _, pixels in found) >= least
        assert not here.is_wider_than_screen


def test_no_word_of_a_state_is_broken_in_two(stub: Stub, browser: Browser) -> None:
    long = {"model": "moulding-physics-informed", "name": "p"}
    stub.state = made_up({"asset": "사출성형기-긴이름-1호기-좌측"}, pipeline=long)
    path = "/#/machine/사출성형기-긴이름-1호기-좌측"
    with visit(browser, stub.web.url, path, language="ko-KR", viewport=PHONE) as here:
        here.wait('document.querySelector(".part-word")?.textContent === "정상"')
        lines = 'document.querySelector("{}").getClientRects().length'
        height = 'document.querySelector(".part-word").clientHeight'
        assert here.page.evaluate(lines.format(".machine-head .word")) == 1
        assert here.page.evaluate(height) < 40, "one line"
