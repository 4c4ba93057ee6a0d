"""Models as ONNX files: proved against torch, and run without it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import zooadapt
from zooadapt.backbone import onnx_model
from zooadapt.backbone.recurrent_graph import onnx_recurrences
from zooadapt.cli import root
from zooadapt.data import inputs_of
from zooadapt.data.synthesis import synthesise
from zooadapt.errors import DataError, UsageError
from zooadapt.family import portable
from zooadapt.runtime.progress import Progress
from zooadapt.workflows import inference, onnx_inference, onnx_proof
from zooadapt.workflows.settings import Settings

for library in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(library)

SETTINGS = Settings(cache_gb=0)
CLOSE = 1e-3


class Notes(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def photos(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapted model of images, with an ONNX file beside its weights."""
    out = tmp_path_factory.mktemp("photos") / "model"
    model = zooadapt.adapt("digits04", pictures, out=out, strategy="probe", seed=1, cache_gb=0)
    model.export(out / "model.onnx", data=pictures)
    return out


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of texts."""
    out = tmp_path_factory.mktemp("texts") / "model"
    samples = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
    data = ([f"{text} {k}" for k, text in enumerate(samples)], ["quiet", "loud"] * 10)
    model = zooadapt.adapt("rnn:english", data, out=out, strategy="probe", seed=1, cache_gb=0)
    model.export(out / "model.onnx")
    return out


def metadata_of(path: Path) -> dict[str, str]:
    import onnx

    return {one.key: one.value for one in onnx.load(path).metadata_props}


def predict(model: Path, inputs: list[str], **settings: Any) -> list[zooadapt.Prediction]:
    return inference.predict(str(model), inputs, replace(SETTINGS, **settings), Progress())


def test_a_file_says_what_its_model_is(photos: Path) -> None:
    metadata = metadata_of(photos / "model.onnx")
    assert json.loads(metadata["labels"]) == ["class0", "class1", "class2"]
    assert json.loads(metadata["task"]) == {"name": "classification"}
    assert metadata["license"] == "apache-2.0"
    assert json.loads(metadata["source"])["origin"]["location"] == "digits04"
    assert json.loads(metadata["preprocessing"])["crop"] == [64, 64]
    proof = json.loads(metadata["proof"])
    assert proof["equal_labels"] == 1 and proof["max_difference"] < CLOSE
    assert proof["of"].startswith("test part of pictures")
    assert proof["accuracy_lost"] == 0 and proof["samples"] > 3


def test_predictions_of_a_file_are_those_of_torch(photos: Path, pictures: Path) -> None:
    expected = predict(photos, [str(pictures)], precision="fp32")
    answers = predict(photos / "model.onnx", [str(pictures)])
    assert [one.label for one in answers] == [one.label for one in expected]
    for one, other in zip(answers, expected, strict=True):
        assert one.input == other.input
        for name, probability in other.probabilities.items():
            assert one.probabilities[name] == pytest.approx(probability, abs=CLOSE)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_texts_of_any_length_share_a_batch(texts: Path, batch_size: int) -> None:
    inputs = ["a b", "TEN GREEN PEARS AND THREE OLD FIGS", "x y", "été \N{SNOWMAN} here", "ONE TWO"]
    expected = predict(texts, inputs, precision="fp32")
    answers = predict(texts / "model.onnx", inputs, batch_size=batch_size)
    assert [one.text for one in answers] == inputs
    for one, other in zip(answers, expected, strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=CLOSE)


def test_a_file_has_the_features_of_torch(photos: Path, pictures: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    places = {"a": photos / "model.onnx", "b": photos}
    for name, place in places.items():
        settings = replace(SETTINGS, precision="fp32" if name == "b" else "auto")
        out = tmp_path / f"{name}.safetensors"
        inference.features(str(place), str(pictures), out, settings, Progress())
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in places)
    np.testing.assert_allclose(one["features"], other["features"], atol=CLOSE)
    np.testing.assert_array_equal(one["labels"], other["labels"])
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("name", ["photos", "texts"])
def test_a_file_is_run_without_torch(
    name: str, pictures: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    sample = str(pictures / "class0" / "0.png") if name == "photos" else "SIX OLD FIGS HERE"
    for place in (model / "model.onnx", model):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "zooadapt", "predict", str(place), sample],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        assert "class0" in done.stdout or "loud" in done.stdout
        names = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
        heavy = {"torch", "timm", "transformers", "accelerate", "huggingface_hub", "sklearn"}
        assert "onnxruntime" in names and not names & heavy


def test_ten_lines_of_stock_onnxruntime_give_the_same(photos: Path, pictures: Path) -> None:
    import onnxruntime

    path = pictures / "class1" / "3.png"
    session = onnxruntime.InferenceSession(photos / "model.onnx")
    labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
    image = np.asarray(Image.open(path).convert("L"))[None, :, :, None]
    (logits,) = session.run(["logits"], {"image": image})
    (answer,) = predict(photos, [str(path)], precision="fp32")
    assert labels[logits[0].argmax()] == answer.label
    probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert probabilities.max() == pytest.approx(answer.probability, abs=CLOSE)


def test_a_file_of_other_weights_is_not_used(
    photos: Path, texts: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "model")
    shutil.copy(texts / "model.onnx", tmp_path / "model" / "model.onnx")
    notes = Notes()
    inputs = [str(pictures / "class0" / "0.png")]
    (answer,) = inference.predict(str(tmp_path / "model"), inputs, SETTINGS, notes)
    assert answer.label == "class0"
    assert any("torch runs them" in line for line in notes.lines)


def test_a_note_says_that_onnxruntime_ran(photos: Path) -> None:
    notes = Notes()
    assert onnx_inference.opened(str(photos), SETTINGS, notes) is not None
    assert [line for line in notes.lines if "--precision fp32" in line]
    assert onnx_inference.opened(str(photos), replace(SETTINGS, precision="fp32"), notes) is None
    assert onnx_inference.opened(str(photos), SETTINGS, notes, at="stem") is None
    with pytest.raises(UsageError, match="no other stage"):
        onnx_inference.opened(str(photos / "model.onnx"), SETTINGS, notes, at="stem")


def test_an_export_that_differs_names_the_stage(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zooadapt_timm.preprocess import ImagePreprocessor

    true = ImagePreprocessor.portable

    def lying(self: ImagePreprocessor) -> Any:
        pixels = true(self)
        assert pixels is not None
        return replace(pixels, mean=tuple(value + 0.3 for value in pixels.mean))

    monkeypatch.setattr(ImagePreprocessor, "portable", lying)
    with pytest.raises(DataError, match="'preprocessing' differs first") as caught:
        zooadapt.load(photos).export(tmp_path / "wrong.onnx")
    assert "was not written" in str(caught.value) and "logits differ by" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_int8_is_smaller_or_says_why_not(texts: Path, tmp_path: Path) -> None:
    samples = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
    data = ([f"{text} {k}" for k, text in enumerate(samples)], ["quiet", "loud"] * 10)
    out = tmp_path / "small.onnx"
    result = zooadapt.load(texts).export(out, to="onnx-int8", data=data)
    assert result["kind"] == "onnx-int8" and result["proof"]["equal_labels"] >= 0.99
    assert result["int8_layers"] > 0
    assert out.stat().st_size < (texts / "model.onnx").stat().st_size
    answers = predict(out, ["TEN GREEN PEARS", "four blue plums"])
    assert [one.label for one in answers] == ["loud", "quiet"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["MODEL", "--to", "onnx", "-o", "x.bin"], 2, "no name of an ONNX file"),
        (["MODEL", "--to", "onnx-int8", "-o", "x.onnx"], 2, "calibrated on training samples"),
        (["nowhere", "--to", "onnx", "-o", "x.onnx"], 66, "nowhere"),
        (["MODEL", "--to", "onnx", "-o", "/dev/null/x.onnx"], 73, "/dev/null"),
        (["MODEL", "gone", "--to", "onnx", "-o", "x.onnx"], 66, "gone"),
        (["rnn:english", "--to", "onnx", "-o", "x.onnx"], 65, "no adapted model"),
    ],
)
def test_an_export_fails_before_any_work(
    arguments: list[str], code: int, message: str, photos: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    typed = [str(photos) if word == "MODEL" else word for word in arguments]
    done = CliRunner().invoke(root, ["export", *typed], standalone_mode=False)
    error = done.exception
    assert isinstance(error, zooadapt.ZooadaptError)
    assert error.code == code and message in str(error) and error.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zooadapt": None}, "zooadapt did not write"),
        ({"zooadapt": "{"}, "not valid JSON"),
        ({"zooadapt": '{"kind": "other"}'}, "'kind' is 'other'"),
        ({"preprocessing": '{"kind": "run"}'}, "'kind' is 'run'"),
        ({"preprocessing": '{"kind": "pixels"}'}, "incomplete"),
        ({"labels": "[1]"}, "'labels'"),
        ({"preprocessing": '{"kind": "pixels", "size": [99999999, 1]}'}, "'size'"),
    ],
)
def test_metadata_of_a_stranger_is_checked(
    changes: dict[str, str | None], message: str, photos: Path
) -> None:
    metadata = metadata_of(photos / "model.onnx") | changes
    plain = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(DataError, match=message):
        onnx_model.parse(plain, Path("theirs.onnx"))


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x07"])
def test_a_broken_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        onnx_model.read(path)
    assert "broken.onnx" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_are_operations(kind: type[nn.RNNBase], bidirectional: bool) -> None:
    import onnxruntime

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layers = kind(3, 4, num_layers=2, batch_first=True, bidirectional=bidirectional)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers(x)[0]

    net = Network().eval()
    dynamic = ({0: "samples", 1: "length"},)
    with onnx_recurrences(net), torch.no_grad():
        program = torch.onnx.export(
            net, (torch.randn(2, 5, 3),), dynamo=True, dynamic_shapes=dynamic, verbose=False
        )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (name,) = (one.name for one in session.get_inputs())
    for shape in ((1, 9, 3), (4, 2, 3)):
        x = torch.randn(shape)
        (states,) = session.run(None, {name: x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(states, net(x).numpy(), atol=1e-5)
    assert net.layers.forward.__func__ is kind.forward


def rows(n: int) -> Iterator[list[float]]:
    for k in range(n):
        yield [1.0, 0.0] if k % 2 else [0.0, 1.0]


def test_a_proof_counts_labels_and_lost_accuracy() -> None:
    before = np.array(list(rows(200)))
    after = before.copy()
    after[:3] = after[:3, ::-1]
    labels = before.argmax(1)
    labels[0] = 1 - labels[0]
    proof = onnx_proof.compare(before, after, labels, of="these")
    assert proof.equal_labels == pytest.approx(197 / 200)
    assert proof.accuracy_lost == pytest.approx((2 - 1) / 200)
    assert proof.accuracy_lost_interval is not None
    low, high = proof.accuracy_lost_interval
    assert low < 0 < proof.accuracy_lost < high < 0.03
    assert len(proof.faults("onnx-int8")) == 1 and "98.5 %" in proof.faults("onnx-int8")[0]
    assert proof.faults("onnx") == ["logits differ by up to 1, the bound is 0.001"]
    assert onnx_proof.compare(before, before, labels, of="these").faults("onnx") == []
    broken = np.where(before > 0, np.nan, 0)
    assert onnx_proof.compare(before, broken, labels, of="these").faults("onnx")


@pytest.mark.parametrize("source", ["digits04", "rnn:english"])
def test_preprocessing_is_read_as_it_was_written(source: str) -> None:
    described = zooadapt.load(source)._network.preprocessor.portable()  # type: ignore[attr-defined]
    text = json.dumps(portable.to_json(described))
    assert portable.parse(json.loads(text)) == described


def test_tokens_are_those_of_the_tokenizer() -> None:
    pytest.importorskip("transformers")
    from zooadapt_transformers.family import TextFamily

    family = TextFamily()
    texts = [*synthesise("text", 8), "", "a \ud800 b", "long " * 900]
    for name, config in family.examples().items():
        preprocessor = family.preprocessor(config)
        described = portable.to_json(preprocessor.portable())
        tokens = portable.parse(json.loads(json.dumps(described)))
        assert isinstance(tokens, portable.Tokens)
        expected = preprocessor.collate([preprocessor(text, rng=None) for text in texts])
        arrays = portable.batch(tokens.rows(texts))
        assert arrays.keys() == expected.keys(), name
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, expected[key].numpy())


def test_inputs_of_images_are_bytes(photos: Path) -> None:
    model = onnx_model.read(photos / "model.onnx")
    split = inputs_of([np.full((9, 7), 200, np.uint8)], modality="image")
    ((indices, inputs),) = onnx_model.batches(model.facts, split, 4)
    assert indices.tolist() == [0]
    assert inputs["image"].shape == (1, 9, 7, 1) and inputs["image"].dtype == np.uint8
