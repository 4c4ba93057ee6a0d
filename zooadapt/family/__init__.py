"""The plugin interface, version 1: what one family of pretrained networks declares about itself.

A family turns its network into an ordered chain of stages. Everything else (freezing, caching,
training, head surgery, saving) is written once, in the core, on top of that chain. This module
imports no torch, and importing a plugin's module must not either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

API_VERSION = 1

FILES = "$files"
"""Reserved key of every `config` mapping of a family with `fetches`: `{name: text}` of those files
that the source has. `native_config` may give it too: the core writes them beside `config.json`."""

CROPS = ("center", "squash", "border")
"""What a preprocessor makes of an image of another shape than the network's input: it cuts off what
is beyond it, squeezes it into that shape, or sets it on a ground of that shape."""

Activations = dict[str, "Tensor"]
"""Named tensors between two stages; each has leading dimension N, one row per sample.

Trailing dimensions may be padded with zeros at their end to put samples of different lengths
into one batch; a family whose inputs vary in length carries what it needs to ignore the padding.
"""

Carry = Activations
"""What plugins written before version 0.2 call them."""

Sample = dict[str, "Tensor"]
"""One preprocessed input: the tensors of a carry without their leading dimension."""


class TextPair(str):
    """Two texts of one sample, such as a question and an answer. As a string, the two with a line
    break between them; a tokenizer with an encoding for pairs takes `first` and `second`."""

    first: str
    second: str

    def __new__(cls, first: str, second: str) -> TextPair:
        pair = super().__new__(cls, f"{first}\n{second}")
        pair.first, pair.second = first, second
        return pair

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # of `__new__`
        return self.first, self.second


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One link of the chain: takes what the stage before it gave and gives the next carry.

    `run` must not change its input carry, and calls only modules that the stage or one before it
    owns: what all layers share, such as a table of relative positions, belongs to the first of
    them. `owns` holds the dotted paths of the submodules, parameters and buffers of the network
    that belong to this stage; a path covers everything below it. Together with the head, the stages
    own every entry of the network's `state_dict()` exactly once. Modules without state that behave
    differently in training (dropout) are owned too, so that a frozen stage can be kept in eval
    mode.
    """

    name: str
    run: Callable[[Activations], Activations]
    owns: tuple[str, ...]
    note: str = ""
    """A sentence that `zooadapt inspect` shows, such as why a network is a single stage."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A source that a family knows of: a name for `zooadapt adapt`, its licence and its size."""

    source: str
    license: str | None = None
    parameters: int | None = None
    """Without its head."""
    note: str = ""
    start: str = ""
    """For the few to start with, a few words on whom they suit: they are listed first."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a family can do beyond the minimum; the conformance checks prove every flag that is set.

    `input_size`: `with_input` takes another image size. `input_channels`: it takes another channel
    count. `crop`: `with_crop` takes another crop. `variable_length`: inputs of different lengths
    share a batch, padding changes nothing.
    `language_model`: `language` and `language_config` are there, and no state depends on what
    follows it.
    """

    input_size: bool = False
    input_channels: bool = False
    crop: bool = False
    variable_length: bool = False
    language_model: bool = False


@dataclass(frozen=True, kw_only=True)
class Language:
    """A chain read as a language model: a state for each symbol of a text, a function of that
    symbol and those before it alone, from which a decoder predicts the next."""

    stage: str
    """The stage whose carry holds the states."""
    states: str
    """Their name in it: `(N, T, H)`, in order, padding at the end."""
    alphabet: Sequence[bytes]
    """The UTF-8 that each symbol stands for; empty where it stands for nothing certain, such as the
    unknown, which is never predicted."""
    encode: Callable[[str], Sequence[int]]
    """A text as symbols, however long it is."""
    sample: Callable[[Sequence[int]], Sample]
    """One or more symbols as the preprocessor gives them."""
    decoder: str
    """The source's own `nn.Linear(H, len(alphabet))`, if there is one: the name of its tensors
    without `.weight` and `.bias`. It may lack rows at the end for what is never predicted."""


class Preprocessor(Protocol):
    """Raw samples (a `PIL.Image.Image`, a `str` that may be a `TextPair`) to the carry that stage 0
    takes."""

    min_side: int | None
    """Images: a shorter side, in pixels, that is enough for full quality; None decodes in full."""

    def __call__(self, raw: Any, *, rng: np.random.Generator | None) -> Sample:
        """One sample. `rng=None` is the deterministic eval transform, otherwise an augmented one
        that is a function of the sample and `rng` alone; safe to call from several threads."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Activations:
        """Stack N samples into stage 0's carry, padding with zeros where lengths differ."""
        ...

    def config(self) -> dict[str, Any]:
        """JSON that says all of the eval transform; equal configs give equal tensors."""
        ...


PREPROCESSOR_EXTRAS = ("many", "seen", "length", "unknowns")
"""What a preprocessor may have besides: `many(raws)`, the eval transform of several samples at
once, equal to that of each alone; of images `seen(size)`, the share of one of `size` that the eval
transform uses; of texts `unknowns(raw)`, the symbols that the source does not know and all that it
reads, and `length(raw)`, the symbols of a text that is not cut."""


