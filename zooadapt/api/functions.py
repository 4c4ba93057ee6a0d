"""The Python interface: the work of the command line as functions that return a `Model`.

The examples run offline: their pretrained models are bundled.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

from zooadapt.api import parameters
from zooadapt.api.display import progress_of, quiet
from zooadapt.api.model import Model
from zooadapt.api.parameters import AdaptParameters, RankParameters, checked, shows_options
from zooadapt.api.remedies import of_python
from zooadapt.backbone.pretrained import build
from zooadapt.data import ReadOptions, is_location
from zooadapt.data.in_memory import PLACE
from zooadapt.errors import UsageError
from zooadapt.family import further_files
from zooadapt.runtime import memory
from zooadapt.runtime.options import options_of
from zooadapt.tasks import of_classes
from zooadapt.workflows import inputs, learned_samples
from zooadapt.workflows.families import families as described
from zooadapt.workflows.inspect import inspect as inspect_source
from zooadapt.workflows.rank_options import RankRequest
from zooadapt.zoo import hub
from zooadapt.zoo.sources import open_source, usual

_MAX_REPORT = 200_000_000


@shows_options
@of_python
def adapt(
    source: str | PathLike[str],
    data: Any,
    *,
    out: str | PathLike[str] | None = None,
    progress: bool | None = None,
    **options: Unpack[AdaptParameters],
) -> Model:
    """Adapt a pretrained model to labelled data.

    source: the pretrained model, `[FAMILY:]LOCATION[@REVISION]`: a Hub repo id, a folder or the
        name of a bundled model.
    data: a path or `hf:ID`, as on the command line; a pair of lists (samples, labels); a table of
        pandas or Arrow; a `datasets.Dataset`; or a mapping of `train`, `test` and `val` to such.
        Samples are texts, pairs of texts, or images: Pillow images, arrays, paths.
    out: the folder for the export; by default a temporary one that lives as long as the model.
    progress: whether to show the plan and bars; by default in a notebook and on a terminal.
    options: those of `zooadapt adapt`, with `_` for `-`; `budget` in seconds or as `"10m"`.

    Returns: the exported model, loaded.
    Raises: a ZooadaptError whose remedy names parameters; nothing is left half-written.

    >>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
    >>> model = zooadapt.adapt("rnn:english", (texts, ["quiet", "loud"] * 10), strategy="probe")
    >>> model.classes
    ('loud', 'quiet')
    >>> model.report["plan"]["strategy"]
    'probe'
    """
    if out is None and options.get("resume"):
        raise UsageError(
            "an interrupted run is resumed in its output folder",
            thing="--resume",
            remedy="--out FOLDER",
        )
    with ExitStack() as stack:
        if out is None:
            place = tempfile.mkdtemp(prefix="zooadapt-")
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            out = Path(place, "model")
        report = _run(source, data, Path(out), progress, options, plan=False)
        model = _load(out, offline=True, progress=progress, report=report)
        weakref.finalize(model, stack.pop_all().close)
    return model


@shows_options
@of_python
def plan(
    source: str | PathLike[str],
    data: Any,
    *,
    progress: bool | None = False,
    **options: Unpack[AdaptParameters],
) -> dict[str, Any]:
    """What `adapt` would do with the same arguments; writes nothing.

    Returns: `plan`, `estimate` (seconds, memory and disk; None if nothing was measured) and
    `notes`, as `zooadapt adapt --plan --json` prints them.
    Raises: as `adapt`.

    >>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
    >>> preview = zooadapt.plan("rnn:english", (texts, ["quiet", "loud"] * 10), strategy="probe")
    >>> [phase["kind"] for phase in preview["plan"]["phases"]]
    ['solve']
    """
    with tempfile.TemporaryDirectory(prefix="zooadapt-") as folder:
        return _run(source, data, Path(folder, "model"), progress, options, plan=True)


@of_python
def load(
    location: str | PathLike[str],
    *,
    revision: str | None = None,
    offline: bool = False,
    progress: bool | None = None,
) -> Model:
    """Load a model that `adapt` wrote, from its folder or from a Hub repo; or a pretrained model,
    which computes features and, if it names its classes, predictions.

    revision: a commit, tag or branch of the repo.
    Raises: DataError if the location holds no model; NotFoundError, AccessError or UnavailableError
    if it cannot be opened; UsageError for the revision of a folder.

    >>> model = zooadapt.load("digits04")
    >>> model.classes
    ('0', '1', '2', '3', '4')
    """
    return _load(location, revision=revision, offline=offline, progress=progress)


@of_python
def inspect(
    source: str | PathLike[str],
    *,
    batch_size: int = 4,
    offline: bool = False,
    progress: bool | None = False,
) -> dict[str, Any]:
    """The stages of a pretrained model with their parameters and measured costs: what
    `zooadapt inspect --json` prints.

    Raises: as `load`.

    >>> [stage["name"] for stage in zooadapt.inspect("digits04")["stages"]]
    ['stem', 'stages.0', 'stages.1', 'stages.2', 'stages.3']
    """
    display = progress_of(progress)
    with quiet(display):
        return inspect_source(
            fspath(source), batch_size=batch_size, offline=offline, progress=display
        )


@of_python
def rank(
    data: Any,
    sources: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    progress: bool | None = None,
    **options: Unpack[RankParameters],
) -> dict[str, Any]:
    """Rank pretrained models by how well their features suit labelled data; nothing is trained.

    data: as in `adapt`.
    sources: pretrained models as in `adapt`; by default the bundled and downloaded ones of the
        data's modality.
    progress: as in `adapt`.
    options: those of `zooadapt rank`, with `_` for `-`; `budget` in seconds or as `"10m"`.

    Returns: what `zooadapt rank --json` prints: a row for each of the `sources`, best first, and
    each of the `baselines`; the `best` source, those `tied` with it, and the cheapest of these as
    `choice`. A source that fails has an `error`.
    Raises: a ZooadaptError whose remedy names parameters, where all sources fail or the data cannot
    be read.

    >>> texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
    >>> texts = [f"{text} {k}" for k, text in enumerate(texts)]
    >>> ranking = zooadapt.rank((texts, ["quiet", "loud"] * 10), ["rnn:english", "digits04"])
    >>> ranking["choice"], ranking["sources"][1]["error"]["message"]
    ('rnn:english', "'digits04' reads image data, and this is text data")
    """
    values = checked(options, {**options_of(RankRequest), **options_of(ReadOptions)})
    reading = {name: values.pop(name) for name in options_of(ReadOptions) if name in values}
    named = [sources] if isinstance(sources, (str, PathLike)) else sources
    request = RankRequest(
        data=fspath(data) if is_location(data) else PLACE,
        sources=tuple(fspath(source) for source in named or ()),
        reading=ReadOptions(**reading),
        **values,
    )
    display = progress_of(progress)
    with quiet(display):
        from zooadapt.workflows.rank import rank as run

        return run(request, display, data=None if is_location(data) else data)


@of_python
def families() -> list[dict[str, Any]]:
    """The installed model families, as `zooadapt plugins list --json` prints them; a broken one has
    an `error` and its `remedy`.

    >>> {one["name"]: one["bundled"] for one in zooadapt.families()}["timm"]
    ['digits04']
    """
    return described()


def _run(
    source: str | PathLike[str],
    data: Any,
    out: Path,
    progress: bool | None,
    options: AdaptParameters,
    *,
    plan: bool,
) -> dict[str, Any]:
    """The report of a run."""
    location = fspath(data) if is_location(data) else PLACE
    request = parameters.request_of(source, location, out, options, plan=plan)
    display = progress_of(progress)
    with quiet(display):
        in_memory = None if is_location(data) else data
        opened = inputs.open_inputs(request, display, data=in_memory)
        from zooadapt.workflows.adapt import adapt as run

        return run(request, display, opened=opened).report


def _load(
    location: str | PathLike[str],
    *,
    revision: str | None = None,
    offline: bool = False,
    progress: bool | None = None,
    report: dict[str, Any] | None = None,
) -> Model:
    place = fspath(location)
    if revision is not None:
        if Path(place).exists():
            raise UsageError(
                f"'{place}' is a folder, and a revision is of a Hub repo",
                thing="revision",
                remedy="leave it out",
            )
        place = f"{place}@{revision}"
    memory.check_libraries()
    with quiet(progress_of(progress)):
        source = open_source(place, offline=offline)
        origin = source.origin
        if origin.revision is not None and not (origin.folder / learned_samples.REPORT).exists():
            names = (*further_files(source.family), learned_samples.REPORT)
            origin = hub.fetch(
                origin.location, revision=origin.revision, names=names, offline=offline
            )
    if source.classes is None:  # a pretrained model, which has features alone
        network = build(usual(source), task=of_classes(["class"]))
    else:
        network = build(source)
    return Model(network, origin.folder, report or _report(origin.folder))


def _report(folder: Path) -> dict[str, Any]:
    path = folder / learned_samples.REPORT
    with suppress(OSError, ValueError):
        if path.stat().st_size <= _MAX_REPORT:
            report = json.loads(path.read_bytes())
            return report if isinstance(report, dict) else {}
    return {}
