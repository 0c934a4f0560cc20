"""What an HTTP request asks, and the answers: status, headers, body."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

JSON = "application/json"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
NEVER_STORED = "no-store"
ASK_AGAIN = "no-cache"  # a browser keeps it, and asks whether it has changed

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """The answer to a request."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cache: str = NEVER_STORED


class Reply(NamedTuple):
    """What a node answers to a question or a command: a status, and a record or its JSON."""

    status: HTTPStatus
    content: Mapping[str, Any] | bytes

    def answer(self) -> Answer:
        """Return it as an answer."""
        content = self.content
        return Answer(
            self.status, JSON, content if isinstance(content, bytes) else _encode(content)
        )


Query = Mapping[str, str]
"""The parameters of a request."""
Ask = Callable[[Query], Reply]


def reply_error(status: HTTPStatus, text: str) -> Reply:
    """Return the reply to a request that cannot be met; the text says why and what to do."""
    return Reply(status, {"error": text})


def error(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer that says what is wrong."""
    return Answer(status, JSON, json.dumps({"error": text}).encode(), headers)


def as_json(content: Mapping[str, Any] | bytes, must_be_true: str | None = None) -> Answer:
    """Return a record as an answer.

    Args:
        content: The record, or its JSON.
        must_be_true: Key of a record without which the status is 503.
    """
    if isinstance(content, bytes):
        return Answer(HTTPStatus.OK, JSON, content)
    ok = must_be_true is None or content[must_be_true]
    status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, JSON, json.dumps(content).encode())
