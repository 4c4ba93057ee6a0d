"""Sources as users spell and copy them: parsed, or refused with the name to use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zooadapt.errors import DataError, NotFoundError, UsageError, ZooadaptError
from zooadapt.zoo import registry
from zooadapt.zoo.hub import fetch_config, local_config
from zooadapt.zoo.locations import known, locate, parse, similar

X = "timm/resnet18.a1_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (X, (None, X, None)),
        (f"{X}@v1", (None, X, "v1")),
        (f"timm:{X}@v1", ("timm", X, "v1")),
        (f"hf-hub:{X}", (None, X, None)),
        (f"hf_hub:{X}@v1", (None, X, "v1")),
        ("local-dir:some/where@v1", (None, "some/where@v1", None)),
        (f"https://huggingface.co/{X}", (None, X, None)),
        (f"http://huggingface.co/{X}/", (None, X, None)),
        (f"https://huggingface.co/{X}/tree/main", (None, X, "main")),
        (f"https://huggingface.co/{X}/tree/refs%2Fpr%2F1", (None, X, "refs/pr/1")),
        (f"https://huggingface.co/{X}/commit/{COMMIT}", (None, X, COMMIT)),
        (f"https://huggingface.co/{X}/blob/v2/config.json", (None, X, "v2")),
        (f"https://huggingface.co/{X}/resolve/v2/model.safetensors", (None, X, "v2")),
        (f"https://huggingface.co/{X}?library=timm#use", (None, X, None)),
        (f"timm:https://hf.co/{X}", ("timm", X, None)),
        (f"huggingface.co/{X}", (None, X, None)),
        (f"https://mirror.example/{X}/tree/v3", (None, X, "v3")),
    ],
)
def test_spellings_of_other_tools_are_parsed(
    spec: str, expected: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert parse(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        f"https://github.com/{X}",
        "https://huggingface.co/resnet18",
        "https://huggingface.co/datasets/org/set",
        "https://",
        "@v1",
    ],
)
def test_the_error_for_another_address_shows_the_form(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(spec)
    assert "repo id" in caught.value.remedy


def test_an_existing_folder_is_itself_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a@b", "hf-hub:x", "resnet50", "local-dir"):
        Path(name).mkdir()
        assert parse(name) == (None, name, None)
        assert parse(f"local-dir:{name}") == (None, name, None)
    assert locate("resnet50") == (None, "resnet50", None)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("resnet18.a1_in1k", r"timm/resnet18\.a1_in1k"),
        ("bert-base-uncased", "google-bert/bert-base-uncased"),
        ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("resnet50", r"timm/resnet50\.a1_in1k or .*; zooadapt models lists \d+ more"),
        ("timm:resnet50", r"timm/resnet50\.a1_in1k or "),
        ("ResNet-50", r"timm/resnet50\.a1_in1k or "),
        ("convnext_tiny", r"timm/convnext_tiny\.in12k_ft_in1k or "),
        ("mobilenetv2_10", r"timm/mobilenetv2_100\.ra_in1k"),
        ("timm/resnet50", r"timm/resnet50\.a1_in1k or "),
        ("hf-hub:timm/resnet50", r"timm/resnet50\.a1_in1k or "),
        ("https://huggingface.co/timm/resnet50", r"timm/resnet50\.a1_in1k or "),
        ("xyzzy", "give a folder that exists, or ORG/NAME"),
    ],
)
def test_similar_names_are_suggested_without_a_network(spec: str, remedy: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        locate(spec, offline=True)
    assert caught.value.code == 66
    assert re.match(remedy, caught.value.remedy), caught.value.remedy


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("google/bert-base-uncased", "google-bert/bert-base-uncased; or zooadapt pull"),
        ("timm/resnet18.a1_in1", "timm/resnet18.a1_in1k or .*; or zooadapt pull"),
        (X, "zooadapt pull timm/resnet18.a1_in1k"),
        ("somebody/something", "zooadapt pull somebody/something"),
    ],
)
def test_an_unavailable_repo_suggests_a_similar_one(spec: str, remedy: str) -> None:
    with pytest.raises(ZooadaptError) as caught:
        locate(spec, offline=True)
    assert caught.value.code == 69
    assert re.match(remedy, caught.value.remedy), caught.value.remedy


def test_known_names_are_unique() -> None:
    names = known()
    assert len(names) == len(set(names)) > 1700
    assert similar("digits4", ["digits04", "english"]) == ["digits04"]
    assert {variant.start for variant in registry.load("timm").variants()} > {""}


@pytest.mark.parametrize(
    ("files", "message", "remedy"),
    [
        (["a/1.png", "b/1.png"], "is no model: it has no config.json", "source comes before"),
        (["model.safetensors"], "is no model: it has no config.json", "beside them"),
        (["last/config.json", "x.txt"], "is no model: it has no config.json", "place/last"),
    ],
)
def test_a_folder_without_a_model_is_refused_with_a_remedy(
    files: list[str], message: str, remedy: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / "place" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "place" / name).write_text("{}")
    for call in (
        lambda: fetch_config(str(tmp_path / "place")),
        lambda: local_config(tmp_path / "place"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            call()
        assert remedy in caught.value.remedy


def test_the_remedy_for_a_file_is_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(NotFoundError, match="is a file, and a model is a folder") as caught:
        locate(str(tmp_path / "model.safetensors"))
    assert caught.value.remedy.endswith(str(tmp_path))
