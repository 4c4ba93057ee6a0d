"""Recordings of speakers: a voice encoder, and fewer of its layers, beside statistics of a log-mel
spectrogram.

    python tests/benchmarks/speakers.py SOURCE DATA [--layers 1 2 3] [--seeds 3]

DATA is a folder with `train/` and `test/`, a folder of WAV files for each class, named
`LABEL_SPEAKER_TAKE.wav`. A table in Markdown goes to stdout: test accuracy of a probe on all
recordings and on ten of each class (mean of the seeds), and for speakers that are not in training:
each is held back once, and the interval is that of all their recordings. The other side is a
logistic regression on the mean, deviation and maximum of each band's logarithm.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zooadapt_audio.mel import MelSpectrogram, raised

import zooadapt
from zooadapt.data import open_inputs
from zooadapt.tasks.metrics import wilson

RATE = 16_000
MEL = MelSpectrogram(sample_rate=RATE, n_fft=400, hop_length=160, n_mels=40)
VOLUME = -30.0
"""Decibels of full scale, to which quiet clips are raised, as for the encoder."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| features | all | 10 a class | new speakers | 95 % interval | n |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        shutil.copytree(options.data, room / "data")
        print(row("log-mel statistics", log_mel(room / "data", options.seeds)), flush=True)
        for count in options.layers:
            source = shortened(options.source, count, room / f"layers{count}")
            print(row(f"{count} layers", probes(source, room / "data", options.seeds)), flush=True)


def row(name: str, figures: Iterator[float]) -> str:
    whole, few, right, n = figures
    low, high = wilson(right, int(n))
    return f"| {name} | {whole:.3f} | {few:.3f} | {right / n:.3f} | {low:.3f} to {high:.3f} | {n} |"


def shortened(source: Path, layers: int, place: Path) -> Path:
    """The same encoder without its later layers."""
    shutil.copytree(source, place)
    config = json.loads((source / "config.json").read_text()) | {"num_layers": layers}
    (place / "config.json").unlink()
    (place / "config.json").write_text(json.dumps(config))
    return place


def files(data: Path, part: str = "*") -> list[Path]:
    return sorted(data.glob(f"{part}/*/*.wav"))


def speaker(path: Path) -> str:
    return path.stem.split("_")[1]


def probes(source: Path, data: Path, seeds: int) -> Iterator[float]:
    """Accuracy on all, on ten a class; the right answers for new speakers, and how many."""
    run = {"strategy": "probe"}
    yield zooadapt.adapt(source, data, **run).report["test"]["accuracy"]
    yield mean(
        zooadapt.adapt(source, data, labels_per_class=10, seed=seed, **run).report["test"][
            "accuracy"
        ]
        for seed in range(seeds)
    )
    right = n = 0
    for held_back in sorted({speaker(path) for path in files(data)}):
        place = tables(data, held_back)
        test = test_of(source, place, audio_column="audio", group_column="speaker")
        right, n = right + round(test["accuracy"] * test["n"]), n + test["n"]
    yield right
    yield n


def test_of(source: Path, data: Path, **options: Any) -> dict[str, Any]:
    """The figures of the test part, of a probe."""
    test: dict[str, Any] = zooadapt.adapt(source, data, strategy="probe", **options).report["test"]
    return test


def tables(data: Path, held_back: str) -> Path:
    """`train.csv` and `test.csv`, which holds this speaker's recordings, beside all of them."""
    place = data.parent / "speakers" / held_back
    shutil.copytree(data, place / "clips", dirs_exist_ok=True)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for path in files(place / "clips"):
        part = "test" if speaker(path) == held_back else "train"
        lines[part].append(f"{path.relative_to(place)},{path.parent.name},{speaker(path)}")
    for part, rows in lines.items():
        (place / f"{part}.csv").write_text("\n".join(["audio,label,speaker", *rows]) + "\n")
    return place


def log_mel(data: Path, seeds: int) -> Iterator[float]:
    """As `probes`."""
    paths = files(data)
    opened = open_inputs([str(path) for path in paths], modality="audio")
    rows = []
    for k in range(len(paths)):
        logs = np.log(MEL(raised(opened.raw(k, rate=RATE).samples, VOLUME)) + 1e-6)
        rows.append(np.concatenate([logs.mean(0), logs.std(0), logs.max(0)]))
    features, labels = np.array(rows), np.array([path.parent.name for path in paths])
    train = np.array([path.parent.parent.name == "train" for path in paths])
    speakers = np.array([speaker(path) for path in paths])

    def right(fitted: np.ndarray, judged: np.ndarray) -> int:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(features[fitted], labels[fitted])
        return int((model.predict(features[judged]) == labels[judged]).sum())

    test = np.flatnonzero(~train)
    yield right(np.flatnonzero(train), test) / len(test)
    few = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        drawn = [
            rng.choice(np.flatnonzero(train & (labels == c)), 10, False)
            for c in sorted(set(labels))
        ]
        few.append(right(np.concatenate(drawn), test) / len(test))
    yield mean(few)
    yield sum(
        right(np.flatnonzero(speakers != one), np.flatnonzero(speakers == one))
        for one in sorted(set(speakers))
    )
    yield len(paths)


if __name__ == "__main__":
    main()
