"""Data that changes after it was opened is an error when it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from zooadapt.errors import DataError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt

from .make import csv_file, encoded, image_folder, listing, opened, photo


def _other_picture(path: Path) -> None:
    path.write_bytes(encoded(photo(500), "JPEG"))


def _one_bit_at_the_same_time_and_size(path: Path) -> None:
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _truncated(path: Path) -> None:
    os.truncate(path, 100)


CHANGES = (_other_picture, _one_bit_at_the_same_time_and_size, _truncated, Path.unlink)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_image_is_named(change: Callable[[Path], Any], tmp_path: Path) -> None:
    split = opened(image_folder(tmp_path / "set")).everything
    split.raw(0)
    change(tmp_path / "set/ant/0.jpg")
    with pytest.raises(DataError, match=r"'ant/0\.jpg' changed, or was removed") as caught:
        split.raw(0)
    assert caught.value.code == 65 and caught.value.thing == "ant/0.jpg" and caught.value.remedy
    split.raw(1)


@pytest.mark.parametrize("change", [*CHANGES[1:], os.utime], ids=lambda change: change.__name__)
def test_a_changed_mapped_table_is_named(change: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    table = pa.table({"text": [str(k) for k in range(2000)], "label": ["a", "b"] * 1000})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    split = opened(path, modality="text").everything
    assert split.raw(1999) == "1999"
    if change is _one_bit_at_the_same_time_and_size:
        path.with_name("new").write_bytes(path.read_bytes())
        path.with_name("new").replace(path)
    else:
        change(path)
    with pytest.raises(DataError, match=r"'t\.arrow' changed"):
        split.raw(1999)


def test_a_table_in_memory_survives_removal_of_its_file(tmp_path: Path) -> None:
    split = opened(csv_file(tmp_path / "t.csv"), modality="text").everything
    (tmp_path / "t.csv").unlink()
    assert split.raw(3) == "four"


class Change(Progress):
    """Replaces every picture after planning and before training."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def plan(self, lines: object, *, seconds: object) -> None:
        for number, path in enumerate(sorted(self.root.rglob("*.jpg"))):
            path.write_bytes(encoded(photo(1000 + number), "JPEG"))


@pytest.mark.parametrize("strategy", ["probe", "full"])
def test_a_run_whose_data_changes_ends_without_output(strategy: str, tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 8, "bee": 8})
    before = listing(tmp_path)
    request = Request(
        source="digits04",
        data=str(root),
        out=tmp_path / "out",
        strategy=strategy,
        cache_gb=0,  # what another test stored of these pictures would be used without reading them
    )
    with pytest.raises(DataError, match="changed, or was removed, while it was in use"):
        adapt(request, Change(root))
    assert listing(tmp_path) == before
