"""`edgeai check`: what a user reads, and the exit code, for a config and the models it names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.support.commands import Outcome, run_command
from tests.support.mounts import run_without_home
from tests.support.networks import add_endless_loop
from tests.support.packages import (
    FOREST_LABELS,
    golden,
    rehash,
    saved,
    write_config,
    write_forest,
    write_graph,
    write_package,
)

Check = Callable[[object], Outcome]
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Run `edgeai check CONFIG` in this process."""
    return lambda config: run_command(capsys, monkeypatch, "check", config)


def setup_config(tmp_path: Path, **pipeline: Any) -> Path:
    write_package(tmp_path / "mean")
    config = {"model": "mean", "source": SOURCE} | pipeline
    return write_config(tmp_path / "config.yaml", 1883, {"p": config})


def test_a_good_config(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path)
    outcome = check(config)
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.splitlines() == [
        (
            "p: mean 1.0.0 on cpu, factory/{asset}/sensors (QoS 0), 2 signals, window 4, hop 1, "
            "threshold 10"
        ),
        (
            "p: golden windows: 17 of 40 are abnormal (score above 10); none is labelled healthy "
            "or faulty, so the side is not checked"
        ),
        (
            "p: windows far outside: zeros 0 normal; constant 9.65 normal; low ends -10.6 normal; "
            "high ends 27.5 abnormal; 10 spans above 408 abnormal; 1e+30 2e+30 abnormal"
        ),
        (
            "p: of the 8 values of a window, 0 may be held: up to 0 the quality is good, from 2 on "
            "it is bad"
        ),
        f"{config}: ok",
    ]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ({"topic": "f/{line}/{asset}"}, "f/{line}/{asset}"),
        ({"topic": "press/sensors"}, "press/sensors as one stream, asset p"),
        ({"topic": "press/#", "merge_topics": True}, "press/# as one stream, asset p"),
        ({"topic": "press/{signal}", "layout": "tag"}, "press/{signal} as one stream, asset p"),
    ],
)
def test_the_report_says_what_becomes_a_stream(
    tmp_path: Path, check: Check, source: dict[str, Any], shown: str
) -> None:
    alignment = {"stream": {"alignment": "hold"}} if "layout" in source else {}
    outcome = check(setup_config(tmp_path, source=source, **alignment))
    assert outcome.code == 0
    assert f"p: mean 1.0.0 on cpu, {shown} (QoS 0)" in outcome.out


def test_an_open_page_without_a_token_is_told(tmp_path: Path, check: Check) -> None:
    write_package(tmp_path / "mean")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    (tmp_path / "token").write_text("a-token-of-more-than-16-characters")
    (tmp_path / "token").chmod(0o600)
    for more, is_told in (
        ({"host": "0.0.0.0", "enabled": True}, True),
        ({"host": "127.0.0.1", "enabled": True}, False),
        ({"host": "0.0.0.0", "enabled": True, "token": {"file": "token"}}, False),
        ({"host": "0.0.0.0", "enabled": False}, False),
    ):
        config = write_config(tmp_path / "config.yaml", 1883, pipelines, http=more)
        outcome = check(config)
        assert outcome.code == 0
        told = [line for line in outcome.out.splitlines() if line.startswith("warning: ")]
        assert bool(told) == is_told
        if is_told:
            assert told[0].startswith("warning: http.host 0.0.0.0: other machines may read the")


def setup_forest(tmp_path: Path, *, labels: list[int] | None = None, **threshold: Any) -> Path:
    write_forest(tmp_path / "forest", labels=labels, **threshold)
    return write_config(tmp_path / "c.yaml", 1883, {"p": {"model": "forest", "source": SOURCE}})


