"""Model packages: manifest, graph, golden windows."""

from typing import TYPE_CHECKING

from edgeai.exports import lazy

if TYPE_CHECKING:
    from edgeai.model.manifest import Manifest as Manifest
    from edgeai.model.package import Package as Package
    from edgeai.model.package import load_package as load_package

_MODULES = {
    "Manifest": "edgeai.model.manifest",
    "Package": "edgeai.model.package",
    "load_package": "edgeai.model.package",
}
__all__ = ["Manifest", "Package", "load_package"]
__getattr__ = lazy(__name__, _MODULES)
