"""Recordings as windows: each is a sample, and those of one recording are never split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from zooadapt.data.dataset import Cutting, LabelledRows, Window
from zooadapt.data.file_samples import FileSamples
from zooadapt.data.listing import Listing
from zooadapt.data.options import ReadOptions
from zooadapt.data.splits import merge_groups
from zooadapt.errors import DataError, UsageError
from zooadapt.family.modality import Modality, View
from zooadapt.runtime.wording import counted

Span = tuple[float, float]
_TAIL = 0.1
"""The share of a window that may be left over at the end of a recording."""
_ROUNDING = 1e-6


def check(modality: Modality, options: ReadOptions) -> None:
    """Raises: UsageError for options about windows that have no use, or lack another one."""
    spans = options.start_column, options.end_column
    used = {"--window": options.window, "--hop": options.hop, "--start-column": spans[0],
            "--end-column": spans[1], "--background": options.background}  # fmt: skip
    flags = [flag for flag, value in used.items() if value is not None]
    if flags and not modality.has_length:
        raise UsageError(
            f"{flags[0]} is about parts of recordings, and the model takes {modality.plural}",
            thing=flags[0],
            remedy="leave it out",
        )
    if options.background is not None and len(options.labels) > 1:
        raise UsageError(
            "--background is a label of its own, and --label-columns names the columns of all",
            thing="--background",
            remedy="leave it out, or give the labels in one column",
        )
    needed = {"--hop": "--window", "--start-column": "--end-column",
              "--end-column": "--start-column", "--background": "--start-column"}  # fmt: skip
    for flag in flags:
        if flag in needed and needed[flag] not in flags:
            raise UsageError(
                f"{flag} needs {needed[flag]}", thing=flag, remedy=f"add {needed[flag]}"
            )


def spans_of(seconds: float, window: float, hop: float, *, start: float = 0.0) -> Iterator[Span]:
    """The windows of so many seconds of a recording, from `start` on. The last one ends with the
    recording, unless next to nothing would be left over; a shorter recording is one window."""
    if seconds <= window + _ROUNDING:
        yield start, start + seconds
        return
    count = int((seconds - window + _ROUNDING) / hop) + 1
    for k in range(count):
        yield start + k * hop, start + k * hop + window
    if seconds - (count - 1) * hop - window > _TAIL * window:
        yield start + seconds - window, start + seconds


class WindowSamples:
    """Windows of files. A file that changes after it was examined is an error when it is read."""

    def __init__(self, files: FileSamples, numbers: Sequence[int], spans: Sequence[Span]) -> None:
        """numbers: `(n,)` the position of each window's file; spans: its seconds."""
        self._files = files
        self._numbers = np.asarray(numbers, dtype=np.int64)
        self._spans = np.asarray(spans, dtype=np.float64).reshape(len(numbers), 2)

    def __len__(self) -> int:
        return len(self._numbers)

    def name(self, index: int) -> str:
        one = self.window(index)
        return f"{one.recording}:{one.start:g}-{one.end:g}"

    def window(self, index: int) -> Window:
        start, end = (round(float(second), 6) for second in self._spans[index])
        return Window(recording=self._files.name(int(self._numbers[index])), start=start, end=end)

    def raw(self, index: int, view: View) -> Any:
        one = self.window(index)
        return self._files.raw(int(self._numbers[index]), replace(view, span=(one.start, one.end)))

    def size(self, index: int) -> tuple[int, int]:
        return 0, 0

    def digest(self, index: int) -> bytes:
        content = self._files.digest(int(self._numbers[index]))
        return hashlib.sha256(content + self._spans[index].tobytes()).digest()


def windows_of(files: FileSamples, intact: Sequence[int], options: ReadOptions) -> WindowSamples:
    """All windows of the intact files, in order."""
    window, hop = options.window or 0.0, options.hop or options.window or 0.0
    pairs = [(k, span) for k in intact for span in spans_of(files.seconds(k), window, hop)]
    return WindowSamples(files, [k for k, _ in pairs], [span for _, span in pairs])


