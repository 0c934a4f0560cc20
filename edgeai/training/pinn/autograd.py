"""Derivatives of any torch network by nested autograd, with the face of a jet.

For a network of one's own that is not made of Taylor layers. An equation written against `.value`
and `.d(...)` takes a jet or this alike; `export` traces either.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class AutogradField:
    """A field of points, differentiated on demand.

    Args:
        value: (..., N, 1) or (N, 1), of which every row depends on its own point alone.
        points: (..., N, d) that require a gradient, engineering units.
        names: Of the columns of `points`.
    """

    def __init__(self, value: Tensor, points: Tensor, names: Sequence[str]) -> None:
        self.value = value
        self._points = points
        self._names = tuple(names)
        self._gradients: dict[tuple[str, ...], Tensor] = {}

    def d(self, *coordinates: str) -> Tensor:
        """Return d value / d coordinates, the shape of the value; any order of derivative.

        Raises:
            ValueError: No column has such a name.
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
            # The sum over points has each point's gradient: a row depends on its own point alone.
            (found,) = torch.autograd.grad(
                inner.sum(), self._points, create_graph=True, allow_unused=True
            )
            self._gradients[key] = torch.zeros_like(self._points) if found is None else found
        return self._gradients[key]
