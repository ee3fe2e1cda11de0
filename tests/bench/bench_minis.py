"""Miniature benchmark data in the published layouts, their quirks included; all of it made here."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pycocotools.mask as coco

WIDTH, HEIGHT, FRAMES = 64, 48, 6


def square(x, y, side=12, width=WIDTH, height=HEIGHT):
    """A square's mask."""
    mask = np.zeros((height, width), np.uint8)
    mask[y : y + side, x : x + side] = 1
    return mask


def compressed(mask):
    """An RLE as the published files have it."""
    rle = coco.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def uncompressed(mask):
    """An RLE with its runs as a list."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def polygon(x, y, side=12):
    """A square as a polygon."""
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def picture(*squares, width=WIDTH, height=HEIGHT, seed=0):
    """A picture with coloured squares ``(x, y, colour)``."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
    for x, y, colour in squares:
        image[y : y + 12, x : x + 12] = colour
    return image


def write_picture(path, image):
    """Write an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


def boxes(seg, frames=range(FRAMES)):
    """An annotation's entry: frame to mask."""
    return {str(frame): {"segmentation": seg(frame)} for frame in frames}


RED, BLUE = (220, 30, 30), (30, 60, 220)


def q_items():
    """Questions in BenchQ's layout; each has a quirk of the published file."""
    moving = boxes(lambda f: compressed(square(4 + 6 * f, 6)))
    still = boxes(lambda f: uncompressed(square(40, 30)))
    options = ["(A) It goes right.", "(B) It goes left.", "(C) It stays.", "(D) It jumps."]
    base = {"video": "JPEGImages/clip_a", "options": options, "frame_idx": "2"}
    return [
        {**base, "id": 0, "Question": "What does <object3><region> do?", "type": "Basic Questions",
         "Answer": "(A) It goes right.", "annotation": [moving]},
        {**base, "id": 1, "Question": "Where does <object3><region> end?",
         "type": "Basic Questions", "Answer": "(A) It goes right.", "annotation": [moving]},
        {**base, "id": "two", "Question": "Does <object7><region> meet <object2><region>?",
         "type": "Relationship Questions", "Answer": "(C) It stays.",
         "options": ["(A) Yes, <object2> waits.", "(B) No, <object7> turns.", "(C) Never."],
         "annotation": [moving, still]},
        {**base, "id": 3, "Question": "Is <object1><region> seen at all times?",
         "type": "Reasoning Questions", "Answer": "(B)",
         "annotation": [{"0": {"segmentation": None}, "2": {"segmentation": polygon(16, 6)},
                         "4": None, "5": {"segmentation": []}}]},
        {**base, "id": 4, "video": "JPEGImages/clip_b",
         "Question": "What will <object0><region> do next?",
         "type": "Future Predictions", "Answer": "(D) It jumps.", "frame_idx": 1,
         "annotation": [boxes(lambda f: compressed(square(8, 8, 24, 2 * WIDTH, 2 * HEIGHT)))]},
        {**base, "id": 5, "video": "JPEGImages/clip_b", "Question": "What is <region>?",
         "type": "Sequential Questions", "Answer": "(A) It goes right.",
         "annotation": [boxes(lambda f: compressed(square(4, 4)))]},
    ]  # fmt: skip


def write_q(folder, items=None):
    """Write BenchQ's layout: folders of JPEGs, one JSON list."""
    for name, offset in (("clip_a", 0), ("clip_b", 3)):
        for frame in range(FRAMES):
            image = picture((4 + 6 * frame, 6, RED), (40, 30, BLUE), seed=frame + offset)
            write_picture(folder / f"JPEGImages/{name}/{frame:05d}.jpg", image)
    path = folder / "VideoRefer-Bench-Q.json"
    path.write_text(json.dumps(q_items() if items is None else items))
    return path


def write_d(folder):
    """Write BenchD's layout, with folders in place of mp4 files."""
    write_q(folder)
    (folder / "VideoRefer-Bench-Q.json").unlink()
    items = [
        {"id": n, "video": f"JPEGImages/{clip}", "caption": f"A square, {words}.",
         "frame_idx": "1", "annotation": [boxes(lambda f: compressed(square(4 + 6 * f, 6)))]}
        for n, (clip, words) in enumerate((("clip_a", "going right"), ("clip_b", "red")))
    ]  # fmt: skip
    (folder / "VideoRefer-Bench-D.json").write_text(json.dumps(items))


