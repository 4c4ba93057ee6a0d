"""Fits what `rank` expects of training: the test accuracy of `auto` by that of the linear probe.

    python tests/benchmarks/expected_accuracy.py tests/benchmarks/README.md FILE.json

Reads the tables of strategies that `choice.py` made: a row is one source on one data set, means of
three seeds, `auto` within ten minutes on two cores. The logit of the accuracy of `auto` is a line
in that of the probe. The residual is that of data sets which the line was not fitted to: each is
left out in turn with all its rows, since rows of a data set are no independent evidence.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

import numpy as np

TABLES = ("Strategies, all labels", "Strategies, ten labels a class")
MODALITIES = ["image", "text"]
"""Of the data sets in the tables."""
PROBE, AUTO = "`probe`", "`auto`"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    fitted = fit(rows(options.tables.read_text("utf-8")))
    options.file.write_text(json.dumps(fitted, indent=1, sort_keys=True) + "\n")


def rows(page: str) -> list[tuple[str, float, float]]:
    """Data set, and test accuracies of the probe and of `auto`, of each row of the tables."""
    results = []
    for title in TABLES:
        lines = page.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines
                 if line.startswith("| ")]  # fmt: skip
        heading = table[0]
        for cells in table:
            if match := re.fullmatch(r"(\w+), (\w+)", cells[0]):
                probe, auto = (cells[heading.index(name)].split()[0] for name in (PROBE, AUTO))
                results.append((match[1], float(probe), float(auto)))
            elif cells[0] == "mean":
                break
    return results


def fit(results: list[tuple[str, float, float]]) -> dict[str, object]:
    sets = np.array([name for name, _, _ in results])
    probe, auto = (np.array([row[k] for row in results]) for k in (1, 2))
    x, y = (np.log(share / (1 - share)) for share in (probe, auto))
    residuals, points = [], []
    for left_out in np.unique(sets):
        others = sets != left_out
        slope, intercept = np.polyfit(x[others], y[others], 1)
        line = slope * x[~others] + intercept
        residuals += list(y[~others] - line)
        points += list(auto[~others] - 1 / (1 + np.exp(-line)))
    slope, intercept = np.polyfit(x, y, 1)
    return {
        "command": f"python tests/benchmarks/{Path(__file__).name} tests/benchmarks/README.md FILE",
        "intercept": round(float(intercept), 4),
        "slope": round(float(slope), 4),
        "residual": round(math.sqrt(float(np.mean(np.square(residuals)))), 4),
        "residual_points": round(100 * math.sqrt(float(np.mean(np.square(points)))), 1),
        "rows": len(results),
        "data_sets": len(np.unique(sets)),
        "modalities": MODALITIES,
        "probe_range": [float(probe.min()), float(probe.max())],
        "seconds": 600,
    }


if __name__ == "__main__":
    main()
