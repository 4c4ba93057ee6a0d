"""The output folder: native weights and config that every tool of the family loads, and the words
and figures about them. Written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

from zooadapt import fsops, weights
from zooadapt.model import Model
from zooadapt.report import Written


def save(model: Model, out: Path, written: Written, *, overwrite: bool) -> None:
    """Write `model.safetensors`, `config.json`, `README.md` and `report.json` to a new folder.

    Weights are fp32 and contiguous under their native names; equal weights give equal bytes.
    Raises: OutputError when `out` exists and may not be replaced, FileError when writing fails.
    """
    source = model.source
    native = source.family.native_state(model.chain.net.state_dict(), source.config)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in native.items()}
    with fsops.new_folder(out, overwrite=overwrite) as folder:
        weights.write_weights(folder / "model.safetensors", state)
        fsops.write_json(folder / "config.json", written.config)
        fsops.write_json(folder / "report.json", written.report)
        fsops.write_file(folder / "README.md", written.card.encode())
        for name, text in written.files.items():
            fsops.write_file(folder / name, text.encode())
