"""The conformance kit: sound plugins pass it, and every check of it can fail."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from zooadapt.cli import root
from zooadapt.errors import UsageError
from zooadapt.family import FILES
from zooadapt.testing import CHECKS, Broken, Case, cases, run, select, synthesise
from zooadapt.testing.case import reopened
from zooadapt.testing.declaration import check_importing_it_is_light
from zooadapt.workflows import export
from zooadapt.workflows.report import Written
from zooadapt.zoo import registry

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For networks this small, threads cost more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mutants(toys: Path) -> ModuleType:
    return importlib.import_module("mutants")


@pytest.fixture(scope="session")
def tiles(toys: Path) -> type:
    return registry.load_class("tiles")


def with_source(family, folder: Path, *, extra: bool) -> Case:
    """A case of a family with a source on disk; `extra` adds a tensor to its weights."""
    config = next(iter(family.examples().values()))
    case = Case(family, config)
    native = family.native_config(config, case.model.classes)
    native.pop(FILES, None)
    if extra:
        case.model.backbone.net.register_buffer("extra", torch.ones(2))
    export.save(case.model, folder, Written(config=native, files={}, report={}, card=""),
                overwrite=False)  # fmt: skip
    source = reopened(family, folder)
    return Case(family, source.config, source=source)


def test_sound_plugins_pass_every_check(toys, waves, tmp_path):
    statuses = {}
    for name in ("tiles", "words", "rnn"):
        family = registry.load_class(name)()
        for case in [*cases(family), with_source(family, tmp_path / name, extra=False)]:
            for outcome in run(case):
                assert outcome.status != "fail", outcome
                statuses.setdefault(outcome.check, set()).add(outcome.status)
    (photos,) = cases(registry.plain("timm"), examples=["convolutions"])
    (outcome,) = run(photos, select(["other_crops"]))  # the other three have one crop
    statuses[outcome.check].add(outcome.status)
    assert outcome.status == "pass", outcome
    (texts,) = cases(registry.plain("transformers"), examples=["bert"])
    (outcome,) = run(
        texts, select(["poolings_are_distinguished"])
    )  # the other three have one way to pool
    statuses[outcome.check].add(outcome.status)
    assert outcome.status == "pass", outcome
    (hum,) = cases(registry.plain("hum"))  # the others leave it to the core where channels are
    (outcome,) = run(hum, select(["channels_are_where_stages_say"]))
    statuses[outcome.check].add(outcome.status)
    assert outcome.status == "pass", outcome
    skipped = [check for check, results in statuses.items() if results == {"skip"}]
    assert skipped == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_fails_for_its_mutants(check, mutants, tmp_path):
    spoiled = [mutant for mutant in mutants.MUTANTS if mutant.fails == check.__name__]
    assert spoiled, f"no mutant breaks the clause of {check.__name__}"
    for mutant in spoiled:
        family = mutant()
        if check.__name__ == "check_source_weights_fit":
            case = with_source(family, tmp_path / mutant.__name__, extra=True)
        else:
            case = Case(family, next(iter(family.examples().values())))
        with pytest.raises(Broken) as caught:
            check(case)
        broken = caught.value
        assert broken.clause == " ".join(check.__doc__.split())
        assert broken.declared and broken.actual and broken.remedy


STRUCTURE = ("builds_a_network", "share_out", "carries_are", "is_linear", "repeatable", "batching",
             "frozen_stays", "fit_together", "written_down", "keep_their_rows")  # fmt: skip


@pytest.mark.parametrize(
    ("mutant", "check", "message"),
    [
        ("Unowned", "check_stages_share_out_the_state", "5 belong to none: blocks.1.norm.weight"),
        ("OwnedTwice", "check_stages_share_out_the_state", "to stage 'block0' and stage 'pool'"),
        ("Crashing", "check_carries_are_batches", "(stage 'block1', zooadapt_tiles/network.py:15"),
        ("Unreadable", "check_carries_are_batches", "KeyError: 'scale' (mutants.py:"),
    ],
)
def test_a_failure_is_reported_once(mutants, mutant, check, message):
    family = getattr(mutants, mutant)()
    checks = [one for one in CHECKS if any(part in one.__name__ for part in STRUCTURE)]
    outcomes = list(run(Case(family, family.examples()["colour"]), checks))
    assert len(outcomes) == len(STRUCTURE)
    (failed,) = [outcome for outcome in outcomes if outcome.status == "fail"]
    assert failed.check == check and message in failed.actual
    later = [one for one in outcomes[outcomes.index(failed) + 1 :] if one.status != "pass"]
    assert {(one.status, one.follows, one.actual) for one in later} == {
        ("skip", check, f"follows from {check}")
    }
    assert len(later) >= 4


def test_unowned_tensors_are_named_by_their_module(mutants):
    family = mutants.Unowned()
    check = select(["stages_share_out_the_state"])
    (outcome,) = run(Case(family, family.examples()["colour"]), check)
    assert outcome.remedy == "list blocks.1.norm in the `owns` of the stage that runs it"
    assert "each entry of state_dict() belongs to one stage" in outcome.declared


def test_an_equal_error_in_a_later_check_is_skipped(mutants):
    family = mutants.Crashing()
    checks = select(["evaluation_is_repeatable", "batching_changes_nothing"])
    first, second = run(Case(family, family.examples()["colour"]), checks)
    assert first.status == "fail" and "stage 'block1'" in first.actual
    assert second.follows == first.check
    (alone,) = run(Case(family, family.examples()["colour"]), checks[1:])
    assert alone.status == "fail" and "stage 'block1'" in alone.actual


@pytest.mark.parametrize(
    ("work", "light"),
    [("time.sleep(0.8)", True), ("while time.process_time() < start + 0.8: pass", False)],
    ids=["waits", "computes"],
)
def test_import_time_is_processor_time(toys, tmp_path, monkeypatch, work, light):
    name = f"takes_its_time_{light}"
    (tmp_path / f"{name}.py").write_text(
        f"import time\nstart = time.process_time()\n{work}\n"
        "from zooadapt_tiles import TilesFamily\nclass Slow(TilesFamily): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    family = importlib.import_module(name).Slow()
    check = check_importing_it_is_light
    (outcome,) = run(Case(family, family.examples()["grey"]), [check])
    assert outcome.status == ("pass" if light else "fail")
    assert light or "of processor time" in outcome.declared


@pytest.fixture
def conformance(pytester: pytest.Pytester):
    """Run a plugin's conformance test file, given as text, and count its outcomes."""

    def outcomes(text: str, *arguments: str):
        pytester.makepyfile(text)
        return pytester.runpytest("-n0", "-p", "no:cacheprovider", *arguments)

    return outcomes


