"""The moulding package: equations, unseen machines, faults told apart, live, in a report."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgeai.alarms.alarm import alarm_rule
from edgeai.config.alarms import AlarmConfig
from edgeai.messages import SECOND_NS, Message
from edgeai.model.package import load_package
from edgeai.paths import shipped
from edgeai.plant import mouldcycles
from edgeai.plant.faults import ScheduledFault
from edgeai.plant.injection import COOL, OPEN
from edgeai.plant.line import make_controller, make_machine
from edgeai.plant.moulding import Moulding
from edgeai.plant.simulate import simulate, write_csv
from edgeai.providers.scorer import Scorer
from edgeai.report.make import make_report
from edgeai.report.page import render_page
from edgeai.testing import MemoryNode
from edgeai.training.trainer import load_trainer
from tests.support.brokers import RunningBroker
from tests.support.live import peer, running, wait_for
from tests.support.packages import write_config

PACKAGE = shipped("models") / "moulding-pinn"
TRAINER = load_trainer(PACKAGE / "train.yaml")


def of_trainer(module: str):
    """Import a module of the trainer that stands beside the package."""
    return importlib.import_module(f"{TRAINER.__name__}.{module}")


manifest_of, measure, runs_of, signals = map(of_trainer, ("manifest", "measure", "runs", "signals"))
load_recipe = of_trainer("recipe").load_recipe
NAMES = [kind for kind, _, _ in manifest_of.KINDS]
SOURCE = {
    "topic": "factory/{asset}/sensors",
    "time": {"path": "timestamp", "unit": "ms"},
    "values_path": "values",
}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer((PACKAGE / "model.onnx").read_bytes())


@pytest.fixture(scope="module")
def manifest():
    return load_package(PACKAGE).manifest


@pytest.fixture(scope="module")
def healthy():
    return runs_of.simulate_runs(40, 13, 991)


# The equations.


def test_the_equations_alone_give_what_the_simulator_gives():
    """Two methods without a line in common: least squares over residuals, and finite volumes."""
    torch = pytest.importorskip("torch")
    equations = of_trainer("physics")
    cases = np.array(
        [
            [np.log(9450.0), 0.0, np.log(1250.0), 0.5, 3.4, 4.0],
            [np.log(3400.0), np.log(0.9), np.log(375.0), 0.48, 1.8, 3.6],
        ]
    )
    solvers = (equations.PhaseSolver(closed=True), equations.PhaseSolver(closed=False))
    solved = equations.solve_cycles(torch.from_numpy(cases), solvers).numpy()
    inputs = np.zeros(equations.INPUTS)
    inputs[:3] = (208.0, 2.0, 8.0)  # melt, air and all the steel above the water, K
    inputs[-1] = 8.0
    found = solved @ inputs
    ones = np.ones((2, 2))
    plan = mouldcycles.Cycles(
        melt_degc=230.0 * ones,
        water_degc=22.0 * ones,
        coolant_w_m2_k=np.exp(cases[:, :1]) * ones,
        contact_fill_w_m2_k=5000.0 * np.exp(cases[:, 1:2]) * ones,
        contact_pack_w_m2_k=2500.0 * np.exp(cases[:, 1:2]) * ones,
        contact_lost_w_m2_k=np.exp(cases[:, 2:3]) * ones,
        fill_seconds=cases[:, 3:4] * ones,
        lost_seconds=cases[:, 4:5] * ones,
        eject_seconds=cases[:, 5:6] * ones,
        cycle_seconds=6.1 * ones,
    )
    depths = tuple(np.linspace(0.0, 0.5e-3, 9))
    true = mouldcycles.simulate_cycles(plan, 30.0, depths_m=depths, refinement=2, seconds=6.0)
    x = equations.part_basis(np.linspace(0.0, 1.0, 9)).value
    for run in (0, 1):
        ends = (0.0, *cases[run, 3:6])
        for seconds in (0.3, 0.9, 1.5, 2.5, 3.5):
            phase = int(np.searchsorted(ends, seconds)) - 1
            zeta = np.sqrt((seconds - ends[phase]) / (ends[phase + 1] - ends[phase]))
            block = found[run][equations.phase_slice(phase)][: equations.PART_SIZE]
            time = equations.time_basis(np.array([zeta])).value[0]
            part = x @ (block.reshape(equations.PART_TERMS, -1) @ time) + 22.0
            exact = true.field_degc[run, round(seconds / 0.02)]
            assert np.linalg.norm(part - exact) < 3e-3 * np.linalg.norm(exact), (run, seconds)


def test_derivatives_of_the_trunk_are_exact():
    pytest.importorskip("torch")
    equations = of_trainer("physics")
    points, step = np.linspace(0.1, 0.9, 7), 1e-5
    for basis in (equations.part_basis, equations.steel_basis, equations.time_basis):
        middle, ahead, behind = (basis(points + shift) for shift in (0.0, step, -step))
        assert (ahead.value - behind.value) / (2 * step) == pytest.approx(middle.first, abs=1e-3)
        assert (ahead.first - behind.first) / (2 * step) == pytest.approx(middle.second, abs=1e-1)


def test_windows_made_of_the_equations_look_like_those_of_the_simulator(healthy):
    torch = pytest.importorskip("torch")
    network = of_trainer("network")
    aligned = network.Aligner(160)(torch.from_numpy(healthy.values[:, -160:]))
    cycle = healthy.truth.cycle[:, -1] - 1
    rows = np.arange(len(cycle))
    for column, name in enumerate(("fill_seconds", "lost_seconds", "eject_seconds")):
        true = getattr(healthy.cycles, name)[rows, cycle]
        # Loss of contact shows between two samples, where the pressure is extended to zero;
        # the others are exact to the counters of 0.01 s.
        spread = 0.1 if name == "lost_seconds" else 0.012
        assert aligned["timeline"][:, column].numpy() == pytest.approx(true, abs=spread)
    assert aligned["water"].numpy() == pytest.approx(healthy.cycles.water_degc[:, -1], abs=0.1)


def test_the_live_machine_counts_cycle_and_phase_from_their_start():
    made = simulate("moulding", 60, 3)
    names = [signal.name for signal in made.signals]
    phase, clock, elapsed = (
        made.values[:, names.index(name)] for name in ("phase", "cycle_seconds", "phase_seconds")
    )
    began = clock - elapsed
    assert began[phase == 0] == pytest.approx(0.0, abs=1e-6)
    assert began[phase == 1] == pytest.approx(0.5, abs=0.03)  # speed within 5 %
    steps = np.diff(clock)
    assert steps[steps > 0] == pytest.approx(0.1, abs=0.011)
    assert (clock[1:][steps < 0] < 0.1 + 1e-6).all(), "a new cycle starts at zero"


# What is shipped.


def test_the_shipped_package_fits_its_recipe_card_and_machine(manifest):
    recipe = load_recipe(PACKAGE / "train.yaml")
    assert manifest.training["recipe"] == recipe.recorded()
    draft = yaml.safe_load((PACKAGE / "model.yaml").read_text())
    assert (PACKAGE / "README.md").read_text() == of_trainer("card").model_card(recipe, draft)
    assert draft["signals"] == manifest_of.signal_entries()
    assert draft["diagnosis"] == manifest_of.diagnosis_entries()
    assert draft["training"]["physics"] == manifest_of.physics_entries(), (
        "the simulator has changed"
    )
    entries = manifest_of.output_entries(recipe.limits, recipe.interval_level)
    roles = {entry["name"]: entry["role"] for entry in entries}
    assert {output.name: output.role for output in manifest.outputs} == roles


def test_hidden_state_parameter_and_intervals_hold_on_runs_that_nobody_saw(
    scorer: Scorer, manifest, healthy
):
    computed = measure.window_outputs(
        healthy, scorer.outputs, manifest.window.length, 10, measure.ACCURACY_OUTPUTS
    )
    found = measure.accuracy(healthy, computed)
    assert len(found["field"]) > 500
    assert np.sqrt(found["error_square"].sum() / found["true_square"].sum()) <= 0.01
    assert np.median(np.abs(found["coolant"])) <= 0.03
    for name in ("ejection", "coolant", "contact"):
        # 40 runs: a run's windows share its errors, so this is rough; the card has 300 runs.
        assert 0.8 <= found[f"{name}_inside"].mean() <= 0.98, name


def test_every_fault_is_found_and_told_apart(scorer: Scorer, manifest):
    runs = runs_of.simulate_runs(24, 17, 993, faults=runs_of.FAULTS, with_field=False)
    computed = measure.window_outputs(
        runs, scorer.outputs, manifest.window.length, 10, ("score", "evidence")
    )
    rule = alarm_rule(manifest.threshold.value, manifest.alarm, AlarmConfig())
    for run in measure.run_results(runs, computed, rule, NAMES):
        assert run.detected, run
        assert run.right, run
        assert run.delay_seconds <= 30.0, run


def test_healthy_runs_raise_no_alarm(scorer: Scorer, manifest, healthy):
    computed = measure.window_outputs(
        healthy, scorer.outputs, manifest.window.length, 10, ("score", "evidence")
    )
    rule = alarm_rule(manifest.threshold.value, manifest.alarm, AlarmConfig())
    assert not any(run.alarms for run in measure.run_results(healthy, computed, rule, NAMES))


def test_ejection_is_predicted_while_the_part_still_cools(scorer: Scorer, healthy):
    ends = np.full(len(healthy.values), healthy.values.shape[1] - 40)
    computed = measure.window_outputs(
        healthy, scorer.outputs, 160, 10,
        (*measure.ACCURACY_OUTPUTS, "cooling_time_correction", "part_core_temperature"),
        chosen=ends,
    )  # fmt: skip
    shot = measure.cycle_at(healthy, computed.run, computed.end)
    clock = healthy.values[computed.run, computed.end, signals.CYCLE]
    early = (clock < shot["eject_seconds"] - 1.0) & shot["whole"]
    assert early.sum() >= 5
    kept = measure.WindowOutputs(
        computed.run[early], computed.end[early],
        {name: values[early] for name, values in computed.outputs.items()},
    )  # fmt: skip
    found = measure.accuracy(healthy, kept)
    assert np.abs(found["ejection"]).max() < 3.0
    told = kept.outputs
    # A part that will be too hot needs more time, and the other way round.
    hot = told["ejection_temperature"] > 60.0
    assert ((told["cooling_time_correction"] > 0.0) == hot).all()
    assert (told["part_core_temperature"] > told["ejection_temperature"]).all()


def test_conditions_outside_the_training_are_told_as_such(scorer: Scorer, healthy):
    windows = healthy.values[:, -160:].copy()
    windows[..., [signals.NEAR, signals.DEEP, signals.INLET, signals.OUTLET]] += (
        30.0  # water at 50 degC
    )
    evidence = scorer.outputs(windows)["evidence"]
    assert (evidence[:, NAMES.index("outside_domain")] > 1.0).all()


def test_a_mould_that_rests_gives_numbers_and_no_crash(scorer: Scorer):
    window = np.zeros((1, 160, len(signals.SIGNALS)), np.float32)
    window[..., signals.PHASE] = 3.0
    window[..., signals.CYCLE] = np.arange(160) / 10 + 4.0
    window[..., signals.ELAPSED] = np.arange(160) / 10
    window[..., signals.MELT], window[..., signals.NEAR :] = 230.0, 22.0
    for name, values in scorer.outputs(window).items():
        assert np.isfinite(values).all(), name


# Stops.


def rows_with_a_stop(
    seed: int, seconds: int, *, stop: float, phase: int = OPEN, fault: str = "", fault_at: int = 0
) -> list[Message]:
    """What the machine's controller publishes; the machine stands still from about 50 s on."""
    machine = make_machine("moulding", seed)
    assert isinstance(machine, Moulding)
    controller = make_controller("moulding", "m", make_machine("moulding", 0))
    messages: list[Message] = []
    has_stopped = False
    for number in range(seconds * 10):
        if fault and number == fault_at * 10:
            machine.inject(fault)
        if not has_stopped and number >= 500 and machine._injection.phase == phase:
            machine._injection._duration_seconds += stop
            has_stopped = True
        time_ns = number * 10**8
        published = controller.publish(time_ns, machine.step())
        messages += [(one.topic, one.payload, time_ns, False) for one in published]
    return messages


