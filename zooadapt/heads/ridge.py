"""Ridge regression whose leave-one-out predictions are exact, over rows that stream from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zooadapt.backbone.rows import Rows, chosen
from zooadapt.tasks.codes import Codes


class Ridge:
    """Weighted ridge regression onto the codes of labels, with an unpenalised bias.

    One eigendecomposition of the smaller of the `n x n` and the `D x D` Gram matrix, in float64,
    serves every L2; memory does not grow with `n` beyond codes and weights once `n > D`. `mean`
    `(D,)` is that of the rows; `basis` `(D, r)` and `values` `(r,)` are the eigenvectors and the
    eigenvalues above 0 of the centred Gram matrix.
    """

    def __init__(self, rows: Rows, codes: Codes, weights: Tensor) -> None:
        """codes: of n samples; weights: `(n,)` float64, the mean of those above 0 is 1."""
        self._rows, self._codes = rows, codes
        self._weights, self._total = weights, float(weights.sum())
        self._target_mean = codes.mean(weights)
        dim = next(rows()).shape[1]
        if len(codes) <= dim:
            self._from_samples()
        else:
            self._from_dimensions(dim)
        self.mean_square = float(self.values.sum()) / self._total
        """Mean squared distance of a row from the mean row."""

    def solution(self, l2: float) -> tuple[Tensor, Tensor]:
        """`(K, D)` weight and `(K,)` bias, float64."""
        weight = (self.basis @ (self._moment / (self.values + l2)[:, None])).T
        return weight, self._target_mean - weight @ self.mean

    def held_out(
        self, l2s: Sequence[float], *, step: int = 1, groups: Tensor | None = None
    ) -> list[Tensor]:
        """For each L2, `(ceil(n / step), K)` predictions for every `step`-th sample by the solution
        without it: the residual over 1 - leverage (Allen 1974, PRESS). With `groups`, `(n,)`, by
        the solution without its whole group, exact as well."""
        count = -(-len(self._codes) // step)
        predictions = [torch.empty(count, self._codes.width, dtype=torch.float64) for _ in l2s]
        done = 0
        for x, y, w in self._chunks(step):
            inside = (x - self.mean) @ self.basis
            for l2, out in zip(l2s, predictions, strict=True):
                shrink = 1 / (self.values + l2)
                fitted = inside @ (shrink[:, None] * self._moment) + self._target_mean
                leverage = w * (inside.square() @ shrink + 1 / self._total)
                residual = (y - fitted) / (1 - leverage).clamp_min(_LEAST)[:, None]
                out[done : done + len(x)] = y - residual
            done += len(x)
        if groups is not None:
            for members in _groups_by_size(groups):
                sampled = members % step == 0
                if sampled.any():
                    self._predict_groups(members[sampled.any(1)], step, l2s, predictions)
        return predictions

    def _predict_groups(
        self, members: Tensor, step: int, l2s: Sequence[float], predictions: list[Tensor]
    ) -> None:
        """Write the predictions for the members, `(m, g)` positions of m groups: the block of
        residuals solved by the block of 1 - leverage; for groups larger than the number of
        directions, the normal equations less the group's part of them."""
        order = members.flatten().sort()
        x = chosen(self._rows, order.values.numpy()).double()
        inside = torch.empty(len(x), self.basis.shape[1], dtype=torch.float64)
        inside[order.indices] = (x - self.mean) @ self.basis
        inside = inside.view(*members.shape, -1)
        y, w = self._codes.rows(members), self._weights[members]
        sampled = members % step == 0
        for l2, out in zip(l2s, predictions, strict=True):
            shrink = 1 / (self.values + l2)
            if members.shape[1] <= len(self.values):
                fitted = inside @ (shrink[:, None] * self._moment) + self._target_mean
                block = -((inside * shrink) @ inside.mT + 1 / self._total) * w[:, None]
                block.diagonal(dim1=1, dim2=2).add_(1 + _ROUNDING).clamp_min_(_LEAST)
                predicted = y - torch.linalg.solve(block, y - fitted)
            else:
                rows = torch.cat([inside, torch.ones_like(w)[..., None]], 2)
                weighted = (rows * w[..., None]).mT
                total = torch.tensor([self._total], dtype=torch.float64)
                whole = torch.diag(torch.cat([self.values + l2, total]))
                moment = torch.cat([self._moment, self._total * self._target_mean[None]])
                rest = whole - weighted @ rows
                rest[:, -1, -1].clamp_min_(_LEAST)
                predicted = rows @ torch.linalg.solve(rest, moment - weighted @ y)
            out[members[sampled] // step] = predicted[sampled]

    def out_of_fold(self, l2s: Sequence[float], fold: Tensor, *, step: int = 1) -> list[Tensor]:
        """The same by the solution without the sample's whole fold, exact as well: the normal
        equations in the eigenbasis, less the fold's part of them. fold: `(n,)` from 0."""
        size = len(self.values) + 1
        count = int(fold.max()) + 1
        grams = torch.zeros(count, size, size, dtype=torch.float64)
        moments = torch.zeros(count, size, self._codes.width, dtype=torch.float64)
        for rows, y, w, numbers in self._folded(fold, 1):
            for number in torch.unique(numbers).tolist():
                inside = numbers == number
                weighted = rows[inside] * w[inside, None]
                grams[number].addmm_(weighted.T, rows[inside])
                moments[number].addmm_(weighted.T, y[inside])
        whole = torch.cat([self._moment, self._total * self._target_mean[None]]) - moments
        solutions = []
        for l2 in l2s:
            diagonal = torch.cat([self.values + l2, torch.tensor([self._total]).double()])
            solutions.append(torch.linalg.solve(torch.diag(diagonal) - grams, whole))
        predictions: list[list[Tensor]] = [[] for _ in l2s]
        for rows, y, _, numbers in self._folded(fold, step):
            for fitted, parts in zip(solutions, predictions, strict=True):
                predicted = torch.empty_like(y)
                for number in torch.unique(numbers).tolist():
                    predicted[numbers == number] = rows[numbers == number] @ fitted[number]
                parts.append(predicted)
        return [torch.cat(parts) for parts in predictions]

    def _folded(self, fold: Tensor, step: int) -> Iterator[tuple[Tensor, ...]]:
        """Rows in the eigenbasis, with a 1 for the bias; their targets, weights and folds."""
        start = 0
        for x, y, w in self._chunks(step):
            inside = (x - self.mean) @ self.basis
            numbers = fold[::step][start : start + len(x)]
            start += len(x)
            yield torch.cat([inside, torch.ones_like(w)[:, None]], 1), y, w, numbers

    def _from_samples(self) -> None:
        x = torch.cat([part.double() for part in self._rows()])
        y, root = self._codes.rows(torch.arange(len(x))), self._weights.sqrt()[:, None]
        self.mean = self._weights @ x / self._total
        rows = (x - self.mean) * root
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        keep = _significant(values)
        self.values, vectors = values[keep], vectors[:, keep]
        self.basis = rows.T @ (vectors / self.values.sqrt())
        self._moment = (vectors * self.values.sqrt()).T @ ((y - self._target_mean) * root)

    def _from_dimensions(self, dim: int) -> None:
        gram = torch.zeros(dim, dim, dtype=torch.float64)
        sums = self._codes.new_moment(dim)
        for x, positions in self._parts():
            weighted = x * self._weights[positions, None]
            gram.addmm_(weighted.T, x)
            self._codes.add(sums, weighted, positions)
        first = self._codes.total(sums)
        moment = self._codes.moment(sums, first)
        self.mean = first / self._total
        values, vectors = torch.linalg.eigh(gram - torch.outer(first, self.mean))
        keep = _significant(values)
        self.values, self.basis = values[keep], vectors[:, keep]
        self._moment = self.basis.T @ (moment - torch.outer(first, self._target_mean))

    def _chunks(self, step: int = 1) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for x, positions in self._parts(step):
            yield x, self._codes.rows(positions), self._weights[positions]

    def _parts(self, step: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Every `step`-th row, and the positions of these rows."""
        start = 0
        for part in self._rows():
            positions = torch.arange(-(-start // step) * step, start + len(part), step)
            if len(positions):
                yield part[positions - start].double(), positions
            start += len(part)


_LEAST = 1e-9
"""Of a divisor, where no sample is left to fit."""
_ROUNDING = 1e-12
_CHUNK = 8192
"""Members of groups whose rows are read at once."""


def _groups_by_size(groups: Tensor) -> Iterator[Tensor]:
    """`(m, g)` positions of the members of m groups of g samples, for every g above 1."""
    order = torch.sort(groups, stable=True).indices
    sizes = torch.unique_consecutive(groups[order], return_counts=True)[1]
    parts = torch.split(order, sizes.tolist())
    for size in torch.unique(sizes).tolist():
        if size > 1:
            members = torch.stack([part for part in parts if len(part) == size])
            yield from torch.split(members, max(1, _CHUNK // size))


def _significant(values: Tensor) -> Tensor:
    return values > values.max().clamp_min(1e-30) * 1e-12
