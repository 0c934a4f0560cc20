"""Taylor layers: exact first and second derivatives, in engineering units."""

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")

import torch

from edgeai.training.pinn import jets
from edgeai.training.pinn.autograd import AutogradField
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.networks import ACTIVATIONS, FourierFeatures, Mlp, contract
from edgeai.training.pinn.scale import Span, inside, outside

pytestmark = pytest.mark.train

PAIRS = ("xx", "xt", "tt")


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def points(count=17):
    return torch.rand(count, 2) * 2.0 - 1.0


def assert_as_by_autograd(function, where):
    """A function of a jet has the derivatives that autograd finds for its value."""
    jet = function(coordinates(where, ("x", "t"), PAIRS))
    z = where.clone().requires_grad_(True)
    field = AutogradField(function(Jet(z)).value, z, ("x", "t"))
    torch.testing.assert_close(jet.value, field.value)
    for names in ("x", "t", *PAIRS):
        torch.testing.assert_close(jet.d(*names), field.d(*names), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_has_the_derivatives_of_autograd(activation):
    network = Mlp([2, 13, 7, 1], activation)
    assert_as_by_autograd(network, points())


def test_fourier_features_have_the_derivatives_of_autograd():
    network = Mlp([6, 11, 1])
    features = FourierFeatures([[1.0, 0.0], [0.0, 2.0], [3.0, -1.0]])
    assert_as_by_autograd(lambda z: network(features(z)), points())


FUNCTIONS = {
    "product": lambda x, t: x * t,
    "square": lambda x, t: (x * x) * (t * x),
    "quotient": lambda x, t: x / (t + 3.0),
    "left quotient": lambda x, t: 2.0 / (x * t + 3.0),
    "difference": lambda x, t: 1.0 - x * t - t,
    "sine": lambda x, t: jets.sin(2.0 * x + t),
    "cosine": lambda x, t: jets.cos(x * t),
    "exponential": lambda x, t: jets.exp(x - 2.0 * t),
    "logarithm": lambda x, t: jets.log(x * x + t + 4.0),
    "cube": lambda x, t: jets.power(x + t, 3),
    "fifth": lambda x, t: jets.power(x - t, 5),
    "square by power": lambda x, t: jets.power(x * t, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jet_arithmetic_has_the_derivatives_of_autograd(name):
    assert_as_by_autograd(lambda z: FUNCTIONS[name](z[0:1], z[1:2]), points())


def test_a_derivative_that_is_zero_is_zeros_of_the_values_shape():
    z = coordinates(points(5), ("x", "t"), ("xx",))
    only_x = jets.sin(z[0:1])
    assert only_x.d("t").shape == (5, 1)
    assert not only_x.d("t").any()


def test_a_second_derivative_that_was_not_asked_for_is_refused():
    z = coordinates(points(5), ("x", "t"), ("xx",))
    with pytest.raises(ValueError, match=r"\('t', 't'\) is not carried \(wanted: xx\)"):
        jets.sin(z).d("t", "t")


@pytest.mark.parametrize(
    ("names", "second", "rule"),
    [(("x",), (), "expected 1 columns"), (("x", "t"), ("xy",), "no coordinate is called y")],
)
def test_coordinates_that_do_not_fit_are_refused(names, second, rule):
    with pytest.raises(ValueError, match=rule):
        coordinates(points(), names, second)


def test_scaling_gives_derivatives_in_engineering_units():
    """T in degC over depth in mm and time in s: the chain rule of both scalings is in the jet."""
    spans = [Span("depth", "mm", 0.0, 40.0), Span("time", "s", 0.0, 10.0)]
    degrees = [Span("temperature", "degC", 20.0, 220.0)]
    where = torch.rand(9, 2) * torch.tensor([40.0, 10.0])
    z = coordinates(where, ("x", "t"), PAIRS)
    scaled = inside(z, spans)
    temperature = outside(jets.sin(scaled[0:1]) * scaled[1:2], degrees)
    x, t = (where[:, :1] - 20.0) / 20.0, (where[:, 1:] - 5.0) / 5.0
    torch.testing.assert_close(temperature.value, 120.0 + 100.0 * torch.sin(x) * t)
    torch.testing.assert_close(temperature.d("x"), 100.0 * torch.cos(x) * t / 20.0)
    torch.testing.assert_close(temperature.d("t"), 100.0 * torch.sin(x) / 5.0)
    torch.testing.assert_close(temperature.d("x", "x"), -100.0 * torch.sin(x) * t / 400.0)
    torch.testing.assert_close(temperature.d("x", "t"), 100.0 * torch.cos(x) / 100.0)


def test_a_span_upside_down_is_refused():
    with pytest.raises(ValueError, match="`depth`: low must be under high"):
        Span("depth", "mm", 1.0, 1.0)


def test_an_operator_network_has_the_derivatives_of_every_window():
    """Coefficients of 3 windows times basis functions of 5 points, against the sum written out."""
    basis = Mlp([2, 8, 4])
    coefficients = torch.rand(3, 4)
    where = points(5)
    field = contract(coefficients, basis(coordinates(where, ("x", "t"), ("xx",))))
    assert field.value.shape == field.d("x").shape == (3, 5)
    z = where.clone().requires_grad_(True)
    values = basis.plain(z)
    for window in range(3):
        whole = AutogradField((values * coefficients[window]).sum(1, keepdim=True), z, ("x", "t"))
        torch.testing.assert_close(field.value[window], whole.value[:, 0])
        torch.testing.assert_close(field.d("t")[window], whole.d("t")[:, 0])
        torch.testing.assert_close(field.d("x", "x")[window], whole.d("x", "x")[:, 0])


def test_a_field_of_autograd_refuses_a_name_that_is_no_coordinate():
    z = points().requires_grad_(True)
    with pytest.raises(ValueError, match="expected names among"):
        AutogradField(z[:, :1], z, ("x", "t")).d("y")


def test_a_field_that_does_not_depend_on_a_point_has_no_derivative():
    z = points(4).requires_grad_(True)
    constant = AutogradField(torch.ones(4, 1), z, ("x", "t"))
    np.testing.assert_array_equal(constant.d("x", "x").detach().numpy(), np.zeros((4, 1)))


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="`activation` must be one of tanh"):
        Mlp([1, 2, 1], "relu")


def test_derivatives_meet_the_closed_form_of_heat_conduction():
    """The first mode of a rod fulfils T_t = a T_xx to rounding."""
    a = 0.3
    z = coordinates(points(), ("x", "t"), ("xx",))
    mode = jets.sin(math.pi * z[0:1]) * jets.exp(-a * math.pi**2 * z[1:2])
    residual = mode.d("t") - a * mode.d("x", "x")
    assert float(residual.abs().max()) < 1e-12 * float(mode.d("t").abs().max())
