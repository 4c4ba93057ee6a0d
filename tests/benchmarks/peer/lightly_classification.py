"""LightlyTrain's `train_image_classification` on timm's network, with its defaults.

It trains for the steps that fit. It asks for a validation part: a fifth of the training samples, by
which it also chooses the checkpoint. On timm's MobileNets and EfficientNets its release 0.18 fails
as it comes: it reads the last block's channels and expects those of the layer after it. It is run
with its own other way to read features, timm's `forward_features`.
"""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

from job import Job, Row, Unable, held_out, run

BATCH = 16


def predict(job: Job) -> list[Row]:
    if job.modality != "image":
        raise Unable("LightlyTrain trains on images alone")
    if job.task == "regression":
        raise Unable("LightlyTrain trains no regression")
    import lightly_train
    import torch
    from lightly_train._models.timm import timm as wrapper
    from safetensors.torch import load_file

    wrapper._get_forward_features_fn = lambda model: wrapper._forward_features
    config = json.loads((job.weights / "config.json").read_text())
    weights = job.folder / "weights.pt"
    state = load_file(job.weights / "model.safetensors")
    cfg = config["pretrained_cfg"]
    head = f"{cfg['classifier']}."
    torch.save({k: v for k, v in state.items() if not k.startswith(head)}, weights)
    side = job.input_size or cfg["input_size"][-1]
    parts = dict(zip(("train", "val"), held_out(job), strict=True))
    for name, places in parts.items():
        _write(job, job.folder / f"{name}.csv", places)

    def train(folder: str, steps: int) -> Path:
        out = job.folder / folder
        lightly_train.train_image_classification(
            out=out,
            data={
                "train": str(job.folder / "train.csv"),
                "val": str(job.folder / "val.csv"),
                "classes": dict(enumerate(job.names)),
                "csv_label_type": "id",
            },
            model=f"timm/{config['architecture']}",
            classification_task="multilabel" if job.task == "multilabel" else "multiclass",
            model_args={
                "backbone_weights": str(weights),
                "backbone_args": config.get("model_args", {}),
            },
            transform_args={
                "image_size": (side, side),
                "normalize": {"mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])},
            },
            steps=steps,
            batch_size=BATCH,
            num_workers=0,
            precision="32-true",  # its bf16-mixed is for GPUs
            accelerator="cpu",
            seed=job.seed,
        )
        return out

    started = time.process_time()
    train("timed", 1)
    one = time.process_time()
    train("timed more", 11)
    start, step = one - started, (time.process_time() - one - (one - started)) / 10
    spare = start + step / 2 * len(job.test) / BATCH
    out = train("run", job.fits(max(step, 0.01), spare=spare))
    model = lightly_train.load_model(out / "exported_models" / "exported_best.pt")
    rows = []
    for file in job.test:
        answer = model.predict(file, topk=len(job.names), threshold=-1.0)
        order = answer["labels"].argsort()
        rows.append(answer["scores"][order].tolist())
    return rows


def _write(job: Job, path: Path, places: list[int]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "label"])
        for place in places:
            target = job.targets[place]
            numbers = (
                [k for k, on in enumerate(target) if on] if job.task == "multilabel" else [target]
            )
            writer.writerow([job.train[place], ",".join(map(str, numbers))])


if __name__ == "__main__":
    run(predict)
