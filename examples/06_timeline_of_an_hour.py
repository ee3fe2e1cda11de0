"""Go through an hour of video under a fixed memory, and write what objects do as subtitles.

Run it on footage and tracks of yours, `python examples/06_timeline_of_an_hour.py street.mp4
tracks.json HaochenWang/GAR-1B 10`, or without arguments on an hour that is rendered first: one
scene, shown again and again at three frames a second.
"""

import resource
import sys
import time
from pathlib import Path

import gar_video as gv


def main(source: str, tracks_file: str, model: str = "nano", every_s: float = 10.0) -> gv.Timeline:
    video = gv.Video(source)
    tracks = gv.Tracks.load(tracks_file, video=video)
    gar = gv.GARVideo.from_pretrained(model)
    began = time.monotonic()

    timeline = gar.timeline(
        video, tracks, every_s=float(every_s), max_new_tokens=48, progress=_tell
    )
    for summary in timeline.summaries:
        said = timeline.of(summary.object_id)
        print(f"{timeline.name(summary.object_id)}: {summary.text[:200]} (by {summary.by})")
        print(f"    {len(said.segments)} segments, {len(said.events)} events")
    folder = Path(source).parent
    for ending in ("srt", "vtt", "csv", "json"):
        timeline.save(folder / f"hour.{ending}")
    took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{video.duration_s / 60:.1f} minutes of video in {took:.0f} s; peak memory {peak} MB")
    return timeline


def _tell(done: int, total: int) -> None:
    if done == total or done % 30 == 0:
        print(f"{done} of {total} windows", file=sys.stderr)


def render(folder: Path, seconds: float = 3600.0, seed: int = 2) -> tuple[Path, Path]:
    """Write a long clip that shows a scene again and again, and its true tracks."""
    from gar_video.synth.truth import sample
    from gar_video.synth.write import ClipWriter, clip_seed, draw_frames, labels_of, rles_of

    fps, size = 3, (224, 224)
    scene, _ = sample(clip_seed(seed), num_objects=3)
    drawn = list(draw_frames(scene, size))[:: scene.fps // fps]
    clip, tracks = folder / "hour.mp4", folder / "hour.tracks.json"
    regions: dict[int, dict] = {thing.object_id: {} for thing in scene.objects}
    seen = [rles_of(scene, label) for _, _, label in drawn]
    count = round(seconds * fps)
    with ClipWriter(clip, size, fps) as writer:
        for frame in range(count):
            writer.write(drawn[frame % len(drawn)][1])
            for object_id, region in seen[frame % len(drawn)].items():
                regions[object_id][frame] = region
    gv.Tracks.from_rles(regions, size, count, labels_of(scene)).save(tracks)
    return clip, tracks


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(*sys.argv[1:])
    else:
        main(*map(str, render(Path())))
