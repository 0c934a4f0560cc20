"""The interface of compiled backends: find an adapter, check it, split batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.providers.child.compiled import (
    LoadRequest,
    build,
    find_backend,
    open_session,
    split_batch,
)
from edgeai.providers.child.spec import ChildSpec, LoadError, ShapeError
from edgeai.providers.conformance import check_backend
from tests.support.faulty import ENTRY_POINT, faulty_spec, install
from tests.support.packages import write_package

WINDOWS = np.random.default_rng(2).normal(5, 3, (50, 4, 2)).astype(np.float32)


class MeanModel:
    """Stands in for a vendor's: computes the graph of `tests.packages` with numpy."""

    def __init__(self, request: LoadRequest) -> None:
        if request.artefact.read_bytes().startswith(b"this is no artefact"):
            raise ValueError("not an artefact")
        self.batch_sizes: tuple[int, ...] = ()
        self.outputs = request.outputs
        self.calls: list[int] = []
        self.closed = 0
        self.description = {
            "device": "NPU Stand-in", "driver": "1.0", "runtime": "numpy", "precision": "fp32",
        }  # fmt: skip

    def run(self, windows: Any) -> list[Any]:
        self.calls.append(len(windows))
        contribution = windows.mean(axis=1)
        found = {"contribution": contribution, "score": contribution.sum(axis=1)}
        return [found[name] for name in self.outputs]

    def describe(self) -> dict[str, str]:
        return self.description

    def close(self) -> None:
        self.closed += 1


@dataclass
class Adapter:
    """An adapter that keeps the model it loaded, changed by a test before it is used."""

    change: Callable[[MeanModel], None] = lambda model: None
    model: MeanModel | None = None

    def __call__(self, request: LoadRequest) -> MeanModel:
        self.model = MeanModel(request)
        self.change(self.model)
        return self.model

    @property
    def loaded(self) -> MeanModel:
        assert self.model is not None
        return self.model


@pytest.fixture
def spec(tmp_path: Path) -> ChildSpec:
    return faulty_spec(write_package(tmp_path / "mean"), tmp_path / "none", provider_options={})


def test_an_adapter_is_found_by_its_entry_point(
    spec: ChildSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    backend = find_backend(ENTRY_POINT)
    options = {"control": str(tmp_path / "none")}
    request = LoadRequest(Path(spec.graph), spec.outputs, spec.window, options=options)
    assert open_session(backend, request, "faulty").facts.providers == ["compiled:faulty"]


def test_a_missing_adapter_is_refused_with_the_names_of_those_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    with pytest.raises(LoadError, match=r"no backend `furiosa` is installed here; .*faulty"):
        find_backend("furiosa")


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ("x = absent_module:load", "cannot be imported: ModuleNotFoundError"),
        ("x = os:absent", "cannot be imported: AttributeError"),
        ("x = os:sep", "must be a function"),
    ],
)
def test_an_invalid_adapter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, text: str
) -> None:
    folder = install(tmp_path / "site")
    info = next(folder.glob("*.dist-info"))
    (info / "entry_points.txt").write_text(f"[edgeai.backends]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(LoadError, match=text):
        find_backend("x")


def test_two_adapters_with_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    other = tmp_path / "other" / "second-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[edgeai.backends]\nfaulty = os:getcwd\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    with pytest.raises(LoadError, match=r"two backends are named `faulty`: .*os:getcwd"):
        find_backend("faulty")


def test_outputs_have_the_requested_order_and_facts(spec: ChildSpec) -> None:
    adapter = Adapter()
    session = build(spec, adapter)
    score, contribution = session.run(WINDOWS)
    np.testing.assert_allclose(score, WINDOWS.mean(axis=1).sum(axis=1), rtol=1e-6)
    assert contribution.shape == (50, 2)
    assert session.facts.device == "NPU Stand-in"
    assert session.facts.runtime == "numpy, fp32"
    assert session.facts.outputs == {"score": [], "contribution": [2]}
    assert adapter.loaded.calls[:3] == spec.batch_sizes  # each was run once before


@pytest.mark.parametrize("count", [1, 3, 4, 5, 16, 17, 50])
def test_batches_are_split_and_padded_to_static_sizes(spec: ChildSpec, count: int) -> None:
    adapter = Adapter(lambda model: setattr(model, "batch_sizes", (16, 4)))
    session = build(spec, adapter)
    score, contribution = session.run(WINDOWS[:count])
    np.testing.assert_allclose(contribution, WINDOWS[:count].mean(axis=1), rtol=1e-6)
    assert score.shape == (count,)
    assert set(adapter.loaded.calls) <= {4, 16}


def test_a_model_may_reuse_its_output_memory(spec: ChildSpec) -> None:
    def reuse(model: MeanModel) -> None:
        model.batch_sizes = (4,)
        memory = [np.empty(4, np.float32), np.empty((4, 2), np.float32)]
        compute = model.run

        def run(windows: Any) -> list[Any]:
            for place, values in zip(memory, compute(windows), strict=True):
                place[...] = values
            return memory

        model.run = run  # type: ignore[method-assign]

    _, contribution = build(spec, Adapter(reuse)).run(WINDOWS)
    np.testing.assert_allclose(contribution, WINDOWS.mean(axis=1), rtol=1e-6)


@given(
    count=st.integers(1, 500),
    sizes=st.lists(st.integers(1, 128), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_split_batch_covers_a_batch_once_in_allowed_sizes(count: int, sizes: list[int]) -> None:
    cut = split_batch(count, sizes)
    assert [row for start, stop, _ in cut for row in range(start, stop)] == list(range(count))
    assert all(size in sizes and 0 < stop - start <= size for start, stop, size in cut)
    # Only the last may be padded.
    assert all(stop - start == size for start, stop, size in cut[:-1])


def _describe(**changes: Any) -> Callable[[MeanModel], None]:
    return lambda model: model.description.update(changes)


def _answer(outputs: Callable[[Any], Any]) -> Callable[[MeanModel], None]:
    return lambda model: setattr(model, "run", outputs)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            _describe(device="CPU Fallback"),
            "`CPU Fallback`, not on the requested NPU",
        ),
        (_describe(driver=""), "describes no `driver`"),
        (_describe(precision=None), "describes no `precision`"),
        (_answer(lambda w: [w.sum(axis=(1, 2))]), "gave 1 outputs for 2"),
        (_answer(lambda w: [w[:4, 0, 0], w[:4, 0]]), "output `score` must be numbers of shape"),
        (_answer(lambda w: [w[:, 0, 0].astype(str), w[:, 0]]), "must be numbers"),
        (_answer(lambda w: [w[:, 0, 0], w[:, : len(w), 0]]), "output `contribution` must be"),
        (lambda model: setattr(model, "batch_sizes", (0,)), "not positive integers"),
        (lambda model: delattr(model, "batch_sizes"), "not as docs/backends.md says"),
    ],
)
def test_a_wrongly_loaded_model_is_refused_and_closed(
    spec: ChildSpec, change: Callable[[MeanModel], None], text: str
) -> None:
    adapter = Adapter(change)
    asked = ChildSpec(**spec.__dict__ | {"device": {"type": "NPU", "index": "0"}})
    with pytest.raises(LoadError, match=text):
        build(asked, adapter)
    assert adapter.loaded.closed == 1


