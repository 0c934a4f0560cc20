"""`edgeai sign` and `edgeai verify`, and the commands that refuse a package by its signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from edgeai.signing.files import SIGNATURE, digest_of
from edgeai.signing.keys import read_private_key
from edgeai.signing.statement import write_statement
from tests.support.commands import Outcome, run_command
from tests.support.packages import rehash, write_config, write_package
from tests.support.signing import sign_payload, write_keys

Run = Callable[..., Outcome]
SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *arguments: run_command(capsys, monkeypatch, *arguments)


class Line(NamedTuple):
    """A configuration that trusts a key, its package, and the key."""

    config: Path
    package: Path
    private: Path
    public: Path


def write_line(tmp_path: Path, **models: Any) -> Line:
    private, public = write_keys(tmp_path)
    package = write_package(tmp_path / "mean")
    trust = {"trusted_keys": [public.name], **models}  # relative to the configuration
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    config = write_config(tmp_path / "line.yaml", 1883, pipelines, models=trust)
    return Line(config, package, private, public)


@pytest.fixture
def line(tmp_path: Path, run: Run) -> Line:
    one = write_line(tmp_path)
    assert run("sign", one.package, "--key", one.private).code == 0
    return one


def break_graph(package: Path) -> None:
    """Change the graph and its hash, as who has no key can."""
    (package / "model.onnx").write_bytes(b"not a graph")
    rehash(package)


def test_sign_and_verify(line: Line, run: Run) -> None:
    signed = run("sign", line.package, "--key", line.private)
    assert (signed.code, signed.err) == (0, "")
    names = ["golden.npz", "model.onnx", "model.yaml"]
    assert signed.out.splitlines()[:-1] == names
    assert f"{line.package / SIGNATURE}: 3 files of mean 1.0.0 signed by key" in signed.out
    verified = run("verify", line.package, "--key", line.public)
    assert (verified.code, verified.err) == (0, "")
    assert verified.out.startswith("mean 1.0.0: 3 files signed by key ")
    assert verified.out.endswith(f"({line.public})\n")


def test_verify_takes_any_of_several_keys_and_a_signature_elsewhere(
    line: Line, run: Run, tmp_path: Path
) -> None:
    _, other = write_keys(tmp_path, "other", "P-384")
    elsewhere = tmp_path / "elsewhere.sig"
    (line.package / SIGNATURE).rename(elsewhere)
    keys = ["--key", other, "--key", line.public]
    assert run("verify", line.package, *keys, "--signature", elsewhere).code == 0
    missing = run("verify", line.package, *keys)
    assert missing.code == 2
    assert "no such file, but edgeai verify asks for a signature" in missing.err
    refused = run("verify", line.package, "--key", other, "--signature", elsewhere)
    assert refused.code == 2
    assert "is signed with another key than the trusted ones" in refused.err


@pytest.mark.parametrize("by", ["file", "env"])
def test_a_password(tmp_path: Path, run: Run, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_package(tmp_path / "mean")
    private, public = write_keys(tmp_path, password=b"correct horse")
    (tmp_path / "password").write_text("correct horse\n")
    monkeypatch.setenv("SIGNING_PASSWORD", "correct horse")
    option = {
        "file": ["--password-file", tmp_path / "password"],
        "env": ["--password-env", "SIGNING_PASSWORD"],
    }[by]
    assert run("sign", package, "--key", private, *option).code == 0
    assert run("verify", package, "--key", public).code == 0
    without = run("sign", package, "--key", private)
    assert without.complaints == [
        f"{private}: the key has a password: give --password-file or --password-env"
    ]
    both = run("sign", package, "--key", private, "--password-env", "A", "--password-file", "b")
    assert both.code == 2
    assert "not both" in both.err
    unset = run("sign", package, "--key", private, "--password-env", "NOT_SET_HERE")
    assert unset.complaints == ["environment: --password-env: variable NOT_SET_HERE is not set"]


def test_a_broken_package_is_not_signed(line: Line, run: Run) -> None:
    (line.package / SIGNATURE).unlink()
    (line.package / "model.onnx").write_bytes(b"changed")
    refused = run("sign", line.package, "--key", line.private)
    assert refused.code == 2
    assert "model.onnx: must have the SHA-256 that model.yaml states" in refused.err
    assert not (line.package / SIGNATURE).exists()


def test_a_private_key_that_all_may_read_is_told(line: Line, run: Run) -> None:
    line.private.chmod(0o644)
    signed = run("sign", line.package, "--key", line.private)
    assert signed.code == 0
    assert "every user of this machine may read this secret" in signed.err


@pytest.mark.parametrize("left_out", ["model.yaml", "model.onnx", "golden.npz"])
def test_a_file_that_the_model_uses_must_be_signed(line: Line, run: Run, left_out: str) -> None:
    """Also if the signer left it out on purpose, as other tools allow."""
    names = {"model.yaml", "model.onnx", "golden.npz"} - {left_out}
    digests = {name: digest_of(line.package, name) for name in sorted(names)}
    payload = write_statement("mean", digests, [left_out])
    sign_payload(line.package / SIGNATURE, payload, read_private_key(line.private))
    for command in (["verify", line.package, "--key", line.public], ["check", line.config]):
        outcome = run(*command)
        assert outcome.complaints == [
            f"{line.package}/{left_out}: is used by the model, but its signer left it out"
        ]


# ---------------------------------------------------------------- what serves and replays


def test_check_names_the_key(line: Line, run: Run) -> None:
    outcome = run("check", line.config)
    assert (outcome.code, outcome.err) == (0, "")
    assert "p: 3 files signed by key " in outcome.out
    assert f"({line.public})" in outcome.out


COMMANDS = [
    ("check",),
    ("run",),
    ("replay", "--input", "in.csv", "--output", "out.jsonl"),
    ("report", "--input", "in.csv", "--output", "out.html"),
    ("devices",),
    ("acl",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one[0])
@pytest.mark.parametrize("change", [break_graph, lambda package: (package / SIGNATURE).unlink()])
def test_a_package_that_is_not_as_signed_is_refused_before_its_graph_is_read(
    line: Line, run: Run, command: tuple[str, ...], change: Callable[[Path], None]
) -> None:
    """The graph would be a second complaint."""
    change(line.package)
    (line.config.parent / "in.csv").write_text("t,a,b\n1,2,3\n")
    name, *options = command
    files = [line.config.parent / one if "." in one else one for one in options]
    outcome = run(name, line.config, *files)
    assert outcome.code == 2
    complaints = [one for one in outcome.err.splitlines() if "graph" in one or "mean" in one]
    assert len(complaints) == 1, outcome.err
    assert "is not what was signed" in complaints[0] or "asks for a signature" in complaints[0]


def test_the_package_of_a_state_is_verified_too(line: Line, run: Run) -> None:
    write_package(line.config.parent / "other")
    config = yaml.safe_load(line.config.read_text())
    config["pipelines"]["p"]["states"] = {
        "slow": {"when": {"signal": "a", "below": 3}, "model": "other"}
    }
    line.config.write_text(yaml.safe_dump(config))
    outcome = run("check", line.config)
    assert outcome.code == 2, outcome.out
    assert f"other/{SIGNATURE}: no such file" in outcome.err


def test_an_unsigned_package_is_told_where_it_is_allowed(tmp_path: Path, run: Run) -> None:
    one = write_line(tmp_path, require_signature=False)
    outcome = run("check", one.config)
    assert outcome.code == 0
    assert f"warning: {one.package} has no signature, and is served because of" in outcome.out
    assert run("sign", one.package, "--key", one.private).code == 0
    assert "no signature" not in run("check", one.config).out
    break_graph(one.package)
    assert "is not what was signed" in run("check", one.config).err


def test_keys_that_cannot_be_read_are_all_named_and_no_package_is_opened(
    tmp_path: Path, run: Run
) -> None:
    one = write_line(tmp_path, trusted_keys=["none.pem", "key.pem", "line.yaml"])
    break_graph(one.package)
    rules = {
        "none.pem": "cannot be read: No such file or directory",
        "key.pem": "is a private key, which must stay with the signer: give its public key "
        "(openssl pkey -in KEY -pubout -out PUBLIC)",
        "line.yaml": "is not a public key in PEM (-----BEGIN PUBLIC KEY-----)",
    }
    assert run("check", one.config).complaints == [
        f"{tmp_path / file}: models.trusted_keys[{number}]: {rule}"
        for number, (file, rule) in enumerate(rules.items())
    ]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({}, "models.trusted_keys: "),
        ({"trusted_keys": []}, "models.trusted_keys: "),
        ({"trusted_keys": "key.pem"}, "models.trusted_keys: "),
        ({"trusted_keys": [1]}, "models.trusted_keys"),
        ({"trusted_keys": ["a"], "require": True}, "models.require: "),
    ],
)
def test_a_wrong_section_is_refused(tmp_path: Path, run: Run, models: Any, said: str) -> None:
    one = write_line(tmp_path)
    config = {**yaml.safe_load(one.config.read_text()), "models": models}
    one.config.write_text(yaml.safe_dump(config))
    outcome = run("check", one.config)
    assert outcome.code == 2
    assert said in outcome.err


def test_without_trusted_keys_a_signature_is_not_looked_at(tmp_path: Path, run: Run) -> None:
    package = write_package(tmp_path / "mean")
    (package / SIGNATURE).write_bytes(b"anything")
    pipelines = {"p": {"model": "mean", "source": SOURCE}}
    config = write_config(tmp_path / "line.yaml", 1883, pipelines)
    outcome = run("check", config)
    assert (outcome.code, outcome.err) == (0, "")
    assert "signed" not in outcome.out
