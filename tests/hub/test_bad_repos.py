"""The command line on every kind of bad repository: its exit code, one line with the thing and the
remedy, nothing run, nothing written, no connection except to the Hub."""

import json
import pickle
import re
import struct

import pytest
import torch
from PIL import Image
from safetensors.torch import save
from zooadapt_rnn import RnnFamily

from .client import TOKEN
from .test_hostile import POLYGLOT, Payload, check_untouched

RNN = {
    "architecture": "char_rnn", "cell": "lstm", "unit": "char", "vocab_size": 28,
    "vocab": {letter: row for row, letter in enumerate("abcdefghijklmnopqrstuvwxyz ?")},
    "embedding_dim": 4, "hidden_size": 5, "num_layers": 1, "classes": ["x", "y"],
}  # fmt: skip
TIMM = {"architecture": "resnet18", "num_classes": 2, "label_names": ["x", "y"],
        "pretrained_cfg": {}}  # fmt: skip
WIDE = TIMM | {"architecture": "vit_tiny_patch16_224", "model_args": {
    "embed_dim": 8192, "depth": 128, "num_heads": 64, "mlp_ratio": 10}}  # fmt: skip
BERT = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 120,
    "max_position_embeddings": 24, "pad_token_id": 0, "id2label": {"0": "x", "1": "y"},
    "label2id": {"x": 0, "y": 1},
}  # fmt: skip
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
HEADER = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def state(config: dict = RNN) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {name: t.contiguous() for name, t in RnnFamily().build(config, 2).state_dict().items()}


def repo(config: object = RNN, tensors: object = None, **files: bytes) -> dict[str, bytes]:
    """A repository; file names are written with `__` for the dot."""
    tensors = state() if tensors is None else tensors
    named = {
        "README.md": b"---\nlicense: mit\n---\n# A toy\n",
        "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
        WEIGHTS: tensors if isinstance(tensors, bytes) else save(tensors, {"format": "pt"}),
    }
    return named | {name.replace("__", "."): data for name, data in files.items()}


def raw(header: object, data: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(**changes: object) -> dict[str, torch.Tensor]:
    """The good weights with some tensors changed; None removes one."""
    tensors = state() | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def without_weights(**files: bytes) -> dict[str, bytes]:
    contents = repo(**files)
    del contents[WEIGHTS]
    return contents


def part(file: str) -> dict[str, bytes]:
    index = json.dumps({"weight_map": {"embed.weight": file}}).encode()
    return without_weights() | {INDEX: index}


def in_config(text: bytes) -> dict[str, bytes]:
    """The good config with text inserted before its end."""
    return repo(json.dumps(RNN).encode()[:-1] + b", " + text + b"}")


def tokenizer() -> dict[str, bytes]:
    pattern = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}
    described = json.dumps({"version": "1.0", "normalizer": pattern, "model": model}).encode()
    template = b'{"chat_template": "{{ \'\'.__class__ }}"}'
    return repo(BERT, tokenizer__json=described, tokenizer_config__json=template)


