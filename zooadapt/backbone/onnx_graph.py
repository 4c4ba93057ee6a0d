"""A staged backbone as an ONNX graph, by torch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zooadapt.backbone.onnx_model import FEATURES, LOGITS
from zooadapt.backbone.pixel_graph import PixelGraph
from zooadapt.backbone.recurrent_graph import onnx_recurrences
from zooadapt.backbone.staged import StagedBackbone, apply_head
from zooadapt.errors import DataError
from zooadapt.family import Activations
from zooadapt.family.portable import Pixels, Portable

if TYPE_CHECKING:
    import onnx

OPSET = 20
_MOST_BYTES = (1 << 31) - (1 << 24)
"""A file in ONNX's format is shorter than 2 GiB."""


class Graph(nn.Module):
    """What is exported: preprocessing where a graph expresses it, the stages, the head."""

    def __init__(
        self, backbone: StagedBackbone, portable: Portable, names: Sequence[str], *, stages: bool
    ) -> None:
        """names: of the network's inputs; stages: the outputs are the activations of each stage,
        instead of logits and features."""
        super().__init__()
        self.net = backbone.net
        self.pixels = PixelGraph(portable) if isinstance(portable, Pixels) else None
        self._backbone, self._names, self._stages = [backbone], tuple(names), stages

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        backbone = self._backbone[0]
        if self.pixels is not None:
            inputs = (self.pixels(inputs[0]),)
        activations: Activations = dict(zip(self._names, inputs, strict=True))
        outputs = list(inputs)
        for stage in backbone.stages:
            activations = stage.run(activations)
            outputs += [tensor for tensor in activations.values() if tensor.is_floating_point()]
        features = activations["features"]
        logits = apply_head(backbone.head, features)
        return (*outputs, logits) if self._stages else (logits, features)

    def by_stage(self, prepared: Activations) -> list[tuple[str, Tensor]]:
        """Torch's outputs with `stages`, each with the name of its stage: `preprocessing` and
        `head` beside those of the backbone. prepared: the input of its first stage."""
        backbone, activations = self._backbone[0], prepared
        outputs = [("preprocessing", prepared[name]) for name in self._names]
        for stage in backbone.stages:
            activations = stage.run(activations)
            tensors = [tensor for tensor in activations.values() if tensor.is_floating_point()]
            outputs += [(stage.name, tensor) for tensor in tensors]
        return [*outputs, ("head", apply_head(backbone.head, activations["features"]))]


def to_onnx(graph: Graph, inputs: Activations) -> onnx.ModelProto:
    """The graph with dynamic sizes of batches, texts and images.

    inputs: of the graph, by name: at least two samples, and texts of at least three symbols.
    Raises: DataError where torch's exporter fails, or a file cannot hold the network.
    """
    size = sum(tensor.nbytes for tensor in (*graph.parameters(), *graph.buffers()))
    if size > _MOST_BYTES:
        raise DataError(
            f"a network of {size / 1e9:.1f} GB is too large for one ONNX file, which holds 2 GB",
            thing="ONNX",
            remedy="adapt a smaller pretrained model",
        )
    sizes = {"N": "samples", "T": "length", "H": "height", "W": "width"}
    images = graph.pixels is not None
    dynamic = tuple(
        {0: sizes["N"]} | ({1: sizes["H"], 2: sizes["W"]} if images else {})
        if images or tensor.ndim < 2
        else {0: sizes["N"], 1: sizes["T"]}
        for tensor in inputs.values()
    )
    outputs = None if graph._stages else [LOGITS, FEATURES]
    graph.eval()
    try:
        with _quietly(), torch.no_grad(), onnx_recurrences(graph.net):
            graph(*inputs.values())  # what runs differently the first time has run
            program = torch.onnx.export(
                graph, tuple(inputs.values()), dynamo=True, opset_version=OPSET,
                input_names=list(inputs), output_names=outputs, dynamic_shapes=(dynamic,),
                external_data=False, verbose=False,
            )  # fmt: skip
            assert program is not None
            return _without_traces(program.model_proto)
    except Exception as error:  # the exporter raises errors of many kinds
        raise DataError(
            f"torch cannot export this network to ONNX: {_reason(error)}",
            thing="ONNX",
            remedy="adapt a pretrained model of another architecture",
        ) from error


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter notes beside nodes and tensors: it holds the paths of
    this machine's source files."""
    graph = model.graph
    parts = (graph.node, graph.initializer, graph.input, graph.output, graph.value_info)
    for part in (model, graph, *(one for group in parts for one in group), *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    return model


def _reason(error: BaseException) -> str:
    """The first line of the innermost error."""
    while (cause := error.__cause__) is not None:
        error = cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's own messages, on stdout and by logging, and its warnings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
