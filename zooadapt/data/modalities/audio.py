"""Recordings: files of the usual formats, and clips in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from zooadapt.data import sounds
from zooadapt.errors import DataError
from zooadapt.family.modality import Clip, Examined, Limits, Modality, View

_USUAL_RATE = 16_000


class Audio(Modality):
    """A `Clip`: one channel of float32 in [-1, 1], at the rate that the family takes."""

    api = 1
    name = "audio"
    noun, plural = "recording", "recordings"
    pipeline_tag = "audio-classification"
    example = "zooadapt predict {model} recording.wav"
    suffixes = (".wav", ".wave", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif",
                ".aiff", ".aifc")  # fmt: skip
    formats = "WAV or FLAC"
    sniffed = sounds.SNIFFED
    column = "audio_column"
    columns = frozenset({
        "audio", "audio path", "audio file", "sound", "sound file", "recording", "clip", "wav",
        "wav file", "file", "file name", "file path", "filename", "filepath", "fname", "path",
        "begin file",
    })  # fmt: skip
    feature = "Audio"
    has_length = True
    augmentations = ("crop", "rand")
    why_augmented = "shifted in time anew in every epoch"

    def decode(self, file: BinaryIO, *, name: str, view: View, limits: Limits) -> Clip:
        return sounds.decode(
            file, name=name, rate=view.rate, span=view.span, max_seconds=limits.seconds
        )

    def pieces(self, raw: Clip) -> Iterable[bytes]:
        return (f"{raw.rate} ".encode(), raw.samples.tobytes())

    def synthesise(self, rng: np.random.Generator, *, view: View) -> Clip:
        rate = view.rate or _USUAL_RATE
        time = np.arange(int(rate * rng.uniform(0.3, 1.5))) / rate
        tones = [
            rng.uniform(0.05, 0.2) * np.sin(2 * np.pi * rng.uniform(80, 0.4 * rate) * time)
            for _ in range(3)
        ]
        samples = sum(tones) * np.hanning(len(time)) + rng.normal(0, 0.01, len(time))
        return Clip(samples=samples.astype(np.float32), rate=rate)

    def extremes(self, *, view: View) -> Sequence[Clip]:
        rate = view.rate or _USUAL_RATE
        square = np.where(np.arange(rate // 10) % 50 < 25, 1, -1)
        shapes = (np.full(1, 0.5), np.zeros(rate), square, np.sin(np.arange(12 * rate) * 0.3))
        return [Clip(samples=shape.astype(np.float32), rate=rate) for shape in shapes]

    def joined(self, raws: Sequence[Clip]) -> Clip:
        return Clip(samples=np.concatenate([one.samples for one in raws]), rate=raws[0].rate)

    def begins(self, head: bytes) -> bool:
        return sounds.begins_sound(head)

    def examine(self, file: BinaryIO, *, name: str, limits: Limits, thoroughly: bool) -> Examined:
        return sounds.examine(file, name=name)

    def accepts(self, value: Any) -> bool:
        if isinstance(value, Mapping):
            return {"array", "sampling_rate"} <= value.keys()
        return isinstance(value, Clip)

    def of_value(self, value: Any, *, name: str) -> Clip:
        if isinstance(value, Mapping) and self.accepts(value):
            return sounds.clip_of(value["array"], value["sampling_rate"], name=name)
        if isinstance(value, Clip):
            return sounds.clip_of(value.samples, value.rate, name=name)
        raise DataError(
            f"'{name}' is of type '{type(value).__name__}' and no recording",
            thing=name,
            remedy="give paths, the content of files, or zooadapt.Clip(samples, rate)",
        )

    def examine_value(self, raw: Clip) -> Examined:
        return Examined(seconds=len(raw.samples) / raw.rate)

    def viewed(self, raw: Clip, view: View) -> Clip:
        return sounds.resampled(sounds.part(raw, view.span), view.rate)

    def memory(self, raw: Clip) -> int:
        return raw.samples.nbytes


MODALITY = Audio()
