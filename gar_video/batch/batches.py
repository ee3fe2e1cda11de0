"""Which units are answered together: cut once, the same way however a run goes.

What a model computes for a row depends, in its last digits, on the rows beside it. So batches are
cut from the units in order of their recordings, never from what happens to be left, and they are
taken, answered and written as a whole: a run that was killed gives the same answers, digit by
digit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from gar_video.batch.state import State, Unit, unit_of

#: Recordings whose units may share a batch: so many in a row, counted from the first.
BLOCK = 16


def cut_batches(state: State, size: int, block: int = BLOCK) -> int:
    """Put units that are in no batch yet into batches, as far as their recordings are known.

    Units that look at the same stretch of the same objects stay together where they can.

    Args:
        state: The run.
        size: Units in a batch, about.
        block: Recordings of which short ones may share a batch. A batch is cut when all recordings
            before its last unit have been looked at.

    Returns:
        How many batches were cut.
    """
    with state.transaction() as data:
        blocks = data.execute(
            "SELECT DISTINCT (recording - 1) / ? FROM units WHERE batch IS NULL ORDER BY 1",
            (block,),
        ).fetchall()
        (last,) = data.execute("SELECT COALESCE(MAX(batch), 0) FROM units").fetchone()
        first_new = last
        for (number,) in blocks:
            low, high = number * block + 1, (number + 1) * block
            (known,) = data.execute(
                "SELECT COALESCE(MIN(id) - 1, ?2) FROM recordings WHERE id BETWEEN ?1 AND ?2 "
                "AND status NOT IN ('done', 'failed')",
                (low, high),
            ).fetchone()
            rows = data.execute(
                "SELECT id, recording, objects, start_s, end_s FROM units WHERE batch IS NULL "
                "AND recording BETWEEN ? AND ? ORDER BY recording, start_s, end_s, objects, task",
                (low, known),
            ).fetchall()
            for ids in _cut(rows, size, whole=known == high):
                last += 1
                data.executemany(
                    "UPDATE units SET batch = ? WHERE id = ?", [(last, one) for one in ids]
                )
    return last - first_new


def _cut(rows: Sequence[tuple[int, ...]], size: int, whole: bool) -> list[list[int]]:
    """Cut rows ``(id, *stretch)``; the rest that fills no batch only if the block is ``whole``."""
    stretches: dict[tuple[int, ...], list[int]] = {}
    for number, *stretch in rows:
        stretches.setdefault(tuple(stretch), []).append(number)
    batches: list[list[int]] = []
    current: list[int] = []
    for ids in stretches.values():
        if current and len(current) + len(ids) > size:
            batches.append(current)
            current = []
        current = current + ids
    if current and whole:
        batches.append(current)
    return batches


def take_batch(state: State, owner: str, lease_s: float) -> list[Unit]:
    """Take the next batch.

    Args:
        state: The run.
        owner: Who takes it.
        lease_s: For how long; after that somebody else may.

    Returns:
        Its units, in order of their recordings and times; empty if there is none.
    """
    now = time.time()
    with state.transaction() as data:
        found = data.execute(
            "SELECT MIN(batch) FROM (SELECT MIN(batch) AS batch FROM units WHERE batch IS NOT NULL "
            "AND status = 'pending' UNION ALL SELECT MIN(batch) FROM units WHERE batch IS NOT NULL "
            "AND status = 'running' AND until < ?)",
            (now,),
        ).fetchone()
        if found[0] is None:
            return []
        rows = data.execute(
            "SELECT id, recording, task, objects, start_s, end_s, tries + 1 FROM units "
            "WHERE batch = ? AND (status = 'pending' OR (status = 'running' AND until < ?)) "
            "ORDER BY recording, start_s, end_s, objects, task",
            (found[0], now),
        ).fetchall()
        data.executemany(
            "UPDATE units SET status = 'running', tries = tries + 1, owner = ?, until = ? "
            "WHERE id = ?",
            [(owner, now + lease_s, row[0]) for row in rows],
        )
    return [unit_of(row) for row in rows]


def is_finished(state: State, recording: int) -> bool:
    """Whether nothing is left to be answered about a recording."""
    with state.transaction() as data:
        (left,) = data.execute(
            "SELECT COUNT(*) FROM units WHERE recording = ? AND status IN ('pending', 'running')",
            (recording,),
        ).fetchone()
    return bool(left == 0)
