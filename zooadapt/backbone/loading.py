"""Load a source's tensors into a network: all of them fit, or an error names those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError, ZooadaptError

if TYPE_CHECKING:
    from torch import Tensor

    from zooadapt.backbone.staged import StagedBackbone
    from zooadapt.family import Family


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The result of loading a source's tensors."""

    head: tuple[Tensor | None, Tensor | None]
    """Weight and bias of the source's own head, for its own classes."""
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def load(
    family: Family,
    backbone: StagedBackbone,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    keep_head: bool,
    where: str,
) -> Loaded:
    """Load a source's tensors into the network; the head too with `keep_head`.

    If the names fit only without a prefix that all share (wrappers of a network leave `module.` or
    `model.`), the prefix is removed.
    Raises: DataError naming the tensors that are missing, unknown or of another shape.
    """
    first_error: ZooadaptError | None = None
    for prefix in _prefixes(tensors):
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        try:
            state = family.convert(bare, config)
            expected = _check_fit(backbone, state, keep_head=keep_head, where=where)
        except ZooadaptError as error:
            first_error = first_error or error
            continue
        backbone.net.load_state_dict({name: state[name] for name in expected}, strict=False)
        weight, bias = (state.get(f"{backbone.head_path}.{part}") for part in ("weight", "bias"))
        note = f"every tensor of the source is named '{prefix}...': zooadapt removed the prefix"
        return Loaded(
            head=(weight, bias),
            unused=_unused(bare, state),
            notes=(note,) if prefix else (),
        )
    assert first_error is not None
    raise first_error


def _prefixes(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """The empty prefix, then those that all names share, each ending in a dot."""
    yield ""
    names = [name.split(".") for name in tensors]
    shared = 0
    while names and all(
        len(parts) > shared + 1 and parts[shared] == names[0][shared] for parts in names
    ):
        shared += 1
        yield ".".join(names[0][:shared]) + "."


def _check_fit(
    backbone: StagedBackbone, state: Mapping[str, Tensor], *, keep_head: bool, where: str
) -> frozenset[str]:
    """The names of the tensors to load. Raises: DataError unless `state` has exactly these."""
    own = backbone.net.state_dict()
    head = {name for name in own if name.startswith(backbone.head_path + ".")}
    expected = set(own) if keep_head else set(own) - head
    missing, extra = sorted(expected - set(state)), sorted(set(state) - set(own))
    if missing or extra:
        differences = [
            f"{label} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            for label, names in (("lacks", missing), ("does not know", extra))
            if names
        ]
        raise DataError(
            f"the weights of '{where}' do not fit the network: {'; '.join(differences)}",
            thing=(missing or extra)[0],
            remedy="check that config.json and the weights belong together",
        )
    for name in sorted(expected):
        if own[name].shape != state[name].shape:
            raise DataError(
                f"tensor '{name}' of '{where}' has shape {tuple(state[name].shape)}, expected "
                f"{tuple(own[name].shape)}",
                thing=name,
                remedy="check that config.json and the weights belong together",
            )
        if own[name].is_floating_point() != state[name].is_floating_point():
            raise DataError(
                f"tensor '{name}' of '{where}' has type {state[name].dtype}, expected "
                f"{own[name].dtype}",
                thing=name,
                remedy="check that config.json and the weights belong together",
            )
    return frozenset(expected)


def _unused(tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, ...]:
    used = {tensor.data_ptr() for tensor in state.values()}
    return tuple(
        sorted(
            name
            for name, tensor in tensors.items()
            if name not in state and tensor.data_ptr() not in used
        )
    )
