"""Write a torch module that contains derivatives as a plain ONNX graph, and verify the graph.

The module takes tensors whose first axis is the batch and returns a dict of tensors by name:
fields, parameters, residuals. Its derivatives may come from Taylor layers (`jets`) or from nested
autograd (`autograd`); both are traced to plain operators. `export` then checks the graph: the batch
is symbolic, a row does not depend on the batch it is in, and every output agrees with the module
in float64.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)

from edgeai.errors import ModelError, one_line
from edgeai.training.graph_builder import OPSET
from edgeai.training.pinn.lowering import BATCH, Lowering
from edgeai.training.pinn.operators import TABLE

OPSETS = range(13, 19)
BATCHES = (1, 2, 3, 8, 33)  # sizes at which a graph is tried
AGREEMENT = 1e-5  # largest difference from float64, over the output's size
aten = torch.ops.aten
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Exported:
    """A verified graph.

    Attributes:
        model: The ONNX model.
        reference: Outputs for the probe, computed by torch in float64.
        errors: Largest difference of each output from float64, over the output's size.
        nodes: Number of operators.
    """

    model: onnx.ModelProto
    reference: Mapping[str, Floats]
    errors: Mapping[str, float]
    nodes: int


def export(
    module: nn.Module,
    probe: Mapping[str, npt.ArrayLike],
    *,
    name: str = "pinn",
    opset: int = OPSET,
    scales: Mapping[str, float] | None = None,
    agreement: float = AGREEMENT,
) -> Exported:
    """Write a module as ONNX and verify the graph.

    Args:
        module: Called with the probe's tensors in order; returns dict[str, Tensor (B, ...)].
        probe: Inputs by name, (B, ...) with B >= 8, engineering units. They must cover the range of
            use, because the graph is compared with float64 on them.
        name: Name of the graph, for messages.
        opset: 13 to 18.
        scales: Size of each output, by which its error is divided. Default: the largest absolute
            value on the probe. For a residual, give the size of its terms: the terms cancel, so
            the rounding error of float32 is relative to the terms and not to their difference.
        agreement: Largest error allowed.

    Raises:
        ModelError: The module cannot be written as plain ONNX, or the graph fails a check.
        ValueError: The opset is not supported.
    """
    if opset not in OPSETS:
        raise ValueError(f"`opset` must be {OPSETS.start} to {OPSETS.stop - 1}, got {opset}")
    inputs = {key: np.ascontiguousarray(values, np.float32) for key, values in probe.items()}
    model = lowered(module, inputs, name, opset)
    reference = outputs_in_float64(module, inputs)
    sizes = {
        output: (scales or {}).get(output) or float(np.abs(exact).max()) or 1.0
        for output, exact in reference.items()
    }
    try:
        session = _session(model)
        prove_batches(session, inputs, name, sizes)
        actual = dict(zip(reference, session.run(list(reference), dict(inputs)), strict=True))
    except ModelError:
        raise
    except Exception as error:  # ORT's exceptions share no base class
        rule = f"the exported graph does not run in ONNX Runtime: {one_line(error)}"
        raise ModelError(name, rule) from error
    errors = {}
    for output, exact in reference.items():
        distance = float(np.abs(actual[output] - exact).max()) / sizes[output]
        if not distance <= agreement:  # true for NaN too
            rule = "must agree with float64 within"
            rule = f"output `{output}` {rule} {agreement:g} of {sizes[output]:g}"
            raise ModelError(name, rule, distance)
        errors[output] = distance
    return Exported(model, reference, errors, len(model.graph.node))


def lowered(
    module: nn.Module, inputs: Mapping[str, npt.NDArray[np.float32]], name: str, opset: int
) -> onnx.ModelProto:
    """Trace a module and write it as ONNX, without the checks of `export`.

    Raises:
        ModelError: An operator has no plain ONNX form, or an output has no batch axis.
    """
    frozen = _copy(module, torch.float32)
    names: list[str] = []

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        results = frozen(*tensors)
        if not isinstance(results, dict):
            raise TypeError("must return tensors by name, a dict")
        names[:] = results
        return tuple(results.values())

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    tensors = _symbolic(mode, list(inputs.values()))
    try:
        traced = _traced(mode, flat, tensors)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        rule = f"the module cannot be traced: {type(error).__name__}: {reason[0]}"
        raise ModelError(name, rule) from error
    traced.graph.eliminate_dead_code()
    model = Lowering(name, opset).model(traced, list(inputs), names, TABLE)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(name, f"is not a valid ONNX graph: {error}") from error
    return model


def outputs_in_float64(
    module: nn.Module, inputs: Mapping[str, npt.NDArray[np.float32]]
) -> dict[str, Floats]:
    """Return the outputs of a module in float64, the reference for its graph."""
    exact = _copy(module, torch.float64)
    results = exact(*[torch.from_numpy(values).double() for values in inputs.values()])
    return {key: value.detach().numpy() for key, value in results.items()}


def prove_batches(
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, npt.NDArray[np.float32]],
    name: str,
    sizes: Mapping[str, float],
    batches: Sequence[int] = BATCHES,
) -> None:
    """Check that the batch is symbolic and that a row does not depend on its batch.

    Args:
        session: Session of the graph.
        inputs: The probe.
        name: Name of the graph, for messages.
        sizes: Size of each output. A row may differ between batches by a small share of it,
            because the order of a summation, and so its rounding, may depend on the batch.
        batches: Batch sizes to try.

    Raises:
        ModelError: The batch is frozen, or the graph mixes the rows of a batch.
    """
    for item in [*session.get_inputs(), *session.get_outputs()]:
        if not item.shape or item.shape[0] != BATCH:
            raise ModelError(name, f"`{item.name}` must have a symbolic batch", item.shape)
    names = [output.name for output in session.get_outputs()]
    rows = len(next(iter(inputs.values())))
    whole = session.run(names, dict(inputs))
    for size in batches:
        at = np.arange(size) % rows
        part = session.run(names, {key: values[at] for key, values in inputs.items()})
        for key, values, expected in zip(names, part, whole, strict=True):
            if values.shape != (size, *expected.shape[1:]):
                raise ModelError(name, f"output `{key}` must have {size} rows", values.shape)
            if not np.abs(values - expected[at]).max() <= AGREEMENT * sizes[key]:
                raise ModelError(name, f"output `{key}` of a row must not depend on its batch")


def _copy(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    result = copy.deepcopy(module).to(dtype).eval()
    return result.requires_grad_(False)


def _traced(
    mode: FakeTensorMode, function: Callable[..., Any], tensors: Sequence[Tensor]
) -> torch.fx.GraphModule:
    """Return the traced graph of a function, in ATen operators."""
    with mode:  # tensors that the module creates may then depend on the batch too
        result: torch.fx.GraphModule = make_fx(
            function,
            tracing_mode="real",  # the tensors are fake already
            _allow_non_fake_inputs=True,
            decomposition_table=DECOMPOSITIONS,
        )(*tensors)
    return result


def _symbolic(mode: FakeTensorMode, arrays: Sequence[npt.NDArray[np.float32]]) -> list[Tensor]:
    """Return tensors without data; the first axis is a symbol, the other sizes are numbers."""
    return [
        mode.from_tensor(
            torch.from_numpy(values),
            symbolic_context=StatelessSymbolicContext(
                dynamic_sizes=[DimDynamic.DUCK, *[DimDynamic.STATIC] * (values.ndim - 1)]
            ),
            source=ConstantSource(f"input_{index}"),
        )
        for index, values in enumerate(arrays)
    ]


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = model.SerializeToString(deterministic=True)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    centred = x - mean
    scale = torch.reciprocal(torch.sqrt((centred * centred).mean(axes, keepdim=True) + eps))
    result = centred * scale
    result = result if weight is None else result * weight
    return (result if bias is None else result + bias), mean, scale


def _tanh_backward(gradient: Tensor, value: Tensor) -> Tensor:
    return gradient * (1.0 - value * value)


def _sigmoid_backward(gradient: Tensor, value: Tensor) -> Tensor:
    return gradient * (value * (1.0 - value))


def _silu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gradient * (gate * (1.0 + x * (1.0 - gate)))


def _softplus_backward(gradient: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    del threshold  # torch uses it against overflow; sigmoid does not overflow
    return gradient * torch.sigmoid(beta * x)


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    **get_decompositions(
        [
            aten.native_batch_norm,
            aten.elu,
            aten.elu_backward,
            aten.leaky_relu,
            aten.leaky_relu_backward,
            aten.mish,
            aten.mish_backward,
            aten.hardtanh,
            aten.gelu_backward,
            aten.addcmul,
        ]
    ),
    aten.native_layer_norm.default: _layer_norm,
    aten.tanh_backward.default: _tanh_backward,
    aten.sigmoid_backward.default: _sigmoid_backward,
    aten.silu_backward.default: _silu_backward,
    aten.softplus_backward.default: _softplus_backward,
}
"""Composite ATen operators, written with elementary ones."""
