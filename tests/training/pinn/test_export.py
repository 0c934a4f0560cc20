"""Export: plain operators, a batch that is really dynamic, agreement with float64."""

import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch", reason="needs the extra train")
import torch
from torch import nn

from edgeai.errors import ConfigError, ModelError
from edgeai.training.pinn import onnx_export as export_module
from edgeai.training.pinn.autograd import AutogradField
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.networks import FourierFeatures, Mlp, contract
from edgeai.training.pinn.onnx_export import export
from edgeai.training.pinn.shapes import node_value
from edgeai.training.pinn.user_model import export_user_model, load_user_model
from tests.support.commands import run_command
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.train

PLAIN = {
    "Add", "Cast", "Concat", "Cos", "Div", "Expand", "Gather", "Gemm", "Identity", "MatMul", "Mul",
    "Neg", "Pad", "Reciprocal", "Reshape", "Shape", "Sigmoid", "Sin", "Slice", "Softplus", "Sqrt",
    "Sub", "Tanh", "Less", "Transpose", "Unsqueeze", "Exp",
}  # fmt: skip


def probe(count=40, width=2):
    return np.random.default_rng(0).uniform(-1, 1, (count, width)).astype(np.float32)


class Taylor(nn.Module):
    """Burgers' residual by Taylor layers."""

    def __init__(self, activation="tanh"):
        super().__init__()
        torch.manual_seed(0)
        self.features = FourierFeatures([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        self.network = Mlp([6, 32, 32, 1], activation)

    def forward(self, points):
        u = self.network(self.features(coordinates(points, ("x", "t"), ("xx",))))
        return {"u": u.value.squeeze(-1), "u_xx": u.d("x", "x").squeeze(-1), "residual": burgers(u)}


class Nested(nn.Module):
    """The same by nested autograd."""

    def __init__(self, taylor):
        super().__init__()
        self.inner = taylor

    def forward(self, points):
        with torch.enable_grad():
            z = points.detach().requires_grad_(True)
            value = self.inner.network.plain(self.inner.features(Jet(z)).value)
            u = AutogradField(value, z, ("x", "t"))
            u_xx = u.d("x", "x").squeeze(-1)
            return {"u": value.squeeze(-1), "u_xx": u_xx, "residual": burgers(u)}


def burgers(u):
    return (u.d("t") + u.value * u.d("x") - 0.01 * u.d("x", "x")).squeeze(-1)


def session(model):
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("opset", range(13, 19))
@pytest.mark.parametrize("kind", ["taylor", "autograd"])
def test_a_graph_of_every_opset_agrees_with_float64_and_is_plain(opset, kind):
    module = Taylor() if kind == "taylor" else Nested(Taylor())
    made = export(module, {"points": probe()}, opset=opset)
    assert made.model.opset_import[0].version == opset
    assert max(made.errors.values()) < 1e-5
    assert {node.op_type for node in made.model.graph.node} <= PLAIN
    assert {node.domain for node in made.model.graph.node} == {""}
    assert made.model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "B"


@pytest.mark.parametrize("activation", ["tanh", "silu", "sin", "softplus"])
def test_taylor_layers_and_nested_autograd_give_the_same_numbers(activation):
    taylor = Taylor(activation)
    points = probe()
    graphs = [session(export(m, {"points": points}).model) for m in (taylor, Nested(taylor))]
    first, second = (graph.run(None, {"points": points}) for graph in graphs)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(a).max())


@pytest.fixture(scope="module")
def exported():
    return export(Taylor(), {"points": probe()}).model


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_the_batch_is_dynamic(exported, size):
    graph = session(exported)
    points = probe(size)
    whole = graph.run(["u"], {"points": points})[0]
    assert whole.shape == (size,)
    np.testing.assert_allclose(graph.run(["u"], {"points": points[:1]})[0], whole[:1], rtol=1e-5)


class Operator(nn.Module):
    """Windows to a field at constant points, a parameter and a residual."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.branch = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * 3, 24), nn.Tanh(), nn.Linear(24, 9)
        )
        self.trunk = Mlp([2, 16, 8])
        self.register_buffer("points", torch.rand(11, 2))

    def forward(self, window):
        found = self.branch(window)
        basis = self.trunk(coordinates(self.points, ("x", "t"), ("xx",)))
        field = contract(found[:, :8], basis)
        diffusivity = torch.exp(found[:, 8])
        imbalance = field.d("t") - diffusivity[:, None] * field.d("x", "x")
        size = torch.sqrt((imbalance * imbalance).mean(dim=1))
        return {"field": field.value, "diffusivity": diffusivity, "residual": size}


def test_an_operator_of_windows_exports_with_its_basis_as_constants():
    windows = np.random.default_rng(0).normal(size=(20, 16, 3)).astype(np.float32)
    made = export(Operator(), {"window": windows})
    shapes = {output.name: output.shape for output in session(made.model).get_outputs()}
    assert shapes == {"field": ["B", 11], "diffusivity": ["B"], "residual": ["B"]}
    assert max(made.errors.values()) < 1e-5
    # Derivatives of the basis at fixed points depend on no input.
    assert "Tanh" in {node.op_type for node in made.model.graph.node}
    assert sum(node.op_type == "Tanh" for node in made.model.graph.node) == 1


class Broken(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points):
        return {"u": self.function(points)}


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda x: torch.special.bessel_j0(x[:, 0]), "torch operator `aten.special_bessel_j0"),
        (lambda x: x.sum(dim=0), "has no batch axis"),
        (lambda x: x[:, 0] - x.mean(dim=0)[0], "a mean over the batch"),
        (lambda x: x[:, 0] - x[:, 0].sum(), "must not depend on its batch"),
    ],
    ids=["unknown operator", "no batch", "mean of batch", "mixed rows"],
)
def test_what_cannot_be_served_is_refused_by_name(function, rule):
    with pytest.raises(ModelError, match=rule):
        export(Broken(function), {"points": probe()})


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda x: x[:, 0] if x.sum() > 0 else x[:, 1], "cannot be traced: .*DataDependent"),
        (lambda x: x.add_(1.0)[:, 0], "torch operator `aten.add_"),
        (lambda x: x @ torch.zeros(7, 7), "cannot be traced: RuntimeError"),
    ],
    ids=["control flow on values", "input changed in place", "wrong shapes"],
)
def test_what_a_graph_cannot_do_is_refused(function, rule):
    with pytest.raises(ModelError, match=rule):
        export(Broken(function), {"points": probe()})


def test_a_module_must_name_its_outputs():
    with pytest.raises(ModelError, match="must return tensors by name, a dict"):
        export(nn.Linear(2, 1), {"points": probe()})


def test_a_result_that_float32_cannot_hold_is_refused():
    """1e8 + x - 1e8 keeps eight digits of 1e8 and none of x."""
    with pytest.raises(ModelError, match="`u` must agree with float64 within 1e-05"):
        export(Broken(lambda x: (x[:, 0] + 1e8) - 1e8), {"points": probe()})


def test_a_scale_judges_a_residual_by_its_terms():
    cancelling = Broken(lambda x: (x[:, 0] + 1e4) - 1e4)
    with pytest.raises(ModelError):
        export(cancelling, {"points": probe()})
    assert export(cancelling, {"points": probe()}, scales={"u": 1e4}).errors["u"] < 1e-5


def test_a_frozen_batch_is_refused():
    """What torch's own exporter does with a forward-mode derivative, made by hand."""
    node = onnx.helper.make_node("Identity", ["points"], ["u"])
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [info("points", 1, [40, 2])], [info("u", 1, [40, 2])]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    with pytest.raises(ModelError, match="`points` must have a symbolic batch"):
        export_module.prove_batches(session(model), {"points": probe()}, "g", {"u": 1.0})


def test_an_opset_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`opset` must be 13 to 18, got 12"):
        export(Taylor(), {"points": probe()}, opset=12)


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 2))
        self.rate = nn.Parameter(torch.tensor(0.5))

    def forward(self, points):
        return self.inner(points)

