"""A ranking as one HTML file, without scripts and without anything that it would have to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from zooadapt.errors import OutputError
from zooadapt.runtime import filesystem, outputs
from zooadapt.runtime.version import __version__
from zooadapt.runtime.wording import printable
from zooadapt.workflows import scatter
from zooadapt.workflows.scatter import Point

_MARK = "<!DOCTYPE html>\n<!-- zooadapt rank -->\n"
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8884 }
th:nth-child(2), td:nth-child(2), th:last-child, td:last-child { text-align: left }
.wide { overflow-x: auto }
.choice { font-weight: 600 }
"""


def check_place(path: Path) -> None:
    """See that a ranking may be written to `path`, which may hold an earlier one and no other file.

    Raises: OutputError when `path` is another file, and as `outputs.check_output_file`.
    """
    outputs.check_output_file(path)
    with filesystem.reading(path):
        if not path.exists():
            return
        with path.open("rb") as file:
            earlier = file.read(len(_MARK)) == _MARK.encode()
    if not earlier:
        raise OutputError(
            f"'{path}' exists and is not a ranking that this command wrote",
            thing=str(path),
            remedy="choose another --report file",
        )


def write(path: Path, ranking: Mapping[str, Any]) -> None:
    """Write a ranking, as `rank` returns it, to a file.

    Raises: as `filesystem.write_file`.
    """
    filesystem.write_file(path, page(ranking).encode("utf-8", "backslashreplace"))


def page(ranking: Mapping[str, Any]) -> str:
    """The conclusion, the picture of accuracy against cost, and the table."""
    measured = [one for one in ranking["sources"] if one["error"] is None]
    failed = [one for one in ranking["sources"] if one["error"] is not None]
    data, title = ranking["data"], f"Sources for {ranking['data']['name']}"
    points = [
        Point(
            number=str(number),
            title=f"{one['name']}: {one['accuracy']:.3f}, {1000 * one['seconds']:.1f} ms",
            cost=max(1000 * one["seconds"], 1e-6),
            accuracy=one["accuracy"],
            interval=tuple(one["interval"]),
            marked=one["tied"],
        )
        for number, one in enumerate(measured, 1)
    ]
    lines = {one["name"]: one["accuracy"] for one in ranking["baselines"]}
    picture = scatter.scatter(points, lines, cost="milliseconds a sample")
    parts = [
        f"<h1>{_plain(title)}</h1>",
        f"<p>{data['samples']:,} training samples in {data['classes']:,} classes</p>",
        *(f"<p>{_plain(sentence)}</p>" for sentence in ranking["conclusion"]),
        f"<figure>{picture}<figcaption>Numbers are rows of the table; green: tied with the best. "
        "Bars: 95 % intervals. Dashed: baselines.</figcaption></figure>",
        f'<div class="wide">{_table(ranking, measured)}</div>',
        _list("Failed", [f"{one['name']}: {one['error']['message']}" for one in failed]),
        _list("Notes", ranking["notes"]),
        f"<p>zooadapt {__version__}, seed {ranking['seed']}</p>",
    ]
    return (
        f'{_MARK}<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_plain(title)}</title>\n<style>{_STYLE}{scatter.STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _table(ranking: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> str:
    heading = ["", "source", "accuracy", "95 % interval", "n", "loss", "5-NN", "LogME", "H",
               "untrained", "parameters", "ms", "MB", "licence"]  # fmt: skip
    rows = [_row("th", heading)]
    for number, one in enumerate(measured, 1):
        untrained = one["untrained"]
        cells = [
            number, one["name"], *_scores(one), f"{one['loss']:.3f}", f"{one['neighbours']:.3f}",
            f"{one['logme']:.3f}", f"{one['h_score']:.2f}",
            f"{untrained['accuracy']:.3f}" if untrained else "", f"{one['parameters']:,}",
            f"{1000 * one['seconds']:.1f}", f"{one['memory_bytes'] / 1e6:,.0f}",
            one["license"] or "unknown",
        ]  # fmt: skip
        rows.append(_row("td", cells, choice=one["source"] == ranking["choice"]))
    for one in ranking["baselines"]:
        cells = ["", one["name"], *_scores(one)]
        rows.append(_row("td", cells + [""] * (len(heading) - len(cells))))
    return f"<table>\n{''.join(rows)}</table>"


def _scores(one: Mapping[str, Any]) -> list[Any]:
    low, high = one["interval"]
    return [f"{one['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", one["n"]]


def _row(kind: str, cells: Sequence[Any], *, choice: bool = False) -> str:
    inner = "".join(f"<{kind}>{_plain(str(cell))}</{kind}>" for cell in cells)
    opening = '<tr class="choice">' if choice else "<tr>"
    return f"{opening}{inner}</tr>\n"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_plain(line)}</li>" for line in lines)
    return f"<h2>{title}</h2>\n<ul>{items}</ul>"


def _plain(text: str) -> str:
    return escape(printable(text))
