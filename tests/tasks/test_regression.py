"""Numbers as a task: solved heads, scales, intervals, every strategy, and what an export says."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import zooadapt
from zooadapt.errors import DataError, UsageError
from zooadapt.heads import fitting
from zooadapt.tasks.number_metrics import measure
from zooadapt.tasks.numbers import Scale, parsed
from zooadapt.tasks.regression import Regression
from zooadapt.zoo.hub.card import FOLDER


def problem(n: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(n + dim)
    x = torch.randn(n, dim, generator=rng)
    y = x[:, :2] @ torch.tensor([[3.0, 0.0], [1.0, -200.0]]) + 50
    return x, (y + torch.randn(n, 2, generator=rng)).double()


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a square, and a table of its side and of an area that grows exponentially."""
    root = tmp_path_factory.mktemp("bright")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for part, count in (("train", 60), ("test", 24)):
        with (root / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "side", "price"])
            for k in range(count):
                side = int(rng.integers(1, 9))
                pixels = np.zeros((8, 8), np.uint8)
                pixels[:side, :side] = 255
                name = f"pictures/{part}{k}.png"
                noisy = pixels // 2 + rng.integers(0, 40, (8, 8)).astype(np.uint8)
                Image.fromarray(noisy.astype(np.uint8)).save(root / name)
                rows.writerow([name, side + 0.25, 1000 * math.exp(side) * rng.uniform(0.8, 1.2)])
    return root


