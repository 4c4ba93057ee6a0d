"""`config.json` and safetensors files as data, bounded and checked before their use.

Nothing here runs, imports or opens what a file names, and no other weight format is read.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError
from zooadapt.runtime import filesystem

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_CONFIG_BYTES = 1_000_000
MAX_NAMED_BYTES = 32_000_000
NAME_BYTES = 1000  # added to the limit for each value, such as a class name
MAX_HEADER_BYTES = 10_000_000
MAX_TENSORS = 100_000
MAX_DEPTH = 32
MAX_VALUES = 12 * MAX_TENSORS
"""Separators in a JSON text: a header has eleven for each tensor of four dimensions."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".tar")
_RUNS_CODE = {"auto_map", "custom_pipelines", "trust_remote_code"}
_NAMES_FILE = re.compile(r"(^|_)(file|filename|path)$")
_UNREAD = {"_name_or_path", "name_or_path"}
_AGAIN = "get the source again, or another revision of it"


def read_config(path: Path) -> dict[str, Any]:
    """A `config.json` as plain data: an object of at most 1 MB plus `NAME_BYTES` for each value and
    32 levels, with finite numbers and unique keys.

    Raises: DataError naming the key that is malformed, asks to run the source's code or names a
    file outside of the source; NotFoundError, AccessError or FileError when it cannot be read.
    """
    return parse_config(_read(path, MAX_NAMED_BYTES), path)


def parse_config(data: bytes, path: Path) -> dict[str, Any]:
    """What `read_config` returns for a file at `path` with this content. Raises: DataError."""
    limit = min(MAX_CONFIG_BYTES + NAME_BYTES * _separators(data), MAX_NAMED_BYTES)
    if len(data) > limit:
        raise _bad(path, path.name, f"has more than {limit:,} bytes")
    config = _parse(data, path)
    _check_config(config, path, (), "")
    return config


def choose(names: Collection[str], *, where: str) -> str:
    """The file of a source that holds its weights: a safetensors file or the index of several.

    Raises: DataError when the source has no weights, or only in formats that can run code.
    """
    for name in (WEIGHTS, INDEX):
        if name in names:
            return name
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        raise DataError(
            f"'{where}' has no {WEIGHTS}, only {pickles[0]}, a format that can run code when it is "
            "loaded and is never opened here",
            thing=pickles[0],
            remedy="use a revision or copy of it with safetensors, or convert it on "
            "https://huggingface.co/spaces/safetensors/convert",
        )
    raise DataError(f"'{where}' has no {WEIGHTS}", thing=where, remedy="choose another source")


