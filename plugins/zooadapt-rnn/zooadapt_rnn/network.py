"""Embedding, recurrent layers, concat pooling, head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zooadapt.family import Activations, Stage
from zooadapt_rnn import recurrent
from zooadapt_rnn.recurrent import inside, trimmed
from zooadapt_rnn.settings import Settings


class RecurrentClassifier(nn.Module):
    """A text classifier on the last, mean and max state of the last recurrent layer."""

    def __init__(self, settings: Settings, num_classes: int) -> None:
        super().__init__()
        self._bidirectional = settings.bidirectional
        self.embed = nn.Embedding(settings.rows, settings.embedding_dim)
        self.rnn = recurrent.layers(
            settings.cell,
            settings.embedding_dim,
            settings.hidden_size,
            count=settings.num_layers,
            bidirectional=settings.bidirectional,
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(settings.features, num_classes)

    def forward(self, ids: Tensor, length: Tensor) -> Tensor:
        """Logits `(N, K)` of the first `length` `(N,)`, >= 1, of `ids` `(N, T)`."""
        activations: Activations = {"ids": ids, "length": length}
        for stage in self.stages():
            activations = stage.run(activations)
        logits: Tensor = self.head(activations["features"])
        return logits

    def stages(self) -> Sequence[Stage]:
        return (
            Stage(name="embedding", run=self._embed, owns=("embed",)),
            *recurrent.stages(self.rnn, path="rnn"),
            Stage(name="pooling", run=self._pool, owns=("dropout",)),
        )

    def _embed(self, activations: Activations) -> Activations:
        length = activations["length"]
        x = self.embed(trimmed(activations["ids"], length))
        return {"states": x.masked_fill(~inside(x, length)[..., None], 0), "length": length}

    def _pool(self, activations: Activations) -> Activations:
        pooled = recurrent.concatenated(
            activations["states"], activations["length"], bidirectional=self._bidirectional
        )
        return {"features": self.dropout(pooled)}
