"""The other sides of the speed benchmark, one a process.

    python tests/benchmarks/sides.py SIDE --source DIR --data DIR [--epochs N] [--precision bf16]

prints one JSON object: seconds of work after the imports, samples, steps, training seconds, test
accuracy. `floor` and `loop` run zooadapt's own network and preprocessing in a plain loop, so that
what is compared is what zooadapt adds to them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from zooadapt.backbone.pretrained import build
from zooadapt.data import ReadOptions, hold_out, open_dataset, sample_per_class
from zooadapt.zoo.sources import open_source

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--source", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input-size", type=int, help="of fastai's images; default: the source's")
    parser.add_argument("--labels-per-class", type=int, help="of fastai's training part")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    print(json.dumps(SIDES[options.side](options)))


class Task:
    """A source's network and a data set's samples, with nothing of zooadapt's engine around."""

    def __init__(self, options: argparse.Namespace) -> None:
        source = open_source(options.source)
        self.data = open_dataset(
            options.data, modality=source.family.modality, options=ReadOptions()
        )
        self.model = build(source, task=self.data.task)
        self.backbone = self.model.backbone
        self.layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.backbone.net.to(memory_format=self.layout)
        self.bf16 = options.precision == "bf16"

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bf16)

    def raw(self, split: Any, index: int) -> Any:
        return split.raw(
            index, min_side=self.model.preprocessor.min_side, channels=self.model.channels
        )

    def batches(self, raws: list, order: np.ndarray) -> Iterator[tuple[np.ndarray, dict]]:
        """Preprocessed batches, the next one made by threads while this one is used."""
        prepare = self.model.preprocessor
        parts = [order[k : k + BATCH] for k in range(0, len(order), BATCH)]
        with ThreadPoolExecutor(2) as pool:
            ahead: list[Any] = []
            for part in [*parts, None]:
                if part is not None:
                    ahead.append((part, [pool.submit(prepare, raws[i], rng=None) for i in part]))
                if len(ahead) > 1 or part is None:
                    indices, futures = ahead.pop(0)
                    activations = prepare.collate([future.result() for future in futures])
                    yield indices, {name: self.placed(t) for name, t in activations.items()}

    def placed(self, tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=self.layout) if tensor.ndim == 4 else tensor

    def decoded(self, split: Any) -> list:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda i: self.raw(split, i), range(len(split))))

    @torch.inference_mode()
    def features(self, split: Any) -> np.ndarray:
        self.backbone.eval()
        raws, rows = self.decoded(split), []
        for _, activations in self.batches(raws, np.arange(len(raws))):
            with self.autocast():
                rows.append(self.backbone.run(activations)["features"].float())
        return torch.cat(rows).numpy()

    @torch.inference_mode()
    def hits(self, raws: list, labels: np.ndarray) -> float:
        self.backbone.eval()
        hits = 0
        for indices, activations in self.batches(raws, np.arange(len(raws))):
            with self.autocast():
                hits += int(
                    (self.backbone.logits(activations).argmax(1).numpy() == labels[indices]).sum()
                )
        return hits / len(raws)


def floor(options: argparse.Namespace) -> dict:
    """Each sample decoded and run through the network once, and a ridge on the features."""
    from sklearn.linear_model import RidgeClassifierCV

    started = time.perf_counter()
    task = Task(options)
    passed = time.perf_counter()
    train, test = task.data.train, task.data.test
    x, x_test = task.features(train), task.features(test)
    passed = time.perf_counter() - passed
    ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 13) * x.var(0).sum() / 10)
    accuracy = ridge.fit(x, train.labels).score(x_test, test.labels)
    return _result(started, len(x) + len(x_test), accuracy) | {"pass_seconds": passed}


