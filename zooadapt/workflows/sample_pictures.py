"""The samples of a run's page with small pictures, and the places that the answers rest on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zooadapt.backbone import relevance
from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import Model
from zooadapt.backbone.relevance import Relevance
from zooadapt.data import MODES, Split, sounds
from zooadapt.data.splits import TRAIN, VAL
from zooadapt.errors import ZooadaptError
from zooadapt.family.modality import Clip
from zooadapt.heads.answers import Answers
from zooadapt.tasks.label_issues import LabelIssues
from zooadapt.tasks.metrics import sign_test
from zooadapt.training.operation_counts import OPERATIONS
from zooadapt.workflows.html_report.examples import Example, Examples, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

ERRORS, ISSUES, RIGHT = 12, 12, 6
"""The most samples of each kind that a page shows."""
TESTED = 60
"""The most images of a test by deletion, those that the page shows among them."""
_SIDE = 144
"""Pixels of the longer side of a picture, at most."""
_LOSSLESS = 64
"""Pictures up to this side are stored without loss."""
_TEXT = 300
_HEARD, _RATE = 3.0, 16_000
"""Seconds and samples a second of a recording."""
_SECONDS = 0.75
_SHARE = 0.01
"""Relevant places may cost these seconds on the machine of reference, or this share of the passes
that the run took, whichever is more."""
_FEWEST = 6
"""Images that a deletion test needs: if all of five agree, that is no evidence yet."""


def collect(
    model: Model,
    engine: Engine,
    splits: Mapping[str, Split],
    answers: Answers | None,
    issues: LabelIssues | None,
    *,
    passes: int,
) -> tuple[Examples, dict[str, Any] | None]:
    """The samples that a page shows, and of images, how the test of their relevant places ended,
    for the report; None for other samples. A sample that can no longer be read has no picture.

    passes: forward passes of a sample that the run took.
    """
    shown = Examples()
    relevance_test: dict[str, Any] | None = None
    if answers is not None:
        rows = [*answers.errors(ERRORS).tolist(), *answers.right(RIGHT).tolist()]
        samples = _Samples([splits[name] for name in answers.parts], model)
        examples = [
            samples.example(
                int(answers.position[row]),
                label=model.classes[answers.label[row]],
                answer=model.classes[answers.predicted[row]],
                score=f"probability {answers.confidence[row]:.2f}",
            )
            for row in rows
        ]
        errors = len(answers.errors(ERRORS))
        if samples.kind.has_size:
            others = [row for row in answers.right(TESTED).tolist() if row not in rows]
            shown_first = [rows[k] for k in _alternating(errors, len(rows))]
            order = [int(answers.position[row]) for row in (*shown_first, *others)[:TESTED]]
            pictures, relevance_test = _explain(
                model, engine, samples, order, shown=len(rows), passes=passes
            )
            examples = [
                replace(each, picture=pictures.get(int(answers.position[row]), each.picture))
                for row, each in zip(rows, examples, strict=True)
            ]
        shown = replace(shown, errors=tuple(examples[:errors]), right=tuple(examples[errors:]))
    if issues is not None and len(issues):
        samples = _Samples([splits[name] for name in (TRAIN, VAL) if name in splits], model)
        each = zip(issues.index, issues.given, issues.likelier, issues.score, strict=True)
        doubtful = [
            samples.example(
                int(index),
                label=issues.names[given],
                answer=issues.names[likelier],
                score=f"score {score:.2f}",
            )
            for index, given, likelier, score in list(each)[:ISSUES]
        ]
        shown = replace(shown, label_issues=tuple(doubtful))
    return shown, relevance_test


class _Samples:
    """The samples of several parts, one part after the other."""

    def __init__(self, parts: Sequence[Split], model: Model) -> None:
        self._places = [(part, index) for part in parts for index in range(len(part))]
        self._model = model
        self.kind = parts[0].kind

    def raw(self, position: int) -> Any:
        """A decoded sample; None for one that can no longer be read."""
        part, index = self._places[position]
        view = self._model.view
        try:
            return part.viewed(
                index, replace(view, min_side=view.min_side and max(view.min_side, _SIDE))
            )
        except ZooadaptError:
            return None

    def example(self, position: int, *, label: str, answer: str, score: str) -> Example:
        part, index = self._places[position]
        raw = self.raw(position)
        text = None if raw is None else part.kind.shown(raw)
        return Example(
            name=part.ids[index],
            label=label,
            answer=answer,
            score=score,
            picture=picture_of(raw) if hasattr(raw, "getbands") else None,
            sound=sound_of(raw) if isinstance(raw, Clip) else None,
            text=None if text is None else _short(text),
        )


def _alternating(errors: int, count: int) -> list[int]:
    """Positions of errors and of right answers, which follow them, in turns."""
    wrong, right = list(range(errors)), list(range(errors, count))
    turns = [each for pair in zip(wrong, right, strict=False) for each in pair]
    return turns + wrong[len(right) :] + right[len(wrong) :]


def _explain(
    model: Model,
    engine: Engine,
    samples: _Samples,
    order: Sequence[int],
    *,
    shown: int,
    passes: int,
) -> tuple[dict[int, Picture], dict[str, Any] | None]:
    """What the network sees of the first `shown` samples, by their positions, with the relevant
    places, if the costs allow it; and the test of such places by deletion."""
    first = next((raw for k in order if (raw := samples.raw(k)) is not None), None)
    if first is None:
        return {}, None
    inputs = _collated(model, [first])
    scale = _scale(model, inputs)
    if scale is None:
        return {}, _untested("the network's input is no image of three or one channels")
    operations = max(1.0, relevance.operations(model.backbone, engine, inputs))
    affordable = max(_SECONDS * OPERATIONS / operations, _SHARE * passes) / relevance.PASSES
    if affordable < min(_FEWEST, len(order)):
        return {}, _untested("it would take long beside the rest of the run")
    raws = {k: raw for k in order[: int(affordable)] if (raw := samples.raw(k)) is not None}
    inputs = _collated(model, list(raws.values()))
    computed = relevance.places_of(model.backbone, engine, inputs)
    if computed is None:
        return {}, _untested("no stage of the network has places that gradients reach")
    (pixels,) = inputs.values()
    pictures = {
        k: replace(
            picture_of(_unscaled(pixels[row], *scale)), relevance=computed.cells[row].numpy()
        )
        for row, k in enumerate(raws)
        if k in order[:shown]
    }
    return pictures, _tested(model, engine, inputs, computed)


def _untested(reason: str) -> dict[str, Any]:
    return {"images": 0, "reason": reason}


def _tested(
    model: Model, engine: Engine, inputs: dict[str, Tensor], computed: Relevance
) -> dict[str, Any]:
    """The deletion test for the report: over images, mean probabilities of the answers, and on how
    many the relevant places mattered more or less than other ones."""
    flat = computed.cells.amax((1, 2)) == 0
    without = relevance.deletion(model.backbone, engine, inputs, computed)
    more = int((without.marked < without.others)[~flat].sum())
    less = int((without.marked > without.others)[~flat].sum())
    return {
        "images": len(flat),
        "method": "Grad-CAM",
        "stage": computed.stage,
        "removed": relevance.REMOVED,
        "probability": float(computed.probability.mean()),
        "without_relevant": float(without.marked.mean()),
        "without_others": float(without.others.mean()),
        "more": more,
        "less": less,
        "p": sign_test(more, less),
    }


def _collated(model: Model, raws: Sequence[Any]) -> dict[str, Tensor]:
    preprocessor = model.preprocessor
    return dict(preprocessor.collate([preprocessor(raw, rng=None) for raw in raws]))


def _scale(model: Model, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """The values `(C, 1, 1)` of black and of white in a network's input; None for an input that is
    not one image of the model's channels."""
    from PIL import Image

    if len(inputs) != 1:
        return None
    ((name, batch),) = inputs.items()
    if batch.ndim != 4 or batch.shape[1] != model.channels or not batch.is_floating_point():
        return None
    black, white = (
        model.preprocessor(Image.new("L", (64, 64), level).convert(MODES[model.channels]), rng=None)
        for level in (0, 255)
    )
    middle = [slice(None), *(slice(side // 2, side // 2 + 1) for side in batch.shape[2:])]
    low, high = black[name][tuple(middle)], white[name][tuple(middle)]
    return None if bool((low == high).any()) else (low, high)


def _unscaled(pixels: Tensor, low: Tensor, high: Tensor) -> Image:
    """The picture of a network's input `(C, H, W)`."""
    from PIL import Image

    levels = ((pixels - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
    array = levels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def picture_of(image: Image) -> Picture:
    """A small copy of a picture."""
    small = image.copy()
    small.thumbnail((_SIDE, _SIDE))
    kind = "PNG" if max(small.size) <= _LOSSLESS else "JPEG"
    file = io.BytesIO()
    if kind == "PNG":
        small.save(file, kind, optimize=True)
    else:
        small.save(file, kind, quality=78)
    return Picture(content=file.getvalue(), media=f"image/{kind.lower()}", size=small.size)


def sound_of(clip: Clip) -> bytes | None:
    """The first seconds of a recording as MP3; None without the library that writes it."""
    file = io.BytesIO()
    try:
        import soundfile

        start = sounds.resampled(sounds.part(clip, (0.0, _HEARD)), _RATE)
        soundfile.write(file, start.samples, start.rate, format="MP3")
    except (ImportError, OSError, ZooadaptError):  # OSError without libsndfile
        return None
    return file.getvalue()


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _TEXT else words[:_TEXT].rstrip() + " …"
