"""Sources out of plain text, and sources that learn from a target's text without labels."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from zooadapt.backbone.engine import Engine
from zooadapt.backbone.pretrained import build
from zooadapt.data import open_texts
from zooadapt.errors import UsageError, ZooadaptError
from zooadapt.runtime import outputs
from zooadapt.runtime.progress import Progress
from zooadapt.tasks import of_classes
from zooadapt.training import target_adaptation
from zooadapt.training.config import Request
from zooadapt.training.language_model import LanguageModel
from zooadapt.training.strategies import Recipe
from zooadapt.workflows.adapt import adapt
from zooadapt.workflows.pretrain import PretrainRequest, pretrain
from zooadapt.zoo.sources import open_source

TINY = {"hidden": 24, "window": 32, "batch_size": 8, "lr": 1e-2, "epochs": 3}
SUBJECTS = ("the old man", "a little girl", "my neighbour", "the queen", "his brother", "an actor",
            "every child", "the small dog", "nobody")  # fmt: skip
VERBS = {"sees": "light", "hears": "sound", "paints": "light", "sings of": "sound"}
OBJECTS = ("the sea", "an island", "her house", "three birds", "the rain", "a river",
           "some clouds", "the town", "him")  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences whose class is that of their verb."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        subject, verb, thing = (rng.choice(list(words)) for words in (SUBJECTS, VERBS, OBJECTS))
        drawn.append((f"{subject} {verb} {thing}", VERBS[verb]))
    return drawn


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "plain.txt"
    path.write_text(". ".join(text for text, _ in sentences(700, 1)) + " é\n")
    return path


@pytest.fixture(scope="module")
def source(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sources") / "made"
    torch.set_num_threads(1)
    pretrain(PretrainRequest(family="rnn", text=str(text), out=out, **TINY), Progress())
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few labels; the texts of the test part are no others' by chance."""
    folder = tmp_path_factory.mktemp("data")
    rows = sorted(set(sentences(900, 2)))
    order = np.random.default_rng(0).permutation(len(rows))
    write_table(folder / "train.csv", [rows[k] for k in order[:40]])
    write_table(folder / "test.csv", [rows[k] for k in order[40:70]])
    write_table(folder / "more.csv", [(rows[k][0], "") for k in order])
    return folder


