"""Random kills: whether a run that is killed again and again ends in the bytes of a run in peace.

    python tests/benchmarks/kills.py [--kills 100] [--seed 0]

Rounds go over all strategies and both memory layouts, forced, until there were so many kills; each
waits until there is a new checkpoint and for up to three seconds more, sends SIGKILL, clears the
cache in half of the cases, and goes on with --resume. Prints one line a round and exits with 1 if
any run ended in other bytes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

STRATEGIES = ("auto", "lp-ft", "full", "gradual", "from:stages.2")
RUN = """
import sys
from zooadapt import preparation
from zooadapt.precision import Mode
layout = {layout} != ("--resume" in {words})  # what a resumed run would choose is not what it takes
mode = Mode(precision="fp32", channels_last=layout, device="cpu", why="forced")
preparation.choose = lambda *_, **__: mode
from zooadapt.cli import main
sys.argv = ["zooadapt", *{words}]
main()
"""


def pictures(root: Path) -> Path:
    """Three classes that are hard to tell apart, so that `auto` trains."""
    for label in range(3):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(40):
            rng = np.random.default_rng((label, number))
            bright = 20 * label * (rng.random() < 0.7)
            pixels = (rng.normal(128, 60, (16, 16)) + bright).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"class{label}" / f"{number}.png")
    return root


def start(words: list[str], layout: bool, cache: Path) -> subprocess.Popen[bytes]:
    code = RUN.format(layout=layout, words=words)
    env = os.environ | {"ZOOADAPT_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def stamp(folder: Path) -> int:
    """Another number for each checkpoint, 0 where there is none."""
    try:
        return folder.stat().st_ino
    except FileNotFoundError:
        return 0


def finish(words: list[str], layout: bool, cache: Path) -> None:
    process = start(words, layout, cache)
    error = process.communicate()[1]
    if process.returncode:
        sys.exit(error.decode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    drawn, kills, number, different = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = pictures(folder / "data")
        while kills < options.kills:
            strategy, layout = STRATEGIES[number // 2 % len(STRATEGIES)], bool(number % 2)
            out, whole = folder / f"out{number}", folder / f"whole{number}"
            words = ["adapt", "digits04", str(data), "--strategy", strategy, "--epochs", "60",
                     "--batch-size", "8", "--checkpoint-seconds", "0.1"]  # fmt: skip
            cache = folder / "cache"
            finish([*words, "-o", str(whole)], layout, cache)
            own, checkpoint = 0, out.with_name(out.name + ".checkpoint")
            while not out.exists():
                more = ["--resume"] if checkpoint.exists() else []
                process = start([*words, "-o", str(out), *more], layout, cache)
                before = stamp(checkpoint)
                while process.poll() is None and stamp(checkpoint) == before:
                    time.sleep(0.02)
                try:
                    process.wait(drawn.uniform(0, 3))
                    if process.returncode:
                        sys.exit(process.stderr.read().decode())
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    own += 1
                    if drawn.random() < 0.5:
                        shutil.rmtree(cache, ignore_errors=True)
            kills += own
            one, other = ((p / "model.safetensors").read_bytes() for p in (out, whole))
            different += one != other
            verdict = "equal" if one == other else "OTHER BYTES"
            print(f"{strategy}, {'channels-last' if layout else 'plain'}: {own} kills, {verdict}",
                  flush=True)  # fmt: skip
            number += 1
    print(f"{number} runs, {kills} kills, seed {options.seed}: {different} ended in other bytes")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