def adapted(bright: Path, out: Path, column: str, **options: Any) -> Any:
    return zooadapt.adapt(
        "digits04", bright, out=out, image_column="image", label_column=column, task="regression",
        progress=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("dim", [5, 60])
def test_leave_one_out_is_exact(dim: int) -> None:
    x, y = problem(40, dim)
    task = Regression(outputs=("a", "b")).prepared(y.numpy())
    fit = fitting.fit_head(lambda: iter(x.split(7)), y, task)
    z = task.codes(y).rows(torch.arange(40))
    for left_out in (0, 17, 39):
        keep = torch.arange(40) != left_out
        a, b = x[keep].double(), z[keep]
        mean, target = a.mean(0), b.mean(0)
        gram = (a - mean).T @ (a - mean) + fit.l2 * torch.eye(dim).double()
        weight = torch.linalg.solve(gram, (a - mean).T @ (b - target))
        expected = (x[left_out].double() - mean) @ weight + target
        torch.testing.assert_close(
            fit.held_out_logits[left_out].double(), expected, rtol=0, atol=1e-5
        )


def test_a_number_is_read_with_a_point_or_a_comma_and_nothing_else() -> None:
    read = {"1": 1.0, " -2.5 ": -2.5, "3,25": 3.25, ".5": 0.5, "1e3": 1000.0}
    assert {cell: parsed(cell) for cell in read} == read
    for cell in ("", "many", "nan", "inf", "1,234,567", "0x10", "1_000", "١"):
        assert parsed(cell) is None or cell == "١"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "two", "3"], "'row 1' has 'two' in column 'price'"),
        (["1", "inf", "3"], "'row 1' has 'inf' in column 'price'"),
        (["1", ("1", "2"), "3"], "'row 1' has 2 numbers and 1 are wanted"),
    ],
)
def test_what_is_no_number_is_named_with_its_row(cells: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Regression.read(cells, columns=["price"], row="row {}".format)


def test_a_constant_column_is_refused() -> None:
    task, labels = Regression.read([("1", "7"), ("2", "7")], columns=["a", "b"], row=str)
    with pytest.raises(DataError, match="every training sample has 7 in column 'b'"):
        task.check(labels, allow_tiny=False)


def test_numbers_return_from_their_scale() -> None:
    y = np.array([[1.0, 10.0], [2.0, 1e6], [4.0, 1e3]])
    task = Regression(outputs=("a", "b")).prepared(y)
    logged = Regression(
        outputs=("a", "b"), scales=tuple(Scale.of(c, log=k > 0) for k, c in enumerate(y.T))
    )
    for one in (task, logged):
        back = one.outputs_of(one.codes(torch.from_numpy(y)).rows(torch.arange(3)))
        np.testing.assert_allclose(back, y, rtol=1e-9)


def test_heavy_tails_are_learned_as_logarithms_where_that_predicts_better() -> None:
    x, y = problem(300, 6)
    for target, log in ((torch.exp(y[:, :1] / 5), True), (y[:, :1] ** 2, False)):
        task = Regression(outputs=("a",)).prepared(target.numpy())
        surprises = []
        for variant in task.variants(target.numpy()):
            fit = fitting.fit_head(lambda: iter([x]), target, variant)
            surprises.append(float(variant.surprise(fit.held_out_logits, target).mean()))
        if log:
            assert len(surprises) == 2 and surprises[1] < surprises[0] - 0.5
        else:
            assert len(surprises) == 1 or surprises[1] > surprises[0] - 0.5


def test_metrics_are_those_of_other_libraries() -> None:
    stats, skm = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    true = rng.lognormal(size=(200, 1))
    answers = true * rng.lognormal(sigma=0.3, size=(200, 1))
    (one,) = measure(answers, true, ["a"], bounds=None, logs=True, distinct=None).columns
    a, t = answers[:, 0], true[:, 0]
    assert one.mae.value == pytest.approx(skm.mean_absolute_error(t, a))
    assert one.rmse.value == pytest.approx(skm.root_mean_squared_error(t, a))
    assert one.r2.value == pytest.approx(skm.r2_score(t, a))
    assert one.r2_log is not None
    assert one.r2_log.value == pytest.approx(skm.r2_score(np.log(t), np.log(a)))
    assert one.pearson.value == pytest.approx(stats.pearsonr(a, t).statistic)
    assert one.spearman.value == pytest.approx(stats.spearmanr(a, t).statistic)
    for each in (one.mae, one.r2, one.pearson):
        assert each.interval[0] < each.value < each.interval[1]


def test_intervals_cover_their_share_of_new_samples() -> None:
    x, y = problem(900, 8)
    task = Regression(outputs=("a", "b")).prepared(y[:300].numpy())
    fit = fitting.fit_head(lambda: iter([x[:300]]), y[:300], task)
    task = task.settled(task.outputs_of(fit.held_out_logits), y[:300].numpy())
    outputs = task.outputs_of(x[300:] @ fit.weight.T + fit.bias)
    low, high = task.bounds(outputs)
    inside = ((low <= y[300:].numpy()) & (y[300:].numpy() <= high)).mean(0)
    assert (inside > 0.86).all() and (inside < 0.94).all()


def test_a_probe_predicts_numbers_in_their_own_units(bright: Path, tmp_path: Path) -> None:
    model = adapted(bright, tmp_path / "out", "price", strategy="probe")
    report = model.report
    assert report["task"] == "regression" and report["classes"] == ["price"]
    assert report["test"]["r2_log"] > 0.8 and "accuracy" not in report["test"]
    assert 0.7 < report["test"]["coverage"] <= 1
    assert any(one["what"] == "scale" for one in report["decisions"])
    assert report["baselines"]["majority"]["r2"] < 0.05
    config = json.loads((tmp_path / "out/config.json").read_text())["zooadapt"]
    assert config["task"]["name"] == "regression" and config["task"]["scales"][0]["log"]
    again = zooadapt.load(tmp_path / "out")
    scores = again.evaluate(
        bright, image_column="image", label_column="price", progress=False, split="test"
    )
    for key in ("mae", "r2", "r2_log", "coverage"):
        assert scores[key] == pytest.approx(report["test"][key], rel=1e-3)
    (one,) = again.predict(bright / "pictures/test0.png", progress=False)
    low, high = one.interval
    assert low < one.value < high
    # The head of the export gives the logarithm of the price itself.
    weight = load_file(tmp_path / "out/model.safetensors")
    features = again.features(bright / "pictures/test0.png", progress=False)
    name = next(
        k for k, t in weight.items() if t.shape[:1] == (1,) and t.numel() == features.shape[1]
    )
    bias = weight[name.replace("weight", "bias")]
    logit = float(features[0] @ weight[name].flatten().numpy() + bias.numpy()[0])
    assert math.exp(logit) == pytest.approx(one.value, rel=1e-3)


@pytest.mark.parametrize("strategy", ["full", "lp-ft", "gradual", "auto"])
def test_every_strategy_learns_numbers(bright: Path, tmp_path: Path, strategy: str) -> None:
    model = adapted(bright, tmp_path / "out", "side", strategy=strategy, epochs=2, seed=0)
    test = model.report["test"]
    assert math.isfinite(test["mae"]) and test["n"] == 24
    assert test["r2"] > 0.5
    again = zooadapt.load(tmp_path / "out").evaluate(
        bright, image_column="image", label_column="side", progress=False, split="test"
    )
    assert again["mae"] == pytest.approx(test["mae"], rel=2e-2)


def test_an_adapted_model_is_a_source_for_other_numbers(bright: Path, tmp_path: Path) -> None:
    adapted(bright, tmp_path / "one", "side", strategy="lp-ft", epochs=1)
    model = zooadapt.adapt(
        str(tmp_path / "one"), bright, out=tmp_path / "two", image_column="image",
        label_column="price", task="regression", strategy="probe", progress=False,
    )  # fmt: skip
    assert model.report["carried_classes"] == []
    assert model.report["test"]["r2_log"] > 0.5


@pytest.mark.parametrize(
    "options",
    [{"imbalance": "weights"}, {"metric": "balanced-accuracy"}, {"labels_per_class": 3},
     {"head": "logistic"}, {"label_smoothing": 0.1}],
)  # fmt: skip
def test_options_for_classes_are_refused(
    bright: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="has no meaning for regression"):
        adapted(bright, tmp_path / "out", "side", **options)
    assert not (tmp_path / "out").exists()


def test_a_number_can_not_be_rejected(bright: Path, tmp_path: Path) -> None:
    model = adapted(bright, tmp_path / "out", "side", strategy="probe")
    with pytest.raises(UsageError, match="numbers, which have no probability"):
        model.predict(bright / "pictures/test0.png", reject_below=0.5, progress=False)


def test_a_number_that_is_far_off_is_suspected(bright: Path, tmp_path: Path) -> None:
    table = (bright / "train.csv").read_text().splitlines()
    row = table[7].split(",")
    wrong = [*table[:7], ",".join([row[0], "400", row[2]]), *table[8:]]
    (tmp_path / "train.csv").write_text("\n".join(wrong))
    (tmp_path / "pictures").symlink_to(bright / "pictures")
    zooadapt.adapt(
        "digits04", tmp_path / "train.csv", out=tmp_path / "out", image_column="image",
        label_column="side", task="regression", strategy="probe", progress=False,
        suspects=tmp_path / "s.csv", follow_links=True,
    )  # fmt: skip
    with (tmp_path / "s.csv").open() as file:
        first = next(csv.DictReader(file))
    assert first["given"] == "400" and float(first["likelier"]) < 100


def test_the_code_on_the_card_gives_the_prediction(
    bright: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    timm = pytest.importorskip("timm")
    from zooadapt.runtime.model_files import write_weights

    (tmp_path / "source").mkdir()
    weights = timm.create_model("test_resnet", num_classes=3).state_dict()
    write_weights(tmp_path / "source/model.safetensors", weights)
    config = {"architecture": "test_resnet", "num_classes": 3}
    (tmp_path / "source/config.json").write_text(json.dumps(config))
    model = zooadapt.adapt(
        str(tmp_path / "source"), bright, out=tmp_path / "out", image_column="image",
        label_column="price", task="regression", strategy="probe", progress=False, input_size=32,
        precision="fp32",
    )  # fmt: skip
    assert any("logarithms" in one["value"] for one in model.report["decisions"])
    card = (tmp_path / "out/README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    Image.open(bright / "pictures/test0.png").convert("RGB").save(
        tmp_path / "photo.jpg", quality=95
    )
    monkeypatch.chdir(tmp_path)
    exec(code.replace(FOLDER, "out"), {})
    said = eval(capsys.readouterr().out)
    (one,) = model.predict(tmp_path / "photo.jpg", progress=False, precision="fp32")
    assert said["price"] == pytest.approx(one.value, rel=1e-3)
