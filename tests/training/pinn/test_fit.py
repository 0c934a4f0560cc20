"""Fitting: every optimiser solves a small problem, and a killed run ends as one that was not."""

import math
import multiprocessing
import signal

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")

import torch
from torch import Generator, nn

from edgeai.errors import ConfigError
from edgeai.training.pinn import jets
from edgeai.training.pinn.evidence import prior_factor
from edgeai.training.pinn.fitting import fit
from edgeai.training.pinn.jets import Jet, coordinates
from edgeai.training.pinn.loss import Term, adaptive, balanced, causal, mean_squares, uniform
from edgeai.training.pinn.networks import Mlp, contract
from edgeai.training.pinn.newton import Levenberg, normal_equations
from edgeai.training.pinn.stages import Adam, Lbfgs, Newton, Weigh
from tests.support.decay import STAGES, TIMES, Decay, equation, fit_and_report, resumable

pytestmark = pytest.mark.train


def error(module):
    found = module.field(TIMES).value.detach().numpy()
    return np.abs(found - np.exp(-float(module.rate) * TIMES.numpy())).max()


@pytest.mark.parametrize(
    ("stages", "reached"),
    [
        ([Adam(steps=600, learning_rate=1e-2)], 2e-2),
        ([Lbfgs(steps=10)], 2e-3),
        ([Newton(steps=30)], 1e-5),
        ([Adam(steps=50), Lbfgs(steps=3), Newton(steps=20, redraw_every=5)], 1e-4),
    ],
    ids=["adam", "lbfgs", "newton", "all"],
)
def test_every_optimiser_solves_a_decay_from_its_equation_alone(stages, reached):
    module = Decay(rate=1.0)
    fit(module, [equation()], stages, seed=0)
    assert error(module) < reached


def test_a_parameter_is_found_from_a_few_readings():
    module = Decay()
    seen = TIMES[::10]
    readings = Term("sensor", Decay.misfit, (seen, torch.exp(-0.7 * seen)))
    made = fit(module, [equation(), readings], [Newton(steps=60)], seed=0)
    assert module.rate.item() == pytest.approx(0.7, rel=1e-4)
    assert set(made.terms) == {"equation", "sensor"}


def test_a_stage_can_leave_terms_out():
    module = Decay(rate=1.0)
    seen = torch.exp(-3.0 * TIMES)
    terms = [equation(), Term("sensor", Decay.misfit, (TIMES, seen))]
    fit(module, terms, [Newton(steps=80, terms=["sensor"])], seed=0)
    np.testing.assert_allclose(module.field(TIMES).value.detach(), seen, atol=1e-3)


@pytest.mark.parametrize(
    ("terms", "stage", "rule"),
    [
        ([equation(), equation()], Newton(steps=1), "two terms share a name"),
        ([equation()], Newton(steps=1, terms=["other"]), "terms that do not exist: other"),
    ],
)
def test_terms_and_stages_that_do_not_fit_are_refused(terms, stage, rule):
    with pytest.raises(ValueError, match=rule):
        fit(Decay(), terms, [stage], seed=0)


@pytest.fixture(scope="module")
def uninterrupted():
    module = Decay()
    return module, resumable(module)


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with torch imported: one server imports it and forks them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.decay"])
    return context


@pytest.mark.parametrize(
    "kill_at",
    [("1 adam", 17), ("2 lbfgs", 7), ("3 newton", 3)],
    ids=["1 adam 17", "2 lbfgs 7", "3 newton 3"],
)
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, processes, uninterrupted, kill_at):
    whole, expected = uninterrupted
    checkpoint = tmp_path / "fit.pt"
    here, there = processes.Pipe()
    process = processes.Process(target=fit_and_report, args=(checkpoint, there))
    process.start()
    there.close()
    with here:
        while here.recv() != kill_at:
            pass
        process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    process.close()
    again = Decay()
    # What the network was drawn as does not matter: its weights are in the checkpoint.
    with torch.no_grad():
        again.network.layers[0].weight.fill_(7.0)
    steps = []
    made = resumable(again, checkpoint=checkpoint, progress=lambda *told: steps.append(told))
    assert len(steps) < sum(stage.steps for stage in STAGES)
    assert made.losses == expected.losses
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_finished_run_is_not_done_again(tmp_path):
    checkpoint = tmp_path / "fit.pt"
    module = Decay()
    first = resumable(module, checkpoint=checkpoint)
    told = []
    second = resumable(module, checkpoint=checkpoint, progress=lambda *step: told.append(step))
    assert told == []
    assert second == first


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "fit.pt"
    fit(Decay(), [equation()], [Newton(steps=1)], seed=0, checkpoint=checkpoint)
    with pytest.raises(ConfigError, match=r"fit\.pt: the checkpoint belongs to another recipe"):
        fit(Decay(), [equation()], [Newton(steps=2)], seed=0, checkpoint=checkpoint)


