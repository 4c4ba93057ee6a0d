"""Files read whole; every failure is one typed error that names the file."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from pathlib import Path

from zooadapt.errors import AccessError, DataError, FileError, NotFoundError, ZooadaptError

AUTO = "auto"
"""The encoding by the byte order mark or by zero bytes, else UTF-8."""
GZIP = ".gz"
_MAX_UNPACKED = 1 << 31
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
          codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
_SAMPLE = 4096


def read_bytes(path: Path, *, name: str) -> bytes:
    """A file's content. `name` is its name in messages.

    Raises: AccessError; DataError for a file that was removed; FileError when the system fails.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise file_error(error, name) from error


def file_error(error: OSError, name: str) -> ZooadaptError:
    """The typed error for a failure to read `name`."""
    if isinstance(error, PermissionError):
        return AccessError(
            f"'{name}' may not be read", thing=name, remedy="change its permissions or remove it"
        )
    if isinstance(error, FileNotFoundError):
        return changed_error(name)
    return FileError(
        f"'{name}' cannot be read: {error.strerror or error}", thing=name, remedy="check the disk"
    )


def changed_error(name: str) -> DataError:
    """The error for data that changed after the data set was opened."""
    return DataError(
        f"'{name}' changed, or was removed, while it was in use",
        thing=name,
        remedy="leave the data alone during a run, and run it again",
    )


def existing(location: str) -> Path:
    """The path of a location that exists. Raises: NotFoundError; AccessError."""
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


def read_text(path: Path, encoding: str, notes: list[str], *, name: str = "") -> str:
    """A text file's content, unpacked if its name ends with `.gz`, with a note on a detected
    encoding. `name` is its name in messages, by default the file's own.

    Raises: as `read_bytes` and `decode_text`; DataError for a file that cannot be unpacked.
    """
    name = name or path.name
    content = read_bytes(path, name=name)
    if path.suffix.lower() == GZIP:
        content = _unpack(content, name)
    return decode_text(content, encoding, name=name, notes=notes)


def decode_text(content: bytes, encoding: str, *, name: str, notes: list[str]) -> str:
    """The text of a file's content, without a byte order mark, with a note on a detected encoding.

    Raises: DataError naming the byte that is not in the encoding, or the line with a NUL.
    """
    if encoding == AUTO:
        encoding, why = _encoding_of(content)
        if why:
            notes.append(f"{name} is read as {encoding} ({why}); --encoding overrules")
    try:
        utf8 = codecs.lookup(encoding).name == "utf-8"
        text = content.decode("utf-8-sig" if utf8 else encoding)
        text.encode()
    except UnicodeDecodeError as error:
        likely, reads = _likely_encoding(content, error.start)
        raise DataError(
            f"'{name}' is not {encoding}: byte {error.start} is 0x{content[error.start]:02x}"
            + (f"; as {likely} the text there is '{reads}'" if reads else ""),
            thing=name,
            remedy=f"--encoding {likely}" if likely else "name its encoding, --encoding NAME",
            options=("--encoding", likely) if likely else (),
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


def _encoding_of(content: bytes) -> tuple[str, str]:
    """The encoding that the bytes determine, and the reason if it is not plain UTF-8."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding, "its byte order mark"
    sample = content[: min(len(content), _SAMPLE) // 2 * 2]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) // 4 and min(even, odd) == 0:
        return ("utf-16-be" if even else "utf-16-le"), "every other byte of it is zero"
    return "utf-8", ""


def _likely_encoding(content: bytes, position: int) -> tuple[str, str]:
    """A proposal for bytes that are no UTF-8, and the text at `position` by it. The bytes 80 to 9f
    are quotes, dashes and the euro sign in cp1252, and control characters in latin-1."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", ""
    encoding = "cp1252" if any(0x80 <= byte <= 0x9F for byte in content) else "latin-1"
    context = content[max(0, position - 12) : position + 12]
    lines = context.replace(b"\r", b"\n").split(b"\n")
    reads = next(line for line in lines if any(byte >= 0x80 for byte in line))
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return "", ""
    return encoding, reads.decode(encoding)


def _unpack(content: bytes, name: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(_MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"'{name}' is no whole gzip file: {error}", thing=name, remedy="pack it again"
        ) from error
    if len(unpacked) > _MAX_UNPACKED:
        raise DataError(
            f"'{name}' holds more than {_MAX_UNPACKED:,} bytes",
            thing=name,
            remedy="unpack it and take a part of it",
        )
    return unpacked


def line_at(text: str, position: int) -> int:
    """The number, from 1, of the line that holds the character at `position`."""
    return 1 + text.count("\n", 0, position)


def lines_of(text: str) -> list[str]:
    """The lines of a text, ended by LF or CRLF only: a form feed or U+2028 is part of its line."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
