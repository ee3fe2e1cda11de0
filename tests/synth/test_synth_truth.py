"""Every answer is true: recomputed from the drawn masks and pixels alone, where these tell it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from gar_video.synth import events
from gar_video.synth.appearance import PALETTE, lab
from gar_video.synth.kinds import KINDS
from gar_video.synth.questions import Question, cases, kind_names
from gar_video.synth.render import render
from gar_video.synth.truth import Truth, sample

SIZE = 168
SEEDS = range(500, 560)


class Seen:
    """What can be measured in the drawn clip, without knowing how it was made."""

    def __init__(self, truth: Truth) -> None:
        self.frames, self.masks = render(truth.scene, None, (SIZE, SIZE))
        areas = self.masks.sum(axis=(2, 3)).astype(float)
        self.share = areas / areas.max(axis=1, keepdims=True)
        grid = (np.arange(SIZE) + 0.5) / SIZE
        total = np.maximum(areas, 1)
        x = (self.masks.sum(axis=2) * grid).sum(-1) / total
        y = (self.masks.sum(axis=3) * grid).sum(-1) / total
        self.centre = np.stack([x, y], axis=-1)

    def whole(self, k: int) -> np.ndarray:
        """Frames in which all of a thing is seen."""
        rim = self.masks[k].copy()
        rim[:, 1:-1, 1:-1] = False
        return np.flatnonzero((self.share[k] > 0.97) & ~rim.any(axis=(1, 2)))


def moved(seen: Seen, k: int, first: float, last: float) -> str | None:
    """Name the direction of a centroid between two times of the clip, or ``"still"``."""
    span = len(seen.frames)
    whole = seen.whole(k)
    whole = whole[(whole >= first * (span - 1)) & (whole <= last * (span - 1))]
    if len(whole) < 3:
        return None
    dx, dy = seen.centre[k, whole[-1]] - seen.centre[k, whole[0]]
    if np.hypot(dx, dy) < 0.01:
        return "still"
    angle = np.degrees(np.arctan2(dy, dx)) % 360
    if np.hypot(dx, dy) < 0.03:
        return None
    return ("right", "down", "left", "up")[round(angle / 90) % 4]


def side_of(seen: Seen, k: int, frames: np.ndarray) -> str | None:
    """Name the edge that a thing's mask lies at in the first of some frames that shows it."""
    for t in frames:
        mask = seen.masks[k, t]
        if mask.any():
            rims = {"left": mask[:, 0], "right": mask[:, -1], "top": mask[0], "bottom": mask[-1]}
            return max(rims, key=lambda name: int(rims[name].sum()))
    return None


def relation(seen: Seen, i: int, j: int, t: int) -> str:
    dx, dy = seen.centre[i, t] - seen.centre[j, t]
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return "below" if dy > 0 else "above"


def corner(seen: Seen, k: int, t: int) -> str:
    x, y = seen.centre[k, t]
    return f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"


def color(seen: Seen, k: int) -> str:
    """Name the exemplar nearest to the median of a thing's own pixels."""
    t = int(np.argmax(seen.share[k]))
    pixel = np.median(seen.frames[t][seen.masks[k, t]], axis=0)
    near = {
        name: np.linalg.norm(lab(rgbs) - lab([pixel]), axis=1).min()
        for name, rgbs in PALETTE.items()
    }
    return min(near, key=lambda name: float(near[name]))


def sight(seen: Seen, k: int) -> str:
    on = seen.share[k] > 0.2
    changes = "".join("+" if v else "-" for v, w in zip(on, [None, *on], strict=False) if v != w)
    return {"+": "always", "+-": "start", "-+": "end", "+-+": "start and end"}.get(
        changes, "middle"
    )


def extent(seen: Seen, k: int) -> float:
    t = int(np.argmax(seen.share[k]))
    rows, columns = np.nonzero(seen.masks[k, t])
    return float(max(np.ptp(rows), np.ptp(columns)) + 1) / SIZE


def who(flags: list[bool | None]) -> str | None:
    if None in flags:
        return None
    return {(True, False): "a", (False, True): "b", (True, True): "both"}.get(tuple(flags), "none")


def moving(seen: Seen, k: int, first: float, last: float) -> bool | None:
    act = moved(seen, k, first, last)
    return None if act is None else act != "still"


