"""Runs whose answers are written by hand, for tests of what is made of them."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from gar_video.batch.batches import cut_batches, take_batch
from gar_video.batch.footage import Recording
from gar_video.batch.results import thumbnail_name
from gar_video.batch.state import State, Unit

TASKS = [
    {"name": "what", "kind": "describe", "question": ""},
    {"name": "way", "kind": "choose", "question": "Which way does <1> turn?"},
    {"name": "bag", "kind": "ask", "question": "Is <1> carrying anything?"},
]
KINDS = {task["name"]: task["kind"] for task in TASKS}

# video, camera, start, [(task, objects, start_s, end_s, labels, answer)]
NIGHT = [
    ("/v/gate_1.mp4", "gate", "2026-11-20T23:50:00+01:00", [
        ("what", (1,), 0.0, 10.0, ["car"], "A red car turns left at the gate and stops."),
        ("way", (1,), 0.0, 5.0, ["car"], "left"),
        ("what", (2,), 0.0, 10.0, ["person"], "A person in a blue coat walks a dog."),
        ("bag", (2,), 0.0, 10.0, ["person"], "Yes, a heavy suitcase."),
        ("what", (3,), 700.0, 710.0, ["car"], "A green car waits."),
    ]),
    ("/v/gate_2.mp4", "gate", "2026-11-21T08:00:00+01:00", [
        ("what", (1,), 0.0, 10.0, ["car"], "A red car is parked; nobody gets out."),
        ("way", (1,), 0.0, 5.0, ["car"], "right"),
    ]),
    ("/v/yard 3.mp4", "yard", "2026-11-21T09:00:00+01:00", [
        ("what", (1,), 0.0, 10.0, ["car"], "A white van is turning left beside a red bin."),
        ("what", (2,), 0.0, 10.0, ["dog"], "Ein müder Hund läuft über den Hof."),
        ("what", (3, 4), 2.0, 8.0, ["person", "dog"], "The person calls the dog."),
        ("what", (9,), 0.0, 10.0, ["person"], None),
    ]),
    ("/v/roof.mp4", "roof", None, [
        ("what", (1,), 0.0, 10.0, [None], "A kite AND a \"balloon\" (yellow) * NEAR the chimney."),
    ]),
]  # fmt: skip


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (208, 156)) -> bytes:
    """Return a JPEG with a little to see in it."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    image[height // 4 : -height // 4, width // 4 : -width // 4] = colour
    image[::8] //= 2
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=80)
    return out.getvalue()


def make_run(
    folder: Path, night=NIGHT, *, thumbnails: bool = True, most: int | None = None
) -> Path:
    """Write a run's state, and its thumbnails.

    Args:
        folder: The run's folder.
        night: Recordings and what was answered; None for an answer that failed.
        thumbnails: Whether to write pictures.
        most: Leave all but so many recordings to be worked on.
    """
    with State(folder, {"tasks": TASKS, "model": {"sha256": "ab" * 32}}) as state:
        state.add_recordings(
            [
                Recording(video, camera, None if start is None else datetime.fromisoformat(start))
                for video, camera, start, _ in night
            ]
        )
    return go_on(folder, night, thumbnails=thumbnails, most=most)


def go_on(folder: Path, night=NIGHT, *, thumbnails: bool = True, most: int | None = None) -> Path:
    """Answer what is left of a run."""
    answers = {
        (video, task, objects, start_s): (labels, answer)
        for video, _, _, units in night
        for task, objects, start_s, _, labels, answer in units
    }
    planned = {video: units for video, _, _, units in night}
    with State(folder, None) as state:
        done = 0
        while done != most and (taken := state.take_recording("me", 60)) is not None:
            done += 1
            number, recording = taken
            units = [
                Unit(0, 0, task, objects, start_s, end_s)
                for task, objects, start_s, end_s, _, _ in planned[recording.source]
            ]
            end = max((unit.end_s for unit in units), default=10.0)
            state.plan(number, {"duration_s": end}, units)
        cut_batches(state, 64, block=1)
        while units := take_batch(state, "me", 60):
            finished, failed = {}, {}
            for unit in units:
                source = state.recording(unit.recording).source
                labels, answer = answers[source, unit.task, unit.objects, unit.start_s]
                if answer is None:
                    failed[unit.id] = "the frame 3 is damaged"
                    continue
                name = thumbnail_name(source, unit.objects, unit.start_s, unit.end_s)
                finished[unit.id] = _answer(unit, labels, answer, name if thumbnails else None)
                if thumbnails:
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(picture(((unit.id * 67) % 200 + 40, 80, 60)))
            state.finish(finished, failed)
    return folder


def _answer(unit, labels, answer, thumbnail):
    options = ["left", "right"] if KINDS[unit.task] == "choose" else []
    return {
        "labels": labels,
        "boxes": [
            {"object": one, "first": [1.0, 2.0, 30.0, 40.0], "last": [2.0, 2.0, 34.0, 40.0]}
            for one in unit.objects
        ],
        "question": {"what": "", "way": "Which way does <1> turn?"}.get(
            unit.task, "Is <1> carrying anything?"
        ),
        "answer": answer,
        "options": options,
        "probabilities": [0.8 if answer == option else 0.2 for option in options],
        "finish": "stop",
        "frames": [0, 4, 9],
        "visible_share": 1.0,
        "model": "ab" * 32,
        "thumbnail": thumbnail,
    }
