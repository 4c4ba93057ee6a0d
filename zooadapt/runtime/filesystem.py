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
from filelock import lock_descriptor

from zooadapt.errors import AccessError, FileError, NotFoundError, OutputError, ZooadaptError

ABANDONED = 3600.0
"""Seconds after which nobody is still writing a file."""
HIDDEN = ".zooadapt-"
"""How names of what is only there while something is written begin."""
NEW, OLD = "new", "old"
_READY, _FILLING = "ready", "filling"
_INSIDE = "inside"
_LAST = "config.json"
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
        new = stage / NEW
        yield new
        with writing(path):
            new.chmod(stage.stat().st_mode & 0o666)
            sync(new)
            os.replace(new, path)
            sync(path.parent)


def recover(target: Path, *, older: float = -math.inf) -> None:
    """Undo what a killed process left of a change to `target`, if that is `older` than so many
    seconds; harmless at any time."""
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
    """Take the lock of an open folder if nobody holds it. Where the file system has no locks, a
    folder is free that nothing was done to for an hour."""
    try:
        return lock_descriptor(fd, blocking=False)
    except OSError:
        return age(fd) > ABANDONED


def age(fd: int) -> float:
    """Seconds since an open file or folder was changed."""
    return time.time() - os.fstat(fd).st_mtime


def fill(stage: Path, target: Path) -> None:
    """Put what a staging folder inside `target` holds as new in the place of all that is in
    `target`, file by file, `config.json` last. From the first move on it is only ever finished,
    if not by this process then by `recover`."""
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
def staging(target: Path, *, inside: bool = False) -> Iterator[Path]:
    """A private folder beside `target`, or inside of it, locked for as long as this process uses
    it; it goes with what is left in it.

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
            # A file system without locks: nobody can lock it, so nobody takes it for an orphan.
            with suppress(OSError):
                lock_descriptor(fd, blocking=False)
            if os.fstat(fd).st_nlink and stage.exists():
                return stage, fd
            os.close(fd)


def tag(target: Path, *, inside: bool = False) -> str:
    """What names of hidden files that belong to `target` have in them; inside of it they do not
    depend on its own name, which may be another on another machine."""
    if inside:
        return _INSIDE
    return hashlib.sha256(os.fsencode(target.absolute().name)).hexdigest()[:16]


def sync_folder(folder: Path) -> None:
    """See that a folder and all below it is on disk. Raises: OSError when the disk fails."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(place, name))
        sync(Path(place))


def sync(path: Path) -> None:
    """See that a file, or the names in a folder, are on disk. Raises: OSError when it fails."""
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
