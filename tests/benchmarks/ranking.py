"""Whether `rank` puts sources in the order of the test accuracy that they reach.

    python tests/benchmarks/ranking.py DATA... --sources SOURCE... [--input-size 96]
        [--strategy probe]

Every source is ranked by `zooadapt rank` and then adapted by `zooadapt adapt`, which alone reads
the test part. Tables in Markdown go to stdout: each source with its figures, and for each data set
the weighted Kendall's tau of the test accuracies with the order of `rank`, with that of the nearest
neighbours and with that of the number of parameters; the regret is the points of test accuracy
that the best source of `rank`, or the one that it chooses, lacks against that of the highest test
accuracy. Nothing is stored between the commands, so seconds are those of both in full.
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
from typing import Any

from scipy.stats import weightedtau


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--sources", nargs="+", required=True)
    parser.add_argument("--strategy", default="probe")
    parser.add_argument("--input-size")
    options = parser.parse_args()
    size = ["--input-size", options.input_size] if options.input_size else []
    print("| data | source | leave-one-out | n | tied | 5-NN | parameters | test accuracy |")
    print("|---|---|---|---|---|---|---|---|")
    summary = []
    for data in options.data:
        ranking, rank_seconds = run("rank", data, *options.sources, *size)
        rows = [row for row in ranking["sources"] if row["error"] is None]
        reports, seconds = zip(
            *(adapted(row["source"], data, "--strategy", options.strategy, *size) for row in rows),
            strict=True,
        )
        tests = [report["test"]["accuracy"] for report in reports]
        for row, test in zip(rows, tests, strict=True):
            chosen = " (chosen)" if row["source"] == ranking["choice"] else ""
            print(
                f"| {Path(data).name} | {row['name']}{chosen} | {row['accuracy']:.3f} | {row['n']} "
                f"| {'yes' if row['tied'] else 'no'} | {row['neighbours']:.3f} "
                f"| {row['parameters']:,} | {test:.3f} |",
                flush=True,
            )
        choice = next(k for k, row in enumerate(rows) if row["source"] == ranking["choice"])
        summary.append([
            Path(data).name, f"{tau(range(len(rows), 0, -1), tests):.2f}",
            f"{tau([row['neighbours'] for row in rows], tests):.2f}",
            f"{tau([row['parameters'] for row in rows], tests):.2f}",
            f"{100 * (max(tests) - tests[0]):.1f}", f"{100 * (max(tests) - tests[choice]):.1f}",
            f"{rank_seconds:.0f}", f"{sum(seconds):.0f}",
        ])  # fmt: skip
    columns = ["data", "tau, `rank`", "tau, 5-NN", "tau, size", "regret of the best",
               "of the choice", "s, `rank`", f"s, `{options.strategy}`"]  # fmt: skip
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for cells in summary:
        print(f"| {' | '.join(cells)} |")


def tau(scores: Sequence[float], tests: Sequence[float]) -> float:
    return float(weightedtau(scores, tests).statistic)


def adapted(source: str, data: str, *options: str) -> tuple[dict[str, Any], float]:
    with tempfile.TemporaryDirectory() as place:
        return run("adapt", source, data, "-o", str(Path(place, "out")), *options)


def run(*arguments: str) -> tuple[dict[str, Any], float]:
    """What a command prints, and its seconds."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "zooadapt", *arguments, "--cache-gb", "0", "--json"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout), time.monotonic() - started


if __name__ == "__main__":
    main()
