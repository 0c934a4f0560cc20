"""Import of the libraries in the extra `train`, and their versions."""

import importlib
from types import ModuleType

from edgeai.errors import ConfigError, Problem, install_extra
from edgeai.runtime_build import library_versions

__all__ = ["library", "library_versions"]


def library(name: str, purpose: str) -> ModuleType:
    """Import a library of the extra `train`.

    Args:
        name: Module to import.
        purpose: The feature that needs it, for the error message.

    Raises:
        ConfigError: The library is not installed; the message says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"needs {name}, which is missing; {install_extra('train')}"
        raise ConfigError([Problem("environment", purpose, rule)]) from error
