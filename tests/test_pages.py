"""The front page and the pages behind it: links lead somewhere, commands have the options that are
shown, and code runs."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import click
import pytest
from PIL import Image

from zooadapt import __version__, errors
from zooadapt.cli import COMMANDS, root
from zooadapt.cli.commands import Command
from zooadapt.cli.options import Option
from zooadapt.runtime.options import Group
from zooadapt.runtime.ranges import seconds
from zooadapt.training.setup import BUDGET
from zooadapt.training.strategies import STRATEGIES
from zooadapt.workflows.demo import SOURCE, examples, write_digits

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "zooadapt" / "docs"
FRONT = ROOT / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
PAGES = (
    FRONT, CONTRIBUTING, ROOT / "tests/benchmarks/README.md", ROOT / "plugins/README.md",
    *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*.ipynb")),
)  # fmt: skip
OTHERS = {"--machine_rank", "--val-split", "--layer-decay", "--model-ema", "--smoothing", "--pdb"}
"""Options of other programs that pages name alone."""
STARTED = "timm/mobilenetv2_100.ra_in1k"
TYPIST = """
import json, shlex, sys
from click.testing import CliRunner
from zooadapt.cli import root
for line in sys.stdin:
    done = CliRunner().invoke(root, shlex.split(line)[1:])
    print(json.dumps([done.exit_code, done.stdout, done.output]), flush=True)
