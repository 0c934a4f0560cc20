"""Write a traced torch graph as ONNX: the walk over the graph, constants, shapes.

`make_fx` traces a module, including derivatives by autograd, to torch's ATen operators with a
symbolic batch. Each ATen operator is then written as plain ONNX operators (`operators`).

torch.onnx.export is not used: its dynamo exporter silently freezes the batch of a forward-mode
derivative, writes opset 18 where 13 was requested and needs another dependency; its TorchScript
exporter is deprecated. Here every operator comes from a table of this package, an operator that is
missing there is refused by name, and the opset is the requested one.
"""

import operator as python_operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.fx import Node

from edgeai.errors import ModelError

BATCH = "B"
FROM_TORCH = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.FLOAT,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        shape: The shape in torch; the batch is a torch.SymInt.
        name: Name in the ONNX graph; None for a constant that is not in the file yet.
        constant: Values of a constant. They may be smaller than `shape`, to which they broadcast;
            so the ones and zeros of autograd need no memory and no operator.
        held: Shape of the tensor `name` if it is smaller than `shape`, to which it broadcasts: the
            result of an operator on such a constant. None: it is `shape`.
    """

    shape: tuple[Any, ...]
    name: str | None
    constant: Tensor | None = None
    held: tuple[Any, ...] | None = None

    @property
    def held_shape(self) -> tuple[Any, ...]:
        """The shape that the tensor has in the ONNX graph."""
        if self.constant is not None:
            return tuple(self.constant.shape)
        return self.shape if self.held is None else self.held

    @property
    def is_whole(self) -> bool:
        """Whether the tensor in the ONNX graph has the shape that it has in torch."""
        return self.held is None if self.constant is None else self.held_shape == self.shape

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)


class Lowering:
    """Writes one ONNX graph.

    Args:
        name: Name of the graph, for messages.
        opset: 13 to 18.
    """

    def __init__(self, name: str, opset: int) -> None:
        self.name = name
        self.opset = opset
        self.batch: Any = None
        self._source = ""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initialisers: list[onnx.TensorProto] = []
        self._batch_shape: str | None = None

    def refuse(self, what: str) -> ModelError:
        """Return the error for something that has no plain ONNX form."""
        return ModelError(self.name, f"cannot be written as plain ONNX: {what}")

    def emit(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        output = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def array(self, values: Any, dtype: Any = np.int64) -> str:
        """Return the name of a constant array; equal arrays are stored once."""
        array = np.array(values, dtype, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = name
            self._initialisers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def number(self, value: float) -> str:
        """Return the name of a float32 scalar constant."""
        return self.array(value, np.float32)

    def name_of(self, value: Value) -> str:
        """Return the name of a value; use it for operators that broadcast."""
        if value.name is not None:
            return value.name
        assert value.constant is not None
        constant = value.constant.detach().cpu()
        if constant.dtype in {torch.float64, torch.float32}:
            return self.array(constant.numpy(), np.float32)
        return self.array(constant.numpy(), bool if constant.dtype == torch.bool else np.int64)

    def full_name_of(self, value: Value) -> str:
        """Return the name of a value that has its full shape; use it for all other operators."""
        if value.is_whole:
            return self.name_of(value)
        return self.emit("Expand", [self.name_of(value), self.shape_of(value.shape)])

    def shape_of(self, shape: Sequence[Any]) -> str:
        """Return the name of a shape as an int64 tensor; the batch size comes from the input."""
        if all(isinstance(size, int) for size in shape):
            return self.array(list(shape))
        if self._batch_shape is None:
            whole = self.emit("Shape", [self._source])
            ends = [self.array([0]), self.array([1]), self.array([0])]
            self._batch_shape = self.emit("Slice", [whole, *ends])
        parts = []
        for size in shape:
            if isinstance(size, int):
                parts.append(self.array([size]))
                continue
            times = self.batches(size)
            parts.append(
                self._batch_shape
                if times == 1
                else self.emit("Mul", [self._batch_shape, self.array([times])])
            )
        return self.emit("Concat", parts, axis=0) if len(parts) > 1 else parts[0]

    def batches(self, size: Any) -> int:
        """Return k for a symbolic size of k * batch."""
        ratio = size.node.expr / self.batch.node.expr
        if not ratio.is_Integer:
            raise self.refuse(f"a shape of {size} where the batch is {self.batch}")
        return int(ratio)

    def reshape_target(self, shape: Sequence[Any]) -> str:
        """Return the name of the target shape of a Reshape; the batch becomes -1."""
        symbolic = [size for size in shape if not isinstance(size, int)]
        if len(symbolic) > 1:
            return self.shape_of(shape)
        return self.array([size if isinstance(size, int) else -1 for size in shape])

    def model(
        self,
        traced: torch.fx.GraphModule,
        inputs: Sequence[str],
        outputs: Sequence[str],
        table: Mapping[str, Callable[..., Any]],
    ) -> onnx.ModelProto:
        """Write the graph.

        Args:
            traced: Graph from make_fx with a symbolic batch.
            inputs: Names of the inputs.
            outputs: Names of the outputs.
            table: By ATen operator, a function (lowering, node, *args, **kwargs) that returns a
                Value or a list of Values.

        Raises:
            ModelError: An operator is not in the table, or a shape is not a multiple of the batch.
        """
        values: dict[Node, Any] = {}
        names = iter(inputs)
        declared = []
        results: Sequence[Value] = ()
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                name = next(names)
                fake = node.meta["val"]
                values[node] = Value(sizes_of(fake), name)
                declared.append(self._declare(name, values[node].shape, fake.dtype))
            elif node.op == "get_attr":
                tensor = _attribute(traced, node.target)
                values[node] = Value(tuple(tensor.shape), None, tensor.detach())
            elif node.op == "call_function":
                values[node] = self._call(node, values, table)
            elif node.op == "output":
                results = torch.fx.node.map_arg(node.args[0], lambda n: values[n])
        infos = [self._result(name, value) for name, value in zip(outputs, results, strict=True)]
        nodes, held = _needed(self._nodes, self._initialisers, outputs)
        graph = helper.make_graph(nodes, self.name, declared, infos, held)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=8,  # belongs to opset 15 to 18; runtimes for opset 13 read it too
            producer_name="edgeai",
        )

    def _declare(self, name: str, shape: tuple[Any, ...], dtype: torch.dtype) -> Any:
        if not shape or isinstance(shape[0], int):
            raise self.refuse(f"the module freezes the batch of `{name}` (recurrent layers do)")
        if self.batch is None:
            self.batch, self._source = shape[0], name
        return helper.make_tensor_value_info(name, FROM_TORCH[dtype], self._axes(shape))

    def _result(self, name: str, value: Value) -> Any:
        axes = self._axes(value.shape)
        if not axes or axes[0] != BATCH:
            raise self.refuse(f"output `{name}` of shape {value.shape} has no batch axis")
        self._nodes.append(
            helper.make_node("Identity", [self.full_name_of(value)], [name], name=f"output_{name}")
        )
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)

    def _axes(self, shape: tuple[Any, ...]) -> list[int | str]:
        axes: list[int | str] = []
        for size in shape:
            if not isinstance(size, int) and self.batches(size) != 1:
                raise self.refuse(f"an input or output of shape {shape}")
            axes.append(size if isinstance(size, int) else BATCH)
        return axes

    def _call(
        self, node: Node, values: dict[Node, Any], table: Mapping[str, Callable[..., Any]]
    ) -> Any:
        if node.target is python_operator.getitem:
            source, index = node.args
            return values[source][index]  # type: ignore[index]
        meta = node.meta.get("val")
        if not isinstance(meta, torch.Tensor | list | tuple):
            return meta  # a size: an int or a torch.SymInt
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
        if (folded := _fold(node, args, kwargs, meta)) is not None:
            return folded
        key = _operator(node)
        in_place = key.endswith("_") and key not in table and _is_fresh(node.args[0])
        key = key[:-1] if in_place else key
        if key not in table:
            remedy = "write the layer that uses it with elementary operations"
            raise self.refuse(f"torch operator `{node.target}`; {remedy}")
        try:
            written = table[key](self, node, *args, **kwargs)
        except ModelError:
            raise
        except Exception as error:  # arguments that the function in the table does not take
            raise self.refuse(f"torch operator `{node.target}` as it is used here") from error
        if in_place:
            values[node.args[0]] = written  # type: ignore[index]
        return written


def _operator(node: Node) -> str:
    """Return the ATen name of a call, without the overload."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[1] if schema is not None else str(node.target)


