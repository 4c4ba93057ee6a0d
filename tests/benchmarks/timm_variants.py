"""Writes the list of timm's pretrained networks that its plugin ships: names, licences, sizes.

    python tests/benchmarks/timm_variants.py > plugins/zooadapt-timm/zooadapt_timm/variants.csv

By architecture, the weights that timm itself takes by default first. A size is the number of
parameters without the head, which an adaptation replaces.
"""

from __future__ import annotations

import csv
import sys
from functools import cache

import timm
import torch
from timm.models import get_pretrained_cfg

COLUMNS = ("source", "license", "parameters")


def rows() -> list[tuple[str, str, int | str]]:
    """One for each set of weights under `timm/` on the Hub, each once."""
    names = timm.list_pretrained()
    default = {name: get_pretrained_cfg(name) for name in timm.list_models()}
    first = {f"{name}.{cfg.tag}" for name, cfg in default.items() if cfg and cfg.tag}
    variants: dict[str, tuple[str, str, int | str]] = {}
    for name in sorted(names, key=lambda name: (name.partition(".")[0], name not in first, name)):
        cfg = get_pretrained_cfg(name)
        if cfg.hf_hub_id and cfg.hf_hub_id.startswith("timm/") and cfg.hf_hub_id not in variants:
            size = parameters(name.partition(".")[0])
            variants[cfg.hf_hub_id] = (cfg.hf_hub_id, cfg.license or "", size)
    return list(variants.values())


@cache
def parameters(architecture: str) -> int | str:
    """Of a network without its head; nothing for one that cannot be built without memory."""
    try:
        with torch.device("meta"):
            net = timm.create_model(architecture, num_classes=0)
    except Exception as error:
        print(f"{architecture}: {type(error).__name__}: {error}", file=sys.stderr)
        return ""
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows())
