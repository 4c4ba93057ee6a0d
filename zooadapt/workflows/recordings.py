"""Predictions for the windows of recordings: what they say of each recording, and as labels that
Audacity and Raven show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from zooadapt.errors import OutputError, UsageError
from zooadapt.runtime import filesystem, outputs
from zooadapt.runtime.wording import printable
from zooadapt.tasks.predictions import UNKNOWN, Prediction, WindowPrediction

RAVEN = ".selections.txt"
"""How the name of a selection table for Raven ends; every other label track is for Audacity."""
_COLUMNS = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
            "High Freq (Hz)", "Begin File", "Label", "Score")  # fmt: skip
_TRACK = re.compile(rb"\d+\.\d+\t\d+\.\d+\t|Selection\tView\tChannel\t")
_APART = 1e-3


def of_windows(predictions: Sequence[Prediction], *, reject_below: float = 0.0) -> list[Prediction]:
    """The prediction for each recording that was cut into windows, in order: the mean probabilities
    of those of its windows that are no background, or of all where all are. The predictions have
    probabilities of all classes."""
    windows = [one for one in predictions if isinstance(one, WindowPrediction)]
    return [
        _mean(name, list(group), reject_below)
        for name, group in groupby(windows, lambda one: one.input)
    ]


def _mean(name: str, windows: Sequence[WindowPrediction], reject_below: float) -> Prediction:
    counted = [one for one in windows if not one.background] or windows
    mean = {
        label: sum(one.probabilities[label] for one in counted) / len(counted)
        for label in counted[0].probabilities
    }
    order: Mapping[str, float] = dict(sorted(mean.items(), key=lambda pair: -pair[1]))
    label, probability = next(iter(order.items()))
    return Prediction(
        input=name,
        text=None,
        label=UNKNOWN if probability < reject_below else label,
        probability=probability,
        probabilities=order,
    )


def check_track(path: Path) -> None:
    """Check that a label track may be written to `path`, which may hold an earlier one.

    Raises: OutputError for another file, and as `outputs.check_output_file`.
    """
    outputs.check_output_file(path)
    with filesystem.reading(path):
        if not path.exists():
            return
        with path.open("rb") as file:
            earlier = file.read(80)
    if earlier and not _TRACK.match(earlier):
        raise OutputError(
            f"'{path}' exists and is no label track that this command wrote",
            thing=str(path),
            remedy="choose another --label-track file",
        )


def write_track(path: Path, predictions: Sequence[Prediction], *, rate: int | None) -> int:
    """Write the times and labels of windows that are no background and not unknown; neighbours of
    one label are one line. Returns the number of lines. rate: that of the network's input.

    Raises: UsageError where no recording was cut, or Audacity would get several.
    """
    windows = [one for one in predictions if isinstance(one, WindowPrediction)]
    if not windows:
        raise UsageError(
            "a label track has the times of windows, and no recording was cut into windows",
            thing="--label-track",
            remedy="add --window 5",
        )
    is_raven = path.name.endswith(RAVEN)
    if not is_raven and len({one.input for one in windows}) > 1:
        raise UsageError(
            "a label track for Audacity is about one recording, and there are several",
            thing="--label-track",
            remedy=f"give one, or a name that ends in {RAVEN}, for Raven",
        )
    lines = ["\t".join(_COLUMNS)] * is_raven
    for number, (name, start, end, label, score) in enumerate(_joined(windows), 1):
        label = printable(label)
        if is_raven:
            high = f"{(rate or 2 * 24_000) / 2:g}"
            cells = (number, "Spectrogram 1", 1, f"{start:.3f}", f"{end:.3f}", 0, high,
                     printable(Path(name).name), label, f"{score:.4f}")  # fmt: skip
            lines.append("\t".join(map(str, cells)))
        else:
            lines.append(f"{start:.6f}\t{end:.6f}\t{label}")
    filesystem.write_file(path, "".join(f"{line}\n" for line in lines).encode())
    return len(lines) - is_raven


def _joined(
    windows: Sequence[WindowPrediction],
) -> Iterator[tuple[str, float, float, str, float]]:
    """Recording, first and last second, label and highest probability of runs of windows."""
    run: tuple[str, float, float, str, float] | None = None
    for one in windows:
        if one.background or one.label == UNKNOWN:
            continue
        if run and run[0] == one.input and run[3] == one.label and one.start <= run[2] + _APART:
            run = (*run[:2], one.end, run[3], max(run[4], one.probability))
            continue
        if run:
            yield run
        run = (one.input, one.start, one.end, one.label, one.probability)
    if run:
        yield run
