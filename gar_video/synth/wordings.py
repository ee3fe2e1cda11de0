"""How questions are worded: for each kind, wordings to train on and two that are kept out.

``{a}``, ``{b}`` and ``{c}`` stand for objects (``<1>``), ``{x}`` for what is asked for and
``{ax}`` for that with its article. The last two wordings of each kind are the ones kept out; each
of their words occurs in the others.
"""

from __future__ import annotations

HELD_OUT = 2

#: Kinds that ask the same of the colour, the shape, ... of one thing.
_ATTRIBUTE = (
    "What {word} is {{a}}?",
    "What is the {word} of {{a}}?",
    "Which {word} does {{a}} have?",
    "{Word} of {{a}}?",
    "Tell me the {word} of {{a}}.",
    "Name the {word} of {{a}}.",
    "Look at {{a}}. What {word} is it?",
    "{{a}}: what {word}?",
    "Look at the object marked {{a}} in this video and say which {word} it has.",
    "What {word} does {{a}} have?",
    # kept out
    "Which {word} is {{a}}?",
    "In this video, what {word} is the object marked {{a}}?",
)


def _attribute(*words: str) -> tuple[str, ...]:
    """Word a question for an attribute, the spellings of its name taking turns."""
    texts = []
    for k, text in enumerate(_ATTRIBUTE):
        word = words[k % len(words)]
        texts.append(text.format(word=word, Word=word.capitalize()))
    return tuple(texts)