def test_an_adapter_that_raises_is_refused_with_its_text(spec: ChildSpec) -> None:
    def raises(request: LoadRequest) -> Any:
        raise RuntimeError(f"firmware too old for {request.artefact.name}")

    with pytest.raises(LoadError, match=r"RuntimeError: firmware too old for model.onnx"):
        build(spec, raises)


def test_a_missing_artefact_is_refused(spec: ChildSpec) -> None:
    with pytest.raises(LoadError, match="no such file"):
        build(ChildSpec(**spec.__dict__ | {"graph": "/nowhere/model.enf"}), Adapter())


def test_a_shape_that_changes_later_is_an_error(spec: ChildSpec) -> None:
    adapter = Adapter()
    session = build(spec, adapter)
    adapter.loaded.run = lambda windows: [  # type: ignore[method-assign]
        windows[:4, 0, 0], windows[:4, 0]
    ]  # fmt: skip
    assert session.run(WINDOWS[:4])[0].shape == (4,)
    with pytest.raises(ShapeError, match=r"output `score` must be .*\(5,\), not float32 \(4,\)"):
        session.run(WINDOWS[:5])


def test_a_good_adapter_conforms(spec: ChildSpec) -> None:
    errors = check_backend(Adapter(), Path(spec.graph).parent, device={"type": "NPU"})
    assert set(errors) == {"score", "contribution"}
    assert max(errors.values()) < 1e-5


def _wrap(change: Callable[[Any, list[Any]], list[Any]]) -> Callable[[MeanModel], None]:
    def wrap(model: MeanModel) -> None:
        compute = model.run
        model.run = lambda windows: change(  # type: ignore[method-assign]
            windows, compute(windows)
        )

    return wrap


def _scribble(windows: Any, outputs: list[Any]) -> list[Any]:
    windows[...] = 0.0
    return outputs


def _first_row_for_odd_batches(windows: Any, outputs: list[Any]) -> list[Any]:
    return [output[:1].repeat(len(output), 0) if len(output) == 7 else output for output in outputs]


def _noise(windows: Any, outputs: list[Any]) -> list[Any]:
    rng = np.random.default_rng()
    return [(output * (1 + 1e-6 * rng.random(output.shape))).astype("f4") for output in outputs]


def _half(windows: Any, outputs: list[Any]) -> list[Any]:
    return [output.astype(np.float16).astype(np.float32) for output in outputs]


def _raise_twice(model: MeanModel) -> None:
    def close() -> None:
        model.closed += 1
        if model.closed > 1:
            raise RuntimeError("double free")

    model.close = close  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_wrap(_scribble), "must not change the windows"),
        (_wrap(_first_row_for_odd_batches), "wrong for a batch of 7 windows"),
        (_wrap(_noise), "must be the same when the same windows run again"),
        (_wrap(_half), "output `score` must be within rtol 0.0001"),
        (_wrap(lambda w, outputs: [o * np.nan for o in outputs]), "must be within"),
        (_wrap(lambda w, outputs: [-o for o in outputs]), "changes the side of the threshold"),
        (_raise_twice, "the second `close` raised RuntimeError: double free"),
    ],
)
def test_conformance_finds(spec: ChildSpec, change: Callable[[MeanModel], None], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_backend(Adapter(change), Path(spec.graph).parent)


def test_conformance_finds_an_adapter_that_accepts_any_file(spec: ChildSpec) -> None:
    def careless(request: LoadRequest) -> MeanModel:
        graph = Path(spec.graph)
        return MeanModel(LoadRequest(graph, request.outputs, request.window))

    with pytest.raises(AssertionError, match="a file that is no artefact must be refused"):
        check_backend(careless, Path(spec.graph).parent)
