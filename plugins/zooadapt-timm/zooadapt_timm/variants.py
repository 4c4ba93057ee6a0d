"""timm's pretrained networks on the Hub, from a list, without importing timm."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from zooadapt.family import Variant

_LIST = Path(__file__).with_name("variants.csv")
"""Source, licence, parameters without the head: written by tests/benchmarks/timm_variants.py."""
_START = {
    "timm/mobilenetv3_small_100.lamb_in1k": "the quickest on a laptop",
    "timm/mobilenetv2_100.ra_in1k": "quick on a laptop",
    "timm/convnext_tiny.in12k_ft_in1k": "stronger, better with a GPU",
    "timm/vit_small_patch14_dinov2.lvd142m": "features for images unlike ImageNet",
}


def variants() -> Iterator[Variant]:
    """Each set of weights once; of one architecture, timm's default first. timm's own test networks
    are not among them."""
    with _LIST.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"].startswith("timm/test_"):
                continue
            yield Variant(
                source=row["source"],
                license=row["license"] or None,
                parameters=int(row["parameters"]) if row["parameters"] else None,
                start=_START.get(row["source"], ""),
            )