DEEP = b'"a": ' + b'{"a":' * 40 + b"1" + b"}" * 40
MANY = {f"t{k}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for k in range(100_001)}
ENTRY = HEADER["a"]
PICKLE = pickle.dumps(Payload())

BAD = {
    "48 pickles alone": (lambda: without_weights(pytorch_model__bin=PICKLE), "pytorch_model.bin",
                         "safetensors"),
    "49 a pickle named safetensors": (lambda: repo(tensors=PICKLE), WEIGHTS, "again"),
    "49 a 7z named safetensors": (lambda: repo(tensors=b"7z\xbc\xaf\x27\x1c" + PICKLE), WEIGHTS,
                                  "again"),
    "49 a polyglot": (lambda: repo(tensors=POLYGLOT), WEIGHTS, "again"),
    "50 a shape": (lambda: repo(tensors=changed(embed__weight=torch.ones(29, 5))),
                   r"embed\.weight.* \(29, 5\), expected \(29, 4\)", "belong together"),
    "51 a dtype": (lambda: repo(tensors=changed(embed__weight=torch.ones(29, 4).long())),
                   r"embed\.weight.*int64, expected torch\.float32", "belong together"),
    "52 an overlap": (lambda: repo(tensors=raw(HEADER | {"b": ENTRY})), WEIGHTS, "again"),
    "52 a gap": (lambda: repo(tensors=raw({"a": ENTRY | {"data_offsets": [8, 16]}}, bytes(16))),
                 WEIGHTS, "again"),
    "52 an overflow": (lambda: repo(tensors=raw({"a": ENTRY | {"shape": [2**62, 2**62]}})), WEIGHTS,
                       "again"),
    "53 an 11 MB header": (lambda: repo(tensors=raw(b"{" + b" " * 11_000_000 + b"}")),
                           "more than 10,000,000", "again"),
    "53 100,001 tensors": (lambda: repo(tensors=raw(MANY)), "100,001 tensors", "again"),
    "54 truncated": (lambda: repo(tensors=save(state())[:-9]), "cut off", "again"),
    "55 a key missing": (lambda: repo(tensors=changed(embed__weight=None)),
                         r"lacks embed\.weight", "belong together"),
    "55 a key too many": (lambda: repo(tensors=changed(evil=torch.ones(1))), "does not know evil",
                          "belong together"),
    "55 no head": (lambda: repo(tensors=changed(head__weight=None)), r"lacks head\.weight",
                   "belong together"),
    "56 a key twice": (lambda: in_config(b'"cell": "gru"'), "'cell' is there twice", "again"),
    "56 a tensor twice": (
        lambda: repo(tensors=raw(b'{"a":%s,"a":%s}' % ((json.dumps(ENTRY).encode(),) * 2))),
        "'a' is there twice", "again"),
    "57 NaN weights": (
        lambda: repo(tensors=changed(embed__weight=torch.full((29, 4), float("nan")))),
        r"'embed\.weight' holds NaN", "again"),
    "58 a type": (lambda: repo(RNN | {"hidden_size": "5"}), "'hidden_size' is '5'", "correct"),
    "58 NaN": (lambda: in_config(b'"dropout": NaN'), "'NaN' is not a finite", "again"),
    "58 1e400": (lambda: in_config(b'"dropout": 1e400'), "'1e400' is not a finite", "again"),
    "58 nesting": (lambda: in_config(DEEP), "nested more than 32", "again"),
    **{f"58 zooadapt is {value!r}": (lambda value=value: repo(RNN | {"zooadapt": value}),
                                     "'zooadapt' is .*, expected an object", "correct")
       for value in ([], [{}], "classes", 7, False)},
    **{f"58 zooadapt.classes is {value!r}": (
        lambda value=value: repo(RNN | {"zooadapt": {"classes": value}}),
        "'classes' is .*, expected a list of names", "correct")
       for value in ("xy", {"x": 0}, [1, 2], 2)},
    "58 pretrained_cfg is a list": (lambda: repo(TIMM | {"pretrained_cfg": [1]}),
                                    "'pretrained_cfg' is .*, expected an object", "correct"),
    "59 an unknown architecture": (lambda: repo(TIMM | {"architecture": "resnet81"}),
                                   "resnet81.*resnet18", "."),
    "59 an unknown family": (lambda: repo({"architecture": "evil"}), r"\(evil\)",
                                      "plugins list"),
    "60 auto_map": (lambda: in_config(b'"auto_map": {"AutoModel": "evil.Model"}'),
                    "'auto_map' asks to run code", "again"),
    "60 a Python file": (lambda: in_config(b'"model_file": "modeling.py"'), "'model_file'.*code",
                         "again"),
    "61 more classes than rows": (lambda: repo(RNN | {"classes": ["x", "y", "z"]}),
                                  r"head\.weight|head\.bias", "belong together"),
    "62 a giant model_args": (lambda: repo(TIMM | {"model_args": {"embed_dim": 10**9}}),
                              r"model_args\.embed_dim", "correct"),
    "62 a giant network": (lambda: repo(RNN | {"hidden_size": 10**9}), "hidden_size", "correct"),
    "62 a giant product of sizes": (lambda: repo(RNN | {"hidden_size": 1 << 14, "num_layers": 64}),
                                    r"a network of \d{3}\.\d GB.* 0\.00", "belong together"),
    "62 a giant product of arguments": (lambda: repo(WIDE), r"a network of \d{3}\.\d GB.* 0\.00",
                                        "belong together"),
    "62 a million classes": (lambda: repo(TIMM | {"num_classes": 10**9}), "num_classes", "correct"),
    "67 a path": (lambda: in_config(b'"vocab_file": "../../etc/passwd"'), "'vocab_file' names",
                  "again"),
    "67 an absolute path": (lambda: in_config(b'"weights_path": "/etc/passwd"'), "'weights_path'",
                            "again"),
    "68 a part above": (lambda: part("../other/model.safetensors"), r"\.\./other", "again"),
    "68 a part elsewhere": (lambda: part("https://x/model.safetensors"), "https://x", "again"),
    "68 an absent part": (lambda: part("two.safetensors"), r"two\.safetensors",
                                    "another source"),
    "69 a pattern without end": (tokenizer, "regular expression", "."),
}  # fmt: skip


@pytest.fixture(scope="module")
def shell(new_client):
    """A client with the families' imports, so that the hook records what a repository causes."""
    modules = "torch timm tokenizers rich.table zooadapt_rnn.network"
    return new_client(PRELOAD=modules)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "input.txt"
    path.write_text("a text\n")
    return path


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return path


def check_refusal(done: dict, code: int, names: str, remedy: str) -> None:
    """One line on stderr, with the same fields in the JSON on stdout."""
    (line,) = done["stderr"].splitlines()
    error = re.fullmatch(r"error: (.*)\. Try: (.*)", line)
    assert error and done["code"] == code, line
    assert re.search(names, error[1]) and re.search(remedy, error[2]), line
    fields = json.loads(done["stdout"])
    assert fields["code"] == code and fields["thing"]
    assert (fields["message"], fields["remedy"]) == (error[1], error[2])


@pytest.mark.parametrize("config", [RNN, RNN | {"zooadapt": None}, RNN | {"$files": [1]}])
def test_a_valid_repo_predicts(hub, shell, repo_id, text, config):
    hub.add(repo_id, repo(config))
    done = shell("command", "predict", repo_id, text, "--json")
    assert done["code"] == 0 and json.loads(done["stdout"])["predictions"][0]["label"] in "xy"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_repo_gives_one_line(hub, shell, repo_id, text, photo, tmp_path, case):
    make, names, remedy = BAD[case]
    files = make()
    hub.add(repo_id, files)
    before = sorted(tmp_path.rglob("*"))
    sample = photo if b"pretrained_cfg" in files["config.json"] else text
    done = shell("command", "predict", repo_id, sample, "--json")
    check_refusal(done, 65, names, remedy)
    check_untouched(shell)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "tokenizer.json"])
