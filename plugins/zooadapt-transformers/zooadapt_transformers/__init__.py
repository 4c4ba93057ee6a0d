"""Backbones of Hugging Face transformers, as two families of zooadapt: text and images."""

from zooadapt_transformers.family import TextFamily, VisionFamily

__all__ = ["TextFamily", "VisionFamily"]
