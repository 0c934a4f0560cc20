"""Fit a network to the terms of its loss: Adam, L-BFGS and Gauss-Newton in stages, resumable.

A run that was killed continues from its checkpoint and ends with the same bits as an undisturbed
run: the checkpoint holds weights, optimiser, points, factors and position, and every draw of points
has its own generator, seeded from (seed, stage, round).
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

CHECKPOINT_SECONDS = 20.0  # between two checkpoints
Stage = Adam | Lbfgs | Newton


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        stage: Index of the stage.
        step: Steps done in this stage.
        losses: (stage, step, loss), at most about 200 a stage.
        factors: Factor of each term's weight, from balancing or from the evidence.
        recent: Losses since the points were last drawn.
        seconds: Computing time of all processes that worked on the run.
    """

    stage: int = 0
    step: int = 0
    losses: list[tuple[int, int, float]] = field(default_factory=list)
    factors: dict[str, float] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes:
        losses: (stage, step, loss), at most about 200 a stage.
        terms: Mean square of each term's residual at the end, at the last points.
        factors: Last factor of each term's weight.
        seconds: Computing time of all processes that worked on the fit.
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
    """Fit a module in position.

    Args:
        module: The network with its physical parameters.
        terms: Terms of the loss; their names must differ.
        stages: Optimisers, applied one after the other.
        seed: Seed of the points. The caller has initialised the weights.
        progress: Called after every step.
        checkpoint: File to resume from if it exists. It is written during the fit and at its end;
            the caller removes it.
        checkpoint_seconds: Time between two checkpoints.
        threads: Threads of torch. The same number gives the same bits on the same machine.

    Raises:
        ConfigError: The checkpoint cannot be read or belongs to another run.
        ValueError: Two terms share a name, or a stage names a term that does not exist.
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
    return Fit(run.position.losses, final, run.position.factors, run.position.seconds)


class _Run:
    """A running fit."""

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
        self.position = Position()
        self.points: dict[str, Points] = {}
        self._descent: Descent | None = None

    def advance(self) -> bool:
        """Take one step; return False when all stages are done."""
        here = self.position
        started = time.perf_counter()
        if here.stage >= len(self.stages):
            if not self.points:
                self._draw(0)
            return False
        stage = self.stages[here.stage]
        if self._descent is None:
            self._descent = self._start(stage)
        every = stage.redraw_every
        if here.step == 0 or (every and here.step % every == 0):
            self._draw(here.step // every if every else 0)
            here.recent = []
        if isinstance(stage, Adam) and stage.balance_every and here.step % stage.balance_every == 0:
            here.factors = balanced(self.module, self._terms_of(stage), self.points, here.factors)
        weigh = stage.weigh if isinstance(stage, Newton) else None
        if weigh is not None and here.step and here.step % weigh.every == 0:
            factor = prior_factor(
                self.module,
                self._terms_of(stage),
                self.points,
                here.factors,
                prior=weigh.prior,
                data=weigh.data,
            )
            here.factors = {**here.factors, weigh.prior: factor}
            here.recent = []  # losses with different weights cannot be compared
        loss = self._descent.step(self.points, here.factors)
        here.step += 1
        here.recent.append(loss)
        if here.step % max(1, stage.steps // 200) == 0 or here.step == stage.steps:
            here.losses.append((here.stage, here.step, loss))
        self.progress(f"{here.stage + 1} {stage.type}", here.step, stage.steps, f"loss {loss:.3e}")
        if here.step >= stage.steps or self._done(stage):
            here.stage, here.step, here.recent = here.stage + 1, 0, []
            self._descent = None
        here.seconds += time.perf_counter() - started
        return True

    def _terms_of(self, stage: Stage) -> list[Term]:
        return [term for term in self.terms if stage.terms is None or term.name in stage.terms]

    def _start(self, stage: Stage) -> Descent:
        descent: Descent = DESCENTS[type(stage)](self.module, self._terms_of(stage), stage)
        return descent

    def _draw(self, number: int) -> None:
        generator = Generator()
        generator.manual_seed(self.seed * 1_000_003 + self.position.stage * 100_003 + number)
        self.points = {term.name: term.draw(self.module, generator) for term in self.terms}

    def _done(self, stage: Stage) -> bool:
        """Whether a Gauss-Newton stage has converged."""
        if not isinstance(stage, Newton) or stage.redraw_every:
            return False
        recent = self.position.recent
        stuck = isinstance(self._descent, NewtonDescent) and self._descent.stuck
        return stuck or (len(recent) > 10 and recent[-1] > (1.0 - stage.enough) * recent[-11])

    def _key(self) -> str:
        stages = [stage.model_dump() for stage in self.stages]
        shapes = [(name, tuple(p.shape)) for name, p in self.module.state_dict().items()]
        names = [(term.name, term.weight) for term in self.terms]
        return repr((self.seed, stages, shapes, names))

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically."""
        state = {
            "key": self._key(),
            "place": asdict(self.position),
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
        """Restore the state from a checkpoint of the same run."""
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:
            rule = f"the checkpoint cannot be read ({type(error).__name__}): remove it"
            raise ConfigError([Problem(str(path), "", rule)]) from error
        if state["key"] != self._key():
            rule = "the checkpoint belongs to another recipe, seed or network: remove it"
            raise ConfigError([Problem(str(path), "", rule)])
        self.module.load_state_dict(state["module"])
        self.position = Position(**state["place"])
        self.points = {name: tuple(points) for name, points in state["points"].items()}
        if state["descent"] is not None:
            stage = self.stages[self.position.stage]
            self._descent = self._start(stage)
            self._descent.load_state_dict(state["descent"])
