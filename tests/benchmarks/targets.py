"""Several labels at once and numbers: strategies beside the baselines, on the same test part.

    python tests/benchmarks/targets.py DATA_FOLDER --runs RUNS.jsonl [--sets emotions ...]
        [--strategies probe auto] [--seeds 3] [--budget 10m]

Every run is the command that a user types. `emotions` are tweets with several emotions each,
`valence` sentences with a number, `houses` photos with a price, and `tiles` pictures that this
script makes: two or three photos of `flowers5` side by side, labelled with all their classes. The
source of `tiles-from-classes` is the network of `tiles` adapted to the single photos before: its
head rows are carried over by the names of the classes. A run is a line of RUNS.jsonl; what is there
already is not run again. The table in Markdown has the mean of the seeds; the interval is that of
the test part for the first seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

TEXT, IMAGE = "all_minilm_l6_v2.st_fp16", "tf_efficientnet_lite0.in1k"
SETS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "emotions": ("map", TEXT, "multilabel/emotions_text", ("--label-column", "labels")),
    "valence": ("pearson", TEXT, "regression/emobank_text", ("--label-column", "valence")),
    "houses": ("r2_log", IMAGE, "regression/houses_images",
               ("--image-column", "image", "--label-column", "price")),
    "tiles": ("map", IMAGE, "", ()),
    "tiles-from-classes": ("map", "", "", ()),
}  # fmt: skip
"""Score, source, data below DATA_FOLDER, and options."""
SIDE, TILES = 128, {"train": 400, "test": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--strategies", nargs="+", default=["probe", "auto"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", default="10m")
    options = parser.parse_args()
    print("| set | score | n | baseline | " + " | ".join(f"`{s}`" for s in options.strategies)
          + " | CPU s |\n|" + "---|" * (5 + len(options.strategies)))  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        runs = Runs(options.runs, options.folder, Path(scratch))
        for name in options.sets:
            print(_line(name, runs, options), flush=True)


class Runs:
    """Runs of the command, each of which is a line of a file."""

    def __init__(self, path: Path, folder: Path, scratch: Path) -> None:
        self._path, self._folder, self._scratch = path, folder, scratch
        lines = path.read_text().splitlines() if path.exists() else []
        self._done = {json.loads(line)["key"]: json.loads(line) for line in lines}

    def get(self, name: str, strategy: str, seed: int, budget: str) -> dict[str, Any]:
        """The test scores of a run, its baselines and its CPU seconds."""
        key = f"{name} {strategy} {seed}"
        if key not in self._done:
            _, source, data, more = SETS[name]
            place = self._tiles() if name.startswith("tiles") else self._folder / data
            at = str(self._folder / "weights" / source) if source else self._classifier()
            arguments = [at, str(place), *more, "--strategy", strategy, "--seed", str(seed)]
            arguments += ["--budget", budget] if strategy == "auto" else []
            report, seconds = self._adapt(arguments, key.replace(" ", "-"))
            line = {"key": key, "test": report["test"], "baselines": report["test_baselines"],
                    "val": report["val"], "held_out": report["baselines"],
                    "carried": len(report["carried_classes"]), "seconds": seconds}  # fmt: skip
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self._done[key] = line
        return self._done[key]

    def _adapt(self, arguments: Sequence[str], name: str) -> tuple[dict[str, Any], float]:
        out = self._scratch / name
        before = time.process_time(), _children()
        command = [sys.executable, "-m", "zooadapt", "adapt", *arguments, "-o", str(out), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout), _children() - before[1]

    def _classifier(self) -> str:
        out = self._scratch / "classes"
        if not out.exists():
            source, data = self._folder / "weights" / IMAGE, self._folder / "images/flowers5"
            self._adapt([str(source), str(data), "--strategy", "probe"], "classes")
        return str(out)

    def _tiles(self) -> Path:
        place = self._scratch / "tiles"
        if not place.exists():
            for part, count in TILES.items():
                make_tiles(self._folder / "images/flowers5" / part, place / part, count)
        return place


def make_tiles(classes: Path, place: Path, count: int) -> None:
    """Pictures of two or three photos of different classes, with a table of these classes."""
    rng = np.random.default_rng(0)
    photos = {folder.name: sorted(folder.iterdir()) for folder in sorted(classes.iterdir())}
    place.mkdir(parents=True)
    with (place / "metadata.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "label"])
        for number in range(count):
            names = rng.choice(list(photos), size=int(rng.integers(2, 4)), replace=False).tolist()
            tile = Image.new("RGB", (2 * SIDE, 2 * SIDE))
            for corner, name in zip(rng.permutation(4), names, strict=False):
                photo = Image.open(photos[name][int(rng.integers(len(photos[name])))])
                at = (int(corner % 2) * SIDE, int(corner // 2) * SIDE)
                tile.paste(photo.convert("RGB").resize((SIDE, SIDE)), at)
            tile.save(place / f"{number}.jpg", quality=90)
            rows.writerow([f"{number}.jpg", "|".join(sorted(names))])


def _children() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _line(name: str, runs: Runs, options: argparse.Namespace) -> str:
    score, cells, seconds = SETS[name][0], [], []
    for strategy in options.strategies:
        seeds = range(options.seeds if strategy != "probe" else 1)
        each = [runs.get(name, strategy, seed, options.budget) for seed in seeds]
        low, high = each[0]["test"][f"{score}_interval"]
        figure = mean(one["test"][score] for one in each)
        cells.append(f"{figure:.3f} ({low:.3f} to {high:.3f})")
        seconds.append(f"{mean(one['seconds'] for one in each):.0f}")
    baselines = each[0]["baselines"] or {"majority": each[0]["held_out"]["majority"]}
    best = max(baselines, key=lambda key: baselines[key].get(score, -1.0))
    value = baselines[best].get(score, 0.0)
    n = each[0]["test"]["n"]
    return f"| {name} | {score} | {n} | {best} {value:.3f} | " + " | ".join(
        [*cells, ", ".join(seconds)]) + " |"  # fmt: skip


if __name__ == "__main__":
    main()
