"""Checks of the flags of `Capabilities`; `forward` checks padding."""

from __future__ import annotations

import torch
from torch import Tensor

from zooadapt.backbone.pretrained import build
from zooadapt.backbone.staged import StagedBackbone, prefix_sha256
from zooadapt.data.synthesis import synthesise
from zooadapt.family import Activations
from zooadapt.testing.case import CLASSES, Case, close, difference, same
from zooadapt.testing.clauses import clause, need, require


@clause
def check_channels_are_where_stages_say(case: Case) -> None:
    """Where a stage declares `channels`, its tensors of more than two dimensions have that
    dimension, and it has one size for samples of any size or length."""
    stages = case.backbone.stages
    need(any(stage.channels is not None for stage in stages), "declaration of channels")
    larger = _larger(case)
    for k, stage in enumerate(stages):
        others = larger[k] if larger else {}
        for name, tensor in case.activations(k + 1).items():
            if stage.channels is None or tensor.ndim <= 2 or not tensor.is_floating_point():
                continue
            shapes = [
                tuple(one[name].shape) for one in (case.activations(k + 1), others) if name in one
            ]
            is_there = stage.channels % tensor.ndim != 0 and abs(stage.channels) < tensor.ndim
            require(
                is_there and len({shape[stage.channels] for shape in shapes}) == 1,
                declared=f"channels={stage.channels} in '{name}' of stage '{stage.name}'",
                actual=f"shapes {' and '.join(map(str, shapes))}",
                remedy="give the dimension that is equal for all samples, 1 or -1",
            )


@clause
def check_other_input_sizes(case: Case) -> None:
    """Where `input_size` is declared: `with_input(size=...)` gives a network of the same weights
    for images of twice the side."""
    need(case.family.can.input_size, "capability input_size")
    channels, side = _image(case).shape[1], 2 * _image(case).shape[3]
    _check_runs(case, (channels, side, side), input_size=side)


@clause
def check_other_channel_counts(case: Case) -> None:
    """Where `input_channels` is declared: `with_input(channels=...)` gives a network of the same
    weights for greyscale images, or for coloured ones if it is for greyscale."""
    need(case.family.can.input_channels, "capability input_channels")
    _, own, height, width = _image(case).shape
    channels = 3 if own == 1 else 1
    _check_runs(case, (channels, height, width), in_chans=channels)


@clause
def check_other_crops(case: Case) -> None:
    """Where `crop` is declared: `with_crop` gives a network of the same weights that uses the ends
    of a wide image with "squash" and ignores them with "center". The preprocessor's `seen` agrees,
    and an export keeps the crop."""
    need(case.family.can.crop, "capability crop")
    high, wide = _image(case).shape[2:]
    (raw,) = case.raws(1)
    image = raw.resize((4 * wide, high))
    other = image.copy()
    other.paste(image.crop((2 * wide, 0, 3 * wide, high)), (0, 0))
    for crop, uses in (("squash", True), ("center", False)):
        model = build(case.exported, crop=crop)
        prepare = model.preprocessor
        samples = [prepare(one, rng=None) for one in (image, other)]
        require(
            same(*samples) != uses,
            declared=f"with crop '{crop}', the ends of an image of {image.width} x {image.height} "
            f"{'change' if uses else 'do not change'} its sample",
            actual="they do not" if uses else "they do",
            remedy="let `preprocessor` read the crop that `with_crop` writes",
        )
        seen = getattr(prepare, "seen", lambda size: 1.0)
        share = seen(image.size) / seen((image.width, image.width))
        require(
            (share > 0.9) == uses,
            declared=f"`seen` of a preprocessor with crop '{crop}' gives the share of an image "
            "that it uses",
            actual=f"{share:.2f} of its share of a square image",
            remedy="give the preprocessor a `seen(size)`: the share of an image that it uses",
        )
        native = case.family.native_config(model.source.config, model.classes)
        require(
            case.family.preprocessor(native).config() == prepare.config(),
            declared="`native_config` keeps the crop",
            actual=case.family.preprocessor(native).config(),
            remedy="write into native_config every key that the preprocessor reads",
        )


