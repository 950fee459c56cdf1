"""The judge: reads any text, sentence by sentence, and says what is well formed and what holds.

    verdict = judge(text)                          # or judge(prompt + continuation, start=3)
    [(s.text, s.well_formed, s.holds) for s in verdict.sentences]
    score(texts).kept                              # {grade: (share of facts kept, standard error, how many)}

It is the teller's grammar read backwards, not a model: a sentence is well formed if it is one that the teller could
write, word for word. Such a sentence makes claims (`world`), which are held against what was told before.

After a false sentence the world follows the text: what was said last is what counts from then on, so that one mistake
is counted once. A sentence that is not well formed changes nothing and is not held against the facts.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from course_utils.data.tales import grammar
from course_utils.data.tales import lexicon as w
from course_utils.data.tales.world import World

TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[^\sA-Za-z]")
END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?]”)) +(?=[A-Z“])|\n+")
STRAIGHT = re.compile(r'"([^"]*)"')

CLASS = (
    dict.fromkeys((*w.GIRLS, *w.BOYS, *w.HELD_OUT_GIRLS, *w.HELD_OUT_BOYS), "name")
    | dict.fromkeys((*w.ANIMALS, *w.ROLES), "noun")
    | dict.fromkeys(w.THINGS, "thing")
    | dict.fromkeys(w.CONTAINERS, "holder")
    | dict.fromkeys(w.PLACES, "place")
    | dict.fromkeys(w.COLOURS, "colour")
)
DEEDS = frozenset(word for pair in w.THINGS.values() for word in pair)
FEMALE = frozenset((*w.GIRLS, *w.HELD_OUT_GIRLS))
MALE = frozenset((*w.BOYS, *w.HELD_OUT_BOYS))
PREPOSITIONS = frozenset(w.PLACES.values())

SHAPES = {"A": "@who", "B": "@who", "C": "@who", "t": "@thing", "u": "@thing", "at": "@new-thing", "au": "@new-thing",
          "c": "@holder", "ac": "@new-holder", "P": "@where", "Q": "@where", "p": "@place", "q": "@place",
          "v": "@deed", "w": "@deed", "h": "@his", "h2": "@he"}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One claim of a sentence that can be checked. `word` is the place of the word that hangs on it, in characters."""

    sentence: int
    word: tuple[int, int]  # text[slice(*word)]
    relation: str  # at, has, in, near, wish, colour
    subject: str
    value: str
    grade: int
    kept: bool


@dataclass(frozen=True)
class Sentence:
    """One sentence of a text, judged."""

    text: str
    well_formed: bool
    facts: tuple[Fact, ...] = ()
    event: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is well formed and nothing in it is against what was told."""
        return self.well_formed and all(fact.kept for fact in self.facts)


@dataclass(frozen=True)
class Verdict:
    """A text, judged from sentence `start` on (the sentences before are a prompt: read, believed, not counted)."""

    sentences: tuple[Sentence, ...]
    world: World
    start: int = 0

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All checked facts that count."""
        return tuple(fact for sentence in self.sentences[self.start :] for fact in sentence.facts)

    @property
    def well_formed(self) -> bool:
        """Whether all sentences that count are."""
        return all(sentence.well_formed for sentence in self.sentences[self.start :])

    @property
    def holds(self) -> bool:
        """Whether all sentences that count hold."""
        return all(sentence.holds for sentence in self.sentences[self.start :])


@dataclass
class Score:
    """Counts over many texts; shares come with their standard error, texts being independent of each other."""

    texts: int = 0
    sentences: int = 0
    well_formed: int = 0
    holds: int = 0
    facts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # grade -> (kept, all) of each text

    @property
    def kept(self) -> dict[int, tuple[float, float, int]]:
        """grade -> (share kept, its standard error, how many facts). Grade 0: never decided by what was told."""
        return {grade: _share(pairs) for grade, pairs in sorted(self.facts.items())}


def _share(pairs: list[tuple[int, int]]) -> tuple[float, float, int]:
    """A ratio of sums with the standard error of a cluster sample: facts of one text are not independent."""
    kept, count = map(sum, zip(*pairs))
    share = kept / count
    n = len(pairs)
    spread = sum((k - share * c) ** 2 for k, c in pairs) * n / max(n - 1, 1)
    return share, math.sqrt(spread) / count, count


def score(texts: Iterable[str], start: int | Iterable[int] = 0) -> Score:
    """Judge many texts; `start`: the first sentence that counts, of all or of each."""
    texts = list(texts)
    starts = [start] * len(texts) if isinstance(start, int) else list(start)
    total = Score(texts=len(texts))
    for text, first in zip(texts, starts, strict=True):
        verdict = judge(text, first)
        counted = verdict.sentences[first:]
        total.sentences += len(counted)
        total.well_formed += sum(sentence.well_formed for sentence in counted)
        total.holds += sum(sentence.holds for sentence in counted)
        grades: dict[int, list[int]] = {}
        for fact in verdict.facts:
            pair = grades.setdefault(fact.grade, [0, 0])
            pair[0] += fact.kept
            pair[1] += 1
        for grade, pair in grades.items():
            total.facts.setdefault(grade, []).append(tuple(pair))
    return total


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


