"""A network as stages and a head, and its freeze point: stages before it are frozen.

Freezing, feature extraction at any depth, layer-wise learning rates and the cost of a plan depend
on the freeze point alone.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zooadapt.backbone.head_layer import HeadLayer
from zooadapt.errors import PluginError, UsageError, ZooadaptError
from zooadapt.family import Activations, Family, Stage
from zooadapt.zoo import registry

POOLED = -1
"""In place of a freeze point: the channel means of every stage's activations."""
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class StagedBackbone:
    """A native network seen through its family's stages. Parameters stay the network's own."""

    def __init__(self, family: Family, net: nn.Module) -> None:
        """Raises: PluginError when the stages and the head do not partition the network's state."""
        self.net = net
        self.code = registry.code_of(family)
        """Hash of the plugin's code: its modules alone do not determine the activations."""
        self.stages: Sequence[Stage] = tuple(family.stages(net))
        self.head_path = family.head(net)
        self._check(family.name)
        self.freeze_at = 0
        self.norm_statistics = "train"

    @property
    def depth(self) -> int:
        """The number of stages: the freeze point that freezes them all."""
        return len(self.stages)

    @property
    def head(self) -> HeadLayer:
        """The network's last layer. Raises: PluginError when it is not linear."""
        layer = self.net.get_submodule(self.head_path)
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            raise PluginError(
                f"head '{self.head_path}' is a {type(layer).__name__}, not a linear layer",
                thing=self.head_path,
            )
        return layer

    @property
    def notes(self) -> list[str]:
        return [stage.note for stage in self.stages if stage.note]

    def resolve(self, where: str | int) -> int:
        """The freeze point before the stage of that name; `start` is 0, `end` the depth.

        Raises: UsageError naming the stages when there is none of that name.
        """
        names = [stage.name for stage in self.stages]
        by_name = {"start": 0, "end": self.depth} | {name: k for k, name in enumerate(names)}
        if isinstance(where, int) and 0 <= where <= self.depth:
            return where
        if where in by_name:
            return by_name[str(where)]
        close = difflib.get_close_matches(str(where), names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(
            f"the network has no stage '{where}'.{hint} Stages: {', '.join(names)}",
            thing=str(where),
            remedy="zooadapt inspect SOURCE",
        )

    def run(
        self,
        activations: Activations,
        *,
        start: int = 0,
        stop: int | None = None,
        means: Activations | None = None,
    ) -> Activations:
        """The activations at freeze point `stop` (default: the end) from those at `start`. The
        channel means of each stage, `(N, C)`, are added to `means` under its name."""
        for stage in self.stages[start:stop]:
            activations = stage.run(activations)
            if means is not None:
                means[stage.name] = channel_means(activations, stage.channels)
        return activations

    def channels(self, freeze_at: int) -> int | None:
        """Where the activations at a freeze point have their channels, if their stage says so."""
        return self.stages[freeze_at - 1].channels if freeze_at else None

    def logits(self, activations: Activations, *, start: int = 0) -> Tensor:
        """`(N, K)` from the activations at freeze point `start`."""
        return apply_head(self.head, self.run(activations, start=start)["features"])

    def freeze(self, freeze_at: int, *, norm_statistics: str = "train", tune: str = "all") -> None:
        """Freeze the stages before `freeze_at` and make the other stages and the head trainable.

        `norm_statistics="frozen"` keeps the running statistics of the trained stages' norm layers,
        for small data sets; their affine parameters are trained. `tune` restricts training of
        stages to their norm layers (`norm`), biases (`bias`) or low-rank updates (`lora`, see
        `zooadapt.training.lora`).
        """
        self.freeze_at, self.norm_statistics = freeze_at, norm_statistics
        self.net.requires_grad_(True)
        for stage in self.stages[:freeze_at]:
            for path in stage.owns:
                owned = _get(self.net, path)
                if isinstance(owned, (nn.Module, nn.Parameter)):
                    owned.requires_grad_(False)
        if tune != "all":
            norms = self._norm_parameters()
            for name, parameter in self.net.named_parameters():
                leaf = name.rpartition(".")[2]
                trained = {
                    "norm": id(parameter) in norms,
                    "bias": leaf.startswith("bias"),
                    "lora": ".parametrizations." in name and leaf != "original",
                }[tune]
                if not trained and self.stage_of(name) < self.depth:
                    parameter.requires_grad_(False)

    def train(self) -> None:
        """Put trained stages into train mode and frozen ones into eval mode: no gradient flows into
        a frozen stage, its buffers stay the same and its dropout is off."""
        self.net.train()
        for stage in self.stages[: self.freeze_at]:
            for path in stage.owns:
                owned = _get(self.net, path)
                if isinstance(owned, nn.Module):
                    owned.eval()
        if self.norm_statistics == "frozen":
            for module in self.net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def eval(self) -> None:
        self.net.eval()

    def moving_statistics(self) -> list[Tensor]:
        """The running statistics that a forward pass in the present mode updates."""
        norms = (m for m in self.net.modules() if m.training and isinstance(m, _NORMS))
        return [b for m in norms for b in m.buffers(recurse=False) if b.is_floating_point()]

    def frozen_state(self) -> dict[str, Tensor]:
        """Parameters and buffers of the frozen stages, by `state_dict()` name."""
        owned = tuple(path for stage in self.stages[: self.freeze_at] for path in stage.owns)
        return {k: v for k, v in self.net.state_dict().items() if _below(k, owned)}

    def stage_of(self, name: str) -> int:
        """The stage that owns a `state_dict()` entry; the depth for the head's."""
        for k, stage in enumerate(self.stages):
            if _below(name, stage.owns):
                return k
        return self.depth

    def parameter_groups(
        self, *, stage_decay: float, weight_decay: float, lowest: int
    ) -> list[dict[str, Any]]:
        """Optimiser groups of the stages from freeze point `lowest` on, built once for a run: one
        per stage and weight-decay setting, the head's last. A group's `share` of the learning rate
        shrinks by `stage_decay` per stage towards the input. Norms and biases have no weight
        decay."""
        norms = self._norm_parameters()
        groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self.net.named_parameters():
            stage = self.stage_of(name)
            if stage >= lowest:
                decays = parameter.ndim > 1 and id(parameter) not in norms
                groups.setdefault((stage, decays), []).append(parameter)
        return [
            {
                "params": params,
                "share": stage_decay ** (self.depth - stage),
                "stage": stage,
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (stage, decays), params in sorted(groups.items(), key=lambda item: item[0])
        ]

    def _norm_parameters(self) -> set[int]:
        norms = (m for m in self.net.modules() if isinstance(m, _NORMS))
        return {id(p) for m in norms for p in m.parameters(recurse=False)}

    def _check(self, family: str) -> None:
        if not self.stages:
            raise PluginError(f"family '{family}' gave no stages", thing=family)
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or {"start", "end"} & set(names):
            raise PluginError(
                f"family '{family}' gave stage names that are not unique: {names}", thing=family
            )
        owners = [(path, stage.name) for stage in self.stages for path in stage.owns]
        owners.append((self.head_path, "head"))
        for key in self.net.state_dict():
            matches = {owner for path, owner in owners if _below(key, (path,))}
            if len(matches) != 1:
                names_of_owners = " and ".join(sorted(matches)) or "no stage"
                raise PluginError(
                    f"family '{family}': tensor '{key}' is owned by {names_of_owners}",
                    thing=key,
                    remedy=f"zooadapt plugins check {family}",
                )


@dataclass(kw_only=True)
class FrozenProof:
    """Hashes that prove that a run left its frozen stages unchanged."""

    freeze_at: int
    """May be raised before the proof ends, to what was frozen in the end."""
    tensors: int = 0
    sha256_before: str = ""
    sha256_after: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "tensors": self.tensors,
            "sha256_before": self.sha256_before,
            "sha256_after": self.sha256_after,
        }


@contextmanager
def frozen_proof(backbone: StagedBackbone, freeze_at: int) -> Iterator[FrozenProof]:
    """Hash the stages before the freeze point, buffers included, before and after the block.

    Raises: ZooadaptError when a byte of it changed, which no input can cause.
    """
    proof = FrozenProof(freeze_at=freeze_at)
    before = _stage_hashes(backbone)
    yield proof
    after = _stage_hashes(backbone)
    proof.tensors = sum(count for count, _ in before[: proof.freeze_at])
    proof.sha256_before, proof.sha256_after = (
        hashlib.sha256(
            "\n".join(digest for _, digest in hashes[: proof.freeze_at]).encode()
        ).hexdigest()
        for hashes in (before, after)
    )
    if proof.sha256_after != proof.sha256_before:
        raise ZooadaptError(
            "a frozen tensor changed during training",
            thing=backbone.head_path,
            remedy="report this as a bug, with the report of the run",
        )


def _stage_hashes(backbone: StagedBackbone) -> list[tuple[int, str]]:
    """The number of tensors of each stage, and their hash."""
    states: list[dict[str, Tensor]] = [{} for _ in range(backbone.depth + 1)]
    for name, tensor in backbone.net.state_dict().items():
        states[backbone.stage_of(name)][name] = tensor
    return [(len(state), state_sha256(state)) for state in states]


def apply_head(head: HeadLayer, features: Tensor) -> Tensor:
    """`(N, K)` logits of an `nn.Linear` or 1x1 `nn.Conv2d` head on `(N, D)` features."""
    logits: Tensor
    if isinstance(head, nn.Conv2d):
        logits = head(features[:, :, None, None]).flatten(1)
    else:
        logits = head(features)
    return logits


def channel_means(activations: Activations, channels: int | None) -> Tensor:
    """`(N, C)` fp32 means of a stage's activations over all their `places`, concatenated."""
    means = []
    for tensor in activations.values():
        if tensor.is_floating_point() and tensor.ndim > 1:
            dimensions = places(tensor, channels)
            means.append(tensor.float().mean(dimensions) if dimensions else tensor.float())
    return torch.cat(means, 1)


def places(tensor: Tensor, channels: int | None) -> tuple[int, ...]:
    """The dimensions of a stage's tensor that are neither samples nor channels. channels: where the
    stage has them, as it declares."""
    if tensor.ndim <= 2:
        return ()
    if channels is None:
        _, *shape = tensor.shape
        is_last = len(shape) == 3 and shape[0] == shape[1] != shape[2]
        channels = 1 if len(shape) == 3 and not is_last else -1
    return tuple(k for k in range(1, tensor.ndim) if k != channels % tensor.ndim)


def state_sha256(state: dict[str, Tensor]) -> str:
    """One hash over names, dtypes, shapes and bytes, whatever the order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def prefix_sha256(backbone: StagedBackbone, freeze_at: int) -> str:
    """Hash of everything that determines the activations at `freeze_at`: weights and buffers of the
    stages before it, modules and their settings, the plugin's code and its preprocessing."""
    names = [stage.name for stage in backbone.stages[:freeze_at]]
    state = {
        name: tensor
        for name, tensor in backbone.net.state_dict().items()
        if backbone.stage_of(name) < freeze_at
    }
    modules = [
        f"{name} {type(module).__qualname__}({module.extra_repr()})"
        for name, module in backbone.net.named_modules()
        if name and not f"{name}.".startswith(f"{backbone.head_path}.")
    ]
    text = "\n".join([backbone.code, *names, *modules, state_sha256(state)])
    return hashlib.sha256(text.encode()).hexdigest()


def _below(name: str, paths: tuple[str, ...]) -> bool:
    return any(name == path or name.startswith(path + ".") for path in paths)


def _get(net: nn.Module, path: str) -> Any:
    parent, _, leaf = path.rpartition(".")
    return getattr(net.get_submodule(parent), leaf)