@clause
def check_it_is_a_language_model(case: Case) -> None:
    """Where `language_model` is declared: `language_config` gives a network without classes for a
    text, by characters or bytes. Each symbol has one state, which no later symbol changes.
    `language` spells the symbols as their text."""
    need(case.family.can.language_model, "capability language_model")
    text = "A language: its text says what comes next.\n" * 8
    for unit in ("char", "byte"):
        config = case.family.language_config(text, unit=unit, hidden=8, layers=2)
        torch.manual_seed(0)
        backbone = StagedBackbone(case.family, case.family.build(config, 1))
        language, prepare = case.family.language(config), case.family.preprocessor(config)
        symbols = list(language.encode(text))
        spelled = b"".join(language.alphabet[symbol] for symbol in symbols).decode()
        classes = case.family.classes(config)
        require(
            spelled == text and not classes,
            declared=f"no classes, and by {unit} {text[:24]!r}",
            actual=f"classes {classes}, and {spelled[:24]!r}",
            remedy="encode the whole text, and give each symbol's UTF-8 in `alphabet`",
        )
        start, other = symbols[:24], symbols[:12] + symbols[30:42]
        sample, prepared = language.sample(start), prepare(text[:24], rng=None)
        require(
            same(sample, prepared),
            declared="`sample` gives what the preprocessor gives for the same text",
            actual=f"{sample} against {prepared}",
            remedy="let the preprocessor use `encode` and `sample`",
        )
        with torch.no_grad():
            activations = prepare.collate(
                [language.sample(row) for row in (start, other, start[:12])]
            )
            stop = backbone.resolve(language.stage) + 1
            states = backbone.run(activations, stop=stop)[language.states]
        require(
            states.ndim == 3 and states.shape[:2] == (3, 24),
            declared="(3, 24, H) states of three texts of 24 symbols or fewer",
            actual=tuple(states.shape),
            remedy="name the stage and the tensor that hold one state for each symbol",
        )
        for row in states[1:]:
            require(
                close(row[:12], states[0, :12]),
                declared="states of equal beginnings are equal",
                actual=f"{difference(row[:12], states[0, :12])} if the texts continue differently",
                remedy="declare no `language_model` where a state sees what follows it",
            )


@clause
def check_poolings_are_distinguished(case: Case) -> None:
    """Where `poolings` gives several configs: their networks differ in weights, modules or what
    modules show by `extra_repr`, so that stored features of one pooling are none of another's."""
    candidates = case.family.poolings(case.config)
    need(len(candidates) > 1, "several `poolings`")
    names: dict[str, str] = {}
    for name, config in candidates.items():
        torch.manual_seed(0)
        backbone = StagedBackbone(case.family, case.family.build(config, len(CLASSES)))
        other = names.setdefault(prefix_sha256(backbone, backbone.depth), name)
        require(
            other == name,
            declared=f"networks of '{other}' and '{name}' that differ in a module",
            actual="their weights and modules are the same",
            remedy="pool in a module whose `extra_repr` gives the way",
        )


def _check_runs(
    case: Case,
    shape: tuple[int, ...],
    *,
    input_size: int | None = None,
    in_chans: int | None = None,
) -> None:
    model = build(case.exported, input_size=input_size, in_chans=in_chans)
    raws = synthesise(case.family.modality, 2, view=model.view)
    activations = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    shapes = [tuple(t.shape[1:]) for t in activations.values() if t.ndim == 4]
    require(
        shapes == [shape],
        declared=f"images {shape}",
        actual=shapes,
        remedy="let `preprocessor` read the size and channels that `with_input` writes",
    )
    with torch.no_grad():
        logits = model.backbone.logits(activations)
    require(
        logits.shape == (2, len(model.classes)) and bool(logits.isfinite().all()),
        declared=f"finite logits, (2, {len(model.classes)})",
        actual=f"{tuple(logits.shape)}, finite: {bool(logits.isfinite().all())}",
        remedy="let `build` and `convert` heed the size and channels that `with_input` writes",
    )


@torch.no_grad()
def _larger(case: Case) -> list[Activations]:
    """The activations after each stage of larger or longer samples, if the family takes any."""
    model, raws = case.model, case.raws()
    if case.family.can.input_size:
        model = build(case.exported, input_size=2 * _image(case).shape[3])
    elif not case.family.can.variable_length or (longer := case.modality.joined(raws)) is None:
        return []
    else:
        raws = [longer]
    activations = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    after: list[Activations] = []
    for k in range(model.backbone.depth):
        activations = model.backbone.run(activations, start=k, stop=k + 1)
        after.append(dict(activations))
    return after


def _image(case: Case) -> Tensor:
    return next(tensor for tensor in case.activations().values() if tensor.ndim == 4)
