"""The plugin interface, version 1: what one family of pretrained networks declares about itself.

A family splits its network into stages and a head. The core builds freezing, caching, training,
head surgery and saving on these once for all families. This module imports no torch, and importing
a plugin's module must not either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from zooadapt.family.modality import Clip as Clip
from zooadapt.family.modality import Modality as Modality

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

API_VERSION = 1

FILES = "$files"
"""Reserved key of every `config` of a family with `fetches`: `{name: text}` of the files that the
source has. `native_config` may return it too: the core writes the files beside `config.json`."""

CROPS = ("center", "squash", "border")
"""How a preprocessor fits an image into the shape of the network's input: it crops the image,
resizes it to that shape, or pads it."""

Activations = dict[str, "Tensor"]
"""Named tensors between two stages; each has leading dimension N, one row per sample.

Trailing dimensions may be padded with zeros at their end to batch samples of different lengths; a
family whose inputs vary in length adds the tensors by which its stages ignore the padding.
"""

Carry = Activations
"""Their name in plugins written before version 0.2."""

Sample = dict[str, "Tensor"]
"""One preprocessed input: activations without their leading dimension."""


class TextPair(str):
    """Two texts of one sample, such as a question and an answer. The string joins them by a line
    break; a tokenizer with an encoding for pairs takes `first` and `second`."""

    first: str
    second: str

    def __new__(cls, first: str, second: str) -> TextPair:
        pair = super().__new__(cls, f"{first}\n{second}")
        pair.first, pair.second = first, second
        return pair

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # str's has one text
        return self.first, self.second


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the backbone: maps the activations of the stage before it to its own.

    `run` leaves its input unchanged and calls only modules that this stage or an earlier one owns:
    the first of several stages owns what they share, such as a table of relative positions.
    `owns` holds the dotted paths of this stage's submodules, parameters and buffers; a path covers
    everything below it. The stages and the head together own every entry of the network's
    `state_dict()` exactly once. A stage also owns its modules without state that behave differently
    in training (dropout), so that a frozen stage can stay in eval mode.
    """

    name: str
    run: Callable[[Activations], Activations]
    owns: tuple[str, ...]
    note: str = ""
    """A sentence for `zooadapt inspect`, such as why a network is a single stage."""
    channels: int | None = None
    """The dimension of the channels in this stage's tensors of more than two dimensions: 1 for
    `(N, C, H, W)` and `(N, C, T)`, -1 for `(N, H, W, C)` and `(N, T, C)`. By default the last one
    of three; of four the second, unless only the first two of height, width and channels are equal.
    Features at this stage are the means over all other dimensions."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A pretrained model that a family knows: its name for `zooadapt adapt`, licence and size."""

    source: str
    license: str | None = None
    parameters: int | None = None
    """Those of the head excluded."""
    note: str = ""
    start: str = ""
    """Whom a recommended model suits, in a few words. Recommended models are listed first."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a family can do beyond the minimum; the conformance checks prove every flag that is set.

    `input_size`: `with_input` takes another image size. `input_channels`: `with_input` takes
    another channel count. `crop`: `with_crop` takes another crop. `variable_length`: inputs of
    different lengths share a batch, and padding changes no result. `language_model`: `language` and
    `language_config` are implemented, and a state depends on no later symbol.
    """

    input_size: bool = False
    input_channels: bool = False
    crop: bool = False
    variable_length: bool = False
    language_model: bool = False


@dataclass(frozen=True, kw_only=True)
class Language:
    """A backbone read as a language model: one state per symbol of a text, a function of this
    symbol and the earlier ones. A decoder predicts the next symbol from it."""

    stage: str
    """The stage whose activations hold the states."""
    states: str
    """Name of the states in these activations: `(N, T, H)`, in order, padding at the end."""
    alphabet: Sequence[bytes]
    """The UTF-8 of each symbol. It is empty for symbols that stand for no certain text, such as the
    unknown symbol; these are never predicted."""
    encode: Callable[[str], Sequence[int]]
    """Maps a text of any length to symbols."""
    sample: Callable[[Sequence[int]], Sample]
    """Maps one or more symbols to a sample as the preprocessor makes it."""
    decoder: str
    """Name of the source's `nn.Linear(H, len(alphabet))`: its tensors end in `.weight` and `.bias`.
    A source may lack them, or their last rows, those of symbols that are never predicted."""


