"""The columns to read of a table, and proposals for those that are missing."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import PurePath

from zooadapt.data.options import ReadOptions
from zooadapt.errors import DataError, UsageError
from zooadapt.family.modality import Modality
from zooadapt.runtime.options import flag
from zooadapt.runtime.wording import listed
from zooadapt.tasks.cells import lacks, number, truth

Peek = Callable[[], Mapping[str, Sequence[str | None]]]
"""Reads the first values of every column."""
FILE_NAME = "file_name"
"""The column of paths in the tables of the Hub's folders of files."""
LABEL, LABELS, GROUP = "--label-column", "--label-columns", "--group-column"
_LABEL_NAMES = {"label", "labels", "class", "classes", "category", "categories", "sentiment",
                "target", "targets", "intent", "emotion", "emotions", "topic", "topics", "tag",
                "tags", "rating", "stars", "score", "price", "polarity", "label text",
                "v1"}  # fmt: skip
_LONG, _SHORT = 15, 40
"""Characters of a text in the mean, at least, and of a class name, at most."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns to read of a table, as the options name them."""

    text: str
    """The column of samples: one of texts or paths, or two of texts with a comma between."""
    modality: Modality
    labels: tuple[str, ...] = ()
    """The column of labels, or several; none where labels are not read."""
    group: str | None = None
    start: str | None = None
    end: str | None = None
    """The seconds of a recording that a row is about."""
    may_lack_label: bool = False

    @property
    def option(self) -> str:
        """The option that names the column of samples."""
        return flag(self.modality.column)

    def texts(self, names: Sequence[str]) -> tuple[str, ...]:
        """The column of samples, or the two of pairs; the name of a column may contain a comma.

        Raises: UsageError for more than two.
        """
        if not self.modality.is_language or self.text in names or "," not in self.text:
            return (self.text,)
        parts = tuple(part.strip() for part in self.text.split(","))
        if len(parts) > 2:
            raise UsageError(
                f"'{self.text}' names {len(parts)} columns, and a sample has two texts at most",
                thing=self.option,
                remedy=f"{self.option} {parts[0]},{parts[1]}",
            )
        return parts

    def candidates(self) -> set[str]:
        """The possible names of the columns to read."""
        names = {self.text, *self.labels, self.group, self.start, self.end}
        names |= {part.strip() for part in self.text.split(",")}
        return {name for name in names if name is not None}

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a table with these columns has all columns to read."""
        return not self._missing(names)

    def select(self, table: str, names: Sequence[str], peek: Peek) -> list[str]:
        """The names to read of a table with these columns.

        Raises: DataError whose thing is a column that is missing, with proposals, or a duplicate.
        """
        missing = self._missing(names)
        if missing:
            option = next(iter(missing))
            proposed = propose(self, names, peek)
            raise self._missing_column(table, names, missing[option], option, proposed)
        columns = [column for _, column in self._columns(names) if column in names]
        counts = Counter(names)
        for name in columns:
            if counts[name] > 1:
                raise DataError(
                    f"'{table}' has two columns named '{name}'",
                    thing=name,
                    remedy="rename one of them",
                )
        return list(dict.fromkeys(columns))

    def _columns(self, names: Sequence[str]) -> list[tuple[str, str]]:
        columns = [(self.option, name) for name in self.texts(names)]
        columns += [(self._labels_option, name) for name in self.labels]
        others = ((GROUP, self.group), ("--start-column", self.start), ("--end-column", self.end))
        return columns + [(option, name) for option, name in others if name is not None]

    @property
    def _labels_option(self) -> str:
        return LABELS if len(self.labels) > 1 else LABEL

    def _missing(self, names: Sequence[str]) -> dict[str, str]:
        """The first column that is missing of those that each option names."""
        known = set(names)
        missing: dict[str, str] = {}
        for option, name in self._columns(names):
            if name not in known:
                missing.setdefault(option, name)
        if self.may_lack_label and known.isdisjoint(self.labels):
            missing.pop(self._labels_option, None)
        return missing

    def _missing_column(
        self,
        table: str,
        names: Sequence[str],
        column: str,
        option: str,
        proposed: Mapping[str, str],
    ) -> DataError:
        what = {self.option: self.modality.plural, LABEL: "labels", LABELS: "labels"}
        likely = " and ".join(f"{what[option]} in '{name}'" for option, name in proposed.items())
        options = [part for pair in proposed.items() for part in pair]
        return DataError(
            f"'{table}' has no column '{column}', its columns are "
            + listed([f"'{name}'" for name in names], most=12)
            + (f"; it seems to have its {likely}" if likely else ""),
            thing=column,
            remedy=shlex.join(options) or f"{option} {'A,B,C' if option == LABELS else 'NAME'}",
            options=options,
        )


def samples_column(modality: Modality, options: ReadOptions) -> str:
    """The column of samples that the options name, or its usual name."""
    column: str | None = getattr(options, modality.column)
    return column or (modality.name if modality.in_cells else FILE_NAME)


def propose(selection: Columns, names: Sequence[str], peek: Peek) -> dict[str, str]:
    """Options that name columns of the table in place of missing ones: by usual names, else by
    their values. Empty where several columns are possible."""
    samples, modality = selection.option, selection.modality
    missing = selection._missing(names).keys() & {samples, LABEL}
    values = peek() if missing else {}
    chosen: dict[str, str] = {}
    of_samples = (modality.columns, partial(_are_samples, modality))
    for option, known, fits in ((samples, *of_samples), (LABEL, _LABEL_NAMES, _is_label)):
        if option not in missing:
            continue
        other = () if option == samples else (*selection.texts(names), chosen.get(samples))
        free = [name for name in names if name not in other and name not in selection.labels]
        named = [name for name in free if _plain(name) in known]
        fitting = [name for name in free if fits(values.get(name, ()))]
        likely = named if len(named) == 1 else [n for n in named if n in fitting] or fitting
        if option == LABEL:
            flags = [name for name in free if _is_flag(values.get(name, ())) and "," not in name]
            several = flags if not named and set(fitting) <= set(flags) else []
            typed = [name.strip() for name in selection.labels[0].split(",")]
            several = typed if set(typed) <= set(names) else several
            if len(several) > 1:
                chosen[LABELS] = ",".join(several)
                continue
            likely = likely or [name for name in free if _is_quantity(values.get(name, ()))]
        if len(likely) != 1:
            return {}
        chosen[option] = likely[0]
    return chosen


def is_data(header: Sequence[str], below: Sequence[Sequence[str]], modality: Modality) -> bool:
    """Whether the first row is data: it has a number above numbers, a file's name above names, or
    a class name that occurs below, beside a text above texts."""
    columns = [[row[k] for row in below if k < len(row)] for k in range(len(header))]
    pairs = [(name, values) for name, values in zip(header, columns, strict=True) if values]
    if any(_numeric(name) and all(map(_numeric, values)) for name, values in pairs):
        return True
    if any(_are_paths([name], modality) and _are_paths(values, modality) for name, values in pairs):
        return True
    repeats = any(name in values for name, values in pairs if not lacks(name) and _is_label(values))
    return repeats and any(_is_long(name) for name, values in pairs if _is_text(values))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _is_text(values: Sequence[str | None]) -> bool:
    """Strings of some length, most of them different and with blanks."""
    texts = _present(values)
    if len(texts) < 2 or sum(map(len, texts)) < _LONG * len(texts):
        return False
    blanks = sum(" " in text.strip() for text in texts)
    return 2 * blanks > len(texts) and 2 * len(set(texts)) > len(texts)


def _are_samples(modality: Modality, values: Sequence[str | None]) -> bool:
    """Whether a column seems to hold samples: texts, or the names of their files."""
    return _is_text(values) if modality.is_language else _are_paths(values, modality)


def _are_paths(values: Sequence[str | None], modality: Modality) -> bool:
    """File names of samples, most of them different."""
    names = _present(values)
    suffixes = {PurePath(name).suffix.lower() for name in names}
    return bool(names) and suffixes <= set(modality.suffixes) and 2 * len(set(names)) > len(names)


def _is_long(text: str) -> bool:
    return len(text) >= _LONG and " " in text.strip()


def _is_label(values: Sequence[str | None]) -> bool:
    """A few short values, each more than once in the mean."""
    names = _present(values)
    classes = set(names)
    return 2 <= len(classes) <= len(names) / 2 and max(map(len, classes)) <= _SHORT


def _is_flag(values: Sequence[str | None]) -> bool:
    """0 and 1, or `false` and `true`, each more than once in the mean."""
    return _is_label(values) and None not in map(truth, _present(values))


def _is_quantity(values: Sequence[str | None]) -> bool:
    """Numbers that do not count the rows."""
    numbers = [number(value) for value in _present(values)]
    if len(numbers) < 2 or None in numbers:
        return False
    return any(one >= two for one, two in pairwise(n for n in numbers if n is not None))


def _present(values: Sequence[str | None]) -> list[str]:
    return [value for value in values if value is not None and not lacks(value)]


def _numeric(value: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(?:[.,]\d+)?", value.strip()) is not None
