"""ATen operators as plain ONNX operators: `TABLE`, by name.

Every function takes the lowering, the traced node and the arguments of the ATen operator, with
tensors as `Value`. A sum over the last axis becomes a MatMul with ones, because ReduceSum rounds
the last row of an odd batch differently (`edgeai.training.graph_builder`).
"""
# ruff: noqa: ARG001, FBT002, PLR0917  the signatures are ATen's

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from edgeai.training.pinn.lowering import Lowering, Value
from edgeai.training.pinn.shapes import (
    SHAPES,
    constant_value,
    elementwise_value,
    node_value,
    shape_of,
)

Operand = Value | float | int


def _operand(low: Lowering, value: Operand) -> str:
    return low.name_of(value) if isinstance(value, Value) else low.number(float(value))


def _is_constant(value: Operand) -> bool:
    return not isinstance(value, Value) or value.constant is not None


def _tensor(value: Operand) -> Tensor | float:
    if isinstance(value, Value):
        assert value.constant is not None
        return value.constant
    return value


def _unary(operator: str, function: Callable[[Any], Any]) -> Callable[..., Value]:
    def write(low: Lowering, node: Node, x: Value, *_rest: Any, **_options: Any) -> Value:
        if x.constant is not None:
            return constant_value(node, function(x.constant))
        return elementwise_value(node, low.emit(operator, [low.name_of(x)]), x)

    return write


