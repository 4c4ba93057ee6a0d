"""Text files, one text a file, in class folders or in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zooadapt.data.cells import CellSamples
from zooadapt.data.csv_files import MAX_FIELD
from zooadapt.data.dataset import LabelledRows
from zooadapt.data.listing import files_by_class
from zooadapt.data.options import ReadOptions
from zooadapt.data.reading import read_text
from zooadapt.data.tree import Tree, valid
from zooadapt.errors import DataError
from zooadapt.family.modality import Modality
from zooadapt.runtime.wording import counted


class TextFiles:
    """Texts of files below a root, in memory, named by their paths."""

    def __init__(self, root: Path, paths: Sequence[str], options: ReadOptions) -> None:
        """Raises: as `read_text`, naming the file; DataError for a text that is too long."""
        self._paths = [valid(path) for path in paths]
        self.notes: list[str] = []

        def read(path: str) -> tuple[str, list[str]]:
            notes: list[str] = []
            text = read_text(root / path, options.encoding, notes, name=valid(path))
            if len(text) > MAX_FIELD:
                raise DataError(
                    f"'{valid(path)}' has a text of {len(text):,} characters, the limit is "
                    f"{MAX_FIELD:,}",
                    thing=valid(path),
                    remedy="shorten it or remove it",
                )
            return text, notes

        with ThreadPoolExecutor() as pool:
            texts = list(pool.map(read, paths))
        self._texts = [text for text, _ in texts]
        encodings = [note for _, notes in texts for note in notes]
        if encodings:
            others = len(encodings) - 1
            verb = "is" if others == 1 else "are"
            more = f", and so {verb} {counted(others, 'more text')}" if others else ""
            self.notes.append(encodings[0] + more)
        empty = sum(not text for text in self._texts)
        if empty:
            self.notes.append(f"{counted(empty, 'text is', 'texts are')} empty")

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> str:
        return self._texts[index]

    def name_of(self, index: int) -> str:
        return self._paths[index]


def read_text_folder(root: Path, modality: Modality, options: ReadOptions) -> LabelledRows:
    """The texts of a labelled folder in order of part, class and name, one text a file.

    Raises: as `files_by_class` and `TextFiles`.
    """
    listing = files_by_class(Tree(root, modality, options), options)
    texts = TextFiles(root, listing.paths, options)
    return LabelledRows(
        samples=CellSamples([texts], modality),
        rows=range(len(texts)),
        parts=listing.parts,
        names=listing.labels,
        notes=[*listing.notes, *texts.notes],
    )