def served(tmp_path: Path, messages: list[Message]) -> tuple[list[dict], list[dict]]:
    """Return the predictions and the changes of alarm state."""
    pipelines = {"mould": {"model": str(PACKAGE), "source": SOURCE}}
    with MemoryNode(write_config(tmp_path / "config.yaml", 1883, pipelines)) as node:
        for begin in range(0, len(messages), 50):
            node.turn(*messages[begin : begin + 50])
        found = [(one.topic, json.loads(one.payload)) for one in node.sink.publications]
    return (
        [content for topic, content in found if "/predictions/" in topic],
        [content for topic, content in found if "/alarms/" in topic],
    )


@pytest.mark.parametrize(
    ("seed", "stop", "phase"), [(0, 2.0, OPEN), (1, 2.0, OPEN), (2, 20.0, OPEN), (3, 20.0, COOL)]
)
def test_a_stop_is_no_fault(tmp_path: Path, seed: int, stop: float, phase: int):
    """One cycle that was open for 2 s more was told as a broken thermocouple, with advice."""
    predictions, alarms = served(tmp_path, rows_with_a_stop(seed, 150, stop=stop, phase=phase))
    assert alarms == []
    told = [one for one in predictions if one["diagnosis"]]
    assert len(told) >= 15
    for one in told:
        assert one["diagnosis"]["kind"] == "outside_domain"
        assert one["quality"] == "uncertain"
        advice = one["outputs"]["cooling_time_correction"]
        assert (advice["value"], advice["reason"]) == (None, "outside_domain")
    for one in (predictions[0], predictions[-1]):
        assert one["diagnosis"] is None
        assert one["outputs"]["cooling_time_correction"]["value"] is not None


