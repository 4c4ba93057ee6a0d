"""`zooadapt demo`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

from zooadapt.cli import options as shared
from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say
from zooadapt.runtime.timing import Clock

_RUNS = {"adapted": ("probe", None, False), "from scratch": ("full", 40, True)}
"""Strategy, epochs and whether from random weights, of each of the two models."""


@command(example="zooadapt demo -o digits")
@shared.out(
    "Folder for the images and the two models.",
    default=Path("zooadapt-demo"),
    shown_default="zooadapt-demo",
)
@shared.option("--data-only", is_flag=True, help="Write the images and stop.")
@shared.as_json
def demo(out: Path, data_only: bool, as_json: bool) -> None:
    """Adapt a bundled model to ten images a class, beside the same network from random weights.

    The model was pretrained on the handwritten digits 0 to 4 and is adapted to 5 to 9.
    """
    from zooadapt.runtime import outputs
    from zooadapt.workflows import demo as digits

    clock, display = Clock(), progress(as_json)
    outs = {name: out / name.replace(" ", "-") for name in _RUNS}
    for folder in outs.values():
        outputs.check_output(folder, overwrite=True)
    with clock.part("pictures"):
        _, target = digits.write_digits(out / "data")
    if data_only:
        data = {"out": str(out), "data": str(out / "data")}
        emit(data, as_json, lambda: say(out / "data"), stands=True)
        return
    display.say(f"Handwritten digits 5 to 9, {digits.LABELS} pictures of each to learn:")
    display.say("1. A network that has learned the digits 0 to 4 learns them.")
    with clock.part("start-up"):
        from zooadapt.runtime.progress import Progress
        from zooadapt.training.config import Request
        from zooadapt.workflows import inference
        from zooadapt.workflows.adapt import adapt
        from zooadapt.workflows.settings import Settings

    results = {}
    for name, (strategy, epochs, from_scratch) in _RUNS.items():
        request = Request(
            source=digits.SOURCE,
            data=str(target),
            out=outs[name],
            strategy=strategy,
            epochs=epochs,
            from_scratch=from_scratch,
            overwrite=True,
        )
        if from_scratch:
            display.say("2. The same network learns them without having seen a digit.")
        with clock.part(name):
            report = adapt(request, Progress()).report
        results[name] = {key: report[key] for key in ("out", "test", "seconds")}
    images = digits.examples(target)
    with clock.part("answers"):
        predictions = inference.predict(
            str(outs["adapted"]), list(map(str, images)), Settings(), Progress()
        )
    seconds = clock.seconds()

    def show() -> None:
        learned, untrained = (round(100 * of["test"]["accuracy"]) for of in results.values())
        say("")
        say(f"With {digits.LABELS} pictures of each digit the pretrained network is")
        say(f"right about {learned} of 100 others, the same network untrained")
        say(f"about {untrained}.")
        say("")
        blocks = _has("▄▀█")
        drawn = images if blocks else images[:3]
        for line in digits.drawn(drawn, blocks=blocks):
            say("  " + line.rstrip())
        width = 10 if blocks else 18
        labels = [f"says {one.label}" for one in predictions[: len(drawn)]]
        say("  " + "".join(f"{label:<{width}}" for label in labels).rstrip())
        say("")
        parts = [f"{name} {value:.1f}" for name, value in seconds.items() if name != "total"]
        whole = sum(seconds.values()) - seconds["total"]
        for line in textwrap.wrap(f"{whole:.1f} s: {', '.join(parts)}", 60):
            say(line)
        say("Next, ask it about pictures of a 7:")
        say(f"{_program()} predict {shlex.quote(str(outs['adapted']))} \\")
        say(f"  {shlex.quote(str(target / 'test' / '7'))}")

    result: dict[str, Any] = {"out": str(out), "models": results, "seconds": seconds}
    emit(result, as_json, show, stands=True)


def _has(characters: str) -> bool:
    """Whether the terminal's encoding has these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _program() -> str:
    """What to type to run this program again: its name, or its path if the shell finds another."""
    script = Path(sys.executable).parent / "zooadapt"
    on_path = shutil.which("zooadapt")
    if on_path is not None and Path(on_path).absolute() == script.absolute():
        return "zooadapt"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m zooadapt"
    path = os.path.relpath(script)
    return shlex.quote(str(script) if path.startswith("..") else path)
