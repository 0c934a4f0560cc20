"""Every text of the dashboards, in English and Korean, from `texts.yaml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

LANGUAGES = ("en", "ko")


class Text(NamedTuple):
    """The same in both languages."""

    en: str
    ko: str


class Titled(NamedTuple):
    """A title, and a sentence or two about what it shows."""

    title: Text
    about: Text


def legend(word: str, rest: str = "{{instance}}") -> Text:
    """Return a legend: a word of `WORDS`, and a part that is the same in all languages."""
    return Text(*[f"{one} {rest}" for one in WORDS[word]])


def localised(tree: Any, language: int) -> Any:
    """Return a tree of JSON values with each text in one language, by its position in `Text`."""
    if isinstance(tree, Text):
        return tree[language]
    if isinstance(tree, Mapping):
        return {key: localised(value, language) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [localised(one, language) for one in tree]
    return tree


def _read() -> dict[str, Any]:
    path = Path(__file__).with_name("texts.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _titled(entry: Mapping[str, Mapping[str, str]]) -> Titled:
    title, about = [
        Text(*[entry[language][part] for language in LANGUAGES]) for part in ("title", "about")
    ]
    return Titled(title, about)


_TEXTS = _read()
DASHBOARDS = {key: _titled(entry) for key, entry in _TEXTS["dashboards"].items()}
PANELS = {key: _titled(entry) for key, entry in _TEXTS["panels"].items()}
ROWS = {key: Text(*entry) for key, entry in _TEXTS["rows"].items()}
WORDS = {key: Text(*entry) for key, entry in _TEXTS["words"].items()}
