"""A dense autoencoder; the score is its reconstruction error, which is small on healthy data.

z (D,) is the standardised window, D = W * C. The layers are z -> h1 -> ... -> code -> ... -> z^,
with tanh after each layer except the last. The error of channel c is divided by its mean on healthy
data,

    score = 1/C sum_c ( 1/W sum_w (z_wc - z^_wc)^2 / s_c^2 ),

so that a healthy window scores about 1 and noisy channels do not dominate quiet ones; s_c^2 is the
mean squared error of channel c on the held-out block. The term of channel c is its contribution.

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

XAVIER_GAIN = 1.0  # tanh is nearly linear at the start of training


@dataclass(frozen=True, eq=False)
class AutoencoderModel:
    """The fitted parameters from which the graph is built.

    Attributes:
        length: Samples W in a window.
        mean: (C,), engineering units.
        scale: (C,), 1 / standard deviation.
        layers: (weight (in, out), bias (out,)) of each layer; first `in` and last `out` are W*C.
        channel_weights: (C,), weight of a channel's squared error, 1 / (C W s_c²).
    """

    length: int
    mean: Floats
    scale: Floats
    layers: tuple[tuple[Floats, Floats], ...]
    channel_weights: Floats


@dataclass(frozen=True)
class FitSettings:
    """Settings of the training.

    Attributes:
        hidden: Sizes of the layers between input and output.
        epochs: Largest number of passes over the data.
        patience: Stop after this many passes without a better held-out error.
        batch: Windows per optimiser step.
        learning_rate: Initial rate of Adam; a cosine schedule reduces it to a hundredth.
        seed: Random seed of the weights and of the order of windows.
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

    The result is deterministic: one thread, deterministic kernels, weights and order from the seed.
    torch's settings are restored before this returns.

    Args:
        windows: (n, W, C) float32, engineering units.
        held_out: (m, W, C) float32, a later block, for early stopping and channel weights.
        settings: Settings of the training.
        progress: Called after every epoch.

    Returns:
        The model of the best epoch, and `epochs`, `best_epoch`, `held_out_error` (mean squared
        error in standardised units).

    Raises:
        ConfigError: torch is not installed.
        ValueError: A channel is constant.
    """
    mean, scale = scaling(windows)
    with deterministic(settings.seed, purpose="method.type: autoencoder"):
        layers, facts = _train_network(
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
    """Compute the graph's outputs in float64, as the reference for the graph.

    Args:
        model: The autoencoder.
        windows: (B, W, C) float32, engineering units.

    Returns:
        `score` (B,) and `contribution` (B, C), which sums to it.
    """
    contribution = (_residuals(model, windows) ** 2).sum(axis=1) * model.channel_weights
    return {"score": contribution.sum(axis=1), "contribution": contribution}


def _residuals(model: AutoencoderModel, windows: Samples) -> Floats:
    """Return window minus reconstruction, (B, W, C), in standardised units."""
    z = ((windows.astype(np.float64) - model.mean) * model.scale).reshape(len(windows), -1)
    values = z
    for index, (weight, bias) in enumerate(model.layers):
        values = values @ weight + bias
        if index < len(model.layers) - 1:
            values = np.tanh(values)
    residuals: Floats = (z - values).reshape(windows.shape)
    return residuals


def _standardised(windows: Samples, mean: Floats, scale: Floats) -> npt.NDArray[np.float32]:
    """Return the standardised windows, flat: (n, W*C) float32."""
    flat: npt.NDArray[np.float32] = (
        ((windows - mean) * scale).reshape(len(windows), -1).astype(np.float32)
    )
    return flat


def _train_network(
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
        torch.nn.init.xavier_normal_(layer.weight, gain=XAVIER_GAIN)
        torch.nn.init.zeros_(layer.bias)
        parts += [layer, torch.nn.Tanh()]
    network = torch.nn.Sequential(*parts[:-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    # from_numpy shares the memory; a copy would double it.
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
