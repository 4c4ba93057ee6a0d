"""Several labels at once: reading, calibration, thresholds, metrics, and what a card says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score
from torch import nn

from zooadapt.backbone.rows import in_memory
from zooadapt.errors import DataError, UsageError
from zooadapt.heads import baselines, fitting
from zooadapt.heads.ridge import Ridge
from zooadapt.tasks import label_issues, named, of_facts, platt, thresholds
from zooadapt.tasks.cells import Cell
from zooadapt.tasks.label_metrics import mean_average_precision, measure
from zooadapt.tasks.multilabel import Multilabel

ABC = Multilabel(outputs=("a", "b", "c"))


def row(k: int) -> str:
    return f"train.csv:{k + 1}"


def drawn(n: int, count: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities with ties that tell something of them."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, count)) < np.linspace(0.15, 0.6, count)).astype(np.int64)
    probabilities = (0.35 * labels + rng.random((n, count)) * 0.6).round(2)
    return labels, probabilities


@pytest.mark.parametrize(
    ("cells", "columns"),
    [
        (["b|a", "", "c", "a"], ["labels"]),
        (["b; a", "", "c", "a"], ["labels"]),
        ([("b", "a"), (), ("c",), ("a",)], ["labels"]),
        ([("1", "0", "1"), ("0", "0", "0"), ("0", "1.0", "0"), ("0", "0", "True")], "bca"),
    ],
)
def test_every_spelling_gives_the_same_labels(cells: list[Cell], columns: list[str]) -> None:
    task, labels = Multilabel.read(cells, columns=list(columns), row=row)
    assert task.outputs == ("a", "b", "c") and labels.dtype == np.int64
    assert labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert [task.spell(one) for one in labels] == ["a|b", "", "c", "a"]
    assert [Multilabel.lacks(cell) for cell in (*cells, None, ("1", None))] == [False] * 4 + [
        True
    ] * 2


@pytest.mark.parametrize(
    ("cells", "columns", "words"),
    [
        (["a|b", "a|b|a"], ["labels"], "'train.csv:2' has the label 'a' twice"),
        ([("1", "0"), ("2", "1")], ["a", "b"], "'train.csv:2' has '2' in column 'a'"),
        (["caf\u00e9|b", "cafe\u0301"], ["labels"], "in different Unicode forms"),
        (["a|b", "a|b", "a", "a"], ["labels"], "'a' is on every training sample"),
        ([("1", "0"), ("0", "0")], ["a", "b"], "'b' is on no training sample"),
        (["a|b", "a", ""], ["labels"], "'b' is on a single training sample"),
        (["", ""], ["labels"], "no sample has a label"),
    ],
)
def test_bad_labels_name_the_row_or_label(
    cells: list[Cell], columns: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        task, labels = Multilabel.read(cells, columns=columns, row=row)
        task.check(labels, allow_tiny=False)


def test_strata_are_the_rarest_labels() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]])
    assert ABC.strata(labels).tolist() == [2, 1, 0, 3, 2]
    assert ABC.remarks(labels, labels[:2]) == [
        "1 sample has none of the labels",
        "1 label has no test sample: 'c'",
    ]


def test_labels_are_aligned_by_name() -> None:
    other = Multilabel(outputs=("c", "a"))
    assert ABC.aligned(np.array([[1, 0], [0, 1]]), other, where="x").tolist() == [
        [0, 0, 1],
        [1, 0, 0],
    ]
    with pytest.raises(DataError, match="labels that the model does not know: z"):
        ABC.aligned(np.array([[1]]), Multilabel(outputs=("z",)), where="x")
    unused = Multilabel(outputs=("a", "z"))
    assert ABC.aligned(np.array([[1, 0]]), unused, where="x").tolist() == [[1, 0, 0]]


def test_leave_one_out_equals_refits() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    labels = torch.from_numpy(drawn(40)[0])
    weights = torch.ones(40, dtype=torch.float64)
    ridge = Ridge(in_memory(x), ABC.codes(labels), weights)
    (exact,) = ridge.held_out([0.7])
    for k in range(40):
        others = weights.clone()
        others[k] = 0
        weight, bias = Ridge(in_memory(x), ABC.codes(labels), others).solution(0.7)
        assert torch.allclose(exact[k], x[k].double() @ weight.T + bias, atol=1e-10)


def test_calibration_has_the_lowest_loss_of_every_label() -> None:
    labels, probabilities = drawn(200)
    logits = torch.from_numpy(3 * probabilities - 5)
    weights = torch.from_numpy(np.random.default_rng(1).random(200))
    truth = torch.from_numpy(labels)
    scale, shift, losses = platt.scales_and_shifts(logits, truth, weights)
    total = 0.0
    for k in range(3):
        n = int(labels[:, k].sum())
        least, most = 1 / (200 - n + 2), (n + 1) / (n + 2)
        targets = least + (most - least) * truth[:, k].double()

        def loss(ab: np.ndarray, k: int = k, targets: torch.Tensor = targets) -> float:
            each = nn.functional.binary_cross_entropy_with_logits(
                ab[0] * logits[:, k] + ab[1], targets, reduction="none"
            )
            return float((each * weights).sum() / weights.sum())

        best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"fatol": 1e-13}).fun
        assert loss(np.array([scale[k], shift[k]])) == pytest.approx(best, abs=1e-9)
        total += best / 3
    assert float(losses.mean()) == pytest.approx(total, abs=1e-9)


def test_no_calibration_turns_noise_around() -> None:
    """Leave-one-out predictions from the mean of the others lean away from each label."""
    labels = torch.from_numpy(drawn(50)[0])
    logits = -labels.double() + 1e-3 * torch.randn(50, 3, dtype=torch.float64)
    scale, shift, _ = platt.scales_and_shifts(logits, labels, torch.ones(50).double())
    assert scale.tolist() == [0, 0, 0]
    assert torch.allclose(shift.sigmoid(), (labels.double().mean(0)), atol=0.02)
    same = torch.ones(50, 3, dtype=torch.float64)
    scale, shift, _ = platt.scales_and_shifts(same, labels, torch.ones(50).double())
    assert scale.tolist() == [0, 0, 0] and shift.isfinite().all()


def test_one_factor_has_the_lowest_loss() -> None:
    labels, probabilities = drawn(100)
    logits = torch.from_numpy(np.log(probabilities + 0.02) + 0.8)
    truth, weights = torch.from_numpy(labels), torch.ones(100, dtype=torch.float64)
    scale, losses = ABC.rescale(logits, truth, weights)
    targets = (1 - 1 / 102) * truth + 1 / 204
    around = [
        float(nn.functional.binary_cross_entropy_with_logits(factor * logits, targets))
        for factor in (0.99 * scale, scale, 1.01 * scale)
    ]
    assert around[1] < around[0] and around[1] < around[2]
    assert float(losses.mean()) == pytest.approx(around[1])


def test_a_head_is_calibrated_label_by_label() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=generator)
    truth = (x[:, :3] + 0.5 * torch.randn(300, 3, generator=generator)) > torch.tensor(
        [0.0, 1.0, -1.0]
    )
    fit = fitting.fit_head(in_memory(x), truth.long(), ABC)
    probabilities = fit.held_out_outputs(300, ABC)
    assert mean_average_precision(probabilities, truth.numpy()) > 0.85
    assert np.allclose(probabilities.mean(0), truth.double().mean(0), atol=0.02)
    predicted = (x @ fit.weight.T + fit.bias).sigmoid().numpy()
    assert np.allclose(probabilities, predicted, atol=0.15)


def test_thresholds_have_the_highest_f1() -> None:
    labels, probabilities = drawn(80)
    labels[:, 2] = 0
    chosen = thresholds.for_f1(probabilities, labels)
    for k in range(2):
        candidates = np.linspace(0, 1, 1001)
        best = max(f1_score(labels[:, k], probabilities[:, k] >= one) for one in candidates)
        assert f1_score(labels[:, k], probabilities[:, k] >= chosen[k]) == best
    assert chosen[2] == 0.5
    settled = ABC.settled(probabilities, labels)
    assert Multilabel.from_facts(settled.outputs, json.loads(json.dumps(settled.facts()))) == (
        settled
    )


@pytest.mark.parametrize("bad", [[0.5], [0.5, 0.5, 2], "0.5", [0.5, 0.5, None]])
def test_thresholds_of_another_number_are_refused(bad: object) -> None:
    with pytest.raises(DataError, match="'thresholds' is not a list of 3 probabilities"):
        of_facts(ABC.outputs, {"task": {"name": "multilabel", "thresholds": bad}})


def test_scores_equal_those_of_scikit_learn() -> None:
    labels, probabilities = drawn(150, 4)
    labels[:, 3] = 0
    at = np.array([0.3, 0.4, 0.5, 0.6])
    scores = measure(probabilities, labels, "abcd", at)
    said = probabilities >= at
    three = labels[:, :3], probabilities[:, :3]
    assert scores.mean_average_precision == pytest.approx(average_precision_score(*three))
    assert scores.micro_f1 == pytest.approx(f1_score(labels, said, average="micro"))
    assert scores.macro_f1 == pytest.approx(
        f1_score(labels, said, average="macro", zero_division=0)
    )
    for k, one in enumerate(scores.labels[:3]):
        pair = labels[:, k], said[:, k]
        assert one.average_precision == pytest.approx(
            average_precision_score(labels[:, k], probabilities[:, k])
        )
        assert (one.precision, one.recall, one.f1) == pytest.approx(
            (precision_score(*pair), recall_score(*pair), f1_score(*pair))
        )
        for name in ("average_precision", "precision", "recall", "f1"):
            low, high = getattr(one, f"{name}_interval")
            assert 0 <= low < getattr(one, name) <= high <= 1
    assert scores.labels[3].average_precision is None and scores.labels[3].recall is None
    json.dumps(scores.summary() | scores.details(), allow_nan=False)
    with pytest.raises(DataError, match="no sample that is measured on has a label"):
        measure(probabilities, labels * 0, "abcd", at)


def test_an_interval_covers_the_value_of_many_samples() -> None:
    labels, probabilities = drawn(8000)
    at, whole = np.full(3, 0.4), mean_average_precision(probabilities, labels)
    intervals = [
        measure(probabilities[k : k + 200], labels[k : k + 200], "abc", at).interval
        for k in range(0, 8000, 200)
    ]
    assert 35 <= sum(low <= whole <= high for low, high in intervals) <= 40
    assert max(high - low for low, high in intervals) < 0.2


def test_a_baseline_has_the_thresholds_that_suit_it() -> None:
    labels, probabilities = drawn(100)
    task = replace(ABC, thresholds=(0.99, 0.99, 0.99))
    assert task.measure(probabilities, labels, outputs=probabilities).micro_f1 == 0
    baseline = task.measure(probabilities, labels)
    assert [one.threshold for one in baseline.labels] == list(
        thresholds.for_f1(probabilities, labels)
    )


def test_drawings_of_folds_count_once() -> None:
    labels, probabilities = drawn(100)
    at = np.full(3, 0.4)
    once = measure(probabilities, labels, "abc", at)
    twice = measure(np.tile(probabilities, (2, 1)), labels, "abc", at)
    for name in ("micro_f1", "macro_f1", "map"):
        assert twice.summary()[name] == pytest.approx(once.summary()[name])
        assert twice.summary()[f"{name}_interval"] == pytest.approx(
            once.summary()[f"{name}_interval"], abs=0.01
        )
    few = measure(probabilities, labels, "abc", at, distinct=25)
    assert np.diff(few.interval) > 1.6 * np.diff(once.interval)


def test_the_best_scores_have_an_interval_of_few_samples() -> None:
    labels = drawn(20)[0]
    scores = measure(labels * 0.9 + 0.05, labels, "abc", np.full(3, 0.5))
    assert scores.mean_average_precision == scores.micro_f1 == 1
    assert scores.interval[0] == pytest.approx(20 / (20 + 1.959964**2)) and scores.interval[1] == 1


def test_loss_weighs_rare_labels_and_smooths() -> None:
    logits, labels = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[1, 0, 1]])
    evening = ABC.evening(torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 1]]))
    assert evening.tolist() == pytest.approx([3, 1, 1 / 3])

    def loss(imbalance: str = "none", smoothing: float = 0.0) -> float:
        return float(
            ABC.loss(
                logits, labels, evening=evening, imbalance=imbalance, label_smoothing=smoothing
            )
        )

    p = logits.sigmoid()[0].double().numpy()
    each = np.array([-np.log(p[0]), -np.log(1 - p[1]), -np.log(p[2])])
    assert loss() == pytest.approx(each.mean())
    assert loss("weights") == pytest.approx((each * [3, 1, 1 / 3]).mean())
    smooth = 0.9 * each + 0.1 * (-np.log(p) - np.log(1 - p)) / 2
    assert loss(smoothing=0.1) == pytest.approx(smooth.mean())


def test_neighbours_vote_by_their_likeness() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    labels = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    (answer,) = baselines.nearest(features, labels, torch.tensor([[1.0, 0.0]]), ABC, k=2)
    assert answer.min() >= 0 and answer.max() <= 1
    cosine = 1 / np.sqrt(1.01)
    assert answer.tolist() == pytest.approx([1, cosine / (1 + cosine), 0])
    assert ABC.constant(labels.numpy(), 2).tolist() == [pytest.approx([2 / 3, 1 / 3, 1 / 3])] * 2


def test_planted_label_errors_are_flagged_and_named() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < 0.4).astype(np.int64)
    probabilities = truth * 0.9 + 0.05
    wrong = [(6 * k, k % 3) for k in range(10)]
    labels = truth.copy()
    for k, label in wrong:
        labels[k, label] = 1 - labels[k, label]
    issues = ABC.doubts(probabilities, labels)
    assert issues.reliable and issues.of == 600
    assert set(zip(issues.index.tolist(), (issues.given // 2).tolist(), strict=True)) == set(wrong)
    rows = label_issues.rows(issues, [str(k) for k in range(200)], [None] * 200)
    for name, given, likelier, *_ in rows:
        k = int(name)
        label = dict(wrong)[k]
        assert given[1:] == likelier[1:] == "abc"[label]
        assert given[0] == "-+"[labels[k, label]] and likelier[0] == "-+"[truth[k, label]]
    relabelled, used, changed = issues.apply(labels, label_issues.RELABEL)
    assert relabelled == truth.tolist() and all(used) and changed == len(wrong)
    same, used, changed = issues.apply(labels, label_issues.DROP)
    assert same == labels.tolist() and np.flatnonzero(~np.array(used)).tolist() == [
        k for k, _ in wrong
    ]


def test_an_answer_lists_labels_above_their_thresholds() -> None:
    task = replace(ABC, thresholds=(0.2, 0.5, 0.9))
    outputs = np.array([[0.3, 0.8, 0.85], [0.1, 0.1, 0.1]])
    one, none = task.say(outputs, ["x", "y"], [None, None], top=2, reject_below=0.0)
    assert one.labels == ("b", "a") and dict(one.probabilities) == {"c": 0.85, "b": 0.8}
    assert one.to_json()["labels"] == ("b", "a") and none.labels == ()
    assert one.cells(listed=False) == ["b, a"] and none.cells(listed=False) == ["–"]
    said = task.say(outputs, ["x", "y"], [None, None], top=None, reject_below=0.0)
    columns, lines = task.listing(said, top=None, truth=np.array([[1, 1, 0], [0, 0, 1]]))
    assert columns[2:5] == ["truth", "labels", "correct"]
    assert [line[2:5] for line in lines] == [["a|b", "a|b", "yes"], ["c", "", "no"]]
    with pytest.raises(UsageError, match="no input is rejected"):
        task.say(outputs[:0], [], [], top=None, reject_below=0.5)


def test_probabilities_need_no_torch() -> None:
    logits = torch.tensor([[-800.0, 0.3, 40.0]], dtype=torch.float64)
    assert ABC.outputs_of(logits.numpy()) == pytest.approx(ABC.outputs_of(logits))


def test_errors_count_wrong_labels_whatever_the_thresholds() -> None:
    task = replace(ABC, thresholds=(0.9, 0.9, 0.9))
    outputs, labels = np.array([[0.6, 0.4, 0.7], [0.6, 0.6, 0.6]]), np.array([[1, 0, 1], [0, 1, 0]])
    assert task.errors(outputs, labels).tolist() == [0, 2]
    assert named("multilabel") is Multilabel
