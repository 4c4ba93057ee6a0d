"""zooadapt's hub room in a process of its own, and small models to push and fetch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from zooadapt.zoo import registry
from zooadapt.zoo.hub import card

TOKEN = "hf_CANARYcanaryCANARYcanary0000"
KILLS = int(os.environ.get("ZOOADAPT_TEST_KILLS", "10"))
"""The number of pulls and pushes to kill, at random moments."""


class HubError(Exception):
    """A typed error of the client process: `kind`, `code`, `message`, `thing`, `remedy`."""

    def __init__(self, fields: dict) -> None:
        super().__init__(f"{fields['kind']}: {fields['message']}. Try: {fields['remedy']}")
        self.__dict__.update(fields)


class Client:
    """Calls functions of `zooadapt.zoo.hub`; its Hub, home and caches are its own."""

    def __init__(self, url: str, home: Path, **environment: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ZOOADAPT_"))}
        self.home, self.seconds, self.events = home, 0.0, []
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=inherited | {"HF_ENDPOINT": url, "HF_HOME": str(home / "hf"), "HOME": str(home),
                        "ZOOADAPT_CACHE": str(home / "zoo"), "ZOOADAPT_HUB_PAUSE": "0.02",
                        "ZOOADAPT_HUB_STALL": "1", "NO_PROXY": "*"} | environment,
        )  # fmt: skip

    def start(self, call: str, *args: object, **kwargs: object) -> None:
        """Start a call; `result` waits for its end."""
        request = {"call": call, "args": [str(arg) for arg in args], "kwargs": kwargs}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def result(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the client process died")
        reply = json.loads(line)
        self.seconds, self.events = reply["seconds"], reply["events"]
        if "error" in reply:
            raise HubError(reply["error"])
        return reply["result"]

    def __call__(self, call: str, *args: object, **kwargs: object):
        self.start(call, *args, **kwargs)
        return self.result()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def cached(self, repo: str, name: str) -> Path | None:
        """The path of a file of a repo's latest commit in huggingface_hub's cache."""
        folder = self.home / "hf/hub" / f"models--{repo.replace('/', '--')}" / "snapshots"
        paths = sorted(folder.glob(f"*/{name}"))
        return paths[-1].resolve() if paths else None


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"body.weight": torch.randn(64, 32, generator=generator),
            "head.weight": torch.randn(3, 64, generator=generator)}  # fmt: skip


def model_files(seed: int = 0, license: str | None = "mit") -> dict[str, bytes]:
    """A published model, with files beside it that must not be fetched."""
    front = f"---\nlicense: {license}\n---\n" if license else ""
    return {
        "config.json": json.dumps({"architecture": "toy", "num_classes": 3}).encode(),
        "model.safetensors": save(tensors(seed), {"format": "pt"}),
        "README.md": f"{front}# A toy\n".encode(),
        "LICENSE": b"Do what you like.\n",
        "pytorch_model.bin": b"\x80\x04pickle",
        "modeling.py": b"raise SystemExit('executed')\n",
        "training_args.json": b"{}",
    }


def write_export(folder: Path, *, seed: int = 0, license: str | None = "mit", **front) -> Path:
    """A folder as `zooadapt adapt` writes it, with files beside it that must not be published."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"library_name": "timm", "tags": ["zooadapt"], "pipeline_tag": "image-classification",
            "model-index": [{"name": "adapted model", "results": []}]} | front  # fmt: skip
    if license:
        meta["license"] = license
    facts = {"format": 1, "version": "0.1.0", "family": "timm", "classes": ["a", "b", "c"],
            "data": "da7a" * 16,
            "source": {"location": "org/toy", "revision": "0" * 40, "sha256": "1" * 64},
            "scores": {"val": None, "test": {"accuracy": 0.9125, "n": 80}}}  # fmt: skip
    config = {"architecture": "toy", "num_classes": 3, "zooadapt": facts}
    code = registry.load("timm").usage(config, card.FOLDER)
    block = f"{card.BEGIN}\n# 3 classes, seed {seed}\n\n{code}{card.END}\n"
    files = model_files(seed) | {
        "config.json": json.dumps(config).encode(),
        "README.md": card.join(meta, f"\n{block}").encode(),
        "report.json": json.dumps({"seed": seed}).encode(),
        "checkpoint.safetensors": b"private", "log.txt": b"private",
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
