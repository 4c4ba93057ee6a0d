"""`zooadapt demo`."""

from __future__ import annotations

from pathlib import Path

import click

from zooadapt.cli.commands import command
from zooadapt.cli.output import emit, progress, say, table


@command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("zooadapt-demo"),
    show_default=True,
    help="Folder for the images and the two models.",
)
@click.option("--data-only", is_flag=True, help="Write the images and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def demo(out: Path, data_only: bool, as_json: bool) -> None:
    """Adapt a bundled source to ten images a class, beside the same network from scratch.

    The source was trained on the handwritten digits 0 to 4 and meets the digits 5 to 9.
    """
    from zooadapt import outputs
    from zooadapt.demo import LABELS, SOURCE, write_digits

    runs = {"adapted": ("probe", False), "from scratch": ("full", True)}
    outs = {name: out / name.replace(" ", "-") for name in runs}
    for place in outs.values():
        outputs.check_output(place, overwrite=True)
    _, target = write_digits(out / "data")
    if data_only:
        data = {"out": str(out), "data": str(out / "data")}
        emit(data, as_json, lambda: say(out / "data"), stands=True)
        return
    from zooadapt.adapt import adapt
    from zooadapt.request import Request

    rows, results = [], {}
    for name, (strategy, from_scratch) in runs.items():
        shown = progress(as_json)
        shown.say(f"digits 5 to 9, {LABELS} images a class, {name}:")
        request = Request(
            source=SOURCE,
            data=str(target),
            out=outs[name],
            strategy=strategy,
            epochs=40 if from_scratch else None,
            from_scratch=from_scratch,
            overwrite=True,
        )
        report = adapt(request, shown).report
        low, high = report["test"]["interval"]
        seconds = report["seconds"]["total"]
        rows.append([name, f"{report['test']['accuracy']:.3f}", f"{low:.3f} to {high:.3f}",
                     report["test"]["n"], f"{seconds:.1f}", report["out"]])  # fmt: skip
        results[name] = {key: report[key] for key in ("out", "test", "seconds")}

    def show() -> None:
        table(
            "digits 5 to 9 from ten images each",
            ["", "test accuracy", "95 % interval", "n", "seconds", "model"],
            rows,
        )
        say(f"try it: zooadapt predict {outs['adapted']} {target / 'test' / '7'}")

    emit({"out": str(out), "models": results}, as_json, show, stands=True)
