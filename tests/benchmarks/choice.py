"""What `--strategy auto` chooses, beside every single strategy and fastai: accuracy, time, plan.

    python tests/benchmarks/choice.py DATA_FOLDER [--seeds 3] [--labels-per-class 10] [--only REGEX]

DATA_FOLDER holds `weights/`, `images/` and `text/`. Every run is a process with a cache of its own.
fastai (`pip install -e '.[peers]'`) runs its `fine_tune` with its defaults for ten epochs, and for
as many as fit into the seconds that `auto` took. With few labels, `auto` also gets all training
texts as `--unlabelled`. Tables in Markdown go to stdout; each line of `--out` is one run, and what
it holds is not run again, so that the benchmark can be stopped and taken up.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from processes import run as run_command
from processes import zooadapt

SIDES = Path(__file__).with_name("sides.py")
SINGLE = {
    "probe": ["--strategy", "probe"],
    "lp-ft": ["--strategy", "lp-ft"],
    "full": ["--strategy", "full"],
    "gradual": ["--strategy", "gradual"],
    "from scratch": ["--strategy", "full", "--from-scratch"],
}
AUTO, FASTAI, SAME_TIME = "auto", "fastai, 10 epochs", "fastai, same time"
PROBE, PROBE_READ, AUTO_READ = "probe", "probe, unlabelled", "auto, unlabelled"
IMAGES = ("flowers5", "trashnet6", "ants_bees", "omniglot_latin")
TEXTS = ("names18", "trec6", "sms_spam")
_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for 95 % by the number of seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels-per-class", type=int)
    parser.add_argument("--input-size", type=int, default=128, help="of images")
    parser.add_argument("--only", default="", help="runs whose 'SOURCE DATA STRATEGY' has this")
    parser.add_argument("--out", type=Path, default=Path("choice.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    parser.add_argument("--macro-f1", action="store_true", help="in the table, not the accuracy")
    options = parser.parse_args()
    rows = [json.loads(line) for line in _lines(options.out)]
    done = {(row["task"], row["strategy"], row["seed"], row["labels"]) for row in rows}
    for seed in range(0 if options.table else options.seeds):
        for source, data in tasks(options.data):
            more = (FASTAI, SAME_TIME) if "images" in data.parts else ()
            if options.labels_per_class and "text" in data.parts:
                more = (PROBE_READ, AUTO_READ)
            for strategy in [*SINGLE, AUTO, *more]:
                task = f"{source.name} {data.name}"
                key = (task, strategy, seed, options.labels_per_class)
                if key in done or not re.search(options.only, f"{task} {strategy}"):
                    continue
                row = dict(zip(("task", "strategy", "seed", "labels"), key, strict=True))
                if strategy in (FASTAI, SAME_TIME):
                    row |= fastai(source, data, strategy, seed, options, rows)
                else:
                    row |= run(source, data, strategy, seed, options)
                rows.append(row)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, file=sys.stderr, flush=True)
    rows = [row for row in rows if row["labels"] == options.labels_per_class]
    score = "macro_f1" if options.macro_f1 else "test"
    peers = beside(rows, (AUTO, SAME_TIME, FASTAI))
    unlabelled = beside(rows, (PROBE, PROBE_READ, AUTO, AUTO_READ))
    print(table(rows, score), peers, unlabelled, sep="\n\n")


def tasks(folder: Path) -> list[tuple[Path, Path]]:
    """Every source with every data set of its kind."""
    sources = sorted((folder / "weights").iterdir())
    images = [(s, folder / "images" / d) for s in sources if "mobilenet" in s.name for d in IMAGES]
    texts = [(s, folder / "text" / d) for s in sources if "charlstm" in s.name for d in TEXTS]
    return images + texts


def run(
    source: Path, data: Path, strategy: str, seed: int, options: argparse.Namespace
) -> dict[str, object]:
    """Accuracy, work and CPU seconds of one run; for auto, what its plan had said before."""
    with tempfile.TemporaryDirectory() as place:
        command = ["adapt", str(source), str(data), "--out", f"{place}/out", "--seed", str(seed)]
        name, reads, _ = strategy.partition(", unlabelled")
        command += SINGLE.get(name, ["--strategy", name])
        if reads:
            command += ["--unlabelled", str(data / "train.csv")]
        if "images" in data.parts:
            command += ["--input-size", str(options.input_size)]
        if options.labels_per_class:
            command += ["--labels-per-class", str(options.labels_per_class)]
        planned = {}
        if strategy == AUTO:
            planned = zooadapt([*command, "--plan"], Path(place, "plan"))[0]["estimate"]
        report, cost = zooadapt(command, Path(place, "cache"))
        return {
            "test": report["test"]["accuracy"],
            "macro_f1": report["test"]["macro_f1"],
            "n": report["test"]["n"],
            "val": report["val"]["accuracy"],
            "seconds": report["seconds"]["total"],
            "cpu": cost.cpu,
            "peak": cost.peak,
            "epochs": len(report["epochs"]),
            "steps": report["steps"],
            "best_epoch": report["best_epoch"],
            "planned": planned,
            "decisions": [d["value"] for d in report["decisions"]],
        }


def fastai(
    source: Path, data: Path, strategy: str, seed: int, options: argparse.Namespace, rows: list
) -> dict[str, object]:
    """fastai's `fine_tune`, for ten epochs or for those that its ten and auto's seconds allow."""
    epochs = 10
    if strategy == SAME_TIME:
        others = _by_strategy(rows, f"{source.name} {data.name}", seed, options.labels_per_class)
        one = others[FASTAI]["training"] / (1 + epochs)  # the first is with the body frozen
        epochs = max(1, int(others[AUTO]["seconds"] / one) - 1)
    command = [sys.executable, str(SIDES), "fastai", "--source", str(source), "--data", str(data)]
    command += ["--epochs", str(epochs), "--seed", str(seed)]
    command += ["--input-size", str(options.input_size)]
    if options.labels_per_class:
        command += ["--labels-per-class", str(options.labels_per_class)]
    by_seed, cost = run_command(command, {})
    return {
        "test": by_seed["accuracy"],
        "n": by_seed["n"],
        "seconds": by_seed["seconds"],
        "training": by_seed["training"],
        "cpu": cost.cpu,
        "peak": cost.peak,
        "epochs": epochs,
    }


def table(rows: list[dict], score: str) -> str:
    """The score of the test part in per cent, the mean over seeds with its 95 % interval; auto
    against the best single strategy and the probe, in points; the CPU seconds of auto as a share of
    all of them; seconds and memory as multiples of what the plan had said."""
    names = [*SINGLE, AUTO]
    lines = [
        f"| task | n | {' | '.join(names)} | auto - best | auto - probe | time | plan: s | MB |",
        "|---" * (len(names) + 7) + "|",
    ]
    gaps, overs, shares = [], [], []
    means: dict[str, list[float]] = {name: [] for name in names}
    for task in dict.fromkeys(row["task"] for row in rows):
        of = {name: _by_seed(rows, task, name) for name in names}
        if not all(of.values()):
            continue
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in of.values())))
        scores = {name: [100 * of[name][s][score] for s in seeds] for name in names}
        for name in names:
            means[name].append(mean(scores[name]))
        gaps.append(means[AUTO][-1] - max(means[name][-1] for name in SINGLE))
        overs.append(means[AUTO][-1] - means["probe"][-1])
        spent = {name: mean(of[name][s]["cpu"] for s in seeds) for name in names}
        shares.append(spent[AUTO] / sum(spent[name] for name in SINGLE))
        plans = [of[AUTO][s] for s in seeds]
        seconds = [_beside_plan(row["seconds"], row["planned"]) for row in plans]
        memory = [row["peak"] / row["planned"]["memory_bytes"] for row in plans]
        cells = [_interval(scores[name]) for name in names]
        lines.append(
            f"| {task} | {plans[0]['n']} | {' | '.join(cells)} | {gaps[-1]:+.1f} "
            f"| {overs[-1]:+.1f} | {shares[-1]:.0%} | {_range(seconds)} | {_range(memory)} |"
        )
    if gaps:
        lines.append(
            f"| mean | | {' | '.join(f'{mean(means[name]):.1f}' for name in names)} "
            f"| {mean(gaps):+.1f} | {mean(overs):+.1f} | {mean(shares):.0%} | | |"
        )
    return "\n".join(lines)


def beside(rows: list[dict], names: Sequence[str]) -> str:
    """Test accuracy in per cent of some strategies on the same seeds; seconds in brackets."""
    lines = [f"| task | n | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    means: dict[str, list[float]] = {name: [] for name in names}
    for task in dict.fromkeys(row["task"] for row in rows):
        of = {name: _by_seed(rows, task, name) for name in names}
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in of.values())))
        if not seeds:
            continue
        cells = []
        for name in names:
            scores = [100 * of[name][s]["test"] for s in seeds]
            spent = mean(of[name][s]["seconds"] for s in seeds)
            means[name].append(mean(scores))
            cells.append(f"{_interval(scores)} ({spent:.0f} s)")
        lines.append(f"| {task} | {of[AUTO][seeds[0]]['n']} | {' | '.join(cells)} |")
    if len(lines) > 2:
        lines.append(f"| mean | | {' | '.join(f'{mean(means[name]):.1f}' for name in names)} |")
    return "\n".join(lines)


def _beside_plan(seconds: float, planned: dict) -> float:
    """Seconds as a multiple of the nearer bound of what was planned; 1 within the bounds, which are
    wide because a phase ends early where it gains nothing."""
    return seconds / min(max(seconds, planned["least_seconds"]), planned["seconds"])


def _by_strategy(rows: list[dict], task: str, seed: int, labels: int | None) -> dict[str, dict]:
    key = (task, seed, labels)
    return {r["strategy"]: r for r in rows if (r["task"], r["seed"], r["labels"]) == key}


def _by_seed(rows: list[dict], task: str, strategy: str) -> dict[int, dict]:
    mine = (row for row in rows if row["task"] == task and row["strategy"] == strategy)
    return {row["seed"]: row for row in mine}


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    half = _T.get(len(values), 2.0) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.1f} ± {half:.1f}"


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
