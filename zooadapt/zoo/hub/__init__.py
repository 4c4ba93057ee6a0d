"""The Hub: downloads sources and publishes models. The only user of huggingface_hub, except for
data sets, which `datasets` downloads with it.

A source is resolved to a commit first. Every file is checked against the commit's hashes at its
download, and against the recorded ones at every later use, from the cache and offline too.

Environment, in seconds: a transfer below 1 KiB/s for `ZOOADAPT_HUB_STALL` (30) fails, a call may
take `ZOOADAPT_HUB_DEADLINE` (a day), the first retry waits `ZOOADAPT_HUB_PAUSE` (1).
"""

import os
import sys

# huggingface_hub reads these once, at its import. Transfers by Xet have no deadline, so that the
# user has to choose them by HF_HUB_DISABLE_XET=0.
for _switch in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "HF_HUB_DISABLE_XET"):
    os.environ.setdefault(_switch, "1")
if not sys.stderr.isatty():  # upload bars do not check for one
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
