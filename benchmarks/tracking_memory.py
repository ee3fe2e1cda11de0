"""Peak memory of tracking against the length of the clip: ours beside sam2's own predictor.

Each case runs in a process of its own; its peak is the kernel's high-water mark (``VmHWM``). The
clip is drawn and written as H.264 first. Run: ``python benchmarks/tracking_memory.py --json FILE``.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 1280, 720


def write_clip(path: Path, length: int) -> None:
    """Write a 720p clip of a disc moving over a ground with some texture."""
    import av

    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ground = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=30, options={"preset": "ultrafast", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for t in range(length):
            frame = ground.copy()
            left = 300 + 3 * t % 600
            frame[260:460, left : left + 200] = (220, 40, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


def track(who: str, clip: str, size: int) -> dict[str, float]:
    """Track one box through the clip in this process and return its peak memory."""
    import torch
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.trackers.sam2_config import nano_config, shipped_config

    from gar_video.video import Video
    from gar_video.visual_prompts import Box

    torch.set_num_threads(1)
    config = nano_config(size) if size < 1024 else shipped_config("sam2.1/sam2.1_hiera_t.yaml")
    tracker = Sam2Tracker.from_config(config, device="cpu")
    box = (300, 260, 500, 460)
    began, frames = time.perf_counter(), 0
    if who == "ours":
        with Video(clip) as video:
            for _ in tracker.stream(video, [Box(0, box)]):
                frames += 1
    else:
        state = tracker.predictor.init_state(clip)
        tracker.predictor.add_new_points_or_box(state, 0, 1, box=np.float32(box))
        for _ in tracker.predictor.propagate_in_video(state):
            frames += 1
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"peak_mib": int(peak.split()[1]) / 1024, "frames": frames, "seconds": seconds}


def measure(who: str, clip: Path, size: int) -> dict[str, float]:
    """Run one case in a child process."""
    command = [sys.executable, __file__, "--child", who, "--clip", str(clip), "--size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # The official predictor may simply not fit; that is a result, too.
        return {"peak_mib": float("nan"), "frames": 0, "seconds": float("nan")}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[100, 600])
    parser.add_argument("--size", type=int, default=1024, help="side of the model's input")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", choices=["ours", "sam2"], help=argparse.SUPPRESS)
    parser.add_argument("--clip", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(track(arguments.child, arguments.clip, arguments.size)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in arguments.lengths:
            clip = Path(folder) / f"{length}.mp4"
            write_clip(clip, length)
            for who in ("ours", "sam2"):
                rows.append({"who": who, "length": length, **measure(who, clip, arguments.size)})
                print(
                    "{who:5} {length:6} frames  peak {peak_mib:8.0f} MiB  {seconds:8.1f} s".format(
                        **rows[-1]
                    ),
                    flush=True,
                )
    for who in ("ours", "sam2"):
        peaks = [row["peak_mib"] for row in rows if row["who"] == who]
        print(f"{who}: {peaks[-1] - peaks[0]:+.0f} MiB from the shortest to the longest clip")
    if arguments.json:
        result = {
            "input": f"{WIDTH}x{HEIGHT} H.264, model input {arguments.size} pixels, CPU, float32",
            "machine": platform.processor() or platform.machine(),
            "versions": {name: version(name) for name in ("torch", "sam2", "gar-video")},
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "rows": rows,
        }
        partial = arguments.json.with_suffix(".partial")
        partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
        partial.replace(arguments.json)


if __name__ == "__main__":
    main()
