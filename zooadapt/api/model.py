"""An adapted model as programs of others hold it.

The examples run as they stand, offline: their sources are bundled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
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
from zooadapt.workflows import forward, learned_samples
from zooadapt.workflows.predictions import Prediction
from zooadapt.workflows.settings import Settings
from zooadapt.zoo import hub

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

_WORDS = ("README.md", learned_samples.REPORT, "report.html")
"""What an export says of itself, beside the files that are read again."""


class Model:
    """An adapted network with its classes and the report of how it was made. `adapt` and `load`
    give one."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        report: dict[str, Any],
    ) -> None:
        """network: built for its own classes; folder: where its export lies."""
        self.report = report
        """What `zooadapt adapt --json` prints; empty where the model came without its report."""
        self._network, self._folder = network, folder

    def __repr__(self) -> str:
        name = self._network.source.family.name
        return f"<zooadapt.Model: {name}, {len(self.classes)} classes>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits; none of a source that names none."""
        return () if self._network.source.classes is None else self._network.classes

    @property
    def module(self) -> nn.Module:
        """The plain native network, such as a timm model, in eval mode: its logits are the model's.

        >>> type(zooadapt.load("digits04").module).__name__
        'ByobNet'
        """
        import torch

        # Inference may have laid it out for speed, which changes the last bits of what it gives.
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

        inputs: images as paths, pictures of Pillow or arrays `(H, W)` or `(H, W, C)`; or texts and
            pairs of texts. A string is a text for a model of texts, whatever it says, and a path
            for one of images; a `pathlib.Path` is always a path. A folder or table stands for all
            that is in it.
        top: how many classes have probabilities, by default all, the most probable one first.
        reject_below: the label is `unknown` where no class has this probability.
        Raises: DataError or NotFoundError naming the input at fault; DataError for a source that
        names no classes.

        >>> import numpy as np
        >>> (one,) = zooadapt.load("digits04").predict([np.zeros((8, 8), np.uint8)], top=2)
        >>> one.label in "01234" and len(one.probabilities)
        2
        """
        if top is not None and top < 1:
            raise UsageError(f"top={top} is no number of classes", thing="top", remedy="top=1")
        if not 0 <= reject_below <= 1:
            raise UsageError(
                f"reject_below={reject_below} is no probability",
                thing="reject_below",
                remedy="give a number from 0 to 1",
            )
        self._check_adapted()
        shown = progress_of(progress)
        return forward.predictions_of(
            self._network,
            self._inputs(inputs, parameters.reading_of(reading), shown),
            _settings(batch_size, precision),
            shown,
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
        """Metrics on labelled data, as `zooadapt evaluate --json` gives them.

        data: as for `zooadapt.adapt`. split: `train`, `val`, `test` or `all`; by default the test
            part, or all where the data has none of its own. What `adapt` split off is split off
            alike here.
        Raises: DataError for a class that the model does not know; UsageError for a part that the
        data does not have.

        >>> import numpy as np
        >>> images = [np.full((8, 8), 20 * k, np.uint8) for k in range(10)]
        >>> zooadapt.load("digits04").evaluate((images, ["0", "1"] * 5))["n"]
        10
        """
        shown = progress_of(progress)
        source = self._network.source
        if split is not None and split not in forward.PARTS:
            raise UsageError(
                f"there is no part '{split}'", thing="split", remedy=f"{', '.join(forward.PARTS)}"
            )
        self._check_adapted()
        options = forward.reading_of(source, parameters.reading_of(reading))
        modality, seed = source.family.modality, forward.seed_of(source)
        with quiet(shown):
            if is_location(data):
                labelled = open_dataset(
                    fspath(data), modality=modality, options=options, offline=offline, seed=seed
                )
            else:
                labelled = dataset_of(data, modality=modality, options=options, seed=seed)
        part = forward.part_of(labelled, split)
        _say([*part.notes, *filter(None, [learned_samples.note_on(source, part)])], shown)
        metrics, _, _ = forward.measure(
            self._network, labelled, part, _settings(batch_size, precision), shown
        )
        return metrics.summary() | {"classes": list(self.classes)} | metrics.confusion.to_json()

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
        """What the network makes of each input before its head, `(N, D)` in float32.

        inputs: as for `predict`. layer: the name of a stage, as `zooadapt.inspect` lists them: the
            mean of each of its channels over all places of an image or text.
        Raises: UsageError for a stage that there is none of; and as `predict`.

        >>> import numpy as np
        >>> model, image = zooadapt.load("digits04"), np.zeros((8, 8), np.uint8)
        >>> model.features([image, image]).shape
        (2, 256)
        >>> model.features([image], layer="stages.1").shape
        (1, 64)
        """
        shown = progress_of(progress)
        return forward.features_of(
            self._network,
            self._inputs(inputs, parameters.reading_of(reading), shown),
            _settings(batch_size, precision),
            shown,
            layer=layer,
        )

    @of_python
    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the export to a folder, as a whole or not at all: weights, config, card, report and
        licence texts, as `adapt` made them. What was changed in `module` is not in it.

        Returns: the folder.
        Raises: OutputError where it is there and may not be replaced; FileError.

        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = zooadapt.load("digits04").save(pathlib.Path(place, "digits"))
        ...     zooadapt.load(folder).classes
        ('0', '1', '2', '3', '4')
        """
        target = Path(folder)
        names = {*self._network.source.origin.files, *_WORDS}
        with outputs.new_folder(target, overwrite=overwrite) as new, writing(target):
            for name in sorted(names):
                if (self._folder / name).is_file():
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self._folder / name, new / name)
        return target

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
        offline: bool = False,
        progress: bool | None = None,
    ) -> hub.PushResult:
        """Publish the model as a Hub repo, with one commit or none.

        dry_run: say what would be sent, and send nothing; needs no token.
        license: the licence's short name, where the source's is not known.
        Raises: DataError where something private would be given away; UsageError where it would be
        public and nobody stated a licence; AccessError, UnavailableError, TryAgainError.

        >>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
        >>> model = zooadapt.adapt("rnn:english", (texts, ["quiet", "loud"] * 10), strategy="probe")
        >>> planned = model.push("me/loudness", dry_run=True, offline=True)
        >>> [file.name for file in planned.files][-2:]
        ['model.safetensors', 'report.json']
        """
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

    def _inputs(self, inputs: Any, reading: ReadOptions, shown: Progress) -> Split:
        source = self._network.source
        options = forward.reading_of(source, reading)
        split = inputs_of(inputs, modality=source.family.modality, options=options)
        _say(split.notes, shown)
        return split


def _settings(batch_size: int, precision: str) -> Settings:
    """Nothing is stored of what a program asks a model."""
    values = {"batch_size": batch_size, "precision": precision}
    return Settings(cache_gb=0, **parameters.checked(values, options_of(Settings)))


def _say(notes: Iterable[str], shown: Progress) -> None:
    for note in notes:
        shown.say(f"note: {note}")
