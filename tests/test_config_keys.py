"""The keys of a stranger's config, as plugins read them."""

import math
import re
import subprocess
import sys

import pytest

from zooadapt.errors import DataError
from zooadapt.family import config_keys
from zooadapt.family.config_keys import FLAG, FRACTION, choice, listed, number, text, whole

BAD = [
    (whole(1, 8), [0, 9, True, 2.0, "2", math.nan, [2]], "a whole number from 1 to 8"),
    (whole(1), [0, math.inf, "x"], "a whole number of at least 1"),
    (number(0.5, 2), [0, 2.1, True, math.nan, math.inf, 10**400, "1"], "a number from 0.5 to 2"),
    (text("[a-z]+", "a name"), ["", "A", "a\n", 3, ["a"]], "a name"),
    (choice("lstm", "gru"), ["rnn", ["lstm"], 1, {}], "one of lstm, gru"),
    (listed(whole(1, 4), 2, 2), [[1], [1, 5], (1, 2), "12"], "a list of 2, each a whole number"),
    (listed(whole(1, 4), 0, 2), [[1, 2, 3], 1], "a list of 0 to 2, each a whole number"),
    (FLAG, [0, 1, "true"], "true or false"),
    (FRACTION, [-0.1, 1, True, math.nan, "0"], "a number from 0 to below 1"),
    (whole(1, 4) | FLAG, [0, 5, "true"], "a whole number from 1 to 4, or true or false"),
]
GOOD = [
    (whole(1, 8), [1, 8]), (whole(1), [10**30]), (number(0.5, 2), [0.5, 1, 2]),
    (number(1), [math.inf, 10**400]), (text("[a-z]+", "a name"), ["ab"]),
    (choice("lstm", "gru"), ["gru"]), (listed(whole(1, 4), 0, 2), [[], [4, 4]]),
    (FLAG, [True, False]), (FRACTION, [0, 0.99]), (whole(1, 4) | FLAG, [4, False]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "expected"), BAD)
def test_a_value_of_another_kind_is_named(kind, values, expected):
    for value in values:
        with pytest.raises(DataError, match=re.escape(f"expected {expected}")) as caught:
            config_keys.get({"size": value}, "size", kind, 3, within="args.")
        assert caught.value.thing == "args.size"
        assert str(caught.value).startswith("config.json: 'args.size' is ")


@pytest.mark.parametrize(("kind", "values"), GOOD)
def test_a_value_of_the_kind_is_read(kind, values):
    for value in values:
        assert config_keys.get({"size": value}, "size", kind) is value


@pytest.mark.parametrize("config", [{}, {"size": None}])
def test_an_absent_key_is_its_default_or_named(config):
    assert config_keys.get(config, "size", FLAG, None) is None
    assert config_keys.select(config, {"size": FLAG}) == {}
    assert config_keys.nested(config, "size") == {}
    assert config_keys.names(config, "size") is None
    with pytest.raises(DataError, match="a.json: 'size' is nothing, expected true") as caught:
        config_keys.get(config, "size", FLAG, file="a.json")
    assert caught.value.remedy == "correct the source's a.json"


def test_selected_keys_are_checked_and_others_ignored():
    kinds = {"a": FLAG, "b": whole(1, 4)}
    assert config_keys.select({"c": object(), "b": 2}, kinds) == {"b": 2}
    with pytest.raises(DataError, match="'args.b' is 5"):
        config_keys.select({"a": True, "b": 5}, kinds, within="args.")


def test_objects_and_names_of_another_kind_are_named():
    assert config_keys.names({"classes": ["b", "a"]}, "classes") == ("b", "a")
    for value in ("ab", ["a", 1], {"a": 1}):
        with pytest.raises(DataError, match="'classes' is .*, expected a list of names"):
            config_keys.names({"classes": value}, "classes")
    with pytest.raises(DataError, match="'args' is 3, expected an object"):
        config_keys.nested({"args": 3}, "args")


def test_a_long_value_is_cut_off_in_the_error():
    message = str(config_keys.error("size", "x" * 1000, "a name"))
    assert message == f"config.json: 'size' is '{'x' * 56}..., expected a name"


def test_importing_it_imports_no_torch():
    code = "import sys, zooadapt.family.config_keys; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()"]