def shards(index: Path) -> dict[str, frozenset[str]]:
    """The weight files of a sharded model, each with the names of its tensors.

    Raises: DataError when the index is malformed or names a file outside its folder.
    """
    text = _read(index, MAX_HEADER_BYTES)
    if (count := text.count(b'.safetensors"')) > MAX_TENSORS:
        raise _bad(index, "weight_map", f"names {count:,} tensors, more than {MAX_TENSORS:,}")
    places = _parse(text, index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise _bad(index, "weight_map", "is not an object of tensor names and file names")
    parts: dict[str, set[str]] = {}
    for name, file in places.items():
        if not (isinstance(file, str) and _is_plain(file) and file.endswith(".safetensors")):
            raise _bad(index, name, f"lies in {file!r}, which is not a safetensors file beside it")
        parts.setdefault(file, set()).add(name)
    return {file: frozenset(names) for file, names in sorted(parts.items())}


def read_weights(folder: Path, *, folders: Collection[str] = ()) -> Mapping[str, Tensor]:
    """Every tensor of a model's folder, memory-mapped and finite; those of a `model.safetensors` in
    one of its `folders` are named `FOLDER/NAME`.

    Raises: DataError naming the tensor or file that is malformed, truncated, missing, named with
    control characters, or holds NaN or an infinity; NotFoundError, AccessError or FileError when
    it cannot be read.
    """
    with filesystem.reading(folder):
        names = {entry.name for entry in folder.iterdir()}
    tensors: dict[str, Tensor] = {}
    for inner in folders:
        if (folder / inner / WEIGHTS).exists():
            part = _read_file(folder / inner / WEIGHTS)
            tensors |= {f"{inner}/{name}": tensor for name, tensor in part.items()}
    chosen = choose(names, where=str(folder))
    if chosen == WEIGHTS:
        return tensors | _read_file(folder / WEIGHTS)
    for file, expected in shards(folder / INDEX).items():
        part = _read_file(folder / file)
        if wrong := sorted(part.keys() ^ expected):
            has = "has it" if wrong[0] in part else "lacks it"
            raise _bad(folder / file, wrong[0], f"is not where {INDEX} says: this file {has}")
        tensors |= part
    return tensors


def write_model(
    folder: Path, tensors: Mapping[str, Tensor], *, folders: Collection[str] = ()
) -> None:
    """Write tensors that `read_weights` reads with the same `folders`.

    Raises: OutputError or FileError when writing fails.
    """
    parts: dict[str, dict[str, Tensor]] = {"": {}}
    for name, tensor in tensors.items():
        inner, slash, rest = name.partition("/")
        subfolder, key = (inner, rest) if slash and inner in folders else ("", name)
        parts.setdefault(subfolder, {})[key] = tensor
    for subfolder, part in parts.items():
        with filesystem.writing(folder / subfolder):
            (folder / subfolder).mkdir(exist_ok=True)
        write_weights(folder / subfolder / WEIGHTS, part)


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, as a whole or not at all. Its bytes depend on names and values.

    Tensors that share memory are written in full, so that every name can be loaded strictly.
    Raises: OutputError or FileError when writing fails.
    """
    from safetensors.torch import save_file

    owners: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in owners or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        owners.add(tensor.untyped_storage().data_ptr())
        plain[name] = tensor
    with filesystem.replacing(path) as new, filesystem.writing(path), _library_errors(path):
        # Two metadata keys would be written in random order.
        save_file(plain, new, metadata={"format": "pt"})


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `write_weights` writes tensors, without torch.

    Raises: OutputError or FileError when writing fails.
    """
    from safetensors.numpy import save_file

    with filesystem.replacing(path) as new, filesystem.writing(path), _library_errors(path):
        save_file(dict(sorted(arrays.items())), new, metadata={"format": "pt"})


def _read_file(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors.torch import load_file

    check_header(path)
    with filesystem.reading(path), _library_errors(path):
        tensors = load_file(path)
    for name, tensor in tensors.items():
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # float8 has no isfinite
        if tensor.is_floating_point() and not torch.isfinite(wide).all():
            raise _bad(path, name, "holds NaN or an infinity")
    return tensors


def check_header(path: Path) -> None:
    """Check that a file is valid safetensors, and what the library does not check: sizes, duplicate
    keys, characters of names. Needs no torch.

    Raises: DataError naming the tensor at fault; NotFoundError, AccessError or FileError when the
    file cannot be read.
    """
    from safetensors import safe_open

    with filesystem.reading(path), path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > max(MAX_HEADER_BYTES, size - 8):
            raise _bad(path, "header", "is missing: this is not a safetensors file")
        if length > MAX_HEADER_BYTES:
            raise _bad(path, "header", f"has {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
        text = file.read(length)
    # Counted in the text: parsing a header of more tensors than the limit takes seconds.
    count = text.count(b'"data_offsets"')
    header = {} if count > MAX_TENSORS else _parse(text, path)
    if (count := max(count, len(header))) > MAX_TENSORS:
        raise _bad(path, "header", f"names {count:,} tensors, more than {MAX_TENSORS:,}")
    end = 0
    for name, entry in header.items():
        if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name):
            raise _bad(path, name, "has control characters in its name")
        if name != "__metadata__":
            offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
            if not (isinstance(offsets, list) and all(isinstance(k, int) for k in offsets)):
                raise _bad(path, name, "has no data_offsets")
            end = max(end, *offsets, 0)
    if 8 + length + end > size:
        raise _bad(path, "data", f"is cut off: {size:,} of {8 + length + end:,} bytes are there")
    with filesystem.reading(path), _library_errors(path), safe_open(path, "numpy"):
        pass  # opening it checks types, shapes, gaps and overlaps; no tensor is read


def _check_config(value: Any, path: Path, within: tuple[str, ...], key: str) -> None:
    """`key`: the nearest key above `value`; `within`: all keys and list positions above it."""
    dotted = ".".join(within)
    if len(within) >= MAX_DEPTH:
        raise _bad(path, dotted, f"is nested more than {MAX_DEPTH} levels deep")
    if key in _RUNS_CODE and value:
        raise _bad(path, dotted, "asks to run code of the source, which zooadapt never does")
    if isinstance(value, str) and value and _NAMES_FILE.search(key) and key not in _UNREAD:
        if not _is_plain(value):
            raise _bad(path, dotted, f"names {value!r}, which is not a file of the source")
        if value.endswith(".py"):
            raise _bad(path, dotted, f"names {value!r}, code that comes with the source")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_config(inner, path, (*within, name), name)
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            _check_config(inner, path, (*within, str(k)), key)


def _is_plain(name: str) -> bool:
    return Path(name).name == name and not re.search(r"[/\\:\0]", name) and name not in ("", "..")


def _read(path: Path, limit: int) -> bytes:
    with filesystem.reading(path), path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _bad(path, path.name, f"has more than {limit:,} bytes")
    return data


def _separators(data: bytes) -> int:
    return data.count(b":") + data.count(b",")


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            raise _bad(path, next(n for n in counts if counts[n] > 1), "is there twice")
        return entries

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise _bad(path, text, "is not a finite number")
        return number

    def whole(text: str) -> int:
        if len(text) > 20:
            raise _bad(path, f"{text[:20]}…", "is too large a number")
        return int(text)

    if (count := _separators(data)) > MAX_VALUES:
        raise _bad(path, "JSON", f"holds {count:,} values or more, the limit is {MAX_VALUES:,}")
    try:
        parsed = json.loads(
            data, object_pairs_hook=unique, parse_float=finite, parse_int=whole,
            parse_constant=finite,
        )  # fmt: skip
    except RecursionError:
        raise _bad(path, "JSON", f"is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise DataError(
            f"'{path}' is not valid JSON: {error}", thing=str(path), remedy=_AGAIN
        ) from error
    if not isinstance(parsed, dict):
        raise DataError(f"'{path}' is not a JSON object", thing=str(path), remedy=_AGAIN)
    return parsed


@contextmanager
def _library_errors(path: Path) -> Iterator[None]:
    """Raise the safetensors library's error as a DataError, or as the OSError that it wraps."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if system := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(system[1]), str(error)) from error
        raise DataError(
            f"'{path}' is not valid safetensors: {error}", thing=str(path), remedy=_AGAIN
        ) from error


def _bad(path: Path, thing: str, why: str) -> DataError:
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in thing[:200])
    return DataError(f"'{path}': '{name}' {why}", thing=name, remedy=_AGAIN)
