"""What a bag of words is right about, and a pretrained source beside it.

    python tests/benchmarks/text_baseline.py DATA... [--source SOURCE] [--strategy probe]
        [--labels-per-class 10 20 0] [--seeds 3]

DATA are folders with `train.csv` and `test.csv`; 0 labels a class are all of them, which need one
seed for a bag of words and for a probe. A table in Markdown goes to stdout: test accuracy, mean and
range over the seeds, and the processor seconds that the bag of words takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import numpy as np

from zooadapt.data import open_dataset, sample_per_class
from zooadapt.heads.bag_of_words import Predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--source")
    parser.add_argument("--strategy", default="probe")
    parser.add_argument("--labels-per-class", type=int, nargs="+", default=[10, 20, 0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    own = f" {Path(options.source).name}, {options.strategy} |" if options.source else ""
    print(f"| data | labels a class | TF-IDF | s |{own}\n|---|---|---|---|{'---|' if own else ''}")
    for data in options.data:
        for count in options.labels_per_class:
            once = not count and options.strategy == "probe"
            seeds = range(1 if once else options.seeds)
            words, seconds = zip(*[bag_of_words(data, count, seed) for seed in seeds], strict=True)
            line = f"| {data.name} | {count or 'all'} | {shown(words)} | {mean(seconds):.1f} |"
            if options.source:
                line += f" {shown([adapted(options, data, count, seed) for seed in seeds])} |"
            print(line, flush=True)


def bag_of_words(data: Path, count: int, seed: int) -> tuple[float, float]:
    """Test accuracy and processor seconds."""
    opened = open_dataset(str(data), modality="text", seed=seed)
    train = sample_per_class(opened.train, count, seed) if count else opened.train
    started = time.process_time()
    texts = [part.raw(k) for part in (train, opened.test) for k in range(len(part))]
    labels = np.concatenate([train.labels, opened.test.labels])
    places = np.arange(len(texts))
    (said,) = Predictor(texts).predict(labels, [(places[: len(train)], places[len(train) :])])
    return float((said == opened.test.labels).mean()), time.process_time() - started


def adapted(options: argparse.Namespace, data: Path, count: int, seed: int) -> float:
    """Test accuracy of `zooadapt adapt`."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "zooadapt", "adapt", options.source, data]
        command += ["-o", Path(place) / "out", "--strategy", options.strategy]
        command += ["--seed", seed, "--json", *(["--labels-per-class", count] if count else [])]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["test"]["accuracy"]


def shown(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
