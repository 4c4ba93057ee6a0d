"""How many of timm's architectures split into stages that compute what the network computes.

    python tests/benchmarks/timm_architectures.py --out timm.jsonl [--every 9] [--train]

Each architecture is built with random weights and run on two images of the smallest size that it
accepts; its stages and head must give its logits bit for bit and leave their inputs alone. With
`--train` one step in training mode must also give its logits, gradients and buffers, from the same
seed. Where several heads are one, timm's own network must give the logits from an export's tensors.
Results are appended to the file line by line, and what is in it is not run again. Networks of
more than `--largest` parameters are split and run without weights (on torch's meta device), which
proves shapes and not values; they are counted apart.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import timm
import torch
from accelerate import init_empty_weights
from torch import nn
from zooadapt_timm import TimmFamily

from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import ZooadaptError

FAMILY = TimmFamily()
CLASSES = 7
SIZES = (32, 64, 96, 128, 160, 192, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="every Nth architecture")
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--largest", type=float, default=4e8, help="parameters")
    parser.add_argument("--names", nargs="*")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    names = options.names or timm.list_models()[options.offset :: options.every]
    rows = read(options.out)
    with options.out.open("a") as file:
        for name in names:
            if name not in rows:
                rows[name] = examine(name, train=options.train, largest=options.largest)
                file.write(json.dumps(rows[name]) + "\n")
                file.flush()
                print(f"{name:50} {rows[name]['result']}", file=sys.stderr)
                gc.collect()
    print(table([rows[name] for name in names]))


def read(path: Path) -> dict[str, dict]:
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["name"]: row for row in rows}


def examine(name: str, *, train: bool, largest: float) -> dict:
    """One row: `result` is split, shapes, one stage, refused, differs or failed."""
    row = {"name": name, "timm": timm.__version__}
    start = time.perf_counter()
    try:
        row |= _examine(name, train=train, largest=largest)
    except ZooadaptError as error:
        row |= {"result": "refused", "reason": str(error)}
    except Exception as error:
        row |= {"result": "failed", "reason": f"{type(error).__name__}: {error}"[:300]}
    return row | {"seconds": round(time.perf_counter() - start, 2)}


def _examine(name: str, *, train: bool, largest: float) -> dict:
    config = {"architecture": name, "num_classes": CLASSES, "pretrained_cfg": {}}
    with init_empty_weights(include_buffers=True):
        net = FAMILY.build(config, CLASSES)
        FAMILY.head(net)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        config = smallest(config)
    size = FAMILY.preprocessor(config).config()["input_size"]
    row = {"parameters": parameters, "input": size}
    with torch.device("meta" if parameters > largest else "cpu"):
        torch.manual_seed(0)
        backbone = StagedBackbone(FAMILY, FAMILY.build(config, CLASSES))
        x = torch.randn(2, *size)
    stir(backbone)
    row |= {"stages": backbone.depth, "reason": "; ".join(backbone.notes)}
    wrong = differs(backbone, x)
    if train and not wrong and not x.is_meta:
        wrong = differs_in_training(backbone, x)
    wrong = wrong or differs_from_timms(config, backbone, x)
    if wrong:
        return row | {"result": "differs", "reason": wrong}
    split = "shapes" if x.is_meta else "split"
    return row | {"result": split if backbone.depth > 1 else "one stage"}


def smallest(config: dict) -> dict:
    """The config for the smallest size that the network can be built for and run with."""
    for size in SIZES:
        try:
            smaller = FAMILY.with_input(config, size=size)
            FAMILY.build(smaller, CLASSES)(torch.empty(2, 3, size, size))
        except Exception:  # networks say no in many ways
            continue
        return smaller
    return config


def stir(backbone: StagedBackbone) -> None:
    """Leave no scale at zero, which would hide what it scales."""
    for parameter in backbone.net.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.0)
    nn.init.normal_(backbone.head.weight, std=0.1)


def differs(backbone: StagedBackbone, x: torch.Tensor) -> str:
    with torch.inference_mode():
        expected = backbone.net(x)
        activations = {"x": x}
        for stage in backbone.stages:
            before = {key: tensor.clone() for key, tensor in activations.items()}
            after = stage.run(activations)
            if any(len(tensor) != len(x) for tensor in after.values()):
                return f"{stage.name} gives a tensor whose leading dimension is not N"
            if not x.is_meta and not all(torch.equal(activations[k], before[k]) for k in before):
                return f"{stage.name} changes its input"
            activations = after
        if activations["features"].ndim != 2:
            return f"features are {tuple(activations['features'].shape)}"
        actual = backbone.logits({"x": x})
    return "" if x.is_meta or torch.equal(actual, expected) else "logits differ"


def differs_from_timms(config: dict, backbone: StagedBackbone, x: torch.Tensor) -> str:
    """Of a network of several heads: the one that timm itself builds from what an export holds."""
    state = backbone.net.state_dict()
    native = FAMILY.native_state(state, config)
    if native.keys() == state.keys():
        return ""
    settings = FAMILY.native_config(config, [str(k) for k in range(CLASSES)])
    with torch.device(x.device), torch.inference_mode():
        stock = timm.create_model(settings["architecture"], num_classes=CLASSES,
                                  **settings.get("model_args", {})).eval()  # fmt: skip
        stock.load_state_dict(native)
        backbone.eval()
        expected, actual = stock(x), backbone.net(x)
    close = x.is_meta or torch.allclose(actual, expected, rtol=1e-4, atol=1e-5)
    return "" if close else f"an export's logits differ by {(actual - expected).abs().max():.2g}"


def differs_in_training(backbone: StagedBackbone, x: torch.Tensor) -> str:
    state = copy.deepcopy(backbone.net.state_dict())
    runs = []
    for forward in (backbone.net, lambda x: backbone.logits({"x": x})):
        backbone.net.load_state_dict(state)
        backbone.net.zero_grad()
        backbone.net.train()
        torch.manual_seed(1)
        logits = forward(x)
        logits.square().sum().backward()
        grads = {n: p.grad for n, p in backbone.net.named_parameters() if p.grad is not None}
        runs.append({"logits": {"": logits.detach()}, "gradients": copy.copy(grads),
                     "buffers": copy.deepcopy(dict(backbone.net.named_buffers()))})  # fmt: skip
    for what in runs[0]:
        expected, actual = (run[what] for run in runs)
        if expected.keys() != actual.keys():
            return f"{what} in training: not the same tensors"
        for name, tensor in expected.items():
            if not torch.equal(tensor, actual[name]) and not tensor.isnan().any():
                return f"{what} in training differ, {name}"
    return ""


def table(rows: list[dict]) -> str:
    counts = Counter(row["result"] for row in rows)
    lines = [f"{result:10} {count:5} {count / len(rows):7.1%}"
             for result, count in counts.most_common()]  # fmt: skip
    lines += ["", *(f"{row['name']:45} {row['result']:10} {row['reason'][:150]}"
                    for row in rows if row["result"] not in ("split", "shapes"))]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
