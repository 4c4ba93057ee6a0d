"""Output folders: checked before any work, locked by one run, filled as a whole or not at all.

A new folder is written beside its target and renamed to it. A folder that no rename can replace (a
mount point, the working folder, a link to an empty folder, one whose parent is read-only) is filled
in place: the new content is completed in a hidden folder inside, then moved file by file,
`config.json` last. The next process with this target finishes an interrupted move
(`filesystem.recover`).
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zooadapt.errors import OutputError
from zooadapt.runtime import distributed, filesystem, locks
from zooadapt.runtime.filesystem import HIDDEN, NEW, OLD, writing


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block succeeds and is removed otherwise.

    With `overwrite` it replaces a model's folder once it is synced to disk; an empty folder is
    filled without `overwrite`.
    Raises: OutputError when `target` exists and may not be replaced, lies in the Hub's cache or
    cannot be created; FileError when writing fails.
    """
    filesystem.recover(target)
    _check_replaceable(target, overwrite=overwrite)
    inside = in_place(target)
    with filesystem.staging(target, inside=inside) as stage:
        new = stage / NEW
        with writing(target):
            new.mkdir()
        yield new
        with writing(target):
            filesystem.sync_folder(new)
            if inside:
                filesystem.fill(stage, target)
            else:
                _replace(stage, target, overwrite=overwrite)


def check_output(target: Path, *, overwrite: bool) -> None:
    """Fail before the work where `new_folder` would fail after it.

    Raises: OutputError when `target` exists and may not be replaced, or its folder cannot be
    written to; FileError when the disk fails.
    """
    filesystem.recover(target)
    _check_replaceable(target, overwrite=overwrite)
    existing = target.absolute() if in_place(target) else target.absolute().parent
    while not os.path.lexists(existing):
        existing = existing.parent
    probe = existing / f"{HIDDEN}{secrets.token_hex(8)}"
    with writing(target):
        probe.mkdir()
        probe.rmdir()


def check_output_file(path: Path) -> None:
    """Fail before the work where `filesystem.write_file` would fail, or `path` is not a file.

    Raises: OutputError, and as `check_output`."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(
            f"'{path}' is not a file", thing=str(path), remedy="choose another output"
        )
    check_output(path, overwrite=True)


@contextmanager
def claim(target: Path, *, overwrite: bool) -> Iterator[str]:
    """Lock an output for this run from before its work until it is written. Of several processes
    of a run the main one holds the lock, and its file is removed at the end. Yields a note where
    the file system has no locks, else an empty text.

    Raises: as `check_output`; TryAgainError naming the process that holds it.
    """
    check_output(target, overwrite=overwrite)
    if not distributed.is_main():
        yield ""
        return
    inside = in_place(target)
    folder = target.absolute() if inside else target.absolute().parent
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    name = f"{HIDDEN}{filesystem.tag(target, inside=inside)}.lock"
    try:
        with locks.lock(folder / name, what=f"output '{target}'") as note:
            _check_replaceable(target, overwrite=overwrite)  # another run may have written it
            yield note
    finally:
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()


def companion(target: Path, kind: str) -> Path:
    """The path of something that accompanies an unfinished output, such as a checkpoint: beside
    the output, or inside one that is filled in place."""
    if in_place(target):
        return target / f"{HIDDEN}{kind}"
    return target.with_name(f"{target.name}.{kind}")


def in_place(target: Path) -> bool:
    """Whether an output has to be filled in place, since no rename can replace it.

    Raises: as `filesystem.writing` when it cannot be read.
    """
    with writing(target):
        return target.is_dir() and (
            _is_mount(target)
            or (not _entries(target) and (target.is_symlink() or _in_use(target)))
            or any(path.name.startswith(HIDDEN) for path in target.iterdir())
            or not os.access(target.absolute().parent, os.W_OK | os.X_OK)
        )


def _replace(stage: Path, target: Path, *, overwrite: bool) -> None:
    new = stage / NEW
    if os.path.lexists(target):
        if target.is_dir():
            new.chmod(target.stat().st_mode & 0o7777)
        if overwrite:
            os.rename(target, stage / OLD)
    os.rename(new, target)  # of existing folders, it replaces empty ones alone
    filesystem.sync(target.absolute().parent)


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    with writing(target):
        exists = os.path.lexists(target)
        is_folder = target.is_dir()
        empty = is_folder and not _entries(target)
        in_cache = target.resolve().is_relative_to(_hub_cache().resolve())
        in_use = _in_use(target)
        is_model = not is_folder or (target / "config.json").exists()
    if in_cache:
        why = f"'{target}' lies in the Hub's cache"
    elif empty or not exists:
        return
    elif not overwrite:
        why = f"output '{target}' exists"
    elif in_use or not is_model:
        why = f"'{target}' is not a model's folder and is never replaced"
    else:
        return
    or_replace = ", or --overwrite" if exists and is_model and not in_use else ""
    raise OutputError(why, thing=str(target), remedy=f"choose another output{or_replace}")


def _entries(folder: Path) -> list[str]:
    """Names in a folder, except those that file systems and zooadapt itself create."""
    own = ("lost+found", HIDDEN)
    return [path.name for path in folder.iterdir() if not path.name.startswith(own)]


def _in_use(target: Path) -> bool:
    """Whether the working folder or the user's home lies in the target."""
    home = os.path.expanduser("~")  # unchanged for a user without a home
    folders = [Path.cwd(), *([Path(home)] if home != "~" else [])]
    return any(folder.resolve().is_relative_to(target.resolve()) for folder in folders)


def _is_mount(folder: Path) -> bool:
    """Whether a file system, or a part of one, is mounted at the folder."""
    if os.path.ismount(folder):
        return True
    with suppress(OSError):
        path = os.fsencode(folder.resolve())
        escaped = re.sub(rb"[ \t\n\\]", lambda match: b"\\%03o" % match[0][0], path)
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        return any(line.split(b" ")[4] == escaped for line in lines)
    return False


def _hub_cache() -> Path:
    """The folder of huggingface_hub's cache, without importing it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{cache}/huggingface")
    return Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE", f"{home}/hub")))
