"""Int8 weights and activations for an ONNX graph, by onnxruntime's quantiser.

Ranges of activations come from training samples in convolutional networks, and from each input in
others: measured on a text encoder, ranges of training samples give logits that are off by 25 % of
their spread, ranges of each text 9 %. If the whole network in int8 loses too much, each layer's
damage is measured alone, and the worst layers stay in float: 1, 2, 4, ... until labels are safe.

Weights of convolutions are unsigned: products of unsigned and signed bytes saturate on processors
without VNNI, so that the same file would give other labels there.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zooadapt.runtime.progress import Progress

if TYPE_CHECKING:
    import onnx

CALIBRATED = ("Conv", "Gemm", "MatMul")
"""Operations of convolutional networks that are quantised, per channel."""
DYNAMIC = ("Gather", "Gemm", "LSTM", "MatMul")
"""The same of other networks; `Gather` reads the embeddings of tokens."""
Inputs = Mapping[str, np.ndarray]
_ENOUGH = 0.99
"""The share of safe labels that ends the search. A label is safe if its logit leads by at least
half of what it did in float: so the proof, on other samples, holds too."""
_PERCENTILE = 99.99
"""Of the activations that a range covers. On photos 94 % of the labels were equal, with ranges from
the least to the largest activation 88 %."""


class Int8:
    """Int8 versions of one float graph."""

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Inputs], folder: Path) -> None:
        """samples: the graph's inputs, to calibrate on; folder: for the quantiser's files."""
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._samples, self._folder = samples, folder
        self._float = folder / "float.onnx"
        traced = folder / "traced.onnx"
        traced.write_bytes(model.SerializeToString())
        with _quietly():
            quant_pre_process(traced, self._float, skip_symbolic_shape=True)
        graph = onnx.load(self._float).graph
        weights = {
            one.name
            for one in graph.initializer
            if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) > 1
        }
        self._calibrates = any(node.op_type == "Conv" for node in graph.node)
        self._kinds = CALIBRATED if self._calibrates else DYNAMIC
        self.layers = [
            node.name
            for node in graph.node
            if node.op_type in self._kinds and weights.intersection(node.input[:3])
        ]
        """Names of the layers that can be quantised, in order."""

    def quantised(self, layers: Sequence[str]) -> bytes:
        """The graph with these layers in int8."""
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_dynamic,
            quantize_static,
        )

        path = self._folder / "int8.onnx"
        chosen, kinds = list(layers), list(self._kinds)
        with _quietly():
            if self._calibrates:
                quantize_static(
                    self._float, path, _Reader(self._samples), quant_format=QuantFormat.QDQ,
                    per_channel=True, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QUInt8, nodes_to_quantize=chosen,
                    op_types_to_quantize=kinds, calibrate_method=CalibrationMethod.Percentile,
                    calibration_cache_path=self._folder / "ranges.json",
                    extra_options={"WeightSymmetric": True, "CalibPercentile": _PERCENTILE},
                )  # fmt: skip
            else:
                quantize_dynamic(
                    self._float, path, per_channel=True, weight_type=QuantType.QInt8,
                    nodes_to_quantize=chosen, op_types_to_quantize=kinds,
                )  # fmt: skip
        return path.read_bytes()


def quantise(
    model: onnx.ModelProto,
    calibration: Sequence[Inputs],
    samples: Sequence[Inputs],
    run: Callable[[bytes, Sequence[Inputs]], np.ndarray],
    progress: Progress,
) -> tuple[bytes, dict[str, Any]]:
    """The graph in int8, and which layers are.

    calibration: the inputs of training samples; samples: of samples to choose the layers by, which
    the network did not learn: it is surer of those that it did; run: the logits by the content of a
    file. A network without such layers, and one of which every layer loses too much, stays in
    float.
    """
    with tempfile.TemporaryDirectory(prefix="zooadapt-") as place:
        int8 = Int8(model, calibration, Path(place))
        logits = run(model.SerializeToString(), samples)
        floating: list[str] = []
        order: list[str] | None = None
        while True:
            layers = [name for name in int8.layers if name not in floating]
            if not layers:
                content = model.SerializeToString()
                break
            progress.doing(f"measuring {len(layers)} of {len(int8.layers)} layers in int8")
            content = int8.quantised(layers)
            if _safe(logits, run(content, samples)) >= _ENOUGH:
                break
            if order is None:
                order = _by_damage(int8, samples, logits, run, progress)
            floating = order[: max(1, 2 * len(floating))]
    return content, {"int8_layers": len(layers), "float_layers": floating}


def _by_damage(
    int8: Int8,
    samples: Sequence[Inputs],
    logits: np.ndarray,
    run: Callable[[bytes, Sequence[Inputs]], np.ndarray],
    progress: Progress,
) -> list[str]:
    """The layers, the one first whose quantisation alone changes the logits most."""
    few = samples[: max(8, len(samples) // 4)]
    damage = {}
    with progress.task("layers in int8, one by one", len(int8.layers)) as advance:
        for name in int8.layers:
            error = run(int8.quantised([name]), few) - logits[: len(few)]
            damage[name] = float(np.square(error).mean())
            advance(1)
    return sorted(damage, key=lambda name: -damage[name])


def _safe(before: np.ndarray, after: np.ndarray) -> float:
    """The share of samples whose label leads by half of what it did, from `(n, K)` logits."""
    rows, label = np.arange(len(before)), before.argmax(1)

    def lead(logits: np.ndarray) -> np.ndarray:
        others = logits.copy()
        others[rows, label] = -np.inf
        led: np.ndarray = logits[rows, label] - others.max(1)
        return led

    return float((lead(after) >= lead(before) / 2).mean())


class _Reader:
    """Samples as the quantiser reads them."""

    def __init__(self, samples: Sequence[Inputs]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Inputs | None:
        return next(self._samples, None)


@contextmanager
def _quietly() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
