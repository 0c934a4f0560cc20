"""The texts of the page: the same in both languages, all used, and the shipped names in Korean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from edgeai.errors import DROP_REASONS
from edgeai.metrics.table import INVALID_REASONS
from edgeai.node.page_files import FOLDER
from edgeai.node.page_state import RANKS
from edgeai.paths import shipped
from edgeai.plant.line import MACHINES

ENTRY = re.compile(r'^ +(?:"([^"]+)"|([a-z]\w*)):\s*"((?:[^"\\]|\\.)*)",?', re.MULTILINE)
PAIR = re.compile(r'(?:"([^"]+)"|\b([a-z]\w*)):\s*"((?:[^"\\]|\\.)*)"')
DYNAMIC = (
    *RANKS, "notready", "summary.", "event.", "theme.", "legend.", "good", "uncertain", "bad",
    "attention", "healthy", "waiting", "aside", "cycle.", "operating.", "not.judged.",
    "priority.", "shelve", "unshelve", "acknowledge",
)  # fmt: skip
"""Keys that are made of a state, a kind or a quality."""


def table(language: str, name: str) -> dict[str, str]:
    """One of the tables in a language's file."""
    text = (FOLDER / f"texts-{language}.js").read_text(encoding="utf-8")
    text = re.sub(r"//[^\n]*", "", text)
    found = re.search(rf"const {name} = \{{(.*?)\n\}};", text, re.DOTALL)
    if found is None:
        found = re.search(rf"const {name} = \{{(.*?)\}};", text, re.DOTALL)
    assert found is not None
    return {quoted or plain: value for quoted, plain, value in PAIR.findall(found[1])}


ENGLISH, KOREAN = table("en", "texts"), table("ko", "texts")
SOURCES = {
    path.name: path.read_text(encoding="utf-8")
    for path in FOLDER.glob("*.js")
    if not path.name.startswith("texts-")
}


def used() -> set[str]:
    """Every literal that may be the key of a text."""
    return {key for text in SOURCES.values() for key in re.findall(r'"([a-z][a-z_.]*)"', text)}


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    assert len(ENGLISH) > 120
    plural = {key for key in ENGLISH if key.endswith(".one")}
    assert set(KOREAN) == set(ENGLISH) - plural, "Korean has no plural"
    for key, text in KOREAN.items():
        values = set(re.findall(r"\{(\w+)\}", text))
        assert values == set(re.findall(r"\{(\w+)\}", ENGLISH[key])), key
    assert all(key.removesuffix(".one") in ENGLISH for key in plural)


def test_no_particle_depends_on_a_value() -> None:
    """Which form of a Korean particle is right depends on the last letter of the word before."""
    particles = re.compile(r"\}(\(?(이|가|을|를|은|는|와|과|로|으)\)?)+([ ,.]|$)")
    assert particles.search("{a}을(를) 점검")
    assert particles.search("{a}(으)로 바뀜")
    assert not [text for text in KOREAN.values() if particles.search(text)]


def test_every_text_that_is_asked_for_exists() -> None:
    asked = {key for text in SOURCES.values() for key in re.findall(r'\bt\(\s*"([^"]+)"', text)}
    assert asked
    assert asked <= set(ENGLISH)
    for state in (*RANKS, "notready"):
        assert {state, f"{state}.count", f"summary.{state}"} <= set(ENGLISH)


def test_every_text_is_used() -> None:
    left = {
        key for key in ENGLISH
        if key.removesuffix(".one").removesuffix(".count") not in used()
        and not key.startswith(DYNAMIC)
    }  # fmt: skip
    assert left == set()


@pytest.mark.parametrize("folder", sorted(shipped("models").iterdir()), ids=lambda one: one.name)
def test_the_names_of_the_shipped_models_are_korean(folder: Path) -> None:
    manifest = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    hidden = {"score", "contribution", "interval", "evidence"}
    names = {signal["name"] for signal in manifest["signals"]}
    names |= {one["name"] for one in manifest["outputs"] if one.get("role") not in hidden}
    names -= {"field_time", "temperature_profile"}  # given by the field
    kinds = manifest.get("diagnosis", [])
    names |= {one["kind"] for one in kinds}
    korean = table("ko", "names")
    assert names <= set(korean)
    assert {one["meaning"] for one in kinds} <= set(table("ko", "sentences"))


def test_the_faults_of_the_simulated_line_are_korean() -> None:
    faults = {fault for make in MACHINES.values() for fault in make(0).faults}
    assert faults <= set(table("ko", "names"))


def test_the_reasons_of_refusals_are_korean() -> None:
    assert set(table("ko", "reasons")) == {*DROP_REASONS, *INVALID_REASONS}
