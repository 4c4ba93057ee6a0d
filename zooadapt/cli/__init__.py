"""The command line: lazy, so that help and usage errors cost no heavy import, and the only place
that catches a ZooadaptError and prints."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from zooadapt.cli import environment, streams, synonyms, terminate
from zooadapt.cli.commands import amended
from zooadapt.errors import ZooadaptError
from zooadapt.runtime import distributed, failures, timing
from zooadapt.runtime.version import __version__
from zooadapt.runtime.wording import printable

COMMANDS = {
    "adapt": ("adapt:adapt", "Adapt a pretrained model to your data."),
    "cache": ("cache:cache", "Show and remove what is stored on this machine."),
    "demo": ("demo:demo", "Run the main job offline, in about half a minute."),
    "evaluate": ("inference:evaluate", "Measure a model on labelled data."),
    "export": ("export:export", "Write a model as an ONNX file, which runs without torch."),
    "features": ("inference:features", "Write the embeddings of a data set."),
    "inspect": ("inspect:inspect", "Show the stages of a model, their cost and freeze points."),
    "models": ("inspect:models", "List pretrained models to start from."),
    "plugins": ("plugins:plugins", "List, check and create plugins."),
    "predict": ("inference:predict", "Predict the labels of new inputs, with probabilities."),
    "pretrain": ("pretrain:pretrain", "Pretrain a language model on plain text, without labels."),
    "pull": ("hub:pull", "Download a pretrained model, verified, for offline use."),
    "push": ("hub:push", "Publish a model on the Hub."),
    "rank": ("rank:rank", "Rank pretrained models by how well they suit your data."),
}
"""Commands with their homes in `zooadapt.cli` and a line of help."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"zooadapt.cli.{module}"), attribute
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and (name := synonyms.command(args[0])):
            ctx.fail(f"No such command '{args[0]}': here it is 'zooadapt {name}'.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="zooadapt")
def root() -> None:
    """The best model from the public zoos for your own small data set."""


class Interrupted(BaseException):
    """A signal that ends the command. It is no KeyboardInterrupt, which a plugin could raise."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """Run a command and exit with the code that `zooadapt.errors` promises."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    streams.prepare()
    note = environment.prepare()
    if note and distributed.is_main():
        _note(note)
    as_json = "--json" in sys.argv
    terminate.prepare(as_json=as_json)
    try:
        code = root.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        code = error.exit_code
        if as_json:
            _fail("UsageError", *_usage(error), code, as_json=True)
        else:
            error.show()
    except click.Abort:
        code = 130
    except Interrupted as stop:
        code = stop.code
    except BrokenPipeError:
        code = _unread()
    except SystemExit as stop:
        # Nobody exits here but click, for a shell's completion, and click and rich with 1, which is
        # what they make of a broken pipe.
        code = _unread() if stop.code == 1 else stop.code
    except Exception as error:
        expected = failures.expected(error)
        if expected is None and os.environ.get("ZOOADAPT_DEBUG"):
            raise
        code = _fail_of(expected, as_json) if expected else _fail_of_bug(error, as_json)
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    if fault := streams.lost():
        _note(f"the result could not be printed: {fault}")
    if code and timing.importing():
        atexit.register(_leave, code)
    sys.exit(code or 0)


def _note(text: str) -> None:
    print(printable(f"note: {text}"), file=sys.stderr)


def _unread() -> int:
    """The exit code of a broken pipe."""
    _drop_output()
    return 141


def _drop_output() -> None:
    """Discard what stdout still buffers, so that the interpreter's exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.ClickException) -> tuple[str, str, str]:
    """The message, the option or argument at fault, and the remedy of a usage error of click."""
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    thing = param.opts[-1] if param else getattr(error, "option_name", "")
    command = context.command_path if context else "zooadapt"
    return error.format_message().rstrip("."), thing, f"{command} --help"


def _leave(code: int) -> None:
    """End the process at once if modules are still being imported: torch aborts when the
    interpreter is taken down around that."""
    if timing.importing():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _interrupt(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(128 + number)


def _fail_of(error: ZooadaptError, as_json: bool) -> int:
    remedy = amended(sys.argv[1:], error.options) if error.options else error.remedy
    kind = type(error).__name__
    return _fail(kind, str(error), error.thing, remedy, error.code, as_json=as_json)


def _fail_of_bug(error: Exception, as_json: bool) -> int:
    message = f"zooadapt failed: {type(error).__name__}: {error}"
    remedy = "run it again with ZOOADAPT_DEBUG=1 and report what it prints"
    return _fail("Bug", message, "zooadapt", remedy, 1, as_json=as_json)


def _fail(kind: str, message: str, thing: str, remedy: str, code: int, *, as_json: bool) -> int:
    who = "" if distributed.is_main() else f"process {distributed.rank()}: "
    line = f"{who}error: {message}" + (f". Try: {remedy}" if remedy else "")
    print(printable(line), file=sys.stderr)
    if as_json and distributed.is_main():
        import json

        failure = {
            "code": code, "kind": kind, "message": message, "thing": thing, "remedy": remedy,
        }  # fmt: skip
        with suppress(OSError):  # a full disk may be what this is about
            print(json.dumps(failure), flush=True)
    return code
