"""Hostile weights and configs are refused with the name of the tensor, key or file at fault."""

import json
import os
import pickle
import struct
import sys
import time
import tracemalloc

import pytest
import torch
from safetensors.torch import save_file

from zooadapt.errors import DataError, NotFoundError, OutputError
from zooadapt.runtime import model_files

GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


class Payload:
    """Unpickling it leaves a file."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


def raw(header: object, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def hostile_weights() -> dict[str, tuple[bytes, str]]:
    """File content and a part of the message, by case."""
    entry = GOOD["a"]
    twice = json.dumps(entry).encode()
    many = {f"t{k}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for k in range(100_001)}
    return {
        "pickle": (pickle.dumps(Payload()), "not a safetensors file"),
        "zip": (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        "html": (b"<!doctype html><title>503</title>" * 9, "not a safetensors file"),
        "empty": (b"", "not a safetensors file"),
        "seven bytes": (bytes(7), "not a safetensors file"),
        "header longer than the file": (struct.pack("<Q", 10**15), "not a safetensors file"),
        "11 MB header": (raw(b"{" + b" " * 11_000_000 + b"}"), "more than 10,000,000"),
        "100,001 tensors": (raw(many), "100,001 tensors"),
        "3,000,000 lists": (
            raw(b'{"a":[' + b",".join([b"[]"] * 3_000_000) + b"]}"),
            "3,000,000 values or more",
        ),
        "truncated": (raw(GOOD)[:-1], "cut off"),
        "duplicate keys": (raw(b'{"a":' + twice + b',"a":' + twice + b"}"), "'a' is there twice"),
        "overlap": (raw(GOOD | {"b": entry}), "not valid safetensors"),
        "gap": (raw({"a": entry | {"data_offsets": [8, 16]}}, bytes(16)), "not valid safetensors"),
        "overflow": (raw({"a": entry | {"shape": [2**62, 2**62]}}), "not valid safetensors"),
        "unused tail": (raw(GOOD, bytes(99)), "not valid safetensors"),
        "unknown dtype": (raw({"a": entry | {"dtype": "PICKLE"}}), "not valid safetensors"),
        "no offsets": (raw({"a": {"dtype": "F32"}}), "'a' has no data_offsets"),
        "offsets no numbers": (raw({"a": entry | {"data_offsets": ["0", 8]}}), "no data_offsets"),
        "entry no object": (raw({"a": [1]}), "'a' has no data_offsets"),
        "header no object": (raw([GOOD]), "not a JSON object"),
        "header no JSON": (raw(b"{" * 50), "not valid JSON"),
        "deep header": (raw(b'{"a":' * 90_000), "nested"),
        "escape in a name": (raw({"\x1b[2Jfine": entry}), "control characters"),
        "bidi in a name": (raw({"\u202efine": entry}), "control characters"),
        "nan": (raw(GOOD, struct.pack("<2f", 1.0, float("nan"))), "'a' holds NaN"),
        "infinity": (raw(GOOD, struct.pack("<2f", 1.0, float("-inf"))), "'a' holds NaN"),
    }


def hostile_configs() -> dict[str, tuple[bytes, str]]:
    return {
        "no JSON": (b"{'a': 1}", "not valid JSON"),
        "not UTF-8": (b'{"a": "\xff"}', "not valid JSON"),
        "a list": (b"[1]", "not a JSON object"),
        "too large": (b'{"a": "' + b"x" * 1_001_000 + b'"}', "more than 1,001,000 bytes"),
        "duplicate key": (b'{"x": {"num_classes": 3, "num_classes": 4}}', "'num_classes' is there"),
        "NaN": (b'{"crop_pct": NaN}', "'NaN' is not a finite number"),
        "1e400": (b'{"crop_pct": 1e400}', "'1e400' is not a finite number"),
        "a number of 5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "too large a number"),
        "33 levels": (b'{"a":' * 33 + b"1" + b"}" * 33, "nested more than 32"),
        "33 lists": (b'{"a":' + b"[" * 33 + b"]" * 33 + b"}", "nested more than 32"),
        "100,000 levels": (b'{"a":' + b"[" * 100_000, "nested more than 32"),
        "auto_map": (b'{"auto_map": {"AutoModel": "evil.Model"}}', "'auto_map' asks to run code"),
        "inner auto_map": (b'{"x": [{"auto_map": "a--b"}]}', "'x.0.auto_map' asks to run code"),
        "trust_remote_code": (b'{"trust_remote_code": true}', "asks to run code"),
        "a path outside": (b'{"vocab_file": "../../etc/passwd"}', "'vocab_file' names"),
        "an absolute path": (b'{"t": {"vocab_path": "/etc/passwd"}}', "'t.vocab_path' names"),
        "a drive": (b'{"weights_file": "C:\\\\x"}', "'weights_file' names"),
        "a URL": (b'{"pretrained_cfg": {"file": "http://x/y"}}', "'pretrained_cfg.file' names"),
        "python": (b'{"model_file": "modeling.py"}', "code that comes with the source"),
    }


@pytest.fixture
def no_execution(monkeypatch, tmp_path):
    """Fails the test when it unpickles, starts a process or runs new code."""
    events, active = [], [True]
    watched = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "compile")
    monkeypatch.chdir(tmp_path)

    def hook(event, args):
        if active and event in watched:
            events.append((event, args))

    sys.addaudithook(hook)
    yield
    active.clear()
    assert events == [] and not (tmp_path / "EXECUTED").exists()


HOSTILE_WEIGHTS, HOSTILE_CONFIGS = hostile_weights(), hostile_configs()


@pytest.mark.parametrize("case", HOSTILE_WEIGHTS)
def test_hostile_weights_are_refused_by_name(tmp_path, no_execution, case):
    content, message = HOSTILE_WEIGHTS[case]
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        model_files.read_weights(tmp_path)
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)
    assert str(tmp_path / "model.safetensors") in str(caught.value)


def test_a_duplicate_key_among_many_is_found_in_linear_time(tmp_path):
    """In processor time, of which a quadratic search takes minutes."""
    keys = "".join(f'"{k}":0,' for k in range(90_000))
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw(f'{{{keys}"x":0,"x":0}}'.encode()))
    before = time.process_time()
    with pytest.raises(DataError, match="'x' is there twice"):
        model_files.read_weights(tmp_path)
    assert time.process_time() - before < 10


@pytest.mark.parametrize("case", ["100,001 tensors", "3,000,000 lists"])
def test_a_header_of_too_many_values_is_refused_unparsed(tmp_path, case):
    """The peak of memory shows that it holds the text alone."""
    content, message = HOSTILE_WEIGHTS[case]
    (tmp_path / "model.safetensors").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            model_files.check_header(tmp_path / "model.safetensors")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(content) + 1_000_000


def test_an_index_of_too_many_tensors_is_refused_unparsed(tmp_path):
    places = ",".join(f'"{k}":"a.safetensors"' for k in range(model_files.MAX_TENSORS + 1))
    index = tmp_path / model_files.INDEX
    index.write_text(f'{{"weight_map":{{{places}}}}}')
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="names 100,001 tensors"):
            model_files.shards(index)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < model_files.MAX_HEADER_BYTES + index.stat().st_size + 1_000_000


def test_a_header_of_the_maximal_number_of_tensors_is_read(tmp_path):
    """A hundred thousand with four dimensions each, which the limit on values allows."""
    entry = {"dtype": "U8", "shape": [0, 1, 2, 3], "data_offsets": [0, 0]}
    many = {f"t{k}": entry for k in range(model_files.MAX_TENSORS)}
    (tmp_path / "model.safetensors").write_bytes(raw(many, b""))
    model_files.check_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize("case", HOSTILE_CONFIGS)
def test_hostile_configs_are_refused_by_key(tmp_path, no_execution, case):
    content, message = HOSTILE_CONFIGS[case]
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        model_files.read_config(tmp_path / "config.json")


def test_ordinary_configs_are_read_unchanged(tmp_path):
    config = {"architecture": "x", "auto_map": None, "pretrained_cfg": {"file": "", "mean": [0.5]},
              "_name_or_path": "/somewhere/else", "label_names": ["a/b", "../c", "a.py"],
              "vocab": {"\n": 16, "/": 1, "..": 2}, "zooadapt": {"seed": 2**63}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_files.read_config(tmp_path / "config.json") == config


def test_missing_files_are_named(tmp_path):
    with pytest.raises(NotFoundError, match="config.json"):
        model_files.read_config(tmp_path / "config.json")
    with pytest.raises(NotFoundError, match="nowhere"):
        model_files.read_weights(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no model.safetensors"):
        model_files.read_weights(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "x.ckpt", "tf_model.h5"])
def test_a_folder_with_pickles_alone_is_refused(tmp_path, no_execution, name):
    (tmp_path / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DataError, match=f"only {name}, a format that can run code") as caught:
        model_files.read_weights(tmp_path)
    assert "safetensors" in caught.value.remedy


def test_written_weights_are_read_back_bit_for_bit(tmp_path):
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8)
    tensors = {f"t.{kind}": torch.arange(24).reshape(2, 3, 4).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(3), "none": torch.empty(0, 4), "no": torch.tensor(False)}
    model_files.write_weights(tmp_path / "model.safetensors", tensors)
    weights = model_files.read_weights(tmp_path)
    assert weights.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert weights[name].dtype == tensor.dtype and torch.equal(weights[name], tensor)


def test_equal_tensors_are_equal_bytes_whatever_their_layout(tmp_path):
    first, grid = torch.arange(5.0), torch.arange(12.0).reshape(3, 4)
    shared = torch.arange(20.0)
    variants = [
        {"a": first, "b": first.clone(), "g": grid},
        {"g": grid.t().contiguous().t(), "b": first, "a": first},
        {"g": grid, "a": shared[:5], "b": torch.nn.Parameter(shared[:5])},
    ]
    contents = set()
    for tensors in variants:
        model_files.write_weights(tmp_path / "model.safetensors", tensors)
        contents.add((tmp_path / "model.safetensors").read_bytes())
    assert len(contents) == 1
    assert b'"__metadata__":{"format":"pt"}' in contents.pop()


def test_weights_are_mapped_and_not_copied(tmp_path):
    model_files.write_weights(tmp_path / "model.safetensors", {"a": torch.ones(5_000_000)})
    weights = model_files.read_weights(tmp_path)
    with open("/proc/self/maps") as maps:
        assert any("model.safetensors" in line for line in maps)
    assert weights["a"].sum() == 5_000_000


def test_an_unwritable_path_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        model_files.write_weights(tmp_path / "file/model.safetensors", {"a": torch.ones(1)})


def write_shards(folder, places):
    save_file({"a": torch.ones(2)}, folder / "one.safetensors")
    save_file({"b": torch.zeros(2)}, folder / "two.safetensors")
    (folder / model_files.INDEX).write_text(json.dumps({"weight_map": places}))


def test_shards_are_read_as_one_mapping(tmp_path):
    write_shards(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    assert {name: t.tolist() for name, t in model_files.read_weights(tmp_path).items()} == {
        "a": [1, 1],
        "b": [0, 0],
    }


@pytest.mark.parametrize(
    ("places", "error", "message"),
    [
        ({"a": "../one.safetensors"}, DataError, "not a safetensors file beside it"),
        ({"a": "/tmp/one.safetensors"}, DataError, "not a safetensors file beside it"),
        ({"a": "sub/one.safetensors"}, DataError, "not a safetensors file beside it"),
        ({"a": "..\\one.safetensors"}, DataError, "not a safetensors file beside it"),
        ({"a": "one.bin"}, DataError, "not a safetensors file beside it"),
        ({"a": ["one.safetensors"]}, DataError, "not a safetensors file beside it"),
        ({}, DataError, "weight_map"),
        ({"a": "one.safetensors", "c": "two.safetensors"}, DataError, "'b' is not where.*has it"),
        ({"a": "one.safetensors", "c": "one.safetensors"}, DataError, "'c' is not where.*lacks it"),
        ({"a": "three.safetensors"}, NotFoundError, "three.safetensors"),
    ],
)
def test_an_index_that_contradicts_its_files_is_refused(tmp_path, places, error, message):
    write_shards(tmp_path, places)
    with pytest.raises(error, match=message):
        model_files.read_weights(tmp_path)
