"""The network as stages, the freeze point, and the activations that are stored there."""
