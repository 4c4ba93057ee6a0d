"""An adapted model in Python.

The examples run offline: their pretrained models are bundled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zooadapt.api import parameters
from zooadapt.api.display import progress_of, quiet
from zooadapt.api.parameters import ReadParameters
from zooadapt.api.remedies import of_python
from zooadapt.backbone.pretrained import Model as Network
from zooadapt.data import ReadOptions, Split, dataset_of, inputs_of, is_location, open_dataset
from zooadapt.errors import DataError, UsageError
from zooadapt.family import further_files
from zooadapt.runtime import outputs
from zooadapt.runtime.filesystem import writing
from zooadapt.runtime.options import options_of
from zooadapt.runtime.progress import Progress
from zooadapt.tasks.predictions import Prediction
from zooadapt.workflows import html_report, learned_samples, model_inference
from zooadapt.workflows.settings import Settings
from zooadapt.zoo import hub

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_DOCUMENTS = ("README.md", learned_samples.REPORT, html_report.NAME)
"""Files of an export that nothing reads again."""


class Model:
    """An adapted network with its classes and its report. `adapt` and `load` return one."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        report: dict[str, Any],
    ) -> None:
        """network: built for its own classes; folder: of its export."""
        self.report = report
        """What `zooadapt adapt --json` prints; empty if the model came without its report."""
        self._network, self._folder = network, folder

    def __repr__(self) -> str:
        name = self._network.source.family.name
        return f"<zooadapt.Model: {name}, {len(self.classes)} classes>"

    def _repr_html_(self) -> str | None:
        """The figures of the report, for a notebook; None without a report of this version."""
        with suppress(DataError):
            return html_report.fragment(self.report) if self.report else None
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits; empty for a model that names none."""
        return () if self._network.source.classes is None else self._network.classes

    @property
    def module(self) -> nn.Module:
        """The plain native network, such as a timm model, in eval mode: its logits are the model's.

        >>> type(zooadapt.load("digits04").module).__name__
        'ByobNet'
        """
        import torch

        # Inference may have changed its memory format, and with it the last bits of its logits.
        return self._network.backbone.net.eval().to(memory_format=torch.contiguous_format)

    @of_python
    def predict(
        self,
        inputs: Any,
        top: int | None = None,
        *,
        reject_below: float = 0.0,
        batch_size: int = 32,
        precision: str = "auto",
        progress: bool | None = None,
        **reading: Unpack[ReadParameters],
    ) -> list[Prediction]:
        """The most probable class of each input, in the order of the inputs.

        inputs: images as paths, Pillow images or arrays `(H, W)` or `(H, W, C)`; or texts and pairs
            of texts. A model of texts takes every string as a text, a model of images as a path; a
            `pathlib.Path` is always a path. A folder or table stands for all its samples.
        top: how many classes have probabilities, by default all, the most probable one first.
        reject_below: the label is `unknown` if no class has this probability.
        Raises: DataError or NotFoundError naming the input at fault; DataError for a pretrained
        model that names no classes.

        >>> import numpy as np
        >>> (one,) = zooadapt.load("digits04").predict([np.zeros((8, 8), np.uint8)], top=2)
        >>> one.label in "01234" and len(one.probabilities)
        2
        """
        if top is not None and top < 1:
            raise UsageError(f"top={top} must be at least 1", thing="top", remedy="top=1")
        if not 0 <= reject_below <= 1:
            raise UsageError(
                f"reject_below={reject_below} must be a probability",
                thing="reject_below",
                remedy="give a number from 0 to 1",
            )
        self._check_adapted()
        display = progress_of(progress)
        return model_inference.predictions_of(
            self._network,
            self._inputs(inputs, parameters.reading_of(reading), display),
            _settings(batch_size, precision),
            display,
            reject_below=reject_below,
            top=top,
        )

    @of_python
    def evaluate(
        self,
        data: Any,
        *,
        split: str | None = None,
        batch_size: int = 32,
        precision: str = "auto",
        offline: bool = False,
        progress: bool | None = None,
        **reading: Unpack[ReadParameters],
    ) -> dict[str, Any]:
        """Metrics on labelled data, as `zooadapt evaluate --json` prints them.

        data: as for `zooadapt.adapt`. split: `train`, `val`, `test` or `all`; by default the test
            split, or all if the data has none of its own. Data without splits is split as `adapt`
            split it.
        Raises: DataError for a class that the model does not know; UsageError for a split that the
        data does not have.

        >>> import numpy as np
        >>> images = [np.full((8, 8), 20 * k, np.uint8) for k in range(10)]
        >>> zooadapt.load("digits04").evaluate((images, ["0", "1"] * 5))["n"]
        10
        """
        display = progress_of(progress)
        source = self._network.source
        if split is not None and split not in model_inference.PARTS:
            raise UsageError(
                f"there is no split '{split}'",
                thing="split",
                remedy=", ".join(model_inference.PARTS),
            )
        self._check_adapted()
        options = model_inference.reading_of(source, parameters.reading_of(reading))
        modality, seed = source.family.modality, model_inference.seed_of(source)
        with quiet(display):
            if is_location(data):
                labelled = open_dataset(
                    fspath(data), modality=modality, options=options, offline=offline, seed=seed
                )
            else:
                labelled = dataset_of(data, modality=modality, options=options, seed=seed)
        part = model_inference.part_of(labelled, split)
        _say([*part.notes, *filter(None, [learned_samples.note_on(source, part)])], display)
        metrics, _, _ = model_inference.measure(
            self._network, labelled, part, _settings(batch_size, precision), display
        )
        return self._network.task.scores_of(metrics)

    @of_python
    def features(
        self,
        inputs: Any,
        layer: str | None = None,
        *,
        batch_size: int = 32,
        precision: str = "auto",
        progress: bool | None = None,
        **reading: Unpack[ReadParameters],
    ) -> np.ndarray:
        """The features of each input, which the head takes, `(N, D)` in float32.

        inputs: as for `predict`. layer: the name of a stage, as `zooadapt.inspect` lists them; its
            features are the means of its channels over all positions of an image or text.
        Raises: UsageError for an unknown stage; and as `predict`.

        >>> import numpy as np
        >>> model, image = zooadapt.load("digits04"), np.zeros((8, 8), np.uint8)
        >>> model.features([image, image]).shape
        (2, 256)
        >>> model.features([image], layer="stages.1").shape
        (1, 64)
        """
        display = progress_of(progress)
        return model_inference.features_of(
            self._network,
            self._inputs(inputs, parameters.reading_of(reading), display),
            _settings(batch_size, precision),
            display,
            layer=layer,
        )

    @of_python
    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the export to a folder, completely or not at all: weights, config, card, report and
        licence texts, as `adapt` made them. Changes to `module` are not in it.

        Returns: the folder.
        Raises: OutputError if it exists and may not be replaced; FileError.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = zooadapt.load("digits04").save(pathlib.Path(place, "digits"))
        ...     zooadapt.load(folder).classes
        ('0', '1', '2', '3', '4')
        """
        target = Path(folder)
        names = {*self._network.source.origin.files, *_DOCUMENTS}
        with outputs.new_folder(target, overwrite=overwrite) as new, writing(target):
            for name in sorted(names):
                if (self._folder / name).is_file():
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self._folder / name, new / name)
        return target

    @of_python
    def export(
        self,
        out: str | PathLike[str],
        *,
        to: str = "onnx",
        data: Any = None,
        offline: bool = False,
        progress: bool | None = None,
        **reading: Unpack[ReadParameters],
    ) -> dict[str, Any]:
        """Write the model as an ONNX file, after its results were compared with torch's.

        out: the file, such as `flowers.onnx`. to: `"onnx"`, or `"onnx-int8"` for weights and
            activations of one byte, which needs `data`.
        data: the samples to compare on, as for `evaluate`; by default synthesised ones.

        Returns: what `zooadapt export --json` prints, the `proof` among it.
        Raises: DataError for a network that cannot be exported, or whose file would differ from it
        by more than the bounds; UsageError without the libraries; OutputError.

        >>> model = zooadapt.load("digits04")
        >>> result = model.export("digits.onnx")  # doctest: +SKIP
        >>> result["proof"]["equal_labels"]  # doctest: +SKIP
        1.0
        """
        from zooadapt.workflows import onnx_export

        if to not in onnx_export.KINDS:
            raise UsageError(
                f"to='{to}' is no format", thing="to", remedy=" or ".join(onnx_export.KINDS)
            )
        display = progress_of(progress)
        with quiet(display):
            return onnx_export.export(
                str(self._folder),
                Path(out),
                display,
                kind=to,
                data=data,
                reading=parameters.reading_of(reading),
                offline=offline,
            )

    @of_python
    def push(
        self,
        repo: str,
        private: bool = True,
        *,
        dry_run: bool = False,
        create_pr: bool = False,
        overwrite_repo: bool = False,
        license: str | None = None,
        with_report: bool = False,
        with_thumbnails: bool = False,
        offline: bool = False,
        progress: bool | None = None,
    ) -> hub.PushResult:
        """Publish the model as a Hub repo, with one commit or none.

        dry_run: return what would be sent, and send nothing; needs no token.
        license: the licence's short name, if that of the pretrained model is unknown.
        with_report: send `report.html` too, without samples; with_thumbnails: with pictures and
            texts of samples.
        Raises: DataError if something private would be published; UsageError if it would be public
        without a licence; AccessError, UnavailableError, TryAgainError.

        >>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
        >>> model = zooadapt.adapt("rnn:english", (texts, ["quiet", "loud"] * 10), strategy="probe")
        >>> planned = model.push("me/loudness", dry_run=True, offline=True)
        >>> [file.name for file in planned.files][-2:]
        ['model.safetensors', 'report.json']
        """
        pages: Mapping[str, bytes] = {}
        if with_report or with_thumbnails:
            pages = html_report.to_publish(self._folder, repo, with_thumbnails=with_thumbnails)
        with quiet(progress_of(progress)):
            return hub.push(
                self._folder,
                repo,
                public=not private,
                dry_run=dry_run,
                create_pr=create_pr,
                overwrite_repo=overwrite_repo,
                license=license,
                names=further_files(self._network.source.family),
                pages=pages,
                offline=offline,
            )

    def _check_adapted(self) -> None:
        source = self._network.source
        if source.classes is None:
            raise DataError(
                f"'{source.name}' has no class names: it is no adapted model",
                thing=source.name,
                remedy="zooadapt.adapt(SOURCE, DATA) makes a model of it",
            )

    def _inputs(self, inputs: Any, reading: ReadOptions, display: Progress) -> Split:
        source = self._network.source
        options = model_inference.reading_of(source, reading)
        split = inputs_of(inputs, modality=source.family.modality, options=options)
        _say(split.notes, display)
        return split


def _settings(batch_size: int, precision: str) -> Settings:
    """The settings of a call, which stores no activations."""
    values = {"batch_size": batch_size, "precision": precision}
    return Settings(cache_gb=0, **parameters.checked(values, options_of(Settings)))


def _say(notes: Iterable[str], display: Progress) -> None:
    for note in notes:
        display.say(f"note: {note}")
