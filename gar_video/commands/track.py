"""``gar-video track``: a click, box or mask in, tracks out."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.commands.inputs import open_inputs, read_looking, track_inputs
from gar_video.commands.pointing import pointing_events
from gar_video.commands.results import check_outputs, draw_outputs, print_json, summarise
from gar_video.errors import GARVideoError

_ENDINGS = ("", ".json", ".txt")  # those that Tracks.save tells a format by


def track(
    ctx: opt.Context,
    source: opt.Source,
    box: opt.BoxList = None,
    point: opt.PointList = None,
    mask: opt.MaskFiles = None,
    frame: opt.FrameList = None,
    object: opt.ObjectList = None,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    time: opt.Time = None,
    sam2: opt.Sam2 = "nano",
    sam2_mode: opt.Sam2Mode = opt.Mode.exact,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    json: opt.Json = False,
    out: opt.Out = None,
    video_out: opt.VideoOut = None,
    sheet: opt.Sheet = None,
    quiet: opt.Quiet = False,
) -> None:
    """Follow objects through a video with SAM 2 and say where they are.

    --out FILE.json writes the tracks, to be given to --tracks later; FILE.txt is MOTChallenge, and
    a new name without an ending a folder of mask PNGs. With no option under Output the tracks are
    printed on stdout. --json prints where each object was seen.
    """
    target = check_outputs(out, video_out, sheet, name="tracks.json")
    if target is not None and target.suffix.lower() not in _ENDINGS:
        raise GARVideoError(
            f"--out {out}: tracks are written to FILE.json, FILE.txt (MOTChallenge) or, without an "
            "ending, a folder of mask PNGs"
        )
    inputs = open_inputs(source, pointing_events(ctx), tracks, masks)
    span = read_looking(inputs.video, time, None, None).span
    voice = Voice(quiet)
    if inputs.tracks is None:
        with voice.progress("starting"):
            quiet_libraries(voice)
    found = track_inputs(
        inputs, voice, sam2=sam2, mode=sam2_mode.value, device=device, dtype=dtype, span=span
    )
    assert found is not None
    if target is not None:
        found.save(target)
        voice.note(f"wrote {target}")
    draw_outputs(inputs.video, found, {}, voice, video_out, sheet)
    summary = summarise(found, inputs.video)
    if json:
        print_json(summary)
    elif target is None and video_out is None and sheet is None:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "tracks.json"
            found.save(whole)
            sys.stdout.write(whole.read_text(encoding="utf-8"))
    else:
        for entry in summary:
            print(f"<{entry['objects'][0]}>: {entry['text']}")