def test_a_score_that_falls_with_a_fault_is_told_without_labels(
    tmp_path: Path, check: Check
) -> None:
    outcome = check(setup_forest(tmp_path))
    assert outcome.code == 0
    assert (
        "p: golden windows: 24 of 40 are abnormal (score above 0); none is labelled healthy or "
        "faulty, so the side is not checked"
    ) in outcome.out.splitlines()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_score_that_falls_with_a_fault_is_refused_with_labels(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    config = setup_forest(tmp_path, labels=FOREST_LABELS)
    outcome = run_command(capsys, monkeypatch, command, config)
    assert outcome.code == 2
    assert outcome.complaints == [
        (
            f"{tmp_path}/forest/golden.npz: healthy windows must be normal and faulty ones "
            "abnormal: a score above 0 have 24 of 24 healthy and 0 of 16 faulty windows; is "
            "`threshold.abnormal: low` meant?"
        )
    ]


def test_a_score_that_falls_with_a_fault_is_served_where_the_manifest_says_so(
    tmp_path: Path, check: Check
) -> None:
    outcome = check(setup_forest(tmp_path, labels=FOREST_LABELS, abnormal="low"))
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].endswith(", threshold 0, abnormal below it")
    assert (
        "p: golden windows: 0 of 24 healthy and 16 of 16 faulty are abnormal (score below 0)"
    ) in lines


def test_several_faults_of_a_package_are_told_at_once(tmp_path: Path, check: Check) -> None:
    """The graph's and the golden windows' together."""
    config = setup_forest(tmp_path, labels=FOREST_LABELS)
    manifest = yaml.safe_load((tmp_path / "forest" / "model.yaml").read_text())
    manifest["onnx"] |= {"opset": 16, "domains": ["ai.onnx"]}
    (tmp_path / "forest" / "model.yaml").write_text(yaml.safe_dump(manifest))
    found = check(config).complaints
    assert [line.split(": ")[1][:24] for line in found] == [
        "opset must be 16, as the", "operator domains must be", "healthy windows must be ",
    ]  # fmt: skip


def test_what_the_model_answers_far_outside_is_told(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path)
    write_package(tmp_path / "mean", ranges={"a": [0, 20], "b": [-5, 15]})
    line = next(one for one in check(config).out.splitlines() if "far outside" in one)
    assert line.startswith("p: windows far outside: zeros 0 normal; constant ")
    assert "; low ends -5 normal; high ends 35 abnormal; 10 spans above 435 abnormal; " in line


def test_precision_and_ranges_are_noted(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path)
    write_package(tmp_path / "mean", ranges={"a": [0, 1e12], "b": [-5, 15]})
    (note,) = [line for line in check(config).out.splitlines() if ": note: " in line]
    assert note.startswith("p: note: signal `a`: at 1e+12 float32 keeps steps of 6.55e+04")


