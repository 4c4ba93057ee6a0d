"""What of a picture reaches the network: the crop that suits it, and what a small or grey source
throws away of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zooadapt.backbone import pretrained
from zooadapt.backbone.engine import Engine
from zooadapt.cli import root as cli
from zooadapt.data import open_dataset
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.training import crops
from zooadapt.training.config import Request
from zooadapt.zoo import sources


def ends(root: Path, size: tuple[int, int], *, coloured: bool = False) -> Path:
    """Two classes of 16 pictures that differ at their left and right ends alone: stripes upright or
    level, with noise in them, on an even ground."""
    wide, high = size
    for label in range(2):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(16):
            rng = np.random.default_rng((label, number))
            pixels = np.full((high, wide, 3), 60, dtype=np.uint8)
            stripes = np.indices((high, high))[label] // 3 % 2 * 150 + rng.integers(
                0, 60, (high, high))  # fmt: skip
            pixels[:, :high] = pixels[:, -high:] = stripes[..., None]
            if coloured:
                pixels[..., 0] = 200
            path = root / f"class{label}" / f"{number}.png"
            Image.fromarray(pixels).save(path)
    return root


def adapt(capsys, data: Path, out: Path, *options: str) -> dict[str, Any]:
    """The report of a linear probe of the bundled source."""
    command = ["adapt", "digits04", str(data), "-o", str(out), "--strategy", "probe", "--json"]
    cli.main([*command, *options], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


def crop_of(out: Path) -> str:
    return json.loads((out / "config.json").read_text())["pretrained_cfg"]["crop_mode"]


def test_wide_pictures_are_squeezed_where_that_is_better(tmp_path: Path, capsys) -> None:
    data = ends(tmp_path / "set", (160, 32))
    report = adapt(capsys, data, tmp_path / "out")
    (choice,) = [one for one in report["plan"]["choices"] if one["what"] == "crop"]
    assert choice["value"] == crop_of(tmp_path / "out") == "squash"
    assert "leaves out 80% of a typical image (160 x 32)" in choice["why"]
    assert any("squash was chosen by leave-one-out" in note for note in report["notes"])
    assert report["val"]["accuracy"] >= 0.9
    report = adapt(capsys, data, tmp_path / "center", "--crop", "center")
    assert report["val"]["accuracy"] <= 0.8 and crop_of(tmp_path / "center") == "center"
    assert not any("crop" in one["what"] for one in report["plan"]["choices"])


def test_pictures_of_usual_shapes_cost_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    def compared(*arguments: Any) -> Any:
        raise AssertionError("other crops were tried")

    monkeypatch.setattr(crops, "_compared", compared)
    report = adapt(capsys, ends(tmp_path / "set", (150, 100)), tmp_path / "out")
    assert not any("crop" in note for note in report["notes"])


def test_a_crop_that_loses_nothing_that_matters_stays(tmp_path: Path, capsys) -> None:
    """Nothing but the middle tells the classes apart, and squeezed it is thin."""
    for label in range(2):
        (tmp_path / "set" / f"class{label}").mkdir(parents=True)
        for number in range(16):
            rng = np.random.default_rng((label, number))
            pixels = rng.integers(0, 255, (32, 320), dtype=np.uint8)
            pixels[:, 144:176] = np.indices((32, 32))[label] // 3 % 2 * 200
            Image.fromarray(pixels).save(tmp_path / "set" / f"class{label}" / f"{number}.png")
    report = adapt(capsys, tmp_path / "set", tmp_path / "out")
    (choice,) = [one for one in report["plan"]["choices"] if one["what"] == "crop"]
    assert choice["value"] == "the source's own" and "0.000 with" not in choice["why"]
    assert any("the source's own was chosen by leave-one-out" in n for n in report["notes"])


@pytest.mark.parametrize("crop", ["squash", "border", "center"])
def test_an_export_s_crop_is_stock_timm_s(crop: str, tmp_path: Path, capsys) -> None:
    import timm
    import torch
    from timm.data import create_transform, resolve_data_config

    data, out = ends(tmp_path / "set", (96, 32)), tmp_path / "out"
    adapt(capsys, data, out, "--crop", crop)
    stock = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=stock), is_training=False)
    path = data / "class1" / "0.png"
    with torch.no_grad():
        expected = stock(transform(Image.open(path).convert("L"))[None]).softmax(1)[0]
    cli.main(["predict", str(out), str(path), "--json"], standalone_mode=False)
    (answer,) = json.loads(capsys.readouterr().out)["predictions"]
    assert abs(answer["probability"] - float(expected.max())) < 1e-2
    assert answer["label"] == f"class{int(expected.argmax())}" and crop_of(out) == crop


def test_a_family_without_other_crops_says_so(tmp_path: Path, toys: Path) -> None:
    from zooadapt.zoo import plugin_proxy, registry

    family = registry.load("tiles")
    assert isinstance(family, plugin_proxy.FamilyProxy)
    with pytest.raises(Exception, match="'tiles' takes no other crop") as caught:
        family.with_crop({}, crop="squash")
    assert caught.value.code == 2 and "--crop" in caught.value.remedy
    example = family.examples()["colour"]
    assert family.preprocessor(example).seen((300, 10)) == 1.0, "it does not say, so all of it"


def settled(data: Path, **options: Any) -> crops.Framing:
    """What is settled of the bundled source for these images."""
    request = Request(source="digits04", data=str(data), out=Path("out"), **options)
    source = sources.open_source("digits04", offline=True)
    split = open_dataset(str(data), modality="image").train
    built = pretrained.build(source, task=of_classes(("a", "b")), in_chans=request.in_chans)
    return crops.settle(
        request, built, Engine(precision="fp32", channels_last=False), split, Progress()
    )


def test_colours_and_pixels_that_a_source_throws_away_are_noted(tmp_path: Path) -> None:
    data = ends(tmp_path / "colours", (300, 240), coloured=True)
    (note,) = settled(data).notes
    side = pretrained.build(
        sources.open_source("digits04"), task=of_classes(("a", "b"))
    ).preprocessor.config()
    side = side["input_size"][1]
    lost = f"{1 - side * side / (300 * 240):.0%}"
    assert note.startswith(f"the source sees grey images of {side} x {side}: colours and {lost} of")
    assert "--in-chans 3 or --input-size 128 or another source keeps more" in note
    assert "colours" not in settled(data, in_chans=3).notes[0]
    assert settled(data, in_chans=1, input_size=side).notes == ()
    grey = settled(ends(tmp_path / "grey", (300, 240)))
    assert "colours" not in grey.notes[0]
    assert settled(ends(tmp_path / "small", (30, 24))).notes == ()
