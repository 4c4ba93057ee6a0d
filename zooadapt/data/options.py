"""The options of reading a data set."""

from __future__ import annotations

from dataclasses import dataclass

from zooadapt.errors import UsageError
from zooadapt.family.modality import Limits
from zooadapt.runtime import options
from zooadapt.runtime.options import Group, option
from zooadapt.runtime.ranges import Range
from zooadapt.tasks import AUTO, TASKS


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a data set is read; the defaults suit most."""

    text_column: str = option(
        "text",
        "Column with the text of a table; A,B reads two columns as pairs of texts.",
        Group.DATA,
    )
    image_column: str | None = option(
        None,
        "Column with the image paths of a table, relative to the table.",
        Group.DATA,
        by_default="file_name",
    )
    audio_column: str | None = option(
        None,
        "Column with the paths of recordings in a table, relative to the table.",
        Group.DATA,
        by_default="file_name",
    )
    sample_column: str | None = option(
        None,
        "Column with the samples of a table, or their paths, for a kind of data that a plugin "
        "brings.",
        Group.DATA,
        by_default="file_name, or the name of the kind",
    )
    label_column: str = option("label", "Column with the label of a table.", Group.DATA)
    label_columns: str | None = option(
        None,
        "Columns A,B,C with the labels of a table: each holds 0 and 1, or numbers.",
        Group.DATA,
        by_default="that of --label-column",
        metavar="A,B,C",
    )
    task: str = option(
        AUTO,
        "What a label is: one of several classes, several at once, a number, or a grade.",
        Group.DATA,
        choices=(AUTO, *TASKS),
    )
    group_column: str | None = option(
        None,
        "Column that identifies the group (patient, author); a group never spans two splits.",
        Group.DATA,
        by_default="every row is its own group",
    )
    start_column: str | None = option(
        None,
        "Column with the second of a recording at which a row's part begins.",
        Group.DATA,
        by_default="a row is a whole recording",
    )
    end_column: str | None = option(
        None,
        "Column with the second at which it ends.",
        Group.DATA,
        by_default="a row is a whole recording",
    )
    window: float | None = option(
        None,
        "Seconds of the windows that recordings are cut into; none of a recording's windows are in "
        "another split than the others.",
        Group.DATA,
        range=Range(0, 86_400, without=(0,)),
        by_default="whole recordings; for an adapted model, what it was adapted with",
    )
    hop: float | None = option(
        None,
        "Seconds from the start of a window to that of the next.",
        Group.DATA,
        range=Range(0, 86_400, without=(0,)),
        by_default="the window",
    )
    background: str | None = option(
        None,
        "Class of the windows that no row of a table with --start-column names.",
        Group.DATA,
        by_default="they are left out",
    )
    encoding: str = option(
        "auto",
        "Encoding of tables and text files; auto: UTF-8, or what a byte order mark says.",
        Group.READING,
    )
    separator: str | None = option(
        None,
        "Separator of a CSV file: comma, semicolon, tab, bar or another character.",
        Group.READING,
        by_default="detected",
        metavar="CHAR",
    )
    skip_bad: bool = option(
        False,
        "Skip and count broken files; every image is decoded once to find them.",
        Group.READING,
    )
    drop_unlabelled: bool = option(False, "Skip table rows without a label.", Group.READING)
    allow_tiny: bool = option(False, "Accept classes with a single training sample.", Group.READING)
    train_folder: str | None = option(
        None,
        "Folder below DATA with the class folders to train on.",
        Group.READING,
        by_default="recognised by its name",
    )
    test_folder: str | None = option(
        None,
        "Folder below DATA with the class folders to test on.",
        Group.READING,
        by_default="recognised by its name",
    )
    follow_links: bool = option(False, "Follow links that leave the data folder.", Group.READING)
    strict: bool = option(
        False,
        "Refuse samples that are in train and test; images are compared by their pixels.",
        Group.READING,
    )
    white: int | None = None
    """The white value of 16-bit images; by default the largest value in the data set, rounded up to
    a power of two, less one."""
    trains: bool = True
    """Whether a model is fitted to the labels, which have to suffice for it."""
    max_pixels: int = option(
        50_000_000,
        "Pixels of the largest image that is decoded.",
        Group.READING,
        range=Range(1, 10**12),
    )
    max_seconds: float = option(
        600.0,
        "Seconds of the longest recording that is read as one sample.",
        Group.READING,
        range=Range(0, 86_400, without=(0,)),
    )

    @property
    def limits(self) -> Limits:
        """What a modality decodes at most."""
        return Limits(pixels=self.max_pixels, seconds=self.max_seconds)

    def __post_init__(self) -> None:
        """Raises: UsageError naming an option with an invalid value."""
        options.check(self)
        if self.label_columns is None:
            return
        if self.label_column != "label":
            raise UsageError(
                "--label-column and --label-columns both name the labels",
                thing="--label-columns",
                remedy="leave out one of them",
            )
        if "" in self.labels or len(set(self.labels)) < len(self.labels):
            raise UsageError(
                f"--label-columns '{self.label_columns}' has an empty name, or one name twice",
                thing="--label-columns",
                remedy=f"--label-columns {','.join(filter(None, dict.fromkeys(self.labels)))}",
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of labels."""
        if self.label_columns is None:
            return (self.label_column,)
        return tuple(name.strip() for name in self.label_columns.split(","))
