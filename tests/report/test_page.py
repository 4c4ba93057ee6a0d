"""The report as a page: what it shows, that it can be read by everybody, and that strangers' names
and texts stay text."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zooadapt.errors import DataError
from zooadapt.workflows import html_report
from zooadapt.workflows.html_report import Example, Examples, page
from zooadapt.workflows.html_report.charts import axis
from zooadapt.workflows.html_report.sections import SECTIONS

from .pages import Element, Page, check

HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='x", "</style>",
    "</title><svg/onload=x>", "{{ 7 * 7 }}", "{% include 'style.css' %}", "a\u202egnp.exe", "\x00",
    "\ud800", "&lt;b&gt;", "]]>", "<!--", "javascript:alert(1)", "é" * 5000, "\u2028\r\n",
)  # fmt: skip


def parsed(report: dict[str, Any], examples: Examples | None = None) -> Page:
    return Page(page(report, examples).decode())


def section(tree: Page, name: str) -> Element:
    (one,) = [s for s in tree.root.all("section") if s.attributes["class"].split()[0] == name]
    return one


def cells(table: Element) -> list[list[str]]:
    return [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]


def test_the_page_of_a_run_is_complete_and_accessible(export: Path, report: dict[str, Any]) -> None:
    tree = Page((export / "report.html").read_text("utf-8"))
    check(tree)
    assert tree.declarations == ["DOCTYPE html"]
    (html,) = tree.root.all("html")
    assert html.attributes["lang"] == "en"
    (title,) = tree.root.all("title")[:1]
    assert "digits04" in title.text
    policy = tree.root.all("meta")[1].attributes
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none';")
    names = [each.attributes["class"].split()[0] for each in tree.root.all("section")]
    of_classes = [each.name for each in SECTIONS if each.name != "labels"]
    assert names == of_classes
    assert len({each.text for each in tree.root.all("h2")}) == len(of_classes)
    low, high = report["test"]["interval"]
    headline = f"accuracy {report['test']['accuracy']:.3f} ({low:.3f} to {high:.3f})"
    assert headline in tree.root.text


def test_figures_of_the_page_are_those_of_the_report(export: Path, report: dict[str, Any]) -> None:
    tree = Page((export / "report.html").read_text("utf-8"))
    matrix = cells(section(tree, "confusion").all("table")[0])
    assert matrix[0] == ["", *report["classes"]]
    assert [row[0] for row in matrix[1:]] == report["classes"]
    assert [list(map(int, row[1:])) for row in matrix[1:]] == report["confusion"]
    accuracy = cells(section(tree, "accuracy").all("table")[0])
    names = ["the most frequent class", "nearest neighbours", "linear probe"]
    assert sorted(row[0] for row in accuracy[1:]) == sorted([*names, "this model", "this model"])
    assert accuracy[1][2] == f"{report['test']['accuracy']:.3f}"
    recalls = cells(section(tree, "classes").all("table")[0])[1:]
    for row in recalls:
        k = report["classes"].index(row[0])
        counts = report["confusion"][k]
        assert row[2] == f"{counts[k] / sum(counts):.3f}"
        assert row[5] == str(sum(counts))
    assert [row[2] for row in recalls] == sorted(row[2] for row in recalls)
    bins = cells(section(tree, "reliability").all("table")[0])[1:]
    assert [row[1] for row in bins] == [f"{b['accuracy']:.3f}" for b in report["reliability"]]
    assert sum(int(row[2]) for row in bins) == report["test"]["n"]
    losses = cells(section(tree, "training").all("table")[0])[1:]
    assert [row[1] for row in losses] == [f"{e['train_loss']:.3f}" for e in report["epochs"]]
    lines = section(tree, "training").all("polyline")
    assert [len(each.attributes["points"].split()) for each in lines] == [3, 3, 3]


def test_pictures_of_errors_and_doubtful_labels_are_shown(
    export: Path, report: dict[str, Any]
) -> None:
    tree = Page((export / "report.html").read_text("utf-8"))
    wrong = report["test"]["n"] - sum(row[k] for k, row in enumerate(report["confusion"]))
    lists = section(tree, "errors").all("ul")
    assert len(lists[0].all("li")) == min(12, wrong) > 0
    doubtful = section(tree, "label_issues").all("li")
    assert len(doubtful) == min(12, report["suspects"]["count"]) > 0
    for each in (*lists[0].all("li"), *doubtful):
        assert each.all("img")[0].attributes["src"].startswith("data:image/png;base64,")
        assert each.all("code")[0].text.startswith("class")
    assert report["relevance"]["images"] == 0 or section(tree, "errors").all("img")[1]


def test_equal_reports_give_equal_bytes(report: dict[str, Any], examples: Examples) -> None:
    again = copy.deepcopy(report)
    assert page(report, examples) == page(again, examples)
    assert page(report) != page(report | {"num_classes": 4})


def test_a_report_without_some_key_has_a_page_without_that_section(
    report: dict[str, Any], examples: Examples
) -> None:
    for key in report:
        for less in ({k: v for k, v in report.items() if k != key}, report | {key: None}):
            check(parsed(less, examples))
    assert not parsed({}).root.all("section")
    assert "no evidence" not in parsed(report | {"relevance": None}, examples).root.text


def hostile(report: dict[str, Any], text: str) -> dict[str, Any]:
    """The report with this text in place of every string of it, and of names of what it counts."""

    def replaced(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            own = key in ("baselines", "versions")
            return {text + k if own else k: replaced(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [replaced(each) for each in value]
        fixed = (
            "modality",
            "task",
            "kind",
            "when",
            "treatment",
            "name",
            "strategy",
            "metric",
            "val",
        )
        return text if isinstance(value, str) and key not in fixed else value

    return replaced(report)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_strangers_text_stays_text(report: dict[str, Any], examples: Examples, text: str) -> None:
    def rewritten(each: Example) -> Example:
        return replace(
            each, name=text, label=text, answer=text, score=text, text=each.text and text
        )

    names = Examples(
        errors=tuple(map(rewritten, examples.errors)),
        right=tuple(map(rewritten, examples.right)),
        label_issues=tuple(map(rewritten, examples.label_issues)),
    )
    ordinary, tree = parsed(report, examples), parsed(hostile(report, text), names)
    check(tree)
    assert not tree.comments
    content = page(hostile(report, text), names).decode()
    assert "49" not in re.findall(r"<bdi>([^<]*)</bdi>", content)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\u2028]", content)
    kinds = ("style", "svg", "section", "img", "li", "th")
    elements, others = ([each.name for each in t.root.all(*kinds)] for t in (tree, ordinary))
    assert elements == others, "the text has made or removed an element"
    if text.isprintable() and len(text) < 60:
        (name,) = {one.text for one in section(tree, "confusion").all("bdi")}
        assert name == " ".join(text.split())


@pytest.mark.parametrize("classes", [2, 24, 25, 201, 10_000])
def test_the_page_stays_readable_at_any_number_of_classes(
    report: dict[str, Any], classes: int
) -> None:
    n, rng = 20_000, np.random.default_rng(0)
    true = rng.integers(classes, size=n)
    wrong = rng.random(n) < 0.2
    predicted = np.where(wrong, rng.integers(classes, size=n), true)
    pairs, counts = np.unique(true * classes + predicted, return_counts=True)
    large = report | {
        "classes": [f"class {k}" for k in range(classes)], "num_classes": classes,
        "confusion": None, "test": report["test"] | {"n": n},
        "confusion_cells": np.stack([*np.divmod(pairs, classes), counts], 1).tolist(),
    }  # fmt: skip
    content = page(large)
    assert len(content) < 150_000
    tree = Page(content.decode())
    check(tree)
    rows = cells(section(tree, "confusion").all("table")[0])
    assert len(rows) - 1 == min(classes, 24)
    caption = section(tree, "confusion").all("caption")[0].text
    if classes > 24:
        assert rows[0][-1] == "any other"
        assert f"Of {classes:,} classes, these 24 have the most errors." in caption
    else:
        assert "Of" not in caption
    row = rows[1]
    k = int(row[0].removeprefix("class "))
    assert sum(map(int, row[1:])) == (true == k).sum()
    assert int(row[1 + rows[0][1:].index(row[0])]) == ((true == k) & (predicted == k)).sum()


def test_cross_validation_drawn_several_times_counts_samples_once(report: dict[str, Any]) -> None:
    thrice = (3 * np.array(report["confusion"])).tolist()
    tree = parsed(report | {"confusion": thrice})
    once = parsed(report)
    assert cells(section(tree, "classes").all("table")[0]) == cells(
        section(once, "classes").all("table")[0]
    )


@pytest.mark.parametrize("values", [
    [0.5, 0.5], [0.0, 0.0], [1e-14, 2e-14], [1.0, 1.0 + 1e-12], [1e30, 2e30], [-3.0, 5.0], [0, 1],
])  # fmt: skip
def test_an_axis_covers_all_values(values: list[float]) -> None:
    drawn = axis("loss", values)
    assert 2 <= len(drawn.ticks) <= 8
    assert len(set(drawn.ticks)) == len(drawn.ticks)
    assert all(-1e-9 <= drawn.share(value) <= 1 + 1e-9 for value in values)


@pytest.mark.parametrize("broken", [
    {"test": 3}, {"test": {"accuracy": "high"}}, {"confusion": [[1]]}, {"epochs": [{}]},
    {"learning_curve": {"points": []}}, {"reliability": [1]}, {"seconds": [1]}, {"classes": 5},
    {"confusion_cells": [[0, 99, 1]]}, {"plan": "auto"}, {"notes": 5}, {"suspects": 1},
])  # fmt: skip
def test_a_foreign_report_is_refused_in_one_line(
    report: dict[str, Any], broken: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="not one that this version of zooadapt writes") as caught:
        page(report | broken)
    assert "\n" not in str(caught.value)


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_every_text_has_enough_contrast_in_light_dark_and_print() -> None:
    """WCAG AA: 4.5 for text, 3 for lines; cells of the matrix at any share."""
    css = (Path(html_report.__file__).parent / "templates/style.css").read_text()
    blocks = re.findall(r"\{([^{}]*--paper:[^{}]*)\}", css)
    assert len(blocks) == 3
    for block in blocks:
        colours = {
            name: np.array([int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)])
            for name, code in re.findall(r"--(\w+): #(\w{6})", block)
        }
        for ground in ("paper", "card"):
            for text in ("ink", "soft"):
                assert contrast(colours[text], colours[ground]) >= 4.5
            for line in ("first", "second"):
                assert contrast(colours[line], colours[ground]) >= 3
        for kind in ("right", "wrong"):
            (most,) = re.findall(rf"var\(--{kind}\) calc\(var\(--share\) \* (\.\d+)\)", css)
            for share in np.linspace(0, float(most), 20):
                mixed = share * colours[kind] + (1 - share) * colours["card"]
                assert contrast(colours["ink"], mixed) >= 4.5, (kind, share)


def test_a_browser_shows_the_page_on_any_screen_and_prints_two_pages(
    export: Path, tmp_path: Path
) -> None:
    """`ZOOADAPT_TEST_CHROMIUM` names the program, `ZOOADAPT_TEST_NODE` a folder in which npm has
    installed puppeteer-core and axe-core. The screenshots stay among the files of the test."""
    chromium, modules = (os.environ.get(f"ZOOADAPT_TEST_{what}") for what in ("CHROMIUM", "NODE"))
    if not chromium or not modules:
        pytest.skip("no Chromium; ZOOADAPT_TEST_CHROMIUM and ZOOADAPT_TEST_NODE say where it is")
    script, address = Path(__file__).with_name("browser.mjs"), (export / "report.html").as_uri()
    done = subprocess.run(
        ["node", script, modules, chromium, address, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["pages"] <= 2
    assert len(shown["seen"]) == 4
    for each in shown["seen"]:
        assert each["scrolled"] == each["width"], "the page is wider than the screen"
        assert each["errors"] == each["faults"] == []
        foreign = [one for one in each["requests"] if not one.startswith("data:image/")]
        assert foreign == [address[:60]]
        assert (tmp_path / f"{each['width']}-{each['scheme']}.png").stat().st_size > 20_000
