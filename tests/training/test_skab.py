"""SKAB, offline: the product's graphs on ONNX Runtime give the figures of the leaderboard.

`end_to_end/test_skab.py`, a test of the system, has them as packages of a running node.
"""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra train")

from edgeai.providers.scorer import Scorer
from edgeai.training.anomaly.pca_graph import pca_graph
from edgeai.training.data.windows import windows_of
from tests.support import skab

pytestmark = [
    pytest.mark.data,
    pytest.mark.train,
    pytest.mark.skipif(not skab.DATA.is_dir(), reason=f"no test data at {skab.DATA}"),
]


def counts(rule: str) -> np.ndarray:
    """True positives, false positives, false negatives, true negatives over the 34 files."""
    total = np.zeros(4, int)
    for path in skab.files():
        table = skab.read(path)
        graph = pca_graph(skab.model_of(table.values, rule)).SerializeToString()
        test = table.values[skab.TRAIN_ROWS :].astype(np.float32)
        windows = windows_of(test, skab.WINDOW, 1)
        score = Scorer(graph).outputs(windows)["score"]
        # The first 4 test rows have no window, so no alarm.
        found = np.concatenate([np.zeros(skab.WINDOW - 1, bool), score > skab.THRESHOLD])
        truth = table.anomaly[skab.TRAIN_ROWS :]
        pairs = ((truth, found), (~truth, found), (truth, ~found), (~truth, ~found))
        total += [int((a & b).sum()) for a, b in pairs]
    return total


@pytest.mark.parametrize(
    ("rule", "digits"),
    [("t2", ("0.6598", "19.21", "42.60")), ("t2q", ("0.7581", "26.62", "24.92"))],
)
def test_the_published_digits(rule, digits):
    assert len(skab.files()) == 34
    tp, fp, fn, tn = counts(rule)
    f1, far, mar = tp / (tp + (fn + fp) / 2), 100 * fp / (fp + tn), 100 * fn / (fn + tp)
    assert (f"{f1:.4f}", f"{far:.2f}", f"{mar:.2f}") == digits
