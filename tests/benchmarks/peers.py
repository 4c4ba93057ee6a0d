"""zooadapt beside other libraries: the same weights, splits, processor seconds and scores.

    python tests/benchmarks/peers.py DATA_FOLDER --environments ENVS [--data flowers5 trec6]
        [--peers REGEX] [--seeds 1] [--seconds 600] [--labels-per-class 10] [--input-size 128]

DATA_FOLDER holds `weights/`, `images/`, `text/`, `multilabel/` and `regression/`. Each peer is a
file in `peer/` with one function (`peer/job.py` states its contract) and runs as a process of its
own, with one thread, in one of two environments below ENVS. AutoGluon needs one of its own, since
it asks for huggingface-hub below 2. Where one is missing, the peer's row says so.

    uv venv ENVS/common && uv pip install -p ENVS/common -e '.[peers]'
    uv venv ENVS/autogluon && uv pip install -p ENVS/autogluon 'autogluon.multimodal>=1.6'

zooadapt's `auto` comes first, with `--seconds` as its budget; the others get the processor seconds
that it took, or `--seconds` with `--full-budget`. Every side predicts the same test rows, and is
scored here. A peer that cannot do a task, or cannot take the weights, has a row with the reason.
Each line of `--out` is one run; one with predictions is not run again. Tables in Markdown go to
stdout.
Measure with one core that nothing else uses: `taskset -c 1 python tests/benchmarks/peers.py ...`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peer_scores import LOWER_IS_BETTER, difference, interval, scores_of
from peer_tasks import TASKS, Task, read, sample, write_job
from processes import run

AUTO = "zooadapt auto"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
OFFLINE = {"HF_HUB_OFFLINE": "1", "LIGHTLY_TRAIN_EVENTS_DISABLED": "1"}


@dataclass(frozen=True, kw_only=True)
class Peer:
    file: str
    """Below `peer/`, with its arguments."""
    environment: str = "common"
    """Below ENVS; `own` is the one that runs the benchmark."""
    modality: str = "image text"
    """The kinds of data that it is run on."""


PEERS = {
    AUTO: Peer(file="zooadapt_side.py auto", environment="own"),
    "zooadapt probe": Peer(file="zooadapt_side.py probe", environment="own"),
    "scikit-learn on features": Peer(file="logistic.py"),
    "timm's recipe": Peer(file="timm_recipe.py", modality="image"),
    "fastai": Peer(file="fastai_fine_tune.py"),
    "LightlyTrain": Peer(file="lightly_classification.py", modality="image"),
    "AutoGluon MultiModal": Peer(file="autogluon_multimodal.py", environment="autogluon"),
    "transformers' Trainer": Peer(file="hf_trainer.py", modality="text"),
    "SetFit": Peer(file="setfit_pairs.py", modality="text"),
    "TF-IDF": Peer(file="bag_of_words.py", environment="own", modality="text"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--environments", type=Path, default=Path("environments"))
    parser.add_argument("--data", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--peers", default="", help="only sides whose name holds this expression")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--full-budget", action="store_true", help="--seconds for every peer")
    parser.add_argument("--labels-per-class", type=int, help="of classes; default: all")
    parser.add_argument("--input-size", type=int, help="of images; default: the weights'")
    parser.add_argument("--image-weights", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--text-weights", default="all_minilm_l6_v2.st_fp16")
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    rows = {_key(row): row for row in map(json.loads, lines)}
    for row in () if options.table else measured(options, rows):
        rows[_key(row)] = row
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        shown = {key: value for key, value in row.items() if key != "predictions"}
        print(shown, file=sys.stderr, flush=True)
    for name in options.data:
        mine = [row for row in rows.values() if row["data"] == name]
        if mine:
            print(table(options.folder, TASKS[name], mine), end="\n\n")


def measured(options: argparse.Namespace, rows: dict[tuple, dict]) -> Iterator[dict]:
    """The runs of which `rows` holds no predictions; `auto` of a data set before its peers."""
    for seed in range(options.seeds):
        for name in options.data:
            task = TASKS[name]
            for side, peer in PEERS.items():
                key = {
                    "data": name,
                    "side": side,
                    "seed": seed,
                    "labels": options.labels_per_class,
                    "input_size": options.input_size if task.modality == "image" else None,
                    "weights": getattr(options, f"{task.modality}_weights"),
                }
                if (
                    task.modality in peer.modality.split()
                    and re.search(options.peers, side)
                    and "predictions" not in rows.get(_key(key), {})
                ):
                    seconds = options.seconds
                    auto = rows.get(_key(key | {"side": AUTO}), {})
                    if "predictions" in auto and side != AUTO and not options.full_budget:
                        seconds = auto["cpu"]
                    yield key | one(options, task, peer, key, seconds)


def one(options: argparse.Namespace, task: Task, peer: Peer, key: dict, seconds: float) -> dict:
    """What a peer answered, and its cost."""
    python = sys.executable
    if peer.environment != "own":
        python = str(options.environments.absolute() / peer.environment / "bin" / "python")
        if not Path(python).exists():
            return {"unable": f"no environment {python}"}
    train, test, names = read(options.folder, task)
    if key["labels"] and task.kind == "classification":
        train = sample(train, key["labels"], key["seed"])
    with tempfile.TemporaryDirectory() as place:
        write_job(
            Path(place),
            task=task,
            train=train,
            test=test,
            names=names,
            weights=options.folder / "weights" / key["weights"],
            seed=key["seed"],
            seconds=seconds,
            input_size=key["input_size"],
        )
        file, *arguments = peer.file.split()
        script = Path(__file__).parent / "peer" / file
        command = [python, str(script), place, *arguments]
        answer, cost = run(command, ONE_THREAD | OFFLINE)
    spent = {"cpu": cost.cpu, "seconds": cost.seconds, "peak": cost.peak, "budget": seconds}
    predictions = np.array(answer.get("predictions", []))
    if len(predictions) and (len(predictions) != len(test.inputs) or np.isnan(predictions).any()):
        answer = {"failed": f"{len(predictions)} rows, {np.isnan(predictions).sum()} NaN"}
    elif len(predictions):
        answer = {"predictions": [[float(f"{x:.6g}") for x in row] for row in predictions]}
    return spent | answer


def table(folder: Path, task: Task, rows: list[dict]) -> str:
    """A line for each run: the scores with their intervals, the difference to `auto`, the cost."""
    _, test, _ = read(folder, task)
    scores = scores_of(task.kind, positive=task.positive)
    first = next(iter(scores))
    lines = [
        f"| {task.name}, n {len(test.targets)} | {' | '.join(scores)} | {first} less `auto`'s "
        "| CPU s | s | peak MB |",
        "|---" * (len(scores) + 5) + "|",
    ]
    autos = {_run(row): row for row in rows if row["side"] == AUTO}
    for row in rows:
        variant = [f"seed {row['seed']}"] if row["seed"] else []
        variant += [f"{row['labels']} labels a class"] if row["labels"] else []
        title = ", ".join([row["side"], *variant])
        if "predictions" not in row:
            reason = row.get("unable") or f"failed: {row.get('failed') or row.get('said')}"
            lines.append(f"| {title} | {' '.join(reason.split())} |" + " |" * (len(scores) + 3))
            continue
        predicted = np.array(row["predictions"])
        cells = []
        for name, score in scores.items():
            low, high = interval(score, test.targets, predicted)
            cells.append(_shown(score(test.targets, predicted), low, high, name))
        auto = autos.get(_run(row), {})
        against = ""
        if row["side"] != AUTO and "predictions" in auto:
            gap, bounds = difference(
                scores[first], test.targets, predicted, np.array(auto["predictions"])
            )
            against = f"{gap:+.3f} ({bounds[0]:+.3f} to {bounds[1]:+.3f})"
        lines.append(
            f"| {title} | {' | '.join(cells)} | {against} | {row['cpu']:.0f} "
            f"| {row['seconds']:.0f} | {row['peak'] / 2**20:.0f} |"
        )
    return "\n".join(lines)


def _key(row: dict) -> tuple:
    return row["data"], row["side"], *_run(row)


def _run(row: dict) -> tuple:
    return tuple(row[key] for key in ("seed", "labels", "input_size", "weights"))


def _shown(value: float, low: float, high: float, name: str) -> str:
    if name in LOWER_IS_BETTER and value > 100:
        return f"{value:,.0f} ({low:,.0f} to {high:,.0f})"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
