"""Verdicts and compiled models are removed when they are not used."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edgeai.config.openvino import OpenVino
from edgeai.model.package import load_package
from edgeai.providers.selection.cache import MAX_UNUSED_SECONDS, remove_unused
from edgeai.providers.selection.request import child_spec
from edgeai.providers.selection.verdicts import Latency, Verdict, VerdictStore
from tests.support.packages import write_package

OLD = time.time() - MAX_UNUSED_SECONDS - 60
VERDICT = Verdict(
    "x", found=True, proven=True,
    latency={1: Latency(1e-5, 2e-5)}, cpu_latency={1: Latency(1e-5, 2e-5)},
)  # fmt: skip


def test_files_unused_for_long_are_removed(tmp_path: Path) -> None:
    package = load_package(write_package(tmp_path / "mean"))
    state = tmp_path / "state"
    caches = []
    for streams in (1, 2):
        candidate = OpenVino(provider="openvino", streams=streams, device_type=f"GPU.{streams}")
        caches.append(Path(child_spec(candidate, package, state).provider_options["cache_dir"]))
        (caches[-1] / "engine.blob").write_bytes(b"x")
    assert len(set(caches)) == 2
    store = VerdictStore(state)
    for key in ("used", "unused"):
        with store.lock(key):
            store.save(key, VERDICT)
    for path in (state / "providers").glob("*/*"):
        os.utime(path, (OLD, OLD))
    child_spec(candidate, package, state)
    assert store.load("used") == VERDICT
    remove_unused(state)
    left = {path.name for path in (state / "providers").glob("*/*")}
    assert left == {caches[1].name, "used.json"}
    assert (caches[1] / "engine.blob").is_file()


def test_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    remove_unused(tmp_path / "nowhere")
