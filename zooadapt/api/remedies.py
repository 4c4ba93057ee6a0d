"""Errors in Python's words: the rooms below speak of the command line's options."""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from zooadapt.api.parameters import OPTIONS
from zooadapt.errors import UsageError, ZooadaptError
from zooadapt.runtime import failures
from zooadapt.training.strategies import STRATEGIES

P = ParamSpec("P")
R = TypeVar("R")


def of_python(function: Callable[P, R]) -> Callable[P, R]:
    """The function with errors for Python programs.

    Raises: for every expected failure a ZooadaptError, whose remedy names parameters and stands in
    the traceback too.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if (expected := failures.expected(error)) is None:
                raise
            if isinstance(expected, UsageError):
                expected.remedy = expected.remedy or f"help(zooadapt.{function.__qualname__})"
            cause = error.__cause__ if expected is error else error
            raise _translated(expected) from cause

    return call


def in_python(text: str) -> str:
    """A sentence about options of the command line, in Python's words: `--some-flag X` becomes
    `some_flag=X`, and a flag `flag=True`."""
    parts = _SHELL.split(text)  # commands without a function stay commands
    parts[::2] = [_FLAG.sub(_parameter, _CALL.sub(_called, part)) for part in parts[::2]]
    return "".join(parts)


_SHELL = re.compile(r"(zooadapt (?:plugins|cache|pull|models|demo|pretrain)\b[^;]*)")
_CALL = re.compile(
    r"\bzooadapt (adapt|inspect|evaluate|export|predict|features|push|rank)\b( --help| [A-Z]+)?"
)
_FLAG = re.compile(r"--([a-z][a-z-]*[a-z])\b(?:[ =]('[^']*'|[^\s,;:)]+(?:,[^\s,;]+)*))?")
_RENAMED = {"at": "layer", "public": "private"}
_FLAGS = frozenset({"dry_run", "create_pr", "overwrite_repo", "public"})
"""Flags of other commands than `adapt`."""
_FREE = frozenset({"text_column", "image_column", "label_column", "label_columns", "group_column",
                   "train_folder", "test_folder", "license", "split"})  # fmt: skip
_WORDS = frozenset("and or with is are says say names name leaves makes takes where which that in "
                   "of for to if says overrules lists alone, one".split())  # fmt: skip


def _called(match: re.Match[str]) -> str:
    name, more = match[1], (match[2] or "").strip()
    if more == "--help":
        return f"help(zooadapt.{name})"
    return f"zooadapt.{name}({more})" if more else f"zooadapt.{name}"


def _parameter(match: re.Match[str]) -> str:
    name, value = match[1].replace("-", "_"), match[2]
    rest = match[0].partition(match[1])[2]
    if name == "no_refit":
        return f"refit=False{rest}"
    if name == "public":
        return f"private=False{rest}"
    parameter = _RENAMED.get(name, name)
    option = OPTIONS.get(name)
    if name in _FLAGS or (option is not None and option.kind is bool):
        return f"{parameter}=True{rest}"
    if value is None or not _is_value(name, value.strip("'")):
        return f"{parameter}{rest}"
    plain = value.isupper() or value.startswith("'") or _is_number(value)
    return f"{parameter}={value if plain else repr(value)}"


def _is_value(name: str, word: str) -> bool:
    """Whether a word after an option is its value, and not the next word of the sentence."""
    if word.isupper() or _is_number(word):
        return True
    if (option := OPTIONS.get(name)) is not None and option.choices:
        return word in option.choices
    if name == "strategy":
        return word in STRATEGIES or word.startswith("from:")
    if name == "encoding":
        return _is_encoding(word)
    if name == "separator":
        return word in ("comma", "semicolon", "tab", "bar")
    return name in _FREE and word not in _WORDS


def _is_number(word: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", word) is not None


def _is_encoding(word: str) -> bool:
    try:
        return bool(codecs.lookup(word))
    except LookupError:
        return False


def _translated(error: ZooadaptError) -> ZooadaptError:
    """The same error in Python's words; a traceback shows the remedy below the message."""
    pairs = list(zip(error.options[::2], error.options[1::2], strict=False))
    remedy = ", ".join(f"{_name(option)}={value!r}" for option, value in pairs) or error.remedy
    error.args = (in_python(str(error)),)
    error.thing = _name(error.thing) if error.thing.startswith("--") else error.thing
    error.remedy, error.options = in_python(remedy), ()
    if error.remedy and not getattr(error, "__notes__", None):
        error.add_note(f"Try: {error.remedy}")
    return error


def _name(option: str) -> str:
    name = option.removeprefix("--").replace("-", "_")
    return _RENAMED.get(name, name)
