"""Load on a server of its own, loopback only: ``python tests/server/load_server.py``.

Clients ask for descriptions without pause: 1, 8 and 32 of them, about one clip and about 32 clips.
Then more than may be inside at once, and many requests while the server's memory is watched.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Tally:
    """What a run of clients saw."""

    statuses: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    took_s: float = 0.0
    retry_after: set[str] = field(default_factory=set)

    @property
    def throughput(self) -> float:
        return self.statuses[200] / self.took_s

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Wire:
    """One connection that is kept; no more of HTTP than is needed, so that clients cost little."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Wire:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def ask(self, method: str, path: str, body: bytes, **headers: str):
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        headers.setdefault("Content_Type", "application/json")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split(" ", 2)[1])
        length = int(re.search(r"content-length: (\d+)", head, re.IGNORECASE)[1])
        again = re.search(r"retry-after: (\d+)", head, re.IGNORECASE)
        return status, await self._reader.readexactly(length), again[1] if again else None


async def follow(port: int, clip: Path, tracks: Path) -> bytes:
    """Upload a clip, give its true masks, and return the body that asks for a description."""
    from gar_video import Tracks

    data, known = clip.read_bytes(), Tracks.load(tracks)
    async with Wire(port) as wire:
        _, told, _ = await wire.ask("POST", "/v1/videos", json.dumps({"bytes": len(data)}).encode())
        video = json.loads(told)["id"]
        status, told, _ = await wire.ask(
            "PATCH", f"/v1/videos/{video}", data, Upload_Offset="0",
            Content_Type="application/octet-stream",
        )  # fmt: skip
        assert status == 200, told
        frames = known[1].frames.tolist()
        regions = [{"id": 1, "masks": {str(n): dict(known[1].rle(n)) for n in frames}}]
        body = json.dumps({"video": video, "regions": regions}).encode()
        status, told, _ = await wire.ask("POST", "/v1/tracks", body)
        assert status == 202, told
    return json.dumps(
        {"task": "describe", "tracks": json.loads(told)["id"], "max_tokens": 48}
    ).encode()


async def load(port: int, bodies: list[bytes], clients: int, count: int) -> Tally:
    """Ask ``count`` times in all, from so many clients at once."""
    tally, left = Tally(), iter(range(count))

    async def client(number: int) -> None:
        async with Wire(port) as wire:
            for turn in left:
                body = bodies[(number + turn) % len(bodies)]
                began = time.monotonic()
                status, _, again = await wire.ask("POST", "/v1/answers", body)
                tally.seconds.append(time.monotonic() - began)
                tally.statuses[status] += 1
                if again:
                    tally.retry_after.add(again)

    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(clients)))
    tally.took_s = time.monotonic() - began
    return tally


def memory_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def cpu_s(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, pid: int, folder: Path, requests: int, each: int) -> None:
    from gar_video.synth.write import write_clip

    bodies = []
    for seed in range(32 if each else 2):
        clip, tracks, _ = write_clip(
            folder / f"{seed}.mp4", seed, resolution_wh=(256, 256), num_objects=1,
            tracks_path=folder / f"{seed}.json",
        )  # fmt: skip
        bodies.append(await follow(port, clip, tracks))
    await load(port, bodies, 1, len(bodies))  # all are encoded once
    for name, some in (("one clip", bodies[:1]), ("32 clips", bodies)) if each else ():
        alone = None
        for clients in (1, 8, 32):
            before = cpu_s(pid)
            tally = await load(port, some, clients, each)
            spent = (cpu_s(pid) - before) / each
            alone = alone or (tally.throughput, spent)
            print(
                f"{name}, {clients:2} clients: {tally.throughput:6.1f} a second "
                f"({tally.throughput / alone[0]:.2f} x), p50 {tally.quantile(0.5) * 1e3:.0f} ms, "
                f"p95 {tally.quantile(0.95) * 1e3:.0f} ms, server {spent * 1e3:.1f} ms of "
                f"processor a request ({alone[1] / spent:.2f} x), {dict(tally.statuses)}",
                flush=True,
            )
    tally = await load(port, bodies[:1], 80, 400)
    print(f"80 clients where 40 may be inside: {dict(tally.statuses)}, "
          f"Retry-After {sorted(tally.retry_after)}", flush=True)  # fmt: skip
    marks = []
    for part in range(10):
        tally = await load(port, bodies[:2], 32, requests // 10)
        assert set(tally.statuses) == {200}, tally.statuses
        marks.append(memory_mb(pid))
        print(f"after {(part + 1) * requests // 10} more requests: {marks[-1]:.0f} MB", flush=True)
    print(f"memory grew by {marks[-1] - marks[1]:.1f} MB over the last eight tenths")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000, help="while memory is watched")
    parser.add_argument(
        "--each", type=int, default=320, help="in each measurement; 0 to skip these"
    )
    given = parser.parse_args()
    command = [sys.executable, "-m", "gar_video.cli", "serve", "--port", "0", "--per-minute", "0"]
    server = subprocess.Popen(
        [*command, "--queue", "40"], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        line = next(line for line in server.stderr if "answering at" in line)
        port = int(re.search(r":(\d+)/v1", line)[1])
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(port, server.pid, Path(folder), given.requests, given.each))
    finally:
        server.terminate()
        print(f"the server ended with status {server.wait(60)}")


if __name__ == "__main__":
    main()