def equation(fields, where, parameters):
    u, v = fields["u"], fields["v"]
    return u.d("t") + parameters["rate"] * u.d("x", "x") * v.value - where["x"]

NETWORK = Net()
COORDINATES = {"x": "m", "t": "s"}
FIELDS = {"u": "degC", "v": "1"}
PARAMETERS = {"rate": "1/s"}
RESIDUAL = {"unit": "degC/s", "scale": 1.0}
PROBE = torch.rand(64, 2)
"""

WINDOWS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.branch = nn.Sequential(nn.Flatten(), nn.Linear(8 * 2, 6), nn.Tanh())
        self.trunk = nn.Sequential(nn.Linear(2, 6), nn.Tanh())

    def forward(self, window, points):
        code = self.branch(window)
        u = (code[:, None, :] * self.trunk(points)).sum(dim=-1)
        return {"u": u, "rate": torch.exp(code[:, 0])}

def equation(fields, where, parameters):
    return fields["u"].d("t") - parameters["rate"] * fields["u"].d("x", "x")

NETWORK = Net()
COORDINATES = {"x": "m", "t": "s"}
FIELDS = {"u": "degC"}
PARAMETERS = {"rate": "1/s"}
RESIDUAL = {"unit": "degC/s", "scale": 0.5}
WINDOW = {"inlet": "degC", "outlet": "degC"}
COLLOCATION = torch.rand(7, 2)
PROBE = torch.randn(20, 8, 2)
"""


