"""How time and memory grow with the samples, and what start-up costs.

    python tests/benchmarks/scaling.py SOURCE [--sides time,memory,startup]

Images are generated: textures of as many kinds as there are classes, as JPEG files. Every run is a
process with a cache of its own. Tables in Markdown go to stdout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from processes import Cost, zooadapt

CLASSES = 5
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--sides", default="time,memory,startup")
    parser.add_argument("--samples", type=int, default=200, help="of the smallest timed run")
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=50_000)
    options = parser.parse_args()
    for side in options.sides.split(","):
        with tempfile.TemporaryDirectory() as place:
            print({"time": times, "memory": memory, "startup": startup}[side](options, Path(place)))


def times(options: argparse.Namespace, place: Path) -> str:
    """Seconds of work of three strategies on 1, 2 and 4 times the samples."""
    sizes = [options.samples * k for k in (1, 2, 4)]
    folders = [write(place / str(size), size, side=224) for size in sizes]
    stages = zooadapt(["inspect", options.source], place / "cache")[0]["stages"]
    cached = f"from:{stages[-1]['name']}"
    lines = [
        f"| work, s | {' | '.join(f'{size} samples' for size in sizes)} | growth |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for strategy in ("probe", cached, "full"):
        more = [] if strategy == "probe" else ["--epochs", "2", "--augment", "none"]
        reports = [adapt(options.source, folder, strategy, more)[0] for folder in folders]
        work = [report["seconds"]["total"] for report in reports]
        growth = ", ".join(f"{b / a:.2f} x" for a, b in pairwise(work))
        lines.append(f"| {strategy} | {' | '.join(f'{s:.1f}' for s in work)} | {growth} |")
    return "\n".join(lines)


def memory(options: argparse.Namespace, place: Path) -> str:
    """Peak memory of a probe on few and on many samples."""
    lines = ["| probe of | peak MB | work, s |", "|---|---|---|"]
    for size in (options.few, options.many):
        folder = write(place / str(size), size, side=64)
        report, cost = adapt(options.source, folder, "probe", ["--input-size", "64"])
        lines.append(
            f"| {size} samples | {cost.peak / 1e6:.0f} | {report['seconds']['total']:.1f} |"
        )
    return "\n".join(lines)


def startup(options: argparse.Namespace, place: Path) -> str:
    """Wall seconds of commands that need no network, and the share of imports in a probe."""
    lines = ["| start-up | s, median of 7 |", "|---|---|"]
    libraries = [sys.executable, "-c", "import click, rich"]
    ours = [sys.executable, "-m", "zooadapt"]
    for name, command in {
        "python -c 'import click, rich'": libraries,
        "zooadapt --help": [*ours, "--help"],
        "zooadapt plugins list": [*ours, "plugins", "list"],
        "zooadapt adapt --nonsense": [*ours, "adapt", "--nonsense"],
    }.items():
        lines.append(f"| `{name}` | {median(wall(command) for _ in range(ROUNDS)):.2f} |")
    report, cost = adapt(options.source, write(place / "data", 400, side=224), "probe", [])
    work, waited = report["seconds"]["total"], report["seconds"]["imports"]
    lines.append(
        f"\nA probe of 400 photos: {cost.seconds:.1f} s as a process, {work:.1f} s of work; "
        f"imports waited for {waited:.1f} s after the data were read, "
        f"{waited / cost.seconds:.0%} of the process."
    )
    return "\n".join(lines)


def write(folder: Path, samples: int, *, side: int) -> Path:
    """Class folders of generated JPEG files, a tenth of them in `test/`; the same ones always."""

    def one(number: int) -> None:
        rng = np.random.default_rng(number)
        kind = number % CLASSES
        x, y = np.meshgrid(np.linspace(0, 6, side), np.linspace(0, 6, side))
        wave = np.sin((kind + 1) * x + rng.uniform(0, 6)) * np.cos((CLASSES - kind) * y)
        pixels = 128 + 60 * wave[..., None] * rng.uniform(0.3, 1, 3) + rng.normal(0, 20, (1, 1, 3))
        part = "test" if (number // CLASSES) % 10 == 0 else "train"
        place = folder / part / f"kind{kind}"
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(place / f"{number:06d}.jpg", quality=85)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(samples)))
    return folder


def adapt(source: str, data: Path, strategy: str, more: list[str]) -> tuple[dict, Cost]:
    with tempfile.TemporaryDirectory() as place:
        return zooadapt(
            ["adapt", source, str(data), "-o", f"{place}/out", "--strategy", strategy, *more],
            Path(place, "cache"),
        )


def wall(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