def command(*arguments: object, code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "zooadapt", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def run(source: object, data: Path, out: Path, **options: Any) -> dict[str, Any]:
    request = Request(
        source=str(source), data=str(data), out=out, strategy="probe", precision="fp32", **options
    )
    return adapt(request, Progress()).report


def test_a_pretrained_language_model_can_be_inspected_and_adapted(
    text: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = TINY | {"epochs": 8}
    sizes = [x for name, value in options.items() for x in (f"--{name.replace('_', '-')}", value)]
    report = json.loads(command("pretrain", "rnn", text, "-o", out, *sizes, "--json").stdout)
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "report.json"]  # fmt: skip
    written = json.loads((out / "report.json").read_text())
    assert written["bits_per_character"] == report["bits_per_character"] < 3.5
    assert report["perplexity"] == pytest.approx(2 ** report["bits_per_character"])
    bits = report["epochs"]["bits"]
    assert len(bits) == 9 and bits[0] > 6 and min(bits) == bits[report["epochs"]["best"]]
    assert len(report["sample"]) > 200
    inspected = json.loads(command("inspect", out, "--json").stdout)
    assert inspected["family"] == "rnn" and inspected["classes"] == []
    adapted = run(out, data, tmp_path / "model")
    assert adapted["test"]["accuracy"] > 0.7
    assert adapted["unused_tensors"] == ["decoder.bias", "decoder.weight"]


@pytest.mark.parametrize("unit", ["byte", "char"])
def test_equal_seeds_give_equal_bytes(text: Path, tmp_path: Path, unit: str) -> None:
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / name
        options = TINY | {"epochs": 1, "unit": unit, "seed": seed}
        pretrain(PretrainRequest(family="rnn", text=str(text), out=out, **options), Progress())
        hashes.append(sha256(out / "model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]
    config = json.loads((out / "config.json").read_text())
    assert config.get("vocab", {}).keys() <= set(text.read_text()) - {"é"}


def test_a_budget_ends_with_the_lowest_rate(text: Path, tmp_path: Path) -> None:
    options = TINY | {"epochs": None, "budget": 2.0}
    request = PretrainRequest(family="rnn", text=str(text), out=tmp_path / "out", **options)
    made = pretrain(request, Progress())
    assert made["epochs"]["stopped"] == "the budget was spent"
    assert made["epochs"]["best"] > 0


def test_a_folder_of_texts_is_one_text(text: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    whole = text.read_text()
    for name, part in (("a.txt", whole[:9000]), ("b.txt", whole[9000:]), ("c.md", "no")):
        (tmp_path / "texts" / name).write_text(part)
    request = PretrainRequest(
        family="rnn", text=str(tmp_path / "texts"), out=tmp_path / "out", **TINY | {"epochs": 1}
    )
    assert pretrain(request, Progress())["data"]["characters"] == len(whole)


def test_a_language_model_is_kept_where_the_linear_probe_gains(data: Path, tmp_path: Path) -> None:
    """The source has read numbers and nothing else."""
    digits, source = tmp_path / "digits.txt", tmp_path / "source"
    numbers = np.random.default_rng(3).integers(0, 1000, 3000)
    digits.write_text(" ".join(map(str, numbers)))
    options = TINY | {"epochs": 1}
    pretrain(PretrainRequest(family="rnn", text=str(digits), out=source, **options), Progress())
    plain = run(source, data, tmp_path / "a")
    report = run(source, data, tmp_path / "b", unlabelled=str(data / "more.csv"))
    choice = report["plan"]["choices"][0]
    assert choice["what"] == "unlabelled" and choice["value"].endswith(", kept")
    assert "leave-one-out loss of the linear probe" in choice["why"]
    total = len((data / "more.csv").read_text().splitlines()) - 1
    assert f"of {total - 30} texts" in choice["value"], "the test part's texts are left out"
    old, new = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert not torch.equal(old["rnn.0.ahead.weight_hh_l0"], new["rnn.0.ahead.weight_hh_l0"])
    assert report["val"]["accuracy"] > plain["val"]["accuracy"]
    assert report["test"]["accuracy"] > 0.9
    run(source, data, tmp_path / "c", unlabelled=str(data / "more.csv"))
    assert sha256(tmp_path / "b/model.safetensors") == sha256(tmp_path / "c/model.safetensors")


def test_a_language_model_of_noise_is_not_kept(
    text: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps this large forget what the source has learned."""
    monkeypatch.setattr(target_adaptation, "_RATE", 0.05)
    source, options = tmp_path / "source", TINY | {"epochs": 10}
    pretrain(PretrainRequest(family="rnn", text=str(text), out=source, **options), Progress())
    rng = np.random.default_rng(0)
    lines = ("".join(map(chr, rng.integers(0x4E00, 0x9000, 20))) for _ in range(60))
    (tmp_path / "noise.txt").write_text("\n".join(lines))
    report = run(source, data, tmp_path / "out", unlabelled=str(tmp_path / "noise.txt"))
    assert report["plan"]["choices"][0]["value"].endswith("not kept")
    assert re.search(r"0\.\d{3} more with", report["plan"]["choices"][0]["why"])
    run(source, data, tmp_path / "plain")
    assert sha256(tmp_path / "out/model.safetensors") == sha256(
        tmp_path / "plain/model.safetensors")  # fmt: skip


def test_a_plan_says_when_unlabelled_samples_are_kept(
    source: Path, data: Path, tmp_path: Path
) -> None:
    report = run(source, data, tmp_path / "o", unlabelled=str(data / "more.csv"), plan_only=True)
    assert report["plan"]["choices"][0]["why"] == "kept if the fitted head gains by it"
    alone = run(source, data, tmp_path / "o", plan_only=True)
    assert report["estimate"]["seconds"] > 2 * alone["estimate"]["seconds"]


def test_the_decoder_of_the_pretrained_model_is_used(real_data: Path) -> None:
    source = open_source(str(real_data / "weights/charlstm_darwin.ml5"))
    text = (real_data / "text/lm_english_pd/input.txt").read_text()[:20_000]
    model, engine = (
        build(source, task=of_classes(("a", "b"))),
        Engine(precision="fp32", channels_last=False),
    )
    language_model = LanguageModel(model, engine, Recipe(), [], [text], window=128, seed=0)
    assert language_model.validate(0).loss / np.log(2) < 3
    generated = language_model.generate("the light of the sun", 40)
    assert generated.startswith("the light of the sun") and generated.count(" ") > 7


def test_text_files_and_tables_of_a_folder_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"text": "three", "id": 1}\n')
    (tmp_path / "c.pdf").write_text("no")
    samples = open_texts(str(tmp_path))
    assert [samples.raw(k) for k in range(len(samples))] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("content", "options", "code", "words"),
    [
        (b"", {}, 66, "holds no text"),
        (b" \n\n", {}, 66, "holds no text"),
        (b"too short", {}, 65, "fewer than two windows of 128"),
        (b"caf\xe9 " * 100, {}, 65, "byte 3 is 0xe9"),
        (b"a\0b" * 200, {}, 65, "NUL byte in line 1"),
        (None, {}, 66, "is not there"),
        (b"word " * 100, {"hidden": 0}, 2, "--hidden 0 must be a number from 1 to"),
        (b"word " * 100, {"hidden": 99999}, 65, "'hidden_size' is 99999"),
        (b"word " * 100, {"lr": float("nan")}, 2, "--lr nan must be a number from 0 to 1,000"),
        (b"word " * 100, {"family": "timm"}, 2, "family 'timm' is no language model"),
        (b"word " * 100, {"family": "rnnn"}, 2, "did you mean 'rnn'?"),
    ],
)
def test_text_that_is_no_use_ends_in_one_sentence(
    tmp_path: Path, content: bytes | None, options: dict[str, Any], code: int, words: str
) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "out"
    if content is not None:
        text.write_bytes(content)
    with pytest.raises(ZooadaptError, match=re.escape(words)) as caught:
        options = {"family": "rnn", "text": str(text), "out": out} | options
        pretrain(PretrainRequest(**options), Progress())
    error = caught.value  # where an option's value is wrong, the command names its help
    assert error.code == code and error.thing and (error.remedy or code == 2)
    assert not out.exists()


def test_outputs_and_folders_that_cannot_be_used_are_one_line(
    text: Path, source: Path, tmp_path: Path
) -> None:
    before = sha256(source / "model.safetensors")
    done = command("pretrain", "rnn", text, "-o", source, code=73)
    assert "exists" in done.stderr and sha256(source / "model.safetensors") == before
    with outputs.claim(tmp_path / "taken", overwrite=False):
        done = command("pretrain", "rnn", text, "-o", tmp_path / "taken", code=75)
    assert f"is in use by process {os.getpid()}" in done.stderr
    (tmp_path / "empty").mkdir()
    done = command("pretrain", "rnn", tmp_path / "empty", "-o", tmp_path / "out", code=66)
    assert "holds no file in .txt" in done.stderr and done.stderr.count("\n") == 1


def test_unlabelled_that_cannot_be_meant_is_a_sentence(
    source: Path, data: Path, tmp_path: Path
) -> None:
    def refused(code: int, source: Path, unlabelled: Path) -> str:
        with pytest.raises(ZooadaptError) as caught:
            run(source, data, tmp_path / "out", unlabelled=str(unlabelled))
        assert caught.value.code == code and not (tmp_path / "out").exists()
        return str(caught.value)

    more = data / "more.csv"
    with pytest.raises(UsageError, match="--from-scratch discards them"):
        Request(source="x", data="y", out=tmp_path, unlabelled="z", from_scratch=True)
    short = tmp_path / "short.txt"
    short.write_text("\n".join("abcdefghijklmnopqrst"))
    assert "none of the texts has two symbols" in refused(65, source, short)
    assert "fewer than 10" in refused(65, source, data / "test.csv")
    assert "is not there" in refused(66, source, tmp_path / "none.csv")

    config = json.loads((source / "config.json").read_text()) | {"bidirectional": True}
    both = tmp_path / "both"
    both.mkdir()
    (both / "config.json").write_text(json.dumps(config))
    (both / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    assert "bidirectional network" in refused(65, both, more)
