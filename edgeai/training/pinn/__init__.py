"""Physics-informed networks (extra `train`): exact derivatives, losses, fitting, export.

The names in `__all__` are the kit's public interface. Each is imported from its module when it is
first used, so that reading a recipe or a figure does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeai.training.calibrate import SECONDS_PER_DAY, sustained, windows_in
    from edgeai.training.data.windows import Floats, Samples
    from edgeai.training.determinism import deterministic
    from edgeai.training.extra import library, library_versions
    from edgeai.training.false_alarms import false_alarm_figures
    from edgeai.training.pinn import jets
    from edgeai.training.pinn.autograd import AutogradField
    from edgeai.training.pinn.figures import Figure, Network, relative_l2, rms, within
    from edgeai.training.pinn.fitting import Fit, fit
    from edgeai.training.pinn.identifiability import Identified, identify
    from edgeai.training.pinn.jets import Jet, coordinates
    from edgeai.training.pinn.loss import Term, adaptive, causal, uniform
    from edgeai.training.pinn.networks import (
        ACTIVATIONS,
        Dense,
        FourierFeatures,
        Mlp,
        Positive,
        contract,
    )
    from edgeai.training.pinn.onnx_export import Exported, export
    from edgeai.training.pinn.scale import Span, inside, outside, scaled
    from edgeai.training.pinn.stages import Adam, Lbfgs, Newton, Weigh
    from edgeai.training.recipe import AlarmDefaults, Card
    from edgeai.training.write import write_package

_MODULES = {
    # A field with exact derivatives.
    "jets": "pinn.jets",
    "Jet": "pinn.jets",
    "coordinates": "pinn.jets",
    "AutogradField": "pinn.autograd",
    "ACTIVATIONS": "pinn.networks",
    "Dense": "pinn.networks",
    "Mlp": "pinn.networks",
    "FourierFeatures": "pinn.networks",
    "Positive": "pinn.networks",
    "contract": "pinn.networks",
    "Span": "pinn.scale",
    "inside": "pinn.scale",
    "outside": "pinn.scale",
    "scaled": "pinn.scale",
    # Loss and fit.
    "Term": "pinn.loss",
    "adaptive": "pinn.loss",
    "causal": "pinn.loss",
    "uniform": "pinn.loss",
    "Adam": "pinn.stages",
    "Lbfgs": "pinn.stages",
    "Newton": "pinn.stages",
    "Weigh": "pinn.stages",
    "Fit": "pinn.fitting",
    "fit": "pinn.fitting",
    "deterministic": "determinism",
    # ONNX graph and model package.
    "Exported": "pinn.onnx_export",
    "export": "pinn.onnx_export",
    "AlarmDefaults": "recipe",
    "Card": "recipe",
    "SECONDS_PER_DAY": "calibrate",
    "sustained": "calibrate",
    "windows_in": "calibrate",
    "library": "extra",
    "library_versions": "extra",
    "write_package": "write",
    # Evaluation.
    "Figure": "pinn.figures",
    "Network": "pinn.figures",
    "relative_l2": "pinn.figures",
    "rms": "pinn.figures",
    "within": "pinn.figures",
    "false_alarm_figures": "false_alarms",
    "Identified": "pinn.identifiability",
    "identify": "pinn.identifiability",
    # Types of arrays.
    "Floats": "data.windows",
    "Samples": "data.windows",
}
"""Public name -> module of `edgeai.training` that defines it."""

__all__ = [
    "ACTIVATIONS",
    "SECONDS_PER_DAY",
    "Adam",
    "AlarmDefaults",
    "AutogradField",
    "Card",
    "Dense",
    "Exported",
    "Figure",
    "Fit",
    "Floats",
    "FourierFeatures",
    "Identified",
    "Jet",
    "Lbfgs",
    "Mlp",
    "Network",
    "Newton",
    "Positive",
    "Samples",
    "Span",
    "Term",
    "Weigh",
    "adaptive",
    "causal",
    "contract",
    "coordinates",
    "deterministic",
    "export",
    "false_alarm_figures",
    "fit",
    "identify",
    "inside",
    "jets",
    "library",
    "library_versions",
    "outside",
    "relative_l2",
    "rms",
    "scaled",
    "sustained",
    "uniform",
    "windows_in",
    "within",
    "write_package",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"edgeai.training.{_MODULES[name]}")
    found = module if name == "jets" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