THREE_LINES = """
from zooadapt.testing import parametrize
@parametrize("tiles"{expected})
def test_conformance(check, case): check(case)
"""


def test_three_lines_give_a_test_per_check_and_example(toys, conformance):
    result = conformance(
        THREE_LINES.format(expected=""), "-k", "check_carries or check_padding", "-v"
    )
    result.assert_outcomes(passed=2, skipped=2, deselected=2 * len(CHECKS) - 4)
    result.stdout.fnmatch_lines(["*test_conformance[[]check_carries_are_batches-grey[]]*PASSED*"])


def test_an_expected_failure_that_passes_is_a_failure(toys, conformance):
    expected = ', expected_failures={"check_carries_are_batches-grey": "not yet"}'
    result = conformance(THREE_LINES.format(expected=expected), "-k", "check_carries")
    result.assert_outcomes(passed=1, failed=1, deselected=2 * len(CHECKS) - 2)
    result.stdout.fnmatch_lines(["*XPASS(strict)*not yet*"])


def test_an_expected_failure_of_no_check_is_an_error(toys, conformance):
    result = conformance(THREE_LINES.format(expected=', expected_failures={"check_it": "typo"}'))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*names no check of 'tiles': check_it*"])


def test_the_kit_needs_no_pytest():
    code = "import sys, zooadapt.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def command(capsys, *arguments: str) -> tuple[int, str]:
    code = root.main(list(arguments), standalone_mode=False) or 0
    return code, capsys.readouterr().out


