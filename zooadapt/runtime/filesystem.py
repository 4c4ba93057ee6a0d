"""Atomic changes of files: written to a temporary place beside the target, synced and renamed.

A reader sees the old file or folder or the complete new one, whichever process dies and when. The
next process with the same target removes what a killed one left, which no lock protects any more.
Of a single file it removes only what is an hour old: hosts may not see each other's locks.
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
from filelock import lock_descriptor

from zooadapt.errors import AccessError, FileError, NotFoundError, OutputError, ZooadaptError

ABANDONED = 3600.0
"""Seconds without a change after which a file counts as abandoned by its writer."""
HIDDEN = ".zooadapt-"
"""Prefix of the names of temporary files and folders."""
NEW, OLD = "new", "old"
_READY, _FILLING = "ready", "filling"
_INSIDE = "inside"
_LAST = "config.json"
_REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL, errno.EBUSY,
}  # fmt: skip


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, as a whole or not at all; the umask determines its mode.

    Raises: OutputError when the place cannot be written to, FileError when writing fails.
    """
    with replacing(path) as new, writing(path):
        new.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `json_bytes(value)` by `write_file`.

    Raises: as these.
    """
    write_file(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Sorted, indented JSON: equal values give equal bytes. Raises: ValueError for NaN and
    infinity."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    # A lone surrogate (of a name that is not UTF-8) becomes \udcxx, JSON's own escape.
    return text.encode("utf-8", "backslashreplace") + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file to, which replaces `path` when the block succeeds.

    Raises: as `write_file`.
    """
    recover(path, older=ABANDONED)
    with staging(path) as stage:
        new = stage / NEW
        yield new
        with writing(path):
            new.chmod(stage.stat().st_mode & 0o666)
            sync(new)
            os.replace(new, path)
            sync(path.parent)


def recover(target: Path, *, older: float = -math.inf) -> None:
    """Undo or finish a killed process's change of `target` that is `older` than so many seconds;
    safe at any time."""
    with suppress(OSError):
        beside = target.absolute().parent.glob(f"{HIDDEN}{tag(target)}-*")
        for stage in [*beside, *target.glob(f"{HIDDEN}{_INSIDE}-*")]:
            fd = os.open(stage, os.O_RDONLY)
            try:
                if age(fd) > older and is_free(fd):
                    _clear(stage, target)
            finally:
                os.close(fd)


def is_free(fd: int) -> bool:
    """Take the lock of an open folder unless a process holds it; whether it was free. Where the
    file system has no locks, a folder is free that did not change for an hour."""
    try:
        return lock_descriptor(fd, blocking=False)
    except OSError:
        return age(fd) > ABANDONED


def age(fd: int) -> float:
    """Seconds since the last change of an open file or folder."""
    return time.time() - os.fstat(fd).st_mtime


def fill(stage: Path, target: Path) -> None:
    """Replace the content of `target` by the new content in a staging folder inside it, file by
    file, `config.json` last. After the first move the change can only be completed, by this process
    or by `recover`."""
    os.rename(stage / NEW, stage / _READY)
    sync(stage)
    _finish(stage, target)


def _finish(stage: Path, target: Path) -> None:
    ready, filling, old = stage / _READY, stage / _FILLING, stage / OLD
    if ready.exists():
        old.mkdir(exist_ok=True)
        for path in sorted(target.iterdir(), key=lambda path: path.name != _LAST):
            if not path.name.startswith((HIDDEN, "lost+found")):
                os.rename(path, old / path.name)
        sync(target)
        os.rename(ready, filling)
        sync(stage)
    for path in sorted(filling.iterdir(), key=lambda path: path.name == _LAST):
        if path.name == _LAST:
            sync(target)
        os.rename(path, target / path.name)
    sync(target)


def cache_home() -> Path:
    """The cache folder, whose content can be made again: `ZOOADAPT_CACHE` or the platform's."""
    chosen = os.environ.get("ZOOADAPT_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("zooadapt")


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's content. Raises: as `reading`."""
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder and below it."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise the system's failures to read `path` as typed errors.

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
    """Raise the system's failures to write `target` as typed errors.

    Raises: OutputError when the place cannot be written to, FileError when writing fails.
    """
    try:
        yield
    except OSError as error:
        raise _typed(target, error) from error


@contextmanager
def staging(target: Path, *, inside: bool = False) -> Iterator[Path]:
    """A private folder beside `target` or inside it, locked while the block runs and removed with
    its content afterwards.

    Raises: OutputError or FileError when it cannot be made or removed.
    """
    parent = target.absolute() if inside else target.absolute().parent
    with writing(target):
        parent.mkdir(parents=True, exist_ok=True)
        stage, fd = _make_stage(parent, tag(target, inside=inside))
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
    if (stage / _READY).exists() or (stage / _FILLING).exists():
        _finish(stage, target)
    elif (stage / OLD).exists() and not os.path.lexists(target):
        os.rename(stage / OLD, target)
    shutil.rmtree(stage)


def _make_stage(parent: Path, tag: str) -> tuple[Path, int]:
    while True:
        stage = parent / f"{HIDDEN}{tag}-{secrets.token_hex(8)}"
        stage.mkdir()
        with suppress(FileNotFoundError):
            fd = os.open(stage, os.O_RDONLY)
            # Where the file system has no locks, no process takes a new folder for abandoned.
            with suppress(OSError):
                lock_descriptor(fd, blocking=False)
            if os.fstat(fd).st_nlink and stage.exists():
                return stage, fd
            os.close(fd)


def tag(target: Path, *, inside: bool = False) -> str:
    """The part of the names of hidden files that identifies `target`. Inside of `target` it does
    not depend on the folder's name, which may differ between machines."""
    if inside:
        return _INSIDE
    return hashlib.sha256(os.fsencode(target.absolute().name)).hexdigest()[:16]


def sync_folder(folder: Path) -> None:
    """Sync a folder and everything below it to disk. Raises: OSError when the disk fails."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk. Raises: OSError when the disk fails."""
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
        remedy="make room or choose another disk; the earlier content is intact",
    )
