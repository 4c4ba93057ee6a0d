"""The `zooadapt` command with a clock that counts processor seconds, as each peer's budget does, so
that other work on the machine does not shorten its `--budget`."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import queue
import subprocess
import threading
import time

# What waits for others needs the wall clock, and binds it when it is imported.
WAITING = (concurrent.futures, multiprocessing, queue, subprocess, threading)

if __name__ == "__main__":
    time.monotonic = time.perf_counter = time.process_time
    from zooadapt.cli import main

    main()
