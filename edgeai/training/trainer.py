"""Training code that stands beside a recipe: found, checked and loaded by path.

A recipe whose training is code of its own names the folder of that code:

    trainer: training            # in models/mine/train.yaml: the folder models/mine/training

The folder is a Python package. Its `__init__.py` defines

    train(recipe: Path, folder: Path, progress: Progress) -> str
        Train what the file `recipe` asks for, write the model package into `folder`, and return
        one line that says what was made. `edgeai train` calls it.

    figures(folder: Path, progress: Progress) -> list[Figure]        (optional)
        Measure the stored package in `folder` again. `edgeai evaluate pinn` calls it.

Loading a trainer runs its code, with all rights of the user who runs the command. Only `edgeai
train` and `edgeai evaluate` load one; serving a package never does.
"""

import importlib.util
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

from edgeai.config.yaml_file import read_yaml
from edgeai.errors import ConfigError, Problem

FIELD = "trainer"


def read_trainer(recipe_path: Path) -> Any:
    """Return the recipe's field `trainer`; None if it has none.

    Raises:
        ConfigError: The recipe cannot be read.
    """
    content = read_yaml(recipe_path)
    return content.get(FIELD) if isinstance(content, dict) else None


def load_trainer(recipe_path: Path) -> ModuleType:
    """Import the trainer that a recipe names, or return it if it was imported before.

    The same folder always gets the same module name, so that its modules are imported once and
    two trainers never mix.

    Raises:
        ConfigError: The field is not a relative path inside the recipe's folder, the folder is
            missing or is not a package, or its code cannot be imported.
    """
    folder = _folder(recipe_path, read_trainer(recipe_path))
    name = _module_name(folder)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[loaded]
        rule = f"cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError([Problem(str(folder / "__init__.py"), "", rule)]) from error
    return module


def entry_function(trainer: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of a trainer.

    Raises:
        ConfigError: The trainer has no such function.
    """
    found = getattr(trainer, name, None)
    if not callable(found) or isinstance(found, type):
        rule = f"must define the function `{name}`"
        raise ConfigError([Problem(str(trainer.__file__), name, rule, found, found is not None)])
    function: Callable[..., Any] = found
    return function


def _folder(recipe_path: Path, value: Any) -> Path:
    """Return the trainer's folder, resolved."""
    base = recipe_path.resolve().parent

    def wrong(rule: str) -> ConfigError:
        return ConfigError([Problem(str(recipe_path), FIELD, rule, value, has_value=True)])

    inside = "must be a relative path to a folder inside the recipe's folder"
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise wrong(inside)
    if PurePosixPath(value).is_absolute() or PureWindowsPath(value).anchor:
        raise wrong(inside)
    folder = (base / value).resolve()  # follows links: a link out of the folder is refused too
    if base not in folder.parents:
        raise wrong(inside)
    if not folder.is_dir():
        raise wrong(
            f"there is no folder {folder}; trainers are in a checkout of the repository and in no "
            "installed package: train from a checkout"
        )
    if not (folder / "__init__.py").is_file():
        raise wrong(f"the folder must be a Python package: {folder / '__init__.py'} is missing")
    return folder


def _module_name(folder: Path) -> str:
    words = re.sub(r"\W+", "_", f"{folder.parent.name}_{folder.name}")
    return f"edgeai_trainer_{words}_{zlib.crc32(str(folder).encode()):08x}"
