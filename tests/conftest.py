"""What the tests share: where real data lies, and a cache folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zooadapt.runtime import filesystem, model_files
from zooadapt.zoo import registry
from zooadapt.zoo.scaffold import write_plugin

ROOT = Path(__file__).parent.parent


CANARIES = ("hf_CANARYsuiteCANARYsuite00000000", "canaryuser")
"""A Hub token and the name of a user, for every test and every process that it starts."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache; at the end no file that any test left, exports and
    caches and logs alike, holds the token, and no export a path or the user's name."""
    os.environ["ZOOADAPT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_TOKEN"], os.environ["LOGNAME"] = CANARIES
    yield
    place = tmp_path_factory.getbasetemp()
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    told = [path for path in files if re.search(rb"hf_\w*CANARY", path.read_bytes())]
    assert told == [], "these files hold the Hub token"
    private = (str(place), str(ROOT), str(Path.home()) + "/", CANARIES[1])
    for export in {path.parent for path in files if path.name == "report.json"}:
        for path in export.iterdir():
            content = path.read_bytes() if path.is_file() else b""
            leaks = [text for text in private if text.encode() in content]
            assert leaks == [], f"'{path}' gives away {leaks}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The reference data; tests that need it are skipped where it is not."""
    place = Path(os.environ.get("ZOOADAPT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (place / "weights").is_dir():
        pytest.skip(f"no reference data at {place}; ZOOADAPT_TEST_DATA says where it is")
    return place


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of twelve noisy 16 x 16 pictures, which brighten to another side in each."""
    root = tmp_path_factory.mktemp("pictures")
    for label in range(3):
        (root / f"class{label}").mkdir()
        for number in range(12):
            rng = np.random.default_rng((label, number))
            slope = np.rot90(np.tile(np.linspace(0, 120, 16), (16, 1)), label)
            pixels = (slope + rng.normal(60, 30, (16, 16))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    return root


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the import path with two plugins, installed as far as Python can tell: the
    guide's own, `tiles`, taken out of its code blocks, and a generated one for text, `words`."""
    folder = tmp_path_factory.mktemp("toys")
    guide = folder / "zooadapt-tiles"
    for name, text in guide_files().items():
        (guide / name).parent.mkdir(parents=True, exist_ok=True)
        (guide / name).write_text(text)
    words = write_plugin("words", "text", folder)
    shutil.copy(Path(__file__).parent / "mutants.py", folder)
    for package in (guide, words):
        install(package, folder)
    info = folder / "mutants-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mutants\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zooadapt.modalities]\nunsteady = mutants:Unsteady\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="session")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the import path with the plugin of `waves.py`, and pretrained models of its two
    families, `hum` and `walks`."""
    folder = tmp_path_factory.mktemp("waves")
    shutil.copy(Path(__file__).parent / "waves.py", folder / "zooadapt_waves.py")
    info = folder / "zooadapt_waves-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: zooadapt-waves\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[zooadapt.families]\nhum = zooadapt_waves:Hum\nwalks = zooadapt_waves:Walks\n"
        "[zooadapt.modalities]\nseries = zooadapt_waves:Series\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import torch

        for name in ("hum", "walks"):
            family = registry.load(name)
            torch.manual_seed(0)
            (folder / name).mkdir()
            config = {**family.examples()["small"], "width": 32}
            filesystem.write_json(folder / name / "config.json", config)
            state = family.build(config, 2).state_dict()
            model_files.write_weights(folder / name / "model.safetensors", state)
        yield folder


def guide_files() -> dict[str, str]:
    """Files of the guide's example by path: code blocks begin with the path of their file, and
    blocks of one file follow each other."""
    text = (ROOT / "plugins" / "README.md").read_text("utf-8")
    files: dict[str, list[str]] = {}
    for block in re.findall(r"^```(?:python|toml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        first, _, rest = block.partition("\n")
        if path := re.fullmatch(r"# (\S+\.(?:py|toml))", first):
            files.setdefault(path[1], []).append(rest)
    return {path: "\n".join(blocks) for path, blocks in files.items()}


def install(package: Path, site: Path) -> None:
    """Do what an installer does with a pure Python package, without one."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    module = project["name"].replace("-", "_")
    shutil.copytree(package / module, site / module)
    info = site / f"{module}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"{name} = {value}" for name, value in
             project["entry-points"]["zooadapt.families"].items()]  # fmt: skip
    (info / "entry_points.txt").write_text("[zooadapt.families]\n" + "\n".join(lines) + "\n")
