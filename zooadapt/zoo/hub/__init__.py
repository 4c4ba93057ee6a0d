"""The Hub: sources in, models out. The only user of huggingface_hub, but for the data sets, which
`datasets` gets with it.

A source is resolved to a commit first; every file used is checked against the commit's hashes when
it comes and against the recorded ones on every later use, from the cache and offline too.

Environment, in seconds: a transfer below 1 KiB/s for `ZOOADAPT_HUB_STALL` (30) has failed, one
call may take `ZOOADAPT_HUB_DEADLINE` (a day), the first retry waits `ZOOADAPT_HUB_PAUSE` (1).
"""

import os
import sys

# huggingface_hub reads these once, at its import. Xet's transfers know no deadline, so they are
# used only where the user asks for them with HF_HUB_DISABLE_XET=0.
for _switch in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "HF_HUB_DISABLE_XET"):
    os.environ.setdefault(_switch, "1")
if not sys.stderr.isatty():  # its bars for uploads do not look
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from zooadapt.zoo.hub.pull import Cached, cache_folder, cached, pull, remove  # noqa: E402
from zooadapt.zoo.hub.push import PushResult, push  # noqa: E402
from zooadapt.zoo.hub.source import Source, fetch, fetch_config, local_config, resolve  # noqa: E402

__all__ = [
    "Cached",
    "PushResult",
    "Source",
    "cache_folder",
    "cached",
    "fetch",
    "fetch_config",
    "local_config",
    "pull",
    "push",
    "remove",
    "resolve",
]
