"""The whole path, as a user types it, on real data: adapt, evaluate, predict, features, inspect."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zooadapt.errors import OutputError, TryAgainError
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt


def zooadapt(*arguments: object, code: int = 0, stdin: str | None = None) -> Any:
    """Run the command line; its stdout has to be one JSON object."""
    done = subprocess.run(
        [sys.executable, "-m", "zooadapt", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        input=stdin,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def run(source: object, data: Path, out: Path, **options: Any) -> dict[str, Any]:
    """The same through the library, which saves the start-up of a process."""
    return adapt(Request(source=str(source), data=str(data), out=out, **options), Progress()).report


@pytest.fixture(scope="module")
def photos(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few real photos a class, so that training takes seconds."""
    folder = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 12), ("test", 6)):
        for label in sorted((real_data / "images/flowers5" / part).iterdir())[:3]:
            (folder / part / label.name).mkdir(parents=True)
            for image in sorted(label.iterdir())[:count]:
                shutil.copy(image, folder / part / label.name / image.name)
    return folder


@pytest.fixture(scope="module")
def mobilenet(real_data: Path) -> Path:
    return real_data / "weights/mobilenetv2_035.keras_in1k_headless"


@pytest.fixture(scope="module")
def probe(mobilenet: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "probe"
    run(mobilenet, photos, out, strategy="probe")
    return out


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_command_line_promises_its_keys(mobilenet: Path, photos: Path, tmp_path: Path) -> None:
    facts = zooadapt("adapt", mobilenet, photos, "-o", tmp_path / "out", "--strategy", "probe")
    assert {"out", "family", "source", "strategy", "num_classes", "classes", "val", "test",
            "seconds", "trainable_parameters", "frozen"} <= facts.keys()  # fmt: skip
    assert facts["source"].keys() >= {"location", "revision", "sha256"}
    assert facts["source"]["sha256"] == sha256(mobilenet / "model.safetensors")
    assert facts["val"].keys() >= {"accuracy", "macro_f1", "n"} and facts["val"]["n"] == 36
    assert facts["test"]["n"] == 18 and facts["test"]["accuracy"] > 0.7
    assert facts["frozen"]["sha256_before"] == facts["frozen"]["sha256_after"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "report.html", "report.json"]  # fmt: skip
    evaluated = zooadapt("evaluate", tmp_path / "out", photos)
    assert evaluated["accuracy"] == facts["test"]["accuracy"]
    assert evaluated["macro_f1"] == pytest.approx(facts["test"]["macro_f1"])


def test_stock_timm_gives_the_same_logits(probe: Path, photos: Path) -> None:
    import timm
    from PIL import Image

    image = sorted((photos / "test").rglob("*.jpg"))[4]
    facts = zooadapt("predict", probe, image, "--precision", "fp32")["predictions"]
    net = timm.create_model(f"local-dir:{probe}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
    with torch.inference_mode():
        probabilities = net(transform(Image.open(image).convert("RGB"))[None]).softmax(1)[0]
    best = int(probabilities.argmax())
    assert facts[0]["label"] == net.pretrained_cfg["label_names"][best]
    assert facts[0]["probability"] == pytest.approx(float(probabilities[best]), abs=1e-5)


@pytest.mark.parametrize("strategy", ["probe", "lp-ft", "from:blocks.5", "gradual", "full"])
def test_strategies_train_what_they_say(
    mobilenet: Path, photos: Path, tmp_path: Path, strategy: str
) -> None:
    options = {} if strategy == "probe" else {"epochs": 3}
    facts = run(mobilenet, photos, tmp_path / "a", strategy=strategy, input_size=96, **options)
    before, after = load_file(mobilenet / "model.safetensors"), load_file(
        tmp_path / "a/model.safetensors")  # fmt: skip
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = facts["frozen"]
    assert frozen["sha256_before"] == frozen["sha256_after"]
    assert len(before) - len(moved) >= frozen["tensors"]
    if strategy == "probe":
        assert not moved and frozen["tensors"] == len(before)
    if strategy == "from:blocks.5":
        assert 0 < frozen["tensors"] < len(before)
    assert facts["test"]["accuracy"] > 0.5


def test_equal_seeds_give_equal_bytes(mobilenet: Path, photos: Path, tmp_path: Path) -> None:
    options = {"strategy": "full", "epochs": 2, "input_size": 96, "precision": "fp32"}
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(mobilenet, photos, tmp_path / name, seed=seed, **options)
        hashes.append(sha256(tmp_path / name / "model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_export_is_a_source_and_known_classes_keep_their_rows(
    probe: Path, photos: Path, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(photos, fewer)
    gone = min((fewer / "train").iterdir()).name
    for part in ("train", "test"):
        shutil.rmtree(fewer / part / gone)
    facts = run(probe, fewer, tmp_path / "out", strategy="full", epochs=0)
    source = json.loads((probe / "config.json").read_text())["label_names"]
    assert facts["carried_classes"] == facts["classes"] == source[1:]
    old, new = (load_file(p / "model.safetensors") for p in (probe, tmp_path / "out"))
    assert torch.equal(new["classifier.weight"], old["classifier.weight"][1:])
    assert torch.equal(new["classifier.bias"], old["classifier.bias"][1:])


def test_from_scratch_forgets_the_weights(mobilenet: Path, photos: Path, tmp_path: Path) -> None:
    run(mobilenet, photos, tmp_path / "a", strategy="full", epochs=1, input_size=64,
        from_scratch=True)  # fmt: skip
    old, new = load_file(mobilenet / "model.safetensors"), load_file(
        tmp_path / "a/model.safetensors")  # fmt: skip
    assert not torch.allclose(old["conv_stem.weight"], new["conv_stem.weight"], atol=0.05)


def test_features_and_inspect(probe: Path, photos: Path, tmp_path: Path) -> None:
    facts = zooadapt("features", probe, photos, "-o", tmp_path / "f.safetensors")
    tensors = load_file(tmp_path / "f.safetensors")
    assert tensors["features"].shape == (54, 1280) and tensors["labels"].shape == (54,)
    assert facts["tensors"]["features"] == [54, 1280]
    names = json.loads((tmp_path / "f.json").read_text())
    assert len(names["samples"]) == 54 and len(names["classes"]) == 3
    zooadapt("features", probe, photos, "-o", tmp_path / "f.safetensors")
    before = (probe / "model.safetensors").read_bytes()
    for name in ("model", "config"):  # one with and one without the other of two files
        with pytest.raises(OutputError, match=f"'{probe / name}.* may be something else"):
            inference.features(
                str(probe),
                str(photos),
                probe / f"{name}.safetensors",
                inference.Settings(),
                Progress(),
            )
    assert (probe / "model.safetensors").read_bytes() == before
    looked = zooadapt("inspect", probe)
    assert sum(s["parameters"] for s in looked["stages"]) + 1280 * 3 + 3 == looked["parameters"]
    assert all(stage["milliseconds"] > 0 for stage in looked["stages"])


def test_text_end_to_end(real_data: Path, tmp_path: Path) -> None:
    with (real_data / "text/trec6/train.csv").open() as file:
        rows = list(csv.reader(file))
    for name, part in (("train", rows[1:400]), ("test", rows[400:500])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([rows[0], *part])
    out = tmp_path / "out"
    facts = run(
        real_data / "weights/charlstm_darwin.ml5", tmp_path, out, strategy="lp-ft", epochs=2
    )
    assert facts["unused_tensors"] == ["head.bias", "head.weight"]
    assert facts["test"]["accuracy"] > 0.35
    lines = zooadapt("predict", out, "-", stdin="Who was Galileo ?\nWhere is Pisa ?\n")
    assert [one["input"] for one in lines["predictions"]] == ["stdin:1", "stdin:2"]
    whole = [zooadapt("predict", out, "-", stdin=text)["predictions"][0]["probability"]
             for text in ("Who was Galileo ?\n", "Where is Pisa ?\n")]  # fmt: skip
    assert [one["probability"] for one in lines["predictions"]] == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--lr", "nan"], 2, "--lr"),
        (["--lr", "-1"], 2, "--lr"),
        (["--epochs", "-1"], 2, "--epochs"),
        (["--strategy", "prob"], 2, "Did you mean 'probe'"),
        (["--strategy", "from:blok.5"], 2, "no stage 'blok.5'"),
        (["--resume", "--overwrite"], 2, "contradict"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    mobilenet: Path, photos: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zooadapt", "adapt", mobilenet, photos, "-o", tmp_path / "o",
         *arguments],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code and words in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "o").exists()


def test_an_existing_output_is_refused_before_any_work(
    mobilenet: Path, photos: Path, probe: Path
) -> None:
    facts = zooadapt("adapt", mobilenet, photos, "-o", probe, code=73)
    assert facts["code"] == 73 and facts["thing"] == str(probe)


def test_while_a_run_works_no_other_begins_with_its_output(
    mobilenet: Path, photos: Path, tmp_path: Path
) -> None:
    settings = {"source": str(mobilenet), "data": str(photos), "out": tmp_path / "out",
             "strategy": "probe", "overwrite": True}  # fmt: skip

    class Meanwhile(Progress):
        def plan(self, lines: object, *, seconds: object) -> None:
            with pytest.raises(TryAgainError, match="out' is in use by process"):
                adapt(Request(**settings), Progress())
            assert adapt(Request(**settings, plan_only=True), Progress()).report["estimate"]

    adapt(Request(**settings), Meanwhile())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupted_run_ends_in_the_same_bytes(
    mobilenet: Path, photos: Path, tmp_path: Path
) -> None:
    options = {"strategy": "lp-ft", "epochs": 4, "input_size": 64, "precision": "fp32",
               "checkpoint_seconds": 0.0}  # fmt: skip
    run(mobilenet, photos, tmp_path / "whole", **options)

    class Stop(Progress):
        def say(self, line: str) -> None:
            if line.startswith("epoch 3"):
                raise KeyboardInterrupt

    request = Request(source=str(mobilenet), data=str(photos), out=tmp_path / "cut", **options)
    with pytest.raises(KeyboardInterrupt):
        adapt(request, Stop())
    assert not (tmp_path / "cut").exists() and (tmp_path / "cut.checkpoint").exists()
    run(mobilenet, photos, tmp_path / "cut", resume=True, **options)
    assert sha256(tmp_path / "whole/model.safetensors") == sha256(
        tmp_path / "cut/model.safetensors")  # fmt: skip
    assert not (tmp_path / "cut.checkpoint").exists()
