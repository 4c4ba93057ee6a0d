"""The story of pretraining: plain text in, a source without labels out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import build
from zooadapt.data import read_plain
from zooadapt.errors import DataError
from zooadapt.family import FILES
from zooadapt.runtime import distributed, outputs
from zooadapt.runtime.progress import Progress
from zooadapt.runtime.timing import Clock
from zooadapt.runtime.version import __version__
from zooadapt.tasks import of_classes
from zooadapt.training.history import History
from zooadapt.training.language_model import LanguageModel, bits_per_symbol
from zooadapt.training.pretrain_options import PretrainRequest
from zooadapt.training.strategies import Recipe
from zooadapt.workflows import export, report
from zooadapt.workflows.report import Written
from zooadapt.zoo import hub, registry
from zooadapt.zoo.hub.card import BEGIN, END
from zooadapt.zoo.sources import Source

_BLOCKS = 100
_HELD_OUT = 0.05
_SAMPLE = 300


def pretrain(request: PretrainRequest, progress: Progress) -> dict[str, Any]:
    """Train a new language model on plain text and write it to `request.out`, as a whole or not at
    all: a source like any other, with its decoder beside its network. The report, as written. No
    other run writes there meanwhile.

    Every twentieth part of the text is held out and measured on. Without a budget, equal requests
    give equal bytes on one machine.
    Raises: UsageError where the family is no language model; DataError for too little text; what
    `read_plain` and `outputs.claim` raise.
    """
    with outputs.claim(request.out, overwrite=request.overwrite) as note:
        if note:
            progress.say(f"note: {note}")
        return _pretrain(request, progress)


def _pretrain(request: PretrainRequest, progress: Progress) -> dict[str, Any]:
    clock = Clock()
    family = registry.load(request.family)
    with clock.part("data"):
        texts = read_plain(request.text, options=request.reading)
        train, held_out = _parts(texts, request)
    with clock.part("plan"):
        config = family.language_config(
            "".join(train), unit=request.unit, hidden=request.hidden, layers=request.layers
        )
        nowhere = hub.Source(
            location=request.out.absolute().name,
            folder=Path(),
            revision=None,
            files={},
            license=None,
        )
        source = Source(origin=nowhere, family=family, config=config)
        model = build(source, task=of_classes(["class"]), from_scratch=True, seed=request.seed)
        engine = Engine(precision="fp32", channels_last=False)
        engine.place(model.backbone)
        language_model = LanguageModel(
            model,
            engine,
            Recipe(batch_size=request.batch_size, stage_decay=1.0, weight_decay=0.01),
            train,
            held_out,
            window=request.window,
            vary_case=True,
            seed=request.seed,
            fresh=True,
        )
    with clock.part("train"):
        deadline = math.inf if request.budget is None else clock.deadline(request.budget)
        epochs = request.epochs or (1000 if request.budget else 3)
        history = language_model.train(
            epochs=epochs, lr=request.lr, progress=progress, deadline=deadline
        )
    with clock.part("evaluate"):
        encode, symbols = language_model.language.encode, np.zeros(2, dtype=int)
        for text in held_out:
            symbols += (len(encode(text)), len(text))
        bits = bits_per_symbol(history)[history.best] * symbols[0] / symbols[1]
        sample = language_model.generate(held_out[0][: request.window // 2], _SAMPLE)
    with clock.part("export"):
        facts = _report(request, family.name, texts, held_out, history, bits, sample)
        net = model.backbone.net.state_dict()
        head = f"{model.backbone.head_path}."
        state = {name: t for name, t in net.items() if not name.startswith(head)}
        facts["parameters"] = sum(t.numel() for t in state.values())
        facts["seconds"] = clock.seconds()
        written = _written(config, family, model.preprocessor.config(), facts)
        if distributed.is_main():
            state |= language_model.decoder_state()
            export.write(state, request.out, written, overwrite=request.overwrite)
        distributed.barrier()
    return facts | {"out": str(request.out), "seconds": clock.seconds()}


def _parts(texts: Sequence[str], request: PretrainRequest) -> tuple[list[str], list[str]]:
    """The runs of text to train on, and the blocks between them that are held out, by seed.

    Raises: DataError when there are no two windows.
    """
    text = "\n".join(texts)
    blocks = min(_BLOCKS, len(text) // request.window)
    if blocks < 2:
        raise DataError(
            f"'{request.text}' holds {len(text)} characters, fewer than two windows of "
            f"{request.window}",
            thing=request.text,
            remedy="give more text, or a smaller --window",
        )
    held = max(1, round(_HELD_OUT * blocks))
    chosen = set(np.random.default_rng((request.seed, 0x4E1D)).permutation(blocks)[:held].tolist())
    edges = [len(text) * k // blocks for k in range(blocks + 1)]
    train, held_out, run = [], [], 0
    for block in range(blocks):
        if block in chosen:
            train.append(text[run : edges[block]])
            held_out.append(text[edges[block] : edges[block + 1]])
            run = edges[block + 1]
    train.append(text[run:])
    return [part for part in train if part], held_out


def _report(
    request: PretrainRequest,
    family: str,
    texts: Sequence[str],
    held_out: Sequence[str],
    history: History,
    bits: float,
    sample: str,
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return {
        "family": family,
        "task": "language model",
        "unit": request.unit,
        "bits_per_character": bits,
        "perplexity": 2**bits,
        "sample": sample,
        "settings": {
            name: getattr(request, name)
            for name in ("hidden", "layers", "epochs", "budget", "lr", "window", "batch_size",
                         "seed")
        },
        "data": {
            "fingerprint": digest.hexdigest(),
            "characters": sum(map(len, texts)),
            "held_out": sum(map(len, held_out)),
        },
        "epochs": {
            "bits": bits_per_symbol(history),
            "best": history.best,
            "steps": history.steps,
            "stopped": history.stopped,
        },
        "threads": torch.get_num_threads(),
        "versions": report.versions(),
    }  # fmt: skip


def _written(
    config: dict[str, Any], family: Any, preprocessing: dict[str, Any], facts: dict[str, Any]
) -> Written:
    """The config, report and card; no class names, since there are no classes."""
    native, files = dict(config), dict(config.get(FILES, {}))
    native.pop(FILES, None)
    native["zooadapt"] = {
        "format": report.FORMAT,
        "version": __version__,
        "family": family.name,
        "plugin": registry.version_of(family),
        "preprocessing": preprocessing,
        "task": facts["task"],
        "seed": facts["settings"]["seed"],
        "data": facts["data"]["fingerprint"],
        "scores": {"bits_per_character": facts["bits_per_character"]},
    }
    sizes = facts["settings"]
    page = (
        f"---\nlibrary_name: {family.library}\npipeline_tag: text-generation\n"
        f"tags:\n- text-generation\n- zooadapt\n- {family.name}\n---\n\n{BEGIN}\n"
        f"# A {facts['unit']} language model\n\n"
        f"{sizes['layers']} layers of {sizes['hidden']} states, {facts['parameters']:,} parameters,"
        f" trained by zooadapt on {facts['data']['characters']:,} characters of plain text "
        f"(`{facts['data']['fingerprint'][:16]}`), seed {sizes['seed']}. On "
        f"{facts['data']['held_out']:,} characters held out: {facts['bits_per_character']:.3f} bits"
        f" per character, perplexity {facts['perplexity']:.2f}.\n\n"
        "```sh\nzooadapt adapt PATH_OF_THIS_FOLDER DATA -o OUT\n```\n"
        f"{END}\n"
    )
    return Written(config=native, files=files, report=facts, card=page)
