"""Problems and errors: what stands after "found" is what was found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeai.errors import ConfigError, listed
from edgeai.training.pinn.evaluate import data_folder
from tests.support.paths import REPOSITORY

SOURCES = sorted([*REPOSITORY.glob("edgeai/**/*.py"), *REPOSITORY.glob("models/*/training/*.py")])
ENDS_WITH_A_LABEL = re.compile(
    r"""; (known|missing|columns|outputs|variants|signals|channels|names|files)["'][,)]?$"""
)
"""A rule that ends so was followed by "(found ...)", although the list was not found wrong."""


def test_no_rule_ends_with_a_label_for_found() -> None:
    found = [
        f"{path.name}: {line}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if ENDS_WITH_A_LABEL.search(line)
    ]
    assert found == []


def test_what_is_missing_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "pinn_reference").mkdir()
    with pytest.raises(ConfigError) as caught:
        data_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the folder tclab_thermal is missing in it; name another folder with --data"
    )


def test_names_are_listed() -> None:
    assert listed([]) == "none"
    assert listed(["a", 2]) == "a, 2"
    assert listed("abcd", 2) == "a, b, ..."
