"""Cards of real runs: metadata that the Hub's own reader takes, names that stay names, code that
runs, and where the model and its licence come from."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from PIL import Image

from zooadapt.runtime import filesystem
from zooadapt.runtime.model_files import write_weights
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.model_card import escape
from zooadapt.zoo import registry

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = [
    "a | b", "<script>alert(1)</script>", "# Title", "`code`", "[x](javascript:1)", "**bold**",
    "---", "![i](http://x/i.png)", "<!-- zooadapt:end -->", "https://evil.example www.evil.org",
    "@somebody", "$$x$$", "&lt;", "\\", "license: mit", "- x: [", "é 🐝", "\u202egpj\x1b[2J",
    "x@y.org", "1. one", "> quote", "~~gone~~", "=== a", "'\"",
]  # fmt: skip


def photos(folder: Path, names: list[str]) -> Path:
    """Three grey digits of each class to learn from and two to test."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 3), ("test", 2)):
        for label in names:
            place = folder / part / label.replace("/", "\N{FRACTION SLASH}")
            place.mkdir(parents=True)
            for k in range(count):
                pixels = chance.integers(0, 256, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{k}.png")
    return folder


def run(source: object, data: Path, out: Path, **options: object) -> str:
    request = Request(source=str(source), data=str(data), out=out, strategy="probe", **options)
    adapt(request, Progress())
    return (out / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("names")
    return run("digits04", photos(folder / "data", NAMES), folder / "out")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("pair") / "pair", ["cat", "dog"])


@pytest.fixture
def pulled(tmp_path: Path):
    """Makes the bundled source look as if it had been pulled from the Hub."""

    def make(front: str) -> Path:
        folder = tmp_path / "pulled"
        shutil.copytree(registry.bundled()["digits04"][1], folder)
        (folder / "README.md").write_text(f"---\n{front}\n---\n# A source\n")
        lock = {"location": "org/Digits", "revision": COMMIT, "files": {}}
        (folder / "zooadapt.lock.json").write_text(json.dumps(lock))
        return folder

    return make


def test_names_from_data_are_shown_as_they_are_and_are_nothing_else(named: str) -> None:
    """Read by a real Markdown reader, tables on and links made of bare addresses off: no such
    address is left, since the characters that make one are escaped."""
    _, _, body = named.partition("---\n\n")
    rendered = MarkdownIt("commonmark").enable("table").render(body)
    tags = set(re.findall(r"<(\w+)", re.sub(r"<!--.*?-->", "", rendered)))
    assert tags <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre",
                    "strong", "ul", "li"}  # fmt: skip
    classes = re.search(r"<h2>Classes</h2>(.*?)<h2>", rendered, re.DOTALL)[1]
    cells = [html.unescape(c) for c in re.findall(r"<td>(.*?)</td>", classes, re.DOTALL)]
    visible = ["".join(c if c.isprintable() else "\ufffd" for c in n) for n in NAMES]
    expected = sorted(name.replace("/", "\N{FRACTION SLASH}") for name in visible)
    assert sorted(cells[1::4]) == expected
    confusion = re.search(r"<h2>Confusion</h2>(.*?)<h2>", rendered, re.DOTALL)[1]
    assert len(re.findall(r"<tr>", confusion)) == len(NAMES) + 1
    assert len(re.findall(r"<td>", confusion)) == len(NAMES) * (len(NAMES) + 1)
    assert named.count("<!-- zooadapt:end -->") == 1


@pytest.mark.parametrize("text", ["http://x.org/y", "www.x.org", "a@b.org", "@me", "$x$", "<b>"])
def test_nothing_is_made_a_link_or_formula_of(text: str) -> None:
    assert not re.search(r"(?<!\\)[:.@$<]", escape(text))