def loop(options: argparse.Namespace) -> dict:
    """AdamW over the whole network, norm statistics kept, gradients clipped; a validation pass
    after every epoch: the steps that `full` takes. Decoding counts as training, as it does there,
    where it happens during the first epoch."""
    started = time.perf_counter()
    task = Task(options)
    train, val = hold_out(task.data.train, 0.2, 0)
    training, steps = time.perf_counter(), 0
    raws, raws_val = task.decoded(train), task.decoded(val)
    backbone, labels = task.backbone, torch.from_numpy(train.labels)
    backbone.net.requires_grad_(True)
    optimizer = torch.optim.AdamW(backbone.net.parameters(), 1e-3, weight_decay=0.05, foreach=True)
    for _ in range(options.epochs):
        backbone.eval()
        for indices, activations in task.batches(raws, np.random.permutation(len(raws))):
            with task.autocast():
                logits = backbone.logits(activations)
            loss = nn.functional.cross_entropy(logits.float(), labels[indices], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(backbone.net.parameters(), 1.0)
            optimizer.step()
            steps += 1
        task.hits(raws_val, val.labels)
    training = time.perf_counter() - training
    test = task.data.test
    accuracy = task.hits(task.decoded(test), test.labels)
    outcome = _result(started, len(raws) * options.epochs, accuracy)
    return outcome | {"steps": steps, "training": training}


def scikit(options: argparse.Namespace) -> dict:
    """timm's network as it comes, embeddings in fp32, scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    net, transform, _ = _timm(options.source, classes=0)
    started = time.perf_counter()
    net.eval()
    parts = {}
    for name in ("train", "test"):
        loader = _loader(options.data, name, transform)
        with torch.inference_mode():
            outcome = [(net(x), y) for x, y in loader]
        parts[name] = [torch.cat(column).numpy() for column in zip(*outcome, strict=True)]
    scale = StandardScaler().fit(parts["train"][0])
    model = LogisticRegression(max_iter=1000)
    model.fit(scale.transform(parts["train"][0]), parts["train"][1])
    accuracy = model.score(scale.transform(parts["test"][0]), parts["test"][1])
    return _result(started, sum(len(y) for _, y in parts.values()), accuracy)


def timm_loop(options: argparse.Namespace) -> dict:
    """A plain fine-tune with timm's transforms: AdamW 1e-3, a cosine, every layer, fp32."""
    from timm.data import create_transform

    net, transform, config = _timm(options.source, classes=_classes(options.data))
    started = time.perf_counter()
    varied = create_transform(**config, is_training=True)
    loader = _loader(options.data, "train", varied, shuffle=True)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loader))
    samples = 0
    training = time.perf_counter()
    for _ in range(options.epochs):
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            schedule.step()
            samples += len(y)
    training = time.perf_counter() - training
    net.eval()
    with torch.inference_mode():
        right = [net(x).argmax(1) == y for x, y in _loader(options.data, "test", transform)]
    outcome = _result(started, samples, float(torch.cat(right).float().mean()))
    return outcome | {"steps": options.epochs * len(loader), "training": training}


def fastai(options: argparse.Namespace) -> dict:
    """fastai's `fine_tune` with its defaults, on the same weights."""
    import fastai.vision.all as vision
    from fastai.vision.learner import TimmBody

    net, _, config = _timm(options.source, classes=0)
    vision.set_seed(options.seed)
    started = time.perf_counter()
    side = options.input_size or config["input_size"][-1]
    data = open_dataset(options.data, modality="image", options=ReadOptions())
    train = data.train
    if options.labels_per_class:
        train = sample_per_class(train, options.labels_per_class, options.seed)
    files = [Path(options.data, name) for split in (train, data.test) for name in split.ids]
    # `ImageDataLoaders.from_lists` takes no splitter: it would mix the test part in.
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock),
        get_y=vision.parent_label,
        splitter=vision.IndexSplitter(range(len(train), len(files))),
        item_tfms=vision.Resize(side),
        batch_tfms=[
            *vision.aug_transforms(),
            vision.Normalize.from_stats(config["mean"], config["std"]),
        ],
    )
    loaders = block.dataloaders(files, num_workers=2)
    assert (len(loaders.train_ds), len(loaders.valid_ds)) == (len(train), len(data.test))
    body = TimmBody(net)
    with torch.inference_mode():
        width = body(torch.zeros(2, 3, side, side)).shape[1]
    model = nn.Sequential(body, vision.create_head(width, loaders.c))
    learner = vision.Learner(loaders, model, splitter=vision.default_split, metrics=vision.accuracy)
    training = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(options.epochs)
    training = time.perf_counter() - training
    outcome = learner.validate()[1]
    samples = (options.epochs + 1) * len(loaders.train_ds)
    steps = (options.epochs + 1) * len(loaders.train)
    return _result(started, samples, outcome) | {
        "steps": steps, "training": training, "n": len(data.test)
    }  # fmt: skip


def _timm(source: str, *, classes: int) -> tuple[nn.Module, Any, dict]:
    from safetensors.torch import load_file

    config = json.loads((Path(source) / "config.json").read_text())
    net = timm.create_model(config["architecture"], num_classes=classes)
    state = load_file(Path(source) / "model.safetensors")
    own = net.state_dict()
    fits = {k: t for k, t in state.items() if k in own and own[k].shape == t.shape}
    net.load_state_dict(fits, strict=False)
    data = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    return net, timm.data.create_transform(**data), data


def _loader(data: str, part: str, transform: Any, *, shuffle: bool = False) -> Any:
    from torchvision.datasets import ImageFolder

    outcome = ImageFolder(Path(data) / part, transform)
    return torch.utils.data.DataLoader(outcome, BATCH, shuffle=shuffle, num_workers=2)


def _classes(data: str) -> int:
    return sum(path.is_dir() for path in (Path(data) / "train").iterdir())


def _result(started: float, samples: int, accuracy: float) -> dict:
    accuracy = float(accuracy)
    assert math.isfinite(accuracy)
    return {"seconds": time.perf_counter() - started, "samples": samples, "accuracy": accuracy}


SIDES = {"floor": floor, "loop": loop, "sklearn": scikit, "timm": timm_loop, "fastai": fastai}

if __name__ == "__main__":
    main()