def test_a_long_stop_is_told_by_an_alarm_of_low_priority_only(tmp_path: Path):
    predictions, alarms = served(tmp_path, rows_with_a_stop(4, 250, stop=120.0))
    assert {one["diagnosis"]["kind"] for one in predictions if one["diagnosis"]} == {
        "outside_domain"
    }
    assert [(one["state"], one["priority"]) for one in alarms] == [
        ("active", "low"), ("normal", "low"),
    ]  # fmt: skip
    began, ended = (one["timestamp"] / 1e9 for one in alarms)
    assert 110 <= began <= 120
    assert ended <= 250


def test_a_fault_that_begins_in_a_stop_is_told_after_it(tmp_path: Path):
    rows = rows_with_a_stop(5, 150, stop=20.0, fault="thermocouple_drift", fault_at=60)
    predictions, alarms = served(tmp_path, rows)
    assert [(one["state"], one["priority"]) for one in alarms] == [("active", "high")]
    assert alarms[0]["timestamp"] / 1e9 <= 120
    assert predictions[-1]["diagnosis"]["kind"] == "near_thermocouple_drift"


def test_the_graph_knows_the_standstill_of_the_trainer(scorer: Scorer, healthy):
    """The domain of the shipped graph is that of the trainer's code, for cycles and for stops."""
    torch = pytest.importorskip("torch", reason="needs the extra train")
    windows = np.ascontiguousarray(healthy.values[:, -160:])
    stopped = windows.copy()
    stopped[:20, -30:, signals.PHASE] = 3.0
    stopped[:20, -30:, signals.ELAPSED] = 30.0
    stopped[20:, -30:, signals.PHASE] = 2.0
    stopped[20:, -30:, signals.CYCLE] = 8.0
    standstill = of_trainer("monitor").standstill(torch.from_numpy(stopped)).numpy()
    np.testing.assert_allclose(scorer.outputs(stopped)["domain"], standstill, rtol=1e-5)
    assert standstill.min() > 1.25
    assert scorer.outputs(windows)["domain"].max() < 1.25


