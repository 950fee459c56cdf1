"""The judge: reads any text, sentence by sentence, and says what is well formed and what holds.

    verdict = judge(text)                          # or judge(prompt + continuation, start=3)
    [(s.text, s.well_formed, s.holds) for s in verdict.sentences]
    score(texts).kept                              # {grade: (share of facts kept, standard error, how many)}

It is the teller's grammar read backwards (`parser`), not a model: a sentence is well formed if the teller could have
written it, word for word. Such a sentence makes claims, which are compared with what was told before (`world`).

A false claim has the grade of the fact that it should have kept. After it the world follows the text: what was said
last counts from then on, so that one mistake is counted once. A sentence that is not well formed changes nothing and
makes no claims. Somebody new may simply turn up; a thing must be introduced ("a red kite") before it is "the kite".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from course_utils.data.tales import lexicon as w
from course_utils.data.tales.parser import CLASS, Cast, Found, Parsed, parse, split
from course_utils.data.tales.world import World

STRAIGHT = re.compile(r'"([^"]*)"')
RELATIONS = {
    "at": World.at, "has": World.has, "in": World.in_, "near": World.near, "wish": World.wished,
    "colour": World.coloured,
}  # fmt: skip
ONCE = {"be": "at", "own": "has", "beside": "near"}  # an introduction of what is known already claims this


class Fact(NamedTuple):
    """One claim of a sentence, checked. It hangs on the later of its two words: text[slice(*word)].

    `phrase` is that word with what belongs to it ("on the hill"); `options` are other phrases of the tale that would
    have been false in its place (found by `judge(text, options=True)`).
    """

    sentence: int
    word: tuple[int, int]
    phrase: tuple[int, int]
    relation: str  # at, has, in, near, wish, colour; known: a thing that was never introduced
    subject: str
    value: str
    grade: int
    kept: bool
    options: tuple[str, ...] = ()


class Sentence(NamedTuple):
    """One sentence of a text, judged."""

    text: str
    well_formed: bool
    event: str = ""
    facts: tuple[Fact, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is well formed and nothing in it contradicts what was told."""
        return self.well_formed and all(fact.kept for fact in self.facts)