TRUNKS = {
    "linear": "nn.Linear(2, 6)",
    "tanh, linear": "nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 6)",
    "linear, linear": "nn.Linear(2, 9), nn.Linear(9, 6, bias=False)",
    "tanh": "nn.Linear(2, 6), nn.Tanh()",
}
PRODUCTS = {
    "sum": "(code[:, None, :] * self.trunk(points)).sum(dim=-1, keepdim=True)",
    "einsum": 'torch.einsum("bnk,bk->bn", self.trunk(points), code)[..., None]',
    "bmm": "torch.bmm(self.trunk(points), code[:, :, None])",
    "flat": "(self.trunk(points.reshape(-1, 2)).reshape(-1, 7, 6) * code[:, None]).sum(-1)",
    "mean": "(self.trunk(points) * code[:, None, :]).mean(dim=-1)",
    "added": "(self.trunk(points) + code[:, None, :]).sum(dim=-1)",
    "gated": "(torch.sigmoid(code)[:, None, :] * self.trunk(points) * points[..., :1]).sum(-1)",
}


@pytest.mark.parametrize(
    ("trunk", "product"),
    [*(("linear", product) for product in PRODUCTS), *((trunk, "sum") for trunk in TRUNKS)],
)
def test_operator_networks_of_every_build_export(tmp_path, trunk, product):
    """The derivative of a linear layer is a constant, which stands for all rows of the batch."""
    text = WINDOWS.replace("nn.Linear(2, 6), nn.Tanh()", TRUNKS[trunk])
    line = "u = (code[:, None, :] * self.trunk(points)).sum(dim=-1)"
    assert line in text
    text = text.replace(line, f"u = {PRODUCTS[product]}")
    made = export_user_model(load_user_model(own(tmp_path, text)), "own", 17)
    assert max(made.errors.values()) < 1e-5


def test_an_operator_without_a_plain_form_is_refused_with_the_remedy(tmp_path):
    text = WINDOWS.replace("nn.Linear(2, 6), nn.Tanh()", "nn.Linear(2, 6), nn.LayerNorm(6)")
    rule = "native_layer_norm_backward.*; write the layer that uses it with elementary operations"
    with pytest.raises(ModelError, match=rule):
        export_user_model(load_user_model(own(tmp_path, text)), "own", 17)