WORDINGS: dict[str, tuple[str, ...]] = {
    # Basic Questions
    "color": (
        "What colour is {a}?",
        "What is the color of {a}?",
        "Which colour does {a} have?",
        *_attribute("color", "colour"),
    ),
    "shape": ("What kind of shape is {a}?", *_attribute("shape")),
    "size": (
        "How large is {a}?",
        "How big is {a}?",
        "Is {a} small, medium or large?",
        *_attribute("size"),
    ),
    "pattern": ("How is {a} patterned?", *_attribute("pattern")),
    "look": (
        "What is {a}?",
        "Which of these is {a}?",
        "What kind of object is {a}?",
        "How would you describe {a}?",
        "Which words describe {a}?",
        "What does {a} look like?",
        "Look at {a}. What is it?",
        "Tell me what {a} is.",
        "{a}: what is it?",
        "Say what the object marked {a} looks like.",
        # kept out
        "Which of these words describe {a}?",
        "Tell me what {a} looks like.",
    ),
    "place start": (
        "Where is {a} at the start?",
        "Where is {a} at the beginning?",
        "In which corner is {a} at the start?",
        "Where in the picture is {a} at first?",
        "Which part of the picture is {a} in at the start?",
        "Start of the video: where is {a}?",
        "Where does {a} start?",
        "Tell me where {a} is at the beginning.",
        "Look at the first frame. Where is {a}?",
        "In the first frame, which corner is {a} nearest to?",
        # kept out
        "Where in the picture is {a} at the start?",
        "In the first frame, where is {a}?",
    ),
    "place end": (
        "Where is {a} at the end?",
        "Where is {a} in the end?",
        "In which corner is {a} at the end?",
        "Where in the picture is {a} at last?",
        "Which part of the picture is {a} in at the end?",
        "End of the video: where is {a}?",
        "Where does {a} end up?",
        "Tell me where {a} is when the video ends.",
        "Look at the last frame. Where is {a}?",
        "In the last frame, which corner is {a} nearest to?",
        # kept out
        "Where in the picture is {a} at the end?",
        "In the last frame, where is {a}?",
    ),
    "direction": (
        "Which way does {a} move?",
        "In which direction does {a} move?",
        "What direction does {a} go?",
        "Where does {a} move?",
        "How does {a} move?",
        "Direction of {a}?",
        "Tell me which way {a} goes.",
        "Which way is {a} going?",
        "{a}: which way?",
        "What does {a} do?",
        "What is {a} doing?",
        "Where is {a} moving to?",
        "Look at {a} through the whole video and say which way it moves.",
        # kept out
        "Which direction does {a} go in?",
        "Tell me how {a} moves.",
    ),
    "which color": (
        "Which one is {x}: {a}, {b} or {c}?",
        "Which of {a}, {b} and {c} is {x}?",
        "Which object is {x}, {a}, {b} or {c}?",
        "Find the {x} one: {a}, {b} or {c}?",
        "Out of {a}, {b} and {c}, which one is {x}?",
        "{a}, {b} or {c}: which is {x}?",
        "Is {a}, {b} or {c} {x}?",
        "Look at {a}, {b} and {c}. Which one is {x}?",
        "Tell me which of {a}, {b} and {c} is {x}.",
        "Which of the objects {a}, {b} and {c} has the colour {x}?",
        # kept out
        "Which one of {a}, {b} and {c} is {x}?",
        "Which one has the color {x}: {a}, {b} or {c}?",
    ),
    "which shape": (
        "Which one is {ax}: {a}, {b} or {c}?",
        "Which of {a}, {b} and {c} is {ax}?",
        "Which object is {ax}, {a}, {b} or {c}?",
        "Find the {x}: {a}, {b} or {c}?",
        "Out of {a}, {b} and {c}, which one is {ax}?",
        "{a}, {b} or {c}: which is the {x}?",
        "Is {a}, {b} or {c} {ax}?",
        "Look at {a}, {b} and {c}. Which one is {ax}?",
        "Tell me which of {a}, {b} and {c} is {ax}.",
        "Which of the objects {a}, {b} and {c} has the shape of {ax}?",
        # kept out
        "Which one of {a}, {b} and {c} is {ax}?",
        "Which one has the shape of {ax}: {a}, {b} or {c}?",
    ),
    # Sequential Questions
    "first then": (
        "What does {a} do first, and what then?",
        "What does {a} do, in order?",
        "In which order does {a} do things?",
        "What does {a} do first and what after that?",
        "How does {a} move first, and how then?",
        "Tell me what {a} does, first and then.",
        "{a}: what first, what then?",
        "What happens to {a}, step by step?",
        "Describe in order what {a} does.",
        "Look at {a} from the start to the end. What does it do?",
        # kept out
        "What does {a} do step by step?",
        "Tell me in order what {a} does.",
    ),
    "first": (
        "What does {a} do first?",
        "What does {a} do at the start?",
        "What does {a} do at the beginning?",
        "Which way does {a} move at first?",
        "How does {a} move at the start?",
        "What is {a} doing at the beginning of the video?",
        "At the start, what does {a} do?",
        "{a}: what does it do first?",
        "Tell me what {a} does at the start.",
        "Look at the beginning of the video. What does {a} do?",
        # kept out
        "What is {a} doing at the start?",
        "How does {a} move at first?",
    ),
    "last": (
        "What does {a} do last?",
        "What does {a} do at the end?",
        "What does {a} do in the end?",
        "Which way does {a} move at last?",
        "How does {a} move at the end?",
        "What is {a} doing at the end of the video?",
        "At the end, what does {a} do?",
        "{a}: what does it do last?",
        "Tell me what {a} does at the end.",
        "Look at the end of the video. What does {a} do?",
        # kept out
        "What is {a} doing at the end?",
        "How does {a} move in the end?",
    ),
    "enter side": (
        "From which side does {a} come in?",
        "Where does {a} come from?",
        "Which side does {a} come in from?",
        "On which side does {a} enter?",
        "From where does {a} enter the picture?",
        "At which edge does {a} come into the picture?",
        "{a} comes in: from which side?",
        "Tell me from which side {a} enters.",
        "Which edge does {a} come in at?",
        "{a} is not there at first. From which side does it come?",
        # kept out
        "Where does {a} come into the picture from?",
        "From which edge does {a} enter?",
    ),
    "leave side": (
        "On which side does {a} leave?",
        "Where does {a} leave?",
        "Which side does {a} go out at?",
        "By which side does {a} leave the picture?",
        "Where does {a} go out of the picture?",
        "At which edge does {a} go out of the picture?",
        "{a} leaves: on which side?",
        "Tell me on which side {a} leaves.",
        "Which edge does {a} leave by?",
        "{a} is not there at the end. On which side does it leave?",
        # kept out
        "Where does {a} leave the picture?",
        "By which edge does {a} go out?",
    ),
    "seen when": (
        "When can {a} be seen?",
        "When is {a} seen?",
        "When is {a} in sight?",
        "When can you see {a}?",
        "In which part of the video is {a} seen?",
        "In which part of the video can you see {a}?",
        "{a}: when is it in sight?",
        "Tell me when {a} can be seen.",
        "At what time is {a} in sight?",
        "Look through the whole video. When is {a} to be seen?",
        # kept out
        "At what time can you see {a}?",
        "Tell me when {a} is in sight.",
    ),
    "moving start": (
        "Which of {a} and {b} is moving at the start?",
        "Which one moves at the start, {a} or {b}?",
        "At the beginning, which of {a} and {b} moves?",
        "Is {a} or {b} moving at first?",
        "Do {a} and {b} move at the beginning?",
        "{a} and {b}: which one is moving first?",
        "Who moves at the start, {a}, {b} or both?",
        "Look at the start of the video. Which of {a} and {b} moves?",
        "Tell me which of {a} and {b} is moving at the beginning.",
        "Does {a} move at the start, or does {b}?",
        # kept out
        "Which one is moving at the start, {a} or {b}?",
        "At the beginning, is {a} or {b} moving?",
    ),
    "moving end": (
        "Which of {a} and {b} is moving at the end?",
        "Which one moves at the end, {a} or {b}?",
        "In the end, which of {a} and {b} moves?",
        "Is {a} or {b} moving at last?",
        "Do {a} and {b} move at the end?",
        "{a} and {b}: which one is moving last?",
        "Who moves at the end, {a}, {b} or both?",
        "Look at the end of the video. Which of {a} and {b} moves?",
        "Tell me which of {a} and {b} is still moving when the video ends.",
        "Does {a} move at the end, or does {b}?",
        # kept out
        "Which one is moving at the end, {a} or {b}?",
        "At the end, is {a} or {b} moving?",
    ),
    "color end": (
        "What color is {a} at the end?",
        "What colour is {a} in the end?",
        "What color does {a} have at the end?",
        "Which colour does {a} have at last?",
        "What color does {a} become?",
        "What colour does {a} turn?",
        "What is the color of {a} when the video ends?",
        "Tell me the colour of {a} at the end.",
        "Look at the last frame. What color is {a}?",
        "{a}: what colour at the end?",
        # kept out
        "Which color is {a} at the end?",
        "In the last frame, what colour is {a}?",
    ),
    "change": (
        "What changes about {a}?",
        "How does {a} change?",
        "What happens to the look of {a}?",
        "Does {a} change, and how?",
        "In what way does {a} change?",
        "{a}: what changes?",
        "Tell me how {a} changes.",
        "Does {a} grow, shrink or turn another color?",
        "Look at {a} through the whole video. What changes about it?",
        "What change do you see in {a}?",
        # kept out
        "Tell me what changes about {a}.",
        "What is the change in {a}?",
    ),
    "speed": (
        "How does the speed of {a} change?",
        "Does {a} get faster or slower?",
        "What happens to the speed of {a}?",
        "How fast is {a}, first and then?",
        "Does {a} change its speed?",
        "{a}: faster or slower?",
        "Tell me how the speed of {a} changes.",
        "Is {a} slow or fast at the end, compared to the start?",
        "Look at {a}. How does its speed change?",
        "What does the speed of {a} do?",
        # kept out
        "Does the speed of {a} change?",
        "Tell me what happens to the speed of {a}.",
    ),
}