def trend(seen: Seen, i: int, j: int) -> str | None:
    if seen.share[[i, j]].min() < 0.9:
        return None
    gap = np.linalg.norm(seen.centre[i] - seen.centre[j], axis=-1)
    if np.ptp(gap) < 0.05:
        return "same"
    if gap.min() < min(gap[0], gap[-1]) - 0.07:
        return "closer then farther"
    return "closer" if gap[-1] < gap[0] else "farther"


def biggest(seen: Seen, at: tuple[int, ...]) -> str:
    sizes = [extent(seen, k) for k in at]
    if max(sizes) / min(sizes) < 1.18:
        return "none"
    return "abc"[int(np.argmax(sizes))]


END = {"left": "left", "right": "right", "up": "top", "down": "bottom"}

# Kind -> what pixels and masks answer (None: they cannot tell here).
MEASURED = {
    "color": lambda s, at: color(s, at[0]),
    "direction": lambda s, at: moved(s, at[0], 0, 1),
    "first": lambda s, at: moved(s, at[0], 0, 0.2),
    "last": lambda s, at: moved(s, at[0], 0.8, 1),
    "next move": lambda s, at: moved(s, at[0], 0.8, 1),
    "next edge": lambda s, at: END.get(moved(s, at[0], 0.8, 1) or ""),
    "place start": lambda s, at: corner(s, at[0], 0) if s.share[at[0], 0] > 0.9 else None,
    "place end": lambda s, at: corner(s, at[0], -1) if s.share[at[0], -1] > 0.9 else None,
    "enter side": lambda s, at: side_of(s, at[0], np.arange(len(s.frames))),
    "leave side": lambda s, at: side_of(s, at[0], np.arange(len(s.frames))[::-1]),
    "seen when": lambda s, at: sight(s, at[0]),
    "where start": lambda s, at: relation(s, *at, 0) if s.share[list(at), 0].min() > 0.9 else None,
    "where end": lambda s, at: relation(s, *at, -1) if s.share[list(at), -1].min() > 0.9 else None,
    "moving start": lambda s, at: who([moving(s, k, 0, 0.2) for k in at]),
    "moving end": lambda s, at: who([moving(s, k, 0.8, 1) for k in at]),
    "will leave": lambda s, at: who([moving(s, k, 0.8, 1) for k in at]),
    "distance": lambda s, at: trend(s, *at),
    "largest": biggest,
}


@pytest.fixture(scope="module")
def measured() -> dict[str, list[tuple[str, str, str]]]:
    """Kind -> (where, true answer, measured answer) over many basic scenes, ungated by balance."""
    found: dict[str, list[tuple[str, str, str]]] = {name: [] for name in MEASURED}
    for seed in SEEDS:
        _, truth = sample(seed)
        seen = Seen(truth)
        for case in cases(np.random.default_rng(seed), truth, list(MEASURED)):
            answer = MEASURED[case.kind.name](seen, case.places)
            if answer is not None:
                found[case.kind.name].append((f"seed {seed} {case.places}", case.key, answer))
    return found


@pytest.mark.parametrize("kind", MEASURED)
def test_answers_agree_with_what_is_drawn(kind: str, measured: dict) -> None:
    wrong = [entry for entry in measured[kind] if entry[1] != entry[2]]
    assert len(measured[kind]) >= 6
    assert wrong == []


def test_visible_shares_agree_with_what_is_drawn() -> None:
    for seed in range(40):
        _, truth = sample(seed)
        masks = render(truth.scene, None, (SIZE, SIZE))[1]
        areas = masks.sum(axis=(2, 3)).astype(float)
        for k in range(truth.num_objects):
            seen = truth.visibility.seen[k]
            if seen.max() < 0.999:
                continue
            whole = np.median(areas[k][seen > 0.999])
            np.testing.assert_allclose(areas[k] / whole, seen, atol=0.06)


def test_who_hides_whom_agrees_with_who_is_drawn_over_whom() -> None:
    found = Counter()
    for seed in range(150):
        scene, truth = sample(seed)
        for i in range(truth.num_objects):
            for j in range(truth.num_objects):
                if i == j:
                    continue
                what = events.encounter(truth, i, j)
                found[what] += 1
                under = truth.visibility.under[i, j]
                if what == "behind":
                    assert scene.objects[i].z < scene.objects[j].z
                    area = [scene.objects[k].diameter ** 2 for k in (i, j)]
                    assert under.max() * area[0] > 0.4 * min(area)
                if what == "touch":
                    assert under.max() < 0.06
                    assert events.gaps(truth, i, j).min() < 0.006
                    masks = render(scene, None, (448, 448))[1][[i, j]].any(axis=0)
                    assert masks.any()
                if what == "apart":
                    assert events.gaps(truth, i, j).min() > 0.06
                mirrored = {"behind": "front", "front": "behind"}.get(what, what)
                assert events.encounter(truth, j, i) == mirrored
    assert min(found[what] for what in ("behind", "front", "touch", "apart")) > 10


