"""Networks of speech and sound, as families of zooadapt."""

from zooadapt_audio.family import VoiceFamily

__all__ = ["VoiceFamily"]
