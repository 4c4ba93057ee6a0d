"""Networks of speech and sound, as families of zooadapt."""

from zooadapt_audio.family import SpectrogramFamily, VoiceFamily

__all__ = ["SpectrogramFamily", "VoiceFamily"]