def cut(
    files: FileSamples,
    position: Mapping[str, int],
    intact: Sequence[int],
    listing: Listing,
    options: ReadOptions,
) -> LabelledRows:
    """The windows of the listed recordings, or of their spans where a table has them, with the
    labels of their rows; with `background`, windows of what no row names too.

    position: of each path among the files.
    Raises: DataError naming a row whose span is empty or begins after the recording's end.
    """
    good, rows = set(intact), list[tuple[int, int, Span]]()
    spans: list[Span] = []
    for row, path in enumerate(listing.paths):
        number = position[path]
        if number in good:
            spans.append(_span(listing, row, files.seconds(number)))
            start, end = spans[-1]
            window = options.window or end - start
            hop = options.hop or window
            rows += [(row, number, one) for one in spans_of(end - start, window, hop, start=start)]
    lengths = [end - start for start, end in spans] or [1.0]
    window = options.window or round(median(lengths), 2)
    labels = [listing.labels[row] for row, _, _ in rows]
    notes = [*listing.notes, *files.notes]
    cutting = Cutting(window=window, hop=options.hop or window, background=options.background)
    if options.background is not None:
        others = _background(files, position, good, listing, cutting, most=len(rows))
        rows += others
        in_lists = any(isinstance(label, tuple) for label in labels)
        labels += [(options.background,) if in_lists else options.background] * len(others)
        one, many = "window that no row names is", "windows that no row names are"
        notes.append(f"{counted(len(others), one, many)} '{options.background}'")
    recordings = len({number for _, number, _ in rows})
    if len(rows) > recordings:
        what = "windows" if options.window else "parts"
        notes.append(f"{counted(recordings, 'recording')} cut into {len(rows)} {what}")
    return LabelledRows(
        samples=WindowSamples(files, [one[1] for one in rows], [one[2] for one in rows]),
        rows=range(len(rows)),
        parts=[listing.parts[row] for row, _, _ in rows],
        names=labels,
        columns=listing.columns,
        groups=_groups(listing, rows),
        notes=notes,
        cutting=cutting,
    )


def _span(listing: Listing, row: int, seconds: float) -> Span:
    """The seconds of a row, inside its recording."""
    if not listing.spans:
        return 0.0, seconds
    start, end = listing.spans[row]
    if start >= end or start >= seconds:
        why = "ends before it begins" if start >= end else f"is {seconds:g} s long"
        raise DataError(
            f"row {row + 1} names seconds {start:g} to {end:g} of '{listing.paths[row]}', which "
            + why,
            thing=listing.paths[row],
            remedy="correct the row or remove it",
        )
    return start, min(end, seconds)


def _background(
    files: FileSamples,
    position: Mapping[str, int],
    good: set[int],
    listing: Listing,
    cutting: Cutting,
    *,
    most: int,
) -> list[tuple[int, int, Span]]:
    """Windows of what no row names, `most` of them at most, evenly over all recordings; each with
    the first row of its recording."""
    first: dict[int, int] = {}
    named: dict[int, list[Span]] = {}
    for row, path in enumerate(listing.paths):
        if (number := position[path]) in good:
            first.setdefault(number, row)
            named.setdefault(number, []).append(listing.spans[row])
    free: list[tuple[int, int, Span]] = []
    for number, spans in named.items():
        before = 0.0
        for start, end in [*sorted(spans), (files.seconds(number), 0.0)]:
            if start - before >= cutting.window:
                inside = spans_of(start - before, cutting.window, cutting.hop, start=before)
                free += [(first[number], number, one) for one in inside]
            before = max(before, end)
    chosen = np.linspace(0, len(free) - 1, min(len(free), most)).astype(int)
    return [free[k] for k in chosen]


def _groups(listing: Listing, rows: Sequence[tuple[int, int, Span]]) -> list[str | None]:
    """The recording of each window, or its group; recordings of one group are one. Empty where each
    recording is one window and there is no group column."""
    if not listing.groups and len({number for _, number, _ in rows}) == len(rows):
        return []
    recordings = [str(number).encode() for _, number, _ in rows]
    names = None
    if listing.groups:
        named = [listing.groups[row] or f"\0{number}" for row, number, _ in rows]
        names = np.unique(named, return_inverse=True)[1]
    merged = merge_groups(names, recordings)
    numbers = range(len(rows)) if merged is None else merged.tolist()
    return [str(number) for number in numbers]