def judge(text: str, start: int = 0) -> Verdict:
    """Judge a text; count from sentence number `start` (0: the first)."""
    if start < 0:
        raise ValueError(f"start is the number of a sentence, at least 0, got {start}")
    text = STRAIGHT.sub(r"“\1”", text)
    world, cast = World(), _Cast()
    sentences = []
    for number, (at, sentence) in enumerate(split(text)):
        world.now = number
        sentences.append(_read(sentence, at, world, cast))
    return Verdict(tuple(sentences), world, start)


class _Cast:
    """Who and what a pronoun can mean: the one that was named last."""

    __slots__ = ("she", "he", "it")

    def __init__(self):
        self.she = self.he = self.it = None


@functools.cache
def _shapes() -> dict[tuple[str, ...], grammar.Form]:
    """Shape of a sentence -> its form."""
    found: dict[tuple[str, ...], grammar.Form] = {}
    for form in grammar.ALL:
        shape = []
        for part in re.split(r"(\{\w+\})", form.text):
            slot = part[1:-1] if part.startswith("{") else None
            shape.extend([SHAPES.get(slot, slot)] if slot else map(_literal, TOKEN.findall(part)))
        key = tuple(shape)
        if key in found:
            raise ValueError(f"two forms look alike: {form.text!r} and {found[key].text!r}")
        found[key] = form
    return found


def _literal(word: str) -> str:
    """How a word of a form that could also fill a slot stands in a shape."""
    return "@deed" if word in DEEDS else "it" if word == "It" else word


def _fold(sentence: str, at: int, cast: _Cast):
    """The shape of a sentence and the words in its slots: (shape, [(word, start, end)], colours) or None."""
    shape: list[str] = []
    slots: list[tuple[str, int, int]] = []
    colours: list[tuple[str, str, int, int]] = []
    tokens = list(TOKEN.finditer(sentence))
    words = [token.group() for token in tokens]
    i, n = 0, len(words)
    while i < n:
        word = words[i]
        first = i == 0 or words[i - 1] == "“"
        lower = word.lower() if first else word
        kind = CLASS.get(word)
        end = i + 1
        entity = word
        code = None
        if kind == "name":
            code = "@who"
        elif lower in ("the", "a") and i + 1 < n and (word != lower or not first):
            j = i + 1
            colour = words[j] if CLASS.get(words[j]) == "colour" else None
            j += colour is not None
            kind = CLASS.get(words[j]) if j < n else None
            if kind in ("thing", "holder"):
                code = f"@{kind}" if lower == "the" else f"@new-{kind}"
                entity = words[j]
                if colour:
                    colours.append((entity, colour, at + tokens[j - 1].start(), at + tokens[j - 1].end()))
            elif lower == "the" and not colour and kind == "noun":
                code, entity = "@who", words[j]
            elif lower == "the" and not colour and kind == "place":
                code, entity = "@place", words[j]
            end = j + 1
        elif lower in PREPOSITIONS and i + 2 < n and words[i + 1] == "the" and CLASS.get(words[i + 2]) == "place":
            if w.PLACES[words[i + 2]] != lower or (first and word == lower):
                return None
            code, entity, end = "@where", words[i + 2], i + 3
        elif word in DEEDS:
            code = "@deed"
        elif word in ("his", "her"):
            code = "@his"
        elif word in ("he", "she"):
            code = "@he"
        elif i == 0 and word in ("He", "She"):
            entity = cast.she if word == "She" else cast.he
            if entity is None:
                return None
            code = "@who"
        elif word in ("it", "It"):
            shape.append("it")
            slots.append((word, at + tokens[i].start(), at + tokens[i].end()))
            i += 1
            continue
        if code is None:
            shape.append(word)
            i += 1
        else:
            shape.append(code)
            slots.append((entity, at + tokens[end - 1].start(), at + tokens[end - 1].end()))
            i = end
    return tuple(shape), slots, colours


@functools.cache
def _order(form: grammar.Form) -> tuple[str, ...]:
    """The slots of a form as `_fold` finds them; a word of the form that could fill one stands as "=word"."""
    found = []
    for part in re.split(r"(\{\w+\})", form.text):
        if part.startswith("{"):
            found.append(part[1:-1])
        else:
            found.extend(f"={token}" for token in TOKEN.findall(part) if token in ("it", "It") or token in DEEDS)
    return tuple(found)


