"""A plugin for tests: `hum`, a family of networks for sounds; `walks`, one for time series; and
their modality `series`, rows of numbers, which the core does not know."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from zooadapt.errors import DataError
from zooadapt.family import Family, Modality, Stage
from zooadapt.family.config_keys import get, whole


class Series(Modality):
    """A float32 array `(n,)`, written as numbers with blanks between them."""

    api = 1
    name = "series"
    noun, plural = "series", "series"
    pipeline_tag = "time-series-classification"
    example = 'echo "1 2 3" | zooadapt predict {model} -'
    in_cells = True
    suffixes = (".series",)
    formats = ".series"

    def decode(self, file, *, name, view, limits):
        import numpy as np

        try:
            values = np.array([float(word) for word in file.read().split()], dtype=np.float32)
        except ValueError as error:
            raise _bad(name, str(error)) from error
        if not len(values) or not np.isfinite(values).all():
            raise _bad(name, "no number, or none that is finite")
        return values

    def pieces(self, raw):
        return [raw.tobytes()]

    def synthesise(self, rng, *, view):
        return rng.normal(size=int(rng.integers(20, 90))).cumsum().astype("float32")

    def extremes(self, *, view):
        import numpy as np

        return [np.float32([1]), np.zeros(50, np.float32), np.arange(9000, dtype=np.float32)]

    def accepts(self, value):
        return getattr(value, "ndim", 0) == 1 and value.dtype.kind in "iuf"

    def of_value(self, value, *, name):
        if not self.accepts(value):
            return super().of_value(value, name=name)
        return value.astype("float32")


def _bad(name: str, why: str) -> DataError:
    return DataError(f"series '{name}' holds {why}", thing=name, remedy="write numbers")


class _Waves(Family):
    """Two convolutions over samples in time."""

    api = 1
    kind: str
    size: int

    def examples(self):
        return {"small": {"model_type": self.name, "width": 8}}

    def claims(self, config):
        return config.get("model_type") == self.name

    def build(self, config, num_classes):
        from torch import nn

        width = get(config, "width", whole(1, 64))
        layers = OrderedDict(
            conv=nn.Conv1d(1, width, 16, stride=4),
            act=nn.ReLU(),
            body=nn.Conv1d(width, width, 3, padding=1),
            pool=nn.AdaptiveMaxPool1d(1),
            flat=nn.Flatten(),
            head=nn.Linear(width, num_classes),
        )

        class Net(nn.Sequential):
            def forward(self, x):
                return super().forward(x)

        return Net(layers).eval()

    def stages(self, net):
        def features(activations):
            return {"features": net.flat(net.pool(net.body(activations["x"])))}

        return (
            Stage(name="stem", run=lambda a: {"x": net.act(net.conv(a["x"]))},
                  owns=("conv", "act"), channels=1),
            Stage(name="body", run=features, owns=("body", "pool", "flat")),
        )  # fmt: skip

    def head(self, net):
        return "head"

    def preprocessor(self, config, *, augment="none"):
        return _Prepare(self.size)

    def native_config(self, config, classes):
        return {**config, "classes": list(classes)}

    def classes(self, config):
        return config.get("classes")


class Walks(_Waves):
    """Time series, standardised and stretched to 64 points."""

    name, modality, size = "walks", "series", 64


class Hum(_Waves):
    """Sounds, a tenth of a second of them at 8 kHz."""

    name, modality, size = "hum", "audio", 800

    def sample_rate(self, config):
        return 8000


class _Prepare:
    min_side = None

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, raw: Any, *, rng: Any) -> dict:
        import numpy as np
        import torch

        values = getattr(raw, "samples", raw)
        if values is raw:
            points = np.linspace(0, len(values) - 1, self.size)
            values = np.interp(points, np.arange(len(values)), values)
            values = (values - values.mean()) / (values.std() + 1e-6)
        values = np.pad(values[: self.size], (0, max(0, self.size - len(values))))
        return {"x": torch.from_numpy(np.asarray(values, dtype=np.float32))[None]}

    def collate(self, samples):
        import torch

        return {"x": torch.stack([sample["x"] for sample in samples])}

    def config(self):
        return {"size": self.size}
