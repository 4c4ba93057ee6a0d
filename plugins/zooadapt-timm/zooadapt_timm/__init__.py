"""All of timm's image networks, as a family of zooadapt."""

from zooadapt_timm.family import TimmFamily

__all__ = ["TimmFamily"]
