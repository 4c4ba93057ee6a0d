"""A process that calls `zooadapt.zoo.hub` for the tests: the Hub client reads the environment once.

Reads one JSON object per line (`call`, `args`, `kwargs`), writes one per line: the result or the
typed error, the seconds it took and the events of the audit hook.
"""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import sys
import time
from pathlib import Path

if os.environ.get("NO_LOCKS"):  # as on file systems where flock succeeds for everybody
    import fcntl

    fcntl.flock = lambda *args: None
for module in os.environ.get("PRELOAD", "").split():
    importlib.import_module(module)  # before the hook: torch looks for libraries with ldconfig

WATCHED = ("socket.connect", "socket.getaddrinfo", "pickle.find_class", "os.system", "os.exec",
           "subprocess.Popen", "os.posix_spawn", "os.fork", "ctypes.dlopen")  # fmt: skip
seen: list[str] = []


def hook(event: str, args: tuple) -> None:
    own_memory = event == "ctypes.dlopen" and args == (None,)  # the command line sets its allocator
    if event in WATCHED and not own_memory:
        seen.append(f"{event} {args!r}")
    if event in ("exec", "compile"):
        source = getattr(args[0], "co_filename", args[-1])
        if str(source).startswith(os.environ["HF_HOME"]):
            seen.append(f"{event} {source}")


sys.addaudithook(hook)

from zooadapt.errors import ZooadaptError  # noqa: E402
from zooadapt.zoo import hub  # noqa: E402


def plain(value):
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return str(value) if isinstance(value, Path) else value


def open_and_read(spec: str) -> list[str]:
    """The steps of a command before it builds the network: the names of the tensors."""
    from zooadapt.runtime import model_files
    from zooadapt.zoo.sources import open_source

    return sorted(model_files.read_weights(open_source(spec).origin.folder))


def command(*arguments: str) -> dict:
    """The command line, as its own process would run it."""
    from zooadapt import cli

    sys.argv, code = ["zooadapt", *arguments], None
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    return {"code": code, "stdout": out.getvalue(), "stderr": err.getvalue()}


def run(call: str, args: list, kwargs: dict):
    if call == "command":
        return command(*args)
    if call == "open_and_read":
        return open_and_read(*args)
    if call == "pull":
        args = [args[0], *map(Path, args[1:])]
    if call == "push":
        args = [Path(args[0]), *args[1:]]
    return getattr(hub, call)(*args, **kwargs)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        started = time.monotonic()
        try:
            answer = {"result": plain(run(request["call"], request["args"], request["kwargs"]))}
        except ZooadaptError as error:
            answer = {"error": {"kind": type(error).__name__, "code": error.code,
                                "message": str(error), "thing": error.thing,
                                "remedy": error.remedy}}  # fmt: skip
        answer |= {"seconds": time.monotonic() - started, "events": list(seen)}
        seen.clear()
        print(json.dumps(answer), flush=True)


main()
