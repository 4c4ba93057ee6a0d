"""timm's networks and transforms, for the peers that build on them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from job import Job


def network(job: Job, *, outputs: int) -> Any:
    """timm's network with the job's weights and a new classifier; without one where `outputs` is
    0."""
    import timm

    return timm.create_model(f"local-dir:{job.weights}", pretrained=True, num_classes=outputs)


def settings(job: Job, net: Any) -> dict[str, Any]:
    """timm's settings of a network's input, at the job's size."""
    from timm.data import resolve_data_config

    size = {"img_size": job.input_size} if job.input_size else {}
    return resolve_data_config(size, model=net)


def batches(job: Job, net: Any, files: list[str], *, size: int = 64) -> Iterator[Any]:
    """Tensors `(B, 3, H, W)` of images in their order, by timm's evaluation transform."""
    import torch
    from PIL import Image
    from timm.data import create_transform

    transform = create_transform(**settings(job, net))
    for start in range(0, len(files), size):
        part = files[start : start + size]
        yield torch.stack([transform(Image.open(file).convert("RGB")) for file in part])


def probabilities(job: Job, net: Any) -> list[list[float]]:
    """A network's predictions for the test part, as the contract wants them."""
    import torch

    link = {
        "classification": lambda logits: logits.softmax(1),
        "multilabel": lambda logits: logits.sigmoid(),
        "regression": lambda logits: logits,
    }[job.task]
    net.eval()
    with torch.inference_mode():
        return torch.cat([link(net(x)) for x in batches(job, net, job.test)]).tolist()


def epoch_seconds(net: Any, loader: Any, gradients: Callable[[Any, Any], None]) -> float:
    """Processor seconds of an epoch, by four batches after a first one, which is slower; the
    network is put back."""
    before = {key: value.clone() for key, value in net.state_dict().items()}
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    ends = []
    for x, y in itertools.islice(epochs, 5):
        gradients(x, y)
        ends.append(time.process_time())
    net.zero_grad()
    net.load_state_dict(before)
    return (ends[-1] - ends[0]) / (len(ends) - 1) * len(loader)
