"""Checks of exports: what is written, loaded elsewhere, and copied of a head's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from zooadapt.backbone.pretrained import build
from zooadapt.tasks import of_classes
from zooadapt.testing import clean
from zooadapt.testing.case import CLASSES, Case, difference
from zooadapt.testing.clauses import clause, foundation, need, refuse, require
from zooadapt.testing.steps import network_logits
from zooadapt.testing.structure import SEVEN


@clause
def check_native_names_are_kept(case: Case) -> None:
    """`convert` inverts `native_state`: it gives the network's state bit for bit under the same
    names, and leaves its argument as it is. An export is a source."""
    state = {name: t.clone() for name, t in case.backbone.net.state_dict().items()}
    native = case.family.native_config(case.config, case.model.classes)
    exported = dict(case.family.native_state(state, case.config))
    names = set(exported)
    converted = case.family.convert(exported, native)
    changed = sorted(state.keys() ^ converted.keys())
    changed += [
        n for n in state.keys() & converted.keys() if not torch.equal(state[n], converted[n])
    ]
    require(
        not changed and exported.keys() == names,
        declared="convert(native_state(state_dict()), native_config) is the same state",
        actual=f"{', '.join(changed[:3]) or 'the argument'} changed",
        remedy="recognise the native form in the config or by its names, and return it as it is",
    )


@clause
def check_native_config_is_claimed(case: Case) -> None:
    """The family claims what `native_config` gives; `classes` of it are the same in order, or None;
    `native_config` of it is the same."""
    for classes in (CLASSES, SEVEN):
        native = case.family.native_config(case.config, classes)
        require(
            case.family.claims(native) is True,
            declared="claims(native_config) is True",
            actual=f"False for {str(native)[:200]}",
            remedy="write the key that `claims` reads",
        )
        known = case.family.classes(native)
        require(
            known is None or tuple(known) == classes,
            declared=f"classes(native_config) are {classes} or None",
            actual=repr(known),
            remedy="write the names in the order of the head's rows, and read them so",
        )
        again = case.family.native_config(native, classes)
        require(
            again == native,
            declared="native_config(native_config) is the same",
            actual=f"{_differing(again, native)} differ",
            remedy="read the native form as well as the source's",
        )


@clause
def check_the_card_can_say_how_to_load_it(case: Case) -> None:
    """`usage` gives None or Python code that names the place of the export, in a folder and on the
    Hub."""
    native = case.family.native_config(case.config, case.model.classes)
    for place, on_hub in (("some-folder", False), ("org/name", True)):
        code = need(case.family.usage(native, place, on_hub=on_hub), "`usage` gives None")
        try:
            compile(code, "usage", "exec")
        except (SyntaxError, TypeError, ValueError) as error:
            refuse(
                declared="Python code",
                actual=f"{type(error).__name__}: {error}",
                remedy="try the code in a Python prompt with an export of your own",
            )
        require(
            place in code and "```" not in code,
            declared=f"code that loads '{place}', without a fence of Markdown",
            actual=code,
            remedy="put `place` where your library wants the folder or the repo",
        )


@clause
def check_an_export_loads_in_a_clean_process(case: Case) -> None:
    """Another process that has the exported folder alone gives the same logits, bit for bit, with
    another random seed. There `build` opens no file, connection or process: the core loads
    weights."""
    with torch.no_grad():
        expected = network_logits(case.backbone.net, case.activations())
    folder = case.exported.origin.folder
    logits, touched = clean.load_elsewhere(case.family, folder, len(expected))
    require(
        logits.shape == expected.shape and torch.equal(logits, expected),
        declared="the same logits",
        actual=difference(logits, expected),
        remedy="write into native_config all that build and preprocessor read; keep all state in "
        "parameters and persistent buffers",
    )
    require(
        not touched,
        declared="build opens nothing",
        actual=f"it opened {', '.join(touched[:3])}",
        remedy="build from the config alone",
    )


@clause
def check_known_classes_keep_their_rows(case: Case) -> None:
    """A source's head rows of classes that the new data has too are copied bit for bit to their
    places in the new order."""
    model = build(case.exported, task=of_classes(SEVEN))
    require(
        model.carried == tuple(name for name in SEVEN if name in CLASSES),
        declared="rows of 'third' and 'first' are copied",
        actual=f"copied: {model.carried}",
        remedy="keep the head's name and rows in `convert`, and the order in `classes`",
    )
    old, new = case.backbone.head.weight, model.backbone.head.weight
    changed = [n for n in model.carried
             if not torch.equal(new[SEVEN.index(n)], old[case.model.classes.index(n)])]  # fmt: skip
    require(
        not changed,
        declared="copied rows are the same",
        actual=f"rows of {', '.join(changed)} differ",
        remedy="leave the head's weights alone in `convert`",
    )


@foundation
def check_source_weights_fit(case: Case) -> None:
    """With `--source`: its weights, after `convert`, have the names and shapes of the network's;
    none is missing or unused."""
    need(case.source, "no --source given")
    require(
        not case.model.unused,
        declared="every tensor but the old head has a place in the network",
        actual=f"unused: {', '.join(case.model.unused[:5])}",
        remedy="rename them in `convert`, or add their layers to the network",
    )


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    keys = sorted(first.keys() | second.keys(), key=str)
    return ", ".join(str(key) for key in keys if first.get(key) != second.get(key))
