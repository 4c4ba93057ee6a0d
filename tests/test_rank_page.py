"""A ranking as an HTML file, and its picture of accuracy against cost."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

import zooadapt
from zooadapt.errors import OutputError
from zooadapt.workflows import rank_page
from zooadapt.workflows.scatter import Point, scatter
from zooadapt.zoo import registry

SVG = "{http://www.w3.org/2000/svg}"


def point(number: int, cost: float, accuracy: float, *, marked: bool = False) -> Point:
    interval = (accuracy - 0.05, min(1.0, accuracy + 0.05))
    return Point(
        number=str(number), title=f"<model & {number}>", cost=cost, accuracy=accuracy,
        interval=interval, marked=marked,
    )  # fmt: skip


def test_points_lie_where_their_figures_say() -> None:
    """Costs ten times apart are equally far apart; so are accuracies ten points apart."""
    points = [point(1, 1.0, 0.9, marked=True), point(2, 10.0, 0.8), point(3, 100.0, 0.7)]
    picture = xml.fromstring(scatter(points, {"majority": 0.5}, cost="ms"))
    groups = {g.find(f"{SVG}text").text: g for g in picture.iter(f"{SVG}g")}  # type: ignore[union-attr]
    places = {
        number: (float(circle.get("cx", "")), float(circle.get("cy", "")))
        for number, group in groups.items()
        for circle in group.iter(f"{SVG}circle")
    }
    (x1, y1), (x2, y2), (x3, y3) = (places[number] for number in "123")
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and x2 > x1
    assert y2 - y1 == pytest.approx(y3 - y2, abs=0.2) and y2 > y1
    assert [groups[n].get("class") for n in "123"] == ["marked", None, None]
    assert groups["2"].find(f"{SVG}title").text == "<model & 2>"  # type: ignore[union-attr]
    (baseline,) = [one for one in picture.iter(f"{SVG}line") if one.get("class") == "baseline"]
    assert float(baseline.get("y1", "")) == pytest.approx(y3 + 2 * (y3 - y2), abs=0.3)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
def test_a_single_point_is_a_picture(accuracy: float) -> None:
    one = Point(
        number="1", title="", cost=3.0, accuracy=accuracy, interval=(accuracy,) * 2, marked=True
    )  # fmt: skip
    picture = xml.fromstring(scatter([one], {}, cost="ms"))
    (circle,) = picture.iter(f"{SVG}circle")
    assert 0 < float(circle.get("cx", "")) < 760 and 0 < float(circle.get("cy", "")) < 400


def test_the_page_holds_every_source_and_loads_nothing(pictures: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "<script>alert(1)"
    shutil.copytree(registry.bundled()["digits04"][1], hostile)
    place = tmp_path / "ranking.html"
    sources = ["digits04", hostile, tmp_path / "nowhere"]
    ranking = zooadapt.rank(pictures, sources, report=place, cache_gb=0)
    text = place.read_text("utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"(src|href)=|@import|url\(", text)
    picture = xml.fromstring(re.search(r"<svg.*</svg>", text, re.DOTALL)[0])  # type: ignore[index]
    assert len(list(picture.iter(f"{SVG}circle"))) == 2
    assert all(f"{one['accuracy']:.3f}" in text for one in ranking["sources"][:2])
    assert "nowhere" in text and "majority" in text
    assert ranking["sources"][0]["n"] == 30


def test_only_an_earlier_ranking_is_replaced(pictures: Path, tmp_path: Path) -> None:
    place = tmp_path / "mine.html"
    place.write_text("<p>my own page</p>")
    with pytest.raises(OutputError, match="is not a ranking that this command wrote"):
        zooadapt.rank(pictures, "digits04", report=place)
    assert place.read_text() == "<p>my own page</p>"
    with pytest.raises(OutputError, match="is not a file"):
        zooadapt.rank(pictures, "digits04", report=tmp_path)
    place.unlink()
    for _ in range(2):
        zooadapt.rank(pictures, "digits04", report=place)
    assert place.read_text().startswith(rank_page._MARK)
