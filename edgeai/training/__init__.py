"""Training of model packages (extra `train`): data, fit, calibration, figures, export."""

from edgeai.progress import Progress
from edgeai.training.anomaly.train import TrainingReport, train

__all__ = ["Progress", "TrainingReport", "train"]
