"""`edgeai export FILE.py`: a user's own torch network and equation as a proven ONNX graph.

The file is Python and defines these names; `examples/pinn/rod.py` and `docs/pinn.md` show them.

    NETWORK       torch module: points (N, d) to (N, k), one column a field; or, with WINDOW,
                  (window (B, W, C), points (B, N, d)) to (B, N, k). Or to a dict by name.
    COORDINATES   {name: unit} of the columns of the points
    FIELDS        {name: unit} of the columns of the result
    equation      function (fields, coordinates, parameters) to the residual, a tensor
    PROBE         numbers on which the graph is proven: points (N, d), or windows (B, W, C)
    RESIDUAL      {"unit": ..., "scale": size of the equation's terms}
    PARAMETERS    optional {name: unit}: entries of the dict, or attributes of the network
    WINDOW        optional {name: unit} of the C signals
    COLLOCATION   with WINDOW: (N, d), the points at which field and residual are given

A field has `.value` and `.d("x")`, `.d("x", "x")`, any order, by nested autograd.
"""

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgeai.errors import ConfigError, Problem
from edgeai.training.pinn.autograd import AutogradField
from edgeai.training.pinn.onnx_export import Exported, export

Units = Mapping[str, str]
REQUIRED = ("NETWORK", "COORDINATES", "FIELDS", "equation", "PROBE", "RESIDUAL")
OPTIONAL = ("PARAMETERS", "WINDOW", "COLLOCATION")


@dataclass(frozen=True, eq=False)
class OwnModel:
    """What a user's file defines; see the module's text."""

    network: nn.Module
    coordinates: Units
    fields: Units
    equation: Callable[..., Tensor]
    probe: npt.NDArray[np.float32]
    residual_unit: str
    residual_scale: float
    parameters: Units = field(default_factory=dict)
    window: Units = field(default_factory=dict)
    collocation: npt.NDArray[np.float64] | None = None

    @property
    def inputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """The probe by the graph's input name."""
        return {"window" if self.window else "points": self.probe}

    def outputs(self) -> list[dict[str, str]]:
        """Name, unit and meaning of every output, as a manifest has them."""
        at = "at the collocation points" if self.window else "at the points"
        listed = [
            {"name": name, "unit": unit, "meaning": f"field {at}"}
            for name, unit in self.fields.items()
        ]
        listed += [
            {"name": name, "unit": unit, "meaning": "identified parameter"}
            for name, unit in self.parameters.items()
        ]
        if self.window:
            meaning = "imbalance of the equation at the collocation points"
            listed.append({"name": "residual_at", "unit": self.residual_unit, "meaning": meaning})
            meaning = f"root mean square of the imbalance over {self.residual_scale:g} "
            meaning += self.residual_unit
            listed.append({"name": "residual", "unit": "1", "meaning": meaning})
        else:
            meaning = "imbalance of the equation at the points"
            listed.append({"name": "residual", "unit": self.residual_unit, "meaning": meaning})
        return listed


class OwnGraph(nn.Module):
    """Field, parameters and residual of a user's network."""

    def __init__(self, model: OwnModel) -> None:
        super().__init__()
        self.network = model.network
        self._model = model
        if model.collocation is not None:
            self.register_buffer("collocation", torch.as_tensor(model.collocation))

    def forward(self, given: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name.

        Args:
            given: points (B, d) or window (B, W, C).
        """
        model = self._model
        with torch.enable_grad():
            if model.window:
                inner = self.get_buffer("collocation").to(given)
                points = inner[None].expand(given.shape[0], *inner.shape).clone()
                points.requires_grad_(True)
                result = self.network(given, points)
            else:
                points = given.detach().clone().requires_grad_(True)
                result = self.network(points)
            columns = result if isinstance(result, dict) else None
            names = list(model.coordinates)
            fields = {}
            for index, name in enumerate(model.fields):
                value = result[..., index : index + 1] if columns is None else columns[name]
                value = value if value.dim() == points.dim() else value[..., None]
                fields[name] = AutogradField(value, points, names)
            parameters = {name: self._parameter(name, columns, given) for name in model.parameters}
            where = {name: points[..., i : i + 1] for i, name in enumerate(names)}
            # One row of parameters for each row of points.
            shape = (-1, *[1] * (points.dim() - 1))
            spread = {name: value.reshape(shape) for name, value in parameters.items()}
            residual = model.equation(fields, where, spread)
        outputs = {name: found.value.squeeze(-1) for name, found in fields.items()}
        outputs.update(parameters)
        if not model.window:
            return {**outputs, "residual": residual.squeeze(-1)}
        at = residual.squeeze(-1)
        size = torch.sqrt((at * at).mean(dim=1)) / model.residual_scale
        return {**outputs, "residual_at": at, "residual": size}

    def _parameter(self, name: str, columns: Mapping[str, Tensor] | None, given: Tensor) -> Tensor:
        """Return a parameter as (B,)."""
        if columns is not None and name in columns:
            return columns[name].reshape(-1)
        found = getattr(self.network, name)
        value: Tensor = found() if callable(found) else found
        return value.reshape(1).expand(given.shape[0])


def load_own(path: Path) -> OwnModel:
    """Run a user's file and return what it defines.

    Raises:
        ConfigError: The file fails, or a name is missing or not what it must be.
    """

    def wrong(name: str, rule: str, value: Any = None) -> ConfigError:
        return ConfigError([Problem(str(path), name, rule, value, value is not None)])

    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        reason = f"cannot be run: {type(error).__name__}: {error}"
        raise ConfigError([Problem(str(path), "", reason)]) from error
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise wrong("", f"must define {', '.join(REQUIRED)}", missing)
    if not isinstance(names["NETWORK"], nn.Module):
        raise wrong("NETWORK", "must be a torch.nn.Module", type(names["NETWORK"]).__name__)
    residual = names["RESIDUAL"]
    if not isinstance(residual, dict) or set(residual) != {"unit", "scale"}:
        raise wrong("RESIDUAL", 'must be {"unit": ..., "scale": ...}', residual)
    window = dict(names.get("WINDOW") or {})
    collocation = names.get("COLLOCATION")
    if bool(window) != (collocation is not None):
        raise wrong("COLLOCATION", "must be given with WINDOW, and only with it")
    probe = np.asarray(names["PROBE"], np.float32)
    columns = len(window) if window else len(names["COORDINATES"])
    if probe.ndim != (3 if window else 2) or probe.shape[-1] != columns or len(probe) < 8:
        shape = "windows (B, W, C)" if window else "points (N, d)"
        raise wrong("PROBE", f"must be at least 8 {shape} of {columns} columns", probe.shape)
    return OwnModel(
        network=names["NETWORK"],
        coordinates=dict(names["COORDINATES"]),
        fields=dict(names["FIELDS"]),
        equation=names["equation"],
        probe=probe,
        residual_unit=str(residual["unit"]),
        residual_scale=float(residual["scale"]),
        parameters=dict(names.get("PARAMETERS") or {}),
        window=window,
        collocation=None if collocation is None else np.asarray(collocation, float),
    )


def export_own(model: OwnModel, name: str, opset: int) -> Exported:
    """Write a user's model as ONNX and prove it; see `export`.

    Raises:
        ModelError: The model cannot be written as plain ONNX, or the graph fails a proof.
    """
    # The residual's terms cancel: float32 keeps the digits of the terms, not of what is left.
    size = 1.0 if model.window else model.residual_scale
    scales = {"residual": size, "residual_at": model.residual_scale}
    return export(OwnGraph(model), model.inputs, name=name, opset=opset, scales=scales)