CONSTANTS = {
    "expanded, then flat": lambda x: (torch.ones_like(x) * x[:, :1]).reshape(-1, 1).sum(-1)
    .reshape(x.shape)[:, 1],
    "added": lambda x: (torch.zeros_like(x) + x[:, 1:]).reshape(-1).reshape(x.shape)[:, 0],
    "function of it": lambda x: torch.sin(torch.ones_like(x) * x[:, :1]).flatten()
    .reshape(x.shape)[:, 1],
    "power": lambda x: ((torch.ones_like(x) * x[:, :1]) ** 2).T.sum(0),
    "chosen": lambda x: torch.where(x[:, :1] > 0, torch.ones_like(x), torch.zeros_like(x))
    .reshape(-1).reshape(x.shape)[:, 1],
    "joined": lambda x: torch.cat([torch.ones_like(x) * x[:, :1], x], dim=1)[:, 1],
    "matrix": lambda x: ((torch.ones_like(x) * x[:, :1]) @ torch.eye(2, dtype=x.dtype))[:, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_that_stands_for_more_rows_keeps_its_shape(name):
    made = export(Broken(CONSTANTS[name]), {"points": probe()})
    assert made.errors["u"] < 1e-6


def test_a_graph_that_does_not_run_is_refused(monkeypatch):
    """No fault of this kind is known; a wrong entry of the table stands for one."""

    def wrong(low, node, x):
        return node_value(low, node, low.emit("Gather", [low.name_of(x), low.array([99])], axis=1))

    monkeypatch.setattr(export_module, "TABLE", {**export_module.TABLE, "tanh": wrong})
    with pytest.raises(ModelError, match="the exported graph does not run in ONNX Runtime: "):
        export(Broken(lambda x: torch.tanh(x)[:, 0]), {"points": probe()})


def own(tmp_path, text):
    file = tmp_path / "own.py"
    file.write_text(text)
    return file


def test_a_users_network_gets_its_residual_from_exact_derivatives(tmp_path):
    model = load_user_model(own(tmp_path, OWN))
    made = export_user_model(model, "own", 17)
    points = model.probe[:5]
    u, v, rate, residual = session(made.model).run(
        ["u", "v", "rate", "residual"], {"points": points}
    )
    # Central differences of the float64 network: no autograd, no Taylor layers.
    network = model.network.double()
    step = 1e-4

    def field(dx=0.0, dt=0.0):
        moved = torch.tensor(points).double() + torch.tensor([dx, dt], dtype=torch.float64)
        return network(moved).detach().numpy()

    u_t = (field(dt=step) - field(dt=-step))[:, 0] / (2 * step)
    u_xx = (field(dx=step) - 2 * field() + field(dx=-step))[:, 0] / step**2
    np.testing.assert_allclose(rate, np.full(5, 0.5))
    np.testing.assert_allclose(np.stack([u, v], 1), field(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(residual, u_t + 0.5 * u_xx * v - points[:, 0], atol=1e-5)


def test_a_users_operator_network_gives_field_parameter_and_residual(tmp_path):
    model = load_user_model(own(tmp_path, WINDOWS))
    made = export_user_model(model, "own", 15)
    graph = session(made.model)
    shapes = {output.name: output.shape for output in graph.get_outputs()}
    assert shapes == {"u": ["B", 7], "rate": ["B"], "residual_at": ["B", 7], "residual": ["B"]}
    found = dict(zip(shapes, graph.run(list(shapes), {"window": model.probe}), strict=True))
    size = np.sqrt((found["residual_at"] ** 2).mean(axis=1)) / 0.5
    np.testing.assert_allclose(found["residual"], size, rtol=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("NETWORK = Net()", "NETWORK = 3", "NETWORK: must be a torch.nn.Module"),
        ("def equation", "def other", "must define NETWORK"),
        ("import torch\n", "import torch\nraise OSError('no weights')\n", "cannot be run: OSError"),
        ("torch.rand(64, 2)", "torch.rand(64, 3)", "PROBE: must be at least 8 points"),
        ('{"unit": "degC/s", "scale": 1.0}', "None", "RESIDUAL: must be"),
        ("PARAMETERS =", "COLLOCATION =", "COLLOCATION: must be defined if WINDOW is"),
    ],
)
def test_a_users_file_that_does_not_fit_is_refused(tmp_path, before, after, rule):
    assert before in OWN
    with pytest.raises(ConfigError, match=rule):
        load_user_model(own(tmp_path, OWN.replace(before, after, 1)))


@pytest.mark.slow
@pytest.mark.system
def test_the_example_exports_and_meets_the_closed_form(tmp_path, capsys, monkeypatch):
    output = tmp_path / "rod.onnx"
    example = REPOSITORY / "examples" / "pinn" / "rod.py"
    arguments = "export", example, "--output", output, "--opset", 13
    result = run_command(capsys, monkeypatch, *arguments)
    assert result.code == 0, result.err
    assert "temperature [degC]" in result.out
    axes = np.meshgrid(np.linspace(0, 100, 21), np.linspace(0, 200, 21), indexing="ij")
    points = np.stack([axis.ravel() for axis in axes], axis=1).astype(np.float32)
    graph = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    found = graph.run(["temperature"], {"points": points})[0]
    decay = np.exp(-4.0 * (np.pi / 100.0) ** 2 * points[:, 1])
    exact = 20.0 + 80.0 * np.sin(np.pi * points[:, 0] / 100.0) * decay
    assert np.abs(found - exact).max() < 0.5


@pytest.mark.slow
@pytest.mark.system  # a command of the documentation
def test_the_first_example_of_the_documentation_runs(tmp_path):
    """The block is a complete file; the rod that it finds is the one that made its readings."""
    text = (REPOSITORY / "docs" / "pinn.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "cooling.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "cooling.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout.split("diffusivity ")[1].split()[0]) == pytest.approx(4.0, rel=0.05)
    graph = onnxruntime.InferenceSession(
        str(tmp_path / "rod.onnx"), providers=["CPUExecutionProvider"]
    )
    points = np.array([[50.0, 100.0], [30.0, 150.0]], np.float32)
    found, diffusivity = graph.run(["temperature", "diffusivity"], {"points": points})
    decay = np.exp(-diffusivity * (np.pi / 100.0) ** 2 * points[:, 1])
    exact = 20.0 + 80.0 * np.sin(np.pi * points[:, 0] / 100.0) * decay
    assert found == pytest.approx(exact, abs=0.1)


def test_an_export_over_its_own_input_is_refused(tmp_path, capsys, monkeypatch):
    file = own(tmp_path, OWN)
    result = run_command(capsys, monkeypatch, "export", file, "--output", file)
    assert result.code == 2
    assert "the output must not be an input" in result.complaints[0]
    assert file.read_text() == OWN


class Attention(nn.Module):
    """Scaled dot-product attention over the samples of a window."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5
        return torch.softmax(scores, -1) @ x


class Curvature(nn.Module):
    """The second derivative of a network with an activation."""

    def __init__(self, activation):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 8), activation, nn.Linear(8, 1))

    def forward(self, points):
        with torch.enable_grad():
            z = points.detach().clone().requires_grad_(True)
            found = AutogradField(self.network(z), z, ("x", "t")).d("x", "x")
            return {"u": found.squeeze(-1)}


LAYERS = {
    "convolution": lambda: nn.Sequential(nn.Conv1d(16, 8, 3, padding=1), nn.Tanh()),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)),
    "batch norm": lambda: nn.BatchNorm1d(16),
    "dropout": nn.Dropout,
    "attention": Attention,
    "leaky": nn.LeakyReLU,
    "clip": nn.Hardtanh,
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_usual_layers_of_a_window_export(name):
    torch.manual_seed(0)
    layer = LAYERS[name]()
    windows = np.random.default_rng(0).normal(size=(20, 16, 4)).astype(np.float32)
    made = export(Broken(lambda x: layer.to(x.dtype).eval()(x).flatten(1)), {"window": windows})
    assert made.errors["u"] < 1e-6


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.ELU, nn.Mish])
def test_the_usual_activations_export_with_their_second_derivative(activation):
    torch.manual_seed(0)
    made = export(Curvature(activation()), {"points": probe()})
    assert made.errors["u"] < 1e-5


def test_a_layer_that_freezes_the_batch_is_refused():
    torch.manual_seed(0)
    layer = nn.GRU(4, 8, batch_first=True)
    windows = np.random.default_rng(0).normal(size=(20, 16, 4)).astype(np.float32)
    with pytest.raises(ModelError, match="freezes the batch of `window`"):
        export(Broken(lambda x: layer(x)[0][:, -1]), {"window": windows})
