"""Recurrent networks over characters or bytes, as a family of zooadapt."""

from zooadapt_rnn.family import RnnFamily

__all__ = ["RnnFamily"]