"""
"""Types commands in one process, which imports torch once."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def typed(page: Path) -> list[str]:
    """The commands of a page's terminals, without their comments."""
    lines = [line for block in blocks(page, "console")
             for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
    return [re.sub(r"\s+# .*", "", line[2:]) for line in lines if line.startswith("$ ")]


def inline(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def anchors(page: Path) -> set[str]:
    """What a heading is linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def command_of(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """The command that the words call, and its own words; None where they call none of ours."""
    for k, word in enumerate(words[:-1]):
        if word == "zooadapt" and words[k + 1] in COMMANDS:
            command = root.get_command(click.Context(root), words[k + 1])
            rest = words[k + 2 :]
            while isinstance(command, click.Group) and rest and rest[0] in command.commands:
                command, rest = command.commands[rest[0]], rest[1:]
            return command, rest
    return None


def commands() -> dict[str, Command]:
    """Every command by its name, as it is typed."""
    context, each = click.Context(root), {}
    for name in COMMANDS:
        command = root.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        each |= {f"{name} {second}".strip(): one for second, one in inner.items()}
    return each


def options(command: click.Command) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}


def every_option() -> set[str]:
    groups = (root.get_command(click.Context(root), name) for name in COMMANDS)
    return {name for one in (*commands().values(), *groups) for name in options(one)}


def page_of_options() -> str:
    """`zooadapt/docs/options.md`: every option of every command, as the command line has it."""
    lines = [
        "# Options",
        "",
        "This page is made from the options themselves: `python tests/test_pages.py` writes it.",
        "In Python they are parameters, with `_` for `-`.",
    ]
    for name, command in commands().items():
        lines += ["", f"## zooadapt {name}", "", *inspect.cleandoc(command.help).splitlines()]
        lines += ["", "```console", f"$ {command.example}", "```"]
        for heading in Group:
            rows = [row_of(one) for one in command.params
                    if getattr(one, "group", None) is heading and not one.hidden]  # fmt: skip
            if rows:
                lines += ["", f"| {heading} | | default | values |", "|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def row_of(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = "required" if option.required else option.shown_default
    return f"| {names} | {option.help} | {default} | {option.values} |"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    for link in links:
        if re.match(r"https?:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    words = [word.partition("::")[0] for code in (*inline(page), *typed(page))
             for word in code.split()]  # fmt: skip
    for word in words:
        if re.fullmatch(r"(zooadapt|tests|plugins|\.ci|\.github)/[\w./-]*", word):
            assert (ROOT / word).exists() or "NAME" in word, word


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_option_on_a_page_exists(page: Path) -> None:
    known = every_option() | OTHERS
    for code in (*typed(page), *inline(page)):
        words = code.replace("[", " ").replace("]", " ").split()
        if words and words[0].startswith("--") and words[0] != "--":
            assert words[0].partition("=")[0] in known, code
        called = command_of(words)
        if called:
            command, rest = called
            unknown = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert unknown <= options(command), code


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_in_a_terminal_can_be_typed(page: Path) -> None:
    for line in typed(page):
        called = command_of(shlex.split(line)) if "python -c" not in line else None
        if called:
            command, rest = called
            command.make_context(command.name, rest)  # a usage error says what is wrong


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_python_on_a_page_is_python(page: Path) -> None:
    for code in blocks(page, "python"):
        path = re.match(r"# \S+\.py\n    ", code)  # a method of a class that the page goes on with
        compile(f"class Shown:\n{code}" if path else code, str(page), "exec")


def test_the_page_of_options_is_made_from_them() -> None:
    page = DOCS / "options.md"
    assert page.read_text("utf-8") == page_of_options(), "python tests/test_pages.py writes it"


@pytest.mark.parametrize("name", commands())
def test_help_ends_in_an_example_that_can_be_typed(name: str) -> None:
    command = commands()[name]
    assert command.example.startswith(f"zooadapt {name}")
    named_command, rest = command_of(command.example.split())
    assert named_command is command and command.make_context(name, rest)
    help = command.get_help(click.Context(command, info_name=name))
    assert help.endswith(f"Example:\n  {command.example}")


@pytest.mark.parametrize("name", commands())
def test_every_option_has_a_sentence_and_a_default(name: str) -> None:
    for option in commands()[name].params:
        if isinstance(option, click.Option):
            assert re.match(r"[A-Z].*\.$", option.help), option.name
            assert option.is_flag or option.required or option.shown_default, option.name


def test_help_of_adapt_begins_with_what_is_used_every_day() -> None:
    command = commands()["adapt"]
    help = command.get_help(click.Context(command, info_name="adapt"))
    headings = re.findall(r"^(\S.*):$", help, re.MULTILINE)
    assert headings[:4] == ["Data", "Strategy and budget", "Output", "Fine-tuning"]
    assert headings[-2:] == ["Other", "Example"] and len(headings) == len({*Group}) + 1
    words = " ".join(help.split())
    assert "[default: by strategy: 0.001]" in words
    assert "[default: by strategy: auto 12, lp-ft 12, full 20, gradual 16; more" in words
    assert seconds("10m") == BUDGET and "[default: auto: 10m; other" in words


def test_the_front_page_is_one() -> None:
    text = FRONT.read_text("utf-8")
    assert len(text.splitlines()) <= 150
    assert text.count("\n|") <= 30, "tables belong to the pages"


def test_ci_runs_the_second_command_of_the_front_page() -> None:
    commands = re.findall(r"^    (python3 .*)$", FRONT.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 2 and commands[0].endswith("/zooadapt demo")
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == commands[1]


def test_the_front_page_names_every_command_strategy_and_exit_code() -> None:
    text = FRONT.read_text("utf-8")
    rows = re.findall(r"^\| ((?:`[\w:]+`(?:, )?)+)(?: \(default\))? \|", text, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w:-]+)`", row)]
    commands = {name for name in names if name in COMMANDS}
    assert commands == set(COMMANDS)
    strategies = re.findall(r"^\| `([\w:-]+)`(?: \(default\))? \| [^|]*\|$", text, re.MULTILINE)
    assert {*STRATEGIES, "from:STAGE"} <= set(strategies)
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    codes = {one.code for one in kinds if issubclass(one, errors.ZooadaptError)} - {1}
    listed = re.search(r"Exit codes: (.*?)\.\n", text, re.DOTALL)[1]
    assert set(map(int, re.findall(r"\d+", listed))) == codes | {0}


def test_the_page_of_strategies_has_them_all() -> None:
    text = (DOCS / "strategies.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w:-]+)`", text, re.MULTILINE)
    assert set(rows) - {"--strategy"} == {*STRATEGIES, "from:STAGE"}


def test_the_changes_begin_with_this_version() -> None:
    text = (DOCS / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## ([\d.]+)", text, re.MULTILINE)[1] == __version__


def test_the_picture_of_a_terminal_is_small_and_asks_nobody_for_anything() -> None:
    content = (DOCS / "terminal.svg").read_bytes()
    assert len(content) < 60_000
    picture = xml.fromstring(content)
    assert b"@font-face" not in content and not re.search(rb"url\(.?https?:", content)
    shown = [" ".join((one.text or "").split()) for one in picture.iter() if one.text]
    commands = [text[2:] for text in shown if text.startswith("$ zooadapt")]
    assert len(commands) == 2
    for line in commands:
        command, rest = command_of(line.split())
        command.make_context(command.name, rest)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the front page's six lines were typed, on a bundled source and digits."""
    folder = tmp_path_factory.mktemp("six")
    _, target = write_digits(folder)
    target.rename(folder / "flowers")
    shutil.rmtree(folder / "source")
    Image.open(examples(folder / "flowers")[0]).save(folder / "photo.jpg")
    lines = "\n".join(typed(FRONT)).replace(STARTED, SOURCE)
    done = subprocess.run(
        [sys.executable, "-c", TYPIST], input=lines, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for number, (code, printed, everything) in enumerate(results):
        assert code == 0, everything
        (folder / f"{number}.out").write_text(printed)
    assert len(results) == 6
    return folder


def test_the_six_lines_do_what_the_front_page_says(place: Path) -> None:
    listed, planned, adapted, _, predicted, pushed = (
        (place / f"{k}.out").read_text() for k in range(6)
    )
    assert STARTED in listed
    assert "model: flowers-model" not in planned and "model: flowers-model" in adapted
    tested = len(list((place / "flowers" / "test").rglob("*.png")))
    assert len((place / "answers.csv").read_text().splitlines()) == 1 + tested
    assert re.match(r"photo.jpg(\t[5-9]\t0\.\d+){3}$", predicted.strip())
    assert "model.safetensors" in pushed and "config.json" in pushed


@pytest.mark.parametrize("page", [FRONT, DOCS / "hub.md"], ids=named)
def test_an_export_loads_as_the_page_says(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    names = python_of(page, "import timm")
    assert names["model"].num_classes == 5 and not names["model"].training


def test_the_six_lines_of_python_do_what_the_front_page_says(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    names = python_of(FRONT, "import zooadapt")
    (answer,) = names["answers"]
    assert answer.label in "56789" and 0 < answer.probability <= 1
    assert names["accuracy"] > 0.5 and not names["network"].training
    assert (place / "flowers-probe" / "model.safetensors").is_file()


def test_the_page_of_python_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    names = python_of(DOCS / "python.md", "import zooadapt")
    assert names["model"].classes == tuple("56789")
    assert names["one"].label == next(iter(names["one"].probabilities))
    assert len(names["one"].probabilities) == 3


def python_of(page: Path, begin: str) -> dict[str, Any]:
    """What a page's block that begins so leaves behind where it has run, on the bundled source."""
    (code,) = (block for block in blocks(page, "python") if block.startswith(begin))
    names: dict[str, Any] = {}
    exec(compile(code.replace(STARTED, SOURCE), str(page), "exec"), names)
    return names


if __name__ == "__main__":
    (DOCS / "options.md").write_text(page_of_options(), "utf-8")
