"""Pictures of 16 bits: one value is white in a whole data set and in its export."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zooadapt.cli import root as cli
from zooadapt.data import open_inputs

from .make import encoded, image_folder, opened
from .test_images import chunk


def grey(seed: int, bits: int, *, darker: float = 1.0) -> np.ndarray:
    """`(H, W)` values of a picture of so many bits; the same picture for the same seed."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8))
    values[0, 0] = 255
    return np.rint(values * ((1 << bits) - 1) / 255 * darker).astype(np.uint16)


def wide_png(values: np.ndarray, *, significant: int = 0) -> bytes:
    """A PNG of 16 bits a channel, grey or in colour, with or without `sBIT`."""
    high, wide = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values.reshape(high, -1))
    bits = chunk(b"sBIT", bytes([significant] * channels)) if significant else b""
    header = struct.pack(">IIBBBBB", wide, high, 16, kind, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + bits
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))  # fmt: skip


def wide_set(root: Path, contents: list[bytes], suffix: str = "png") -> Path:
    """The files as two classes, by turns."""
    for number, content in enumerate(contents):
        label = root / ("ant", "bee")[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        (label / f"{number}.{suffix}").write_bytes(content)
    return root


def pixels(split, name: str, channels: int = 3) -> np.ndarray:
    """`(H, W, C)` or `(H, W)` of a sample by its name."""
    return np.asarray(split.raw(list(split.ids).index(name), channels=channels))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_low_bit_depths_have_the_brightness_of_eight_bits(
    bits: int, kind: str, tmp_path: Path
) -> None:
    contents = [encoded(Image.fromarray(grey(seed, bits)), kind) for seed in range(6)]
    data = opened(wide_set(tmp_path / "set", contents, kind.lower()))
    assert data.white == (1 << bits) - 1
    assert f"6 images of 16 bits a channel, in which {data.white} is read as white" in data.notes
    for channels in (1, 3):
        actual = pixels(data.everything, f"ant/2.{kind.lower()}", channels).astype(int)
        expected = grey(2, 8) if channels == 1 else grey(2, 8)[..., None]
        assert np.abs(actual - expected).max() <= 1


def test_one_white_scales_the_whole_set(tmp_path: Path) -> None:
    contents = [wide_png(grey(seed, 12, darker=0.25 if seed else 1)) for seed in range(6)]
    data = opened(wide_set(tmp_path / "set", contents))
    actual = pixels(data.everything, "ant/2.png", 1).astype(int)
    assert data.white == 4095 and np.abs(actual - grey(2, 8) * 0.25).max() <= 1


@pytest.mark.parametrize("significant", [0, 12])
def test_declared_bits_determine_the_white_of_a_dark_set(significant: int, tmp_path: Path) -> None:
    contents = [wide_png(grey(seed, 9), significant=significant) for seed in range(6)]
    data = opened(wide_set(tmp_path / "set", contents))
    assert data.white == (4095 if significant else 511)
    full = [wide_png(grey(seed, 16), significant=12) for seed in range(6)]
    assert opened(wide_set(tmp_path / "full", full)).white == 65535, "widened as the format says"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bit_colours_are_scaled_by_one_white(
    bits: int, channels: int, tmp_path: Path
) -> None:
    def colours(seed: int, bits: int) -> np.ndarray:
        layers = [grey(10 * seed + layer, bits) for layer in range(3)]
        opaque = [np.full((6, 8), 65535, np.uint16)] * (channels - 3)
        return np.stack(layers + opaque, axis=2)

    contents = [wide_png(colours(seed, bits)) for seed in range(6)]
    data = opened(wide_set(tmp_path / "set", contents))
    actual = pixels(data.everything, "ant/4.png").astype(int)
    assert data.white == (1 << bits) - 1
    assert np.abs(actual - colours(4, 8)[..., :3]).max() <= 1


def test_a_16_bit_picture_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    block = chunk(b"eXIf", exif.tobytes()[6:])
    plain = [wide_png(np.stack([grey(seed + k, 12) for k in range(3)], 2)) for seed in range(4)]
    contents = [content[:33] + block + content[33:] for content in plain]
    turned = opened(wide_set(tmp_path / "turned", contents)).everything
    as_stored = opened(wide_set(tmp_path / "plain", plain)).everything
    upright = np.rot90(pixels(as_stored, "ant/0.png"), -1)
    assert np.array_equal(pixels(turned, "ant/0.png"), upright)


def test_eight_bit_pictures_have_no_white(tmp_path: Path) -> None:
    data = opened(image_folder(tmp_path / "set"))
    assert data.white is None and not any("16 bits" in note for note in data.notes)


def test_the_digest_depends_on_white(tmp_path: Path) -> None:
    """Activations are stored by digest: those of one white are never used for another."""
    dark = [wide_png(grey(seed, 10)) for seed in range(4)]
    alone = opened(wide_set(tmp_path / "alone", dark)).everything
    together = opened(wide_set(tmp_path / "together", [*dark, wide_png(grey(9, 12))])).everything
    name = "ant/0.png"
    first, second = (split.digest(list(split.ids).index(name)) for split in (alone, together))
    assert first != second
    assert pixels(alone, name).max() == 255 and pixels(together, name).max() < 70
    again = opened(tmp_path / "alone", white=4095).everything
    assert again.digest(list(again.ids).index(name)) == second


def test_an_export_keeps_the_white_of_its_training_data(tmp_path: Path, capsys) -> None:
    contents = [wide_png(grey(seed, 12)) for seed in range(12)]
    data, out = wide_set(tmp_path / "set", contents), str(tmp_path / "out")
    options = ["--strategy", "probe", "--json"]
    cli.main(["adapt", "digits04", str(data), "-o", out, *options], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    assert any("4095 is read as white" in note for note in report["notes"])
    assert json.loads(Path(out, "config.json").read_text())["zooadapt"]["white"] == 4095
    answers = []
    dark = grey(3, 12, darker=0.1)
    for name, content in (
        ("dark.png", wide_png(dark)),
        ("eight.png", encoded(Image.fromarray((dark >> 4).astype(np.uint8)), "PNG")),
        ("bright.png", wide_png(grey(3, 16))),
    ):
        (tmp_path / name).write_bytes(content)
        cli.main(["predict", out, str(tmp_path / name), "--json"], standalone_mode=False)
        output = capsys.readouterr()
        answers.append(json.loads(output.out)["predictions"][0]["probability"])
    assert abs(answers[0] - answers[1]) < 0.02, "as the same picture of eight bits"
    assert "1 image has values above 4095, which are read as white too" in output.err


def test_inputs_without_a_model_have_their_own_white(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(wide_png(grey(0, 12)))
    split = open_inputs([str(tmp_path / "a.png")], modality="image")
    assert split.raw(0, channels=1).getextrema()[1] == 255
    assert "1 image of 16 bits a channel, in which 4095 is read as white" in split.notes


def test_values_beyond_sixteen_bits_are_scaled_by_their_own_range(tmp_path: Path) -> None:
    values = (grey(0, 16).astype(np.int32) * 70_000 // 65535).astype(np.int32)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    data = opened(wide_set(tmp_path / "set", [buffer.getvalue()] * 4, "tif"))
    assert data.white is None and pixels(data.everything, "ant/0.tif", 1).max() == 255
