"""What a pass of a text source over a data set costs, beside a plain loop over sorted batches.

    python tests/benchmarks/text_pass.py SOURCE DATA.csv [--rounds 5] [--precision fp32]

SOURCE is a folder of transformers' with a `tokenizer.json`. Both sides tokenise the texts, run the
network without gradients in batches of like lengths, and pool by the mean of the tokens, in one
process and in turn; the ratio is that of each round. The features have to be equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModel

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.loaders import Inputs
from zooadapt.backbone.pretrained import build
from zooadapt.data import ReadOptions, Split, open_dataset
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.zoo.sources import open_source

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options = parser.parse_args()
    opened = open_dataset(str(options.data), modality="text", options=ReadOptions())
    samples = opened.everything
    texts = [samples.raw(k, min_side=None, channels=3) for k in range(len(samples))]
    sides = {
        "zooadapt": ours(options.source, samples, opened.classes, options.precision),
        "plain loop": plain(options.source, texts, options.precision),
    }
    # Run once before: what is only done once, and a source may scale its features to length 1.
    features = [torch.nn.functional.normalize(side()) for side in sides.values()]
    apart = float((features[0] - features[1]).abs().max())
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in sorted(sides, reverse=bool(number % 2)):
            rounds[name].append(timed(sides[name]))
    print(f"{len(texts)} texts, {options.precision}, largest difference {apart:.1e}")
    for what, column in (("wall", 0), ("CPU", 1)):
        values = {name: [pair[column] for pair in pairs] for name, pairs in rounds.items()}
        ratios = [a / b for a, b in zip(values["zooadapt"], values["plain loop"], strict=True)]
        shown = ", ".join(f"{name} {median(value):.2f} s" for name, value in values.items())
        low, high = min(ratios), max(ratios)
        print(f"{what}: {shown}; ratio {median(ratios):.2f} ({low:.2f} to {high:.2f})")


def ours(
    source: Path, samples: Split, classes: tuple[str, ...], precision: str
) -> Callable[[], Tensor]:
    model = build(open_source(str(source)), task=of_classes(classes))
    engine = Engine(precision=precision, channels_last=False)
    engine.place(model.backbone)

    def run() -> Tensor:
        loader = Inputs(samples, model.preprocessor, variable_length=True)
        return engine.features(model.backbone, loader, batch_size=BATCH, progress=Progress())

    return run


def plain(source: Path, texts: list[str], precision: str) -> Callable[[], Tensor]:
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    network = AutoModel.from_pretrained(source, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run() -> Tensor:
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda k: len(encoded[k]))
        features = torch.zeros(len(texts), network.config.hidden_size)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            rows = [torch.tensor(encoded[k]) for k in chosen]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                states = network(ids, attention_mask=mask.long()).last_hidden_state
                inside = mask[..., None].float()
                features[chosen] = ((states * inside).sum(1) / inside.sum(1)).float()
        return features

    return run


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
