"""The family of recurrent networks. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zooadapt.errors import DataError
from zooadapt.family import Capabilities, Family, Language, Stage
from zooadapt_rnn import settings
from zooadapt_rnn.settings import ARCHITECTURE, LANGUAGE_MODELS, parse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zooadapt_rnn.network import RecurrentClassifier
    from zooadapt_rnn.text import TextPreprocessor

_DECODER = "decoder"
"""The layer of a language model that predicts the next symbol."""


class RnnFamily(Family):
    """Embedding and stacked LSTM or GRU over characters or bytes, with concat pooling."""

    api = 1
    name = "rnn"
    modality = "text"
    can = Capabilities(variable_length=True, language_model=True)
    bundled = {"english": "sources/english"}

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        small = {"architecture": ARCHITECTURE, "embedding_dim": 6, "hidden_size": 5}
        vocab = {letter: row for row, letter in enumerate("abcdefghijklmnopqrstuvwxyz .")}
        letters = {"unit": "char", "vocab": vocab, "vocab_size": len(vocab) + 1, "unknown": 28}
        return {
            "lstm": small | letters | {"cell": "lstm", "num_layers": 2, "dropout": 0.2},
            "gru": small | {"cell": "gru", "unit": "byte", "num_layers": 1, "bidirectional": True},
        }

    def claims(self, config: Mapping[str, Any]) -> bool:
        return config.get("architecture") in (ARCHITECTURE, *LANGUAGE_MODELS)

    def build(self, config: Mapping[str, Any], num_classes: int) -> RecurrentClassifier:
        from zooadapt_rnn.network import RecurrentClassifier

        return RecurrentClassifier(parse(config), num_classes).eval()

    def stages(self, net: nn.Module) -> Sequence[Stage]:
        from zooadapt_rnn.network import RecurrentClassifier

        assert isinstance(net, RecurrentClassifier)
        return net.stages()

    def head(self, net: nn.Module) -> str:
        return "head"

    def preprocessor(self, config: Mapping[str, Any], *, augment: str = "none") -> TextPreprocessor:
        from zooadapt_rnn.text import TextPreprocessor

        return TextPreprocessor(parse(config))

    def native_config(self, config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
        return parse(config).native(classes)

    def convert(
        self, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """A language model's stacked RNN, layer by layer, without its head, which predicts
        characters. If the source declares no unknown symbol, its row is the mean of the others: the
        embedding that the recurrent weights, which never saw an unknown, confuse least with one
        certain character."""
        if config.get("architecture") == ARCHITECTURE:
            return {n: t for n, t in state.items() if not n.startswith(f"{_DECODER}.")}
        import torch

        from zooadapt_rnn.recurrent import unstacked

        parsed = parse(config)
        converted = {}
        for name, tensor in state.items():
            if (layer := unstacked(name, "rnn", "rnn")) != name:
                converted[layer] = tensor
            elif name == "embed.weight":
                added = parsed.rows - parsed.symbols
                mean = tensor.mean(dim=0, keepdim=True).expand(added, -1)
                converted[name] = torch.cat((tensor, mean))
        return converted

    def classes(self, config: Mapping[str, Any]) -> Sequence[str] | None:
        return parse(config).classes

    def with_length(self, config: Mapping[str, Any], length: int) -> dict[str, Any]:
        longer = {**config, "max_length": length}
        settings.parse(longer)
        return longer

    def language(self, config: Mapping[str, Any]) -> Language:
        from zooadapt_rnn.text import TextPreprocessor

        parsed = parse(config)
        if parsed.bidirectional:
            raise DataError(
                "a bidirectional network sees the symbol that it should predict, so it is no "
                "language model",
                thing="bidirectional",
                remedy="leave out --unlabelled, or use a source that reads in one direction",
            )
        prepare = TextPreprocessor(parsed)
        return Language(
            stage=f"layer{parsed.num_layers - 1}",
            states="states",
            alphabet=parsed.alphabet,
            encode=prepare.encode,
            sample=prepare.sample,
            decoder=_DECODER if config["architecture"] == ARCHITECTURE else "head",
        )

    def language_config(self, text: str, *, unit: str, hidden: int, layers: int) -> dict[str, Any]:
        return settings.language_config(text, unit=unit, hidden=hidden, layers=layers)