def _bind(form: grammar.Form, slots, cast: _Cast):
    """Entity and word of each slot: {"A": ("Anna", start, end), …}, or None where they do not fit together."""
    bound: dict[str, tuple[str, int, int]] = {}
    deeds = []
    owners = []
    for slot, found in zip(_order(form), slots, strict=True):
        if slot.startswith("="):
            if slot[1:] != found[0]:
                return None
            continue
        if slot == "it":
            if cast.it is None:
                return None
            bound["it"] = (cast.it, *found[1:])
        elif slot in ("v", "w"):
            deeds.append((slot, found[0]))
        elif slot in ("h", "h2"):
            owners.append(found[0])
        else:
            name = grammar.ENTITY.get(slot, slot)
            if name in bound and bound[name][0] != found[0]:
                return None
            bound[name] = found if name not in bound else bound[name]
    for one, other in (("A", "B"), ("A", "C"), ("B", "C"), ("t", "u"), ("P", "Q")):
        if one in bound and other in bound and bound[one][0] == bound[other][0]:
            return None
    for slot, deed in deeds:
        if w.THINGS[bound["t"][0]][slot == "w"] != deed:
            return None
    for owner in owners:
        if bound["A"][0] not in (FEMALE if owner in ("her", "she") else MALE):
            return None
    return bound


def _read(sentence: str, at: int, world: World, cast: _Cast) -> Sentence:
    """Judge one sentence and let the world follow it."""
    folded = _fold(sentence, at, cast)
    form = folded and _shapes().get(folded[0])
    bound = form and _bind(form, folded[1], cast)
    if not bound and not (form and not form.slots):
        return Sentence(sentence, False)
    facts = []

    def check(relation, subject, value, word, found):
        facts.append(Fact(world.now, word, relation, subject, value, found[1], found[0]))

    for thing, colour, start, end in folded[2]:
        if thing in world.colour:
            check("colour", thing, colour, (start, end), world.coloured(thing, colour))
        world.colour[thing] = (colour, world.now)
    claims = form.claims
    for effect in form.effects:  # who is introduced twice is claimed to be there
        if effect[0] in ("be", "beside") and bound[effect[1]][0] in world.inside:
            claims = (*claims, ({"be": "at", "beside": "near"}[effect[0]], *effect[1:]))
        elif effect[0] == "own" and bound[effect[2]][0] in world.inside:
            claims = (*claims, ("has", *effect[1:]))
    for relation, one, other in claims:
        subject, value = bound[one], bound[other]
        word = max(subject[1:], value[1:])
        check(relation, subject[0], value[0], word, RELATIONS[relation](world, subject[0], value[0]))
    for relation, one, other in claims:  # adopted, kept or not
        _adopt(world, relation, bound[one][0], bound[other][0])
    for effect in form.effects:
        _change(world, effect[0], *(bound[slot][0] for slot in effect[1:]))
    _remember(form, bound, cast)
    return Sentence(sentence, True, tuple(facts), form.event)


RELATIONS = {
    "at": World.at, "has": World.has, "in": World.in_, "near": World.near, "wish": World.wished,
}  # fmt: skip


def _adopt(world: World, relation: str, subject: str, value: str) -> None:
    if relation == "at":
        if world.chain(subject)[-1:] != [value]:
            world.move(subject, value)
        world.tell_place(subject, value)
    elif relation == "has":
        if subject not in world.chain(value):
            world.move(value, subject)
        elif world.inside[value] == subject:
            world.said[value] = world.now
    elif relation == "in":
        if world.inside.get(subject) != value:
            world.move(subject, value)
        world.said[subject] = world.now
    elif relation == "near":
        places = world.chain(subject)[-1:], world.chain(value)[-1:]
        if places[0] != places[1] or not places[0]:
            mover, to = (subject, places[1]) if places[1] else (value, places[0])
            if to and mover in world.inside:
                world.move(mover, to[0])
    elif relation == "wish":
        world.wish[subject] = (value, world.now)


def _change(world: World, effect: str, one: str, other: str, third: str | None = None) -> None:
    if effect in ("go", "be", "put"):
        world.move(one, other)
    elif effect in ("get", "own"):
        world.move(other, one)
    elif effect == "bring":
        world.move(one, third)
        world.tell_place(other, third)
    elif effect == "into":
        world.move(one, other)
    elif effect == "beside":
        world.put_beside(one, other)
    elif effect == "wish":
        world.wish[one] = (other, world.now)


def _remember(form: grammar.Form, bound, cast: _Cast) -> None:
    for slot, (entity, *_) in sorted(bound.items(), key=lambda item: item[1][1]):
        if slot in ("t", "u", "c"):
            cast.it = entity
        elif entity in FEMALE:
            cast.she = entity
        elif entity in MALE:
            cast.he = entity