def test_a_checkpoint_that_is_no_checkpoint_is_refused(tmp_path):
    checkpoint = tmp_path / "fit.pt"
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match="the checkpoint cannot be read"):
        fit(Decay(), [equation()], [Newton(steps=2)], seed=0, checkpoint=checkpoint)


def test_the_jacobian_is_the_same_row_by_row_and_as_a_whole():
    module = Decay()
    sides = []
    for pointwise in (True, False):
        term = Term("e", Decay.residual, (TIMES,), weight=3.0, pointwise=pointwise,
                    row_weights=lambda r, t: 1.0 + t[:, 0])  # fmt: skip
        sides.append(normal_equations(module, [term], {"e": (TIMES,)}, {"e": 2.0}))
    torch.testing.assert_close(sides[0][0], sides[1][0])
    torch.testing.assert_close(sides[0][1], sides[1][1])
    assert sides[0][2] == pytest.approx(sides[1][2])


def test_the_slope_is_that_of_the_loss():
    module = Decay()
    terms, points = [equation()], {"equation": (TIMES,)}
    _, slope, loss = normal_equations(module, terms, points, {})
    whole = mean_squares(module, terms, points)["equation"]
    gradients = torch.autograd.grad(whole, list(module.parameters()))
    expected = torch.cat([g.reshape(-1) for g in gradients]) / 2.0
    # named_parameters and parameters list in the same order.
    torch.testing.assert_close(slope, expected)
    assert loss == pytest.approx(float(whole.detach()))


def test_gauss_newton_refuses_single_precision():
    with pytest.raises(ValueError, match="needs float64"):
        Levenberg(Decay().float())


def test_a_minimum_is_left_as_it_is():
    module = Decay()
    term = Term("zero", lambda m, t: 0.0 * m.field(t).value + 1.0, (TIMES,))
    levenberg = Levenberg(module)
    before = module.network.layers[0].weight.clone()
    assert levenberg.step([term], {"zero": (TIMES,)}, {}) == pytest.approx(1.0)
    assert levenberg.stuck
    assert torch.equal(module.network.layers[0].weight, before)


def test_causal_weights_wait_for_the_time_before():
    times = torch.tensor([[0.1], [0.4], [0.6], [0.9]], dtype=torch.float64)
    residuals = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    weights = causal(0, 0.0, 1.0, bins=2, epsilon=0.1)(residuals, times)
    later = np.exp(-0.1 * (1.0 + 4.0) / 2.0)
    np.testing.assert_allclose(weights, [1.0, 1.0, later, later])


def test_adaptive_points_gather_where_the_residual_is_large():
    draw = adaptive(lambda _module, x: x**8, uniform((0.0,), (1.0,), 2000), 200)
    (points,) = draw(nn.Identity(), Generator().manual_seed(0))
    assert points.shape == (200, 1)
    assert float((points > 0.8).double().mean()) > 0.4
    assert float((points < 0.5).double().mean()) > 0.1


def test_balance_gives_every_term_the_same_gradient():
    module = Decay()
    terms = [equation((TIMES,)), Term("big", lambda m, t: 100.0 * m.field(t).value, (TIMES,))]
    points = {"equation": (TIMES,), "big": (TIMES,)}
    factors = balanced(module, terms, points, {}, momentum=0.0)
    norms = []
    for name, loss in mean_squares(module, terms, points).items():
        found = torch.autograd.grad(
            loss * factors[name], list(module.parameters()), allow_unused=True
        )
        norms.append(float(torch.cat([g.reshape(-1) for g in found if g is not None]).norm()))
    assert norms[0] == pytest.approx(norms[1])


