"""Are wrong labels found, and does it help to drop or relabel them?

    python tests/benchmarks/noise.py SOURCE DATA [--noise 0.1] [--seeds 3]

A share of the training labels of DATA (class folders, or `train.csv` and `test.csv`, with a test
part that stays as it is) is changed to another class, by seed; then `adapt --strategy probe` looks
for them. A table in Markdown goes to stdout, means with the range over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

import numpy as np

TREATMENTS = {
    "nothing": [],
    "drop": ["--drop-suspects"],
    "relabel": ["--relabel-suspects"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    plant = plant_table if (options.data / "train.csv").exists() else plant_folders
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        os.environ.setdefault("ZOOADAPT_CACHE", f"{place}/cache")
        clean = adapt(options.source, options.data, Path(place), [])
        rows["test accuracy, true labels"] = [clean["test"]["accuracy"]]
        for seed in range(options.seeds):
            noisy = Path(place) / f"set {seed}"
            wrong = plant(options.data, noisy, options.noise, np.random.default_rng(seed))
            for name, more in TREATMENTS.items():
                listed = Path(place) / "suspects.csv"
                report = adapt(options.source, noisy, Path(place), ["--suspects", listed, *more])
                accuracy = report["test"]["accuracy"]
                rows.setdefault(f"test accuracy, {name}", []).append(accuracy)
            flagged = {row["sample"] for row in csv.DictReader(listed.open())}
            rows.setdefault("recall", []).append(len(flagged & wrong) / len(wrong))
            rows.setdefault("precision", []).append(len(flagged & wrong) / max(1, len(flagged)))
            shutil.rmtree(noisy)
            print(f"seed {seed}: {len(flagged)} of {len(wrong)} planted", file=sys.stderr)
    print(f"| {options.source.name}, {options.data.name} | mean | range |\n|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | {mean(values):.3f} | {min(values):.3f} to {max(values):.3f} |")


def adapt(source: Path, data: Path, place: Path, options: list[object]) -> dict:
    command = [sys.executable, "-m", "zooadapt", "adapt", source, data, "-o", place / "out",
               "--overwrite", "--strategy", "probe", "--json", *options]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def changed(labels: list[str], noise: float, rng: np.random.Generator) -> list[str]:
    """The labels with exactly this share of them changed, each to any other class."""
    classes = sorted(set(labels))
    noisy = list(labels)
    for k in rng.choice(len(labels), round(noise * len(labels)), replace=False).tolist():
        noisy[k] = str(rng.choice([name for name in classes if name != labels[k]]))
    return noisy


def plant_table(data: Path, out: Path, noise: float, rng: np.random.Generator) -> set[str]:
    """A copy of a folder of tables with wrong labels in it; the ids of their rows."""
    shutil.copytree(data, out)
    with (data / "train.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = [row["label"] for row in rows]
    noisy = changed(labels, noise, rng)
    with (out / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row["text"], label) for row, label in zip(rows, noisy, strict=True))
    pairs = enumerate(zip(labels, noisy, strict=True), 1)
    return {f"train.csv:{k}" for k, (true, label) in pairs if true != label}


def plant_folders(data: Path, out: Path, noise: float, rng: np.random.Generator) -> set[str]:
    """A copy of a folder of class folders with images in the wrong ones; their ids."""
    shutil.copytree(data, out)
    images = sorted(path for path in (out / "train").glob("*/*") if path.is_file())
    labels = [image.parent.name for image in images]
    wrong = set()
    for image, true, label in zip(images, labels, changed(labels, noise, rng), strict=True):
        if true != label:
            place = image.parent.parent / label / f"{true} {image.name}"
            image.rename(place)
            wrong.add(place.relative_to(out).as_posix())
    return wrong


if __name__ == "__main__":
    main()
