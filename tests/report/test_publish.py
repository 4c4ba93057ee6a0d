"""Whom the page reaches: the browser that is asked for, a notebook, and a repository on request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import zooadapt
from zooadapt.errors import DataError
from zooadapt.workflows import html_report
from zooadapt.zoo.hub.card import FOLDER

from .pages import Page, check


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zooadapt", *map(str, arguments)],
        capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip


def test_a_push_sends_the_page_only_when_asked(export: Path) -> None:
    sent = {}
    for flags in ((), ("--with-report",), ("--with-thumbnails",)):
        done = command("push", export, "me/model", "--dry-run", "--offline", "--json", *flags)
        assert done.returncode == 0, done.stderr
        sent[flags] = {each["name"]: each for each in json.loads(done.stdout)["files"]}
    assert "report.html" not in sent[()]
    assert sent[()].keys() | {"report.html"} == sent["--with-report",].keys()
    model = zooadapt.load(export)
    for flags, thumbnails in ((("--with-report",), False), (("--with-thumbnails",), True)):
        pages = html_report.to_publish(export, "me/model", with_thumbnails=thumbnails)
        digest = hashlib.sha256(pages["report.html"]).hexdigest()
        assert sent[flags]["report.html"]["sha256"] == digest
        planned = model.push("me/model", dry_run=True, offline=True, with_report=not thumbnails,
                             with_thumbnails=thumbnails)  # fmt: skip
        (one,) = [each for each in planned.files if each.name == "report.html"]
        assert one.sha256 == digest


def test_a_published_page_has_no_samples_unless_asked_and_never_their_names(
    export: Path, report: dict[str, Any]
) -> None:
    own = Page((export / "report.html").read_text("utf-8"))
    names = {each.text for each in own.root.all("code") if each.attributes.get("class")}
    assert len(names) > 3
    for thumbnails in (False, True):
        pages = html_report.to_publish(export, "me/model", with_thumbnails=thumbnails)
        content = pages["report.html"].decode()
        tree = Page(content)
        check(tree)
        assert bool(tree.root.all("img")) is thumbnails
        assert not [name for name in names if name in content]
        assert FOLDER not in content
        assert "zooadapt predict me/model photo.jpg" in content
        assert len(tree.root.all("svg")) == len(own.root.all("svg"))


def test_private_data_in_a_page_is_not_published(export: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(export, model)
    page = (model / "report.html").read_text("utf-8")
    (model / "report.html").write_text(page.replace("</header>", "<p>/home/me/x</p></header>"))
    with pytest.raises(DataError, match=r"'report\.html' holds a path in a home folder"):
        zooadapt.load(model).push("me/model", dry_run=True, offline=True, with_thumbnails=True)
    zooadapt.load(model).push("me/model", dry_run=True, offline=True, with_report=True)


@pytest.mark.parametrize(("name", "content", "thumbnails", "message"), [
    ("report.html", None, True, "has no report.html"),
    ("report.json", None, False, "has no report.json"),
    ("report.json", b"{", False, "is no JSON"),
    ("report.json", b"\xff\xfe", False, "is no JSON"),
    ("report.json", b"[]", False, "not one that this version of zooadapt writes"),
    ("report.json", b'{"test": 1}', False, "not one that this version of zooadapt writes"),
])  # fmt: skip
def test_what_is_no_report_is_not_published(
    tmp_path: Path, name: str, content: bytes | None, thumbnails: bool, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        html_report.to_publish(tmp_path, "me/model", with_thumbnails=thumbnails)
    assert "\n" not in str(caught.value)


def test_an_older_report_has_a_page(export: Path, tmp_path: Path, report: dict[str, Any]) -> None:
    """Of before there was one: without the keys that came with it."""
    older = {key: value for key, value in report.items()
             if key not in ("modality", "reliability", "relevance")}  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps(older))
    pages = html_report.to_publish(tmp_path, "me/model", with_thumbnails=False)
    tree = Page(pages["report.html"].decode())
    check(tree)
    titles = [each.text for each in tree.root.all("h2")]
    assert "Confusion matrix" in titles
    assert "Calibration" not in titles


def test_open_shows_the_page_in_the_browser(pictures: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/address"\n')
    browser.chmod(0o755)
    out = tmp_path / "a model"
    done = command("adapt", "digits04", pictures, "-o", out, "--strategy", "probe", "--open",
                   BROWSER=f"{browser} %s")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "address").read_text().strip() == (out / "report.html").as_uri()
    assert f"report: {out / 'report.html'}" in done.stdout
    refused = command("adapt", "digits04", pictures, "-o", out, "--open", "--plan")
    assert refused.returncode == 2
    assert "--open shows the report of a run, and --plan runs nothing" in refused.stderr


def test_without_a_browser_the_page_is_named(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from zooadapt.cli.adapt import _open\n"
        "from zooadapt.cli.output import Lines\n"
        f"_open(Path({str(tmp_path)!r}), Lines())\n"
    )
    bare = {name: text for name, text in os.environ.items()
            if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env=bare | {"PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"no browser starts here; open '{tmp_path / 'report.html'}' in one" in done.stderr


def test_a_notebook_shows_the_figures_of_a_model(export: Path, tmp_path: Path) -> None:
    model = zooadapt.load(export)
    shown = model._repr_html_()
    assert shown is not None
    tree = Page(shown)
    check(tree)
    assert not tree.root.all("html", "head", "meta", "img")
    own = Page((export / "report.html").read_text("utf-8"))
    assert len(tree.root.all("svg")) == len(own.root.all("svg"))
    saved = model.save(tmp_path / "saved")
    assert (saved / "report.html").read_bytes() == (export / "report.html").read_bytes()
    model.report = {"test": "of another tool"}
    assert model._repr_html_() is None
    assert zooadapt.load("digits04")._repr_html_() is None
