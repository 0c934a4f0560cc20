"""Variants of a graph and compiled artefacts in a package's manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from onnx import helper

from edgeai.errors import ConfigError, ModelError
from edgeai.model.inspection import inspect_packages
from edgeai.model.package import load_package, sha256_of
from edgeai.testing import mean_graph
from tests.support.packages import write_package

LOOSE = {"rtol": 0.01, "atol": 0.1}


def change(folder: Path, **changes: Any) -> Path:
    """Put entries into a manifest; mappings are merged."""
    path = folder / "model.yaml"
    manifest = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        manifest[key] = manifest.get(key, {}) | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return folder


def add_variant(folder: Path, precision: str, model: onnx.ModelProto | None = None) -> Path:
    """Write another graph into a package, with hash and tolerance."""
    path = folder / f"model.{precision}.onnx"
    path.write_bytes((model or mean_graph(4, 2)).SerializeToString())
    return change(folder, files={path.name: sha256_of(path)}, tolerance={precision: LOOSE})


def artefact(**changes: Any) -> dict[str, Any]:
    fields = {"backend": "furiosa", "file": "model.enf", "precision": "int8", "compiler": "sdk 1"}
    return fields | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_package(tmp_path / "mean")


def test_a_package_without_variants_has_its_graph_alone(folder: Path) -> None:
    package = load_package(folder)
    assert package.variants == ["fp32"]
    assert package.variant("fp32") == package.graph
    with pytest.raises(ModelError, match=r"model.yaml: holds no model.int8.onnx"):
        package.variant("int8")


def test_a_variant_has_a_file_a_hash_and_a_tolerance_of_its_own(folder: Path) -> None:
    package = load_package(add_variant(folder, "fp16"))
    assert package.variants == ["fp32", "fp16"]
    assert package.variant("fp16") == folder / "model.fp16.onnx"
    assert package.manifest.tolerance.of("fp16").rtol == 0.01
    assert package.manifest.tolerance.of("fp32").rtol == 1e-4


def test_a_variant_without_a_tolerance_is_refused(folder: Path) -> None:
    (folder / "model.int8.onnx").write_bytes(b"graph")
    change(folder, files={"model.int8.onnx": sha256_of(folder / "model.int8.onnx")})
    with pytest.raises(ConfigError, match=r"`tolerance.int8` must be stated for model.int8.onnx"):
        load_package(folder)


def test_a_variant_that_was_changed_is_refused(folder: Path) -> None:
    add_variant(folder, "fp16")
    with (folder / "model.fp16.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=r"model.fp16.onnx: must have the SHA-256"):
        load_package(folder)


def test_a_graph_that_the_manifest_does_not_name_is_no_variant(folder: Path) -> None:
    (folder / "model.int8.onnx").write_bytes(b"left over from before the last training")
    assert load_package(folder).variants == ["fp32"]


def _foreign(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Gelu", ["score"], ["x"], domain="com.microsoft"))


def _other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def _half_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _static(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_foreign, "must use standard operators only; foreign domain"),
        (_other_opset, "opset must be 17, as the manifest says"),
        (_half_input, "input `window` must be float32"),
        (_static, "input `window` must be float32 of shape"),
    ],
)
def test_a_variant_is_held_to_the_rules_of_the_graph(
    folder: Path, tmp_path: Path, spoil: Any, text: str
) -> None:
    model = mean_graph(4, 2)
    spoil(model)
    package = load_package(add_variant(folder, "int8", model))
    (error,) = inspect_packages([package], tmp_path / "state")
    assert error.problem.file == str(folder / "model.int8.onnx")
    assert text in str(error)


def test_facts_of_a_variant_are_its_own(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    model = mean_graph(4, 2)
    model.producer_name = "another file, another hash"
    package = load_package(add_variant(folder, "fp16", model))
    assert inspect_packages([package], state) == []
    assert len(list((state / "inspection").glob("*.facts"))) == 2


def test_a_compiled_artefact_is_found_by_backend_and_device(folder: Path) -> None:
    for name in ("model.enf", "any.enf"):
        (folder / name).write_bytes(name.encode())
    files = {name: sha256_of(folder / name) for name in ("model.enf", "any.enf")}
    entries = [artefact(device="warboy"), artefact(file="any.enf")]
    package = load_package(change(folder, files=files, tolerance={"int8": LOOSE}, compiled=entries))
    found = [package.compiled("furiosa", device) for device in ("WARBOY", "other", "")]
    assert [item and item.file for item in found] == ["model.enf", "any.enf", "any.enf"]
    assert package.compiled("hailo") is None


@pytest.mark.parametrize(
    ("entries", "files", "tolerance", "text"),
    [
        ([artefact()], [], {"int8": LOOSE}, "`files` must hold the hash of model.enf"),
        (
            [artefact(beside=["model.bin"])], ["model.enf"], {"int8": LOOSE},
            "`files` must hold the hash of model.bin",
        ),
        ([artefact()], ["model.enf"], {}, "`tolerance.int8` must be stated for model.enf"),
        (
            [artefact(), artefact()], ["model.enf"], {"int8": LOOSE},
            "one artefact for each backend and device",
        ),
        (
            [artefact(file="model.onnx", precision="fp32")], [], {},
            "model.onnx is a graph, which needs no entry",
        ),
    ],
)  # fmt: skip
def test_a_compiled_artefact_is_refused(
    folder: Path, entries: Any, files: list[str], tolerance: Any, text: str
) -> None:
    for name in files:
        (folder / name).write_bytes(b"artefact")
    hashes = {name: sha256_of(folder / name) for name in files}
    change(folder, files=hashes, tolerance=tolerance, compiled=entries)
    with pytest.raises(ConfigError, match=text):
        load_package(folder)


def test_a_compiled_artefact_that_was_changed_is_refused(folder: Path) -> None:
    (folder / "model.enf").write_bytes(b"artefact")
    hashes = {"model.enf": sha256_of(folder / "model.enf")}
    change(folder, files=hashes, tolerance={"int8": LOOSE}, compiled=[artefact()])
    load_package(folder)
    (folder / "model.enf").write_bytes(b"another")
    with pytest.raises(ModelError, match=r"model.enf: must have the SHA-256"):
        load_package(folder)
