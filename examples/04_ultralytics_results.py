"""Words about what Ultralytics has tracked: the list that `model.track` gives goes in as it is.

`ultralytics` is AGPL-3.0 and no part of gar-video: its results are told by their attributes. With
it installed, `python examples/04_ultralytics_results.py street.mp4 yolo11n.pt HaochenWang/GAR-1B`
tracks a video; without arguments its result classes are filled with a rendered clip's boxes.
"""

import sys
from pathlib import Path
from typing import Any

import gar_video as gv


def main(source: str, results: list[Any], model: str = "nano") -> list[gv.Answer]:
    video = gv.Video(source)
    tracks = gv.Tracks.from_results(results, num_frames=len(video))
    names = {object_id: tracks[object_id].label for object_id in tracks}
    print(f"{len(tracks)} objects with ids: {names}")

    gar = gv.GARVideo.from_pretrained(model)
    answers = gar.describe(video, tracks)
    for answer in answers:
        (object_id,) = answer.objects
        print(f"<{object_id}> {names[object_id]}: {answer.text}")
    return answers


def rendered_results(source: str, truth: str) -> list[Any]:
    """The result objects that `model.track` would give for a rendered clip."""
    import torch
    from ultralytics.engine.results import Results

    video = gv.Video(source)
    known = gv.Tracks.load(truth, video=video)
    results = []
    for index, frame in enumerate(video):
        found = known.detections(index)
        rows = [
            [*box, object_id, 0.9, 0]
            for box, object_id in zip(found.xyxy, found.tracker_id, strict=True)
        ]
        boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)
        bgr = frame[..., ::-1]
        results.append(Results(bgr, path=source, names={0: "thing"}, boxes=boxes))
    return results


if __name__ == "__main__":
    if len(sys.argv) > 2:
        from ultralytics import YOLO

        clip, weights, *models = sys.argv[1:]
        main(clip, YOLO(weights).track(clip, stream=True), *models)
    else:
        from gar_video.synth.write import write_clip

        path, tracks, _ = write_clip(Path("clip.mp4"), seed=0, num_objects=2)
        main(str(path), rendered_results(str(path), str(tracks)))
