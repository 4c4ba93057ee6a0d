"""The Python interface: the same data gives the same model in whatever form it comes, errors speak
of parameters, nothing is printed unasked, and every public name has an example that runs."""

from __future__ import annotations

import ast
import csv
import doctest
import gc
import hashlib
import importlib
import inspect
import re
import subprocess
import sys
import traceback
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import zooadapt
from zooadapt.api.parameters import (
    OPTIONS,
    AdaptParameters,
    PretrainParameters,
    RankParameters,
    ReadParameters,
)
from zooadapt.api.remedies import in_python
from zooadapt.cli.adapt import adapt as command
from zooadapt.data import Dataset, ReadOptions, dataset_of, inputs_of, open_dataset
from zooadapt.runtime.options import Option, options_of
from zooadapt.runtime.progress import Progress
from zooadapt.training.options import AdaptOptions
from zooadapt.training.pretrain_options import PretrainRequest
from zooadapt.workflows import inference
from zooadapt.workflows.rank_options import RankRequest

PACKAGE = Path(zooadapt.__file__).parent
KINDS = ("abcdefgh", "ABCDEFGH", "aBcDeFgH")
CLASSES = ("large", "mixed", "small")


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[str]]:
    """Texts in small, large and mixed letters, and what they are."""
    rng = np.random.default_rng(0)
    names = ("small", "large", "mixed")
    each = ["".join(rng.choice(list(KINDS[k % 3]), 10)) for k in range(60)]
    return each, [names[k % 3] for k in range(60)]


@pytest.fixture(scope="module")
def table(texts: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(*texts, strict=True)])
    return path


@pytest.fixture(scope="module")
def words(table: Path, tmp_path_factory: pytest.TempPathFactory) -> zooadapt.Model:
    out = tmp_path_factory.mktemp("words") / "out"
    return zooadapt.adapt("rnn:english", table, out=out, strategy="probe", seed=3)


