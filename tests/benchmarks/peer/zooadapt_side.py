"""`zooadapt adapt` with the strategy that is the second argument, and `zooadapt predict`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from job import Job, Row, run

COMMAND = Path(__file__).with_name("processor_clock.py")


def predict(job: Job, *, strategy: str) -> list[Row]:
    folder = job.folder / strategy
    folder.mkdir()
    column = {"image": "file_name", "text": "text"}[job.modality]
    labels = job.names if job.task == "multilabel" else ["label"]
    targets = [target if job.task == "multilabel" else [target] for target in job.targets]
    if job.task == "classification":
        targets = [[job.names[number]] for (number,) in targets]
    train, test = folder.parent / f"{strategy}-train.csv", folder.parent / f"{strategy}-test.csv"
    _write(train, [column, *labels], _inputs(job, job.train), targets)
    _write(test, [column], _inputs(job, job.test), [[] for _ in job.test])
    options = ["--strategy", strategy, "--seed", str(job.seed)]
    options += ["--budget", f"{round(job.seconds)}s"]
    if job.input_size:
        options += ["--input-size", str(job.input_size)]
    if job.task != "classification":
        options += ["--task", job.task]
    if job.task == "multilabel":
        options += ["--label-columns", ",".join(job.names)]
    model = folder / "model"
    _zooadapt(["adapt", str(job.weights), str(train), "--out", str(model), *options], folder)
    answers = _zooadapt(["predict", str(model), str(test)], folder)["predictions"]
    return [_row(job, answer) for answer in answers]


def _inputs(job: Job, inputs: list[str]) -> list[str]:
    """Images by their paths below the folder of the tables."""
    if job.modality == "text":
        return inputs
    return [os.path.relpath(file, job.folder) for file in inputs]


def _write(path: Path, header: list[str], inputs: list[str], targets: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([x, *target] for x, target in zip(inputs, targets, strict=True))


def _zooadapt(arguments: list[str], folder: Path) -> dict:
    done = subprocess.run(
        [sys.executable, str(COMMAND), *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "ZOOADAPT_CACHE": str(folder / "cache")},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing printed"])[-1]
        raise RuntimeError(f"zooadapt exited with {done.returncode}: {last}")
    return json.loads(done.stdout)


def _row(job: Job, answer: dict) -> Row:
    if job.task == "regression":
        return [answer["value"]]
    return [answer["probabilities"][name] for name in job.names]


if __name__ == "__main__":
    run(partial(predict, strategy=sys.argv[2]))
