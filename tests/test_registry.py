"""Plugins that misbehave, installed by real metadata: an error names each and affects no other."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zooadapt as zooadapt_package
from zooadapt.backbone.pretrained import build
from zooadapt.cli import root
from zooadapt.errors import DataError, PluginError, UsageError
from zooadapt.family import Family
from zooadapt.runtime.filesystem import write_json
from zooadapt.runtime.model_files import write_weights
from zooadapt.tasks import of_classes
from zooadapt.testing import synthesise
from zooadapt.zoo import registry
from zooadapt.zoo.sources import open_source

CONFIG = {"model_type": "tiles", "side": 32, "channels": 3, "widths": [8, 8], "dropout": 0.0}
RNN = {"architecture": "char_lstm"}
BUNDLED = ("rnn", "timm", "transformers", "transformers-vision")


@pytest.fixture
def plugin(toys, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Install the guide's plugin under another name, with `body` added to its class and `before`
    to its module, as version 2.7 of a distribution of its own."""

    def write(
        body: str = "", *, before: str = "", name: str = "broken", by: str = "zooadapt-broken"
    ) -> Path:
        registry._print_once.cache_clear()
        site = tmp_path / by
        module = f"{by}_{tmp_path.name}".replace("-", "_")
        info = site / f"{by.replace('-', '_')}-2.7.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(
            "from zooadapt.family import Family, Stage\n"
            "from zooadapt_tiles import TilesFamily\n"
            f"{textwrap.dedent(before)}\n"
            f"class Broken(TilesFamily):\n    name = {name!r}\n"
            f"{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        )
        (info / "METADATA").write_text(f"Name: {by}\nVersion: 2.7\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {module}:Broken\n")
        monkeypatch.syspath_prepend(site)
        return site

    return write


@pytest.fixture
def source(toys, tmp_path) -> Path:
    """A folder with weights for the guide's network."""
    folder = tmp_path / "source"
    folder.mkdir()
    net = registry.load("tiles").build(CONFIG, 2)
    write_weights(folder / "model.safetensors", net.state_dict())
    write_json(folder / "config.json", {**CONFIG, "classes": ["a", "b"]})
    return folder


def listed(name: str) -> dict:
    (plugin,) = [plugin for plugin in registry.describe() if plugin["name"] == name]
    return plugin


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("class = 3", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: no message"),
    ],
)
def test_a_failed_import_is_named_and_other_plugins_work(plugin, before, message):
    plugin(before=before)
    with pytest.raises(PluginError) as caught:
        registry.load("broken")
    assert message in str(caught.value) and "'broken' of zooadapt-broken 2.7" in str(caught.value)
    assert caught.value.code == 70 and "zooadapt-broken" in caught.value.remedy
    assert registry.family_for(RNN).name == "rnn"
    assert "broken" not in [family.name for family in registry.families()]
    broken = listed("broken")
    assert broken["distribution"] == "zooadapt-broken" and broken["version"] == "2.7"
    assert message in broken["error"] and broken["remedy"]
    assert listed("rnn")["error"] is None


