"""After every kind of kill and failure the disk holds the old state or the complete new one."""

import errno
import fcntl
import multiprocessing
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from zooadapt.errors import FileError, NotFoundError, OutputError, TryAgainError
from zooadapt.runtime import filesystem, locks, outputs

fork = multiprocessing.get_context("fork")
OLD = {"config.json": b"old", "model": b"old weights"}
NEW = {"config.json": b"new", "model": b"new weights", "sub/more": b"x" * 5000}


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    with outputs.new_folder(target, overwrite=True) as folder:
        for name, data in files.items():
            filesystem.write_file(folder / name, data)


def content(folder: Path) -> dict[str, bytes]:
    """Files by path, without temporary ones."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name[:5] != ".zooa"}


def strays(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def run_with_fault(root: Path, action, at: int, fault) -> int:
    """Run `action` in a process of its own. Its `at`-th operation on a file below `root` meets the
    `fault`: a signal, or the number of a system error. The exit status, 0 without the fault.
    """

    def child() -> None:
        remaining = at

        def hook(event: str, args: tuple) -> None:
            nonlocal remaining
            if event != "open" and not event.startswith("os."):
                return
            if not any(isinstance(arg, (str, Path)) and str(root) in str(arg) for arg in args):
                return
            remaining -= 1
            if remaining == 0 and isinstance(fault, signal.Signals):
                os.kill(os.getpid(), fault)
            if remaining == 0:
                raise OSError(fault, os.strerror(fault))

        sys.addaudithook(hook)
        try:
            action()
        except (FileError, OutputError) as error:
            os._exit(error.code)
        os._exit(0 if remaining > 0 else 1)

    process = fork.Process(target=child)
    process.start()
    process.join()
    return process.exitcode


def fillable(tmp_path: Path, *, inside: bool) -> Path:
    """A path for a folder; with `inside` an existing one that no rename can replace."""
    target = tmp_path / "model"
    if inside:
        (target / ".zooadapt-checkpoint").mkdir(parents=True)
    assert outputs.in_place(target) == inside
    return target


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_a_kill_at_any_operation_leaves_the_old_or_new_folder(tmp_path, exists, inside):
    target = fillable(tmp_path, inside=inside)
    for at in range(1, 200):
        if exists:
            write_folder(target, OLD)
        status = run_with_fault(tmp_path, lambda: write_folder(target, NEW), at, signal.SIGKILL)
        filesystem.recover(target)
        assert content(target) in ((OLD, NEW) if exists else ({}, NEW)), at
        assert strays(tmp_path) == [".zooadapt-checkpoint"] * inside, at
        if status == 0:
            break
        if target.exists() and not exists:
            write_folder(target, {})
            assert inside or target.rmdir() is None
    assert status == 0 and at > 15


@pytest.mark.parametrize(
    ("number", "inside"),
    [(errno.ENOSPC, False), (errno.EIO, False), (errno.EFBIG, False), (errno.EROFS, False),
     (errno.EIO, True)],
)  # fmt: skip
def test_a_failure_at_any_operation_is_typed_and_keeps_the_folder(tmp_path, number, inside):
    target, statuses = fillable(tmp_path, inside=inside), []
    while 0 not in statuses:
        write_folder(target, OLD)
        at = len(statuses) + 1
        statuses.append(run_with_fault(tmp_path, lambda: write_folder(target, NEW), at, number))
        assert content(target) in (OLD, NEW), at
        assert content(target) == NEW or statuses[-1] in (FileError.code, OutputError.code), at
        filesystem.recover(target)
        assert strays(tmp_path) == [".zooadapt-checkpoint"] * inside, at
    assert len([status for status in statuses if status > 1]) > 15


def test_a_reader_of_a_folder_filled_in_place_sees_whole_models(tmp_path):
    """`config.json` marks a folder as a model: it is removed first and written last."""
    target = fillable(tmp_path, inside=True)
    write_folder(target, OLD)
    states = set()

    def hook(event: str, args: tuple) -> None:
        if watching and event == "os.rename":
            states.add(tuple(sorted(content(target).items())))

    watching = True
    sys.addaudithook(hook)
    write_folder(target, NEW)
    watching = False
    assert len(states) >= 4
    for state in map(dict, states):
        whole = state == OLD or "config.json" not in state
        assert whole or state["model"] == b"new weights", state


def test_a_kill_at_any_operation_leaves_the_old_or_new_file(tmp_path):
    path = tmp_path / "data"
    for at in range(1, 50):
        path.write_bytes(b"old")
        status = run_with_fault(
            tmp_path, lambda: filesystem.write_file(path, b"new"), at, signal.SIGKILL
        )
        assert path.read_bytes() in (b"old", b"new")
        filesystem.recover(path)
        assert strays(tmp_path) == []
        if status == 0:
            break
    assert status == 0 and at > 4


def test_the_next_writer_removes_temporary_files_of_an_hour_ago(tmp_path):
    path = tmp_path / "data"
    at = 1
    while not strays(tmp_path):
        run_with_fault(tmp_path, lambda: filesystem.write_file(path, b"new"), at, signal.SIGKILL)
        at += 1
    (stage,) = tmp_path.glob(".*")
    filesystem.write_file(path, b"new")  # the other writer may run on another host
    assert stage.exists()
    os.utime(stage, (time.time() - 7200,) * 2)
    filesystem.write_file(path, b"new")
    assert strays(tmp_path) == []


def test_the_error_of_a_full_disk_shows_its_free_space(tmp_path):
    with pytest.raises(FileError, match=r"cannot write '/dev/full'.*") as caught:
        with filesystem.writing(Path("/dev/full")):
            Path("/dev/full").write_bytes(b"x" * 100_000)
    assert "MB free" in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_determines_modes(tmp_path, umask):
    before = os.umask(umask)
    try:
        filesystem.write_file(tmp_path / "file", b"")
        write_folder(tmp_path / "folder", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "folder/model").stat().st_mode) == 0o666 & ~umask


def test_equal_json_is_equal_bytes(tmp_path):
    filesystem.write_json(tmp_path / "a", {"b": [1.5, "ü😀"], "a": None})
    filesystem.write_json(tmp_path / "b", {"a": None, "b": [1.5, "ü😀"]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text().endswith("}\n") and "ü😀" in (tmp_path / "a").read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        filesystem.write_json(tmp_path / "a", float("nan"))


def test_json_keeps_undecodable_names(tmp_path):
    import json

    name = os.fsdecode(b"\xff.png")
    filesystem.write_json(tmp_path / "a", [name])
    assert json.loads((tmp_path / "a").read_bytes()) == [name]


def test_a_failed_block_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError):
        with outputs.new_folder(tmp_path / "model", overwrite=False) as folder:
            filesystem.write_file(folder / "a", b"a")
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_in_place_and_keeps_its_mode(tmp_path, monkeypatch):
    for name in ("plain", "working", "pointed"):
        (tmp_path / name).mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("pointed")
    monkeypatch.chdir(tmp_path / "working")
    inode = os.stat(".").st_ino
    for target in (tmp_path / "plain", Path("."), tmp_path / "link"):
        outputs.check_output(target, overwrite=False)
        beside = target.name == "plain"
        assert (outputs.companion(target, "checkpoint").parent == tmp_path) == beside
        with outputs.claim(target, overwrite=False) as note:
            assert note == ""
            with outputs.new_folder(target, overwrite=False) as folder:
                filesystem.write_file(folder / "config.json", b"new")
        assert content(target) == {"config.json": b"new"}
        assert stat.S_IMODE(target.stat().st_mode) == 0o750
        with pytest.raises(OutputError, match="exists"):
            outputs.check_output(target, overwrite=False)
    assert outputs.companion(tmp_path / "new", "checkpoint") == tmp_path / "new.checkpoint"
    assert os.stat(".").st_ino == inode and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["plain", "working", "pointed", "link"]
    )


def test_an_existing_output_is_refused(tmp_path):
    write_folder(tmp_path / "model", OLD)
    for refuse in (
        lambda: outputs.check_output(tmp_path / "model", overwrite=False),
        lambda: outputs.new_folder(tmp_path / "model", overwrite=False).__enter__(),
    ):
        with pytest.raises(OutputError, match="exists") as caught:
            refuse()
        assert "--overwrite" in caught.value.remedy


def test_a_folder_without_a_model_is_never_replaced(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").touch()
    with pytest.raises(OutputError, match="not a model's folder"):
        outputs.check_output(photos, overwrite=True)
    (photos / "config.json").touch()
    outputs.check_output(photos, overwrite=True)
    monkeypatch.chdir(photos)
    with pytest.raises(OutputError, match="not a model's folder"):
        outputs.check_output(photos, overwrite=True)
    assert (photos / "one.jpg").exists()


def test_an_impossible_output_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path / "file/model", Path("/proc/model"), tmp_path / ("x" * 300) / "y"):
        with pytest.raises(OutputError):
            outputs.check_output(target, overwrite=False)
            write_folder(target, NEW)


def test_a_file_replaces_files_alone(tmp_path):
    write_folder(tmp_path / "model", NEW)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    before = {path.name for path in tmp_path.iterdir()}
    for name in ("model", "pipe", "link", "file/f"):
        with pytest.raises(OutputError):
            outputs.check_output_file(tmp_path / name)
    for name in ("file", "new", "a/b"):
        outputs.check_output_file(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert content(tmp_path / "model") == NEW


def test_an_output_in_the_hub_s_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OutputError, match="Hub's cache"):
        outputs.check_output(tmp_path / "models--a--b/snapshots/new", overwrite=True)


@pytest.mark.parametrize("name", ["a b", "-x", "ü" * 127, "é😀", os.fsdecode(b"\xff\xfe")])
def test_unusual_names_are_written(tmp_path, name):
    write_folder(tmp_path / name, NEW)
    filesystem.write_file(tmp_path / name / name, b"x")
    assert content(tmp_path / name) == NEW | {name: b"x"}


def test_check_output_accepts_missing_parents_and_leaves_no_trace(tmp_path):
    outputs.check_output(tmp_path / "a/b/c", overwrite=False)
    assert list(tmp_path.iterdir()) == []
    write_folder(tmp_path / "a/b/c", NEW)
    assert content(tmp_path / "a/b/c") == NEW


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "blob").write_bytes(b"shared")
    (tmp_path / "link").symlink_to(tmp_path / "blob")
    filesystem.write_file(tmp_path / "link", b"mine")
    assert (tmp_path / "blob").read_bytes() == b"shared"
    assert (tmp_path / "link").read_bytes() == b"mine"


def test_recovery_spares_the_files_of_a_running_process(tmp_path):
    with ExitStack() as stack:
        folder = stack.enter_context(outputs.new_folder(tmp_path / "model", overwrite=False))
        process = fork.Process(target=filesystem.recover, args=(tmp_path / "model",))
        process.start()
        process.join()
        filesystem.write_file(folder / "config.json", b"new")
    assert content(tmp_path / "model") == {"config.json": b"new"}


def test_eight_writers_of_one_file_leave_one_whole_file(tmp_path):
    path = tmp_path / "shared"

    def write(k: int) -> None:
        for _ in range(20):
            filesystem.write_file(path, bytes([k]) * 100_000)

    processes = [fork.Process(target=write, args=(k,)) for k in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(path.read_bytes()) == 100_000 and len(set(path.read_bytes())) == 1
    assert strays(tmp_path) == []


def holding(
    lock: Callable[[], AbstractContextManager[str]],
) -> multiprocessing.process.BaseProcess:
    """Another process that holds a lock."""
    ready = fork.Event()

    def hold() -> None:
        with lock():
            ready.set()
            signal.pause()

    process = fork.Process(target=hold, daemon=True)
    process.start()
    assert ready.wait(10)
    return process


def test_a_lock_names_its_process_and_ends_with_it(tmp_path):
    path = tmp_path / "locks/it"
    process = holding(lambda: locks.lock(path, what="the output"))
    with pytest.raises(TryAgainError, match=f"the output is in use by process {process.pid}"):
        with locks.lock(path, what="the output"):
            pass
    process.kill()
    process.join()
    with locks.lock(path, what="the output", wait=10):
        pass


NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.EIO, errno.ENOTSUP]


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on every file system behaves as a network disk without locks."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_lease_replaces_a_lock_where_there_are_none(tmp_path, monkeypatch, number):
    path = tmp_path / "locks/it"
    without_locks(monkeypatch, number)
    process = holding(lambda: locks.lock(path, what="the output"))
    with pytest.raises(TryAgainError, match=f"the output is in use by process {process.pid}"):
        with locks.lock(path, what="the output"):
            pass
    process.kill()
    process.join()
    with locks.lock(path, what="the output", wait=10) as note:
        assert f"has no locks ({os.strerror(number)})" in note
    assert list(path.parent.iterdir()) == []


def test_without_locks_temporary_files_are_removed_after_an_hour(tmp_path, monkeypatch):
    target, folder = tmp_path / "model", tmp_path / "carries"
    at = 1
    while not strays(tmp_path):
        run_with_fault(tmp_path, lambda: write_folder(target, NEW), at, signal.SIGKILL)
        at += 1
    folder.mkdir()
    without_locks(monkeypatch, errno.ENOLCK)
    filesystem.recover(target)
    assert strays(tmp_path) != [] and not locks.remove_unlocked(folder)
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 7200,) * 2)
    filesystem.recover(target)
    assert strays(tmp_path) == [] and locks.remove_unlocked(folder)


def test_an_output_is_locked_by_one_run_without_a_trace(tmp_path):
    target = tmp_path / "a/b/model"
    process = holding(lambda: outputs.claim(target, overwrite=False))
    with pytest.raises(TryAgainError, match=f"model' is in use by process {process.pid}"):
        with outputs.claim(target, overwrite=True):
            pass
    with outputs.claim(target.with_name("other"), overwrite=False):
        pass
    process.kill()
    process.join()
    with pytest.raises(RuntimeError), outputs.claim(target, overwrite=False):
        raise RuntimeError
    assert strays(tmp_path) == []
    with pytest.raises(RuntimeError), outputs.claim(tmp_path / "c/d/model", overwrite=False):
        raise RuntimeError
    assert not (tmp_path / "c").exists()
    with outputs.claim(target, overwrite=False):
        write_folder(target, NEW)
    assert content(tmp_path) == {f"a/b/model/{name}": data for name, data in NEW.items()}


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert filesystem.file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")
    with pytest.raises(NotFoundError, match="absent"):
        filesystem.file_sha256(tmp_path / "absent")
    with pytest.raises(FileError, match="[Dd]irectory"):
        filesystem.file_sha256(tmp_path)
