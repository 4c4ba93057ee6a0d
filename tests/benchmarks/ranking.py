"""Whether `rank` puts sources in the order of the test accuracy that they reach.

    python tests/benchmarks/ranking.py DATA... --sources SOURCE... --runs RUNS.jsonl
        [--strategy probe] [--input-size 96] [--labels-per-class 10] [--seeds 1]

Every source is ranked by `zooadapt rank` and then adapted by `zooadapt adapt`, which alone reads
the test part. Each ranking and each run is a line of RUNS.jsonl; what is there already is not run
again. Tables in Markdown go to stdout: each source with its figures, and for each data set and
seed the weighted Kendall's tau of the test accuracies with the order of `rank` and of LogME, the
H-score, the nearest neighbours and the number of parameters; the regret is the points of test
accuracy that the best source of `rank`, or the one that it chooses, lacks against that of the
highest test accuracy. Nothing is stored between the commands, so seconds are those of both in full.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import weightedtau

SCORES = {"`rank`": "place", "LogME": "logme", "H-score": "h_score", "5-NN": "neighbours",
          "size": "parameters"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--sources", nargs="+", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--strategy", default="probe")
    parser.add_argument("--input-size")
    parser.add_argument("--labels-per-class")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    more = []
    for name in ("input_size", "labels_per_class"):
        if value := getattr(options, name):
            more += [f"--{name.replace('_', '-')}", value]
    runs = Runs(options.runs)
    print("| data | source | leave-one-out | n | tied | LogME | H | 5-NN | untrained | parameters "
          f"| test accuracy, `{options.strategy}` |\n|{'---|' * 11}")  # fmt: skip
    summary: list[list[float]] = []
    names = []
    for data in options.data:
        for seed in range(options.seeds):
            shared = [*more, "--seed", str(seed)]
            ranked = runs.get("rank", data, *options.sources, *shared)
            rows = [row for row in ranked["result"]["sources"] if row["error"] is None]
            rows = [row | {"place": -number} for number, row in enumerate(rows)]
            adapted = [
                runs.get("adapt", row["source"], data, "--strategy", options.strategy, *shared)
                for row in rows
            ]
            tests = [one["result"]["test"]["accuracy"] for one in adapted]
            n = adapted[0]["result"]["test"]["n"]
            choice = [row["source"] for row in rows].index(ranked["result"]["choice"])
            for number, (row, test) in enumerate(zip(rows, tests, strict=True)):
                print(source_row(f"{Path(data).name}, n {n}", row, test, number == choice))
            names.append(Path(data).name)
            summary.append([
                *(tau([row[key] for row in rows], tests) for key in SCORES.values()),
                100 * (max(tests) - tests[0]), 100 * (max(tests) - tests[choice]),
                ranked["seconds"], sum(one["seconds"] for one in adapted),
            ])  # fmt: skip
    columns = ["data", *(f"tau, {name}" for name in SCORES), "regret of the best", "of the choice",
               "s, `rank`", f"s, `{options.strategy}` of all"]  # fmt: skip
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, figures in zip(names, summary, strict=True):
        print(summary_row(name, figures))
    if len(summary) > 1:
        print(summary_row("mean", [mean(each) for each in zip(*summary, strict=True)]))


class Runs:
    """Commands that were run, by their words, as lines of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._known = {tuple(one["words"]): one for one in map(json.loads, lines)}

    def get(self, *words: str) -> dict[str, Any]:
        """The `result` of a command and its `seconds`, from the file or from running it."""
        if words not in self._known:
            started = time.monotonic()
            result = run(*words)
            one = {"words": words, "seconds": time.monotonic() - started, "result": result}
            with self._path.open("a") as file:
                file.write(json.dumps(one) + "\n")
            self._known[words] = one
        return self._known[words]


def run(*words: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        out = ["-o", str(Path(place, "out"))] if words[0] == "adapt" else []
        done = subprocess.run(
            [sys.executable, "-m", "zooadapt", *words, *out, "--cache-gb", "0", "--json"],
            capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    result.get("data", {}).pop("learned", None)
    return result


def source_row(data: str, row: dict[str, Any], test: float, chosen: bool) -> str:
    untrained = row["untrained"]
    cells = [
        data, row["name"] + (" (chosen)" if chosen else ""), f"{row['accuracy']:.3f}", row["n"],
        "yes" if row["tied"] else "no", f"{row['logme']:.3f}", f"{row['h_score']:.2f}",
        f"{row['neighbours']:.3f}", f"{untrained['accuracy']:.3f}" if untrained else "",
        f"{row['parameters']:,}", f"{test:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def summary_row(name: str, figures: Sequence[float]) -> str:
    taus, (best, choice, *seconds) = figures[: len(SCORES)], figures[len(SCORES) :]
    cells = [name, *(f"{one:.2f}" for one in taus), f"{best:.1f}", f"{choice:.1f}"]
    return f"| {' | '.join(cells)} | {' | '.join(f'{one:.0f}' for one in seconds)} |"


def tau(scores: Sequence[float], tests: Sequence[float]) -> float:
    """Not a number where all scores are equal, as H-scores at their bound are."""
    return float(weightedtau([round(score, 6) for score in scores], tests).statistic)


if __name__ == "__main__":
    main()
