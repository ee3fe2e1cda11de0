"""Add words to a supervision loop: a detector, Roboflow's ByteTrack, and two more lines.

Needs `pip install trackers`. Without arguments the detections are those of a rendered clip; put
your detector where they come from. Press Ctrl-C to stop.
"""

import sys
from pathlib import Path

import supervision as sv

import gar_video as gv
from trackers import ByteTrackTracker


def main(source: str, truth: str, model: str = "nano") -> list[gv.LiveAnswer]:
    video = gv.Video(source)
    known = gv.Tracks.load(truth, video=video)
    tracker = ByteTrackTracker(frame_rate=float(video.fps))
    answers: list[gv.LiveAnswer] = []

    def tell(answer: gv.LiveAnswer) -> None:
        answers.append(answer)
        print(f"{answer.time_s:6.2f} s  <{answer.object_id}> {answer.text}")

    gar = gv.GARVideo.from_pretrained(model)
    with gv.LiveDescriber(gar, every_s=1.0, on_answer=tell) as describer:
        for index, frame in enumerate(video):
            detections = detect(known, index)
            detections = tracker.update(detections)
            detections = describer.update(frame, detections, time_s=float(video.times_s[index]))
            # detections.data["description"] now has the latest words, one for each row.
            describer.wait()  # for a file only: a camera would not wait
    return answers


def detect(known: gv.Tracks, index: int) -> sv.Detections:
    """Boxes with scores and no ids, as a detector gives them."""
    found = known.detections(index)
    return sv.Detections(found.xyxy, confidence=found.xyxy[:, 0] * 0 + 0.9)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(*sys.argv[1:])
    else:
        from gar_video.synth.write import write_clip

        clip, tracks, _ = write_clip(Path("clip.mp4"), seed=0, num_objects=2)
        main(str(clip), str(tracks))
