"""The choice of precision: fast modes that the device supports, and for an export the mode that it
was measured with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zooadapt.backbone import precision
from zooadapt.backbone.precision import Mode, choose, of_export
from zooadapt.backbone.staged import StagedBackbone
from zooadapt.errors import UsageError, ZooadaptError
from zooadapt.family import Stage
from zooadapt.runtime.progress import Progress
from zooadapt.training.config import Request
from zooadapt.workflows import inference
from zooadapt.workflows.adapt import adapt

CPU = torch.device("cpu")

ORDINARY_CPU = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Makes torch use the instructions of an ordinary laptop alone."""

COMMANDS = """
import sys
from zooadapt.cli import root
from zooadapt.errors import ZooadaptError
source = ["rnn:english", "texts.csv"]
for words in (
    ["adapt", *source, "-o", "out", "--plan"],
    ["adapt", *source, "-o", "out", "--strategy", "lp-ft", "--epochs", "1"],
    ["predict", "out", "texts.csv"],
    ["evaluate", "out", "texts.csv"],
    ["features", source[0], "texts.csv", "-o", "features.safetensors"],
):
    assert not root.main([*words, "--json"], standalone_mode=False), words
try:
    root.main(["adapt", *source, "-o", "bf16", "--precision", "bf16"], standalone_mode=False)
except ZooadaptError as error:
    print(type(error).__name__, error.thing, error.remedy, error)
"""


