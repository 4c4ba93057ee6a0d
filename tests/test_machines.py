"""Users' machines: outputs on mounted volumes, disks without locks, no home folder, closed or
narrow streams, little memory."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zooadapt.errors import ResourceError, out_of_memory
from zooadapt.runtime import memory
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows.adapt import adapt

EXPORT = {"README.md", "config.json", "model.safetensors", "report.html", "report.json"}
COMMAND = f"{sys.executable} -m zooadapt"


def shell(
    script: str, folder: Path, *prefix: str, **env: str | None
) -> subprocess.CompletedProcess:
    """Run a shell script in a folder; None removes a variable from the environment."""
    own = {k: v for k, v in (os.environ | env).items() if v is not None}
    command = [*prefix, "bash", "-c", script]
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)


@pytest.fixture
def mounting() -> tuple[str, ...]:
    """The prefix of a command that may mount file systems."""
    prefix = ("unshare", "-rm")
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"]).returncode:
        pytest.skip("this machine lets no test mount a file system")
    return prefix


def test_a_mount_point_is_filled_in_place(
    mounting: tuple[str, ...], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "vol/out").mkdir(parents=True)
    run = f"{COMMAND} adapt digits04 {pictures} --strategy probe -o vol/out"
    script = f"mount -t tmpfs none vol/out; {run} && {run}; {run} --overwrite; ls -A vol vol/out"
    done = shell(script, tmp_path, *mounting)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines.count(
        "error: output 'vol/out' exists. Try: choose another output, or --overwrite"
    ) == len([line for line in lines if "error" in line])
    outer, inner = done.stdout.rpartition("vol:\n")[2].split("\n\nvol/out:\n")
    assert outer == "out" and set(inner.split()) == EXPORT


@pytest.mark.parametrize("mount", ["-t tmpfs none", "--bind disk"])
def test_a_mounted_volume_is_filled_twice(
    mount: str, mounting: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "out put").mkdir()
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    (tmp_path / "fill.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom zooadapt.runtime import outputs\n"
        "with outputs.claim(Path('out put'), overwrite=True):\n"
        "    with outputs.new_folder(Path('out put'), overwrite=True) as folder:\n"
        "        (folder / 'config.json').write_text(sys.argv[1])\n"
        "        (folder / sys.argv[1]).write_text('')\n"
    )
    fill = f"{sys.executable} fill.py"
    script = f"mount {mount} 'out put' && {fill} a && {fill} b && ls -A 'out put' && ls -A"
    done = shell(f"{script} && cat 'out put/config.json'", tmp_path, *mounting)
    assert done.returncode == 0, done.stderr
    inside = ["b", "config.json", *(["lost+found"] if "bind" in mount else [])]
    assert done.stdout.split("\n") == [*inside, "disk", "fill.py", "out put", "b"]


def test_a_read_only_mount_is_refused_before_any_work(
    mounting: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    script = f"mount -t tmpfs -o ro none out; {COMMAND} adapt nowhere nothing -o out"
    done = shell(script, tmp_path, *mounting)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 73 and "cannot create 'out': Read-only file system" in line


def test_a_run_fills_the_working_folder(pictures: Path, tmp_path: Path) -> None:
    done = shell(f"{COMMAND} adapt digits04 {pictures} --strategy probe -o . --json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == EXPORT
    assert json.loads(done.stdout)["out"] == "."


class Notes(Progress):
    """Records the lines that a run reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_disk_without_locks_gives_a_note(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    progress = Notes()
    request = Request(
        source="digits04", data=str(pictures), out=tmp_path / "out", strategy="lp-ft", epochs=1
    )
    adapt(request, progress)
    assert len([line for line in progress.lines if "has no locks" in line]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == EXPORT


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """Three classes with names outside of narrow encodings."""
    data = tmp_path_factory.mktemp("named") / "\u6570\u636e"
    for label, name in enumerate(("\u8587\u8587", "r\u00f6d\u017e", "caf\u00e9")):
        shutil.copytree(pictures / f"class{label}", data / name)
    return data


@pytest.mark.parametrize(
    ("streams", "env"),
    [
        ("<&- >&- 2>&-", {}),
        (">/dev/full", {}),
        ("| true", {"PYTHONUNBUFFERED": "1"}),
        ("2>&1 >out.txt | true", {}),
        (">out.txt", {"PYTHONIOENCODING": "cp1252"}),
    ],
)
def test_printing_cannot_fail_a_run_after_its_export(
    streams: str, env: dict[str, str], named: Path, tmp_path: Path
) -> None:
    out = "\u8587-out"
    run = f"{COMMAND} adapt digits04 {named} --strategy probe -o {out}"
    done = shell(f"set -o pipefail; {run} {streams}", tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / out).iterdir()} == EXPORT
    assert "Traceback" not in done.stderr and "error" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "could not be printed" in line]
    assert len(lines) == (streams == ">/dev/full")
    if streams == ">out.txt":
        assert "model: \\u8587-out" in (tmp_path / "out.txt").read_text("cp1252")


