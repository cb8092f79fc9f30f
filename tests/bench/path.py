"""The whole path with one command: seconds, CPU and memory of everything it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

EVERY_S = 0.2


def measure(folder: Path, weeks: str | None) -> str:
    """Run `cloakhouse run` in an empty home and return its measures as a Markdown table."""
    home = folder / "home"
    home.mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("cloakhouse")), "run", *(["--weeks", weeks] if weeks else [])]
    started = time.monotonic()
    with (folder / "screen.txt").open("w+") as screen:
        process = subprocess.Popen(
            command, env={**os.environ, "CLOAKHOUSE_HOME": str(home)}, stdout=screen, stderr=subprocess.STDOUT
        )
        peak, cpu = _follow(process)
        wall = time.monotonic() - started
        screen.seek(0)
        text = screen.read()
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}:\n{text}")
    rows = re.search(r"transactions\s+([\d,]+)", text.split("Rows", 1)[1])
    again = time.monotonic()
    subprocess.run(command, env={**os.environ, "CLOAKHOUSE_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    return "\n".join(
        [
            "| the whole path, one command | measured | target |",
            "| --- | --- | --- |",
            f"| receipt lines landed | {rows.group(1) if rows else '?'} | |",
            f"| wall | {wall:.0f} s | 360 s or less |",
            f"| CPU of all processes (sampled, a lower bound) | {cpu:.0f} s | |",
            f"| peak memory of all processes together (PSS) | {peak / 2**30:.2f} GiB | 6 GiB or less |",
            f"| a second run, with nothing to do | {time.monotonic() - again:.0f} s | |",
            "",
        ]
    )


def _follow(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Return (peak bytes, CPU seconds) of the process and all its descendants until it ends."""
    root, peak = psutil.Process(process.pid), 0
    seconds: dict[tuple[int, float], float] = {}
    while process.poll() is None:
        total = 0
        try:
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for member in family:
            try:
                total += member.memory_full_info().pss
                times = member.cpu_times()
                seconds[member.pid, member.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        peak = max(peak, total)
        time.sleep(EVERY_S)
    process.wait()
    return peak, sum(seconds.values())
