"""The families of networks that read sound. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt_timm import TimmFamily
from zooadapt_transformers.family import EncoderFamily

from zooadapt.family import FILES, Capabilities, Family, Stage, Variant
from zooadapt_audio import settings
from zooadapt_audio.settings import ARCHITECTURE, POOLINGS, parse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zooadapt_audio.extractor import ExtractorPreprocessor
    from zooadapt_audio.spectrogram import SpectrogramPreprocessor
    from zooadapt_audio.voice import VoiceClassifier, VoicePreprocessor

_SPECTROGRAM = "timm_spectrogram"
"""The `model_type` of an image network of timm that reads spectrograms."""


class VoiceFamily(Family):
    """LSTM layers over mel frames: voice encoders in the manner of GE2E."""

    api = 1
    name = "audio"
    modality = "audio"
    can = Capabilities(variable_length=True)
    imports = ("zooadapt_rnn.recurrent",)

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        small = {
            "architecture": ARCHITECTURE, "sample_rate": 8000, "n_fft": 256, "hop_length": 128,
            "n_mels": 12, "mel": "slaney, power 2, not log", "hidden_size": 6, "num_layers": 2,
            "volume_dbfs": -30, "dropout": 0.2, "max_length": 60,
        }  # fmt: skip
        encoder = small | {"embedding": settings.EMBEDDING}
        return {"encoder": encoder} | {way: encoder | {"pooling": way} for way in POOLINGS}

    def claims(self, config: Mapping[str, Any]) -> bool:
        return config.get("architecture") == ARCHITECTURE

    def sample_rate(self, config: Mapping[str, Any]) -> int:
        return parse(config).sample_rate

    def build(self, config: Mapping[str, Any], num_classes: int) -> VoiceClassifier:
        from zooadapt_audio.voice import VoiceClassifier

        return VoiceClassifier(parse(config), num_classes).eval()

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        from zooadapt_audio.voice import VoiceClassifier

        assert isinstance(net, VoiceClassifier)
        return net.stages()

    def head(self, net: nn.Module) -> str:
        return "head"

    def preprocessor(
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> VoicePreprocessor:
        from zooadapt_audio.voice import VoicePreprocessor

        return VoicePreprocessor(parse(config), augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        return parse(config).native(classes)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        from zooadapt_audio import voice

        return voice.converted(state, parse(config))

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        from zooadapt_audio import voice

        return voice.native(state)

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return parse(config).classes

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        longer = {**config, "max_length": length}
        settings.parse(longer)
        return longer

    def poolings(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        parsed = parse(config)
        if "pooling" in config:
            return {POOLINGS[parsed.pooling]: config}
        own, *others = (way for way in POOLINGS if way != "embedding" or parsed.embeds)
        return {POOLINGS[own]: config} | {
            POOLINGS[other]: {**config, "pooling": other} for other in others
        }


class SpectrogramFamily(TimmFamily):
    """Every image network of timm, on images of log-mel bands: `audio-timm:SOURCE`."""

    name = "audio-timm"
    modality = "audio"
    library = "zooadapt"
    bundled = {}
    can = Capabilities(input_size=True)
    with_crop = Family.with_crop
    usage = Family.usage

    def variants(self) -> Iterable[Variant]:
        """None: these are timm's, whose own family lists them."""
        return ()

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        spectrogram = {"sample_rate": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 32}
        timm = super().examples()
        return {
            name: {**timm[name], "model_type": _SPECTROGRAM, "spectrogram": spectrogram}
            for name in ("convolutions", "grey")
        }

    def claims(self, config: Mapping[str, Any]) -> bool:
        return config.get("model_type") == _SPECTROGRAM

    def sample_rate(self, config: Mapping[str, Any]) -> int:
        from zooadapt_audio import spectrogram

        return spectrogram.parse(config).sample_rate

    def preprocessor(  # type: ignore[override]  # the samples are clips
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> SpectrogramPreprocessor:
        from zooadapt_audio.spectrogram import SpectrogramPreprocessor

        return SpectrogramPreprocessor(config, augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        """timm's own, which timm loads, and the settings of the spectrogram."""
        from zooadapt_audio import spectrogram

        described = {"model_type": _SPECTROGRAM, spectrogram.KEY: spectrogram.described(config)}
        return super().native_config(config, classes) | described


class SoundFamily(EncoderFamily):
    """Wav2Vec2, HuBERT, WavLM, Whisper's encoder and the Audio Spectrogram Transformer."""

    name = "audio-transformers"
    modality = "audio"
    can = Capabilities(variable_length=True)
    imports = ("transformers.modeling_utils", "transformers.feature_extraction_utils")
    fetches = ("preprocessor_config.json",)

    def variants(self) -> Iterable[Variant]:
        rows = (
            ("openai/whisper-tiny", "apache-2.0", 8_356_224, "speech, quick"),
            ("openai/whisper-base", "apache-2.0", 20_853_248, ""),
            (
                "facebook/wav2vec2-base-960h",
                "apache-2.0",
                94_961_536,
                "speech, clips of any length",
            ),
            ("MIT/ast-finetuned-audioset-10-10-0.4593", "bsd-3-clause", 86_188_800, "any sound"),
        )
        return (
            Variant(source=source, license=license, parameters=parameters, start=start)
            for source, license, parameters, start in rows
        )

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        from zooadapt_audio.examples import of_transformers

        return of_transformers()

    def sample_rate(self, config: Mapping[str, Any]) -> int:
        from zooadapt_audio import extractor

        return extractor.sample_rate(config)

    def preprocessor(
        self, config: Mapping[str, Any], *, augment: str = "none"
    ) -> ExtractorPreprocessor:
        from zooadapt_audio.extractor import ExtractorPreprocessor

        return ExtractorPreprocessor(config, augment=augment)

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        from zooadapt_transformers import settings

        from zooadapt_audio import extractor

        return settings.native(config, classes) | {FILES: extractor.files(config)}