def test_settings_of_torch_are_as_before():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.random.get_rng_state()
    fit(Decay(), [equation()], [Adam(steps=2)], seed=0)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_jets_are_what_a_term_sees():
    """A residual written with jets is the equation's: the exact solution has none."""
    t = coordinates(TIMES, ("t",))
    exact = jets.exp(-0.7 * t)
    assert float((exact.d("t") + 0.7 * exact.value).abs().max()) < 1e-15


class Family(nn.Module):
    """u' = -k u, u(0) = 1 for every k: an operator, k in and the whole curve out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.branch = Mlp([1, 10, 8])
        self.trunk = Mlp([1, 10, 8])
        self.register_buffer("times", torch.linspace(0.0, 2.0, 25)[:, None])
        self.double()

    def curves(self, rates, times):
        t = coordinates(times, ("t",))
        span = Jet(t.value.T, {"t": t.d("t").T})  # (1, N), for every rate
        return 1.0 + span * contract(self.branch.plain(rates - 1.0), self.trunk(t - 1.0))

    def residual(self, rates):
        u = self.curves(rates, self.times)
        return u.d("t") + rates * u.value


def test_an_operator_learns_a_family_of_solutions_from_the_equation_alone():
    """No curve is ever shown, and the rates of the test are none of the training's."""
    module = Family()
    draw = uniform((0.5,), (1.5,), 60)
    terms = [Term("equation", Family.residual, lambda _module, generator: (draw(generator),))]
    fit(module, terms, [Newton(steps=80)], seed=0)
    rates = torch.linspace(0.55, 1.45, 13, dtype=torch.float64)[:, None]
    times = torch.linspace(0.0, 2.0, 37, dtype=torch.float64)[:, None]
    found = module.curves(rates, times).value.detach().numpy()
    np.testing.assert_allclose(found, np.exp(-rates.numpy() * times.numpy().T), atol=1e-3)


class Waves(nn.Module):
    """A sum of 20 cosines: linear, so that the evidence is known in closed form."""

    def __init__(self):
        super().__init__()
        self.heights = nn.Parameter(torch.zeros(20, dtype=torch.float64))

    def misfit(self, t, observed):
        waves = torch.cos(math.pi * t * torch.arange(20, dtype=torch.float64))
        return (waves @ self.heights[:, None] - observed) / 0.1

    def size(self, which):
        return self.heights[which.long()[:, 0]][:, None]


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_the_evidence_finds_how_far_a_prior_is_to_be_trusted(spread):
    """Heights drawn with a spread: the prior's weight comes to 20 / (n spread²)."""
    generator = Generator().manual_seed(1)
    times = torch.rand(200, 1, dtype=torch.float64, generator=generator)
    truth = Waves()
    with torch.no_grad():
        truth.heights.copy_(spread * torch.randn(20, dtype=torch.float64, generator=generator))
    seen = 0.1 * truth.misfit(times, torch.zeros(200, 1)).detach()
    seen += 0.1 * torch.randn(200, 1, dtype=torch.float64, generator=generator)
    module, every = Waves(), torch.arange(20, dtype=torch.float64)[:, None]
    terms = [
        Term("data", Waves.misfit, (times, seen)),
        Term("prior", Waves.size, (every,), weight=1.0),
    ]
    weigh = Weigh(prior="prior", data="data", every=5)
    made = fit(module, terms, [Newton(steps=60, enough=0, weigh=weigh)], seed=0)
    drawn = (truth.heights**2).mean().item()
    assert made.factors["prior"] == pytest.approx(20 / (200 * drawn), rel=0.1)


def test_the_evidence_refuses_a_term_that_does_not_exist():
    with pytest.raises(ValueError, match="no term is called nothing"):
        prior_factor(Decay(), [equation()], {}, {}, prior="nothing", data="equation")