# Live.


def rows_of(fault: str, asset: str, seed: int) -> list[tuple[str, bytes]]:
    """What the machine's controller publishes in 100 s; the fault starts after 45."""
    made = simulate("moulding", 100, seed, faults=[ScheduledFault(45, 100, fault)])
    controller = make_controller("moulding", asset, make_machine("moulding", 0))
    return [
        (publication.topic, publication.payload)
        for time_ns, values in zip(made.times_ns.tolist(), made.values, strict=True)
        for publication in controller.publish(time_ns, values.astype(np.float64))
    ]


@pytest.mark.broker
def test_a_blocked_coolant_and_a_drifting_thermocouple_are_told_apart_live(
    tmp_path: Path, broker: RunningBroker
):
    config = write_config(
        tmp_path / "config.yaml", broker.port, {"mould": {"model": str(PACKAGE), "source": SOURCE}}
    )
    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        for fault, asset in (("coolant_blocked", "blocked"), ("thermocouple_drift", "drifting")):
            for topic, payload in rows_of(fault, asset, 31):
                other.publish(topic, payload)
        predictions = wait_for(
            lambda: len(found := other.topics("edgeai/test/predictions/")) == 2 * 84 and found,
            "84 predictions of each machine",
        )
        assert edgeai.stop() == 0
    by_asset = {
        asset: [one for one in predictions if one["asset"] == asset]
        for asset in ("blocked", "drifting")
    }
    for mine in by_asset.values():
        before = mine[:25]
        assert {one["alarm"] for one in before} == {"normal"}
        assert {one["diagnosis"] for one in before} == {None}
        assert "field" not in mine[0]["outputs"]
        assert len(mine[0]["outputs"]["temperature_profile"]["value"]) == 20
    blocked, drifting = by_asset["blocked"], by_asset["drifting"]
    assert blocked[-1]["alarm"] == "active"
    assert blocked[-1]["diagnosis"]["kind"] == "coolant_blocked"
    assert blocked[-1]["diagnosis"]["cause"] == "physics"
    assert drifting[-1]["alarm"] == "active"
    assert drifting[-1]["diagnosis"]["kind"] == "near_thermocouple_drift"
    assert drifting[-1]["diagnosis"]["cause"] == "sensor"

    def coolant(predictions: list[dict]) -> list[float]:
        return [one["outputs"]["coolant_coefficient"]["value"] for one in predictions]

    assert np.median(coolant(blocked)[-15:]) < 0.6 * np.median(coolant(blocked)[:25])
    assert np.median(coolant(drifting)[-15:]) > 0.75 * np.median(coolant(drifting)[:25])


