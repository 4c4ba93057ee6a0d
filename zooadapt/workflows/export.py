"""The output folder: native weights and config that every tool of the family loads, and the words
and figures about them. Written as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zooadapt.backbone.pretrained import Model
from zooadapt.errors import DataError
from zooadapt.family import FILES
from zooadapt.runtime import filesystem, model_files, outputs
from zooadapt.tasks.task import Task
from zooadapt.workflows import html_report
from zooadapt.workflows.report import Written
from zooadapt.zoo.sources import open_source

if TYPE_CHECKING:
    from torch import Tensor


def folded(model: Model, task: Task) -> Model:
    """The model with what its task has to say of logits in the weights of its head, so that other
    tools give the same numbers.

    Raises: DataError for a head that cannot hold it.
    """
    folding = task.folding()
    if folding is not None:
        from zooadapt.backbone import head_layer

        head_layer.fold(model.backbone.head, *folding)
    return replace(model, task=task.exported())


def save(model: Model, out: Path, written: Written, *, overwrite: bool) -> None:
    """Write an adapted model, all of its network's state under native names, and the texts of the
    source's licence, which go with every copy of its weights.

    Raises: as `write`.
    """
    source = model.source
    state = source.family.native_state(model.backbone.net.state_dict(), source.config)
    write(
        state,
        out,
        written,
        overwrite=overwrite,
        copies=source.origin.license_texts,
        weight_folders=source.family.weight_folders,
    )


def write(
    state: Mapping[str, Tensor],
    out: Path,
    written: Written,
    *,
    overwrite: bool,
    copies: Sequence[Path] = (),
    weight_folders: Sequence[str] = (),
) -> None:
    """Write `model.safetensors`, `config.json`, `README.md`, `report.json` and, where there is a
    page, `report.html` to a new folder, with copies of these files; equal weights give equal bytes.
    Tensors whose names begin with one of the `weight_folders` have a `model.safetensors` of their
    own there. Nothing is replaced by an export that cannot be opened again.

    Raises: OutputError when `out` exists and may not be replaced, FileError when writing fails.
    """
    with outputs.new_folder(out, overwrite=overwrite) as folder:
        model_files.write_model(folder, state, folders=weight_folders)
        filesystem.write_json(folder / "config.json", written.config)
        filesystem.write_json(folder / "report.json", written.report)
        filesystem.write_file(folder / "README.md", written.card.encode())
        if written.page is not None:
            filesystem.write_file(folder / html_report.NAME, written.page)
        for name, text in written.files.items():
            with filesystem.writing(folder / name):
                (folder / name).parent.mkdir(exist_ok=True)
            filesystem.write_file(folder / name, text.encode())
        for path in copies:
            with filesystem.reading(path):
                content = path.read_bytes()
            filesystem.write_file(folder / path.name, content)
        model_files.read_weights(open_source(str(folder), offline=True).origin.folder)


def check_names(model: Model) -> None:
    """See before any work that the `config.json` of an export will be read again.

    Raises: DataError where the names of the classes make too large a one.
    """
    source = model.source
    config = model.native_config()
    config.pop(FILES, None)
    if tuple(source.family.classes(config) or ()) != model.classes:
        config["zooadapt"] = {"classes": list(model.classes)}
    try:
        model_files.parse_config(filesystem.json_bytes(config), Path("config.json"))
    except DataError as error:
        longest = max(map(len, model.classes))
        raise DataError(
            f"{len(model.classes):,} class names of up to {longest:,} characters cannot be written "
            f"to an export: {error}",
            thing="config.json",
            remedy="shorten the names of the classes",
        ) from error
