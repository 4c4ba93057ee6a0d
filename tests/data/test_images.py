"""Image files: broken ones are refused and named, unusual ones give the right pixels."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from .make import encoded, image_folder, opened, photo, refused

JPEG = encoded(photo(99, (400, 300)), "JPEG")
PNG = encoded(photo(99, (400, 300)), "PNG")


def with_file(root: Path, content: bytes, name: str = "odd.jpg") -> Path:
    """Two good classes, and one more file in the first."""
    image_folder(root)
    (root / "ant" / name).write_bytes(content)
    return root


def pixels(root: Path, content: bytes, name: str = "odd.png", channels: int = 3) -> np.ndarray:
    """The decoded pixels of a file: `(H, W, 3)`, or `(H, W)` for one channel."""
    split = opened(with_file(root, content, name)).everything
    index = list(split.ids).index(f"ant/{name}")
    image = split.raw(index, channels=channels)
    assert image.mode == ("RGB" if channels == 3 else "L")
    return np.asarray(image)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(
        ">I", zlib.crc32(kind + content))  # fmt: skip


def bomb(side: int) -> bytes:
    """A PNG whose header promises side x side pixels, with hardly any data."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(
        b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")  # fmt: skip


BROKEN = {
    "truncated JPEG": JPEG[: len(JPEG) // 2],
    "JPEG without its last bytes": JPEG[:-200],
    "truncated PNG": PNG[: len(PNG) // 2],
    "flipped bit in a PNG": PNG[:2000] + bytes([PNG[2000] ^ 1]) + PNG[2001:],
    "truncated GIF": encoded(photo(99, (400, 300)), "GIF")[:5000],
    "truncated WebP": encoded(photo(99, (400, 300)), "WEBP")[:-1],
    "half a WebP": encoded(photo(99, (400, 300)), "WEBP")[:1500],
    "half a lossless WebP": encoded(photo(99, (400, 300)), "WEBP", lossless=True)[:1500],
    "truncated TIFF": encoded(photo(99, (400, 300)), "TIFF")[:9000],
    "truncated BMP": encoded(photo(99, (400, 300)), "BMP")[:9000],
    "truncated PPM": encoded(photo(99, (400, 300)), "PPM")[:9000],
    "empty file": b"",
    "corrupt JPEG": JPEG[:2] + b"\xff\xc0\x00\x03\x00" + JPEG[2:],
    "noise after a JPEG's mark": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8,
    "one byte": b"\xff",
    "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "FITS": b"SIMPLE  =                    T".ljust(2880),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_image_is_refused(what: str, tmp_path: Path) -> None:
    kinds = list(BROKEN)
    whole = kinds.index(what) < kinds.index("empty file")
    why = r"is broken or cut off \(\w{3}" if whole else "is (empty|no image in a known format)$"
    error = refused(with_file(tmp_path / "set", BROKEN[what]), 65, rf"image 'ant/odd\.jpg' {why}")
    assert error.thing == "ant/odd.jpg" and "--skip-bad" in error.remedy


@pytest.mark.parametrize("what", BROKEN)
def test_skip_bad_skips_and_counts_a_broken_image(what: str, tmp_path: Path) -> None:
    data = opened(with_file(tmp_path / "set", BROKEN[what]), skip_bad=True)
    assert len(data.everything) == 6 and "ant/odd.jpg" not in list(data.everything.ids)
    assert "1 broken image left out" in data.notes
    for index, name in enumerate(data.everything.ids):
        assert data.classes[data.everything.labels[index]] == name.split("/")[0]
        data.everything.raw(index)


def test_many_broken_images_are_listed_up_to_five(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 9, "bee": 9})
    for number in range(8):
        (root / "bee" / f"{number}.jpg").write_bytes(JPEG[:300])
    error = refused(root, 65, r"'bee/0\.jpg'.*; and 7 more: bee/1\.jpg, ")
    assert str(error).count(".jpg") == 5


def test_a_class_of_broken_images_is_left_out(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 2, "bee": 1})
    (root / "bee" / "0.jpg").write_bytes(b"")
    refused(root, 65, "one class only, 'ant'", skip_bad=True)


def test_a_decompression_bomb_is_refused_undecoded(tmp_path: Path) -> None:
    root = with_file(tmp_path / "set", bomb(30_000), "bomb.png")
    error = refused(root, 65, r"'ant/bomb\.png' has .*pixels, the limit is 50,000,000")
    assert "--max-pixels" in error.remedy
    (root / "ant" / "bomb.png").write_bytes(bomb(8_000))
    refused(root, 65, r"'ant/bomb\.png' has 8000 x 8000 pixels, the limit is 50,000,000")


def test_the_pixel_limit_is_an_option(tmp_path: Path) -> None:
    root = with_file(tmp_path / "set", encoded(photo(1, (300, 300)), "PNG"), "big.png")
    refused(root, 65, "300 x 300 pixels, the limit is 80,000", max_pixels=80_000)
    assert len(opened(root, max_pixels=90_000).everything) == 7
    # Above what Pillow takes by default, which is 179 million.
    (root / "ant" / "big.png").write_bytes(bomb(14_000))
    assert len(opened(root, max_pixels=200_000_000).everything) == 7


def test_a_one_pixel_image_is_noted(tmp_path: Path) -> None:
    root = with_file(tmp_path / "set", encoded(photo(1, (1, 1)), "PNG"), "dot.png")
    data = opened(root)
    assert "1 image with a side below 8 pixels" in data.notes
    split = data.everything
    assert split.raw(list(split.ids).index("ant/dot.png"), min_side=224).size == (1, 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_to_eight(kind: str, tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 32 * 16).reshape(16, 32).astype(np.uint16)
    content = encoded(Image.fromarray(values), kind)
    actual = pixels(tmp_path / "set", content, f"odd.{kind.lower()}")
    assert np.abs(actual - (values / 257)[..., None]).max() <= 0.5
    grey = pixels(tmp_path / "grey", content, f"odd.{kind.lower()}", channels=1)
    assert np.array_equal(grey, actual[..., 0])


def test_a_float_image_is_scaled_by_its_own_range(tmp_path: Path) -> None:
    values = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    values[0, 1], values[0, 2] = np.nan, np.inf
    actual = pixels(tmp_path / "set", encoded(Image.fromarray(values), "TIFF"), "odd.tif")[..., 0]
    assert (actual[0, 0], actual[-1, -1], actual[0, 1], actual[0, 2]) == (0, 255, 0, 255)
    assert (np.diff(actual[1:].ravel().astype(int)) >= 0).all()


def test_cmyk_is_converted(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    actual = pixels(tmp_path / "set", encoded(cmyk, "JPEG"), "odd.jpg")
    assert np.abs(actual.astype(int) - [0, 255, 255]).max() <= 3


def test_a_palette_is_converted_to_its_colours(tmp_path: Path) -> None:
    colours = photo(5, (32, 32)).quantize(7)
    actual = pixels(tmp_path / "set", encoded(colours, "PNG"))
    assert np.array_equal(actual, np.asarray(colours.convert("RGB")))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    values = np.indices((16, 16)).sum(0) % 2 == 0
    actual = pixels(tmp_path / "set", encoded(Image.fromarray(values), "PNG"))
    assert np.array_equal(actual, np.repeat(values[..., None] * np.uint8(255), 3, axis=2))


def _rgba() -> tuple[Image.Image, np.ndarray]:
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colour = np.asarray(photo(3, (16, 16)))
    share = alpha[..., None] / 255
    return Image.fromarray(np.dstack([colour, alpha]), "RGBA"), colour * share + 255 * (1 - share)


def _la() -> tuple[Image.Image, np.ndarray]:
    rgba, _ = _rgba()
    grey, alpha = rgba.convert("RGB").convert("L"), np.asarray(rgba)[..., 3]
    share = alpha / 255
    laid = np.asarray(grey) * share + 255 * (1 - share)
    return Image.merge("LA", (grey, Image.fromarray(alpha))), np.repeat(laid[..., None], 3, axis=2)


@pytest.mark.parametrize("made", [_rgba, _la], ids=["RGBA", "LA"])
def test_transparency_becomes_white(
    made: Callable[[], tuple[Image.Image, np.ndarray]], tmp_path: Path
) -> None:
    image, expected = made()
    assert np.abs(pixels(tmp_path / "set", encoded(image, "PNG")) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_transparent_colour_becomes_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.paste(1, (0, 0, 8, 16))
    clear = {"P": 0, "RGB": (200, 0, 0), "L": image.convert("L").getpixel((9, 9))}[mode]
    actual = pixels(tmp_path / "set", encoded(image.convert(mode), "PNG", transparency=clear))
    assert (actual[:, 8:] == 255).all()
    assert (actual[:, :8] == np.asarray(image.convert(mode).convert("RGB"))[:, :8]).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_used(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    more = {"save_all": True, "append_images": frames[1:]}
    content = encoded(frames[0], kind, **more, **({"lossless": True} if kind == "WEBP" else {}))
    root = tmp_path / "set"
    first = pixels(root, content, f"odd.{kind.lower()}")
    assert np.abs(first.astype(int) - [255, 0, 0]).max() <= (2 if kind == "MPO" else 0)
    assert "1 image of several frames, of which only the first is used" in opened(root).notes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int, tmp_path: Path) -> None:
    """Four quarters of different colours, stored as a camera held in one of eight ways would."""
    upright = np.zeros((16, 32, 3), dtype=np.uint8)
    upright[:8, :16], upright[:8, 16:] = [255, 0, 0], [0, 255, 0]
    upright[8:, :16], upright[8:, 16:] = [0, 0, 255], [255, 255, 255]
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    actual = pixels(tmp_path / "set", encoded(image, "JPEG", quality=98, subsampling=0, exif=exif),
                   "odd.jpg")  # fmt: skip
    assert actual.shape == upright.shape
    inner = np.abs(actual.astype(int) - upright)[2:6, 2:14]
    assert inner.max() < 20 and np.abs(actual.astype(int) - upright).mean() < 12


def test_the_content_determines_the_format(tmp_path: Path) -> None:
    image = photo(8)
    actual = pixels(tmp_path / "set", encoded(image, "PNG"), "odd.jpg")
    assert np.array_equal(actual, np.asarray(image))


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".pjpeg", ".avif", "", ".jpg_large", ".JPG ",
                                    ".jpg?w=400"])  # fmt: skip
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_an_image_is_recognised_by_its_content(kind: str, suffix: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    actual = pixels(tmp_path / "set", encoded(photo(8), kind), f"odd{suffix}").astype(int)
    assert np.abs(actual - np.asarray(photo(8))).mean() < 25
    noted = any("known by its content" in note for note in opened(tmp_path / "set").notes)
    assert noted == (suffix not in (".jfif", ".jpe", ".pjpeg", ".avif"))


def test_raw_files_of_cameras_are_no_images(tmp_path: Path) -> None:
    root = with_file(tmp_path / "set", encoded(photo(8), "TIFF"), "odd.nef")
    assert "1 file that is no image left out" in opened(root).notes


def test_unsupported_formats_are_skipped_and_counted(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set")
    for name in ("a.eps", "b.fits", "c.svg", "notes.txt"):
        (root / "ant" / name).write_bytes(BROKEN["EPS"])
    data = opened(root)
    assert len(data.everything) == 6 and "4 files that are no images left out" in data.notes


@pytest.mark.parametrize(
    "content",
    [
        encoded(photo(9), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"),
        encoded(photo(9), "JPEG", icc_profile=b"no profile"),
        encoded(
            photo(9), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\x00\x63\0\0"
        ),
        PNG[:33] + chunk(b"iCCP", b"icc\0\0not zlib") + PNG[33:],
        PNG[:33] + chunk(b"eXIf", b"II*\0\xff\xff\xff\x7f") + PNG[33:],
    ],
    ids=["EXIF", "ICC", "orientation 99", "PNG ICC", "PNG EXIF"],
)
def test_broken_metadata_is_ignored(content: bytes, tmp_path: Path) -> None:
    actual = pixels(tmp_path / "set", content, "odd.jpg")
    expected = np.asarray(photo(9) if content[:2] == b"\xff\xd8" else photo(99, (400, 300)))
    assert actual.shape == expected.shape and np.abs(actual.astype(int) - expected).mean() < 10


def _with_text(size: int, *, packed: bool, checksum: int | None = None) -> bytes:
    text = b"workflow\0\0" + zlib.compress(bytes(size)) if packed else b"workflow\0" + b"x" * size
    whole = chunk(b"zTXt" if packed else b"tEXt", text)
    if checksum is not None:
        whole = whole[:-4] + struct.pack(">I", checksum)
    return whole


METADATA = {
    "text of 3 MB, compressed": _with_text(3 << 20, packed=True),
    "text of 70 MB": _with_text(70 << 20, packed=False),
    "text with a wrong checksum": _with_text(9, packed=False, checksum=1),
    "colour profile of 3 MB": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(3 << 20))),
    "EXIF with a wrong checksum": chunk(b"eXIf", b"MM")[:-4] + bytes(4),
}


@pytest.mark.parametrize("thoroughly", [False, True])
@pytest.mark.parametrize("what", METADATA)
def test_oversized_png_metadata_is_ignored(what: str, thoroughly: bool, tmp_path: Path) -> None:
    for place in (33, -12):  # before the pixels and after them
        content = PNG[:place] + METADATA[what] + PNG[place:]
        root = with_file(tmp_path / f"set{place}", content, "odd.png")
        data = opened(root, skip_bad=thoroughly)
        split = data.everything
        image = split.raw(list(split.ids).index("ant/odd.png"))
        assert np.array_equal(np.asarray(image), np.asarray(photo(99, (400, 300))))
        assert not any("broken" in note for note in data.notes)


def test_a_png_without_metadata_keeps_limits_and_transparency(tmp_path: Path) -> None:
    text = METADATA["text of 3 MB, compressed"]
    huge = bomb(8_000)
    root = with_file(tmp_path / "set", huge[:33] + text + huge[33:], "bomb.png")
    refused(root, 65, r"'ant/bomb\.png' has 8000 x 8000 pixels, the limit is 50,000,000")
    cut = PNG[:33] + text + PNG[33 : len(PNG) // 2]
    refused(with_file(tmp_path / "cut", cut, "odd.png"), 65, "is broken or cut off")
    clear = encoded(Image.new("RGB", (8, 8), "red"), "PNG", transparency=(255, 0, 0))
    actual = pixels(tmp_path / "clear", clear[:33] + text + clear[33:])
    assert (actual == 255).all()


def test_a_jpeg_is_decoded_at_the_smallest_sufficient_scale(tmp_path: Path) -> None:
    root = with_file(tmp_path / "set", encoded(photo(4, (1600, 1200)), "JPEG"))
    split = opened(root).everything
    index = list(split.ids).index("ant/odd.jpg")
    for side in (1, 100, 150, 151, 300, 900, 5000):
        image = split.raw(index, min_side=side)
        assert min(side, 1200) <= min(image.size) <= 1200
        assert abs(image.width / image.height - 4 / 3) < 0.02
    assert split.raw(index, min_side=150).size == (200, 150)


def test_threads_decode_the_same_pixels(tmp_path: Path) -> None:
    split = opened(image_folder(tmp_path / "set", {"ant": 8, "bee": 8})).everything
    expected = [split.raw(k).tobytes() for k in range(len(split))]
    decoded: dict[int, list[bytes]] = {}

    def decode(number: int) -> None:
        decoded[number] = [split.raw(k).tobytes() for k in range(len(split))]

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(decoded[number] == expected for number in range(4))


@pytest.mark.parametrize("seed", range(3))
def test_damaged_images_decode_or_are_skipped(seed: int, tmp_path: Path) -> None:
    """A few hundred damaged files of every format: each either decodes or is left out."""
    rng = np.random.default_rng(seed)
    root = image_folder(tmp_path / "set")
    kinds = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]
    for number in range(140):
        content = bytearray(encoded(photo(number, (40, 30)), kinds[number % len(kinds)]))
        for place in rng.integers(0, len(content), rng.integers(1, 12)):
            content[place] = rng.integers(256)
        if rng.random() < 0.3:
            content = content[: rng.integers(len(content))]
        (root / "ant" / f"damaged{number}.jpg").write_bytes(content)
    data = opened(root, skip_bad=True, max_pixels=1_000_000)
    assert any("broken images left out" in note for note in data.notes)
    for index in range(len(data.everything)):
        assert data.everything.raw(index, min_side=16).mode == "RGB"
