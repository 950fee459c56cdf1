"""From a sentence back to its form: who and what stands in which slot.

Words that can fill a slot are replaced by their class ("Anna gave Ben the red key." → "@who gave @who @thing ."); such
a shape belongs to one form at most, which a dictionary finds.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from course_utils.data.tales import grammar
from course_utils.data.tales import lexicon as w

TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[^\sA-Za-z]")
END = re.compile(r"(?<=[.!?]) +|(?<=[.!?]”) +(?=[A-Z“])|\n+")

FEMALE = frozenset((*w.GIRLS, *w.HELD_OUT_GIRLS))
MALE = frozenset((*w.BOYS, *w.HELD_OUT_BOYS))
CLASS = (
    dict.fromkeys(FEMALE | MALE, "name")
    | dict.fromkeys((*w.ANIMALS, *w.ROLES), "noun")
    | dict.fromkeys(w.THINGS, "thing")
    | dict.fromkeys(w.CONTAINERS, "holder")
    | dict.fromkeys(w.PLACES, "place")
    | dict.fromkeys(w.COLOURS, "colour")
)
DEEDS = frozenset(word for pair in w.THINGS.values() for word in pair)
PREPOSITIONS = frozenset(w.PLACES.values())
SHAPES = {
    "A": "@who", "B": "@who", "C": "@who", "t": "@thing", "u": "@thing", "at": "@new-thing", "au": "@new-thing",
    "c": "@holder", "ac": "@new-holder", "P": "@where", "Q": "@where", "p": "@place", "q": "@place",
    "v": "@deed", "w": "@deed", "h": "@his", "h2": "@he", "it": "@it",
}  # fmt: skip
CLOSED = {"his": "@his", "her": "@his", "he": "@he", "she": "@he", "it": "@it", "It": "@it"} | dict.fromkeys(
    DEEDS, "@deed"
)
DIFFERENT = (("A", "B"), ("A", "C"), ("B", "C"), ("t", "u"), ("P", "Q"))  # never the same


class Found(NamedTuple):
    """What stands in a slot: the entity, its word as text[start:end], and where its phrase begins ("on the hill")."""

    entity: str
    start: int
    end: int
    phrase: int


class Parsed(NamedTuple):
    """A sentence that is well formed."""

    form: grammar.Form
    bound: dict[str, Found]  # by slot
    colours: list[tuple[str, Found]]  # (colour, the thing that is said to have it)


class Cast:
    """Who and what a pronoun means: whoever or whatever was named last."""

    __slots__ = ("she", "he", "it")

    def __init__(self):
        self.she: str | None = None
        self.he: str | None = None
        self.it: str | None = None

    def remember(self, bound: dict[str, Found]) -> None:
        """Take note of those whom, and the things which, a sentence has named."""
        for slot, found in sorted(bound.items(), key=_place):
            entity = found.entity
            if slot in ("t", "u", "c"):
                self.it = entity
            elif entity in FEMALE:
                self.she = entity
            elif entity in MALE:
                self.he = entity


def _place(item: tuple[str, Found]) -> int:
    return item[1].start


def split(text: str) -> list[tuple[int, str]]:
    """The sentences of a text, each with the place where it starts."""
    found, at = [], 0
    for gap in END.finditer(text):
        if text[at : gap.start()].strip():
            found.append((at, text[at : gap.start()]))
        at = gap.end()
    if text[at:].strip():
        found.append((at, text[at:]))
    return found


def parse(sentence: str, at: int, cast: Cast) -> Parsed | None:
    """Recognize a sentence, which starts at place `at` of its text; None if the teller could not have said it."""
    folded = _fold(sentence, at, cast)
    if folded is None:
        return None
    shape, fillers, colours = folded
    found = _shapes().get(tuple(shape))
    if found is None:
        return None
    form, slots = found
    bound = _bind(slots, fillers, cast)
    return None if bound is None else Parsed(form, bound, colours)


@functools.cache
def _shapes() -> dict[tuple[str, ...], tuple[grammar.Form, tuple[str, ...]]]:
    """Shape of a sentence → its form, and the slots in order ("=played": a word of the form that could fill one)."""
    found: dict[tuple[str, ...], tuple[grammar.Form, tuple[str, ...]]] = {}
    for form in grammar.ALL:
        shape, slots = [], []
        for part in re.split(r"(\{\w+\})", form.text):
            if part.startswith("{"):
                slots.append(part[1:-1])
                shape.append(SHAPES[part[1:-1]])
            else:
                words = TOKEN.findall(part)
                shape.extend(CLOSED.get(word, word) for word in words)
                slots.extend(f"={word}" for word in words if word in CLOSED)
        if tuple(shape) in found:
            raise ValueError(f"two forms look alike: {form.text!r} and {found[tuple(shape)][0].text!r}")
        found[tuple(shape)] = form, tuple(slots)
    return found


def _fold(sentence: str, at: int, cast: Cast) -> tuple[list[str], list[Found], list[tuple[str, Found]]] | None:
    """The shape of a sentence, what fills its slots, and the colours it names."""
    shape: list[str] = []
    fillers: list[Found] = []
    colours: list[tuple[str, Found]] = []
    tokens = list(TOKEN.finditer(sentence))
    words = [token.group() for token in tokens]
    words += ["", "", ""]  # room to look ahead
    i, n = 0, len(tokens)
    while i < n:
        word = words[i]
        first = i == 0 or words[i - 1] == "“"
        lower = word.lower() if first else word  # a capital where a sentence starts, and only there
        code, entity, last, phrase, colour = None, word, i, i, None
        if word in CLASS:
            code = "@who" if CLASS[word] == "name" else None
        elif (lower == "the" or lower == "a") and not (first and word == lower):
            last = i + 1
            if CLASS.get(words[last]) == "colour":
                colour = words[last]
                last += 1
            entity = words[last]
            kind = CLASS.get(entity)
            if kind == "thing" or kind == "holder":
                code, phrase = f"@{kind}" if lower == "the" else f"@new-{kind}", i + 1
            elif lower == "the" and not colour:
                if kind == "noun":
                    code = "@who"
                elif kind == "place":
                    code, phrase = "@place", i + 1
        elif lower in PREPOSITIONS and words[i + 1] == "the" and CLASS.get(words[i + 2]) == "place":
            last = i + 2
            entity = words[last]
            if w.PLACES[entity] != lower or first and word == lower:
                return None
            code = "@where"
        elif word in CLOSED:
            code = CLOSED[word]
        elif i == 0 and (word == "She" or word == "He"):
            entity = cast.she if word == "She" else cast.he
            if entity is None:
                return None
            code = "@who"
        if code is None:
            shape.append(word)
            i += 1
            continue
        shape.append(code)
        found = Found(entity, at + tokens[last].start(), at + tokens[last].end(), at + tokens[phrase].start())
        fillers.append(found)
        if colour:
            colours.append((colour, found))
        i = last + 1
    return shape, fillers, colours


def _bind(slots: tuple[str, ...], fillers: list[Found], cast: Cast) -> dict[str, Found] | None:
    """What stands in each slot, or None where the parts do not fit together."""
    bound: dict[str, Found] = {}
    agree: list[tuple[str, str]] = []
    for slot, found in zip(slots, fillers):
        if slot[0] == "=":
            if slot[1:] != found.entity:
                return None
        elif slot in ("v", "w", "h", "h2"):
            agree.append((slot, found.entity))
        elif slot == "it":
            if cast.it is None:
                return None
            bound[slot] = found._replace(entity=cast.it)
        else:
            name = grammar.ENTITY.get(slot, slot)
            if bound.setdefault(name, found).entity != found.entity:
                return None
    for one, other in DIFFERENT:
        if one in bound and other in bound and bound[one].entity == bound[other].entity:
            return None
    for slot, word in agree:
        if slot in ("v", "w"):
            if w.THINGS[bound["t"].entity][slot == "w"] != word:
                return None
        elif bound["A"].entity not in (FEMALE if word in ("her", "she") else MALE):
            return None
    return bound
