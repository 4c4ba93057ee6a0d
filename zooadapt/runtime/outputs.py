"""Output folders: refused before any work, held by one run, filled as a whole or not at all.

A new folder is made beside its target and takes the target's place by rename. A folder that no
rename can take the place of (a mount point, the working folder, a link to an empty folder, one
whose parent may not be written to) is filled in place: what is new is completed in a hidden folder
inside, then moved file by file, `config.json` last. A move that is cut short is finished by the
next process that looks there (`fsops.recover`).
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
    """A folder to fill, which becomes `target` when the block succeeds and is gone when it fails.

    With `overwrite` a model's folder is replaced once the new one is safe on disk; an empty folder
    is filled without it.
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
                _take_place(stage, target, overwrite=overwrite)


def check_output(target: Path, *, overwrite: bool) -> None:
    """Fail now rather than after an hour's work where `new_folder` would.

    Raises: OutputError when `target` exists and may not be replaced, or its folder cannot be
    written to; FileError when the disk refuses.
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
    """Fail now where `fsops.write_file` would, or would take the place of what is no file.

    Raises: OutputError, and as `check_output`."""
    if os.path.lexists(path) and not path.is_file():
        raise OutputError(f"'{path}' is no file", thing=str(path), remedy="choose another output")
    check_output(path, overwrite=True)


@contextmanager
def claim(target: Path, *, overwrite: bool) -> Iterator[str]:
    """Hold an output for this run alone, from before its work until it is written; of several
    processes of one run the main one holds it. No trace of that is left. Yields a note where the
    file system has no locks, else nothing.

    Raises: as `check_output`; TryAgainError naming the process that holds it.
    """
    check_output(target, overwrite=overwrite)
    if not distributed.is_main():
        yield ""
        return
    inside = in_place(target)
    folder = target.absolute() if inside else target.absolute().parent
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    name = f"{HIDDEN}{filesystem.tag(target, inside=inside)}.lock"
    try:
        with locks.lock(folder / name, what=f"output '{target}'") as note:
            _check_replaceable(target, overwrite=overwrite)  # another run may just have ended
            yield note
    finally:
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


def companion(target: Path, kind: str) -> Path:
    """Where something lies that goes with an output while it is made, such as a checkpoint: beside
    the output, or inside of one that is filled in place."""
    if in_place(target):
        return target / f"{HIDDEN}{kind}"
    return target.with_name(f"{target.name}.{kind}")


def in_place(target: Path) -> bool:
    """Whether an output has to be filled where it is, since no rename can take its place.

    Raises: as `fsops.writing` where it cannot be looked into.
    """
    with writing(target):
        return target.is_dir() and (
            _is_mount(target)
            or (not _entries(target) and (target.is_symlink() or _in_use(target)))
            or any(path.name.startswith(HIDDEN) for path in target.iterdir())
            or not os.access(target.absolute().parent, os.W_OK | os.X_OK)
        )


def _take_place(stage: Path, target: Path, *, overwrite: bool) -> None:
    new = stage / NEW
    if os.path.lexists(target):
        if target.is_dir():
            new.chmod(target.stat().st_mode & 0o7777)
        if overwrite:
            os.rename(target, stage / OLD)
    os.rename(new, target)  # of a folder that is there, only in the place of an empty one
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
        why = f"'{target}' is not a model's folder and will not be replaced"
    else:
        return
    or_replace = ", or --overwrite" if exists and is_model and not in_use else ""
    raise OutputError(why, thing=str(target), remedy=f"choose another output{or_replace}")


def _entries(folder: Path) -> list[str]:
    """What is in a folder beside what file systems and zooadapt itself put there."""
    own = ("lost+found", HIDDEN)
    return [path.name for path in folder.iterdir() if not path.name.startswith(own)]


def _in_use(target: Path) -> bool:
    """Whether the working folder or the user's own lies there."""
    home = os.path.expanduser("~")  # which stays as it is for a user without one
    places = [Path.cwd(), *([Path(home)] if home != "~" else [])]
    return any(place.resolve().is_relative_to(target.resolve()) for place in places)


def _is_mount(folder: Path) -> bool:
    """Whether another file system begins there, or a part of the same one is mounted there."""
    if os.path.ismount(folder):
        return True
    with suppress(OSError):
        where = os.fsencode(folder.resolve())
        escaped = re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % found[0][0], where)
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
        return any(line.split(b" ")[4] == escaped for line in lines)
    return False


def _hub_cache() -> Path:
    """Where huggingface_hub keeps its files, known without importing it."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{cache}/huggingface")
    return Path(os.path.expanduser(os.environ.get("HF_HUB_CACHE", f"{home}/hub")))