class Preprocessor(Protocol):
    """Maps raw samples (`PIL.Image.Image`; `str`, which may be a `TextPair`; `Clip`; or what the
    modality of a plugin gives) to the input of stage 0."""

    min_side: int | None
    """Images: pixels of the shorter side that suffice for full quality; None decodes in full."""

    def __call__(self, raw: Any, *, rng: np.random.Generator | None) -> Sample:
        """One sample. `rng=None` selects the deterministic eval transform, an `rng` the augmented
        transform, a function of the sample and `rng` alone. Threads may call it concurrently."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """Stack N samples into the input of stage 0, padded with zeros where lengths differ."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON that determines the eval transform: equal configs give equal tensors."""
        ...


PREPROCESSOR_EXTRAS = ("many", "portable", "seen", "length", "unknowns")
"""Optional methods of a preprocessor. `many(raws)`: the eval transform of several samples, each
equal to its own. `portable()`: the eval transform as data, an object of `zooadapt.family.portable`,
or None if none of them states it. Images: `seen(size)`, the share of an image of `size` that the
eval transform uses. Texts: `unknowns(raw)`, the number of unknown symbols and of all symbols;
`length(raw)`, the number of symbols before truncation."""


class Family(ABC):
    """One family of pretrained networks. Subclass it, name the class in the entry-point group
    `zooadapt.families`, and every command of zooadapt works for the family.

    Every `config` is the parsed `config.json` of a source: data, never code. Methods raise
    `zooadapt.errors.DataError` that names the key for a config that they cannot use.
    """

    api: ClassVar[int]
    """Version of the interface that the plugin implements, as a literal: `api = 1`."""
    name: ClassVar[str]
    """Equal to the entry-point name."""
    modality: ClassVar[str]
    """What the preprocessor takes: image (`PIL.Image.Image`), text (`str`), audio (`Clip`), or the
    name of a modality that a plugin brings."""
    library: ClassVar[str] = "zooadapt"
    """The Hub's `library_name` of an export: a library that loads it without zooadapt, if any."""
    can: ClassVar[Capabilities] = Capabilities()
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that the methods import; the core imports them while it reads the data."""
    bundled: ClassVar[Mapping[str, str]] = {}
    """Pretrained models shipped in the plugin's package: name -> folder relative to the module."""
    fetches: ClassVar[tuple[str, ...]] = ()
    """Names of further UTF-8 files of a source, such as a tokenizer. `config[FILES]` holds the text
    of those that exist."""

    weight_folders: ClassVar[tuple[str, ...]] = ()
    """Folders of a source or an export that may hold a `model.safetensors` of their own: `convert`
    receives the tensors of `2_Dense`, for example, as `2_Dense/NAME`, and `native_state` gives
    them so."""

    def variants(self) -> Iterable[Variant]:
        """Known pretrained models, for `zooadapt models`; may import what it needs."""
        return ()

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        """Small configs by name, one for each kind of network: the conformance checks build them
        with random weights. If empty, they check the bundled models."""
        return {}

    @abstractmethod
    def claims(self, config: Mapping[str, Any]) -> bool:
        """Whether this `config.json` belongs to this family, decided without torch."""

    @abstractmethod
    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        """The native network in eval mode with a new head of `num_classes` >= 1 outputs, on the
        CPU in fp32. It accesses no file or network: the core loads the weights."""

    @abstractmethod
    def stages(self, net: nn.Module) -> Sequence[Stage]:
        """The stages, in order. The last stage's activations hold `features`, `(N, D)`, the head's
        input. The stages followed by the head compute what `net` computes."""

    @abstractmethod
    def head(self, net: nn.Module) -> str:
        """Dotted path of the network's last layer, an `nn.Linear(D, K)` (or a 1x1 `nn.Conv2d`)."""

    @abstractmethod
    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> Preprocessor:
        """The source's own input transform. `augment` says what an `rng` varies: `"none"`,
        `"crop"`, `"flip"` (crop and mirror) or `"rand"` (stronger); families may ignore it."""

    @abstractmethod
    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        """The `config.json` of an export for the family's own library, with these `classes` in this
        order. This family claims it, and its preprocessor equals the source's."""

    def task_config(self, task: str) -> Mapping[str, Any]:
        """The keys by which the family's own library knows this task, such as `"multilabel"`, in
        the `config.json` of an export; a source that has them is one of this task. Empty where the
        library makes no difference."""
        return {}

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """Source tensors under the names and shapes of `build(config, ...)`. The core reports
        tensors left out here as unused; native sources return `state` unchanged."""
        return state

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """The inverse of `convert`: a network's tensors under the names and shapes of the family's
        own library, in which an export is written."""
        return state

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        """Class names of the source head's rows, in order; None if the config has none."""
        return None

    def export_library(self, config: Mapping[str, Any]) -> str:
        """The Hub's `library_name` of an export of this `config`; by default `library`."""
        return self.library

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str | None:
        """For the model card: Python code by which the family's own library predicts one input with
        an export of this `config`, in the folder `place` or, `on_hub`, in the repo `place`. None
        where only zooadapt loads it."""
        return None

    def sample_rate(self, config: Mapping[str, Any]) -> int | None:
        """Sounds: the samples a second that the preprocessor takes, to which the core resamples
        every clip; None leaves clips at the rate of their files."""
        return None

    def with_input(
        self, config: Mapping[str, Any], *, size: int | None = None, channels: int | None = None
    ) -> dict[str, Any]:
        """The config of the same network for square inputs of `size` pixels or with `channels`
        input channels; `convert` adapts the weights. See `Capabilities`."""
        raise _unsupported(
            self.name, "takes no other input size or channel count",
            remedy="leave out --input-size and --in-chans",
        )  # fmt: skip

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        """The config of the same network for texts of at most `length` symbols or tokens."""
        raise _unsupported(
            self.name, "reads inputs of no other length", remedy="leave out --max-length"
        )

    def poolings(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Configs of the same network whose last stage pools its features in another way, by name,
        the usual one first; all other stages and weights are equal. `adapt` chooses one by
        leave-one-out. A single entry is what the source declares; an empty mapping leaves nothing
        to choose."""
        return {}

    def with_crop(self, config: Mapping[str, Any], *, crop: str) -> dict[str, Any]:
        """The config of the same network whose preprocessor fits images by one of `CROPS` and has
        the method `seen`. See `Capabilities`. Raises: UsageError for a crop that the family's own
        library does not support."""
        raise _unsupported(self.name, "takes no other crop", remedy="leave out --crop")

    def language(self, config: Mapping[str, Any]) -> Language:
        """The network's states and symbols. See `Capabilities`. Raises: DataError for a network of
        the family that is no language model, such as a bidirectional one."""
        raise _unsupported(self.name, "is no language model", remedy="leave out --unlabelled")

    def language_config(self, text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
        """The config, without classes, of a new language model for texts such as `text`, with
        `layers` layers of `hidden` units. `unit`: `"char"` or `"byte"`. See `Capabilities`."""
        raise _unsupported(
            self.name, "is no language model", remedy="name a family that is: zooadapt plugins list"
        )


def further_files(family: Family) -> tuple[str, ...]:
    """Names of the files of a source that a family reads beside `config.json` and the weights."""
    folders = (f"{folder}/model.safetensors" for folder in family.weight_folders)
    return (*family.fetches, *folders)


def _unsupported(name: str, why: str, *, remedy: str) -> Exception:
    from zooadapt.errors import UsageError

    return UsageError(f"family '{name}' {why}", thing=name, remedy=remedy)
