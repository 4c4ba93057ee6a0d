"""Recordings to clips, under limits: one channel, at the rate that a network takes.

A recording is decoded block by block: what is in memory depends on the clip that is asked for, and
never on the length of the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from zooadapt.errors import DataError, UsageError
from zooadapt.family.modality import Clip, Examined

if TYPE_CHECKING:
    from soundfile import SoundFile

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF")
"""As libsndfile calls them; its other formats are not read."""
SNIFFED = 12
RATES = (1_000, 400_000)
"""Samples a second, at least and at most: bat detectors record at 384 kHz."""
_CHANNELS = 64
_BLOCK = 1 << 16
_WHOLE = 0.95
"""The share of the frames that a header declares, at least, in a whole file: those of an MP3 are an
estimate."""
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
"""What programs that do not know the length write into the header of a WAV."""


def begins_sound(head: bytes) -> bool:
    """Whether a file is a recording, by its first `SNIFFED` bytes. MP3 without a tag is not
    recognised: its mark is two bytes long."""
    return (
        (head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE")
        or (head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"))
        or head[:4] in (b"fLaC", b"OggS")
        or head[:3] == b"ID3"
    )


def decode(
    file: BinaryIO,
    *,
    name: str,
    rate: int | None,
    span: tuple[float, float] | None,
    max_seconds: float,
) -> Clip:
    """The clip in a file, or in the seconds of it from `span[0]` to `span[1]`, mixed down to one
    channel, resampled to `rate`.

    Raises: DataError for a file that is no recording, empty, cut off, or longer than `max_seconds`.
    """
    with _opened(file, name) as sound:
        first, count = _frames(sound, span)
        if count <= 0:
            raise _bad(name, f"holds nothing from second {span[0]:g} on" if span else "is empty")
        if count > max_seconds * sound.samplerate:
            raise _too_long(name, count / sound.samplerate, max_seconds)
        sound.seek(first)
        mono = np.concatenate([_mono(block, name) for block in _blocks(sound, count)])
        if len(mono) < _WHOLE * count:
            raise _bad(name, "is cut off")
        clip = Clip(samples=mono, rate=sound.samplerate)
    return resampled(clip, rate)


def examine(file: BinaryIO, *, name: str) -> Examined:
    """Check a recording by decoding it block by block; its fault, if it has one, is in the result.

    Raises: UsageError without the library that decodes.
    """
    try:
        if _is_cut_off(file):
            raise _bad(name, "is cut off: its header declares more bytes")
        file.seek(0)
        with _opened(file, name) as sound:
            count, peak = 0, 0.0
            for block in _blocks(sound, sound.frames):
                count += len(block)
                peak = max(peak, float(np.abs(_mono(block, name)).max(initial=0.0)))
            if not count:
                raise _bad(name, "is empty")
            if count < _WHOLE * sound.frames:
                raise _bad(name, "is cut off")
            remarks = ["of several channels, which are mixed down"] * (sound.channels > 1)
            remarks += ["of silence alone"] * (peak == 0)
            return Examined(seconds=count / sound.samplerate, remarks=tuple(remarks))
    except DataError as error:
        return Examined(error=error)


def resampled(clip: Clip, rate: int | None) -> Clip:
    """The clip at another rate."""
    if rate is None or rate == clip.rate:
        return clip
    samples = _library("soxr").resample(clip.samples, clip.rate, rate)
    return Clip(samples=np.clip(samples, -1, 1).astype(np.float32), rate=rate)


def part(clip: Clip, span: tuple[float, float] | None) -> Clip:
    """The seconds of a clip from `span[0]` to `span[1]`."""
    if span is None:
        return clip
    first, last = (round(second * clip.rate) for second in span)
    return Clip(samples=clip.samples[first:last], rate=clip.rate)


def clip_of(values: Any, rate: Any, *, name: str) -> Clip:
    """A clip of an array of floats in [-1, 1] or of whole numbers, `(n,)`, `(n, channels)` or
    `(channels, n)`.

    Raises: DataError for another shape, no samples, values that are no numbers, or a rate out of
    `RATES`.
    """
    array = np.asarray(values)
    if array.ndim == 2:
        array = array.T if array.shape[0] < array.shape[1] else array
    if array.ndim not in (1, 2) or not array.size or array.dtype.kind not in "iuf":
        raise DataError(
            f"'{name}' is an array of shape {array.shape} and type {array.dtype}, and a clip is "
            "(n,) or (n, channels) numbers",
            thing=name,
            remedy="give one array for each clip",
        )
    if not isinstance(rate, (int, float, np.integer)) or not RATES[0] <= rate <= RATES[1]:
        raise _bad_rate(name, rate)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        middle = (int(limits.max) + int(limits.min) + 1) / 2
        array = (array - middle) / (int(limits.max) - middle + 1)
    return Clip(samples=_mono(array.reshape(len(array), -1), name), rate=int(rate))


def _mono(block: np.ndarray, name: str) -> np.ndarray:
    """`(n,)` float32 of a block `(n, channels)`."""
    mono = block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
    if not np.isfinite(mono).all():
        raise _bad(name, "holds values that are no numbers")
    return np.asarray(np.clip(mono, -1, 1), dtype=np.float32)


def _blocks(sound: SoundFile, count: int) -> Iterator[np.ndarray]:
    """The next frames, `(n, channels)` float32 each; fewer than `count` where the file ends."""
    while count > 0:
        block = sound.read(min(count, _BLOCK), dtype="float32", always_2d=True)
        if not len(block):
            return
        count -= len(block)
        yield block


def _frames(sound: SoundFile, span: tuple[float, float] | None) -> tuple[int, int]:
    """The first frame and the number of frames of a span, inside the recording."""
    if span is None:
        return 0, sound.frames
    first, last = (round(second * sound.samplerate) for second in span)
    first = min(max(first, 0), sound.frames)
    return first, min(last, sound.frames) - first


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[SoundFile]:
    """The recording, its header read. Every error of the decoder, here or in the block, becomes a
    DataError naming the file."""
    soundfile = _library("soundfile")
    try:
        with soundfile.SoundFile(file) as sound:
            if sound.format not in FORMATS:
                raise _bad(name, "is no recording in a known format")
            if not RATES[0] <= sound.samplerate <= RATES[1]:
                raise _bad_rate(name, sound.samplerate)
            if sound.channels > _CHANNELS:
                raise _bad(name, f"has {sound.channels} channels")
            yield sound
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly everything at hostile bytes
        if not file.seek(0, 2):
            raise _bad(name, "is empty") from error
        if "not recognised" in str(error) or "regular file" in str(error):
            raise _bad(name, "is no recording in a known format") from error
        reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
        raise _bad(name, f"is broken or cut off ({reason})") from error


def _is_cut_off(file: BinaryIO) -> bool:
    """Whether the header of a WAV or AIFF declares more bytes than there are."""
    head = file.read(SNIFFED)
    order: Any = {b"RIFF": "little", b"FORM": "big"}.get(head[:4])
    declared = int.from_bytes(head[4:8], order) if order else 0
    return declared not in _UNKNOWN_SIZES and declared + 8 > file.seek(0, 2) + 1


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # soundfile: OSError without libsndfile
        raise UsageError(
            f"recordings are read by the '{name}' library, which cannot be loaded: {error}",
            thing=name,
            remedy="pip install 'zooadapt[audio]'",
        ) from error


def _too_long(name: str, seconds: float, limit: float) -> DataError:
    return DataError(
        f"recording '{name}' is {seconds:,.0f} s long, the limit for one sample is {limit:,.0f} s",
        thing=name,
        remedy="--window 5 cuts recordings into windows, or raise --max-seconds",
    )


def _bad_rate(name: str, rate: Any) -> DataError:
    return DataError(
        f"recording '{name}' has a rate of {rate}, and rates go from {RATES[0]:,} to "
        f"{RATES[1]:,} samples a second",
        thing=name,
        remedy="resample it",
    )


def _bad(name: str, what: str) -> DataError:
    return DataError(
        f"recording '{name}' {what}",
        thing=name,
        remedy="remove it, or --skip-bad to leave such files out",
    )
