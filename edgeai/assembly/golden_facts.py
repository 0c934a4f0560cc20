"""What the golden windows say about a package beyond its outputs, measured once and kept.

How many held values a window bears (unless the manifest states it), and the values from which
float32 loses the steps that the model knows.
"""

import contextlib
import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeai.log_events import event
from edgeai.model.held_values import TooSlowError, measure_held_values, picked_windows
from edgeai.model.manifest import GOLDEN, GRAPH
from edgeai.model.package import Package
from edgeai.model.resolution import Resolution, resolution_of
from edgeai.model.rows import join_rows
from edgeai.model.threshold_spec import HeldValuesSpec
from edgeai.providers.session import Session, padded_capacity

log = logging.getLogger("edgeai")

LIMIT_SECONDS = 20.0
CACHE_VERSION = 2  # increased when the measurement changes
BATCH = 64
TOO_SLOW = (
    "too slow to measure how many held values a window bears, so each window with one is "
    "`uncertain`; state `held_values` in model.yaml"
)


@dataclass(frozen=True)
class GoldenFacts:
    """What a pipeline needs to know of the golden windows."""

    held_values: HeldValuesSpec
    resolution: Resolution


def golden_facts(package: Package, session: Session, state_folder: Path) -> GoldenFacts:
    """Return the facts of a package; measure what the manifest does not state.

    Args:
        package: The package.
        session: A proven session of the package.
        state_folder: Folder where the measurement is kept.
    """
    windows, _ = package.golden()
    manifest = package.manifest
    held = manifest.held_values
    if held is None:
        threshold = manifest.threshold
        name = f"{manifest.files[GRAPH][:32]}-{manifest.files[GOLDEN][:32]}"
        name += f"-{threshold.value!r}-{threshold.abnormal}-{CACHE_VERSION}"
        cache = state_folder / "held-values" / f"{name}.json"
        try:
            held = _cached(cache, lambda: _measure(package, windows, session))
        except TooSlowError:
            log.warning(
                "%s: %s", manifest.name, TOO_SLOW,
                extra=event("model_note", model=manifest.name),
            )  # fmt: skip
            held = HeldValuesSpec(good=0)
    return GoldenFacts(held, resolution_of(windows))


def _measure(
    package: Package, windows: npt.NDArray[np.float32], session: Session
) -> HeldValuesSpec:
    manifest = package.manifest
    index = [output.name for output in manifest.outputs].index(manifest.score)
    buffer = np.zeros((padded_capacity(BATCH), *manifest.row_shape), np.float32)
    context = package.golden_context()
    if context is not None:
        context = context[picked_windows(len(windows))]

    def score(given: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        given = join_rows(given, context)
        parts = []
        for start in range(0, len(given), BATCH):
            count = min(BATCH, len(given) - start)
            buffer[:count] = given[start : start + count]
            parts.append(np.array(session.run(buffer, count)[index]))
        return np.concatenate(parts)

    threshold = manifest.threshold
    return measure_held_values(
        windows, score, threshold.value, threshold.abnormal, limit_seconds=LIMIT_SECONDS
    )


def _cached(cache: Path, measure: Callable[[], HeldValuesSpec]) -> HeldValuesSpec:
    """Return what a file holds, or measure and write it. A damaged file is replaced."""
    with contextlib.suppress(OSError, ValueError):
        return HeldValuesSpec.model_validate_json(cache.read_text(encoding="utf-8"))
    held = measure()
    with contextlib.suppress(OSError):  # a folder that cannot be written: measured again next time
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=cache.parent, delete=False, encoding="utf-8"
        ) as file:
            json.dump(held.model_dump(), file)
        Path(file.name).replace(cache)
    return held
