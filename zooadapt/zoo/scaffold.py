"""A minimal package of a new plugin, which installs and passes the conformance checks."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from zooadapt.errors import UsageError
from zooadapt.runtime import filesystem, outputs
from zooadapt.runtime.version import __version__
from zooadapt.zoo import registry

_ROOT = files("zooadapt.zoo") / "templates"
_COMMON = "common"
TEMPLATES = tuple(sorted(one.name for one in _ROOT.iterdir() if one.name != _COMMON))
"""The modalities that there are templates for."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40


def write_plugin(name: str, modality: str, into: Path) -> Path:
    """Write the package `zooadapt-NAME` for networks of a modality, one of `TEMPLATES`, to a new
    folder in `into`, and return the folder.

    Raises: UsageError for a name that no package can have or an installed plugin has; OutputError
    or FileError when the folder exists or cannot be written.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f"'{name}' is not a valid plugin name",
            thing=name,
            remedy=f"use small letters, digits and single hyphens, at most {_LONGEST}",
        )
    owners = [owner.distribution for owner in registry.installed() if owner.name == name]
    if owners:
        raise UsageError(
            f"a plugin '{name}' is installed already, by {owners[0]}",
            thing=name,
            remedy="choose another name",
        )
    words = {
        "name": name,
        "module": "zooadapt_" + name.replace("-", "_"),
        "family": "".join(part.capitalize() for part in name.split("-")) + "Family",
        "core": ".".join(__version__.split(".")[:2]),
    }
    target = into / f"zooadapt-{name}"
    with outputs.new_folder(target, overwrite=False) as folder:
        for path, template in _templates(modality, words["module"]).items():
            text = template.substitute(words)
            filesystem.write_file(folder / path, text.encode())
    return target


def _templates(modality: str, module: str) -> dict[str, Template]:
    """Templates by their path in the package."""
    places = {
        "pyproject.toml": "common/pyproject.toml",
        "README.md": "common/README.md",
        "LICENSE": "common/LICENSE",
        ".gitignore": "common/gitignore",
        ".github/workflows/checks.yml": "common/checks.yml",
        "tests/test_conformance.py": "common/test_conformance.py",
        f"{module}/__init__.py": "common/__init__.py",
        f"{module}/family.py": f"{modality}/family.py",
        f"{module}/network.py": f"{modality}/network.py",
        f"{module}/settings.py": f"{modality}/settings.py",
        f"{module}/preprocess.py": f"{modality}/preprocess.py",
    }
    return {path: Template((_ROOT / f"{name}.tmpl").read_text("utf-8"))
            for path, name in places.items()}  # fmt: skip
