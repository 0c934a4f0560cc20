"""Training recipes for tests."""

from __future__ import annotations

from pathlib import Path

import yaml

CARD = {"watches": "a test", "limits": ["none"]}
BASE = {
    "name": "test-model",
    "version": "1.0.0",
    "description": "a test",
    "seed": 1,
    "window": {"length": 4, "hop": 2},
    "method": {"type": "pca", "variance_share": 0.9},
    "calibration": {"false_alarms_per_day": 24.0},
    "alarm": {"on_delay_seconds": 1.0, "off_delay_seconds": 2.0},
    "card": CARD,
}
FILES = {
    "type": "files",
    "sample_rate_hz": 1.0,
    "source": "a test",
    "evenly_spaced": True,
    "signals": [{"name": "a", "unit": "1", "column": "A"}, {"name": "b", "unit": "1"}],
    "runs": [{"file": "data.csv"}],
    "blocks": {"fit": 0.5, "calibrate": 0.3, "test": 0.2},
    "delimiter": ";",
}


def recipe_file(folder: Path, data: dict, **changes) -> Path:
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({**BASE, "data": data, **changes}))
    return path
