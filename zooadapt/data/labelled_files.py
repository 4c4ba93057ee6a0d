"""The labelled files of folders and tables: whole, or cut into windows."""

from __future__ import annotations

from pathlib import Path

from zooadapt.data import windows
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.file_samples import FileSamples
from zooadapt.data.listing import Listing, files_by_class
from zooadapt.data.options import ReadOptions
from zooadapt.data.tree import Tree
from zooadapt.family.modality import Modality


def read_folder(root: Path, modality: Modality, options: ReadOptions) -> LabelledRows:
    """The samples of a labelled folder in order of part, class and name.

    Raises: as `files_by_class`; DataError for broken files.
    """
    listing = files_by_class(Tree(root, modality, options), options)
    return examined(root, listing, modality, options)


def examined(
    root: Path, listing: Listing, modality: Modality, options: ReadOptions
) -> LabelledRows:
    """The listed files, each of which was read once.

    Raises: DataError for broken files.
    """
    paths = list(dict.fromkeys(listing.paths))
    files = FileSamples(root, paths, modality, options)
    intact = files.examine()
    if listing.spans or options.window is not None:
        position = {path: k for k, path in enumerate(paths)}
        return windows.cut(files, position, intact, listing, options)
    return LabelledRows(
        samples=files,
        rows=intact,
        parts=[listing.parts[k] for k in intact],
        names=[listing.labels[k] for k in intact],
        columns=listing.columns,
        groups=[listing.groups[k] for k in intact] if listing.groups else (),
        notes=[*listing.notes, *files.notes],
        white=files.white,
    )