@pytest.fixture(scope="module")
def bright(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> zooadapt.Model:
    out = tmp_path_factory.mktemp("bright") / "out"
    # Features that another test stored may differ in their last digits: it had other batches.
    return zooadapt.adapt("digits04", pictures, out=out, strategy="probe", seed=1, cache_gb=0)


def images_of(folder: Path) -> tuple[list[Path], list[str]]:
    """The files of class folders and their classes, in the order in which folders are read."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.relative_to(folder).as_posix())
    return paths, [path.parent.name for path in paths]


def weights_of(model: zooadapt.Model) -> str:
    content = Path(model.report["out"], "model.safetensors").read_bytes()
    return hashlib.sha256(content).hexdigest()


def same_report(one: zooadapt.Model, other: zooadapt.Model, *, contents: bool = True) -> None:
    """See that two runs say the same but for times and places; and, where samples are the same
    bytes and not only the same pixels, for their hashes."""
    changing = {"seconds", "out", "data", "plan"}
    mine, others = one.report, other.report
    assert mine.keys() == others.keys()
    for key in mine.keys() - changing:
        assert mine[key] == others[key], key
    assert mine["data"]["samples"] == others["data"]["samples"]
    assert mine["plan"]["phases"] == others["plan"]["phases"]
    if contents:
        for key in ("fingerprint", "learned"):
            assert mine["data"][key] == others["data"][key]
    assert weights_of(one) == weights_of(other)


def facts(data: Dataset, *, contents: bool = True) -> dict[str, Any]:
    test = data.test
    return {
        "classes": data.classes,
        "train": data.train.labels.tolist(),
        "test": None if test is None else test.labels.tolist(),
        "own": data.has_own_test,
        "fingerprint": data.fingerprint if contents else None,
        "raw": [data.everything.raw(k) for k in range(0, len(data.everything), 7)],
    }


# Public names


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    homes = (
        "zooadapt",
        "zooadapt.api.functions",
        "zooadapt.api.model",
        "zooadapt.api.sources",
        "zooadapt.tasks.predictions",
        "zooadapt.errors",
        "zooadapt.family.modality",
    )
    modules = [importlib.import_module(name) for name in homes]
    tests = [one for module in modules for one in finder.find(module, globs={"zooadapt": zooadapt})]
    return [one for one in tests if one.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda one: one.name)
def test_examples_of_docstrings_run(example: doctest.DocTest) -> None:
    output: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(example, out=output.append).failed
    assert not failed, "".join(output)


def test_every_public_name_has_an_example() -> None:
    have = {one.name.rpartition("zooadapt.")[2].rpartition(".")[2] for one in examples()}
    names = {name for name in zooadapt.__all__ if not name.startswith("_")}
    methods = {name for name, _ in inspect.getmembers(zooadapt.Model) if not name.startswith("_")}
    errors = {name for name in names if name.endswith("Error") and name != "ZooadaptError"}
    lacking = (names | methods) - errors - have - {"Model", "classes"}
    assert lacking == set()
    assert have >= {"ZooadaptError", "Prediction", "adapt", "predict", "push"}


def test_import_of_zooadapt_imports_nothing_heavy() -> None:
    code = "import zooadapt, sys; zooadapt.ZooadaptError; assert 'adapt' in dir(zooadapt); "
    code += "print(*sorted(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "pyarrow", "PIL", "click", "rich", "huggingface_hub", "datasets"}
    assert "zooadapt" in done.stdout and not heavy & set(done.stdout.split())


def test_functions_stay_functions_whatever_is_imported() -> None:
    code = "import zooadapt; from zooadapt.training.plan import Plan; "
    code += "from zooadapt.workflows.adapt import Result; print(zooadapt.adapt, zooadapt.plan)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("<function") == 2
    with pytest.raises(AttributeError, match="no attribute 'adopt'"):
        _ = zooadapt.adopt


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_parameters_are_the_options_of_the_command_line() -> None:
    own = {"source", "data", "out", "why", "plan_only", "as_json", "opens"}
    names = {one.name for one in command.params} - own
    assert names == OPTIONS.keys()
    shown = inspect.signature(zooadapt.adapt).parameters
    assert {name: shown[name].default for name in OPTIONS} == {
        name: one.default for name, one in OPTIONS.items()
    }


ENCODING = {"encoding": options_of(ReadOptions)["encoding"]}


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        (ReadParameters, options_of(ReadOptions)),
        (AdaptParameters, {**options_of(AdaptOptions), **options_of(ReadOptions)}),
        (PretrainParameters, {**options_of(PretrainRequest), **ENCODING}),
        (RankParameters, {**options_of(RankRequest), **options_of(ReadOptions)}),
    ],
)
def test_types_of_parameters_are_those_of_the_fields(
    typed: Any, options: dict[str, Option]
) -> None:
    """A type checker reads the TypedDicts, everything else the fields; paths may be strings, and
    so may what is parsed."""
    assert typed.__annotations__.keys() == options.keys()
    for name, hint in get_type_hints(typed).items():
        option = options[name]
        kinds = {*(get_args(hint) or [hint])} - {PathLike[str]}
        expected = {str if option.kind is Path else option.kind}
        expected |= {NoneType} if "None" in option.annotation else set()
        assert kinds == expected | ({str} if option.parse else set()), name


# Data


def test_texts_are_the_same_in_every_form(texts: tuple[list[str], list[str]], table: Path) -> None:
    import datasets
    import pandas

    columns = dict(zip(("text", "label"), texts, strict=True))
    named = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    numbers = columns | {"label": [CLASSES.index(name) for name in columns["label"]]}
    frame = pandas.DataFrame(columns)
    forms = [
        texts,
        [np.array(texts[0]), np.array(texts[1])],
        frame,
        frame.astype({"label": "category"}),
        pa.table(columns),
        pa.RecordBatch.from_pydict(columns),
        datasets.Dataset.from_dict(columns),
        datasets.Dataset.from_dict(numbers, features=named),
    ]
    expected = facts(open_dataset(str(table), modality="text", seed=5))
    for form in forms:
        assert facts(dataset_of(form, modality="text", seed=5)) == expected, type(form)


def test_parts_are_those_of_a_mapping(texts: tuple[list[str], list[str]], tmp_path: Path) -> None:
    import datasets

    parts = {"train": slice(0, 45), "test": slice(45, 60)}
    freeze_at = {name: (texts[0][part], texts[1][part]) for name, part in parts.items()}
    for name, columns in freeze_at.items():
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *zip(*columns, strict=True)])
    expected = facts(open_dataset(str(tmp_path), modality="text"))
    sets = datasets.DatasetDict({
        name: datasets.Dataset.from_dict({"text": one[0], "label": one[1]})
        for name, one in freeze_at.items()
    })  # fmt: skip
    for form in (freeze_at, sets):
        read = facts(dataset_of(form, modality="text"))
        # A folder's parts are read in order of name, test before train.
        assert read | {"raw": None} == expected | {"raw": None} and read["own"]


def test_images_are_the_same_in_every_form(pictures: Path) -> None:
    import datasets
    import pandas

    paths, labels = images_of(pictures)
    names = [str(path) for path in paths]
    opened = [Image.open(path) for path in paths]
    arrays = [np.asarray(image) for image in opened]
    contents = [path.read_bytes() for path in paths]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    same_bytes = [
        (paths, labels),
        (contents, labels),
        pandas.DataFrame({"file": names, "label": labels}),
        pa.table({"image": contents, "label": labels}),
        datasets.Dataset.from_dict({"image": names, "label": labels}, features=features),
    ]
    same_pixels = [
        (opened, labels),
        (arrays, labels),
        (np.stack(arrays), np.array(labels)),
        pandas.DataFrame({"image": opened, "label": labels}),
        ([array / 255 for array in arrays], labels),
        ([array[..., None].astype(np.int64) for array in arrays], labels),
        ([np.stack([array] * 3, axis=2) for array in arrays], labels),
    ]
    read = open_dataset(str(pictures), modality="image", seed=2)
    for form in same_bytes:
        assert facts(dataset_of(form, modality="image", seed=2)) == facts(read), type(form)
    for form in same_pixels:
        pixels = facts(dataset_of(form, modality="image", seed=2), contents=False)
        assert pixels == facts(read, contents=False), type(form)


def test_lists_of_texts_give_the_model_of_the_file(
    texts: tuple[list[str], list[str]], words: zooadapt.Model
) -> None:
    same_report(zooadapt.adapt("rnn:english", texts, strategy="probe", seed=3), words)


def test_arrays_give_the_model_of_the_folder(pictures: Path, bright: zooadapt.Model) -> None:
    paths, labels = images_of(pictures)
    arrays = [np.asarray(Image.open(path)) for path in paths]
    made = zooadapt.adapt("digits04", (arrays, labels), strategy="probe", seed=1, cache_gb=0)
    same_report(made, bright, contents=False)


def test_files_in_a_list_are_named_below_their_common_folder(pictures: Path) -> None:
    data = dataset_of(images_of(pictures), modality="image")
    assert data.everything.ids[0] == "class0/0.png" and str(pictures) not in str(data.location)


def test_16_bit_arrays_are_read_like_their_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays, labels = [], []
    for k in range(8):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        arrays.append((rng.integers(0, 4096, (9, 9))).astype(np.uint16))
        labels.append("ab"[k % 2])
        Image.fromarray(arrays[-1]).save(tmp_path / labels[-1] / f"{k}.png")
    paths, _ = images_of(tmp_path)
    read = open_dataset(str(tmp_path), modality="image")
    order = [int(path.stem) for path in paths]
    held = dataset_of(([arrays[k] for k in order], [labels[k] for k in order]), modality="image")
    assert held.white == read.white == 4095
    assert facts(held, contents=False) == facts(read, contents=False)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), "shape (3, 8, 9)"),
        (np.zeros((5, 8, 9), np.uint8), "shape (5, 8, 9)"),
        (np.zeros((0, 8), np.uint8), "no pixels"),
        (np.full((8, 8), 16.0), "from 0 to 1 in arrays of floats"),
        (np.full((8, 8), np.nan), "from 0 to 1 in arrays of floats"),
        (np.full((8, 8, 3), 300), "from 0 to 255"),
        (np.full((8, 8), -1), "from 0 to 255"),
        (7, "type 'int' and no image"),
        (b"no image", "no image in a known format"),
    ],
)
def test_inputs_that_are_no_images_are_refused(pixels: Any, message: str) -> None:
    for inputs in (pixels, [pixels]):
        with pytest.raises(zooadapt.DataError) as caught:
            inputs_of(inputs, modality="image")
        assert message in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((["a b", "c d"], ["x"]), "2 samples and 1 labels"),
        ((["a b", "c d", "e"], ["x", 1, "y"]), "column 'label' has no texts or numbers"),
        (
            (["a b", "c d"], [None, None]),
            "2 rows of 'data in memory' have no label: data:1, data:2",
        ),
        (pa.table({"words": ["a", "b"], "label": ["x", "y"]}), "no column 'text'"),
        ({"train": ([], [])}, "no rows"),
        (7, "type 'int' cannot be read"),
        (["one", "two", "three"], "type 'list' cannot be read"),
        ({"text": 3}, "type 'dict' cannot be read"),
        ({}, "type 'dict' cannot be read"),
        (([np.zeros((4, 4))] * 4, list("xxyy")), "column 'text' has no texts"),
    ],
)
def test_unreadable_data_is_refused(data: Any, message: str) -> None:
    with pytest.raises(zooadapt.ZooadaptError) as caught:
        zooadapt.adapt("rnn:english", data, strategy="probe")
    assert message in str(caught.value) and caught.value.remedy


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "a.jpg"
    for ask in (lambda: dataset_of(([missing] * 4, list("xxyy")), modality="image"),
                lambda: inputs_of([missing], modality="image")):  # fmt: skip
        with pytest.raises(zooadapt.NotFoundError, match="a.jpg' is not there"):
            ask()


# A model


def test_every_form_of_an_image_is_predicted_alike(pictures: Path, bright: Any) -> None:
    path = pictures / "class1" / "3.png"
    image = Image.open(path)
    forms = [str(path), path, image, np.asarray(image), path.read_bytes(), image.convert("RGB")]
    each = bright.predict(forms)
    assert len(each) == len(forms) and {one.probability for one in each} == {each[0].probability}
    assert each[0].probabilities == pytest.approx(bright.predict(image)[0].probabilities, abs=1e-6)
    assert [one.input for one in each][:3] == [str(path), str(path), "image 3"]
    mixed = bright.predict([pictures / "class0", image], top=1)
    assert len(mixed) == 13 and mixed[-1].label == each[0].label
    assert list(mixed[-1].probabilities) == [each[0].label]


def test_predictions_are_those_of_the_command(
    words: zooadapt.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = inference.Settings(cache_gb=0)
    others = inference.predict(words.report["out"], ["abc", "A B C"], settings, Progress())
    mine = words.predict(["abc", "A B C"])
    assert [one.probabilities for one in mine] == [one.probabilities for one in others]
    monkeypatch.chdir(tmp_path)
    Path("abc").write_text("ABC\nDEF\n")
    assert [one.text for one in words.predict(["abc", "-"])] == ["abc", "-"]
    assert [one.text for one in words.predict([Path("abc"), "abc"])] == ["ABC", "DEF", "abc"]
    assert [one.input for one in words.predict("abc")] == ["text 1"]
    assert words.predict(pa.table({"text": ["q r", "s"]}))[1].text == "s"


def test_evaluate_gives_the_figures_of_the_run(
    texts: tuple[list[str], list[str]], table: Path, words: zooadapt.Model
) -> None:
    for data in (table, str(table), texts):
        metrics = words.evaluate(data, split="test")
        assert metrics["accuracy"] == words.report["test"]["accuracy"]
        assert metrics["n"] == words.report["test"]["n"] == 12
        assert metrics["classes"] == list(CLASSES)
    assert words.evaluate(texts)["n"] == 60
    with pytest.raises(zooadapt.DataError, match="does not know: even, odd"):
        words.evaluate((texts[0], ["odd", "even"] * 30))


def test_features_are_those_of_the_command(
    table: Path, texts: tuple[list[str], list[str]], words: zooadapt.Model, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    out = tmp_path / "f.safetensors"
    inference.features(
        words.report["out"], str(table), out, inference.Settings(cache_gb=0), Progress()
    )
    mine = words.features(texts[0])
    assert mine.dtype == np.float32 and mine.shape == (60, 672)
    np.testing.assert_array_equal(mine, load_file(out)["features"])


def test_features_of_a_layer_are_those_of_a_text_alone(words: zooadapt.Model) -> None:
    inputs = ["a", "some words that are longer than that", "B"]
    together = words.features(inputs, layer="layer0", batch_size=3)
    alone = np.concatenate([words.features([one], layer="layer0") for one in inputs])
    assert together.dtype == np.float32 and together.ndim == 2
    np.testing.assert_allclose(together, alone, atol=1e-6)
    with pytest.raises(zooadapt.UsageError, match="no stage 'layer9'"):
        words.features(inputs, layer="layer9")


def test_a_model_without_classes_has_features_alone(
    table: Path, texts: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    source, out = zooadapt.load("rnn:english"), tmp_path / "f.safetensors"
    inference.features("english", str(table), out, inference.Settings(cache_gb=0), Progress())
    assert source.classes == () and source.report == {}
    np.testing.assert_array_equal(source.features(texts[0]), load_file(out)["features"])
    for ask in (lambda: source.predict("abc"), lambda: source.evaluate(texts)):
        with pytest.raises(zooadapt.DataError, match="it is no adapted model") as caught:
            ask()
        assert caught.value.remedy.startswith("zooadapt.adapt(")


def test_the_module_is_the_stock_network(bright: zooadapt.Model) -> None:
    import timm
    import torch

    stock = timm.create_model(f"local-dir:{bright.report['out']}", pretrained=True).eval()
    batch = torch.randn(4, 1, 8, 8)
    bright.predict(np.zeros((8, 8), np.uint8))
    assert not bright.module.training
    with torch.inference_mode():
        assert torch.equal(bright.module(batch), stock(batch))


def test_a_model_is_saved_and_loaded_as_it_is(
    pictures: Path, bright: zooadapt.Model, tmp_path: Path
) -> None:
    folder = bright.save(tmp_path / "copy")
    source = Path(bright.report["out"])
    assert {path.name for path in folder.iterdir()} == {path.name for path in source.iterdir()}
    assert all((source / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())
    again = zooadapt.load(folder)
    assert again.classes == bright.classes and again.report["test"] == bright.report["test"]
    path = pictures / "class2" / "0.png"
    assert again.predict([path])[0].probabilities == bright.predict([path])[0].probabilities
    with pytest.raises(zooadapt.OutputError) as caught:
        bright.save(folder)
    assert caught.value.remedy == "choose another output, or overwrite=True"
    assert bright.save(folder, overwrite=True) == folder
    with pytest.raises(zooadapt.UsageError, match="revision is of a Hub repo"):
        zooadapt.load(folder, revision="main")


def test_a_temporary_folder_lives_as_long_as_its_model(texts: tuple[list[str], list[str]]) -> None:
    model = zooadapt.adapt("rnn:english", texts, strategy="probe")
    folder = Path(model.report["out"])
    assert (folder / "model.safetensors").is_file()
    del model
    gc.collect()
    assert not folder.parent.exists()


def test_a_plan_is_that_of_the_run(texts: tuple[list[str], list[str]], words: Any) -> None:
    decided = zooadapt.plan("rnn:english", texts, strategy="probe", seed=3)
    assert decided["plan"]["phases"] == words.report["plan"]["phases"]
    assert decided.keys() == {"plan", "estimate", "notes"}


def test_nothing_is_printed_unasked(
    texts: tuple[list[str], list[str]], words: Any, tmp_path: Path, capfd: Any
) -> None:
    zooadapt.plan("rnn:english", texts, strategy="probe")
    model = zooadapt.adapt("rnn:english", texts, strategy="probe")
    model.predict(["word"])
    model.evaluate(texts)
    model.features(["word"])
    zooadapt.load(model.save(tmp_path / "m"))
    zooadapt.inspect("digits04")
    zooadapt.rank(texts, "rnn:english")
    zooadapt.families()
    assert capfd.readouterr() == ("", "")
    zooadapt.adapt("rnn:english", texts, strategy="probe", progress=True)
    shown = capfd.readouterr()
    assert shown.out == "" and "plan: probe = fit the head on frozen features" in shown.err


# Errors


@pytest.mark.parametrize(
    ("sentence", "python"),
    [
        ("--encoding latin-1", "encoding='latin-1'"),
        ("name its encoding, --encoding NAME", "name its encoding, encoding=NAME"),
        ("add samples, or --allow-tiny", "add samples, or allow_tiny=True"),
        ("--drop-unlabelled leaves them out", "drop_unlabelled=True leaves them out"),
        ("shrink it or raise --max-pixels", "shrink it or raise max_pixels"),
        ("give --in-chans 1 or 3", "give in_chans=1 or 3"),
        ("--split with one of train, test", "split with one of train, test"),
        ("--train-folder 'a b' --test-folder c", "train_folder='a b' test_folder='c'"),
        ("--no-refit", "refit=False"),
        ("leave out --at", "leave out layer"),
        ("zooadapt adapt --help", "help(zooadapt.adapt)"),
        ("zooadapt inspect SOURCE", "zooadapt.inspect(SOURCE)"),
        ("zooadapt plugins check x", "zooadapt plugins check x"),
        (
            "--strategy lp-ft or probe, without --from-scratch",
            "strategy='lp-ft' or probe, without from_scratch=True",
        ),
    ],
)
def test_remedies_are_put_in_python(sentence: str, python: str) -> None:
    assert in_python(sentence) == python


def sentences() -> list[str]:
    """Every text in the library, the command line apart, that names an option."""
    messages = []
    for path in PACKAGE.rglob("*.py"):
        if "cli" in path.parts or path.name in ("remedies.py", "scaffold.py"):
            continue
        tree = ast.parse(path.read_text())
        docs = {ast.get_docstring(node, clean=False) for node in ast.walk(tree)
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))}  # fmt: skip
        texts = {node.value for node in ast.walk(tree)
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip
        messages += [text for text in texts - docs if re.search(r"--[a-z]", text)]
    return messages


def test_no_message_of_the_library_keeps_a_flag() -> None:
    each = sentences()
    assert len(each) > 60
    flags = [text for text in each if re.search(r"--[a-z]", in_python(text))]
    assert flags == [text for text in flags if re.search(r"zooadapt (cache|plugins) ", text)]


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        ({"optimizer": "adam"}, "optimizer 'adam' must be one of", "optimizer='adamw'"),
        ({"epohcs": 3}, "no parameter 'epohcs'; did you mean 'epochs'?", "epochs"),
        ({"epochs": "3"}, "epochs='3' is of type 'str'", "help(zooadapt.adapt)"),
        ({"epochs": 2.5}, "epochs=2.5 is of type 'float'", "help(zooadapt.adapt)"),
        ({"epochs": True}, "epochs=True is of type 'bool'", "help(zooadapt.adapt)"),
        ({"refit": "no"}, "refit='no' is of type 'str'", "help(zooadapt.adapt)"),
        ({"lr": -1}, "lr -1.0 must be a number", "help(zooadapt.adapt)"),
        ({"budget": "soon"}, "is no time; write '90s', '10m' or '1h'", "help(zooadapt.adapt)"),
        ({"resume": True}, "is resumed in its output folder", "out=FOLDER"),
        (
            {"drop_suspects": True, "relabel_suspects": True},
            "drop_suspects=True and relabel_suspects=True contradict each other",
            "give one of them",
        ),
        (
            {"label_column": "kind"},
            "has no column 'kind', its columns are 'text', 'label'",
            "label_column='label'",
        ),
    ],
)
def test_errors_speak_of_parameters(
    texts: tuple[list[str], list[str]], options: dict[str, Any], message: str, remedy: str
) -> None:
    with pytest.raises(zooadapt.ZooadaptError) as caught:
        zooadapt.adapt("rnn:english", texts, **options)
    error = caught.value
    assert message in str(error) and error.remedy == remedy
    assert not re.search("--[a-z]", f"{error} {error.thing} {error.remedy}")
    assert f"Try: {remedy}" in "".join(traceback.format_exception(error))


def test_a_likely_column_is_a_parameter_to_paste() -> None:
    sentence = "a review of some length, number"
    rows = {"review": [f"{sentence} {k}" for k in range(20)], "stars": ["1", "5"] * 10}
    with pytest.raises(zooadapt.DataError) as caught:
        zooadapt.adapt("rnn:english", pa.table(rows), strategy="probe")
    assert caught.value.remedy == "text_column='review', label_column='stars'"
    (model,) = [zooadapt.adapt("rnn:english", pa.table(rows), strategy="probe",
                               text_column="review", label_column="stars")]  # fmt: skip
    assert model.classes == ("1", "5")


def test_numbers_of_numpy_and_times_are_accepted(texts: tuple[list[str], list[str]]) -> None:
    decided = zooadapt.plan(
        "rnn:english", texts, strategy="lp-ft", epochs=np.int64(2), lr=np.float32(0.5),
        budget="10m", refit=np.bool_(False),
    )["plan"]  # fmt: skip
    assert decided["phases"][-1]["epochs"] == 2 and decided["refit"] is False
