"""Describe the object under a click.

Run it on a clip of yours, `python examples/01_describe_a_click.py street.mp4 640 360
HaochenWang/GAR-1B`, or without arguments on a rendered one with the checkpoints that come with the
package.
"""

import sys
from pathlib import Path

import gar_video as gv


def main(source: str, x: float, y: float, model: str = "nano", sam2: str = "nano") -> gv.Answer:
    video = gv.Video(source)
    tracker = gv.trackers.Sam2Tracker.from_pretrained(sam2)
    tracks = tracker.track(video, [gv.Points(frame=0, xy=[(x, y)], object_id=1)])
    seen = tracks[1].frames
    print(f"<1> is seen in {len(seen)} of {len(video)} frames.")

    gar = gv.GARVideo.from_pretrained(model)
    answer = gar.describe(video, tracks)[0]
    print(answer.text)
    looked = ", ".join(f"{time_s:.1f}" for time_s in answer.times_s)
    print(f"It rests on the frames at {looked} s.")
    return answer


if __name__ == "__main__":
    if len(sys.argv) > 3:
        path, x, y, *models = sys.argv[1:]
        main(path, float(x), float(y), *models)
    else:
        from gar_video.synth.write import write_clip

        clip, _, _ = write_clip(Path("clip.mp4"), seed=0, num_objects=2)
        main(str(clip), 135, 114)
