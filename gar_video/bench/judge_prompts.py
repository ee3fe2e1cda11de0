"""What judges are asked. The benchmarks' rules, in this project's words.

A judgement depends on its prompt. To judge with a benchmark's own wording, pass it in a JSON file
(``--judge-prompts``): an object with some of the names below, fields in braces.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from gar_video.bench.reading import read_json
from gar_video.errors import GARVideoError

DEFAULTS: dict[str, str] = {
    "details": (
        "You are given a text that describes one object in a picture, and a question about that "
        "text. Choose the option that fits the text best; it need not fit exactly. Reply with that "
        "option alone, its letter and its words, and give no reasons.\n\n"
        "Text:\n{description}\n\nQuestion:\n{question}\n{options}"
    ),
    "recognition": (
        "Could the object that the text describes be {article} {class_name}, or something of a "
        "similar kind? A rough match is enough."
    ),
    "recognition_plural": (
        "Could the objects that the text describes be {class_name}, or things of a similar kind? "
        "A rough match is enough."
    ),
    "simple": (
        "A model was asked about a relation between marked regions of a picture. Compare what it "
        "said with the right answer. Other words for the same meaning are fine; the roles of the "
        "regions must be the same.\n\nRight answer: {answer}\nModel's answer: {description}\n\n"
        "Do both mean the same? Reply with one word, True or False."
    ),
    "detailed": (
        "A model described a marked region of a picture. Check two things: that its text speaks of "
        "the {subject_name}, and that it tells of a relation between the {subject_name} and the "
        '{object_name} that amounts to "{predicate_name}", in whatever words.\n\n'
        "Text: {description}\n\n"
        "Are both there? Reply with one word, True or False."
    ),
    "dimensions": (
        "Compare a model's description of one object in a video with a correct one. Give a whole "
        "number from 0 (all wrong or missing) to 5 (all right) for each of these:\n"
        "Subject Correspondence: is it about the same object?\n"
        "Appearance Description: are colours, shapes and other looks right?\n"
        "Temporal Description: are its movements and actions, and their order, right?\n"
        "Hallucination Detection: is it free of things that the correct description rules out?\n\n"
        "Correct description: {caption}\nModel's description: {description}\n\n"
        "Reply with a JSON object of the four names and their numbers, and nothing else."
    ),
}
#: Said after a reply that cannot be read.
AGAIN = {
    "verdict": "Reply with one word only: True or False.",
    "dimensions": "Reply with the JSON object of the four names and whole numbers 0 to 5 only.",
}

_FIELD = re.compile(r"\{([a-z_]+)\}")


class Prompts:
    """The judges' questions.

    Args:
        path: JSON file of wordings that replace some of the defaults.

    Raises:
        GARVideoError: If the file has unknown names, or a wording lacks a field it needs.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._texts = dict(DEFAULTS)
        if path is None:
            return
        given = read_json(Path(path))
        if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
            raise GARVideoError(f"{path} holds no prompts; expected an object of name to text")
        for name, text in given.items():
            if name not in DEFAULTS:
                raise GARVideoError(
                    f"{path}: no prompt is called {name!r}; expected {', '.join(DEFAULTS)}"
                )
            known = set(_FIELD.findall(DEFAULTS[name]))
            needed = known - {"article"}
            used = set(_FIELD.findall(text))
            if not needed <= used <= known:
                raise GARVideoError(
                    f"{path}: the prompt {name!r} has the fields {sorted(used)}; expected "
                    f"{sorted(known)}"
                )
            self._texts[name] = text

    @property
    def sha256(self) -> str:
        """Digest of all wordings."""
        return hashlib.sha256(json.dumps(self._texts, sort_keys=True).encode()).hexdigest()

    def fill(self, name: str, fields: Mapping[str, str]) -> str:
        """Return a wording with its fields filled in; braces in what is filled in stay."""
        return _FIELD.sub(lambda match: fields.get(match[1], match[0]), self._texts[name])


def article(name: str) -> str:
    """Return the article of a class's name, told by its first letter."""
    return "an" if name[:1].lower() in "aeio" or name.lower().startswith("um") else "a"
