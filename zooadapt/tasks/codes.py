"""The targets of ridge regression, dense or of one column a sample."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Codes(Protocol):
    """`(n, K)` targets of n samples, in float64."""

    @property
    def width(self) -> int:
        """K."""
        ...

    def __len__(self) -> int: ...

    def mean(self, weights: Tensor) -> Tensor:
        """`(K,)` by `(n,)` weights."""
        ...

    def rows(self, positions: Tensor) -> Tensor:
        """`(…, K)` targets of the samples at these positions."""
        ...

    def new_moment(self, dim: int) -> Tensor:
        """Sums for `add`."""
        ...

    def add(self, sums: Tensor, weighted: Tensor, positions: Tensor) -> None:
        """Add `(m, D)` weighted features, and their products with the targets, to the sums."""
        ...

    def total(self, sums: Tensor) -> Tensor:
        """`(D,)` the sum of the weighted features."""
        ...

    def moment(self, sums: Tensor, total: Tensor) -> Tensor:
        """`(D, K)` the products of all features and targets."""
        ...


class OneHot:
    """1 for the class of a sample and -1 for the others, never held as a whole."""

    def __init__(self, labels: Tensor, width: int) -> None:
        """labels: `(n,)` int64."""
        self._labels, self.width = labels, width

    def __len__(self) -> int:
        return len(self._labels)

    def mean(self, weights: Tensor) -> Tensor:
        shares = torch.bincount(self._labels, weights, minlength=self.width)
        return 2 * (shares / float(weights.sum())) - 1

    def rows(self, positions: Tensor) -> Tensor:
        return nn.functional.one_hot(self._labels[positions], self.width).double() * 2 - 1

    def new_moment(self, dim: int) -> Tensor:
        return torch.zeros(self.width, dim, dtype=torch.float64)

    def add(self, sums: Tensor, weighted: Tensor, positions: Tensor) -> None:
        sums.index_add_(0, self._labels[positions], weighted)

    def total(self, sums: Tensor) -> Tensor:
        return sums.sum(0)

    def moment(self, sums: Tensor, total: Tensor) -> Tensor:
        return 2 * sums.T - total[:, None]


class Dense:
    """Any numbers."""

    def __init__(self, targets: Tensor) -> None:
        """targets: `(n, K)`."""
        self._targets, self.width = targets.double(), targets.shape[1]

    def __len__(self) -> int:
        return len(self._targets)

    def mean(self, weights: Tensor) -> Tensor:
        return weights @ self._targets / float(weights.sum())

    def rows(self, positions: Tensor) -> Tensor:
        return self._targets[positions]

    def new_moment(self, dim: int) -> Tensor:
        return torch.zeros(dim, self.width + 1, dtype=torch.float64)

    def add(self, sums: Tensor, weighted: Tensor, positions: Tensor) -> None:
        sums[:, :-1].addmm_(weighted.T, self._targets[positions])
        sums[:, -1] += weighted.sum(0)

    def total(self, sums: Tensor) -> Tensor:
        return sums[:, -1]

    def moment(self, sums: Tensor, total: Tensor) -> Tensor:
        return sums[:, :-1]
