"""Every change to a file: into a temporary place beside it, fsync, rename, fsync of the folder.

A reader sees the old file or folder or the complete new one, whatever dies and when. What a killed
process leaves is held by no lock any more and is removed by the next one with the same target; of
a single file only what is an hour old, since hosts that share it may not see each other's locks.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout, lock_descriptor

from zooadapt import processes
from zooadapt.errors import (
    AccessError,
    FileError,
    NotFoundError,
    OutputError,
    TryAgainError,
    ZooadaptError,
)

ABANDONED = 3600.0
"""Seconds after which nobody is still writing a file."""
_STAGE = ".zooadapt-"
_NEW, _OLD = "new", "old"
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL, errno.EBUSY,
}  # fmt: skip


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, as a whole or not at all; its mode is what the umask says.

    Raises: OutputError when the place cannot be written to, FileError when writing fails.
    """
    with replacing(path) as new, writing(path):
        new.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """`write_file` of `json_bytes`.

    Raises: as they do.
    """
    write_file(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Sorted, indented JSON: equal values give equal bytes. Raises: ValueError for NaN and
    infinities."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    # A lone surrogate (a name that was no UTF-8) becomes \udcxx, which is JSON's own spelling.
    return text.encode("utf-8", "backslashreplace") + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file at, which takes the place of `path` when the block succeeds.

    Raises: as `write_file`.
    """
    recover(path, older=ABANDONED)
    with staging(path) as stage:
        new = stage / _NEW
        yield new
        with writing(path):
            new.chmod(stage.stat().st_mode & 0o666)
            _fsync(new)
            os.replace(new, path)
            _fsync(path.parent)


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block succeeds and is gone when it fails.

    With `overwrite` an existing folder is swapped out by rename once the new one is safe on disk.
    Raises: OutputError when `target` exists and may not be replaced, lies in the Hub's cache or
    cannot be created; FileError when writing fails.
    """
    recover(target)
    _check_replaceable(target, overwrite=overwrite)
    with staging(target) as stage:
        new = stage / _NEW
        with writing(target):
            new.mkdir()
        yield new
        with writing(target):
            for folder, _, files in os.walk(new, topdown=False):
                for name in files:
                    _fsync(Path(folder, name))
                _fsync(Path(folder))
            if overwrite and os.path.lexists(target):
                os.rename(target, stage / _OLD)
            os.rename(new, target)
            _fsync(target.parent)


def check_output(target: Path, *, overwrite: bool) -> None:
    """Fail now rather than after an hour's work where `new_folder` would.

    Raises: OutputError when `target` exists and may not be replaced, or its folder cannot be
    written to; FileError when the disk refuses.
    """
    recover(target)
    _check_replaceable(target, overwrite=overwrite)
    existing = target.absolute().parent
    while not os.path.lexists(existing):
        existing = existing.parent
    probe = existing / f"{_STAGE}{secrets.token_hex(8)}"
    with writing(target):
        probe.mkdir()
        probe.rmdir()


def check_output_file(path: Path) -> None:
    """Fail now where `write_file` would, or would take the place of what is no file.

    Raises: OutputError, and as `check_output`."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(f"'{path}' is no file", thing=str(path), remedy="choose another output")
    check_output(path, overwrite=True)


def recover(target: Path, *, older: float = -math.inf) -> None:
    """Undo what a killed process left of a change to `target`, if that is `older` than so many
    seconds; harmless at any time."""
    with suppress(OSError):
        for stage in list(target.absolute().parent.glob(f"{_STAGE}{_tag(target)}-*")):
            fd = os.open(stage, os.O_RDONLY)
            try:
                old = time.time() - os.fstat(fd).st_mtime > older
                if old and lock_descriptor(fd, blocking=False):
                    _clear(stage, target)
            finally:
                os.close(fd)


@contextmanager
def lock(path: Path, *, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock that dies with this process; wait for it at most `wait` seconds.

    Raises: TryAgainError naming the process that holds it; OutputError when the lock's file cannot
    be made.
    """
    holder = FileLock(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            holder.acquire(timeout=wait)
        except Timeout:
            by = ""
            with suppress(FileNotFoundError):  # it may have ended since
                by = path.read_text(errors="replace")[:20].strip()
            raise TryAgainError(
                f"{what} is in use by process {by or '(unknown)'}",
                thing=what,
                remedy="wait for it to end and run the command again",
            ) from None
        path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for this file is told and takes a new one
        holder.release()


@contextmanager
def claim(target: Path, *, overwrite: bool) -> Iterator[None]:
    """Hold an output for this run alone, from before its work until it is written; of several
    processes of one run the main one holds it. No trace of that is left.

    Raises: as `check_output`; TryAgainError naming the process that holds it.
    """
    check_output(target, overwrite=overwrite)
    if not processes.is_main():
        yield
        return
    folder = target.absolute().parent
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        with lock(folder / f"{_STAGE}{_tag(target)}.lock", what=f"output '{target}'"):
            _check_replaceable(target, overwrite=overwrite)  # another run may just have ended
            yield
    finally:
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


def cache_home() -> Path:
    """Where zooadapt keeps what can be made again: `ZOOADAPT_CACHE`, or the platform's folder."""
    chosen = os.environ.get("ZOOADAPT_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("zooadapt")


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content. Raises: as `reading`."""
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's failures to read `path` into typed errors.

    Raises: NotFoundError, AccessError or FileError.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no file '{path}'", thing=str(path), remedy="check the path"
        ) from error
    except PermissionError as error:
        raise AccessError(
            f"'{path}' cannot be read: permission denied",
            thing=str(path),
            remedy="check the file's owner and mode",
        ) from error
    except OSError as error:
        raise FileError(f"'{path}' cannot be read: {error.strerror}", thing=str(path)) from error


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn the system's failures to write `target` into typed errors.

    Raises: OutputError when the place cannot be written to, FileError when writing fails.
    """
    try:
        yield
    except OSError as error:
        raise _typed(target, error) from error


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A private folder beside `target`, locked for as long as this process uses it; it goes with
    what is left in it.

    Raises: OutputError or FileError when it cannot be made or removed.
    """
    parent = target.absolute().parent
    with writing(target):
        parent.mkdir(parents=True, exist_ok=True)
        stage, fd = _make_stage(parent, _tag(target))
    try:
        yield stage
    except BaseException:
        with suppress(OSError):
            _clear(stage, target)
        raise
    else:
        with writing(target):
            _clear(stage, target)
    finally:
        os.close(fd)


def _clear(stage: Path, target: Path) -> None:
    if (stage / _OLD).exists() and not os.path.lexists(target):
        os.rename(stage / _OLD, target)
    shutil.rmtree(stage)


def _make_stage(parent: Path, tag: str) -> tuple[Path, int]:
    while True:
        stage = parent / f"{_STAGE}{tag}-{secrets.token_hex(8)}"
        stage.mkdir()
        with suppress(FileNotFoundError):
            fd = os.open(stage, os.O_RDONLY)
            # A file system without locks: nobody can lock it, so nobody takes it for an orphan.
            with suppress(OSError):
                lock_descriptor(fd, blocking=False)
            if os.fstat(fd).st_nlink and stage.exists():
                return stage, fd
            os.close(fd)


def _tag(target: Path) -> str:
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    with writing(target):
        where = target.resolve()
        exists = os.path.lexists(target)
        in_cache = where.is_relative_to(_hub_cache().resolve())
        in_use = any(place.resolve().is_relative_to(where) for place in (Path.cwd(), Path.home()))
        is_model = not target.is_dir() or not any(target.iterdir())
        is_model = is_model or (target / "config.json").exists()
    if in_cache:
        why = f"'{target}' lies in the Hub's cache"
    elif exists and not overwrite:
        why = f"output '{target}' exists"
    elif exists and (in_use or not is_model):
        why = f"'{target}' is not a model's folder and will not be replaced"
    else:
        return
    or_replace = ", or --overwrite" if exists and is_model and not in_use else ""
    raise OutputError(why, thing=str(target), remedy=f"choose another output{or_replace}")


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its files, known without importing it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{cache}/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _typed(target: Path, error: OSError) -> ZooadaptError:
    why = error.strerror or str(error)
    if error.errno in _REFUSED:
        return OutputError(
            f"cannot create '{target}': {why}", thing=str(target), remedy="choose another output"
        )
    with suppress(OSError):
        existing = next(p for p in target.absolute().parents if p.exists())
        why += f" ({shutil.disk_usage(existing).free / 1e6:,.1f} MB free)"
    return FileError(
        f"cannot write '{target}': {why}",
        thing=str(target),
        remedy="make room or choose another disk; what was there before is intact",
    )
