"""edgeai: anomaly and physics-informed models as a service on a factory line."""

import os
from typing import TYPE_CHECKING

from edgeai.exports import lazy
from edgeai.version import __version__

# ONNX Runtime from 1.29 on writes a device id into the home folder and looks up its collector. Only
# this variable, set before the first import of onnxruntime, stops it. Child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from edgeai.assembly.plan import Plan as Plan
    from edgeai.assembly.plan import check as check
    from edgeai.errors import ConfigError as ConfigError
    from edgeai.errors import DecodeError as DecodeError
    from edgeai.errors import EdgeError as EdgeError
    from edgeai.errors import ModelError as ModelError
    from edgeai.errors import TransportError as TransportError
    from edgeai.model.package import Package as Package
    from edgeai.model.package import load_package as load_package
    from edgeai.replay.run import replay_files as replay_files
    from edgeai.training.write import write_package as write_package

_MODULES = {
    "ConfigError": "edgeai.errors",
    "DecodeError": "edgeai.errors",
    "EdgeError": "edgeai.errors",
    "ModelError": "edgeai.errors",
    "Package": "edgeai.model.package",
    "Plan": "edgeai.assembly.plan",
    "TransportError": "edgeai.errors",
    "check": "edgeai.assembly.plan",
    "load_package": "edgeai.model.package",
    "replay_files": "edgeai.replay.run",
    "write_package": "edgeai.training.write",
}
__all__ = [
    "ConfigError",
    "DecodeError",
    "EdgeError",
    "ModelError",
    "Package",
    "Plan",
    "TransportError",
    "__version__",
    "check",
    "load_package",
    "replay_files",
    "write_package",
]
__getattr__ = lazy(__name__, _MODULES)
