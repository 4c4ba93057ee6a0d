"""Networks of speech and sound, as families of zooadapt."""

from zooadapt_audio.family import SoundFamily, SpectrogramFamily, VoiceFamily

__all__ = ["SoundFamily", "SpectrogramFamily", "VoiceFamily"]