def test_the_command_runs_the_checks_through_the_entry_point(toys, capsys):
    code, out = command(capsys, "plugins", "check", "words", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["fail"] == 0 and report["pass"] + report["skip"] == len(CHECKS)
    skipped = {one["check"]: one["actual"] for one in report["checks"] if one["status"] == "skip"}
    assert skipped["check_other_input_sizes"] == "capability input_size"
    code, out = command(capsys, "plugins", "check", "words")
    assert code == 0 and f"{report['pass']} passed, 0 failed, {report['skip']} skipped" in out


def test_the_command_shows_a_failure_with_its_remedy(mutants, toys, capsys, monkeypatch, tmp_path):
    info = tmp_path / "greedy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: greedy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[zooadapt.families]\ngreedy = mutants:Renamed\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, out = command(capsys, "plugins", "check", "greedy")
    assert code == 1
    assert "check_it_claims_its_own_alone on colour: `claims` is True" in out
    assert "is False" in out and "actual:   True" in out and "do:       compare a key" in out
    code, out = command(capsys, "plugins", "check", "greedy", "--fail-fast", "--json")
    statuses = [one["status"] for one in json.loads(out)["checks"]]
    assert code == 1 and statuses.count("fail") == 1 and statuses[-1] == "fail"


def test_options_select_checks_and_examples(toys, capsys):
    options = ["--check", "its_head_is_linear", "--check", "check_carries_are_batches"]
    code, out = command(
        capsys, "plugins", "check", "tiles", *options, "--example", "grey", "--json"
    )
    checks = json.loads(out)["checks"]
    assert code == 0 and {one["case"] for one in checks} == {"grey"}
    names = ["check_carries_are_batches", "check_its_head_is_linear"]
    assert [one["check"] for one in checks] == names and all(one["seconds"] > 0 for one in checks)
    code, out = command(capsys, "plugins", "check", "tiles", *options)
    assert re.search(r"check_its_head_is_linear +│ pass +│ \d+\.\d\d ", out)
    assert re.search(r"^4 passed, 0 failed, 0 skipped in \d+\.\d s$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--check", "its_head_is_liner"], "did you mean 'check_its_head_is_linear'?"),
     (["--example", "gray"], "no example is called 'gray': did you mean 'grey'?"),
     (["--source", "x", "--example", "grey"], "--source replaces the plugin's examples")],
)  # fmt: skip
def test_an_unknown_check_or_example_is_a_usage_error(toys, options, message):
    with pytest.raises(UsageError) as caught:
        root.main(["plugins", "check", "tiles", *options], standalone_mode=False)
    assert message in str(caught.value) and caught.value.thing == options[-2]


def test_a_source_on_disk_is_checked_with_its_weights(toys, tiles, capsys, tmp_path):
    with_source(tiles(), tmp_path / "source", extra=False)
    code, out = command(
        capsys, "plugins", "check", "tiles", "--source", str(tmp_path / "source"), "--json"
    )
    statuses = {one["check"]: one["status"] for one in json.loads(out)["checks"]}
    assert code == 0 and statuses["check_source_weights_fit"] == "pass"


@pytest.mark.parametrize("modality", ["image", "text"])
def test_synthesised_samples_are_a_function_of_the_seed(modality):
    def content(raws):
        return [raw if isinstance(raw, str) else (raw.size, raw.tobytes()) for raw in raws]

    first, again, other = (content(synthesise(modality, 6, seed)) for seed in (0, 0, 1))
    assert first == again and first != other
    sizes = {len(raw) if isinstance(raw, str) else raw[0] for raw in first}
    assert len(sizes) > 3
