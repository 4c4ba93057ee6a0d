"""How long adapting takes, beside a bare loop, fastai, timm and scikit-learn.

    pip install -e '.[peers]' && python tests/benchmarks/speed.py SOURCE DATA [--rounds 3]

Every side is a process of its own; the sides run in turn, round by round, on the same source, data
and machine. A table in Markdown goes to stdout, medians with the range over the rounds; each line
of `--out` is one run, and what it holds is not run again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from statistics import median

from processes import run, zooadapt

SIDES = Path(__file__).with_name("sides.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("speed.jsonl"))
    parser.add_argument("--only", default="", help="sides whose name holds this expression")
    options = parser.parse_args()
    source, data = str(Path(options.source).resolve()), str(Path(options.data).resolve())
    key = f"{Path(source).name} {Path(data).name}"
    rows = [json.loads(line) for line in _lines(options.out)]
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(source, data, options.epochs, Path(place))
        for number in range(options.rounds):
            for side in bench.sides():
                here = (key, side, number)
                if re.search(options.only, side) and here not in {_key(row) for row in rows}:
                    row = {"task": key, "side": side, "round": number, **bench.run(side, number)}
                    rows.append(row)
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(f"{side}: {row}", file=sys.stderr)
    print(table([row for row in rows if row["task"] == key]))


class Bench:
    """The sides of one task."""

    def __init__(self, source: str, data: str, epochs: int, place: Path) -> None:
        self._source, self._data, self._epochs, self._place = source, data, epochs, place
        look = zooadapt(["inspect", source], place / "cache-inspect")[0]
        last, before = (look["stages"][k]["name"] for k in (-1, -2))
        # A probe without a cache tells how this machine runs the network: its mode is every side's.
        plan = self._adapt("probe", "mode", ["--cache-gb", "0"])["plan"]
        self._mode = ["--precision", plan["precision"]]
        self._layout = ["--channels-last"] if plan["channels_last"] else []
        plain = ["--augment", "none", "--epochs", str(epochs)]
        self._ours = {
            "probe": ("probe", []),
            "probe, second run": ("probe", []),
            f"from:{last}": (f"from:{last}", plain),
            f"from:{last}, no cache": (f"from:{last}", [*plain, "--cache-gb", "0"]),
            f"from:{before}": (f"from:{before}", plain),
            f"from:{before}, no cache": (f"from:{before}", [*plain, "--cache-gb", "0"]),
            "lp-ft": ("lp-ft", plain),
            "full": ("full", plain),
        }
        images = look["modality"] == "image"
        self._theirs = {"bare pass": "floor", "bare loop": "loop"}
        if images:
            self._theirs |= {
                "scikit-learn": "sklearn",
                "timm loop": "timm",
                "fastai fine_tune": "fastai",
            }

    def sides(self) -> list[str]:
        return [*self._ours, *self._theirs]

    def run(self, side: str, number: int) -> dict:
        if side in self._ours:
            strategy, more = self._ours[side]
            # Only a second run finds what the first one stored; every other starts with nothing.
            cache = "probe" if side.startswith("probe") else side
            return self._adapt(strategy, f"{cache} {number}", more)
        command = [
            sys.executable, str(SIDES), self._theirs[side], "--source", self._source,
            "--data", self._data, "--epochs", str(self._epochs), *self._mode, *self._layout,
        ]  # fmt: skip
        result, cost = run(command, {})
        return result | {"whole": cost.seconds, "peak": cost.peak / 2**20}

    def _adapt(self, strategy: str, cache: str, more: list[str]) -> dict:
        report, cost = zooadapt(
            ["adapt", self._source, self._data, "-o", str(self._place / "out"), "--overwrite",
             "--strategy", strategy, "--seed", "0", *more],
            self._place / re.sub(r"\W+", "-", f"cache {cache}"),
        )  # fmt: skip
        if "seconds" not in report:
            return report
        seconds, samples = report["seconds"], report["data"]["samples"]
        epochs = len(report["epochs"])
        return {
            "seconds": seconds["total"],
            "parts": seconds,
            "plan": {k: report["plan"][k] for k in ("precision", "channels_last")},
            "samples": samples["train"] * max(1, epochs) + samples.get("test", 0) * (not epochs),
            "steps": report["steps"],
            "training": seconds.get("train", 0.0) if epochs else None,
            "accuracy": report["test"]["accuracy"],
            "whole": cost.seconds,
            "peak": cost.peak / 2**20,
        }


def table(rows: list[dict]) -> str:
    """Medians over the rounds, with the range; `x probe` is the work as a multiple of a probe's."""
    lines = [
        "| side | work, s | x probe | whole process, s | samples/s | ms per step | peak MB "
        "| test accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    good = [row for row in rows if "seconds" in row]
    probe = median([row["seconds"] for row in good if row["side"] == "probe"] or [float("nan")])
    for side in dict.fromkeys(row["side"] for row in good):
        mine = [row for row in good if row["side"] == side]
        work = [row["seconds"] for row in mine]
        step = [
            1000 * row["training"] / row["steps"]
            for row in mine
            if row.get("training") and row.get("steps")
        ]
        lines.append(
            f"| {side} | {_spread(work)} | {median(work) / probe:.1f} "
            f"| {_spread([row['whole'] for row in mine])} "
            f"| {median(row['samples'] / row['seconds'] for row in mine):.0f} "
            f"| {_spread(step) if step else ''} | {median(row['peak'] for row in mine):.0f} "
            f"| {median(row['accuracy'] for row in mine):.3f} |"
        )
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    middle = f"{median(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f} to {max(values):.1f})"


def _key(row: dict) -> tuple:
    return row["task"], row["side"], row["round"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
