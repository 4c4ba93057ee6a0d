"""AutoGluon's MultiModalPredictor with its defaults on the given weights, within its `time_limit`.

It trains one target, so several labels are one predictor each with an equal share of the time, as
its documentation does it for tables. Its `time_limit` is counted in processor seconds here, like
every peer's budget, so that other work on the machine does not shorten it; the limit is for the
training alone, and the rest is set aside for what follows.
"""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

from job import Job, Row, run

TRAINING = 0.75
"""Its share of what is left; it averages checkpoints and predicts in the rest."""


def predict(job: Job) -> list[Row]:
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor
    from lightning.pytorch.callbacks import timer

    timer.time = SimpleNamespace(monotonic=time.process_time)
    column = "image" if job.modality == "image" else "text"
    kind = "regression" if job.task == "regression" else None
    hyperparameters = _weights(job) | {
        "env.num_gpus": 0,
        "env.num_workers": 0,
        "env.num_workers_inference": 0,
    }
    test = pd.DataFrame({column: job.test})

    def answer(targets: list, number: int, seconds: float, kind: str | None) -> pd.DataFrame:
        predictor = MultiModalPredictor(
            label="target",
            problem_type=kind,
            path=str(job.folder / f"autogluon-{number}"),
            verbosity=1,
            enable_progress_bar=False,
        )
        predictor.fit(
            pd.DataFrame({column: job.train, "target": targets}),
            time_limit=seconds,
            hyperparameters=hyperparameters,
            seed=job.seed,
        )
        if kind == "regression":
            return predictor.predict(test, as_pandas=True)
        return predictor.predict_proba(test, as_pandas=True)

    if job.task == "multilabel":
        columns = []
        for number in range(len(job.names)):
            seconds = job.left() / (len(job.names) - number)
            targets = [row[number] for row in job.targets]
            columns.append(answer(targets, number, seconds * TRAINING, "binary")[1].to_numpy())
        return [list(row) for row in zip(*columns, strict=True)]
    kind = kind or ("binary" if len(job.names) == 2 else "multiclass")
    outcome = answer(job.targets, 0, job.left() * TRAINING, kind)
    if job.task == "regression":
        return [[value] for value in outcome.to_numpy()]
    return outcome[list(range(len(job.names)))].to_numpy().tolist()


def _weights(job: Job) -> dict:
    """The weights as AutoGluon reads them from a folder."""
    if job.modality == "text":
        return {"model.names": ["hf_text"], "model.hf_text.checkpoint_name": str(job.weights)}
    import torch
    from safetensors.torch import load_file

    config = json.loads((job.weights / "config.json").read_text())
    cfg = config["pretrained_cfg"]
    if job.input_size:
        cfg["input_size"] = [3, job.input_size, job.input_size]
    folder = job.folder / "timm"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    state = load_file(job.weights / "model.safetensors")
    head = f"{cfg['classifier']}."
    body = {key: value for key, value in state.items() if not key.startswith(head)}
    torch.save(body, folder / "pytorch_model.bin")
    return {
        "model.names": ["timm_image"],
        "model.timm_image.checkpoint_name": str(folder),
        "model.timm_image.image_norm": None,
    }


if __name__ == "__main__":
    run(predict)
