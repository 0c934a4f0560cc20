"""Trainers: code beside a recipe, loaded by path; what it may import; what is refused."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from edgeai.errors import ConfigError
from edgeai.signing.trust import sign_folder
from edgeai.training import pinn
from edgeai.training.dispatch import train_recipe
from edgeai.training.pinn import evaluate
from edgeai.training.trainer import load_trainer, read_trainer
from tests.support.commands import run_command
from tests.support.paths import REPOSITORY
from tests.support.signing import new_keys

TRAINERS = sorted(REPOSITORY.glob("models/*/training"))
ALLOWED = (
    "edgeai.training.pinn",
    "edgeai.plant",
    "edgeai.model",
    "edgeai.config",
    "edgeai.alarms",
    "edgeai.providers.scorer",
    "edgeai.errors",
    "edgeai.progress",
    "edgeai.runtime_build",
)
TRAIN = "def train(recipe, folder, progress):\n    return f'{recipe.name} into {folder.name}'\n"
FIGURES = "def figures(folder, progress):\n    return [folder.name]\n"


def recipe_with(folder: Path, trainer: str, code: str | None = TRAIN) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "train.yaml"
    recipe.write_text(f"trainer: {trainer}\nname: mine\n")
    if code is not None:
        (folder / "training").mkdir()
        (folder / "training" / "__init__.py").write_text(code)
    return recipe


def imported_by(path: Path) -> list[tuple[str, str]]:
    """Module and name of every absolute import of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


# What is shipped.


@pytest.mark.parametrize("folder", TRAINERS, ids=lambda path: path.parent.name)
def test_a_trainer_imports_of_edgeai_only_what_is_public(folder):
    for path in folder.rglob("*.py"):
        for module, name in imported_by(path):
            if module.split(".")[0] != "edgeai":
                continue
            assert any(f"{module}.".startswith(f"{one}.") for one in ALLOWED), (path.name, module)
            if module.startswith("edgeai.training"):
                assert module == "edgeai.training.pinn", (path.name, module)
                assert name in pinn.__all__, (path.name, name)


def test_nothing_in_edgeai_imports_a_trainer():
    """A trainer is loaded by the path that a recipe names, never by an import."""
    for path in (REPOSITORY / "edgeai").rglob("*.py"):
        for module, _ in imported_by(path):
            assert module.split(".")[0] not in {"models", "training"}, (path, module)
            assert not module.startswith("edgeai_trainer"), (path, module)


def test_edgeai_names_no_process_but_in_its_simulator_and_the_demo():
    processes = ("mould", "agitator", "melting")
    for path in (REPOSITORY / "edgeai").rglob("*.py"):
        room = path.relative_to(REPOSITORY / "edgeai").parts[0]
        if room in {"plant", "demo"}:
            continue
        text = path.read_text(encoding="utf-8").lower()
        assert not [name for name in processes if name in text], path


def test_every_public_name_of_the_kit_can_be_imported():
    pytest.importorskip("torch", reason="needs the extra train")
    assert sorted(pinn.__all__) == sorted(pinn._MODULES)
    for name in pinn.__all__:
        assert getattr(pinn, name) is not None
    assert set(pinn.__all__) <= set(dir(pinn))
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = pinn.absent


