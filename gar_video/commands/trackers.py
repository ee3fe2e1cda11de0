"""``gar-video trackers``: what can follow objects here."""

from __future__ import annotations

from dataclasses import asdict

from gar_video.commands import options as opt


def trackers(json: opt.Json = False) -> None:
    """List the trackers and detectors that ``live`` can use here, other packages' included."""
    from gar_video.commands.results import print_json
    from gar_video.trackers.online import found_parts

    parts = found_parts()
    if json:
        print_json([asdict(part) for part in parts])
        return
    rows = [(part.kind, part.name or "-", part.origin, part.note) for part in parts]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[3]]).rstrip())