def _binary(operator: str, function: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    def write(low: Lowering, node: Node, a: Operand, b: Operand) -> Value:
        if _is_constant(a) and _is_constant(b):
            return constant_value(node, torch.as_tensor(function(_tensor(a), _tensor(b))))
        return elementwise_value(
            node, low.emit(operator, [_operand(low, a), _operand(low, b)]), a, b
        )

    return write


_multiply = _binary("Mul", lambda a, b: a * b)


def _signed(operator: str, sign: float) -> Callable[..., Value]:
    def write(low: Lowering, node: Node, a: Operand, b: Operand, alpha: float = 1) -> Value:
        if _is_constant(a) and _is_constant(b):
            return constant_value(node, torch.as_tensor(_tensor(a) + sign * alpha * _tensor(b)))
        right = _operand(low, b)
        if alpha != 1:
            right = low.emit("Mul", [right, low.number(alpha)])
        return elementwise_value(node, low.emit(operator, [_operand(low, a), right]), a, b)

    return write


_subtract = _signed("Sub", -1.0)


def _rsub(low: Lowering, node: Node, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return _subtract(low, node, b, a, alpha)


def _divide(low: Lowering, node: Node, a: Operand, b: Operand, **options: Any) -> Value:
    if options.get("rounding_mode") is not None:
        raise low.refuse("a division that rounds")
    return _binary("Div", lambda x, y: x / y)(low, node, a, b)


def _power(low: Lowering, node: Node, x: Value, exponent: Operand) -> Value:
    if isinstance(exponent, Value):
        raise low.refuse("a power whose exponent is a tensor")
    if x.constant is not None:
        return constant_value(node, x.constant**exponent)
    name = low.name_of(x)
    if exponent in {2, 3}:  # exact, and more NPU compilers support Mul than Pow
        square = low.emit("Mul", [name, name])
        result = square if exponent == 2 else low.emit("Mul", [square, name])
    else:
        result = low.emit("Pow", [name, low.number(float(exponent))])
    return elementwise_value(node, result, x)


def _expm1(low: Lowering, node: Node, x: Value) -> Value:
    grown = low.emit("Exp", [low.name_of(x)])
    return elementwise_value(node, low.emit("Sub", [grown, low.number(1.0)]), x)


def _log1p(low: Lowering, node: Node, x: Value) -> Value:
    more = low.emit("Add", [low.name_of(x), low.number(1.0)])
    return elementwise_value(node, low.emit("Log", [more]), x)


def _silu(low: Lowering, node: Node, x: Value) -> Value:
    name = low.name_of(x)
    return elementwise_value(node, low.emit("Mul", [name, low.emit("Sigmoid", [name])]), x)


def _gelu(low: Lowering, node: Node, x: Value, approximate: str = "none") -> Value:
    name = low.name_of(x)
    if approximate == "tanh":
        cube = low.emit("Mul", [low.emit("Mul", [name, name]), name])
        inner = low.emit("Add", [name, low.emit("Mul", [cube, low.number(0.044715)])])
        scaled = low.emit("Mul", [inner, low.number(math.sqrt(2.0 / math.pi))])
        gate = low.emit("Tanh", [scaled])
    else:
        gate = low.emit("Erf", [low.emit("Mul", [name, low.number(math.sqrt(0.5))])])
    half = low.emit("Mul", [low.emit("Add", [gate, low.number(1.0)]), low.number(0.5)])
    return elementwise_value(node, low.emit("Mul", [name, half]), x)


def _softplus(low: Lowering, node: Node, x: Value, beta: float = 1, threshold: float = 20) -> Value:
    del threshold  # ONNX's Softplus does not overflow
    if beta != 1:
        raise low.refuse("a softplus whose beta is not 1")
    return elementwise_value(node, low.emit("Softplus", [low.name_of(x)]), x)


def _clamp(
    low: Lowering, node: Node, x: Value, least: float | None = None, most: float | None = None
) -> Value:
    bounds = ["" if bound is None else low.number(bound) for bound in (least, most)]
    return elementwise_value(node, low.emit("Clip", [low.name_of(x), *bounds]), x)


def _where(low: Lowering, node: Node, condition: Value, a: Operand, b: Operand) -> Value:
    names = [low.name_of(condition), _operand(low, a), _operand(low, b)]
    return elementwise_value(node, low.emit("Where", names), condition, a, b)


def _matmul(low: Lowering, node: Node, a: Value, b: Value) -> Value:
    if a.constant is not None and b.constant is not None and a.rank == b.rank == 2:
        # Keep equal rows as one row: autograd starts from a column of ones.
        rows = a.constant if a.constant.dim() == 2 else a.constant.reshape(1, -1)
        return constant_value(node, rows.expand(-1, b.shape[0]) @ b.constant.expand(b.shape))
    return node_value(low, node, low.emit("MatMul", [low.full_name_of(a), low.full_name_of(b)]))


def _addmm(
    low: Lowering, node: Node, c: Value, a: Value, b: Value, beta: float = 1, alpha: float = 1
) -> Value:
    names = [low.full_name_of(a), low.full_name_of(b), low.name_of(c)]
    options = {} if (alpha, beta) == (1, 1) else {"alpha": float(alpha), "beta": float(beta)}
    return node_value(low, node, low.emit("Gemm", names, **options))


def _baddbmm(low: Lowering, node: Node, c: Value, a: Value, b: Value) -> Value:
    return node_value(
        low, node, low.emit("Add", [_matmul(low, node, a, b).name or "", low.name_of(c)])
    )


def _sum(
    low: Lowering, node: Node, x: Value, dims: Sequence[int] | int | None = None,
    keepdim: bool = False, **_options: Any,
) -> Value:  # fmt: skip
    chosen = range(x.rank) if dims is None or dims == [] else dims
    axes = sorted(axis % x.rank for axis in ([chosen] if isinstance(chosen, int) else chosen))
    size = x.shape[-1] if x.rank else 1
    if axes == [x.rank - 1] and isinstance(size, int) and x.rank > 1:
        ones = low.array(np.ones((size, 1)), np.float32)
        column = low.emit("MatMul", [low.full_name_of(x), ones])
        if keepdim:
            return node_value(low, node, column)
        return node_value(
            low, node, low.emit("Reshape", [column, low.reshape_target(shape_of(node))])
        )
    names = [low.full_name_of(x), low.array(axes)]
    return node_value(low, node, low.emit("ReduceSum", names, keepdims=int(keepdim)))


def _mean(
    low: Lowering, node: Node, x: Value, dims: Sequence[int] | None = None,
    keepdim: bool = False, **_options: Any,
) -> Value:  # fmt: skip
    axes = range(x.rank) if not dims else [axis % x.rank for axis in dims]
    count = math.prod(x.shape[axis] for axis in axes)
    if not isinstance(count, int):
        raise low.refuse("a mean over the batch")
    total = _sum(low, node, x, list(axes), keepdim)
    return node_value(low, node, low.emit("Mul", [total.name or "", low.number(1.0 / count)]))


def _softmax(low: Lowering, node: Node, x: Value, dim: int, *_rest: Any) -> Value:
    return node_value(low, node, low.emit("Softmax", [low.full_name_of(x)], axis=dim % x.rank))


def _filled(number: float | None = None) -> Callable[..., Value]:
    def write(low: Lowering, node: Node, *given: Any, **_options: Any) -> Value:
        value = float(given[-1]) if number is None else number
        return constant_value(node, torch.tensor(value, dtype=node.meta["val"].dtype))

    return write


def _alias(low: Lowering, node: Node, x: Value, *_rest: Any, **_options: Any) -> Value:
    return x


def _cast(low: Lowering, node: Node, x: Value, *_rest: Any, **_options: Any) -> Value:
    dtype = node.meta["val"].dtype
    if x.constant is not None:
        return constant_value(node, x.constant.to(dtype))
    if not dtype.is_floating_point:
        raise low.refuse(f"a conversion to {dtype}")
    return elementwise_value(node, low.emit("Cast", [low.name_of(x)], to=1), x)


def _convolution(
    low: Lowering, node: Node, x: Value, weight: Value, bias: Value | None, stride: list[int],
    padding: list[int], dilation: list[int], transposed: bool, _output: Any, groups: int,
) -> Value:  # fmt: skip
    if transposed:
        raise low.refuse("a transposed convolution")
    names = [
        low.full_name_of(x),
        low.full_name_of(weight),
        *([] if bias is None else [low.full_name_of(bias)]),
    ]
    name = low.emit(
        "Conv", names, strides=list(stride), pads=[*padding, *padding],
        dilations=list(dilation), group=groups,
    )  # fmt: skip
    return node_value(low, node, name)


TABLE: Mapping[str, Callable[..., Any]] = {
    **SHAPES,
    "add": _signed("Add", 1.0), "sub": _subtract, "rsub": _rsub, "mul": _multiply,
    "div": _divide, "pow": _power, "maximum": _binary("Max", torch.maximum),
    "minimum": _binary("Min", torch.minimum),
    "neg": _unary("Neg", torch.neg), "abs": _unary("Abs", torch.abs),
    "exp": _unary("Exp", torch.exp), "log": _unary("Log", torch.log),
    "sqrt": _unary("Sqrt", torch.sqrt), "reciprocal": _unary("Reciprocal", torch.reciprocal),
    "tanh": _unary("Tanh", torch.tanh), "sigmoid": _unary("Sigmoid", torch.sigmoid),
    "sin": _unary("Sin", torch.sin), "cos": _unary("Cos", torch.cos),
    "sinh": _unary("Sinh", torch.sinh), "cosh": _unary("Cosh", torch.cosh),
    "atan": _unary("Atan", torch.atan), "erf": _unary("Erf", torch.erf),
    "relu": _unary("Relu", torch.relu), "sign": _unary("Sign", torch.sign),
    "expm1": _expm1, "log1p": _log1p, "silu": _silu, "gelu": _gelu, "softplus": _softplus,
    "clamp": _clamp, "where": _where,
    "gt": _binary("Greater", lambda a, b: a > b), "lt": _binary("Less", lambda a, b: a < b),
    "ge": _binary("GreaterOrEqual", lambda a, b: a >= b),
    "le": _binary("LessOrEqual", lambda a, b: a <= b),
    "mm": _matmul, "bmm": _matmul, "mv": _matmul, "dot": _matmul, "addmm": _addmm,
    "baddbmm": _baddbmm,
    "sum": _sum, "mean": _mean, "_softmax": _softmax,
    "empty_like": _filled(0.0), "empty": _filled(0.0), "fill": _filled(),
    "ones_like": _filled(1.0), "zeros_like": _filled(0.0), "new_zeros": _filled(0.0),
    "new_ones": _filled(1.0), "ones": _filled(1.0), "zeros": _filled(0.0), "full": _filled(),
    "full_like": _filled(), "new_full": _filled(), "scalar_tensor": _filled(),
    "detach": _alias, "alias": _alias, "clone": _alias, "contiguous": _alias,
    "lift_fresh_copy": _alias, "_to_copy": _cast, "convolution": _convolution,
}  # fmt: skip