def test_the_real_command(tmp_path: Path) -> None:
    config = setup_config(tmp_path, source={**SOURCE, "signals": {"c": "x"}})
    done = subprocess.run(
        [sys.executable, "-m", "edgeai", "check", "config.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "edgeai: config.yaml: pipelines.p.source.signals.c: is not a signal of mean: a, b "
        "(found 'c')\n"
    )
    assert config.exists()


def test_check_writes_only_into_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no variable says that this is a build server, to which libraries are polite."""
    config = setup_config(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("CI", "EDGEAI_STATE_DIR", "XDG_STATE_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    done = subprocess.run([sys.executable, "-m", "edgeai", "check", str(config)], check=False)
    assert done.returncode == 0
    found = {path.relative_to(home).parts[:3] for path in home.rglob("*") if path.is_file()}
    assert found == {(".local", "state", "edgeai")}


def test_check_works_without_a_home(tmp_path: Path) -> None:
    config = setup_config(tmp_path)
    done = run_without_home(["check", str(config)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: this user has no home folder; nothing is kept") == 1


SIGNALS = {"a": {"path": "a"}}
TAGS = {"topic": "f/{asset}/{signal}", "layout": "tag"}
MISFITS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"model": "no-such"},
        ["pipelines.p.model: must be a folder with a model.yaml, or one of the shipped models: "],
    ),
    ({"model": "x" * 5000}, ["pipelines.p.model: must be a folder with a model.yaml, or one of"]),
    ({"model": "a\x00b"}, ["pipelines.p.model: must be a folder with a model.yaml, or one of"]),
    (
        {"source": {**SOURCE, "signals": {"c": "x"}}},
        ["pipelines.p.source.signals.c: is not a signal of mean: a, b (found 'c')"],
    ),
    (
        {"source": TAGS},
        [("pipelines.p.stream.alignment: must be `hold` or `linear` for the layout `tag` "
         "(found 'none')")],
    ),
    (
        {"source": {**TAGS, "signals": {"a": {"tag": "T1"}, "b": {"tag": "T1"}}},
         "stream": {"alignment": "hold"}},
        ["pipelines.p.source.signals: a tag may feed one signal (found 'T1')"],
    ),
    (
        # b's tag is its name, which is also a's.
        {"source": {**TAGS, "signals": {"a": {"tag": "b"}}}, "stream": {"alignment": "hold"}},
        ["pipelines.p.source.signals: a tag may feed one signal (found 'b')"],
    ),
    (
        {"source": {**TAGS, "signals": {"c": {"tag": "x"}}}},
        ["pipelines.p.source.signals.c: is not a signal of mean: a, b (found 'c')",
         "pipelines.p.stream.alignment: must be `hold` or `linear` for the layout `tag` "],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "wanted"), MISFITS, ids=[w[0][:60] for _, w in MISFITS])
def test_what_does_not_fit_the_model(
    tmp_path: Path, check: Check, changes: dict[str, Any], wanted: list[str]
) -> None:
    config = setup_config(tmp_path, **changes)
    outcome = check(config)
    assert outcome.code == 2
    assert len(outcome.complaints) == len(wanted)
    for line, start in zip(outcome.complaints, wanted, strict=True):
        assert line.startswith(f"{config}: {start}")


def test_alignment_needs_a_rate(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path, stream={"alignment": "hold"})
    write_package(tmp_path / "mean", rate_hz=None)
    outcome = check(config)
    assert outcome.code == 2
    assert outcome.complaints == [
        (
            f"{config}: pipelines.p.stream.alignment: must be `none`: mean has no sample rate "
            "(found 'hold')"
        )
    ]


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("toaster", "{config}: device: must be a YAML file or one of the shipped devices: amd-"),
        ("../../etc/passwd", "{config}: device: must be a YAML file or one of the shipped devices"),
        (
            "absent.yaml",
            "{config}: device: no such file: {folder}/absent.yaml (found 'absent.yaml')",
        ),
        ("config.yaml", "{folder}/config.yaml: description: is required"),
        ("x" * 5000, "{config}: device: must be a YAML file or one of the shipped devices"),
    ],
)
def test_device(tmp_path: Path, check: Check, device: str, wanted: str) -> None:
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "mean", "source": SOURCE}}, device=device
    )
    write_package(tmp_path / "mean")
    outcome = check(config)
    assert outcome.code == 2
    start = wanted.format(config=config, folder=tmp_path)
    assert any(line.startswith(start) for line in outcome.complaints), outcome.complaints


def test_all_files_are_judged_at_once(tmp_path: Path, check: Check) -> None:
    """A problem in the device, in two models and in two pipelines: five lines, one run."""
    write_package(tmp_path / "mean", rate_hz=None)
    first = write_package(tmp_path / "first")
    rehash(first, signals=[{"name": "a", "unit": "1", "range": [1.0]}])
    second = write_package(tmp_path / "second")
    (second / "golden.npz").write_bytes(b"other")
    third = write_graph(tmp_path / "third", b"")
    config = write_config(
        tmp_path / "config.yaml",
        1883,
        {name: {"model": name, "source": SOURCE} for name in ("first", "second", "third", "fourth")}
        | {"mean": {"model": "mean", "source": SOURCE, "stream": {"alignment": "linear"}}},
        device="toaster",
    )
    outcome = check(config)
    assert outcome.code == 2
    starts = [line.removeprefix(f"{tmp_path}/").split(" must")[0] for line in outcome.complaints]
    assert sorted(starts) == [
        "config.yaml: device:",
        "config.yaml: pipelines.fourth.model:",
        "config.yaml: pipelines.mean.stream.alignment:",
        "first/model.yaml: signals.0: `range`",
        "second/golden.npz:",
        "third/model.onnx: is not a valid ONNX model: the file is empty",
    ]
    assert third.exists()


def test_one_model_in_two_pipelines_is_told_once(tmp_path: Path, check: Check) -> None:
    folder = write_graph(tmp_path / "bad", b"garbage")
    config = write_config(
        tmp_path / "config.yaml",
        1883,
        {name: {"model": "bad", "source": SOURCE} for name in ("one", "two")},
    )
    (line,) = check(config).complaints
    assert line.startswith(f"{folder}/model.onnx: is not a valid ONNX model: ")


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("golden.npz", b"garbage", "is not an .npz file of plain arrays: "),
        ("model.onnx", b"\x08\x08garbage", "is not a valid ONNX model: "),
    ],
)
def test_a_spoilt_file_of_a_package(
    tmp_path: Path, check: Check, name: str, content: bytes, wanted: str
) -> None:
    config = setup_config(tmp_path)
    (tmp_path / "mean" / name).write_bytes(content)
    (line,) = check(config).complaints
    assert line.startswith(f"{tmp_path}/mean/{name}: must have the SHA-256 that model.yaml states")
    rehash(tmp_path / "mean")
    outcome = check(config)
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert line.startswith(f"{tmp_path}/mean/{name}: {wanted}")


def test_golden_windows_are_reproduced(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path)
    arrays = golden(tmp_path / "mean")
    arrays["score"][3] += 1
    (tmp_path / "mean" / "golden.npz").write_bytes(saved(**arrays))
    rehash(tmp_path / "mean")
    outcome = check(config)
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert line.startswith(f"{tmp_path}/mean/model.onnx: golden output `score` must be ")


def test_a_graph_that_never_ends(
    tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeai.model import inspection
    from edgeai.testing import mean_graph

    monkeypatch.setattr(inspection, "TIME_LIMIT_SECONDS", 1.5)
    model = mean_graph(4, 2)
    add_endless_loop(model)
    spec = {"opset": 17, "ir_version": 8, "domains": [""], "control_flow": True}
    write_graph(tmp_path / "endless", model.SerializeToString(), onnx=spec)
    config = write_config(
        tmp_path / "config.yaml", 1883, {"p": {"model": "endless", "source": SOURCE}}
    )
    outcome = check(config)
    assert outcome.code == 2
    assert outcome.complaints == [
        f"{tmp_path}/endless/model.onnx: did not load and run within 1.5 s"
    ]


def test_two_manifests_of_one_graph_are_two_models(tmp_path: Path, check: Check) -> None:
    """The same graph, but another order of outputs and other golden windows: both are proven."""
    first = write_package(tmp_path / "first")
    second = tmp_path / "second"
    shutil.copytree(first, second)
    manifest = yaml.safe_load((second / "model.yaml").read_text())
    manifest["name"] = "second"
    manifest["outputs"].reverse()
    arrays = golden(second)
    arrays["score"] += np.float32(1)
    (second / "golden.npz").write_bytes(saved(**arrays))
    (second / "model.yaml").write_text(yaml.safe_dump(manifest))
    rehash(second)
    config = write_config(
        tmp_path / "config.yaml",
        1883,
        {name: {"model": name, "source": SOURCE} for name in ("first", "second")},
    )
    outcome = check(config)
    assert outcome.code == 2
    (line,) = outcome.complaints
    assert line.startswith(f"{second}/model.onnx: golden output `score` must be ")


def test_outputs_keep_their_names_when_a_graph_is_shared(tmp_path: Path) -> None:
    from edgeai.assembly.pipelines import build_pipelines
    from edgeai.assembly.plan import check as make_plan
    from edgeai.metrics.definitions import Metrics

    first = write_package(tmp_path / "first")
    second = tmp_path / "second"
    shutil.copytree(first, second)
    manifest = yaml.safe_load((second / "model.yaml").read_text())
    manifest["outputs"].reverse()
    (second / "model.yaml").write_text(yaml.safe_dump(manifest | {"name": "second"}))
    config = write_config(
        tmp_path / "config.yaml",
        1883,
        {name: {"model": name, "source": SOURCE} for name in ("first", "second")},
    )
    for pipeline in build_pipelines(make_plan(config), Metrics()):
        windows = np.ones((16, 4, 2), np.float32)
        outputs = dict(zip(pipeline.outputs, pipeline.session.run(windows, 3), strict=True))
        assert outputs["score"].shape == (3,)
        assert outputs["contribution"].shape == (3, 2)


@pytest.mark.parametrize("name", ["", ".", "no-such", "no-such.yaml", "x" * 5000, "/dev/null"])
def test_what_is_no_config(check: Check, name: str) -> None:
    outcome = check(name)
    assert outcome.code == 2
    assert len(outcome.complaints) == 1


def test_an_alarm_that_could_never_end(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path, alarm={"deadband": 1e6})
    (line,) = check(config).complaints
    assert line.startswith(f"{config}: pipelines.p.alarm.deadband: the alarm could never end: ")
    assert line.endswith("no golden window's score is so far from the threshold (found 1000000.0)")
    assert check(setup_config(tmp_path, alarm={"deadband": 1.0})).code == 0


def test_an_unknown_name_lists_the_shipped_configs(check: Check) -> None:
    shipped = ["demo", "moulding-pinn", "moulding-states"]
    assert check("deno").complaints == [
        "deno: no such file, and no shipped config has this name: " + ", ".join(shipped)
    ]


def test_a_signal_deleted_from_the_manifest(tmp_path: Path, check: Check) -> None:
    config = setup_config(tmp_path)
    rehash(tmp_path / "mean", signals=[{"name": "a", "unit": "1"}])
    line = check(config).complaints[0]
    assert line.startswith(
        f"{tmp_path}/mean/model.onnx: model.yaml lists 1 signals, the graph has 2"
    )


def test_a_folder_that_is_no_config(tmp_path: Path, check: Check) -> None:
    assert check(tmp_path).complaints == [f"{tmp_path}: is a folder, not a file"]


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_secret_that_is_not_there(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    config = setup_config(tmp_path)
    broker = "broker:\n  username: u\n  password: "
    original = config.read_text()
    for secret, wanted in (
        ("{env: NO_SUCH}", "environment: broker.password: variable NO_SUCH is not set"),
        (
            "{file: /no/such}",
            "/no/such: broker.password: cannot be read: No such file or directory",
        ),
    ):
        config.write_text(original.replace("broker:\n", f"{broker}{secret}\n"))
        outcome = run_command(capsys, monkeypatch, command, config)
        assert outcome.code == 2
        assert outcome.complaints == [wanted]


def test_a_secret_that_is_there(
    tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2")
    config = setup_config(tmp_path)
    broker = "broker:\n  username: u\n  password: {env: SOME_SECRET}\n"
    config.write_text(config.read_text().replace("broker:\n", broker))
    outcome = check(config)
    assert outcome.code == 0
    assert "hunter2" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("tls", "wanted"),
    [
        ({"ca_file": "/no/such"}, ["/no/such: broker.tls.ca_file: no such file"]),
        (
            {"ca_file": "{config}"},
            ["config.yaml: broker.tls.ca_file: holds no certificate in PEM form"],
        ),
        (
            {"cert_file": "{config}", "key_file": "{config}"},
            [
                "config.yaml: broker.tls.cert_file: holds no certificate in PEM form",
                "config.yaml: broker.tls.key_file: holds no private key in PEM form",
            ],
        ),
    ],
)
def test_tls_files(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tls: dict[str, str],
    wanted: list[str],
) -> None:
    write_package(tmp_path / "mean")
    path = tmp_path / "config.yaml"
    config = write_config(
        path,
        1883,
        {"p": {"model": "mean", "source": SOURCE}},
        broker={"tls": {key: value.format(config=path) for key, value in tls.items()}},
    )
    outcome = run_command(capsys, monkeypatch, "run", config, "--log-level", "error")
    assert outcome.code == 2
    for line, text in zip(outcome.complaints, wanted, strict=True):
        assert line.endswith(text)
