"""All checks, and two ways to run them: one by one for a report, or as pytest's own tests."""

from __future__ import annotations

import difflib
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest

from zooadapt.errors import PluginError, UsageError
from zooadapt.family import Family
from zooadapt.runtime.plugin_calls import contained
from zooadapt.testing import (
    capabilities,
    declaration,
    files,
    forward,
    freezing,
    preprocessing,
    raw_samples,
    structure,
)
from zooadapt.testing.case import Case
from zooadapt.testing.clauses import Check
from zooadapt.testing.outcomes import Broken
from zooadapt.zoo import registry
from zooadapt.zoo.plugin_code import places
from zooadapt.zoo.sources import open_source

_PREFIX = "check_"
CHECKS: tuple[Check, ...] = (
    declaration.check_it_declares_itself,
    declaration.check_importing_it_is_light,
    declaration.check_variants_are_sources,
    declaration.check_it_claims_its_own_alone,
    declaration.check_wrong_configs_are_named,
    structure.check_it_builds_a_network,
    structure.check_stages_share_out_the_state,
    files.check_source_weights_fit,
    forward.check_carries_are_batches,
    declaration.check_nothing_is_misspelt,
    structure.check_its_head_is_linear,
    forward.check_the_chain_is_the_network,
    forward.check_the_chain_is_the_network_in_training,
    forward.check_a_carry_is_all_there_is,
    forward.check_stages_use_what_they_own,
    forward.check_stages_leave_their_input_alone,
    forward.check_evaluation_is_repeatable,
    forward.check_batching_changes_nothing,
    forward.check_padding_changes_nothing,
    freezing.check_the_frozen_stays,
    freezing.check_the_frozen_runs_as_in_evaluation,
    freezing.check_the_rest_is_trained,
    raw_samples.check_raw_samples_are_a_function_of_the_seed,
    raw_samples.check_broken_content_is_a_data_error,
    preprocessing.check_preprocessing_is_a_function,
    preprocessing.check_samples_fit_together,
    preprocessing.check_preprocessing_is_written_down,
    files.check_native_config_is_claimed,
    files.check_native_names_are_kept,
    files.check_known_classes_keep_their_rows,
    files.check_an_export_loads_in_a_clean_process,
    files.check_the_card_can_say_how_to_load_it,
    capabilities.check_channels_are_where_stages_say,
    capabilities.check_other_input_sizes,
    capabilities.check_other_channel_counts,
    capabilities.check_other_crops,
    capabilities.check_it_is_a_language_model,
    capabilities.check_poolings_are_distinguished,
)
"""Each tests one clause of the contract of `zooadapt.family`, its docstring. A check takes a `Case`
and raises `Broken` when the clause does not hold, `Skip` when it does not apply."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a check of one case."""

    check: str
    case: str
    status: str
    """`pass`, `fail` or `skip`."""
    clause: str = ""
    declared: str = ""
    actual: str = ""
    remedy: str = ""
    seconds: float = 0.0
    follows: str = ""
    """For a skipped check: the check whose failure it would repeat."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run(case: Case, checks: Sequence[Check] = CHECKS) -> Iterator[Outcome]:
    """Run the checks one by one; an error is the outcome of its check."""
    for check in checks:
        started = time.perf_counter()
        result = _result(check, case)
        yield Outcome(
            check=check.__name__,
            case=case.name,
            clause=" ".join((check.__doc__ or "").split()),
            seconds=time.perf_counter() - started,
            **result,
        )


def select(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names, with or without `check_`, in their order; without names, all.

    Raises: UsageError for a name that no check has.
    """
    known = {check.__name__: check for check in CHECKS}
    selected = {name if name.startswith(_PREFIX) else _PREFIX + name for name in names}
    if unknown := sorted(selected - known.keys()):
        raise _unknown("check", unknown[0], known, "--check")
    return tuple(check for name, check in known.items() if name in selected) or CHECKS


def cases(
    family: Family,
    *,
    source: str | None = None,
    offline: bool = True,
    examples: Sequence[str] = (),
) -> list[Case]:
    """A case for `source`, with its weights; or one for each of the family's examples, for those
    named alone, or for its bundled sources.

    Raises: PluginError when there is nothing to check or `examples()` fails; UsageError for a name
    that no example has; the errors of opening the source.
    """
    if source is not None:
        opened = open_source(source, offline=offline)
        return [Case(family, opened.config, name=source, source=opened)]
    configs = _examples(family) or {
        name: open_source(f"{family.name}:{name}", offline=True).config for name in family.bundled
    }
    if not configs:
        raise PluginError(
            f"family '{family.name}' gives nothing to check",
            thing=family.name,
            remedy="let its examples() give a small config, or name a --source",
        )
    if unknown := [name for name in examples if name not in configs]:
        raise _unknown("example", unknown[0], configs, "--example")
    selected = examples or configs
    return [Case(family, config, name=n) for n, config in configs.items() if n in selected]


def parametrize(
    name: str, *, expected_failures: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make of `def test_conformance(check, case): check(case)` a test for every check of every case
    of the installed family `name`.

    `expected_failures` is `{check: reason}` or `{check-case: reason}`, as in pytest's ids; an
    expected failure that passes fails the test.
    Raises: UsageError when an expected failure names no check.
    """
    import pytest

    expected = dict(expected_failures or {})
    parameters, known = [], set[str]()
    for case in cases(registry.plain(name)):
        for check in CHECKS:
            ids = (check.__name__, f"{check.__name__}-{case.name}")
            known.update(ids)
            reasons = [expected[key] for key in ids if key in expected]
            marks = [pytest.mark.xfail(reason=reason, strict=True) for reason in reasons]
            parameters.append(pytest.param(check, case, id=ids[1], marks=marks))
    if unknown := sorted(expected.keys() - known):
        raise UsageError(
            f"expected_failures names no check of '{name}': {unknown[0]}", thing=unknown[0]
        )
    return pytest.mark.parametrize(("check", "case"), parameters)


def _examples(family: Family) -> dict[str, Mapping[str, Any]]:
    owner = registry.owner_of(family)
    examples = dict(contained(owner, "examples()", family.examples, kind=Mapping))
    for name, config in examples.items():
        if not (isinstance(name, str) and isinstance(config, Mapping)):
            raise owner.failed("examples()", f"its {name!r} is {config!r:.60}, no config by name")
    return examples


def _result(check: Check, case: Case) -> dict[str, str]:
    try:
        check(case)
    except SkipTest as skip:
        return {"status": "skip", "actual": str(skip), "follows": getattr(skip, "first", "")}
    except Broken as broken:
        return {
            "status": "fail",
            "declared": broken.declared,
            "actual": broken.actual,
            "remedy": broken.remedy,
        }
    except Exception as error:
        message = (str(error).strip() or "no message").splitlines()[0]
        locations = [*getattr(error, "__notes__", ()), _location(error, case.family)]
        return {
            "status": "fail",
            "declared": "no error",
            "actual": f"{type(error).__name__}: {message} ({', '.join(locations)})",
            "remedy": "correct the code at the place named",
        }
    return {"status": "pass"}


def _location(error: Exception, family: Family) -> str:
    """The deepest line of the plugin's own code in a traceback, else the deepest of all."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        for place in places(type(family)):
            if path == place or path.is_relative_to(place):
                return f"{path.relative_to(place.parent)}:{frame.lineno} in {frame.name}"
    return f"{frames[-1].filename}:{frames[-1].lineno}"


def _unknown(what: str, name: str, known: Iterable[str], option: str) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"
    return UsageError(f"no {what} is called '{name}': {hint}", thing=option, remedy=hint)
