"""Fit a network to its terms: Adam, L-BFGS and Gauss-Newton in stages, resumable after kill -9.

A run that was killed goes on from its checkpoint and ends with the same bits as one that was not:
weights, optimiser, points, balance and place are in the file, and every draw has its own generator
from (seed, stage, round).
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Generator, nn

from edgeai.errors import ConfigError, Problem
from edgeai.progress import Progress, silent
from edgeai.training.determinism import deterministic
from edgeai.training.pinn.descents import DESCENTS, Descent, NewtonDescent
from edgeai.training.pinn.evidence import prior_factor
from edgeai.training.pinn.loss import Points, Term, balanced, mean_squares
from edgeai.training.pinn.stages import Adam, Lbfgs, Newton

CHECKPOINT_SECONDS = 20.0
Stage = Adam | Lbfgs | Newton


@dataclass
class Place:
    """Where a run is.

    Attributes:
        stage: Index of the stage.
        step: Steps of it that are done.
        losses: (stage, step, loss), thinned.
        factors: By term, from balancing or from the evidence.
        recent: Losses since the last draw of points.
        seconds: Of all processes that worked on it.
    """

    stage: int = 0
    step: int = 0
    losses: list[tuple[int, int, float]] = field(default_factory=list)
    factors: dict[str, float] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Fit:
    """What a fit reached.

    Attributes:
        losses: (stage, step, loss), thinned.
        terms: Mean square of each term's residual at the end, on the last points.
        factors: By term, what its weight was multiplied by in the end.
        seconds: Of all processes that worked on it.
    """

    losses: list[tuple[int, int, float]]
    terms: dict[str, float]
    factors: dict[str, float]
    seconds: float


def fit(
    module: nn.Module,
    terms: Sequence[Term],
    stages: Sequence[Stage],
    *,
    seed: int,
    progress: Progress = silent,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    threads: int = 1,
) -> Fit:
    """Fit a module in place.

    Args:
        module: The network with its physical parameters.
        terms: What it must fulfil; names differ.
        stages: One after the other.
        seed: Of the points drawn. Weights are drawn by the caller.
        progress: Told after every step.
        checkpoint: File to go on from if it exists, written again and again, removed by nobody.
        checkpoint_seconds: Between two writes.
        threads: Of torch. The same number gives the same bits on the same machine.

    Raises:
        ConfigError: The checkpoint belongs to another run.
        ValueError: Two terms share a name, or a stage names one that does not exist.
    """
    if len({term.name for term in terms}) != len(terms):
        raise ValueError("two terms share a name")
    unknown = {name for stage in stages for name in stage.terms or ()} - {t.name for t in terms}
    if unknown:
        raise ValueError(f"a stage names terms that do not exist: {', '.join(sorted(unknown))}")
    with deterministic(seed, threads):
        run = _Run(module, terms, stages, seed, progress)
        if checkpoint is not None and checkpoint.exists():
            run.resume(checkpoint)
        saved = time.monotonic()
        while run.advance():
            if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
                run.save(checkpoint)
                saved = time.monotonic()
        if checkpoint is not None:
            run.save(checkpoint)
        final = {k: float(v.detach()) for k, v in mean_squares(module, terms, run.points).items()}
    return Fit(run.place.losses, final, run.place.factors, run.place.seconds)


class _Run:
    """One fit under way."""

    def __init__(
        self,
        module: nn.Module,
        terms: Sequence[Term],
        stages: Sequence[Stage],
        seed: int,
        progress: Progress,
    ) -> None:
        self.module, self.terms, self.stages = module, terms, stages
        self.seed, self.progress = seed, progress
        self.place = Place()
        self.points: dict[str, Points] = {}
        self._descent: Descent | None = None

    def advance(self) -> bool:
        """Take one step; False when all stages are done."""
        place = self.place
        started = time.perf_counter()
        if place.stage >= len(self.stages):
            if not self.points:
                self._draw(0)
            return False
        stage = self.stages[place.stage]
        if self._descent is None:
            self._descent = self._start(stage)
        every = stage.redraw_every
        if place.step == 0 or (every and place.step % every == 0):
            self._draw(place.step // every if every else 0)
            place.recent = []
        if (
            isinstance(stage, Adam)
            and stage.balance_every
            and place.step % stage.balance_every == 0
        ):
            place.factors = balanced(self.module, self._terms_of(stage), self.points, place.factors)
        weigh = stage.weigh if isinstance(stage, Newton) else None
        if weigh is not None and place.step and place.step % weigh.every == 0:
            factor = prior_factor(
                self.module,
                self._terms_of(stage),
                self.points,
                place.factors,
                prior=weigh.prior,
                data=weigh.data,
            )
            place.factors = {**place.factors, weigh.prior: factor}
            place.recent = []  # losses with other weights say nothing of the gain
        loss = self._descent.step(self.points, place.factors)
        place.step += 1
        place.recent.append(loss)
        if place.step % max(1, stage.steps // 200) == 0 or place.step == stage.steps:
            place.losses.append((place.stage, place.step, loss))
        self.progress(
            f"{place.stage + 1} {stage.type}", place.step, stage.steps, f"loss {loss:.3e}"
        )
        if place.step >= stage.steps or self._done(stage):
            place.stage, place.step, place.recent, self._descent = place.stage + 1, 0, [], None
        place.seconds += time.perf_counter() - started
        return True

    def _terms_of(self, stage: Stage) -> list[Term]:
        return [term for term in self.terms if stage.terms is None or term.name in stage.terms]

    def _start(self, stage: Stage) -> Descent:
        descent: Descent = DESCENTS[type(stage)](self.module, self._terms_of(stage), stage)
        return descent

    def _draw(self, number: int) -> None:
        generator = Generator()
        generator.manual_seed(self.seed * 1_000_003 + self.place.stage * 100_003 + number)
        self.points = {term.name: term.draw(self.module, generator) for term in self.terms}

    def _done(self, stage: Stage) -> bool:
        """Whether a Gauss-Newton stage has nothing left to gain."""
        if not isinstance(stage, Newton) or stage.redraw_every:
            return False
        recent = self.place.recent
        stuck = isinstance(self._descent, NewtonDescent) and self._descent.stuck
        return stuck or (len(recent) > 10 and recent[-1] > (1.0 - stage.enough) * recent[-11])

    def _key(self) -> str:
        stages = [stage.model_dump() for stage in self.stages]
        shapes = [(name, tuple(p.shape)) for name, p in self.module.state_dict().items()]
        names = [(term.name, term.weight) for term in self.terms]
        return repr((self.seed, stages, shapes, names))

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "key": self._key(),
            "place": asdict(self.place),
            "module": self.module.state_dict(),
            "points": self.points,
            "descent": None if self._descent is None else self._descent.state_dict(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.part")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same run."""
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:
            rule = f"is no checkpoint that can be read ({type(error).__name__}): remove it"
            raise ConfigError([Problem(str(path), "", rule)]) from error
        if state["key"] != self._key():
            rule = "belongs to another run (recipe, seed or network changed): remove it"
            raise ConfigError([Problem(str(path), "", rule)])
        self.module.load_state_dict(state["module"])
        self.place = Place(**state["place"])
        self.points = {name: tuple(points) for name, points in state["points"].items()}
        if state["descent"] is not None:
            stage = self.stages[self.place.stage]
            self._descent = self._start(stage)
            self._descent.load_state_dict(state["descent"])
