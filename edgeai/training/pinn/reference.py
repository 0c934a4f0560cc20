"""Train a reference problem from its recipe: fit, verified ONNX file, facts of the training."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeai.errors import ConfigError, ModelError, Problem
from edgeai.paths import naming_failures
from edgeai.progress import Progress, silent
from edgeai.runtime_build import library_versions
from edgeai.training.determinism import deterministic
from edgeai.training.extra import library
from edgeai.training.pinn.arrays import read_arrays
from edgeai.training.pinn.recipe import load_reference_recipe

NETWORK, FACTS, CHECKPOINT = "network.onnx", "facts.json", ".checkpoint.pt"
VERSIONS = ("numpy", "onnx", "onnxruntime", "torch")


@dataclass(frozen=True)
class ReferenceReport:
    """The result of a training.

    Attributes:
        folder: Folder of `network.onnx` and `facts.json`.
        facts: Content of `facts.json`.
    """

    folder: Path
    facts: dict[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.facts['problem']}: {self.facts['weights']} weights, loss "
            f"{self.facts['loss']:.3g}, {self.facts['seconds']:.0f} s, in {self.folder}"
        )


def train_reference(
    recipe_path: Path, output_folder: Path | None = None, progress: Progress = silent
) -> ReferenceReport:
    """Train a reference problem and write `network.onnx` and `facts.json`.

    A run that was killed continues from its checkpoint in the same folder.

    Args:
        recipe_path: The file train.yaml.
        output_folder: Where the files are written; None: the recipe's folder.
        progress: Called after every step.

    Raises:
        ConfigError: The recipe or its data breaks a rule, or the extra `train` is not installed.
        ModelError: The fit is stuck, or the graph does not agree with float64.
    """
    recipe = load_reference_recipe(recipe_path)
    torch = library("torch", "kind: pinn-reference")
    from edgeai.training.pinn.fitting import fit
    from edgeai.training.pinn.onnx_export import export
    from edgeai.training.pinn.problems import PROBLEMS
    from edgeai.training.pinn.problems.reference import Settings

    if recipe.problem not in PROBLEMS:
        rule = f"must be one of {', '.join(PROBLEMS)}"
        problem = Problem(str(recipe_path), "problem", rule, recipe.problem, has_value=True)
        raise ConfigError([problem])
    folder = output_folder or recipe_path.resolve().parent
    with naming_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    arrays = {} if recipe.data is None else read_arrays(recipe_path.parent / recipe.data)
    default = torch.get_default_dtype()
    with deterministic(recipe.seed):
        torch.set_default_dtype(torch.float64)
        try:  # the problem draws the initial weights, from the seed
            settings = Settings(recipe.hidden, recipe.points, recipe.seed, recipe.known)
            reference = PROBLEMS[recipe.problem](arrays, settings)
        finally:
            torch.set_default_dtype(default)
    fitted = fit(
        reference.module,
        reference.terms,
        recipe.stages,
        seed=recipe.seed,
        progress=progress,
        checkpoint=folder / CHECKPOINT,
    )
    if not fitted.losses[-1][2] <= recipe.largest_loss:
        (folder / CHECKPOINT).unlink(missing_ok=True)
        rule = (
            f"the fit is stuck: the loss must be at most {recipe.largest_loss:g}; try another seed"
        )
        raise ModelError(str(recipe_path), rule, fitted.losses[-1][2])
    probe = {"points": reference.probe()}
    exported = export(reference.module, probe, name=recipe.problem, scales=reference.scales)
    data = exported.model.SerializeToString(deterministic=True)
    facts = {
        "problem": recipe.problem,
        "seed": recipe.seed,
        "weights": sum(p.numel() for p in reference.module.parameters()),
        "loss": fitted.losses[-1][2],
        "mean_squares": fitted.terms,
        "factors": fitted.factors,
        "float64_error": dict(exported.errors),
        "nodes": exported.nodes,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "seconds": round(fitted.seconds, 1),
        "versions": library_versions(VERSIONS),
    }
    for name, content in ((NETWORK, data), (FACTS, f"{json.dumps(facts, indent=2)}\n".encode())):
        with naming_failures(folder / name):
            (folder / name).write_bytes(content)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return ReferenceReport(folder, facts)
