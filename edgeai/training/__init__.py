"""Training of model packages (extra `train`): data, fit, calibration, figures, export."""

import os
from typing import TYPE_CHECKING

from edgeai.exports import lazy
from edgeai.paths import default_state_folder, state_folder_warning

# torch creates a folder for compiled code, by default in the folder of temporary files, where it
# stays. Only where there is no state folder it is left there.
if state_folder_warning(default_state_folder()) is None:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(default_state_folder() / "torch"))

if TYPE_CHECKING:
    from edgeai.training.anomaly.train import TrainingReport as TrainingReport
    from edgeai.training.anomaly.train import train as train
    from edgeai.training.dispatch import train_recipe as train_recipe
    from edgeai.training.write import write_package as write_package

_MODULES = {
    "TrainingReport": "edgeai.training.anomaly.train",
    "train": "edgeai.training.anomaly.train",
    "train_recipe": "edgeai.training.dispatch",
    "write_package": "edgeai.training.write",
}
__all__ = ["TrainingReport", "train", "train_recipe", "write_package"]
__getattr__ = lazy(__name__, _MODULES)