@pytest.mark.parametrize(
    ("streams", "code", "message"),
    [(">/dev/full", 74, "No space left"), ("| true", 141, ""), (">&-", 0, "")],
)
def test_printing_fails_a_command_whose_result_is_printed(
    streams: str, code: int, message: str, tmp_path: Path
) -> None:
    env = {"PYTHONUNBUFFERED": "1"}
    done = shell(f"set -o pipefail; {COMMAND} plugins list {streams}", tmp_path, **env)
    assert done.returncode == code and message in done.stderr, done.stderr


def test_a_user_without_a_home_gets_a_private_folder(pictures: Path, tmp_path: Path) -> None:
    nobody = ("unshare", "--map-user=54321", "--map-group=54321")
    if shutil.which("unshare") is None or subprocess.run([*nobody, "true"]).returncode:
        pytest.skip("this machine lets no test run as an unknown user")
    variables = ("HOME", "LOGNAME", "USER", "ZOOADAPT_CACHE", "HF_HOME")
    env = dict.fromkeys(variables) | {"TMPDIR": str(tmp_path)}
    (tmp_path / "here").mkdir()
    run = f"{COMMAND} adapt digits04 {pictures} --strategy from:stages.3 --epochs 1 -o out"
    done = shell(run, tmp_path / "here", *nobody, **env)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["out"]
    home = tmp_path / "zooadapt-54321"
    assert home.stat().st_mode & 0o777 == 0o700 and (home / ".cache/zooadapt").is_dir()
    note = f"note: this user has no home folder, so downloads and the cache are in '{home}'"
    assert done.stderr.count(note) == 1
    home.chmod(0o755)  # another user may have made it
    done = shell(f"{COMMAND} models", tmp_path / "here", *nobody, **env)
    assert done.returncode == 0 and f"'{home}'" not in done.stderr
    assert f"'{tmp_path}/zooadapt-" in done.stderr


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a lstm forward"), False),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (ImportError("No module named 'timm'"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_of_too_little_memory_are_recognised(error: Exception, memory: bool) -> None:
    assert out_of_memory(error) is memory


@pytest.mark.parametrize(
    ("kilobytes", "message"),
    [(600_000, "error: torch takes "), (1_500_000, "error: out of memory: lib")],
)
def test_too_little_memory_for_torch_is_one_line(
    kilobytes: int, message: str, pictures: Path, tmp_path: Path
) -> None:
    run = f"{COMMAND} adapt digits04 {pictures} --strategy probe -o out --json"
    done = shell(f"ulimit -v {kilobytes}; {run}", tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if "rror" in line]
    assert done.returncode == 71 and line.startswith(message)
    assert json.loads(done.stdout)["kind"] == "ResourceError" and not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="another library of C++")
@pytest.mark.parametrize("thread", [False, True])
def test_out_of_memory_in_c_is_one_line_without_a_dump(thread: bool, tmp_path: Path) -> None:
    call = "threading.Thread(target=fail).run()" if not thread else "start(fail)"
    (tmp_path / "fail.py").write_text(
        "import ctypes, sys, threading\n"
        "from zooadapt.cli import terminate\n"
        "terminate.prepare(as_json=True)\n"
        "fail = ctypes.CDLL('libstdc++.so.6')[sys.argv[1]]\n"
        "def start(work):\n"
        "    thread = threading.Thread(target=work)\n"
        "    thread.start()\n"
        "    thread.join()\n"
        f"{call}\n"
    )
    done = shell(f"{sys.executable} fail.py _ZSt17__throw_bad_allocv", tmp_path)
    assert done.returncode == 71 and done.stderr.startswith("error: out of memory. Try: ")
    assert done.stderr.count("\n") == 1 and json.loads(done.stdout)["code"] == 71
    done = shell(f"{sys.executable} fail.py _ZSt25__throw_bad_function_callv", tmp_path)
    assert done.returncode in (-6, 134) and "bad_function_call" in done.stderr  # unchanged


def test_a_run_too_large_for_memory_is_refused_before_the_work(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "ceiling", lambda: (1e8, "ulimit -v"))
    request = Request(source="digits04", data=str(pictures), out=tmp_path / "out")
    with pytest.raises(
        ResourceError, match=r"needs about .* GB of memory, and ulimit -v"
    ) as caught:
        adapt(request, Progress())
    assert caught.value.remedy and not list(tmp_path.iterdir())


def test_a_limit_on_addresses_subtracts_those_of_libraries(tmp_path: Path) -> None:
    script = "from zooadapt.runtime import memory; print(*memory.ceiling(), sep='|')"
    done = shell(f'ulimit -v 800000; {sys.executable} -c "{script}"', tmp_path)
    most, limit = done.stdout.strip().split("|")
    assert limit == "ulimit -v" and 100e6 < float(most) < 800_000 * 1024
