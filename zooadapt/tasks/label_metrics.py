"""Mean average precision and F1 of labels of which a sample has several, each with its
uncertainty, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zooadapt.errors import DataError
from zooadapt.tasks.metrics import Calibration, calibration, wilson

Interval = tuple[float, float]
_NORMAL = 1.959964
_DRAWS, _LEAST_DRAWS = 400, 50
"""Of a bootstrap, of which the standard deviation is taken: 400 tell it to within 4 %."""
_PREDICTIONS_DRAWN = 2_000_000


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """The scores of one label; None where the samples cannot tell one."""

    label: str
    n: int
    """Samples that have it."""
    prevalence: float
    threshold: float
    average_precision: float | None
    average_precision_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None
    f1: float | None
    f1_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """The scores of a model on `n` samples, each of which has any number of labels. Intervals are
    95 % bootstrap intervals over samples (Efron 1979); those of the precision and recall of a label
    are Wilson's."""

    n: int
    mean_average_precision: float
    """Over the labels that occur."""
    interval: Interval
    micro_f1: float
    micro_f1_interval: Interval
    macro_f1: float
    """Over the labels that occur in the samples or the predictions."""
    macro_f1_interval: Interval
    calibration: Calibration
    """Of the probabilities of all labels together."""
    labels: tuple[LabelScores, ...]

    def summary(self) -> dict[str, Any]:
        return {
            "map": self.mean_average_precision,
            "map_interval": list(self.interval),
            "micro_f1": self.micro_f1,
            "micro_f1_interval": list(self.micro_f1_interval),
            "macro_f1": self.macro_f1,
            "macro_f1_interval": list(self.macro_f1_interval),
            "n": self.n,
            "ece": self.calibration.error,
            "ece_by_chance": self.calibration.by_chance,
        }

    def details(self) -> dict[str, Any]:
        return {"labels": [asdict(one) for one in self.labels]}


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    thresholds: np.ndarray,
    *,
    distinct: int | None = None,
) -> LabelMetrics:
    """Metrics of `(R * n, L)` probabilities against `(n, L)` labels, every sample R times over;
    intervals are those of n samples, or of `distinct` ones where some are duplicates.

    Raises: DataError where no sample has a label.
    """
    if not labels.any():
        raise DataError(
            "no sample that is measured on has a label",
            thing="labels",
            remedy="measure on samples of which some have one",
        )
    n, times = len(labels), len(probabilities) // len(labels)
    distinct = n if distinct is None else distinct
    whole, said = np.tile(labels, (times, 1)), probabilities >= thresholds
    hits = (said & (whole > 0)).reshape(times, n, -1).sum(0)
    claims = said.reshape(times, n, -1).sum(0)
    drawn = _drawn(n, distinct, probabilities.size)
    weights = np.tile(drawn, (1, times))
    once = np.ones((1, len(whole)))
    pairs = list(zip(probabilities.T, whole.T, strict=True))
    precisions = np.array([average_precision(*pair, once)[0] for pair in pairs])
    redrawn = np.stack([average_precision(*pair, weights) for pair in pairs], axis=1)
    f1 = _f1(hits.sum(0), claims.sum(0), times * labels.sum(0))
    redrawn_f1 = _f1(drawn @ hits, drawn @ claims, times * (drawn @ labels))
    micro = _f1(hits.sum(), claims.sum(), times * labels.sum())
    redrawn_micro = _f1(
        (drawn @ hits).sum(1), (drawn @ claims).sum(1), times * (drawn @ labels).sum(1)
    )
    found_all = wilson(distinct, distinct)

    def interval(score: float, draws: np.ndarray) -> Interval:
        spread = float(np.nanstd(draws))
        if not spread:  # a bootstrap of samples without an error has none, however few they are
            return (found_all[0], score) if score == 1 else (score, score)
        half = _NORMAL * spread
        return max(0.0, score - half), min(1.0, score + half)

    with np.errstate(invalid="ignore"):
        mean, redrawn_mean = float(np.nanmean(precisions)), _means(redrawn)
        macro, redrawn_macro = float(np.nanmean(f1)), _means(redrawn_f1)
    share = distinct / (n * times)
    return LabelMetrics(
        n=n,
        mean_average_precision=mean,
        interval=interval(mean, redrawn_mean),
        micro_f1=float(micro),
        micro_f1_interval=interval(float(micro), redrawn_micro),
        macro_f1=macro,
        macro_f1_interval=interval(macro, redrawn_macro),
        calibration=calibration(probabilities.ravel(), whole.ravel() > 0),
        labels=tuple(
            LabelScores(
                label=name,
                n=int(labels[:, k].sum()),
                prevalence=float(labels[:, k].mean()),
                threshold=float(thresholds[k]),
                average_precision=_known(precisions[k]),
                average_precision_interval=None
                if np.isnan(precisions[k])
                else interval(float(precisions[k]), redrawn[:, k]),
                **_proportion("precision", hits[:, k].sum(), claims[:, k].sum(), share),
                **_proportion("recall", hits[:, k].sum(), times * labels[:, k].sum(), share),
                f1=_known(f1[k]),
                f1_interval=None if np.isnan(f1[k]) else interval(float(f1[k]), redrawn_f1[:, k]),
            )
            for k, name in enumerate(names)
        ),
    )


def average_precision(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """`(d,)` average precision of one label's `(m,)` probabilities, as scikit-learn defines it:
    samples of equal probability are ranked together. weights: `(d, m)` of the samples, for each of
    d drawings; nan where none of the weight is on a sample that has the label."""
    order = np.argsort(-probabilities, kind="stable")
    ends = np.flatnonzero(np.diff(probabilities[order], append=-1.0))
    ranked = weights[:, order]
    hits = np.cumsum(ranked * (truth[order] > 0), axis=1)[:, ends]
    claims = np.cumsum(ranked, axis=1)[:, ends]
    precision = hits / np.maximum(claims, 1e-12)
    with np.errstate(invalid="ignore"):
        gained = np.diff(hits, axis=1, prepend=0.0) * precision
        return np.asarray(gained.sum(1) / hits[:, -1])


def mean_average_precision(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean average precision over the labels that occur; 0 where none does."""
    occurs = np.flatnonzero(labels.any(0))
    once = np.ones((1, len(labels)))
    each = [float(average_precision(probabilities[:, k], labels[:, k], once)[0]) for k in occurs]
    return float(np.mean(each)) if each else 0.0


def _drawn(n: int, distinct: int, predictions: int) -> np.ndarray:
    """`(d, n)` how often each sample is in each of d drawings of `distinct` samples."""
    draws = int(np.clip(_PREDICTIONS_DRAWN // predictions, _LEAST_DRAWS, _DRAWS))
    rng = np.random.default_rng(0xB007)
    return rng.multinomial(distinct, np.full(n, 1 / n), size=draws).astype(float)


def _f1(hits: Any, claims: Any, true: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return 2 * hits / (claims + true)


def _means(each: np.ndarray) -> np.ndarray:
    """`(d,)` means over the labels that have a score in a drawing."""
    scored = ~np.isnan(each)
    return np.asarray(np.where(scored, each, 0.0).sum(1) / np.maximum(scored.sum(1), 1))


def _known(score: float) -> float | None:
    return None if np.isnan(score) else float(score)


def _proportion(name: str, right: int, of: int, share: float) -> dict[str, Any]:
    """A proportion and its interval; share: of predictions, how many are distinct samples."""
    if not of:
        return {name: None, f"{name}_interval": None}
    count = max(1, round(of * share))
    return {name: right / of, f"{name}_interval": wilson(right / of * count, count)}
