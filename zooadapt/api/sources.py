"""The Python interface to pretrained models: find, download and make one."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

from zooadapt.api.display import progress_of, quiet
from zooadapt.api.parameters import PretrainParameters, checked
from zooadapt.api.remedies import of_python
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import existing
from zooadapt.runtime import outputs
from zooadapt.runtime.options import options_of
from zooadapt.training.pretrain_options import PretrainRequest
from zooadapt.zoo import catalogue, sources


@of_python
def models(search: str = "", *, limit: int = 20) -> list[dict[str, Any]]:
    """Pretrained models to start from, whose name contains `search`: recommended, bundled,
    downloaded and known ones, as `zooadapt models --json` gives them.

    >>> [row["source"] for row in zooadapt.models("digits")]
    ['digits04']
    """
    rows: list[dict[str, Any]] = catalogue.models(search, limit=limit)["models"]
    return rows


@of_python
def pull(
    source: str,
    *,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    offline: bool = False,
) -> Path:
    """Download a pretrained model from the Hub and verify it, for offline use.

    source: `[FAMILY:]REPO[@REVISION]`. out: a folder to copy it to; by default it stays in the
    cache.
    Returns: the folder that holds its files.
    Raises: a ZooadaptError, before anything is downloaded where `out` cannot be written.

    >>> zooadapt.pull("timm/mobilenetv2_100.ra_in1k")  # doctest: +SKIP
    """
    place = Path(out) if out is not None else None
    if place is not None:
        outputs.check_output(place, overwrite=overwrite)
    return sources.pull(source, place, overwrite=overwrite, offline=offline).folder


@of_python
def pretrain(
    family: str,
    text: str | PathLike[str],
    out: str | PathLike[str],
    *,
    progress: bool | None = None,
    **options: Unpack[PretrainParameters],
) -> dict[str, Any]:
    """Pretrain a language model on plain text, without labels.

    family: one that is a language model, such as `rnn`. text: a text file or a folder of `.txt`
    files. out: a new folder; it is a source for `adapt`. options: those of `zooadapt pretrain`.
    Returns: what `zooadapt pretrain --json` prints.
    Raises: a ZooadaptError whose remedy names parameters; nothing is left half-written.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     text = pathlib.Path(place, "text.txt")
    ...     _ = text.write_text("the cat sat on the mat. " * 200)
    ...     report = zooadapt.pretrain("rnn", text, pathlib.Path(place, "cat"), hidden=8, epochs=1)
    >>> report["family"]
    'rnn'
    """
    existing(fspath(text))
    reads = ReadOptions.__dataclass_fields__.keys() & PretrainParameters.__annotations__.keys()
    known = {**options_of(PretrainRequest), **{n: options_of(ReadOptions)[n] for n in reads}}
    values = checked(options, known)
    reading = ReadOptions(**{name: values.pop(name) for name in reads if name in values})
    request = PretrainRequest(
        family=family, text=fspath(text), out=Path(out), reading=reading, **values
    )
    display = progress_of(progress)
    with quiet(display):
        from zooadapt.workflows.pretrain import pretrain as run

        return run(request, display)