def vqa_items():
    """Questions in GAR-Bench-VQA's layout, one with more regions than prompts."""
    one = compressed(square(4, 6))
    seven = [compressed(square(2 + 8 * n, 6 + 4 * (n % 3), 6)) for n in range(7)]
    names = ["A. <Prompt0>", "B. <Prompt1>", "C. <Prompt6>", "D. None of them"]
    return [
        {"image_path": "elsewhere/1.png", "mask_rles": [one], "image": "images/vqa_0.png",
         "question": "What colour has <Prompt0>?", "choices": ["A. red", "B. blue"],
         "answer": "A", "type": "color"},
        {"image_path": "elsewhere/2.png", "mask_rles": [one, compressed(square(40, 30))],
         "image": "images/vqa_1.png", "question": "Is <Prompt1> left of <Prompt0>?",
         "choices": ["A. Yes", "B. No", "C. Both", "D. Unclear"], "answer": "B",
         "type": "relation"},
        {"image_path": "elsewhere/3.png", "mask_rles": seven, "image": "images/vqa_2.png",
         "question": "Which of <Prompt0>,  <Prompt1>, <Prompt2>, <Prompt3>, <Prompt4>, <Prompt5> "
         "and <Prompt6> is last?", "choices": names, "answer": "C", "type": "ordering"},
    ]  # fmt: skip


def write_vqa(folder, items=None):
    """Write GAR-Bench-VQA's layout."""
    for n in range(3):
        image = picture((4, 6, RED), (40, 30, BLUE), seed=n)
        write_picture(folder / f"images/vqa_{n}.png", image)
    path = folder / "GAR-Bench-VQA.json"
    path.write_text(json.dumps(vqa_items() if items is None else items))
    return path


def write_cap(folder):
    """Write GAR-Bench's two caption files."""
    masks = [compressed(square(4, 6)), compressed(square(40, 30))]
    for n in range(3):
        write_picture(folder / f"images/cap_{n}.png", picture((4, 6, RED), (40, 30, BLUE), seed=n))
    simple = [
        {"image": f"images/cap_{n}.png", "mask_rles": masks, "answer": f"<Prompt1> is {word} <Prompt0>.",
         "question": "What is the spatial relationship between <Prompt1> and <Prompt0>?"}
        for n, word in enumerate(("below", "beside"))
    ]  # fmt: skip
    detailed = [
        {"image": "images/cap_2.png", "mask_rles": masks, "subject_name": "square",
         "object_name": "block", "predicate_name": "above"}
    ]  # fmt: skip
    (folder / "GAR-Bench-Caption-Simple.json").write_text(json.dumps(simple))
    (folder / "GAR-Bench-Caption-Detailed.json").write_text(json.dumps(detailed))
    return simple, detailed


def dlc_questions():
    """Two regions' questions: one with negatives, one without."""
    told = [["The edge is not mentioned.", 0], ["The edge is mentioned and is red.", 1],
            ["The edge is mentioned but is not red.", -1]]  # fmt: skip
    absent = [["A wheel is not mentioned.", 1], ["A wheel is mentioned.", -1]]
    return {
        "11": [{"question": "Which fits?", "choices": told, "type": "positive"},
               {"question": "Which fits?", "choices": absent, "type": "negative"}],
        "12": [{"question": "Which fits?", "choices": told, "type": "positive"}],
    }  # fmt: skip


def write_dlc(folder):
    """Write DLC-Bench's layout: COCO annotations, classes, questions."""
    write_picture(folder / "images/o.jpg", picture((4, 6, RED), (40, 30, BLUE)))
    coco_like = {
        "images": [{"id": 7, "file_name": "o.jpg", "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {"id": 11, "image_id": 7, "segmentation": compressed(square(4, 6))},
            {"id": 12, "image_id": 7, "segmentation": polygon(40, 30)},
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(coco_like))
    (folder / "class_names.json").write_text(json.dumps({"11": "square", "12": "glasses"}))
    (folder / "qa.json").write_text(json.dumps(dlc_questions()))