def test_recurrent_sources_work_on_a_cpu_without_bf16(tmp_path: Path) -> None:
    rows = [f"{'who when where' if k % 2 else 'red green blue'} {k},{k % 2}" for k in range(24)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path, env=os.environ | ORDINARY_CPU, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan, run, *_, last = done.stdout.splitlines()
    (why,) = (c["why"] for c in json.loads(plan)["plan"]["choices"] if c["what"] == "precision")
    assert why == "this cpu has no bf16"
    assert json.loads(run)["plan"]["precision"] == "fp32"
    assert last.startswith("UsageError --precision --precision fp32 this cpu cannot run")
    assert not (tmp_path / "bf16").exists()


class Net(nn.Module):
    """One stage with a hook for bf16 and one for fp32."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.head = nn.Linear(8, 6), nn.Linear(6, 2)
        self.in_bf16: Callable[[Tensor], Tensor] = lambda x: x
        self.in_fp32 = self.in_bf16

    def stage(self, activations: dict[str, Tensor]) -> dict[str, Tensor]:
        bf16 = torch.is_autocast_enabled("cpu")
        features = self.low(activations["x"])
        return {"features": (self.in_bf16 if bf16 else self.in_fp32)(features)}


class Toy:
    name = "toy"

    def stages(self, net: Net) -> list[Stage]:
        return [Stage(name="low", run=net.stage, owns=("low",))]

    def head(self, net: Net) -> str:
        return "head"


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StagedBackbone:
    """On a machine with bf16 and without earlier measurements."""
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    torch.manual_seed(0)
    return StagedBackbone(Toy(), Net())


def mode_of(backbone: StagedBackbone, *, precision: str = "auto", trains: bool = False) -> Mode:
    return choose(
        backbone, {"x": torch.randn(4, 8)}, precision=precision, device=CPU, trains=trains
    )


def slow(seconds: float) -> Callable[[Tensor], Tensor]:
    return lambda x: time.sleep(seconds) or x


class Broken(torch.autograd.Function):
    """Has a forward pass only."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        raise RuntimeError("no backward in bf16. Ask somebody")


def refuse(x: Tensor) -> Tensor:
    raise RuntimeError("could not create a primitive")


def test_a_candidate_that_fails_is_dropped_with_its_reason(backbone: StagedBackbone) -> None:
    backbone.net.in_bf16 = refuse
    mode = mode_of(backbone)
    assert mode.precision == "fp32"
    assert mode.why.endswith("bf16 does not work here: could not create a primitive")


def test_requested_bf16_that_fails_is_one_clear_error(backbone: StagedBackbone) -> None:
    backbone.net.in_bf16 = refuse
    with pytest.raises(UsageError, match="cannot run the network in bf16: could not") as caught:
        mode_of(backbone, precision="bf16")
    assert (caught.value.thing, caught.value.remedy) == ("--precision", "--precision fp32")
    backbone.net.in_fp32 = refuse  # then the precision is not to blame
    with pytest.raises(RuntimeError, match="could not") as caught:
        mode_of(backbone, precision="bf16")
    assert not isinstance(caught.value, ZooadaptError)


def test_a_slow_candidate_runs_once(
    backbone: StagedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[float] = []
    backbone.net.in_bf16 = lambda x: runs.append(1) or slow(0.3)(x)
    monkeypatch.setattr(precision, "_CHEAP", 0.1)
    assert mode_of(backbone).precision == "fp32" and len(runs) == 1


def test_a_mode_without_backward_is_not_used_for_training(backbone: StagedBackbone) -> None:
    backbone.net.in_bf16, backbone.net.in_fp32 = Broken.apply, slow(0.05)
    assert mode_of(backbone).precision == "bf16"
    mode = mode_of(backbone, trains=True)
    assert mode.precision == "fp32" and mode.why.endswith("bf16 here: no backward in bf16")
    with pytest.raises(UsageError, match="no backward in bf16"):
        mode_of(backbone, precision="bf16", trains=True)
    assert all(p.grad is None and p.requires_grad for p in backbone.net.parameters())


def test_a_remembered_choice_holds_for_its_cpu_alone(
    backbone: StagedBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone.net.in_fp32 = slow(0.05)
    assert mode_of(backbone).precision == "bf16"
    backbone.net.in_fp32, backbone.net.in_bf16 = backbone.net.in_bf16, backbone.net.in_fp32
    assert mode_of(backbone).precision == "bf16"  # from memory
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    assert mode_of(backbone).precision == "fp32"
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    assert mode_of(backbone).why == "this cpu has no bf16"


def test_inference_uses_the_precision_of_the_export(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    request = Request(
        source="digits04", data=str(pictures), out=out, strategy="probe", precision="bf16"
    )
    adapt(request, Progress())
    config = json.loads((out / "config.json").read_text())
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    mode = of_export(config, CPU)
    assert mode is not None and mode.precision == "bf16"
    assert config["zooadapt"]["inference"] == {
        "precision": "bf16", "channels_last": mode.channels_last,
    }  # fmt: skip
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    inference.evaluate(str(out), str(pictures), inference.Settings(cache_gb=0), Progress())
    assert not (tmp_path / "cache").exists(), "something was measured"
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    assert of_export(config, CPU) is None
    inference.evaluate(str(out), str(pictures), inference.Settings(cache_gb=0), Progress())
    assert (tmp_path / "cache/modes").exists()


@pytest.mark.parametrize(
    "facts", [None, "bf16", {}, {"inference": "bf16"}, {"inference": {"precision": "int8"}}]
)
def test_an_export_without_a_mode_is_measured(facts: object) -> None:
    assert of_export({"zooadapt": facts}, CPU) is None


def test_costs_are_measured_once_for_each_network(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOOADAPT_CACHE", str(tmp_path / "cache"))
    estimates = []
    for name, seed in (("a", 0), ("b", 1)):
        request = Request(source="digits04", data=str(pictures), out=tmp_path / name, seed=seed,
                          precision="fp32", plan_only=True)  # fmt: skip
        estimates.append(adapt(request, Progress()).report["estimate"])
    kinds = {
        k: len(list((tmp_path / "cache" / k).iterdir())) for k in ("modes", "costs", "reading")
    }
    assert kinds == {"modes": 1, "costs": 1, "reading": 2}
    assert estimates[0]["memory_bytes"] == estimates[1]["memory_bytes"]
