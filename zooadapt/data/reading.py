"""Files read whole, with whatever goes wrong as one typed error that names the file."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from zooadapt.errors import AccessError, DataError, FileError, NotFoundError, ZooadaptError


def read_bytes(path: Path, *, name: str) -> bytes:
    """A file's content. `name` is what messages call it.

    Raises: AccessError, DataError for a file that is gone, FileError when the system fails.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise of_file(error, name) from error


def of_file(error: OSError, name: str) -> ZooadaptError:
    """What failed to read `name`, as the kind of error it is."""
    if isinstance(error, PermissionError):
        return AccessError(
            f"'{name}' may not be read", thing=name, remedy="change its permissions or remove it"
        )
    if isinstance(error, FileNotFoundError):
        return changed(name)
    return FileError(
        f"'{name}' cannot be read: {error.strerror or error}", thing=name, remedy="check the disk"
    )


def changed(name: str) -> DataError:
    """For data that is no longer what it was when the data set was opened."""
    return DataError(
        f"'{name}' changed, or was removed, while it was in use",
        thing=name,
        remedy="leave the data alone during a run, and run it again",
    )


def existing(location: str) -> Path:
    """A path that is there. Raises: NotFoundError; AccessError where one cannot tell."""
    path = Path(location)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"'{location}' is not there",
            thing=location,
            remedy="check the path; hf:ID names a set on the Hub",
        ) from error
    except (OSError, ValueError) as error:
        kind = AccessError if isinstance(error, PermissionError) else NotFoundError
        raise kind(
            f"'{location}' cannot be opened: {getattr(error, 'strerror', None) or error}",
            thing=location,
            remedy="check the path and its permissions",
        ) from error
    return path


def read_text(path: Path, encoding: str) -> str:
    """A text file's content. Raises: as `read_bytes` and `decoded`."""
    return decoded(read_bytes(path, name=path.name), encoding, name=path.name)


def decoded(content: bytes, encoding: str, *, name: str) -> str:
    """The text of a file's content, without a byte order mark.

    Raises: DataError naming the byte that is not in the encoding, or the line with a NUL.
    """
    try:
        utf8 = codecs.lookup(encoding).name == "utf-8"
        text = content.decode("utf-8-sig" if utf8 else encoding)
        text.encode()
    except UnicodeDecodeError as error:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise DataError(
            f"'{name}' is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}",
            thing=name,
            remedy=f"name its encoding, for example --encoding {'utf-16' if wide else 'latin-1'}",
        ) from error
    except UnicodeError as error:
        raise DataError(
            f"'{name}' is not {encoding}: {error}", thing=name, remedy="--encoding utf-8"
        ) from error
    except LookupError as error:
        raise DataError(
            f"there is no encoding '{encoding}'", thing=encoding, remedy="--encoding utf-8"
        ) from error
    if "\0" in text:
        raise DataError(
            f"'{name}' holds a NUL byte in line {line_at(text, text.index(chr(0)))}",
            thing=name,
            remedy="remove it, or, if the file is UTF-16, --encoding utf-16",
        )
    return text


def line_at(text: str, position: int) -> int:
    """The number, from 1, of the line that holds the character at `position`."""
    return 1 + text.count("\n", 0, position)


def lines_of(text: str) -> list[str]:
    """The lines of a text, ended by LF or CRLF and by nothing else: a form feed or U+2028 is part
    of its line."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
