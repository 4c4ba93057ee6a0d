"""Command lines that are wrong: refused at once, in one line or one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from zooadapt.cli import COMMANDS, root, synonyms
from zooadapt.cli import root as cli
from zooadapt.data import ReadOptions
from zooadapt.errors import OutputError, UsageError
from zooadapt.runtime.options import options_of
from zooadapt.training.config import Request
from zooadapt.training.pretrain_options import PretrainRequest
from zooadapt.workflows.demo import write_digits
from zooadapt.workflows.settings import Settings


def zooadapt(*arguments: object, **process: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "zooadapt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **process)


@pytest.mark.parametrize(
    ("make", "required"),
    [
        (Request, {"source": "s", "data": "d", "out": Path("out")}),
        (PretrainRequest, {"family": "f", "text": "t", "out": Path("out")}),
        (ReadOptions, {}),
        (Settings, {}),
    ],
)
def test_every_number_has_a_range(make: type, required: dict[str, Any]) -> None:
    """No number is left out, and none takes what is no number."""
    numbers = {name: one for name, one in options_of(make).items() if one.kind in (int, float)}
    assert numbers
    for name, option in numbers.items():
        allowed = option.range
        assert allowed is not None, name
        for value in (float("nan"), float("inf"), -1, allowed.most + 1, *allowed.without):
            with pytest.raises(UsageError) as caught:
                make(**required, **{name: value})
            assert caught.value.thing == "--" + name.replace("_", "-")
        for value in {allowed.least, allowed.most} - {*allowed.without}:
            assert getattr(make(**required, **{name: value}), name) == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--label-smoothing", "3"),
        ("--weight-decay", "nan"),
        ("--stage-decay", "-1"),
        ("--cache-gb", "inf"),
        ("--checkpoint-seconds", "nan"),
        ("--budget", "inf"),
        ("--max-pixels", "0"),
    ],
)
def test_a_number_out_of_range_is_refused_before_any_work(
    option: str, value: str, tmp_path: Path
) -> None:
    done = zooadapt("adapt", "nowhere", "nothing", "-o", tmp_path / "out", option, value, "--json")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    printed = json.loads(done.stdout)
    assert (printed["code"], printed["kind"], printed["thing"]) == (2, "UsageError", option)
    assert printed["remedy"].endswith("adapt --help") and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "thing", "words"),
    [
        (["adapt"], "source", "Missing argument 'SOURCE'"),
        (["adapt", "a", "b"], "--out", "Missing option"),
        (["adapt", "a", "b", "-o", "c", "--bogus"], "--bogus", "No such option '--bogus'"),
        (["predict", "m", "i", "--reject-below", "nan"], "--reject-below", "no probability"),
        (["inspect", "s", "--batch-size", "0"], "--batch-size", "not in the range"),
        (["nosuch"], "", "No such command"),
        (["train", "a", "b"], "", "'train': here it is 'zooadapt adapt'"),
        (["finetune"], "", "'finetune': here it is 'zooadapt adapt'"),
        (["eval", "m", "d"], "", "'eval': here it is 'zooadapt evaluate'"),
        (["adapt", "a", "b", "--device", "cuda"], "--device", "CUDA_VISIBLE_DEVICES"),
        (["predict", "a", "b", "--device=cpu"], "--device", "ACCELERATE_USE_CPU=1"),
        (["adapt", "a", "b", "--learning-rate", "1"], "--learning-rate", "here it is --lr"),
        (["adapt", "a", "b", "--output-dir", "c"], "--output-dir", "here it is --out"),
        (["adapt", "--model", "a"], "--model", "the first argument"),
        (["adapt", "a", "b", "-o", "c", "--epoch", "3"], "--epoch", "here it is --epochs"),
    ],
)
def test_a_usage_error_is_json_with_json(arguments: list[str], thing: str, words: str) -> None:
    done = zooadapt(*arguments, "--json")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ") and words in line
    printed = json.loads(done.stdout)
    assert printed.keys() == {"code", "kind", "message", "thing", "remedy"}
    assert words in printed["message"]
    assert (printed["code"], printed["kind"], printed["thing"]) == (2, "UsageError", thing)
    plain = zooadapt(*arguments)
    assert plain.returncode == 2 and plain.stdout == "" and "Usage: " in plain.stderr


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        if isinstance(inner, click.Group):
            yield from _commands(inner, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", [*_commands(cli)], ids=" ".join)
def test_a_repeated_option_is_refused(path: tuple[str, ...]) -> None:
    """Of every command, every option: the last one winning would drop the others in silence."""
    inner: click.Command = cli
    for name in path:
        inner = inner.get_command(click.Context(inner), name)
    for option in inner.params:
        if isinstance(option, click.Option) and not (option.is_flag or option.multiple):
            short, full = option.opts[0], option.opts[-1]
            with pytest.raises(click.UsageError, match=f"'{full}' was given twice"):
                cli.main([*path, short, "1", f"{full}=2"], standalone_mode=False)


def test_a_repeated_option_is_one_line_that_names_it() -> None:
    twice = ("--text-column", "a", "--text-column", "b")
    done = zooadapt("adapt", "nowhere", "nothing", "-o", "out", *twice, "--json")
    assert done.returncode == 2 and "'--text-column' was given twice" in done.stderr
    assert json.loads(done.stdout)["thing"] == "--text-column"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["features", "nowhere", "nothing", "-o", "f.json"], 2, "no name of a safetensors file"),
        (["features", "nowhere", "nothing", "-o", "."], 2, "no name of a safetensors file"),
        (["features", "nowhere", "nothing", "-o", "a.safetensors"], 73, "is not a file"),
        (["features", "nowhere", "nothing", "-o", "b.safetensors"], 73, "'b.json' is not a file"),
        (["adapt", "nowhere", "nothing", "-o", "o", "--suspects", "b.json"], 73, "'b.json' is"),
        (["demo", "-o", "file/demo"], 73, "cannot create 'file/demo/adapted'"),
        (["demo", "-o", "taken"], 73, "'taken/adapted' is not a model's folder"),
    ],
)
def test_an_unwritable_output_is_refused_before_any_work(
    arguments: list[str], code: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder in ("a.safetensors", "b.json", "taken/adapted/mine"):
        (tmp_path / folder).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    done = zooadapt(*arguments, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == code and words in line
    assert sorted(tmp_path.rglob("*")) == before


def test_the_demo_s_images_fail_as_every_output_does(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OutputError, match="cannot create"):
        write_digits(tmp_path / "data")


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_a_broken_pipe_ends_the_command_silently(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-u", "-m", "zooadapt", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["plugins", "list"], ["plugins", "list", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "zooadapt", *arguments]
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
        assert done.returncode == 74
        (line,) = done.stderr.splitlines()
        assert "No space left on device" in line


def test_help_truncates_no_sentence() -> None:
    for command in ([], ["plugins"]):
        commands = zooadapt(*command, "--help").stdout.partition("Commands:")[2]
        assert commands and "..." not in commands


def test_every_synonym_stands_for_an_own_name() -> None:
    """A synonym is no name of own, and what it stands for is."""
    for own, others in synonyms._COMMANDS.items():
        assert own in COMMANDS and not COMMANDS.keys() & set(others)
    context = click.Context(root)
    options = {
        option
        for name in COMMANDS
        for parameter in root.get_command(context, name).params
        for option in parameter.opts
    }
    named = [name for others in synonyms._OPTIONS.values() for name in others]
    named += [name for others in synonyms._SENTENCES for name in others]
    assert set(synonyms._OPTIONS) <= options
    assert options & set(named) == {"--workers"}, "rank alone has it; the others say why not"
    assert len(named) == len(set(named))


def test_an_idle_option_is_accepted_with_a_note() -> None:
    """Scripts that pass it go on; help does not list it."""
    done = zooadapt("models", "english", "--offline", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["models"]
    assert done.stderr == "note: --offline has no effect here\n"
    idle = {"--label-column", "--label-columns", "--task", "--drop-unlabelled", "--allow-tiny",
            "--train-folder", "--test-folder", "--strict", "--start-column", "--end-column",
            "--background"}  # fmt: skip
    predict, evaluate = (root.get_command(click.Context(root), name).get_params(
        click.Context(root)) for name in ("predict", "evaluate"))  # fmt: skip
    hidden = {one.opts[-1] for one in predict if getattr(one, "hidden", False)}
    assert hidden == idle
    assert not [one for one in evaluate if getattr(one, "hidden", False)]
