"""A dense autoencoder: what it cannot reproduce of a window, a healthy machine has not shown.

z (D,) = standardised window, D = W * C. Layers z -> h1 -> ... -> code -> ... -> z^, tanh between
them, none at the end. The error of channel c is weighed by its usual size on healthy data,

    score = 1/C sum_c ( 1/W sum_w (z_wc - z^_wc)^2 / s_c^2 ),

so that a healthy window scores about 1 and no noisy channel drowns a quiet one; s_c^2 is the mean
squared error of channel c on the held-out block. The part of channel c in the sum is its
contribution.

Sources: M. A. Kramer, "Nonlinear principal component analysis using autoassociative neural
networks", AIChE Journal 37 (1991) 233; D. P. Kingma, J. Ba, "Adam: a method for stochastic
optimization", ICLR 2015; L. Prechelt, "Early stopping - but when?", Neural Networks: Tricks of the
Trade (1998).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeai.progress import Progress
from edgeai.training.data.windows import Floats, Samples, scaling
from edgeai.training.determinism import deterministic

WEIGHT_SPREAD = 1.0
"""Xavier's gain for the nearly linear start of tanh."""


@dataclass(frozen=True, eq=False)
class AutoencoderModel:
    """Everything the graph of an autoencoder is made of.

    Attributes:
        length: Samples W in a window.
        mean: (C,), engineering units.
        scale: (C,), 1 / standard deviation.
        layers: (weight (in, out), bias (out,)) of each layer; the first in and last out are W*C.
        channel_weights: (C,), weight of a channel's squared error, 1 / (C W s_c²).
    """

    length: int
    mean: Floats
    scale: Floats
    layers: tuple[tuple[Floats, Floats], ...]
    channel_weights: Floats


@dataclass(frozen=True)
class FitSettings:
    """How the network is trained.

    Attributes:
        hidden: Sizes of the layers between input and output.
        epochs: Most passes over the data.
        patience: Stop after this many passes without a better held-out error.
        batch: Windows in a step.
        learning_rate: Of Adam at the start; it falls to a hundredth along a cosine.
        seed: Of weights and order.
    """

    hidden: Sequence[int]
    epochs: int
    patience: int
    batch: int
    learning_rate: float
    seed: int


def fit_autoencoder(
    windows: Samples, held_out: Samples, settings: FitSettings, progress: Progress
) -> tuple[AutoencoderModel, dict[str, float]]:
    """Fit a dense autoencoder to healthy windows.

    Deterministic: one thread, deterministic kernels, order and weights from the seed. torch's own
    settings are as before when this returns.

    Args:
        windows: (n, W, C) float32, engineering units.
        held_out: (m, W, C) float32, a later block: decides when to stop, and the channels' weights.
        settings: How to train.
        progress: Told after every epoch.

    Returns:
        The model of the best epoch, and `epochs`, `best_epoch`, `held_out_error` (mean squared
        error in standardised units).

    Raises:
        ConfigError: torch is not installed.
        ValueError: A channel is constant.
    """
    mean, scale = scaling(windows)
    with deterministic(settings.seed, purpose="method.type: autoencoder"):
        layers, facts = _descend(
            _standardised(windows, mean, scale),
            _standardised(held_out, mean, scale),
            settings,
            progress,
        )
    length, channels = windows.shape[1:]
    plain = AutoencoderModel(length, mean, scale, layers, np.ones(channels))
    errors = (_residuals(plain, held_out) ** 2).mean(axis=(0, 1))  # (C,)
    weights = 1.0 / (channels * length * np.maximum(errors, 1e-6))
    return AutoencoderModel(length, mean, scale, layers, weights), facts


def autoencoder_outputs(model: AutoencoderModel, windows: Samples) -> dict[str, Floats]:
    """The graph's outputs in float64: the reference that the graph is compared with.

    Args:
        model: The autoencoder.
        windows: (B, W, C) float32, engineering units.

    Returns:
        `score` (B,) and `contribution` (B, C), which sums to it.
    """
    contribution = (_residuals(model, windows) ** 2).sum(axis=1) * model.channel_weights
    return {"score": contribution.sum(axis=1), "contribution": contribution}


def _residuals(model: AutoencoderModel, windows: Samples) -> Floats:
    """(B, W, C), standardised units."""
    z = ((windows.astype(np.float64) - model.mean) * model.scale).reshape(len(windows), -1)
    values = z
    for index, (weight, bias) in enumerate(model.layers):
        values = values @ weight + bias
        if index < len(model.layers) - 1:
            values = np.tanh(values)
    residuals: Floats = (z - values).reshape(windows.shape)
    return residuals


def _standardised(windows: Samples, mean: Floats, scale: Floats) -> npt.NDArray[np.float32]:
    """(n, W*C) float32."""
    flat: npt.NDArray[np.float32] = (
        ((windows - mean) * scale).reshape(len(windows), -1).astype(np.float32)
    )
    return flat


def _descend(
    train: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    settings: FitSettings,
    progress: Progress,
) -> tuple[tuple[tuple[Floats, Floats], ...], dict[str, float]]:
    import torch

    sizes = [train.shape[1], *settings.hidden, train.shape[1]]
    parts: list[torch.nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layer = torch.nn.Linear(before, after)
        torch.nn.init.xavier_normal_(layer.weight, gain=WEIGHT_SPREAD)
        torch.nn.init.zeros_(layer.bias)
        parts += [layer, torch.nn.Tanh()]
    network = torch.nn.Sequential(*parts[:-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    # The data twice as torch sees it would cost its size again: from_numpy shares the memory.
    data, check = torch.from_numpy(train), torch.from_numpy(held_out)
    best, best_epoch, epoch = math.inf, 0, 0
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(1, settings.epochs + 1):
        share = (epoch - 1) / max(1, settings.epochs - 1)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (0.505 + 0.495 * math.cos(math.pi * share))
        order = torch.randperm(len(data))
        for start in range(0, len(data), settings.batch):
            rows = data[order[start : start + settings.batch]]
            optimiser.zero_grad()
            loss = torch.mean((network(rows) - rows) ** 2)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            error = float(torch.mean((network(check) - check) ** 2))
        progress("fit", epoch, settings.epochs, f"held-out error {error:.5f}")
        if error < best:
            best, best_epoch = error, epoch
            state = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= settings.patience:
            break
    arrays = [value.numpy().astype(np.float64) for value in state.values()]
    layers = tuple((weight.T, bias) for weight, bias in zip(arrays[::2], arrays[1::2], strict=True))
    facts = {"epochs": epoch, "best_epoch": best_epoch, "held_out_error": round(best, 6)}
    return layers, facts
