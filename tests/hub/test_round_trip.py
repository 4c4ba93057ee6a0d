"""Round trips of real models: adapt and push, then in a clean home pull, predict and load by stock
libraries."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .client import TOKEN
from .server import sha256

CASES = {
    "timm": ("mobilenetv2_035.keras_in1k_headless", "images/ants_bees", ["--input-size", "96"]),
    "rnn": ("charlstm_darwin.ml5", "text/sms_spam", []),
    "transformers": ("all_minilm_l6_v2.st_fp16", "text/trec6/test.csv", ["--strategy", "probe"]),
}
ROUNDING = {"timm": 0.0, "rnn": 0.0, "transformers": 1e-5}
"""Of a stock library's logits: sentence-transformers sorts and pads a batch in its own way."""


def run(hub, home: Path, *arguments: str) -> str:
    """A command in a home of its own; its stdout."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "ZOOADAPT_"))}
    home.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=home, capture_output=True, text=True,
        env=inherited | {"HOME": str(home), "HF_HOME": str(home / "hf"), "HF_TOKEN": TOKEN,
                    "HF_ENDPOINT": hub.url, "NO_PROXY": "*", "OMP_NUM_THREADS": "1",
                    "ZOOADAPT_CACHE": str(home / "zoo"), "PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("family", CASES)
def test_push_then_pull_then_predict(hub, tmp_path, real_data, family):
    name, data, options = CASES[family]
    home, model, repo = tmp_path / "home", tmp_path / "model", f"me/{family}-trip"
    zooadapt = ("-m", "zooadapt")
    run(hub, home, *zooadapt, "adapt", str(real_data / "weights" / name), str(real_data / data),
        "-o", str(model), "--labels-per-class", "4", "--precision", "fp32", *options)  # fmt: skip
    pushed = json.loads(run(hub, home, *zooadapt, "push", str(model), repo, "--json"))
    compare = str(Path(__file__).parent / "compare.py")
    output = run(hub, tmp_path / "clean", compare, str(model), repo, family)
    outcome = json.loads(output.splitlines()[-1])
    assert outcome["equal"] and outcome.get("stock", 0.0) <= ROUNDING[family]
    assert outcome["sha256"] == sha256((model / "model.safetensors").read_bytes())
    assert outcome["lock"] == pushed["commit"]
    check_snippets(hub, tmp_path, repo, hub.repos[repo].head.files["README.md"].decode())
    published = [data for c in hub.repos[repo].branches["main"] for data in c.files.values()]
    local = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in data for data in published + local)
    assert not any(str(tmp_path).encode() in data for data in published)


def check_snippets(hub, tmp_path: Path, repo: str, card: str) -> None:
    """Run all code of the card, unchanged, in a home with an empty cache."""
    home = tmp_path / "reader"
    home.mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / "photo.jpg")
    blocks = re.findall(r"```(sh|python)\n(.*?)```", card, re.DOTALL)
    assert blocks and "local-dir:" not in card and "PATH_OF" not in card
    outputs = {}
    for language, code in blocks:
        assert repo in code
        if language == "sh":
            code = code.rstrip() + " --json --precision fp32"
            code = f"import subprocess, sys; sys.exit(subprocess.call({code!r}, shell=True))"
        outputs[language] = run(hub, home, "-c", code)
    (prediction,) = json.loads(outputs["sh"])["predictions"]
    assert 0 < prediction["probability"] <= 1
    if "python" in outputs:
        label, probability = parse(outputs["python"])
        assert label == prediction["label"]
        assert probability == pytest.approx(prediction["probability"], abs=1e-5)


def parse(line: str) -> tuple[str, float]:
    """The label and its probability, as a card's code prints them: two words, or a list of one."""
    if line.startswith("["):
        (answer,) = ast.literal_eval(line)
        return answer["label"], answer["score"]
    label, probability = line.split()
    return label, float(probability)