def test_the_kit_and_a_trainer_are_imported_without_torch():
    code = (
        "import sys; from pathlib import Path\n"
        "from edgeai.training.pinn import Adam, Figure, Samples\n"
        "from edgeai.training.trainer import load_trainer\n"
        "load_trainer(Path('models/moulding-pinn/train.yaml'))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


# Loading.


def test_a_recipe_is_trained_by_the_code_beside_it(tmp_path, capsys, monkeypatch):
    recipe = recipe_with(tmp_path / "mine", "training")
    assert train_recipe(recipe) == "train.yaml into mine"
    result = run_command(capsys, monkeypatch, "train", recipe, "--output", tmp_path / "there")
    assert (result.code, result.out.strip()) == (0, "train.yaml into there")


def test_a_signature_that_no_longer_fits_is_told(tmp_path, capsys, monkeypatch):
    writing = "    (folder / 'made').write_text(folder.name)\n    return"
    code = TRAIN.replace("    return", writing)
    recipe, folder = recipe_with(tmp_path / "mine", "training", code), tmp_path / "there"
    options = ["train", recipe, "--output", folder]
    folder.mkdir()
    assert run_command(capsys, monkeypatch, *options).out == "train.yaml into there\n"
    sign_folder(folder, new_keys(tmp_path)[0])
    # Written again, bit for bit: it still fits.
    assert run_command(capsys, monkeypatch, *options).out == "train.yaml into there\n"
    (folder / "made").rename(folder / "other")
    assert "model.sig no longer fits" in run_command(capsys, monkeypatch, *options).out


def test_two_trainers_of_the_same_name_do_not_mix(tmp_path):
    first = recipe_with(tmp_path / "a" / "mine", "training", "WHO = 1\n" + TRAIN)
    second = recipe_with(tmp_path / "b" / "mine", "training", "WHO = 2\n" + TRAIN)
    assert (load_trainer(first).WHO, load_trainer(second).WHO) == (1, 2)
    assert load_trainer(first) is load_trainer(first)


def test_a_trainer_imports_its_siblings(tmp_path):
    recipe = recipe_with(tmp_path, "training", "from .part import WORD\n")
    (tmp_path / "training" / "part.py").write_text("WORD = 'sibling'\n")
    assert load_trainer(recipe).WORD == "sibling"


def test_a_trainer_that_failed_can_be_mended_and_loaded_again(tmp_path):
    recipe = recipe_with(tmp_path, "training", "from . import part\nraise RuntimeError('broken')\n")
    (tmp_path / "training" / "part.py").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be imported: RuntimeError: broken"):
        load_trainer(recipe)
    assert not [name for name in sys.modules if name.startswith("edgeai_trainer_test_a_trainer_th")]
    (tmp_path / "training" / "__init__.py").write_text("# mended\n" + TRAIN)
    assert train_recipe(recipe).startswith("train.yaml")


@pytest.mark.parametrize(
    "path", ["/etc", "..", "../other", ".", "a/../..", "C:\\code", "''", "[a]", "12", "null"]
)
def test_a_trainer_outside_the_recipes_folder_is_refused(tmp_path, path):
    (tmp_path / "other").mkdir()
    recipe = recipe_with(tmp_path / "mine", path)
    rule = r"train\.yaml: trainer: must be a relative path to a folder inside the recipe's folder"
    with pytest.raises(ConfigError, match=rule + r" \(found "):
        load_trainer(recipe)


def test_a_link_out_of_the_recipes_folder_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "__init__.py").write_text(TRAIN)
    recipe = recipe_with(tmp_path / "mine", "training", None)
    (tmp_path / "mine" / "training").symlink_to(outside)
    with pytest.raises(ConfigError, match="must be a relative path to a folder inside"):
        load_trainer(recipe)


def test_a_missing_trainer_says_that_a_checkout_is_needed(tmp_path, capsys, monkeypatch):
    recipe = recipe_with(tmp_path, "training", None)
    result = run_command(capsys, monkeypatch, "train", recipe)
    assert result.code == 2
    complaint = result.complaints[0]
    assert "train.yaml: trainer: there is no folder" in complaint
    assert "in a checkout of the repository" in complaint
    assert "(found 'training')" in complaint


def test_a_trainer_that_is_no_package_is_refused(tmp_path):
    recipe = recipe_with(tmp_path, "training")
    (tmp_path / "training" / "__init__.py").unlink()
    with pytest.raises(
        ConfigError, match=r"trainer: the folder must be a Python package: .* is mi"
    ):
        load_trainer(recipe)


@pytest.mark.parametrize("code", ["", "train = 3\n", "class train: ...\n"])
def test_a_trainer_without_its_function_is_refused(tmp_path, code):
    recipe = recipe_with(tmp_path, "training", code)
    with pytest.raises(ConfigError, match=r"__init__\.py: train: must define the function `train`"):
        train_recipe(recipe)


def test_a_kind_that_is_unknown_names_the_way_to_own_code(tmp_path):
    recipe = tmp_path / "train.yaml"
    recipe.write_text("kind: pinn-mine\n")
    with pytest.raises(ConfigError, match="kind: must be pinn-reference, or absent; a recipe with"):
        train_recipe(recipe)


def test_every_trainer_that_offers_figures_is_evaluated(tmp_path, monkeypatch):
    recipe_with(tmp_path / "a", "training", FIGURES)
    recipe_with(tmp_path / "b", "training", TRAIN)
    recipe_with(tmp_path / "d", "training", FIGURES)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train.yaml").write_text("name: c\n")
    assert read_trainer(tmp_path / "c" / "train.yaml") is None
    monkeypatch.setattr(evaluate, "shipped", lambda _kind: tmp_path)
    steps = []
    found = evaluate.evaluate_packages(
        tmp_path, tmp_path, lambda stage, done, total, note="": steps.append((done, total, note))
    )
    assert found == ["a", "d"]
    assert steps == [(1, 3, "a"), (2, 3, "b"), (3, 3, "d")]
