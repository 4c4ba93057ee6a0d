"""A pretrained model whose last stages have random weights again, as a source for benchmarks.

    python tests/benchmarks/reset_source.py SOURCE FOLDER --keep 0.5 [--seed 0]

The first stages, the share of all that `--keep` says, have the weights of SOURCE, a folder or a
bundled model of one weights file; the others have those of the same network with random weights.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from zooadapt.backbone.pretrained import build
from zooadapt.zoo.sources import open_source

WEIGHTS = "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = open_source(options.source)
    model = build(source, classes=("a", "b"), from_scratch=True, seed=options.seed)
    stages = model.backbone.stages
    reset = stages[round(options.keep * len(stages)) :]
    random = model.source.family.native_state(model.backbone.net.state_dict(), source.config)
    shutil.copytree(source.origin.folder, options.folder)
    state = load_file(options.folder / WEIGHTS)
    owned = [path for stage in reset for path in stage.owns]
    below = tuple(f"{path}." for path in owned)
    changed = [name for name in state if name in owned or name.startswith(below)]
    state |= {name: random[name].contiguous() for name in changed}
    save_file(state, options.folder / WEIGHTS, {"format": "pt"})
    names = ", ".join(one.name for one in reset)
    print(f"{len(changed)} of {len(state)} tensors are random: {names}")


if __name__ == "__main__":
    main()
