"""Run in a clean home by `test_round_trip`: compares the model on the Hub with the pushed one.

Arguments: the folder that was pushed, the repository, the library that has to load it too.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

TEXTS = ["Ends of words", "free offer, call now", "x"]


def activations_and_logits(spec: str) -> tuple[dict, torch.Tensor]:
    """A batch of three new samples, and the model's logits for it."""
    import numpy as np
    from PIL import Image

    from zooadapt.backbone.pretrained import build
    from zooadapt.zoo.sources import open_source

    source = open_source(spec)
    model = build(source)
    raws = TEXTS
    if source.family.modality == "image":
        pixels = np.random.default_rng(0).integers(0, 256, (3, 120, 90, 3), dtype=np.uint8)
        raws = [Image.fromarray(image) for image in pixels]
    batch = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    with torch.no_grad():
        return batch, model.backbone.logits(batch)


def main(folder: str, repo: str, library: str) -> None:
    outcome = {}
    if library == "timm":
        import timm

        stock = timm.create_model(f"hf-hub:{repo}", pretrained=True).eval()
    if library == "transformers":
        import sentence_transformers

        stock = sentence_transformers.SentenceTransformer(repo, device="cpu")
    batch, remote = activations_and_logits(repo)
    _, local = activations_and_logits(folder)
    outcome["equal"] = torch.equal(remote, local) and bool(local.std() > 0)
    if library == "timm":
        with torch.no_grad():
            outcome["stock"] = float((stock(next(iter(batch.values()))) - local).abs().max())
    if library == "transformers":
        encoded = stock.encode(TEXTS, convert_to_tensor=True)
        outcome["stock"] = float((encoded - local).abs().max())
    from zooadapt.zoo import hub

    pulled = hub.pull(repo, Path("pulled"))
    data = (Path("pulled") / "model.safetensors").read_bytes()
    outcome["sha256"] = hashlib.sha256(data).hexdigest()
    outcome["lock"] = pulled.revision
    print(json.dumps(outcome))


torch.set_num_threads(1)
main(*sys.argv[1:])
