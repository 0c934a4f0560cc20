"""The libraries of the extra `train`, or a sentence that says how to get them."""

import importlib
from types import ModuleType

from edgeai.errors import ConfigError, Problem


def library(name: str, purpose: str) -> ModuleType:
    """Import a library of the extra `train`.

    Raises:
        ConfigError: It is not installed; the text says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"needs the extra train: pip install 'edgeai[train]' ({name} is missing)"
        raise ConfigError([Problem("environment", purpose, rule)]) from error
