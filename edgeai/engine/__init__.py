"""The turn: from messages to predictions."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.engine.engine import Engine as Engine
    from edgeai.engine.pipeline import Pipeline as Pipeline

_MODULES = {
    "Engine": "edgeai.engine.engine",
    "Pipeline": "edgeai.engine.pipeline",
}
__all__ = ["Engine", "Pipeline"]
__getattr__ = lazy(__name__, _MODULES)
