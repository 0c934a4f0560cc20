"""ATen operators that rearrange values without changing them, as plain ONNX operators."""
# ruff: noqa: ARG001, PLR0917  the signatures are ATen's

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from edgeai.training.pinn.lowering import Lowering, Value, sizes_of

END = 2**63 - 1  # "to the end", in torch and in ONNX


def shape_of(node: Node) -> tuple[Any, ...]:
    """Return the shape of the node's result in torch; known sizes are plain ints."""
    return sizes_of(node.meta["val"])


def node_value(_low: Lowering, node: Node, name: str) -> Value:
    """Return the output `name` of an emitted node as a Value."""
    return Value(shape_of(node), name)


def elementwise_value(node: Node, name: str, *operands: Any) -> Value:
    """Return the output `name` of an operator that broadcasts its operands, as a Value.

    Its tensor is smaller than in torch where all operands are: a constant may stand for more rows
    than it has.
    """
    shape = shape_of(node)
    shapes = [operand.held_shape for operand in operands if isinstance(operand, Value)]
    held: list[Any] = []
    for axis in range(-len(shape), 0):
        sizes = [each[axis] for each in shapes if len(each) >= -axis]
        is_full = any(not isinstance(size, int) or size != 1 for size in sizes)
        held.append(shape[axis] if is_full else 1)
    is_smaller = any(
        isinstance(has, int) and has == 1 and not (isinstance(wanted, int) and wanted == 1)
        for has, wanted in zip(held, shape, strict=True)
    )
    return Value(shape, name, held=tuple(held) if is_smaller else None)


def constant_value(node: Node, result: Tensor) -> Value:
    """Return a constant that broadcasts to the node's shape; it is not written to the file yet."""
    return Value(shape_of(node), None, result)


def _reshape(low: Lowering, node: Node, x: Value, *_shape_arguments: Any) -> Value:
    shape = shape_of(node)
    if x.constant is not None and x.constant.numel() == 1:
        return constant_value(node, x.constant.reshape(()))
    target = low.reshape_target(shape)
    return node_value(low, node, low.emit("Reshape", [low.full_name_of(x), target]))


def _expand(low: Lowering, node: Node, x: Value, *_arguments: Any, **_options: Any) -> Value:
    shape = shape_of(node)
    if x.constant is not None:
        return constant_value(node, x.constant)
    if tuple(x.shape) == shape:
        return x
    return node_value(low, node, low.emit("Expand", [low.name_of(x), low.shape_of(shape)]))


def _permute(low: Lowering, node: Node, x: Value, order: Sequence[int]) -> Value:
    axes = [axis % x.rank for axis in order]
    return node_value(low, node, low.emit("Transpose", [low.full_name_of(x)], perm=axes))


def _transpose(low: Lowering, node: Node, x: Value, a: int = 0, b: int = 1) -> Value:
    order = list(range(x.rank))
    if x.rank > 1:
        order[a], order[b] = order[b], order[a]
    return _permute(low, node, x, order)


