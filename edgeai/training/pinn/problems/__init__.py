"""Reference problems of the literature, solved with the kit; `measures` has their figures."""

from collections.abc import Callable, Mapping

from edgeai.training.pinn.problems import (
    burgers,
    diffusion_reaction,
    heat_multiscale,
    inverse_field,
    lorenz,
    tclab,
)
from edgeai.training.pinn.problems.reference import Arrays, Reference, Settings

PROBLEMS: Mapping[str, Callable[[Arrays, Settings], Reference]] = {
    "burgers": burgers.forward_problem,
    "burgers-inverse": burgers.inverse_problem,
    "heat-multiscale": heat_multiscale.problem,
    "poisson-inverse": inverse_field.poisson_problem,
    "heat-inverse": inverse_field.heat_problem,
    "lorenz": lorenz.problem,
    "diffusion-reaction": diffusion_reaction.problem,
    "tclab": tclab.whole_run,
    "tclab-predict": tclab.first_300_seconds,
}
"""By `problem` in a recipe, a function (arrays, settings) that returns the problem."""