def test_touching_things_touch_in_the_picture() -> None:
    touching = 0
    for seed in range(70):
        scene, truth = sample(seed)
        if not {"meet", "part"} & {thing.plan for thing in scene.objects}:
            continue
        for i in range(truth.num_objects):
            for j in range(i):
                if events.encounter(truth, i, j) == "touch":
                    t = int(np.argmin(events.gaps(truth, i, j)))
                    masks = render(scene, [t], (448, 448))[1][[i, j], 0]
                    rows, columns = np.nonzero(masks[0])
                    other = np.argwhere(masks[1])
                    mine = np.stack([rows, columns], axis=1)
                    near = np.abs(mine[:, None, :] - other[None, ::7]).max(-1).min()
                    assert near <= 8, (seed, i, j)
                    touching += 1
    assert touching > 3


def test_why_answers_follow_from_what_happens() -> None:
    reasons = Counter()
    for seed in range(160):
        _, truth = sample(seed)
        rng = np.random.default_rng(seed)
        for case in cases(rng, truth, ["why unseen", "why stop"]):
            k = case.places[0]
            inside, seen = truth.visibility.inside[k], truth.visibility.seen[k]
            reasons[case.kind.name, case.key] += 1
            if case.key == "hidden":
                assert inside.min() > 0.9
                assert seen.min() < 0.1
            elif case.key == "left":
                assert inside[-1] < 0.05 < inside[0]
            elif case.key == "late":
                assert inside[0] < 0.05 < inside[-1]
            elif case.key == "always":
                assert seen.min() > 0.4
            elif case.key == "never":
                assert truth.speed[k, -1] > 0
            else:
                assert truth.speed[k, -1] == pytest.approx(0)
                assert truth.speed[k, 0] > 0
    assert {key for name, key in reasons if name == "why stop"} == {
        "touch",
        "hide",
        "alone",
        "never",
    }
    assert {key for name, key in reasons if name == "why unseen"} == {
        "hidden",
        "left",
        "late",
        "always",
    }


def test_events_come_in_order_and_match_facts() -> None:
    kinds = Counter()
    for seed in range(80):
        scene, truth = sample(seed, "full")
        happened = events.events(truth)
        assert [e.time_s for e in happened] == sorted(e.time_s for e in happened)
        for event in happened:
            kinds[event.kind] += 1
            assert 0 <= event.time_s <= scene.duration_s
            assert 1 <= event.object_id <= truth.num_objects
            if event.kind == "enters":
                assert truth.visibility.inside[event.object_id - 1, 0] < 0.05
    expected = "enters leaves stops starts turns bounces hidden touches grows shrinks recolored"
    assert set(expected.split()) <= set(kinds)


def test_truth_is_plain_data() -> None:
    scene, truth = sample(4, "full")
    data = json.loads(json.dumps(events.to_dict(truth)))
    assert len(data["objects"]) == len(scene.objects)
    assert len(data["objects"][0]["visible"]) == scene.num_frames
    assert data["scene"]["background"]["kind"] == scene.background.kind


def test_the_future_goes_on_as_the_clip_ends() -> None:
    checked = 0
    for seed in range(40):
        _, truth = sample(seed)
        for k in range(truth.num_objects):
            edge = events.next_edge(truth, k)
            if edge is None:
                continue
            x, y = np.array(
                [events.position_after(truth, k, s) for s in np.linspace(0, 30, 1500)]
            ).T
            out = np.flatnonzero((x < 0) | (x > 1) | (y < 0) | (y > 1))[0]
            beyond = {"left": -x[out], "right": x[out] - 1, "top": -y[out], "bottom": y[out] - 1}
            assert max(beyond, key=lambda side: beyond[side]) == edge
            checked += 1
    assert checked > 30


def test_every_kind_of_question_has_a_known_truth() -> None:
    assert set(kind_names("basic")) <= set(KINDS)
    assert Question.__dataclass_fields__.keys() >= {
        "kind",
        "type",
        "text",
        "options",
        "answer_index",
    }