class Family(ABC):
    """One family of pretrained networks. Subclass it, name the class in the entry-point group
    `zooadapt.families`, and every command of zooadapt works for the family.

    Every `config` is the parsed `config.json` of a source: data, never code. Methods raise
    `zooadapt.errors.DataError` for a config that they cannot use, naming the key.
    """

    api: ClassVar[int]
    """The interface version it was written for, as a literal: `api = 1`."""
    name: ClassVar[str]
    """Equal to its entry-point name."""
    modality: ClassVar[str]
    """What the preprocessor takes: `"image"` (`PIL.Image.Image`) or `"text"` (`str`)."""
    library: ClassVar[str] = "zooadapt"
    """The Hub's `library_name` of an export: the tool that loads it without zooadapt, if any."""
    can: ClassVar[Capabilities] = Capabilities()
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that its methods import; the core imports them ahead, while it reads the data."""
    bundled: ClassVar[Mapping[str, str]] = {}
    """Sources shipped in the plugin's package: name -> folder relative to the module's file."""
    fetches: ClassVar[tuple[str, ...]] = ()
    """Names of further UTF-8 files of a source, such as a tokenizer; those that are there arrive as
    text in `config[FILES]`."""

    weight_folders: ClassVar[tuple[str, ...]] = ()
    """Folders of a source or an export that may hold a `model.safetensors` of their own: `convert`
    receives the tensors of `2_Dense`, for example, as `2_Dense/NAME`, and `native_state` gives
    them so."""

    def variants(self) -> Iterable[Variant]:
        """Known sources, for `zooadapt models`; may be empty, may import what it needs."""
        return ()

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        """Small configs by name, one for each kind of network that the family builds: the
        conformance checks build them with random weights. None: they check the bundled sources."""
        return {}

    @abstractmethod
    def claims(self, config: Mapping[str, Any]) -> bool:
        """Whether this `config.json` is one of this family's. Looks at data only, without torch."""

    @abstractmethod
    def build(self, config: Mapping[str, Any], num_classes: int) -> nn.Module:
        """The native network in eval mode with a fresh head of `num_classes` >= 1 outputs, on the
        CPU in fp32. No file or network access: weights are loaded by the core."""

    @abstractmethod
    def stages(self, net: nn.Module) -> Sequence[Stage]:
        """The chain, in order. The last stage's carry holds `features`, `(N, D)`: what the head
        takes. Composed and followed by the head, the stages compute what `net` computes."""

    @abstractmethod
    def head(self, net: nn.Module) -> str:
        """Dotted path of the network's last layer, an `nn.Linear(D, K)` (or a 1x1 `nn.Conv2d`)."""

    @abstractmethod
    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> Preprocessor:
        """The source's own input transform. `augment` says what a given `rng` varies: `"none"`,
        `"crop"`, `"flip"` (crop and mirror) or `"rand"` (stronger); families may ignore it."""

    @abstractmethod
    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        """What the family's own loader wants in `config.json`, for a head with these `classes` in
        this order. Claimed by this family, and its preprocessor equals the source's."""

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """Source tensors under the names and shapes of `build(config, ...)`. What is left out here
        is reported as unused; native sources return `state` as it is."""
        return state

    def native_state(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """The inverse of `convert`: a network's tensors under the names and shapes of an export,
        those of the family's own loader; equal to `state` where the network has the same."""
        return state

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        """Names of the source head's rows, in order, where the native config knows them."""
        return None

    def export_library(self, config: Mapping[str, Any]) -> str:
        """The Hub's `library_name` of an export of this `config`: `library`, if all are alike."""
        return self.library

    def usage(self, config: Mapping[str, Any], place: str, *, on_hub: bool = False) -> str | None:
        """For the model card: Python by which the family's own library answers one input with an
        export of this `config`, in the folder `place` or, `on_hub`, in the repo `place`. None where
        only zooadapt loads it."""
        return None

    def with_input(
        self, config: Mapping[str, Any], *, size: int | None = None, channels: int | None = None
    ) -> dict[str, Any]:
        """The config of the same network for square inputs of `size` pixels or with `channels`
        input channels; `convert` then adapts the weights. See `Capabilities`."""
        raise _unsupported(
            self.name, "takes no other input size or channel count",
            remedy="leave out --input-size and --in-chans",
        )  # fmt: skip

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        """The config of the same network that reads texts up to so many symbols or tokens."""
        raise _unsupported(
            self.name, "reads inputs of no other length", remedy="leave out --max-length"
        )

    def poolings(self, config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Configs of the same network whose last stage makes its features otherwise, by what they
        are called, the usual one first; all other stages and their weights are equal. `adapt`
        chooses by leave-one-out. A single one is what the source declares. Without any there is
        nothing to choose."""
        return {}

    def with_crop(self, config: Mapping[str, Any], *, crop: str) -> dict[str, Any]:
        """The config of the same network whose preprocessor makes images fit by one of `CROPS`, and
        says by `seen` how much of them it uses. See `Capabilities`. Raises: UsageError for a crop
        that the family's own loader does not know."""
        raise _unsupported(self.name, "takes no other crop", remedy="leave out --crop")

    def language(self, config: Mapping[str, Any]) -> Language:
        """Where the network's states and symbols lie. See `Capabilities`. Raises: DataError for a
        network of the family that is no language model, such as one that reads both ways."""
        raise _unsupported(self.name, "is no language model", remedy="leave out --unlabelled")

    def language_config(self, text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
        """The config, without classes, of a new language model for such a text: by `unit`, `"char"`
        or `"byte"`, with `layers` layers of `hidden` states. See `Capabilities`."""
        raise _unsupported(
            self.name, "is no language model", remedy="name a family that is: zooadapt plugins list"
        )


def further_files(family: Family) -> tuple[str, ...]:
    """Names of the files that a family reads of a source beside `config.json` and its weights."""
    folders = (f"{folder}/model.safetensors" for folder in family.weight_folders)
    return (*family.fetches, *folders)


def _unsupported(name: str, why: str, *, remedy: str) -> Exception:
    from zooadapt.errors import UsageError

    return UsageError(f"family '{name}' {why}", thing=name, remedy=remedy)