def _cat(low: Lowering, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    rank = len(shape_of(node))
    parts = [part for part in parts if part.shape != (0,)]
    names = [low.full_name_of(part) for part in parts]
    return node_value(low, node, low.emit("Concat", names, axis=dim % rank))


def _stack(low: Lowering, node: Node, parts: Sequence[Value], dim: int = 0) -> Value:
    axis = dim % len(shape_of(node))
    names = [low.emit("Unsqueeze", [low.full_name_of(part), low.array([axis])]) for part in parts]
    return node_value(low, node, low.emit("Concat", names, axis=axis))


def _to_the_end(last: Any, size: Any) -> bool:
    """Whether a slice goes to the end of the axis; an end that depends on the batch does."""
    return not isinstance(last, int) or last == END or (isinstance(size, int) and last >= size)


def _slice_of(
    low: Lowering, node: Node, x: Value, dim: int = 0, start: Any = None, end: Any = None,
    step: int = 1,
) -> Value:  # fmt: skip
    axis, first, last = dim % x.rank, start or 0, END if end is None else end
    size = x.shape[axis]
    if first == 0 and step == 1 and _to_the_end(last, size):
        return x
    ends = [low.array([number]) for number in (first, last, axis, step)]
    return node_value(low, node, low.emit("Slice", [low.full_name_of(x), *ends]))


def _select(low: Lowering, node: Node, x: Value, dim: int, index: int) -> Value:
    name = low.emit("Gather", [low.full_name_of(x), low.array(index)], axis=dim % x.rank)
    return node_value(low, node, name)


def _index(low: Lowering, node: Node, x: Value, indices: Sequence[Value | None]) -> Value:
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1 or given[0][1].constant is None:
        raise low.refuse("indexing by more than one list of constants")
    axis, index = given[0]
    return node_value(
        low, node, low.emit("Gather", [low.full_name_of(x), low.name_of(index)], axis=axis)
    )


def _index_select(low: Lowering, node: Node, x: Value, dim: int, index: Value) -> Value:
    return node_value(
        low, node, low.emit("Gather", [low.full_name_of(x), low.name_of(index)], axis=dim % x.rank)
    )


def _split(low: Lowering, node: Node, x: Value, sizes: Any, dim: int = 0) -> list[Value]:
    axis, start, parts = dim % x.rank, 0, []
    name = low.full_name_of(x)
    for fake in node.meta["val"]:
        size = fake.shape[axis]
        ends = [low.array([number]) for number in (start, start + size, axis)]
        parts.append(Value(sizes_of(fake), low.emit("Slice", [name, *ends])))
        start += size
    return parts


def _unbind(low: Lowering, node: Node, x: Value, dim: int = 0) -> list[Value]:
    return [
        Value(
            sizes_of(fake),
            low.emit("Gather", [low.full_name_of(x), low.array(index)], axis=dim % x.rank),
        )
        for index, fake in enumerate(node.meta["val"])
    ]


def _padded(low: Lowering, node: Node, x: Value, axis: int, before: int, after: int) -> Value:
    if before == after == 0:
        return x
    if x.constant is not None and isinstance(x.shape[axis], int):
        rank = x.rank
        constant = x.constant.reshape((1,) * (rank - x.constant.dim()) + x.constant.shape)
        sizes = [-1] * rank
        sizes[axis] = x.shape[axis]
        pads = [0, 0] * (rank - 1 - axis) + [before, after]
        return constant_value(node, torch.nn.functional.pad(constant.expand(sizes), pads))
    pads_before, pads_after = [0] * x.rank, [0] * x.rank
    pads_before[axis], pads_after[axis] = before, after
    names = [low.full_name_of(x), low.array([*pads_before, *pads_after]), low.number(0.0)]
    return node_value(low, node, low.emit("Pad", names))


def _slice_backward(
    low: Lowering, node: Node, x: Value, sizes: Sequence[Any], dim: int, start: int, end: Any,
    step: int,
) -> Value:  # fmt: skip
    axis = dim % x.rank
    if not isinstance(sizes[axis], int):
        if start == 0 and step == 1 and _to_the_end(end, sizes[axis]):
            return x
        raise low.refuse("the derivative of a slice of the batch")
    if step != 1:
        raise low.refuse("the derivative of a slice with a step")
    return _padded(low, node, x, axis, start, sizes[axis] - start - x.shape[axis])


def _select_backward(
    low: Lowering, node: Node, x: Value, sizes: Sequence[Any], dim: int, index: int
) -> Value:
    axis = dim % len(sizes)
    if not isinstance(sizes[axis], int):
        raise low.refuse("the derivative of one row of the batch")
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    name = low.emit("Unsqueeze", [low.full_name_of(x), low.array([axis])])
    at = index % sizes[axis]
    return _padded(low, node, Value(shape, name), axis, at, sizes[axis] - at - 1)


SHAPES: Mapping[str, Callable[..., Any]] = {
    "view": _reshape, "reshape": _reshape, "_unsafe_view": _reshape, "unsqueeze": _reshape,
    "squeeze": _reshape, "expand": _expand, "permute": _permute, "t": _transpose,
    "transpose": _transpose, "cat": _cat, "stack": _stack, "slice": _slice_of, "select": _select,
    "index": _index, "index_select": _index_select, "split": _split, "split_with_sizes": _split,
    "unbind": _unbind, "slice_backward": _slice_backward, "select_backward": _select_backward,
}  # fmt: skip