# The report.


def test_a_report_shows_field_parameters_and_the_alarm_with_its_diagnosis(tmp_path: Path):
    made = simulate("moulding", 90, 33, faults=[ScheduledFault(40, 100, "coolant_blocked")])
    write_csv(made, tmp_path / "blocked.csv")
    report = make_report(PACKAGE, [tmp_path / "blocked.csv"], state_folder=tmp_path)
    (seen,) = report.assets
    (alarm,) = seen.alarms
    assert alarm.start_ns - seen.first_ns > 40.0 * SECOND_NS
    assert alarm.diagnosis == "coolant_blocked"
    text = render_page(report)
    assert "coolant_blocked" in text
    assert text.count("data:image/png;base64,") >= 2
    assert "http" not in text.replace("http-equiv", ""), "the page needs nothing else"
    for output in report.manifest.outputs:
        if output.role in {"parameter", "residual", "advice"}:
            assert output.name in text


def test_a_report_of_a_recording_without_a_signal_says_which(tmp_path: Path):
    from edgeai.errors import ConfigError

    made = simulate("moulding", 20, 1)
    short = dataclasses.replace(made, values=made.values[:, :5], signals=made.signals[:5])
    write_csv(short, tmp_path / "short.csv")
    with pytest.raises(ConfigError, match="mould_temperature_near"):
        make_report(PACKAGE, [tmp_path / "short.csv"], state_folder=tmp_path)


# Training.


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(300)
def test_a_small_training_goes_on_from_its_checkpoint_and_writes_a_package(tmp_path: Path):
    pytest.importorskip("torch")
    from edgeai.training.dispatch import train_recipe

    recipe = yaml.safe_load((PACKAGE / "train.yaml").read_text())
    recipe["name"] = "mine"
    recipe["fit"] = {"conditions": 60, "operator_steps": 20, "encoder_steps": 6, "batch": 16}
    recipe |= {"calibrate_runs": 8, "healthy_runs": 8, "test_runs": 8, "fault_runs": 8}
    recipe["curve"] = {"labels": [8], "steps": 5}
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(recipe))
    shutil.copytree(PACKAGE / "training", tmp_path / "training")
    stages: list[str] = []

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "calibrate":
            raise Stopped

    with pytest.raises(Stopped):
        train_recipe(path, tmp_path / "mine", stop)
    train_recipe(path, tmp_path / "mine", lambda stage, *_: stages.append(stage))
    assert "equations" not in stages, "the equations were solved again"
    assert "operator" not in stages
    package = load_package(tmp_path / "mine")
    assert package.manifest.task == "pinn"
    assert not (tmp_path / "mine" / ".training").exists()
