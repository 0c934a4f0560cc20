"""Derivatives of any torch network by nested autograd, with the interface of a jet.

For networks that are not made of Taylor layers (`jets`). An equation that uses `.value` and
`.d(...)` works with a `Jet` and with an `AutogradField`; `export` traces both.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class AutogradField:
    """A field at points; derivatives are computed when they are asked for.

    Args:
        value: (..., N, 1) or (N, 1); each row depends on its own point only.
        points: (..., N, d) in engineering units; must require a gradient.
        names: Names of the columns of `points`.
    """

    def __init__(self, value: Tensor, points: Tensor, names: Sequence[str]) -> None:
        self.value = value
        self._points = points
        self._names = tuple(names)
        self._gradients: dict[tuple[str, ...], Tensor] = {}

    def d(self, *coordinates: str) -> Tensor:
        """Return the derivative of any order, in the shape of the value.

        Raises:
            ValueError: No column has that name.
        """
        unknown = set(coordinates) - set(self._names)
        if unknown or not coordinates:
            raise ValueError(f"expected names among {self._names}, got {coordinates}")
        key = tuple(sorted(coordinates))
        column = self._names.index(key[-1])
        inner = self.value if len(key) == 1 else self.d(*key[:-1])
        return self._gradient(key[:-1], inner)[..., column : column + 1]

    def _gradient(self, key: tuple[str, ...], inner: Tensor) -> Tensor:
        if key not in self._gradients and not inner.requires_grad:
            self._gradients[key] = torch.zeros_like(self._points)
        if key not in self._gradients:
            # A row depends on its own point only, so the gradient of the sum holds every row's.
            (found,) = torch.autograd.grad(
                inner.sum(), self._points, create_graph=True, allow_unused=True
            )
            self._gradients[key] = torch.zeros_like(self._points) if found is None else found
        return self._gradients[key]