def _is_fresh(node: Any) -> bool:
    """Whether no other tensor shares this one's memory, so that an in-place change is safe.

    torch's derivative formulas change tensors that they have just made: 1 - x is traced as empty,
    fill_, sub_.
    """
    if node.op != "call_function":
        return False
    name = _operator(node)
    return name.startswith("empty") or (name.endswith("_") and _is_fresh(node.args[0]))


def _needed(
    nodes: Sequence[onnx.NodeProto], held: Sequence[onnx.TensorProto], outputs: Sequence[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Remove nodes and constants that no output needs."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1], [tensor for tensor in held if tensor.name in wanted]


def sizes_of(tensor: Tensor) -> tuple[Any, ...]:
    """Return a shape in which only sizes that depend on the batch are symbolic."""
    return tuple(
        int(size) if isinstance(size, int) or size.node.expr.is_Integer else size
        for size in tensor.shape
    )


def _attribute(module: torch.fx.GraphModule, target: Any) -> Tensor:
    found: Any = module
    for part in str(target).split("."):
        found = getattr(found, part)
    assert isinstance(found, Tensor)
    return found


def _fold(node: Node, args: Any, kwargs: Any, meta: Any) -> Value | None:
    """Return the result of a call whose arguments are all constants; None for other calls."""
    leaves = torch.utils._pytree.tree_leaves((args, kwargs))
    sizes = [leaf for leaf in leaves if isinstance(leaf, torch.SymInt)]
    held = [leaf for leaf in leaves if isinstance(leaf, Value)]
    whole = all(
        leaf.constant is not None and tuple(leaf.constant.shape) == leaf.shape for leaf in held
    )
    if sizes or not whole or not isinstance(meta, Tensor):
        return None
    args, kwargs = torch.utils._pytree.tree_map_only(
        Value, lambda leaf: leaf.constant, (args, kwargs)
    )
    with torch.no_grad():
        result = node.target(*args, **kwargs)  # type: ignore[operator]
    return Value(tuple(result.shape), None, result)
