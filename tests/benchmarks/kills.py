"""Random kills: whether a run that is killed again and again ends in the bytes of a run in peace.

    python tests/benchmarks/kills.py [--kills 100] [--seed 0] [--first 0] [--folder FOLDER]

Rounds go over all strategies, both memory layouts, forced, and sources of both kinds, until there
were so many kills. A round runs once in peace, with an option of training drawn for it; then again,
each attempt being killed by SIGKILL at a moment that is drawn within the seconds that the run in
peace took, most of them after its first checkpoint, until one ends by itself. Where there is a
checkpoint, the next attempt goes on from it, in half of the cases without the cache, and would
choose the other layout. Each attempt is a process of its own, a fork of one that has imported
everything, so that no kill falls into the imports.
Prints a line a round and a table, and exits with 1 if any run was refused or ended in other bytes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import timm  # noqa: F401  each attempt begins with it
import torch
from PIL import Image
from sklearn.datasets import load_digits

import zooadapt.cli.adapt  # noqa: F401
from zooadapt.backbone.precision import Mode
from zooadapt.cli import main as command_line
from zooadapt.training import setup

STRATEGIES = ("auto", "lp-ft", "full", "gradual", "from", "probe")
MORE = (("--mixup", "0.3"), ("--tune", "lora"), (), ("--ema", "0.9"), ("--soup", "2"),
        ("--optimizer", "sgd"), ("--imbalance", "sampler"), ("--patience", "2"),
        ("--l2sp", "0.01"), ("--norm-statistics", "train"), ("--no-refit",),
        ("--labels-per-class", "12"), ("--unlabelled", "{data}"), ("--deterministic-plan",),
        ("--metric", "balanced-accuracy"))  # fmt: skip
"""Options of which a round has one; the first two do not suit texts."""
ROOT = Path(__file__).parents[2]
MOBILE = "weights/mobilenetv2_035.keras_in1k_headless"
MOST = 6
"""Attempts of a round that are killed; the next one is left to end."""
OUTCOMES = ("equal", "refused", "other bytes")


def pictures(place: Path) -> Path:
    """Five digits of 18 samples each with so much noise that `auto` trains, and in two phases."""
    digits = load_digits()
    for label in range(5, 10):
        (place / str(label)).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(digits.target == label)[:18]):
            noise = np.random.default_rng((label, number)).normal(0, 80, (8, 8))
            pixels = (digits.images[index] * 16 + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / str(label) / f"{number}.png")
    return place


def texts(place: Path) -> Path:
    """Eighty pairs of words, as they are written and backwards."""
    words = re.findall(r"[a-z]{4,}", (ROOT / "README.md").read_text("utf-8").lower())
    rng, rows = np.random.default_rng(0), ["text,label"]
    for number in range(80):
        pair = " ".join(str(word) for word in rng.choice(words, 2))
        rows.append(f"{pair[::-1] if number % 2 else pair},{number % 2}")
    place.write_text("\n".join(rows))
    return place


def sources(folder: Path) -> list[tuple[str, Path, str, tuple[str, ...]]]:
    """Each with data, a stage to train from, and options."""
    images, table = pictures(folder / "pictures"), texts(folder / "texts.csv")
    outcomes = [("digits04", images, "stages.2", ()), ("english", table, "layer1", ())]
    real = Path(os.environ.get("ZOOADAPT_TEST_DATA", ROOT.parent / "shared" / "data")) / MOBILE
    if real.is_dir():
        outcomes.append((str(real), images, "blocks.4", ("--input-size", "32")))
    return outcomes


def attempt(words: Sequence[str], layout: bool, cache: Path, errors: Path) -> BaseProcess:
    """A process at the command of these words, whose layout is not left to measurements."""

    def work() -> None:
        os.environ["ZOOADAPT_CACHE"] = str(cache)
        with open(os.devnull, "w") as nowhere, errors.open("w") as file:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())
        mode = Mode(precision="fp32", channels_last=layout, device="cpu", why="forced")
        setup.choose = lambda *_, **__: mode
        sys.argv = ["zooadapt", *words]
        command_line()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def outcome(out: Path, whole: Path) -> str:
    """Whether two exports hold the same weights, of the same epochs and decisions."""
    for name in ("model.safetensors", "config.json"):
        if (out / name).read_bytes() != (whole / name).read_bytes():
            return "other bytes"
    reports = [json.loads((folder / "report.json").read_text()) for folder in (out, whole)]
    same = all(reports[0][key] == reports[1][key] for key in ("epochs", "steps", "decisions"))
    return "equal" if same else "other bytes"


def killed(
    words: list[str], layout: bool, place: Path, spans: tuple[float, float], drawn: random.Random
) -> tuple[Counter[str], str]:
    """Kills before and after there was a checkpoint, and what the last attempt says if it was
    refused. spans: seconds until a run in peace has a checkpoint and until it ends."""
    kills: Counter[str] = Counter()
    out, checkpoint = place / "out", place / "out.checkpoint"
    cache, errors = place / "cache", place / "errors"
    while not out.exists():
        more = ["--resume"] if checkpoint.exists() else []
        process = attempt([*words, "-o", str(out), *more], layout != bool(more), cache, errors)
        early, late = (0.0, spans[1]) if drawn.random() < 0.25 else (spans[0], sum(spans) / 2)
        moment = drawn.uniform(early, late)
        process.join(moment if sum(kills.values()) < MOST else None)
        if process.exitcode is not None:
            return kills, errors.read_text() if process.exitcode else ""
        process.kill()
        process.join()
        kills["after" if checkpoint.exists() else "before"] += 1
        if checkpoint.exists() and drawn.random() < 0.5:
            shutil.rmtree(cache, ignore_errors=True)
    return kills, ""


def in_peace(words: list[str], layout: bool, place: Path) -> tuple[float, float]:
    """The seconds until it has a checkpoint, 0 where it has none, and until it ends."""
    started, first = time.monotonic(), 0.0
    errors = place / "errors"
    process = attempt([*words, "-o", str(place / "whole")], layout, place / "cache", errors)
    while process.exitcode is None:
        process.join(0.02)
        if not first and (place / "whole.checkpoint").exists():
            first = time.monotonic() - started
    if process.exitcode:
        sys.exit(errors.read_text())
    return first, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--folder", type=Path, help="where runs that went wrong are left")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder or Path(tempfile.mkdtemp())
    available, counts, number = sources(folder), Counter(), options.first
    while sum(count for key, count in counts.items() if key[2] == "kills") < options.kills:
        drawn = random.Random(f"{options.seed} {number}")
        strategy = STRATEGIES[number % len(STRATEGIES)]
        layout = bool(number // len(STRATEGIES) % 2)
        source, data, stage, own = available[number // (2 * len(STRATEGIES)) % len(available)]
        chosen = drawn.choice(MORE[2 * data.is_file() :])
        extra = [word.format(data=data) for word in chosen]
        place = folder / f"round{number}"
        place.mkdir()
        words = ["adapt", source, str(data), "--batch-size", "8", "--checkpoint-seconds", "0.1",
                 "--epochs", "24", *own, *extra,
                 "--strategy", f"from:{stage}" if strategy == "from" else strategy]  # fmt: skip
        spans = in_peace(words, layout, place)
        kills, error = killed(words, layout, place, spans, drawn)
        outcomes = "refused" if error else outcome(place / "out", place / "whole")
        key = (strategy, "channels-last" if layout else "plain")
        counts[*key, "kills"] += sum(kills.values())
        counts[*key, outcomes] += 1
        report = json.loads((place / "whole" / "report.json").read_text())
        phases = sorted({epoch["phase"] for epoch in report["epochs"]})
        print(f"round {number}: {Path(source).name}, {', '.join(key)} {' '.join(extra)}: "
              f"phases {phases}{' and refit' if report['refitted'] else ''} in {spans[1]:.1f} s, "
              f"{kills['before']} kills before and {kills['after']} after there was a checkpoint: "
              f"{outcomes} {error}", flush=True)  # fmt: skip
        if outcomes == "equal":
            shutil.rmtree(place)
        number += 1
    for one in sorted({key[:2] for key in counts}):
        numbers = [f"{counts[*one, name]} {name}" for name in ("kills", *OUTCOMES)]
        print(f"{', '.join(one)}: {', '.join(numbers)}")
    wrong = sum(count for key, count in counts.items() if key[2] in OUTCOMES[1:])
    if wrong:
        sys.exit(f"{wrong} runs went wrong: see '{folder}'")
    if not options.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
