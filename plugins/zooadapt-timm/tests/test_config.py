"""A source's config.json is data: typed, bounded, and never asked where anything lies."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from zooadapt.backbone.pretrained import build
from zooadapt.errors import DataError, UsageError
from zooadapt.tasks import of_classes
from zooadapt.zoo.sources import open_source

PLAIN = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": {"crop_pct": 0.9}}


def test_importing_the_plugin_and_claiming_imports_neither_torch_nor_timm():
    code = (
        "import sys, zooadapt_timm; claimed = zooadapt_timm.TimmFamily().claims("
        "{'architecture': 'resnet18', 'num_classes': 3});"
        "print(claimed, {'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "set()"]


@pytest.mark.parametrize(
    ("config", "claimed"),
    [
        (PLAIN, True),
        ({"architecture": "resnet18", "pretrained_cfg": {}}, True),
        ({"architecture": "resnet18"}, False),
        ({"architecture": ["resnet18"], "num_classes": 3}, False),
        ({"architectures": ["BertModel"], "model_type": "bert", "num_classes": 3}, False),
        ({"architecture": "char_lstm", "num_classes": 3}, False),
        ({"architecture": "char_rnn", "num_classes": 3}, False),
    ],
)
def test_claims_timms_configs_only(family, config, claimed):
    assert family.claims(config) is claimed


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"architecture": None}, "architecture"),
        ({"architecture": "resnet1"}, "architecture"),
        ({"architecture": "../resnet18"}, "architecture"),
        ({"num_classes": "3"}, "num_classes"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"label_names": "abc"}, "label_names"),
        ({"label_descriptions": ["a"]}, "label_descriptions"),
        ({"global_pool": {"a": 1}}, "global_pool"),
        ({"model_args": [1]}, "model_args"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "model_args.checkpoint_path"),
        ({"model_args": {"pretrained": True}}, "model_args.pretrained"),
        ({"model_args": {"embed_dim": 10**9}}, "model_args.embed_dim"),
        ({"model_args": {"drop_rate": 2}}, "model_args.drop_rate"),
        ({"model_args": {"img_size": [224, 224, 3]}}, "model_args.img_size"),
        ({"model_args": {"depth": 4}}, "model_args"),
        ({"pretrained_cfg": 3}, "pretrained_cfg"),
        (
            {"num_classes": None, "pretrained_cfg": {"num_classes": "3"}},
            "pretrained_cfg.num_classes",
        ),
        ({"pretrained_cfg": {"input_size": [3, 224]}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "pretrained_cfg.input_size"),
        ({"pretrained_cfg": {"mean": [float("nan")] * 3}}, "pretrained_cfg.mean"),
        ({"pretrained_cfg": {"std": [0, 1, 1]}}, "pretrained_cfg.std"),
        ({"pretrained_cfg": {"crop_pct": True}}, "pretrained_cfg.crop_pct"),
        ({"pretrained_cfg": {"crop_mode": "none"}}, "pretrained_cfg.crop_mode"),
        ({"pretrained_cfg": {"interpolation": "random"}}, "pretrained_cfg.interpolation"),
        ({"pretrained_cfg": {"first_conv": "a/../b"}}, "pretrained_cfg.first_conv"),
    ],
)
def test_a_bad_key_is_named(family, change, key):
    with pytest.raises(DataError) as caught:
        family.build(PLAIN | change, 2)
    assert caught.value.thing == key and f"'{key}'" in str(caught.value)


def test_an_unknown_architecture_is_told_the_closest(family):
    with pytest.raises(DataError, match="resnet18"):
        family.build(PLAIN | {"architecture": "resnet81"}, 2)


def test_nothing_in_a_config_locates_weights(family):
    located = {"file": "/etc/passwd", "url": "http://x", "hf_hub_id": "a/b", "source": "local-dir",
               "custom_load": True, "state_dict": {}}  # fmt: skip
    config = PLAIN | {"pretrained_cfg": PLAIN["pretrained_cfg"] | located}
    net = family.build(config, 2)
    assert not any(net.pretrained_cfg.get(key) for key in located)
    assert "passwd" not in json.dumps(family.native_config(config, ["a", "b"]))


def test_the_native_config_is_claimed_and_keeps_what_the_source_says(family):
    config = PLAIN | {
        "num_features": 512, "global_pool": "avg", "label_names": ["x", "y", "z"],
        "label_descriptions": {"y": "the second"}, "model_args": {"drop_rate": 0.1},
    }  # fmt: skip
    native = family.native_config(config, ["b", "y"])
    assert family.claims(native) and family.classes(native) == ("b", "y")
    assert native["label_descriptions"] == {"y": "the second"}
    assert native["num_classes"] == native["pretrained_cfg"]["num_classes"] == 2
    assert {key: native[key] for key in ("architecture", "num_features", "global_pool")} == {
        "architecture": "resnet18", "num_features": 512, "global_pool": "avg",
    }  # fmt: skip
    assert native["model_args"] == {"drop_rate": 0.1}
    before, after = (family.preprocessor(c).config() for c in (config, native))
    assert before == after and family.native_config(native, ["b", "y"]) == native


def test_the_old_flat_layout_is_read(family):
    flat = {"architecture": "resnet18", "num_classes": 2, "labels": ["a", "b"],
            "input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3]}  # fmt: skip
    assert family.classes(flat) == ("a", "b")
    data = family.preprocessor(flat).config()
    assert data["input_size"] == [3, 64, 64] and data["mean"] == [0.1, 0.2, 0.3]


def test_images_are_grey_or_in_colour(family):
    """Nothing decodes another number of channels, so it is refused before anything is built."""
    source = open_source("digits04")
    assert build(source, task=of_classes("ab"), in_chans=3).channels == 3
    for channels in (0, 2, 4, 5):
        with pytest.raises(UsageError, match=f"not with {channels} channels"):
            build(source, task=of_classes("ab"), in_chans=channels)
    four = replace(source, config=family.with_input(source.config, channels=4))
    with pytest.raises(DataError, match="'.*digits04' takes images of 4 channels"):
        build(four)


def test_known_sources_have_a_repo_and_most_a_licence(family):
    known = list(family.variants())
    assert len(known) > 1000
    assert all(variant.source.startswith("timm/") for variant in known)
    assert sum(variant.license is not None for variant in known) > 0.9 * len(known)
