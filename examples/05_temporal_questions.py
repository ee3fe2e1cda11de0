"""Ask about parts of a clip: what happens when, and what each answer rests on.

Run it on a clip and tracks of yours, `python examples/05_temporal_questions.py street.mp4
tracks.json HaochenWang/GAR-1B`, or without arguments on a rendered clip whose tracks are known.
"""

import sys
from pathlib import Path

import gar_video as gv


def main(source: str, tracks_file: str, model: str = "nano") -> list[gv.Answer]:
    video = gv.Video(source)
    tracks = gv.Tracks.load(tracks_file, video=video)
    gar = gv.GARVideo.from_pretrained(model)
    first = tracks.object_ids[0]
    half = video.duration_s / 2
    question = f"What does <{first}> do?"

    answers = [
        gar.ask(video, tracks, question),
        gar.ask(video, tracks, question, time=(0.0, half)),
        gar.ask(video, tracks, question, time=(half, video.duration_s)),
        # Exactly these frames: the first and the last in which it is seen.
        gar.ask(video, tracks, question, frames=sorted({*tracks[first].frames[[0, -1]].tolist()})),
    ]
    for answer in answers:
        share = answer.visible[first]
        print(f"{answer.times_s[0]:4.1f} to {answer.times_s[-1]:4.1f} s  {answer.text}")
        print(f"    {len(answer.frames)} frames, seen in {share:.0%} of them")

    # Several questions about the same objects: the clip is looked at once.
    many = [f"Where is <{first}> at the start?", f"Where is <{first}> at the end?"]
    for answer in gar.ask_many(video, tracks, many):
        print(f"{answer.question}  {answer.text}")
    return answers


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(*sys.argv[1:])
    else:
        from gar_video.synth.write import write_clip

        clip, tracks, _ = write_clip(Path("clip.mp4"), seed=0, num_objects=2)
        main(str(clip), str(tracks))
