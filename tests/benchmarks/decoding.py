"""What decoding JPEG files at a smaller scale saves, and what it does to the accuracy of a probe.

    python tests/benchmarks/decoding.py SOURCE DATA [DATA ...]

A JPEG is decoded at the smallest scale whose shorter side still is what the network's transform
wants. Beside it here: every photo at full scale. One thread, in turn; the probe is a ridge on the
features of each, on the data's own test part. A table in Markdown goes to stdout.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import Model, build
from zooadapt.data import ReadOptions, Split, open_dataset
from zooadapt.heads import fitting
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.tasks.classification import Classification
from zooadapt.zoo.sources import open_source


class FullScale:
    """A split whose photos are never decoded smaller."""

    def __init__(self, split: Split) -> None:
        self._split, self.labels = split, split.labels

    def __len__(self) -> int:
        return len(self._split)

    def raw(self, index: int, *, min_side: int | None, channels: int) -> object:
        return self._split.raw(index, min_side=None, channels=channels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("data", nargs="+")
    options = parser.parse_args()
    source = open_source(options.source)
    engine = Engine(precision="fp32", channels_last=False)
    print(
        "| data | ms per photo, smaller | at full scale | test accuracy, smaller | at full scale |"
    )
    print("|---|---|---|---|---|")
    for location in options.data:
        data = open_dataset(location, modality="image", options=ReadOptions())
        model = build(source, task=of_classes(data.classes))
        engine.place(model.backbone)
        cells: dict[str, list[str]] = {"ms": [], "accuracy": []}
        for wrap in (lambda split: split, FullScale):
            parts = [wrap(data.train), wrap(data.test)]
            cells["ms"].append(f"{1000 * decode(parts[0], model):.1f}")
            cells["accuracy"].append(f"{accuracy(parts, model, engine):.3f}")
        print(f"| {Path(location).name} | {' | '.join(cells['ms'] + cells['accuracy'])} |")


def decode(split: Split, model: Model) -> float:
    """Seconds to decode one photo."""
    started = time.perf_counter()
    for index in range(len(split)):
        split.raw(index, min_side=model.preprocessor.min_side, channels=model.channels)
    return (time.perf_counter() - started) / len(split)


def accuracy(parts: list[Split], model: Model, engine: Engine) -> float:
    """Test accuracy of a ridge head on the features of the training part."""
    features = [
        engine.features(
            model.backbone,
            Inputs(part, model.preprocessor, view=model.view),
            batch_size=32,
            progress=Progress(),
        )
        for part in parts
    ]
    labels = [torch.from_numpy(part.labels) for part in parts]
    fit = fitting.fit_head(
        lambda: iter([features[0]]), labels[0], Classification.of(len(model.classes))
    )
    said = (features[1] @ fit.weight.T + fit.bias).argmax(1)
    return float((said == labels[1]).float().mean())


if __name__ == "__main__":
    main()
