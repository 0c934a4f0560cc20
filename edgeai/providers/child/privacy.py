"""Stop the libraries of vendors from reporting to their makers.

Self-contained: standard library; Python 3.10 or newer. Called before such a library is imported.
"""

import os
import sys


def silence_vendors() -> None:
    """Turn off what is known to write an identifier or to call home when it is imported."""
    # ONNX Runtime from 1.29 on; edgeai sets it for its own processes in `edgeai/__init__.py`.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # `import openvino` reports to its maker if this module exists. It has no variable that stops
    # it; without the module it uses a stand-in that does nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
