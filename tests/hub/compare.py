"""Run in a clean home by `test_round_trip`: is what the Hub sends the model that was pushed?

Arguments: the folder that was pushed, the repository, the library that has to load it too.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

TEXTS = ["Ends of words", "free offer, call now", "x"]


def activations_and_logits(spec: str) -> tuple[dict, torch.Tensor]:
    """A batch of three samples that no one has seen before, and the model's logits for it."""
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
    found = {}
    if library == "timm":
        import timm

        stock = timm.create_model(f"hf-hub:{repo}", pretrained=True).eval()
    if library == "transformers":
        import sentence_transformers

        stock = sentence_transformers.SentenceTransformer(repo, device="cpu")
    batch, there = activations_and_logits(repo)
    _, here = activations_and_logits(folder)
    found["equal"] = torch.equal(there, here) and bool(here.std() > 0)
    if library == "timm":
        with torch.no_grad():
            found["stock"] = float((stock(next(iter(batch.values()))) - here).abs().max())
    if library == "transformers":
        encoded = stock.encode(TEXTS, convert_to_tensor=True)
        found["stock"] = float((encoded - here).abs().max())
    from zooadapt.zoo import hub

    pulled = hub.pull(repo, Path("pulled"))
    data = (Path("pulled") / "model.safetensors").read_bytes()
    found["sha256"] = hashlib.sha256(data).hexdigest()
    found["lock"] = pulled.revision
    print(json.dumps(found))


torch.set_num_threads(1)
main(*sys.argv[1:])
