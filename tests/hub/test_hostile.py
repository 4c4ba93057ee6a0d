"""A hundred repositories that try to run code, open connections or fill memory: a typed error
refuses each, or it does no harm, and an audit hook records no event."""

import io
import itertools
import json
import os
import pickle
import struct
import zipfile

import pytest

from .client import HubError, model_files

RNN = {"architecture": "char_lstm", "vocab": {"a": 0, "b": 1}}


class Payload:
    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return buffer.getvalue()


PICKLE = pickle.dumps(Payload())
POLYGLOT = struct.pack("<Q", 2) + b"{}" + zipped(PICKLE)
PAYLOADS = {
    "pickle": PICKLE,
    "old pickle": pickle.dumps(Payload(), protocol=0),
    "torch zip": zipped(PICKLE),
    "7z": b"7z\xbc\xaf\x27\x1c" + PICKLE,
    "safetensors with a zip behind": POLYGLOT,
    "script": b"#!/bin/sh\ntouch EXECUTED\n",
    "python": b"import os; os.system('touch EXECUTED')\n",
}
PICKLED_NAMES = ("pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl", "model.joblib",
                 "model.h5", "model.pth", "model.tar")  # fmt: skip
CODE_IN_CONFIG = {
    "auto_map": {"auto_map": {"AutoModel": "modeling.Model"}},
    "auto_map elsewhere": {"auto_map": "evil/code--modeling.Model"},
    "inner auto_map": {"text_config": {"auto_map": {"AutoConfig": "modeling.C"}}},
    "trust_remote_code": {"trust_remote_code": True},
    "custom_pipelines": {"custom_pipelines": {"x": {"impl": "modeling.P"}}},
    "python vocabulary": {"vocab_file": "modeling.py"},
    "a local secret": {"vocab_file": "/etc/passwd"},
    "a relative secret": {"tokenizer_file": "../../../../etc/passwd"},
    "a URL": {"pretrained_cfg": {"file": "http://127.0.0.1:1/x"}},
    "a home": {"weights_path": "~/.ssh/id_rsa/x"},
}
BROKEN_CONFIGS = {
    "no object": b"[]", "no JSON": b"{", "twice": b'{"a": 1, "a": 2}', "NaN": b'{"a": NaN}',
    "1e400": b'{"a": 1e400}', "deep": b'{"a":' * 5000, "2 MB": b'{"a": "%s"}' % (b"x" * 2_000_000),
    "long number": b'{"a": %s}' % (b"9" * 9000), "binary": bytes(range(256)),
}  # fmt: skip
CARDS = {
    "python object": "license: !!python/object/apply:os.system ['touch EXECUTED']",
    "python name": "license: !!python/name:os.system",
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{','.join([f'*{chr(97 + k)}'] * 9)}]" for k in range(12)),
    "no mapping": "- license: mit",
    "a number": "license: 7",
    "control characters": "license: \"mit\\e[2J\"",
    "endless": "a: " + "[" * 5000,
    "huge": "a: " + "x" * 200_000,
}  # fmt: skip
NAMES = ("../../EXECUTED", "/tmp/EXECUTED", "..\\..\\EXECUTED", "a/../../EXECUTED", "LICENSE/../x",
         "LICENSE\n", "\x1b[2J", "C:\\EXECUTED", ".git/hooks/post-checkout", "x" * 300,
         "LICENSE.txt/../../../../EXECUTED", "sub/LICENSE", "vocab.json/..")  # fmt: skip
SHARDS = ("../other/model.safetensors", "/etc/passwd", "https://x/y.safetensors",
          "a\\b.safetensors", "sub/x.safetensors", "evil.bin", "", ".", "..",
          "C:x.safetensors")  # fmt: skip


def with_config(config: object) -> dict[str, bytes]:
    data = config if isinstance(config, bytes) else json.dumps(RNN | config).encode()
    return model_files() | {"config.json": data}


def without_weights(**files: bytes) -> dict[str, bytes]:
    contents = {"config.json": json.dumps(RNN).encode(), "modeling.py": PAYLOADS["python"]}
    return contents | {name.replace("__", "."): data for name, data in files.items()}


def refused() -> dict[str, tuple[dict[str, bytes], str]]:
    """Repositories, and the thing that the error names."""
    cases = {}
    for kind, data in PAYLOADS.items():
        files = with_config({}) | {"model.safetensors": data}
        cases[f"{kind} as model.safetensors"] = files, "model.safetensors"
    for (kind, data), name in itertools.product(list(PAYLOADS.items())[:6], PICKLED_NAMES):
        cases[f"{kind} as {name}"] = without_weights(**{name: data}), name
    for kind, config in (CODE_IN_CONFIG | BROKEN_CONFIGS).items():
        cases[f"config: {kind}"] = with_config(config), "config.json"
    for shard in SHARDS:
        index = json.dumps({"weight_map": {"a": shard}}).encode()
        files = without_weights(**{"model.safetensors.index.json": index, "evil.bin": PICKLE})
        cases[f"part {shard!r}"] = files, "model.safetensors.index.json"
    return cases


def harmless() -> dict[str, dict[str, bytes]]:
    cases = {f"file {name!r}": with_config({}) | {name: PAYLOADS["script"]} for name in NAMES}
    for kind, front in CARDS.items():
        cases[f"card: {kind}"] = with_config({}) | {"README.md": f"---\n{front}\n---\n".encode()}
    return cases


REFUSED, HARMLESS = refused(), harmless()


@pytest.fixture(scope="module")
def reader(new_client):
    """A client with torch for the steps of a command before it builds the network."""
    return new_client(PRELOAD="torch", ZOOADAPT_PLUGINS="rnn")


def check_untouched(reader) -> None:
    """The events are connections to this machine, and no payload left a trace."""
    hosts = ("127.0.0.1", "localhost", "::1")
    for event in reader.events:
        assert event.startswith("socket") and any(host in event for host in hosts)
    assert list(reader.home.rglob("*EXECUTED*")) == []
    assert not any(os.path.exists(path) for path in ("EXECUTED", "/tmp/EXECUTED"))


def test_the_corpus_is_large_enough():
    assert len(REFUSED) + len(HARMLESS) >= 100


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_repos_are_refused(hub, reader, repo_id, case):
    files, thing = REFUSED[case]
    hub.add(repo_id, files)
    with pytest.raises(HubError, match=thing) as caught:
        reader("open_and_read", repo_id)
    assert caught.value.code == 65 and "\x1b" not in str(caught.value)
    assert hub.count("GET|HEAD", r"\.(py|bin|pt|pth|ckpt|pkl|joblib|h5|tar)$") == 0
    check_untouched(reader)


@pytest.mark.parametrize("case", HARMLESS)
def test_hostile_files_beside_a_model_do_no_harm(hub, reader, repo_id, case):
    hub.add(repo_id, HARMLESS[case])
    assert reader("open_and_read", repo_id) == ["body.weight", "head.weight"]
    assert reader.seconds < 10  # it ends; a nested card takes more than one
    check_untouched(reader)
