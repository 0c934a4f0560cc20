"""Texts of exceptions on one line.

Self-contained: standard library only; Python 3.10 or newer.
"""

MAX_CHARACTERS = 300


def one_line(text: object, limit: int = MAX_CHARACTERS) -> str:
    """Return a text, or an exception's message, on one line of at most `limit` characters."""
    return " ".join(str(text).split())[:limit]


def describe_error(error: BaseException, limit: int = MAX_CHARACTERS) -> str:
    """Return the type and the message of an exception on one line."""
    return one_line(f"{type(error).__name__}: {error}", limit)
