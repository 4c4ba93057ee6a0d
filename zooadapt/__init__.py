"""Adapt pretrained networks from the public zoos to a small data set of your own."""

__version__ = "0.1.0"