class Verdict(NamedTuple):
    """A text, judged from sentence `start` on. The sentences before it are a prompt: read and believed, not counted."""

    sentences: tuple[Sentence, ...]
    world: World  # as it is at the end
    named: tuple[str, ...]  # who, what and where, in the order in which they first occur
    start: int = 0

    @property
    def counted(self) -> tuple[Sentence, ...]:
        """The sentences that count."""
        return self.sentences[self.start :]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All checked facts that count."""
        return tuple(fact for sentence in self.counted for fact in sentence.facts)

    @property
    def well_formed(self) -> bool:
        """Whether all the sentences that count are well formed."""
        return all(sentence.well_formed for sentence in self.counted)

    @property
    def holds(self) -> bool:
        """Whether all the sentences that count hold."""
        return all(sentence.holds for sentence in self.counted)


class Share(NamedTuple):
    """A share with its standard error, and the number of cases."""

    share: float
    error: float
    count: int


@dataclass
class Score:
    """Counts over many texts, and shares with standard errors that take texts, not sentences, as independent."""

    texts: int = 0
    sentences: int = 0
    well_formed: int = 0  # of the sentences
    holds: int = 0  # of those that are well formed
    facts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # grade → of each text: kept, all
    forms: list[tuple[int, int]] = field(default_factory=list)  # of each text: sentences well formed, all

    @property
    def form(self) -> Share:
        """Share of the sentences that are well formed."""
        return _share(self.forms)

    @property
    def kept(self) -> dict[int, Share]:
        """Share of the facts kept, by grade. Grade 0: nothing that was told decides it."""
        return {grade: _share(pairs) for grade, pairs in sorted(self.facts.items())}


def _share(pairs: list[tuple[int, int]]) -> Share:
    """A ratio of sums, with the standard error of a cluster sample."""
    kept, count = map(sum, zip(*pairs)) if pairs else (0, 0)
    if not count:
        return Share(math.nan, math.nan, 0)
    share, n = kept / count, len(pairs)
    spread = sum((one - share * all_) ** 2 for one, all_ in pairs) * n / max(n - 1, 1)
    return Share(share, math.sqrt(spread) / count, count)


def score(texts: Iterable[str], start: int | Iterable[int] = 0) -> Score:
    """Judge many texts.

    Args:
        texts: what a teller or a model wrote.
        start: the number of the first sentence that counts, one for all or one for each text.
    """
    texts = list(texts)
    starts = [start] * len(texts) if isinstance(start, int) else list(start)
    total = Score(texts=len(texts))
    for text, first in zip(texts, starts, strict=True):
        verdict = judge(text, first)
        counted = verdict.counted
        good = sum(sentence.well_formed for sentence in counted)
        total.sentences += len(counted)
        total.well_formed += good
        total.holds += sum(sentence.holds for sentence in counted)
        total.forms.append((good, len(counted)))
        grades: dict[int, list[bool]] = {}
        for fact in verdict.facts:
            grades.setdefault(fact.grade, []).append(fact.kept)
        for grade, kept in grades.items():
            total.facts.setdefault(grade, []).append((sum(kept), len(kept)))
    return total


def judge(text: str, start: int = 0, *, options: bool = False) -> Verdict:
    """Judge a text.

    Args:
        text: any text. Straight quotation marks are read as curly ones.
        start: the number of the first sentence that counts; those before it are a prompt.
        options: find for each fact what else could stand there and would be false (takes longer).

    Raises:
        ValueError: if `start` is negative.
    """
    if start < 0:
        raise ValueError(f"start must be the number of a sentence, at least 0, got {start}")
    text = STRAIGHT.sub(r"“\1”", text)
    world, cast = World(), Cast()
    named: dict[str, None] = {}  # a set that keeps its order
    sentences = []
    for number, (at, sentence) in enumerate(split(text)):
        world.now = number
        parsed = parse(sentence, at, cast)
        if parsed is None:
            sentences.append(Sentence(sentence, False))
            continue
        facts = _check(parsed, world, named if options else None, text)
        _follow(parsed, world)
        cast.remember(parsed.bound)
        for found in parsed.bound.values():
            named[found.entity] = None
        sentences.append(Sentence(sentence, True, parsed.form.event, tuple(facts)))
    return Verdict(tuple(sentences), world, tuple(named), start)


def marks(text: str, start: int = 0) -> list[tuple[int, int, str]]:
    """Return what the judge found in a text, for display: (start, end, kind), in order, from sentence `start` on.

    The kinds are "kept" and "broken" for a word that hangs on a fact, and "odd" for a sentence that is not well formed.
    """
    verdict = judge(text, start)
    places = split(STRAIGHT.sub(r"“\1”", text))[start:]
    kinds = {(at, at + len(said)): "odd" for (at, said), s in zip(places, verdict.counted) if not s.well_formed}
    for fact in verdict.facts:  # a word that hangs on two facts is broken if one of them is
        kinds[fact.word] = "broken" if not fact.kept or kinds.get(fact.word) == "broken" else "kept"
    return [(begin, end, kind) for (begin, end), kind in sorted(kinds.items())]


def _claims(parsed: Parsed, world: World) -> list[tuple[str, Found | str, Found | str]]:
    """What a sentence claims: (relation, subject, value)."""
    form, bound, colours = parsed
    claims = [(relation, bound[one], bound[other]) for relation, one, other in form.claims]
    for effect in form.effects:
        if effect[0] in ONCE and bound[effect[2 if effect[0] == "own" else 1]].entity in world.inside:
            claims.append((ONCE[effect[0]], bound[effect[1]], bound[effect[2]]))
    for colour, thing in colours:
        if thing.entity in world.colour:
            claims.append(("colour", thing, colour))
    return claims


def _check(parsed: Parsed, world: World, named: dict[str, None] | None, text: str) -> list[Fact]:
    """Compare what a sentence claims with the world."""
    facts = []
    for relation, subject, value in _claims(parsed, world):
        one = subject.entity
        other = value if isinstance(value, str) else value.entity
        late = subject if isinstance(value, str) or subject.start > value.start else value
        holds, grade = RELATIONS[relation](world, one, other)
        begin = late.start if relation == "colour" else late.phrase  # "the red": which of the things?
        found = ()
        if named is not None and holds:
            found = _options(
                relation, (one, other), late is subject, late._replace(phrase=begin), parsed, world, named, text
            )
        word, phrase = (late.start, late.end), (begin, late.end)
        facts.append(Fact(world.now, word, phrase, relation, one, other, grade, holds, found))
    for slot in parsed.form.known:
        thing = parsed.bound[slot]
        if thing.entity not in world.inside:
            word, phrase = (thing.start, thing.end), (thing.phrase, thing.end)
            facts.append(Fact(world.now, word, phrase, "known", thing.entity, thing.entity, 0, False))
    return facts


def _options(
    relation: str,
    claim: tuple[str, str],
    subject_is_late: bool,
    late: Found,
    parsed: Parsed,
    world: World,
    named: dict[str, None],
    text: str,
) -> tuple[str, ...]:
    """Phrases of the same kind, of what the tale has named, that would make the claim false."""
    if text[late.start : late.end] not in CLASS:  # a pronoun
        return ()
    phrase, kind = text[late.phrase : late.end], _kind(late.entity)
    before = [*named, *(found.entity for found in parsed.bound.values() if found.start < late.start)]
    found = []
    for entity in dict.fromkeys(before):
        if _kind(entity) == kind and entity not in claim:
            rival = (entity, claim[1]) if subject_is_late else (claim[0], entity)
            if not RELATIONS[relation](world, *rival)[0]:
                found.append(_phrase(entity, phrase, world))
    return tuple(found)


def _kind(entity: str) -> str:
    return {"name": "who", "noun": "who", "holder": "thing"}.get(CLASS[entity], CLASS[entity])


def _phrase(entity: str, model: str, world: World) -> str:
    """What `entity` is called where `model` stands: "on the hill" for "in the attic", "blue ball" for "red key"."""
    kind, words = CLASS[entity], model.split()
    if kind == "noun":
        said = f"the {entity}"
    elif kind == "place" and len(words) == 3:
        said = f"{w.PLACES[entity]} the {entity}"
    elif kind in ("thing", "holder") and len(words) == 2 and entity in world.colour:
        said = f"{words[0] if entity == words[1] else world.colour[entity][0]} {entity}"
    else:
        said = entity
    return said[0].upper() + said[1:] if model[0].isupper() else said


def _follow(parsed: Parsed, world: World) -> None:
    """Make the world as the sentence says: its claims, whether they were kept or not, and then its effects."""
    form, bound, colours = parsed
    for colour, thing in colours:
        world.colour[thing.entity] = (colour, world.now)
    for relation, one, other in form.claims:
        world.believe(relation, bound[one].entity, bound[other].entity)
    for effect, *slots in form.effects:
        world.change(effect, *(bound[slot].entity for slot in slots))