@pytest.mark.parametrize(
    ("before", "body"), [("1 / 0", ""), ("", "def variants(self): return 1 / 0")]
)
def test_a_plugin_without_a_list_of_models_is_named_beside_the_others(plugin, capsys, before, body):
    plugin(body, before=before)
    root.main(["models"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "digits04" in out and "ZeroDivisionError: division by zero" in out
    assert "broken: broken\n" in out and "try: update zooadapt-broken" in out
    root.main(["models", "--json"], standalone_mode=False)
    catalogue = json.loads(capsys.readouterr().out)
    (broken,) = catalogue["broken"]
    assert broken["name"] == "broken" and "zooadapt-broken 2.7" in broken["error"]
    families = {model["family"] for model in catalogue["models"]}
    assert {"timm", "rnn"} <= families and "broken" not in families


def test_the_error_for_an_unclaimed_source_names_broken_plugins(plugin):
    plugin(before="1 / 0")
    with pytest.raises(DataError, match="broken plugins: .*zooadapt-broken 2.7.*ZeroDivision"):
        registry.family_for({"model_type": "nobody's"})


def test_what_a_plugin_prints_goes_to_stderr(plugin, capfd):
    plugin(
        before="import warnings; print('hello'); warnings.warn('old')",
        body="""
        def claims(self, config):
            print("looking")
            return False
        """,
    )
    assert registry.load("broken").claims({}) is False
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "plugin 'broken' printed in its import: hello",
        "plugin 'broken' printed in claims(): looking",
    ]


@pytest.mark.parametrize(
    ("body", "before", "message"),
    [
        ("build = Family.build; head = Family.head", "", "it lacks build, head"),
        ("name = 'other'", "", "the class is named 'other'"),
        ("can = {'input_size': True}", "", "not Capabilities"),
        ("bundled = ['weights']", "", "its 'bundled' is ['weights'], not a mapping of names"),
        ("imports = 'torch'", "", "its 'imports' is 'torch', not a tuple of names"),
        ("fetches = ('a.txt', 1)", "", "its 'fetches' is ('a.txt', 1), not a tuple of names"),
        ("api = 2", "", "written for plugin interface 2, this zooadapt has 1"),
        ("", "class TilesFamily(Family): api = None", "plugin interface None"),
        ("def __init__(self): raise OSError('no disk')", "", "OSError: no disk"),
        ("def __init__(self, more): pass", "", "failed in its construction: TypeError"),
    ],
)
def test_a_plugin_that_violates_the_interface_is_refused(plugin, body, before, message):
    plugin(body, before=before)
    with pytest.raises(PluginError) as caught:
        registry.load("broken")
    assert message in str(caught.value) and "zooadapt-broken 2.7" in str(caught.value)
    assert caught.value.code == 70 and caught.value.remedy


def test_a_plugin_of_a_newer_interface_names_what_to_install(plugin, capsys):
    plugin("api = 2")
    with pytest.raises(PluginError) as caught:
        registry.load("broken")
    assert caught.value.remedy == "update zooadapt, or install an older zooadapt-broken"
    assert root.main(["plugins", "list"], standalone_mode=False) is None
    assert "interface 2, this zooadapt has 1" in capsys.readouterr().out


def test_a_name_claimed_twice_is_refused_with_both_owners(plugin, capsys):
    plugin(by="acme-nets")
    plugin(by="other-nets")
    with pytest.raises(DataError) as caught:
        registry.load("broken")
    message = (
        "'broken' is claimed by acme-nets 2.7 and other-nets 2.7, so zooadapt uses none of them"
    )
    assert message in str(caught.value) and caught.value.code == 65
    assert "tiles" in [family.name for family in registry.families()]
    assert "digits04" in registry.bundled()
    assert capsys.readouterr().err.count(message) == 1


def test_a_second_owner_of_a_bundled_name_is_ignored_with_a_note(plugin, capsys):
    plugin(name="rnn", by="acme-nets")
    assert registry.family_for(RNN).name == "rnn" and "english" in registry.bundled()
    assert registry.load_class("rnn").__module__.startswith("zooadapt_rnn")
    assert registry.version_of(registry.load("rnn")) == "0.1.0"
    note = "plugin 'rnn' is that of zooadapt-rnn 0.1.0; zooadapt ignores the one of acme-nets 2.7"
    assert capsys.readouterr().err.count(note) == 1
    first, second = [plugin for plugin in registry.describe() if plugin["name"] == "rnn"]
    assert first["distribution"] == "acme-nets" and "that of zooadapt-rnn 0.1" in first["error"]
    assert second["distribution"] == "zooadapt-rnn" and second["error"] is None


@pytest.mark.parametrize(
    ("by", "name", "entitled"),
    [("zooadapt-nets", "nets", True), ("Zooadapt_Nets", "nets", True),
     ("zooadapt-nets", "nets-text", True), ("zooadapt-net", "nets", False),
     ("zooadapt-nets-text", "nets", False), ("nets", "nets", False)],
)  # fmt: skip
def test_a_name_belongs_to_the_distribution_named_after_it(plugin, by, name, entitled):
    plugin(name=name, by=by)
    plugin(name=name, by="acme-nets")
    if entitled:
        assert registry.load_class(name).__module__.startswith(by.replace("-", "_"))
    else:
        with pytest.raises(DataError, match="uses none of them"):
            registry.load_class(name)


def test_an_export_belongs_to_the_family_that_it_names(plugin, tmp_path):
    marker = tmp_path / "imported"
    plugin(before=f"open({str(marker)!r}, 'w').close()")
    export = CONFIG | {"zooadapt": {"family": "tiles"}}
    assert registry.family_for(export).name == "tiles" and not marker.exists()
    assert registry.family_for(export, name="broken").name == "broken"
    assert registry.family_for(CONFIG | {"zooadapt": {"family": "broken"}}).name == "broken"


@pytest.mark.parametrize("facts", [{"family": "rnn"}, {"family": ["tiles"]}, {}, None])
def test_a_wrong_family_name_in_an_export_is_ignored(toys, facts):
    assert registry.family_for(CONFIG | {"zooadapt": facts}).name == "tiles"


def test_an_export_of_a_broken_or_missing_plugin_names_it(plugin):
    plugin(before="1 / 0")
    with pytest.raises(PluginError, match="'broken' of zooadapt-broken 2.7 failed in its import"):
        registry.family_for(CONFIG | {"zooadapt": {"family": "broken"}})
    other = {"model_type": "gone", "zooadapt": {"family": "gone"}}
    with pytest.raises(DataError, match="plugin 'gone', which exported it, is not installed"):
        registry.family_for(other)


def test_the_user_decides_on_a_config_claimed_twice(plugin):
    plugin()
    with pytest.raises(DataError, match="broken, tiles all claim") as caught:
        registry.family_for(CONFIG)
    assert caught.value.remedy == "name one of them: broken:SOURCE"
    assert registry.family_for(CONFIG, name="tiles").name == "tiles"


def test_a_named_plugin_is_imported_alone(plugin, tmp_path):
    marker = tmp_path / "imported"
    plugin(before=f"open({str(marker)!r}, 'w').close()")
    assert registry.load("rnn") and registry.family_for(RNN, name="rnn")
    assert not marker.exists()
    registry.load("broken")
    assert marker.exists()


def test_the_environment_selects_plugins(plugin, monkeypatch):
    plugin()
    monkeypatch.setenv("ZOOADAPT_PLUGINS", "rnn, broken")
    assert [owner.name for owner in registry.installed()] == ["broken", "rnn"]
    with pytest.raises(UsageError, match="no plugin 'rmn' is installed: did you mean 'rnn'"):
        registry.load("rmn")


def test_the_list_shows_what_a_plugin_claims(toys, capsys):
    tiles = listed("tiles")
    assert tiles["claims"] == "Small convolutional networks that halve the image block by block."
    assert tiles["can"] == ["input_size", "input_channels"] and tiles["api"] == 1
    assert Path(tiles["where"]) == toys / "zooadapt_tiles"
    root.main(["plugins", "list"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "tiles: zooadapt-tiles 0.1.0, interface 1, image, input_size, input_channels" in out
    assert str(toys / "zooadapt_tiles") in out


def test_the_core_names_no_bundled_plugin():
    """In strings, names and attributes. Docstrings and the examples of commands may name one."""
    names = {"timm", "rnn", "transformers"}
    assert {name.partition("-")[0] for name in BUNDLED} == names
    for path in Path(zooadapt_package.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        prose = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr)
            or (isinstance(node, ast.keyword) and node.arg == "example")
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("torch."):
                continue  # a module of torch may have a plugin's name
            fields = vars(node).values() if id(node) not in prose else ()
            words = " ".join(field for field in fields if isinstance(field, str))
            hits = names.intersection(re.findall(r"[a-z]+", words))
            assert not hits, f"{path.name}:{node.lineno} names {hits}"


MISBEHAVIOUR = {
    "build()": "def build(self, config, num_classes): return 3",
    "stages()": "def stages(self, net): return ['block0']",
    "stage 'rows'": """
        def stages(self, net):
            first, *others = super().stages(net)
            run = lambda batch: {"x": first.run(batch)["x"].flatten(0, 1)}
            return (Stage(name="rows", run=run, owns=first.owns), *others)
        """,
    "stage 'last'": """
        def stages(self, net):
            *others, last = super().stages(net)
            return (*others, Stage(name="last", run=lambda batch: batch, owns=()))
        """,
    "stage 'exits'": """
        def stages(self, net):
            first, *others = super().stages(net)
            return (Stage(name="exits", run=lambda batch: exit(3), owns=first.owns), *others)
        """,
    "head()": "def head(self, net): return 'blocks.0'",
    "preprocessor()": "def preprocessor(self, config, *, augment): raise KeyError('side')",
    "preprocessor:": """
        def preprocessor(self, config, *, augment="none"):
            from zooadapt_tiles.preprocess import TilesPreprocessor

            class Own(TilesPreprocessor):
                def __call__(self, raw, *, rng):
                    return raw["pixels"]

            return Own(32, 3, augment=augment)
        """,
    "preprocessor.collate()": """
        def preprocessor(self, config, *, augment="none"):
            made = super().preprocessor(config, augment=augment)
            made.collate = lambda samples: {"x": samples[0]["x"]}
            return made
        """,
    "convert()": "def convert(self, state, config): return None",
    "native_state()": "def native_state(self, state, config): return None",
    "classes()": "def classes(self, config): return 5",
    "native_config()": "def native_config(self, config, classes): return list(classes)",
}


@pytest.mark.parametrize("place", MISBEHAVIOUR)
def test_a_method_that_fails_or_returns_another_type_is_named(plugin, source, place):
    plugin(MISBEHAVIOUR[place])
    with pytest.raises(PluginError) as caught:
        predict(f"broken:{source}")
    assert f"plugin 'broken' of zooadapt-broken 2.7 failed in {place}" in str(caught.value)
    assert caught.value.code == 70 and "plugins check broken" in caught.value.remedy


def predict(spec: str) -> torch.Tensor:
    """Logits, by the calls of a family that a run makes."""
    opened = open_source(spec)
    assert opened.classes
    model = build(opened, task=of_classes(("a", "c")))
    raws = synthesise("image", 5)
    activations = model.preprocessor.collate([model.preprocessor(raw, rng=None) for raw in raws])
    opened.family.native_config(opened.config, model.classes)
    opened.family.native_state(model.backbone.net.state_dict(), opened.config)
    return model.backbone.logits(activations)


def test_every_member_of_the_interface_is_contained(plugin):
    methods = {name for name, value in vars(Family).items()
               if inspect.isfunction(value) and not name.startswith("_")}  # fmt: skip
    plugin("\n".join(f"def {name}(self, *args, **more): return 1 / 0" for name in methods))
    family = registry.load("broken")
    for name in sorted(methods):
        parameters = list(inspect.signature(getattr(family, name)).parameters.values())
        positional = [None for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
        with pytest.raises(PluginError, match=rf"failed in {name}\(\): ZeroDivisionError"):
            getattr(family, name)(*positional, **keywords)
    for name in inspect.get_annotations(Family):
        assert getattr(family, name) == getattr(family.plugin, name)


LATER = {
    "raise KeyError('lost')": "KeyError: 'lost'",
    "exit(1)": "SystemExit: 1",
    "return None": "it returned a NoneType, not a Mapping",
    "return {'x': first.run(batch)['x'][:1]}": "its 'x' is (1, 8, 16, 16), not one row for each",
    "raise MemoryError": None,
    "raise KeyboardInterrupt": None,
}


@pytest.mark.parametrize("fault", LATER)
def test_a_stage_that_fails_after_its_first_run_is_named(plugin, source, fault):
    plugin(f"""
        def stages(self, net):
            first, *others = super().stages(net)
            runs = []

            def run(batch):
                runs.append(batch)
                if len(runs) > 1:
                    {fault}
                return first.run(batch)

            return (Stage(name="tires", run=run, owns=first.owns), *others)
        """)
    model = build(open_source(f"broken:{source}"))
    activations = {"x": torch.zeros(3, 3, 32, 32)}
    assert model.backbone.logits(activations).shape == (3, 2)
    raised = (MemoryError, KeyboardInterrupt) if LATER[fault] is None else PluginError
    with pytest.raises(raised) as caught:
        model.backbone.logits(activations)
    message = f"plugin 'broken' of zooadapt-broken 2.7 failed in stage 'tires': {LATER[fault]}"
    assert LATER[fault] is None or message in str(caught.value)


def test_a_preprocessor_that_exits_is_named(plugin, source):
    plugin(MISBEHAVIOUR["preprocessor:"].replace('return raw["pixels"]', "exit(1)"))
    with pytest.raises(PluginError, match="failed in preprocessor: SystemExit: 1"):
        predict(f"broken:{source}")


@pytest.mark.parametrize(
    ("body", "where"),
    [("def __init__(self): raise OSError('no disk')", "its construction: OSError: no disk"),
     ("def examples(self): return 1 / 0", "examples(): ZeroDivisionError"),
     ("def examples(self): return ['small']", "examples(): it returned a list, not a Mapping"),
     ("def examples(self): return {'small': None}", "examples(): its 'small' is None, no config"),
     ("@property\ndef imports(self): return 1 / 0", "its 'imports' is <property")],
)  # fmt: skip
def test_the_setup_of_a_check_is_contained(plugin, body, where):
    plugin(body)
    with pytest.raises(PluginError) as caught:
        root.main(["plugins", "check", "broken"], standalone_mode=False)
    assert where in str(caught.value) and "zooadapt-broken 2.7" in str(caught.value)


def test_the_proxy_changes_no_result(plugin, source):
    plugin()
    assert torch.equal(predict(f"broken:{source}"), predict(f"tiles:{source}"))


def zooadapt(site: Path, toys: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "zooadapt", *arguments],
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{toys}"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def data(tmp_path) -> Path:
    for name in ("a", "c"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for k, image in enumerate(synthesise("image", 6, seed=ord(name))):
            image.save(folder / f"{k}.png")
    return tmp_path / "data"


def test_a_command_exits_with_70_before_it_writes(plugin, toys, source, data, tmp_path):
    site, out = plugin(MISBEHAVIOUR["stage 'rows'"]), tmp_path / "out"
    done = zooadapt(site, toys, "adapt", f"broken:{source}", str(data), "-o", str(out))
    assert done.returncode == 70, done.stderr
    assert "failed in stage 'rows': its 'x' is" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not out.exists()


@pytest.mark.parametrize(
    "way", ["torch.empty(1 << 60)", "raise torch.OutOfMemoryError('CUDA out of memory.')"]
)
def test_out_of_memory_a_command_exits_with_71(plugin, toys, source, data, tmp_path, way):
    out = tmp_path / "out"
    site = plugin(f"""
        def stages(self, net):
            import torch

            def run(batch):
                {way}

            first, *others = super().stages(net)
            return (Stage(name="rows", run=run, owns=first.owns), *others)
        """)
    done = zooadapt(site, toys, "adapt", f"broken:{source}", str(data), "-o", str(out))
    assert done.returncode == 71, done.stderr
    assert done.stderr.startswith("error: out of memory. Try: give a smaller --batch-size")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_a_slow_import_is_named(plugin, toys):
    site = plugin(before="import time; time.sleep(5.5)")
    done = zooadapt(site, toys, "plugins", "list")
    assert done.returncode == 0
    assert done.stderr == "still importing plugin 'broken' of zooadapt-broken 2.7 after 5 s\n"
    assert "broken: zooadapt-broken 2.7, interface 1" in done.stdout
