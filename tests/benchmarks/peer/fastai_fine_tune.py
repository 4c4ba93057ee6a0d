"""fastai's `fine_tune` with its defaults on timm's network, for the epochs that fit."""

from __future__ import annotations

from pathlib import Path

from images import epoch_seconds, network, settings
from job import Job, Row, Unable, run


def predict(job: Job) -> list[Row]:
    if job.modality != "image":
        raise Unable("fastai's text learner takes weights of AWD-LSTM alone")
    import fastai.vision.all as vision
    import torch
    from fastai.vision.learner import TimmBody
    from torch import nn

    vision.set_seed(job.seed)
    net = network(job, outputs=0)
    config = settings(job, net)
    side = config["input_size"][-1]
    targets = dict(zip(job.train, job.targets, strict=True))
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, _block(job, vision)),
        get_y=lambda file: targets[str(file)],
        splitter=vision.IndexSplitter([]),  # `fine_tune` chooses nothing by a validation part
        item_tfms=vision.Resize(side),
        batch_tfms=[
            *vision.aug_transforms(),
            vision.Normalize.from_stats(config["mean"], config["std"]),
        ],
    )
    # An epoch of fewer images than its 64 in a batch would train nothing.
    size = min(64, len(job.train))
    loaders = block.dataloaders([Path(file) for file in job.train], bs=size, num_workers=0)
    body = TimmBody(net)
    with torch.inference_mode():
        width = body(torch.zeros(2, 3, side, side)).shape[1]
    model = nn.Sequential(body, vision.create_head(width, len(job.names)))
    learner = vision.Learner(loaders, model, splitter=vision.default_split, metrics=[])

    def gradients(x: torch.Tensor, y: torch.Tensor) -> None:
        learner.loss_func(model.train()(x), y).backward()

    one = epoch_seconds(model, loaders.train, gradients)
    # The first epoch, with the body frozen, comes on top.
    epochs = job.fits(one, spare=one * (0.5 + len(job.test) / len(job.train) / 2))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        test = loaders.test_dl([Path(file) for file in job.test], num_workers=0)
        rows, _ = learner.get_preds(dl=test)
    return rows.reshape(len(job.test), -1).tolist()


def _block(job: Job, vision: object) -> object:
    if job.task == "classification":
        return vision.CategoryBlock(vocab=list(range(len(job.names))))
    if job.task == "multilabel":
        return vision.MultiCategoryBlock(encoded=True, vocab=job.names)
    return vision.RegressionBlock(n_out=1)


if __name__ == "__main__":
    run(predict)
