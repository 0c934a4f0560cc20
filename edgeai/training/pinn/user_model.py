"""`edgeai export FILE.py`: write a user's torch network and equation as a verified ONNX graph.

The file is Python code and defines these names (examples: `examples/pinn/rod.py`, `docs/pinn.md`):

    NETWORK       torch module that maps points (N, d) to (N, k), one column per field; with
                  WINDOW, (window (B, W, C), points (B, N, d)) to (B, N, k). The result may also
                  be a dict of tensors by name.
    COORDINATES   {name: unit} of the columns of the points
    FIELDS        {name: unit} of the columns of the result
    equation      function (fields, coordinates, parameters) that returns the residual, a tensor
    PROBE         inputs for the checks of the graph: points (N, d) or windows (B, W, C)
    RESIDUAL      {"unit": ..., "scale": size of the equation's terms}
    PARAMETERS    optional {name: unit}: entries of the dict, or attributes of the network
    WINDOW        optional {name: unit} of the C signals
    COLLOCATION   with WINDOW: (N, d), the points at which field and residual are computed

A field has `.value` and derivatives of any order, `.d("x")`, `.d("x", "x")`, by nested autograd.
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
class UserModel:
    """The definitions of a user's file; see the docstring of this module."""

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
        """The probe, by name of the graph's input."""
        return {"window" if self.window else "points": self.probe}

    def outputs(self) -> list[dict[str, str]]:
        """Return name, unit and meaning of every output, as in a manifest."""
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


class UserGraph(nn.Module):
    """A module that returns fields, parameters and residual of a user's network."""

    def __init__(self, model: UserModel) -> None:
        super().__init__()
        self.network = model.network
        self._model = model
        if model.collocation is not None:
            self.register_buffer("collocation", torch.as_tensor(model.collocation))

    def forward(self, given: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name.

        Args:
            given: Points (B, d) or windows (B, W, C).
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
            # One row of parameters per row of points.
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


def load_user_model(path: Path) -> UserModel:
    """Run a user's file and return its definitions.

    Raises:
        ConfigError: The file raises an error, or a definition is missing or not valid.
    """

    def wrong(name: str, rule: str, value: Any = None) -> ConfigError:
        return ConfigError([Problem(str(path), name, rule, value, value is not None)])

    if path.is_dir():  # Python would run a module inside it
        raise wrong("", "is a folder, not a file")
    try:
        names = runpy.run_path(str(path.absolute()))
    except (Exception, SystemExit) as error:
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
        raise wrong("COLLOCATION", "must be defined if WINDOW is, and only then")
    probe = np.asarray(names["PROBE"], np.float32)
    columns = len(window) if window else len(names["COORDINATES"])
    if probe.ndim != (3 if window else 2) or probe.shape[-1] != columns or len(probe) < 8:
        shape = "windows (B, W, C)" if window else "points (N, d)"
        raise wrong("PROBE", f"must be at least 8 {shape} of {columns} columns", probe.shape)
    return UserModel(
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


def export_user_model(model: UserModel, name: str, opset: int) -> Exported:
    """Write a user's model as ONNX and verify the graph; see `export`.

    Raises:
        ModelError: The model cannot be written as plain ONNX, or the graph fails a check.
    """
    # The terms of the residual cancel, so rounding errors are relative to the terms' size.
    size = 1.0 if model.window else model.residual_scale
    scales = {"residual": size, "residual_at": model.residual_scale}
    return export(UserGraph(model), model.inputs, name=name, opset=opset, scales=scales)
