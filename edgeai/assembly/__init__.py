"""Build the pipelines of a node from a checked configuration."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.assembly.pipelines import build_pipelines as build_pipelines
    from edgeai.assembly.plan import Plan as Plan
    from edgeai.assembly.plan import check as check

_MODULES = {
    "Plan": "edgeai.assembly.plan",
    "build_pipelines": "edgeai.assembly.pipelines",
    "check": "edgeai.assembly.plan",
}
__all__ = ["Plan", "build_pipelines", "check"]
__getattr__ = lazy(__name__, _MODULES)
