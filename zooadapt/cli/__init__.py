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

from zooadapt.cli import streams, synonyms, system, terminate
from zooadapt.cli.commands import amended
from zooadapt.errors import ZooadaptError, out_of_memory
from zooadapt.runtime import distributed, memory, timing
from zooadapt.runtime.version import __version__

COMMANDS = {
    "adapt": ("zooadapt.cli.adapt:adapt", "Adapt a pretrained model to your data."),
    "cache": ("zooadapt.cli.cache:cache", "Show and remove what is stored on this machine."),
    "demo": ("zooadapt.cli.demo:demo", "See the main job done, offline, in about half a minute."),
    "evaluate": ("zooadapt.cli.use:evaluate", "Metrics of a model on a labelled set."),
    "features": ("zooadapt.cli.use:features", "Embeddings and labels of a data set."),
    "inspect": ("zooadapt.cli.look:inspect", "Stages, costs and cuts of a source."),
    "models": ("zooadapt.cli.look:models", "Sources that are here, and that families know."),
    "plugins": ("zooadapt.cli.plugins:plugins", "List, check and create plugins."),
    "predict": ("zooadapt.cli.use:predict", "Labels with probabilities for new inputs."),
    "pretrain": ("zooadapt.cli.pretrain:pretrain", "Train a source on plain text, no labels."),
    "pull": ("zooadapt.cli.hub:pull", "Download a source, verified, to use it offline."),
    "push": ("zooadapt.cli.hub:push", "Publish a model on the Hub."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and (ours := synonyms.command(args[0])):
            ctx.fail(f"No such command '{args[0]}': here it is 'zooadapt {ours}'.")
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
    """A signal asked to stop. No KeyboardInterrupt, so that a plugin cannot fake one."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """Run a command and exit with the code that `zooadapt.errors` promises."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    streams.prepare()
    note = system.prepare()
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
    except ZooadaptError as error:
        remedy = amended(sys.argv[1:], error.options) if error.options else error.remedy
        code = _fail(
            type(error).__name__, str(error), error.thing, remedy, error.code, as_json=as_json
        )
    except Exception as error:
        if out_of_memory(error):
            message, remedy = terminate.MESSAGE, terminate.REMEDY
            if isinstance(error, ImportError) or "thread" in str(error):
                message, remedy = f"{message}: {error}", memory.MORE
            code = _fail("ResourceError", message, "memory", remedy, 71, as_json=as_json)
        elif isinstance(error, OSError):
            thing = str(error.filename or "output")
            code = _fail(
                "FileError",
                f"cannot read or write '{thing}': {error.strerror or error}",
                thing,
                "check the disk and its permissions",
                74,
                as_json=as_json,
            )
        elif os.environ.get("ZOOADAPT_DEBUG"):
            raise
        else:
            code = _fail(
                "Bug",
                f"zooadapt failed: {type(error).__name__}: {error}",
                "zooadapt",
                "run it again with ZOOADAPT_DEBUG=1 and report what it prints",
                1,
                as_json=as_json,
            )
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    if why := streams.lost():
        _note(f"the result could not be printed: {why}")
    if code and timing.importing():
        atexit.register(_leave, code)
    sys.exit(code or 0)


def _note(text: str) -> None:
    from zooadapt.cli.output import printable

    print(printable(f"note: {text}"), file=sys.stderr)


def _unread() -> int:
    """The exit code where the reader of stdout has gone."""
    _drop_output()
    return 141


def _drop_output() -> None:
    """Let what stdout still holds go nowhere, so that the interpreter's end does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.ClickException) -> tuple[str, str, str]:
    """What click says of a command line: the message, the option or argument, the remedy."""
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


def _fail(kind: str, message: str, thing: str, remedy: str, code: int, *, as_json: bool) -> int:
    from zooadapt.cli.output import printable

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
