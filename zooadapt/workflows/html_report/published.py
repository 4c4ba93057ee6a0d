"""The page of an export as it is published: without what single samples are, unless asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from zooadapt.errors import DataError
from zooadapt.runtime import filesystem
from zooadapt.workflows.html_report.page import NAME, page
from zooadapt.zoo.hub.card import FOLDER

_REPORT = "report.json"
_SAMPLE_NAME = re.compile(rb'<code class="sample">[^<]*</code>')


def to_publish(model: Path, repo: str, *, with_thumbnails: bool) -> Mapping[str, bytes]:
    """The page of an export for a repo, by the name of its file.

    With thumbnails it is the page that `adapt` wrote, with pictures and texts of samples but
    without their names, which may name people. Else it is made anew of `report.json`.
    Raises: DataError for an export without these files, or with a report that `adapt` did not
    write; and as `filesystem.reading`.
    """
    path = model / (NAME if with_thumbnails else _REPORT)
    if not path.is_file() or path.is_symlink():
        raise DataError(
            f"'{model}' has no {path.name}",
            thing=path.name,
            remedy="push without --with-thumbnails"
            if with_thumbnails
            else "push without --with-report",
        )
    with filesystem.reading(path):
        content = path.read_bytes()
    if with_thumbnails:
        content = _SAMPLE_NAME.sub(b"", content)
    else:
        try:
            report = json.loads(content)
        except ValueError as error:
            raise DataError(
                f"'{path}' is no JSON: {error}",
                thing=path.name,
                remedy="push without --with-report",
            ) from error
        content = page(report)
    return {NAME: content.replace(FOLDER.encode(), repo.encode())}