def test_a_huge_text_is_neither_fetched_nor_read(hub, shell, repo_id, text, tmp_path, name):
    config = BERT if name == "tokenizer.json" else RNN
    hub.add(repo_id, repo(config) | {name: bytes(50_000_001)})
    done = shell("command", "predict", repo_id, text, "--json")
    check_refusal(done, 65, f"'{name}' of '{repo_id}' has 50,000,001 bytes", "another source")
    assert hub.count("GET", name) == 0
    for file, content in repo(config).items():
        (tmp_path / file).write_bytes(content)
    with (tmp_path / name).open("wb") as large:
        large.truncate(50_000_001)
    done = shell("command", "predict", tmp_path, text, "--json")
    check_refusal(done, 65, f"'{name}' of .* has 50,000,001 bytes", "another source")


def test_errors_distinguish_inaccessible_repos(hub, shell, new_client, repo_id, text):
    """63 to 66. Without a token the Hub does not distinguish private repos from absent ones."""
    hub.add(repo_id, repo())
    hub.add("me/secret", repo(), private=True)
    hub.add("org/closed", repo(), gated=True)
    known = new_client(HF_TOKEN=TOKEN)
    for who, spec, code, names, remedy in (
        (shell, f"{repo_id}@v9", 66, "no such revision", f"{hub.url}/{repo_id}/refs"),
        (shell, "org/closed", 77, "'org/closed' is gated", f"{hub.url}/org/closed"),
        (known, "org/closed", 77, "'org/closed' is gated", f"{hub.url}/org/closed"),
        (shell, "me/secret", 77, "'me/secret' does not exist .* or is private", "hf auth login"),
        (known, "org/typo", 66, "'org/typo' does not exist .* or is private", "check the name"),
        (shell, "org/typo", 77, "'org/typo' does not exist .* or is private", "check the name"),
    ):
        check_refusal(who("command", "predict", spec, text, "--json"), code, names, remedy)
