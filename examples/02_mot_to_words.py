"""Words about the tracks of a MOTChallenge file: box tracks in, masks by SAM 2, descriptions out.

Run it on a sequence of yours, `python examples/02_mot_to_words.py MOT17-04.mp4 gt.txt
HaochenWang/GAR-1B facebook/sam2.1-hiera-small`, or without arguments on a rendered one with the
checkpoints that come with the package.
"""

import sys
from pathlib import Path

import gar_video as gv


def main(source: str, mot: str, model: str = "nano", sam2: str = "nano") -> list[gv.Answer]:
    video = gv.Video(source)
    tracks = gv.Tracks.load(mot, video=video)
    print(f"{mot} was read as {tracks.source_format}: {len(tracks)} objects, boxes only.")

    gar = gv.GARVideo.from_pretrained(model)
    # Boxes work as they are; with masks the model sees the object without what is around it.
    sam = gv.trackers.Sam2Tracker.from_pretrained(sam2)
    looked_at = gar.model.config.num_frames
    masks = gv.trackers.refine_masks(video, tracks, sam, frames=looked_at)

    answers = gar.describe(video, masks, frames=looked_at)
    for answer in answers:
        seen = masks[answer.objects[0]].frames
        first, last = video.times_s[seen[0]], video.times_s[seen[-1]]
        print(f"<{answer.objects[0]}> {first:.1f} to {last:.1f} s: {answer.text}")
    return answers


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(*sys.argv[1:])
    else:
        from gar_video.synth.write import write_clip

        clip, _, _ = write_clip(Path("clip.mp4"), seed=0, num_objects=2, tracks_path="mot.txt")
        main(str(clip), "mot.txt")