def test_the_hubs_own_reader_takes_the_metadata(named: str) -> None:
    card = ModelCard(named)
    assert card.data.library_name == "timm" and card.data.pipeline_tag == "image-classification"
    assert set(card.data.tags) >= {"image-classification", "zooadapt", "timm"}
    assert card.data.metrics == ["accuracy", "f1"] and card.data.get("datasets") is None
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results.keys() == {"accuracy", "f1"}
    assert (
        results["accuracy"].dataset_split == "test" and 0 <= results["accuracy"].metric_value <= 1
    )
    figures = re.search(r"\| test \| (\d\.\d{3}) \((\S+) to (\S+)\)", named)
    accuracy = results["accuracy"].metric_value
    assert float(figures[1]) == round(accuracy, 3) and float(figures[2]) <= accuracy <= float(
        figures[3]
    )
    assert f"| {2 * len(NAMES)} |" in named


def test_a_base_is_named_with_its_commit_and_its_terms(pulled, pair: Path, tmp_path: Path) -> None:
    source = pulled("license: other\nlicense_name: digits-1.0\nlicense_link: LICENSE.md")
    (source / "LICENSE.md").write_text("Keep this with every copy.")
    text = run(source, pair, tmp_path / "out", seed=3)
    data = ModelCard(text).data.to_dict()
    assert data["base_model"] == "org/Digits" and data["base_model_revision"] == COMMIT
    assert data["base_model_relation"] == "finetune"
    assert data["license"] == "other" and data["license_name"] == "digits-1.0"
    assert data["license_link"] == f"https://huggingface.co/org/Digits/blob/{COMMIT}/LICENSE.md"
    facts = json.loads((tmp_path / "out/config.json").read_text())["zooadapt"]
    assert "| seed | 3 |" in text and "| strategy | `probe` |" in text
    assert f"`{facts['data']}`" in text and f"`{facts['source']['sha256']}`" in text
    assert f"commit `{COMMIT}`" in text and "## Limits" in text
    second = run(tmp_path / "out", pair, tmp_path / "second")
    again = ModelCard(second).data.to_dict()
    for key in ("base_model", "base_model_revision", "license", "license_name", "license_link"):
        assert again[key] == data[key]
    assert (tmp_path / "second" / "LICENSE.md").read_text() == "Keep this with every copy."


def test_the_family_says_how_its_exports_are_loaded(toys, pair: Path, tmp_path: Path) -> None:
    family, source = registry.load("tiles"), tmp_path / "source"
    config = family.examples()["grey"]
    source.mkdir()
    filesystem.write_json(source / "config.json", config)
    write_weights(source / "model.safetensors", family.build(config, 2).state_dict())
    text = run(source, pair, tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert code == 'import tiles\n\nnet = tiles.load("PATH_OF_THIS_FOLDER")\n'
    assert ModelCard(text).data.library_name == "tiles"


def test_a_card_shows_stock_timm_how_to_open_grey_images(named: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", named, re.DOTALL)
    assert 'create_model("local-dir:PATH_OF_THIS_FOLDER"' in code and '.convert("L")' in code


def test_a_licence_that_nobody_stated_is_left_out_and_said(
    pulled, pair: Path, tmp_path: Path
) -> None:
    source = pulled("tags: [x]")
    config = json.loads((source / "config.json").read_text())
    for place in (config, config.get("zooadapt", {}), config.get("pretrained_cfg", {})):
        place.pop("license", None)
    (source / "config.json").write_text(json.dumps(config))
    text = run(source, pair, tmp_path / "out")
    assert ModelCard(text).data.license is None and "licence of the source is not known" in text


def test_what_was_trained_from_scratch_has_no_base(pulled, pair: Path, tmp_path: Path) -> None:
    request = Request(source=str(pulled("license: mit")), data=str(pair), out=tmp_path / "out",
                      strategy="full", epochs=1, from_scratch=True)  # fmt: skip
    adapt(request, Progress())
    text = (tmp_path / "out/README.md").read_text()
    assert ModelCard(text).data.base_model is None and "Trained from scratch" in text
