"""Wrong tokens: a few are free, then an address has to wait; nobody else does."""

from __future__ import annotations

from edgeai.node.http_access import Access, Verdict
from edgeai.node.wrong_tokens import MAX_ADDRESSES, SECONDS_A_TOKEN, WRONG_AT_ONCE, WrongTokens

TOKEN = "the-token-of-the-page"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_guesses_are_bounded_in_time() -> None:
    clock = Clock()
    guesses = WrongTokens(clock)
    tried = 0
    for _ in range(6000):  # ten minutes, ten tries a second
        if not guesses.wait_seconds("a"):
            guesses.add("a")
            tried += 1
        clock.now += 0.1
    most = WRONG_AT_ONCE + 600 / SECONDS_A_TOKEN
    assert most - 2 <= tried <= most + 1


def test_another_address_does_not_wait() -> None:
    guesses = WrongTokens(Clock())
    for _ in range(WRONG_AT_ONCE):
        assert not guesses.wait_seconds("a")
        guesses.add("a")
    assert guesses.wait_seconds("a") == SECONDS_A_TOKEN
    assert not guesses.wait_seconds("b")


def test_addresses_are_bounded() -> None:
    guesses = WrongTokens(Clock())
    for number in range(3 * MAX_ADDRESSES):
        guesses.add(str(number))
    assert len(guesses._free_at) == MAX_ADDRESSES


def test_while_an_address_waits_its_token_is_not_looked_at() -> None:
    """Otherwise each try would tell whether it was right."""
    clock = Clock()
    access = Access(TOKEN)
    access.wrong_tokens = WrongTokens(clock)
    for number in range(WRONG_AT_ONCE):
        assert access.may_command(f"Bearer wrong{number}", "a") is Verdict.WRONG
    assert access.may_command(f"Bearer {TOKEN}", "a") is Verdict.WAIT
    assert access.may_read("/", f"Bearer {TOKEN}", "a") is Verdict.WAIT, "one token, one bound"
    assert access.may_command("", "a") is Verdict.WRONG, "no token is no guess"
    assert access.may_command(f"Bearer {TOKEN}", "b") is Verdict.YES
    clock.now += SECONDS_A_TOKEN
    assert access.may_command(f"Bearer {TOKEN}", "a") is Verdict.YES
