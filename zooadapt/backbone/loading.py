"""A source's tensors into a network: every tensor of the backbone in its place, or an error."""

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
    """What became of a source's tensors."""

    head: tuple[Tensor | None, Tensor | None]
    """The source's own head: weight and bias, under whatever classes it has."""
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

    One prefix that all names share, as wrappers of a network leave it (`module.`, `model.`), is
    left out where the names fit then and not before.
    Raises: DataError naming the tensors that are missing, unknown or of another shape.
    """
    misfit: ZooadaptError | None = None
    for prefix in _prefixes(tensors):
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        try:
            state = family.convert(bare, config)
            expected = _check_fit(backbone, state, keep_head=keep_head, where=where)
        except ZooadaptError as error:
            misfit = misfit or error
            continue
        backbone.net.load_state_dict({name: state[name] for name in expected}, strict=False)
        weight, bias = (state.get(f"{backbone.head_path}.{part}") for part in ("weight", "bias"))
        noted = f"every tensor of the source is named '{prefix}...', which was left out"
        return Loaded(
            head=(weight, bias),
            unused=_unused(bare, state),
            notes=(noted,) if prefix else (),
        )
    assert misfit is not None
    raise misfit


def _prefixes(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Nothing, then what begins every name, up to each of its dots."""
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
    """The names of the tensors to load, when all of them are there and nothing else is."""
    own = backbone.net.state_dict()
    head = {name for name in own if name.startswith(backbone.head_path + ".")}
    expected = set(own) if keep_head else set(own) - head
    missing, extra = sorted(expected - set(state)), sorted(set(state) - set(own))
    if missing or extra:
        told = [
            f"{label} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
            for label, names in (("lacks", missing), ("does not know", extra))
            if names
        ]
        raise DataError(
            f"the weights of '{where}' do not fit the network: {'; '.join(told)}",
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


def _unused(given: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, ...]:
    used = {tensor.data_ptr() for tensor in state.values()}
    return tuple(
        sorted(
            name
            for name, tensor in given.items()
            if name not in state and tensor.data_ptr() not in used
        )
    )
