"""Bad data on the command line: an exit code, one line, no output; unusual data works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zooadapt.cli import root as cli
from zooadapt.zoo import registry

from .make import csv_file, encoded, image_folder, listing, photo


def adapt(data: Path, out: Path, *options: str, source: object = "digits04", **process: object):
    """Run `zooadapt adapt` in a process of its own."""
    command = [sys.executable, "-m", "zooadapt", "adapt", str(source), str(data), "-o", str(out)]
    return subprocess.run([*command, *options], capture_output=True, text=True, **process)


def test_broken_images_end_the_run_and_skip_bad_counts_them(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 6, "bee": 6})
    whole = encoded(photo(99, (400, 300)), "JPEG")
    for number in range(2):
        (root / "bee" / f"{number}.jpg").write_bytes(whole[: len(whole) // 2])
    before = listing(tmp_path)
    done = adapt(root, tmp_path / "out", "--json")
    assert done.returncode == 65 and listing(tmp_path) == before
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: image 'bee/0.jpg' is broken") and "--skip-bad" in line
    assert "and 1 more: bee/1.jpg" in line
    error = json.loads(done.stdout)
    assert (error["code"], error["kind"], error["thing"]) == (65, "DataError", "bee/0.jpg")
    done = adapt(root, tmp_path / "out", "--json", "--skip-bad")
    assert done.returncode == 0, done.stderr
    assert "2 broken images left out" in json.loads(done.stdout)["notes"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "report.html", "report.json"]  # fmt: skip


@pytest.mark.parametrize("language", ["C.UTF-8", "C"])
def test_hostile_names_are_escaped_and_never_used_as_paths(language: str, tmp_path: Path) -> None:
    names = ["=cmd|' C'!A0", "\x1b[2J\u202egpj", "<img src=x>", "a | b", "-\\..\\up", "🐝"]
    root = image_folder(tmp_path / "set" / "train", dict.fromkeys(names, 3)).parent
    image_folder(root / "test", dict.fromkeys(names, 1), first=90)
    (root / "train" / names[1] / "0.jpg").rename(root / "train" / names[1] / "\x1b[31m.jpg")
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    done = adapt(root, tmp_path / "out", encoding="utf-8", env=env | {"LC_ALL": language})
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text and "\u202e" not in text and "Traceback" not in text
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert "\x1b" not in card and "<img" not in card and "| a | b |" not in card
    report = json.loads((tmp_path / "out/report.json").read_text("utf-8"))
    assert report["classes"] == sorted(names)
    assert {path.name for path in tmp_path.iterdir()} == {"set", "out"}
    assert not {path.suffix for path in tmp_path.rglob("*")} & {".csv", ".tsv"}


def test_missing_data_and_an_empty_class_have_different_errors(tmp_path: Path) -> None:
    done = adapt(tmp_path / "none", tmp_path / "out")
    assert done.returncode == 66 and "is not there. Try: " in done.stderr
    (image_folder(tmp_path / "set", {"ant": 4}) / "wasp").mkdir()
    done = adapt(tmp_path / "set", tmp_path / "out")
    assert done.returncode == 65 and "class folder 'wasp' holds no image. Try: " in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_every_command_counts_skipped_images(tmp_path: Path, capsys) -> None:
    root = image_folder(tmp_path / "set", {"0": 3, "1": 3})
    (root / "1" / "0.jpg").write_bytes(b"<html>")
    (root / "1" / "notes.txt").write_text("x")
    out = str(tmp_path / "features.safetensors")
    for arguments in (["predict"], ["evaluate"], ["features", "-o", out]):
        command = [arguments[0], "digits04", str(root), "--skip-bad", *arguments[1:]]
        cli.main(command, standalone_mode=False)
        stderr = capsys.readouterr().err
        assert "note: 1 broken image left out\n" in stderr, arguments
        assert "note: 1 file that is no image left out\n" in stderr, arguments


def test_a_broken_table_is_a_one_line_error(real_data: Path, tmp_path: Path) -> None:
    table = csv_file(tmp_path / "t.csv", "one,too,many")
    source = real_data / "weights/charlstm_darwin.ml5"
    done = adapt(table, tmp_path / "out", source=source)
    assert done.returncode == 65 and not (tmp_path / "out").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: line 6 of 't.csv' has 3 fields") and "Try: quote" in line


def test_predict_escapes_file_names(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "set", {"ant": 1})
    name = "=cmd|' C\t\x1b[31m\n.jpg"
    (root / "ant/0.jpg").rename(root / "ant" / name)
    command = [sys.executable, "-m", "zooadapt", "predict", "digits04", str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    (line,) = done.stdout.splitlines()
    assert len(line.split("\t")) == 3


def test_names_of_a_downloaded_config_are_escaped(tmp_path: Path, capsys) -> None:
    source = tmp_path / "\x1b]0;mine\x07"
    shutil.copytree(registry.bundled()["digits04"][1], source)
    names = ["\x1b]0;mine\x07", "[red]a", "\x9b2J\nfake: line", "\u202egpj", "ü🐝"]
    config = json.loads((source / "config.json").read_text())
    config["label_names"] = config["zooadapt"]["classes"] = names
    for facts in (config["pretrained_cfg"], config["zooadapt"]):
        facts["license"] = "\x1b[2Jfree"
    (source / "config.json").write_text(json.dumps(config))
    data = image_folder(tmp_path / "set", dict.fromkeys(names, 2))
    image = str(data / names[0] / "0.jpg")
    for arguments in (["inspect"], ["evaluate", str(data)], ["predict", image]):
        cli.main([arguments[0], str(source), *arguments[1:]], standalone_mode=False)
        table = capsys.readouterr().out
        assert all(c.isprintable() or c in "\n\t" for c in table)
        assert "\\u001b" in table and "\nfake:" not in table
        assert arguments[0] != "evaluate" or table.count("[red]a") == 2, "a name is no markup"
        cli.main([arguments[0], str(source), *arguments[1:], "--json"], standalone_mode=False)
        output = capsys.readouterr().out
        assert all(c.isprintable() and c.isascii() for c in output.rstrip("\n"))
        assert arguments[0] == "predict" or json.loads(output)["classes"] == names
