"""The teller: makes up what happens, and says it in one of many ways.

    tales = teller.write(1000, runtime.seed(0))     # the first ten are those of write(10, runtime.seed(0))

A tale follows one of PLOTS, a wish and what got in its way; between its steps the teller says who has what and who is
where.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from course_utils.data.tales import grammar, parser, reader
from course_utils.data.tales import lexicon as w

if TYPE_CHECKING:
    import torch

Split = Literal["train", "held_out_names", "held_out_combinations"]
SPLITS = ("train", "held_out_names", "held_out_combinations")
NUMBERS = 512  # random numbers for one tale, far more than it uses
LONGEST = 570  # characters of a tale; one that comes out longer (one in hundreds) is told again
CHUNK = 1024  # tales whose numbers are drawn at once

NOUNS = (*w.ANIMALS, *w.ROLES)
NAME = {name: name for names in (w.GIRLS, w.BOYS, w.HELD_OUT_GIRLS, w.HELD_OUT_BOYS) for name in names} | {
    noun: f"the {noun}" for noun in NOUNS
}
CAPITAL = {who: name[0].upper() + name[1:] for who, name in NAME.items()}
WHERE = {place: f"{preposition} the {place}" for place, preposition in w.PLACES.items()}
WHERE_CAPITAL = {place: where[0].upper() + where[1:] for place, where in WHERE.items()}
SHE = dict.fromkeys(parser.FEMALE, ("her", "she", "She")) | dict.fromkeys(parser.MALE, ("his", "he", "He"))

THINGS, PLACES = tuple(w.THINGS), tuple(w.PLACES)
HELD_OUT = frozenset(
    (thing, place) for i, thing in enumerate(THINGS) for j, place in enumerate(PLACES) if (3 * i + j) % 12 == 0
)
"""Pairs of a thing and a place that no training tale has both of: one in twelve, of each thing and each place."""
FREE = {thing: tuple(place for place in PLACES if (thing, place) not in HELD_OUT) for thing in THINGS}
PAIRED = {thing: tuple(place for place in PLACES if (thing, place) in HELD_OUT) for thing in THINGS}


@dataclass(frozen=True)
class Tale:
    """A tale, and where everybody and everything is at its end, as the teller knows."""

    text: str
    cast: tuple[str, ...]  # people, things, holders, places, in the order in which they were thought of
    inside: dict[str, str]  # entity -> what it is in at the end: a place, a holder, somebody
    plot: str

    @functools.cached_property
    def verdict(self) -> reader.Verdict:
        """What the judge reads in the tale."""
        return reader.judge(self.text)

    @property
    def facts(self) -> tuple[reader.Fact, ...]:
        """Every word of the text that hangs on a fact, with the fact's grade."""
        return self.verdict.facts

    @property
    def cloze(self) -> tuple[reader.Fact, ...]:
        """The facts that have rivals: `options` from the same tale that would be false in the phrase's place.

        A model's share of probability for text[slice(*fact.phrase)] among these shows, grade by grade, what it keeps.
        """
        return tuple(fact for fact in reader.judge(self.text, options=True).facts if fact.options)


class _Filler(NamedTuple):
    """A form, prepared for use."""

    fill: Callable[[dict[str, str], dict[str, str], dict[str, str], str], str]
    needs: frozenset[str]  # slots that must be bound; "h": A has a name, so that one knows "his" or "her"
    subject: str  # the slot that the sentence begins with, or ""
    weight: int  # forms that tell more facts are told more often
    says_it: bool  # for the thing named last in the sentence before
    names_last: str  # the slot of the thing that it names last, or ""


def _compile(form: grammar.Form) -> Callable[[dict[str, str], dict[str, str], dict[str, str], str], str]:
    """A function that fills in a form: an f-string, because every tale calls eight.

    It is called with the entity of each slot, what each thing is called in this sentence, its colour, and the first
    word if that is a person or animal ("Anna", "She").
    """
    parts: list[str] = []
    for part in re.split(r"(\{\w+\})", form.text):
        slot = part[1:-1] if part.startswith("{") else ""
        entity = f"b['{grammar.ENTITY.get(slot, slot)}']"
        start = not "".join(parts)
        capital = start or parts[-1].endswith("“")
        the, a = ("The", "A") if capital else ("the", "a")
        if not slot:
            parts.append(part)
        elif slot in "ABC":
            parts.append("{first}" if start else f"{{{'CAPITAL' if capital else 'NAME'}[{entity}]}}")
        elif slot in ("t", "u", "c"):
            parts.append(f"{the} {{thing[{entity}]}}")
        elif slot in ("at", "au", "ac"):
            parts.append(f"{a} {{colour[{entity}]}} {{{entity}}}")
        elif slot in "PQ":
            parts.append(f"{{{'WHERE_CAPITAL' if capital else 'WHERE'}[{entity}]}}")
        elif slot in "pq":
            parts.append(f"{the} {{{entity}}}")
        elif slot in "vw":
            parts.append(f"{{THINGS[b['t']][{'vw'.index(slot)}]}}")
        elif slot in ("h", "h2"):
            parts.append(f"{{SHE[b['A']][{int(slot == 'h2')}]}}")
        else:
            parts.append("It" if capital else "it")
    tables = {"CAPITAL": CAPITAL, "NAME": NAME, "WHERE": WHERE, "WHERE_CAPITAL": WHERE_CAPITAL, "SHE": SHE}
    code = f"lambda b, thing, colour, first: f'''{''.join(parts)}'''"
    return eval(code, tables | {"THINGS": w.THINGS})  # noqa: S307  our own table of forms


@functools.cache
def _fillers(event: str) -> list[_Filler]:
    found = []
    for form in grammar.ALL:
        if form.event == event:
            entities = [grammar.ENTITY.get(slot, slot) for slot in form.slots]
            needs = {{"h2": "h", "it": "t"}.get(entity, entity) for entity in entities} - {"v", "w"}
            subject = entities[0] if form.text[:3] in ("{A}", "{B}", "{C}") else ""
            things = [entity for entity in entities if entity in ("t", "u", "c")]
            found.append(
                _Filler(
                    _compile(form),
                    frozenset(needs),
                    subject,
                    max(len(form.claims), 1),
                    "it" in entities,
                    things[-1] if things else "",
                )
            )
    return found


@functools.cache
def _choices(event: str, given: frozenset[str], it: bool) -> tuple[_Filler, ...]:
    """The forms of an event that need no more than what is given, each as often as its weight says."""
    fit = [filler for filler in _fillers(event) if filler.needs <= given and (it or not filler.says_it)]
    if not fit:
        raise ValueError(f"no form of {event!r} needs no more than {sorted(given)}")
    return tuple(filler for filler in fit for _ in range(filler.weight))


class _Teller:
    """Tells one tale: what is where, what has been said, and the random numbers that are left."""

    def __init__(self, numbers, split: Split):
        self.next = numbers
        self.inside: dict[str, str] = {}
        self.lines: list[str] = []
        self.wish: tuple[str, str] | None = None  # who wants which thing
        self.subject = None  # who the last sentence began with
        self.it = None  # the thing named last
        pick = self.pick
        girls, boys = (w.HELD_OUT_GIRLS, w.HELD_OUT_BOYS) if split == "held_out_names" else (w.GIRLS, w.BOYS)
        friends = [pick(girls), pick(boys)]
        if self.next() < 0.5:
            friends.reverse()
        self.A, self.B = friends
        self.animal = pick(w.ANIMALS)
        self.C = pick(NOUNS)
        while self.C == self.animal:
            self.C = pick(NOUNS)
        self.t = pick(THINGS)
        places = FREE[self.t]
        self.x = pick(places) if split != "held_out_combinations" else pick(PAIRED[self.t])
        while True:
            self.y, self.z = pick(places), pick(places)
            if self.y != self.z and self.y != self.x != self.z:
                break
        if self.next() < 0.5:
            self.x, self.z = self.z, self.x
        while True:
            self.u = pick(THINGS)
            if self.u != self.t and all((self.u, place) not in HELD_OUT for place in (self.x, self.y, self.z)):
                break
        self.c = pick(w.CONTAINERS)
        self.length = 7 + int(3 * self.next())  # sentences, about
        self.colour = {self.t: pick(w.COLOURS), self.u: pick(w.COLOURS), self.c: pick(w.COLOURS)}
        self.thing = {self.t: self.t, self.u: self.u, self.c: self.c}

    def pick(self, options):
        return options[int(self.next() * len(options))]

    def say(self, event: str, **bound: str) -> None:
        """Say that something happens, in a way that suits what is bound: A, B, C, t, u, c, P, Q."""
        given = frozenset(bound)
        if bound.get("A") in SHE:
            given |= {"h"}
        filler = self.pick(_choices(event, given, self.it is not None and self.it == bound.get("t")))
        first, thing = "", self.thing
        subject = bound[filler.subject] if filler.subject else None
        if subject:
            pronoun = subject == self.subject and subject in SHE and self.next() < 0.7
            first = SHE[subject][2] if pronoun else CAPITAL[subject]
        if "t" in bound and self.next() < 0.25:
            thing = {**thing, bound["t"]: f"{self.colour[bound['t']]} {bound['t']}"}
        self.lines.append(filler.fill(bound, thing, self.colour, first))
        self.subject = subject
        self.it = bound[filler.names_last] if filler.names_last else bound["t"] if filler.says_it else None

    # What changes the world and is told.

    def place(self, entity: str) -> str:
        while entity in self.inside:
            entity = self.inside[entity]
        return entity

    def load(self, who: str) -> str | None:
        """A thing that somebody has in their hands."""
        return next((x for x, holder in self.inside.items() if holder == who and x in w.THINGS), None)

    def go(self, who: str, to: str, event: str = "go") -> None:
        bound = {"A": who, "P": self.inside[who], "Q": to}
        if thing := self.load(who):
            bound["t"] = thing
        for other in (self.A, self.B, self.C, self.animal):
            if other != who and self.inside.get(other) == to:
                bound["B"] = other
        if event == "haul":
            bound["c"] = self.c
        self.say(event, **bound)
        self.inside[who] = to

    def move(self, event: str, thing: str, into: str, **bound: str) -> None:
        self.say(event, **bound)
        self.inside[thing] = into

    def start(self, who: str, place: str, thing: str) -> None:
        self.inside[who] = place
        self.move("start", thing, who, A=who, P=place, t=thing)

    def friend(self, who: str, place: str, thing: str | None = None) -> None:
        self.inside[who] = place
        bound = {"B": who, "Q": place}
        if who != self.A:
            bound["A"] = self.A
        if thing is None and self.u not in self.inside and self.next() < 0.6:
            thing = self.u
        if thing:
            self.move("neighbour", thing, who, u=thing, **bound)
        else:
            self.say("friend", **bound)

    def company(self, who: str, place: str) -> None:
        """A friend, and often somebody else in another place."""
        if self.next() > 0.85:
            return self.friend(who, place)
        self.length = min(self.length, 8)
        elsewhere = self.x if self.next() < 0.5 else self.z
        self.inside[who], self.inside[self.C], self.inside[self.u] = place, elsewhere, who
        self.say("company", B=who, Q=place, u=self.u, C=self.C, P=elsewhere)

    def give(self, who: str, to: str, thing: str, event: str = "give") -> None:
        self.move(event, thing, to, A=who, B=to, t=thing)

    def put(self, who: str, thing: str, event: str = "put") -> None:
        self.move(event, thing, self.inside[who], A=who, t=thing, P=self.inside[who])

    def want(self, who: str, thing: str) -> None:
        self.wish = who, thing
        self.say("wish", A=who, t=thing)

    def together(self, place: str) -> None:
        self.inside[self.A] = self.inside[self.B] = place
        if self.next() > 0.85:
            return self.say("together", A=self.A, B=self.B, P=place)
        self.length = min(self.length, 8)
        elsewhere = self.y if self.next() < 0.5 else self.z
        self.inside[self.C], self.inside[self.u] = elsewhere, self.C
        self.say("gathering", A=self.A, B=self.B, P=place, C=self.C, Q=elsewhere, u=self.u)

    def lies(self, thing: str, place: str) -> None:
        self.move("lies", thing, place, t=thing, P=place)

    def take(self, who: str, thing: str) -> None:
        self.move("take", thing, who, A=who, t=thing, P=self.inside[who])

    # What is told about the world without changing it.

    def know(self) -> None:
        """One sentence about who has what or who is where."""
        inside, say = self.inside, self.say
        a, b, c, t, u = self.A, self.B, self.C, self.t, self.u
        if u in inside and (t not in inside or self.next() < 0.3):
            t, u = u, t
        friends = tuple(person for person in (a, b, c) if person in inside)
        who = self.pick(friends)
        kind = self.next()
        if kind < 0.1:
            return say("whereis", A=who, P=inside[who])
        if kind < 0.2 and len(friends) > 1:
            other = self.pick([friend for friend in friends if friend != who])
            if inside[who] != inside[other]:
                return say("apart", A=who, B=other, P=inside[who], Q=inside[other])
        if t not in inside:
            return say("whereis", A=who, P=inside[who])
        holder, place = inside[t], self.place(t)
        away = [friend for friend in friends if inside[friend] != place]
        if away and kind < 0.32:
            return say("wonder", A=self.pick(away), t=t, P=place)
        if kind < (0.85 if holder == self.c else 0.74):
            return say("lying", t=t, P=place)
        if holder == self.c:
            return say("inside", t=t, c=holder)
        if holder not in NAME:
            return say("whereis", A=who, P=inside[who]) if kind < 0.9 else self.sky()
        if u in inside and inside[u] in NAME and inside[u] != holder and kind < 0.84:
            return say("roundup", A=holder, B=inside[u], t=t, u=u)
        others = [friend for friend in friends if friend != holder]
        if kind < 0.92:
            return say("both", A=holder, t=t, P=place)
        if others and kind < 0.96:
            return say("keeper", A=self.pick(others), B=holder, t=t)
        return say("still", A=holder, t=t)

    def sky(self) -> None:
        who = self.A if self.B not in self.inside or self.next() < 0.5 else self.B
        self.say("weather", A=who, P=self.inside[who])

    def fits(self, left: int) -> bool:
        """Whether one more sentence fits, with so many still to come."""
        return len(self.lines) + left < self.length

    def maybe(self, left: int, share: float = 0.8) -> None:
        """A sentence about what is known, if it fits."""
        if self.fits(left) and self.next() < share:
            self.know() if self.next() < 0.9 else self.sky()

    def ask(self, who: str, other: str, thing: str) -> None:
        """Somebody asks for a thing, and the other one, who is there, knows the answer. Two sentences."""
        self.say("ask", A=who, B=other, t=thing)
        self.it = thing
        if self.inside[thing] in NAME and self.next() < 0.4:
            self.say("keeper", A=other, B=self.inside[thing], t=thing)
        else:
            self.say("answer", A=who, B=other, t=thing, P=self.place(thing))

    def end(self, who: str, other: str, thing: str) -> None:
        """The wish comes true, or the day is over."""
        place = self.inside[who]
        together = {"B": other} if self.inside.get(other) == place else {}
        kind = self.next()
        if (who, thing) == self.wish and kind < 0.6:
            self.say("granted", A=who, t=thing, P=place)
        elif kind < 0.45:
            self.say("use", A=who, t=thing, P=place, **together)
        elif kind < 0.85 or not together:
            self.say("end", A=who, t=thing, P=place)
        else:
            self.say("finish", A=who, P=place, **together)
        if self.fits(0) and self.next() < 0.3:
            self.say("moral", A=who, t=thing, P=place, **together)


# Plots. A comment after a line counts the sentences still to come; none has more than nine.


def _stolen(tell: _Teller) -> None:
    """Somebody loses a thing to an animal and gets it back."""
    a, b, c, t = tell.A, tell.B, tell.animal, tell.t
    tell.start(a, tell.x, t)
    if tell.next() < 0.4:
        tell.want(a, t)
    helper = tell.next() < 0.85
    if helper:
        tell.company(b, tell.y)
    tell.inside[c] = tell.z
    tell.move("steal", t, c, A=a, C=c, t=t, Q=tell.z)
    if helper:
        tell.go(a, tell.y)
        if tell.fits(5):
            tell.ask(a, b, t)
        else:
            tell.maybe(3)
    else:
        tell.maybe(3)
    tell.go(a, tell.z)
    tell.maybe(2, 0.3)
    tell.give(c, a, t, "return")
    tell.maybe(1, 0.5)
    tell.end(a, b, t)


def _lost(tell: _Teller) -> None:
    """Somebody loses a thing, looks for it, remembers; they go back, or a friend does."""
    a, b, t = tell.A, tell.B, tell.t
    tell.start(a, tell.x, t)
    if tell.next() < 0.3:
        tell.want(a, t)
    tell.put(a, t, "lose")
    friend = tell.next() < 0.85
    if friend:
        tell.company(b, tell.y)
    tell.go(a, tell.y)
    if friend and tell.fits(6):
        tell.say("ask", A=a, B=b, t=t)
    tell.say("wonder", A=a, t=t, P=tell.place(t))
    if friend and tell.next() < 0.6:
        if tell.fits(3):
            tell.say("fetch", A=b, B=a, t=t)
        tell.go(b, tell.x)
        tell.take(b, t)
        if tell.fits(3):
            tell.go(b, tell.y)
            tell.give(b, a, t)
            tell.maybe(1, 0.5)
            tell.say("thank", A=b, B=a)
        else:
            tell.know()
    else:
        tell.go(a, tell.x)
        tell.take(a, t)
        tell.maybe(2)
        if tell.fits(2):
            tell.go(a, tell.z)
            tell.maybe(1)
        tell.end(a, b, t)


def _present(tell: _Teller) -> None:
    """Somebody brings a thing to a friend."""
    a, b, t = tell.A, tell.B, tell.t
    tell.start(a, tell.x, t)
    tell.company(b, tell.y)
    tell.say("errand", A=a, B=b, t=t)
    if tell.next() < 0.5:
        tell.go(a, tell.z)
        tell.maybe(4)
    tell.go(a, tell.y)
    tell.give(a, b, t)
    if tell.fits(2):
        tell.say("thank", A=a, B=b)
    tell.maybe(1, 0.5)
    if tell.fits(2):
        tell.go(b, tell.x if tell.next() < 0.5 else tell.z)
        tell.know()
    else:
        tell.end(b, a, t)


def _packed(tell: _Teller) -> None:
    """A thing is packed, the basket is carried away, and the thing with it."""
    a, b, t, c = tell.A, tell.B, tell.t, tell.c
    tell.together(tell.x)
    tell.lies(t, tell.x)
    tell.inside[c] = tell.x
    tell.say("stands", A=a, c=c)
    tell.take(a, t)
    tell.move("pack", t, c, A=a, t=t, c=c)
    if tell.next() < 0.7:
        tell.move("lift", c, b, A=b, c=c)
        tell.go(b, tell.y, "haul")
        tell.know()
        if tell.fits(1):
            tell.go(a, tell.y)
            tell.say("moral", A=b, B=a, t=t, P=tell.y)
    else:
        tell.move("lift", c, a, A=a, c=c)
        tell.go(a, tell.y, "haul")
        tell.maybe(2)
        tell.move("unpack", t, a, A=a, t=t, c=c)
        if tell.fits(1):
            tell.end(a, b, t)


def _picnic(tell: _Teller) -> None:
    """Somebody packs a thing, carries it in the basket to a friend, and the friend unpacks it."""
    a, b, t, c = tell.A, tell.B, tell.t, tell.c
    tell.start(a, tell.x, t)
    tell.move("brings", c, a, A=a, c=c)
    tell.move("pack", t, c, A=a, t=t, c=c)
    friend = tell.next() < 0.85
    if friend:
        tell.company(b, tell.y)
    tell.maybe(4, 0.3)
    tell.go(a, tell.y, "haul")
    tell.maybe(2)
    who = b if friend else a
    if not friend and tell.fits(4):
        tell.go(a, tell.z, "haul")
        tell.know()
    tell.move("unpack", t, who, A=who, t=t, c=c)
    tell.maybe(1, 0.4)
    tell.end(who, a if friend else b, t)


def _swapped(tell: _Teller) -> None:
    """Two people each want what the other has, and they meet."""
    a, b, t, u = tell.A, tell.B, tell.t, tell.u
    tell.start(a, tell.x, t)
    tell.friend(b, tell.y, u)
    tell.want(a, u)
    tell.maybe(4, 0.4)
    tell.go(a, tell.y)
    if tell.fits(4) and tell.next() < 0.4:
        tell.say("meet", A=a, B=b, P=tell.y)
    tell.say("swap", A=a, B=b, t=t, u=u)
    tell.inside[t], tell.inside[u] = b, a
    tell.maybe(3)
    if tell.fits(2):
        tell.go(b, tell.z)
        tell.know()
    if tell.fits(0):
        tell.end(a, b, u)


def _hidden(tell: _Teller) -> None:
    """A game: one hides a thing, the other looks for it."""
    a, b, t = tell.A, tell.B, tell.t
    tell.start(a, tell.x, t)
    tell.company(b, tell.y)
    if tell.next() < 0.4:
        tell.go(a, tell.z)
    tell.put(a, t)
    tell.go(a, tell.y)
    if tell.fits(4):
        tell.ask(b, a, t)
    else:
        tell.say("answer", A=b, B=a, t=t, P=tell.place(t))
    tell.go(b, tell.inside[t])
    tell.take(b, t)
    tell.maybe(1)
    if tell.fits(0):
        tell.end(b, a, t)


def _borrowed(tell: _Teller) -> None:
    """A thing is lent, used elsewhere, and asked for."""
    a, b, t = tell.A, tell.B, tell.t
    tell.together(tell.x)
    tell.lies(t, tell.x)
    tell.take(a, t)
    tell.give(a, b, t, "lend")
    tell.go(b, tell.y)
    tell.maybe(4)
    if tell.fits(4) and tell.next() < 0.6:
        tell.put(b, t)
        tell.go(b, tell.z)
    tell.know()
    if tell.fits(2):
        tell.go(a, tell.place(t))
        if tell.inside[t] == b:
            tell.give(b, a, t, "return")
        else:
            tell.take(a, t)
    if tell.fits(0):
        holder = tell.inside[t]
        tell.end(holder, b if holder == a else a, t) if holder in NAME else tell.know()


def _treasure(tell: _Teller) -> None:
    """Somebody has heard of a thing, fetches it, and shows it to a friend."""
    a, b, t = tell.A, tell.B, tell.t
    tell.inside[a] = tell.x
    tell.say("alone", A=a, P=tell.x)
    tell.lies(t, tell.z)
    if tell.next() < 0.6:
        tell.want(a, t)
    friend = tell.next() < 0.85
    if friend:
        tell.company(b, tell.y)
    tell.go(a, tell.z)
    tell.take(a, t)
    if friend:
        tell.go(a, tell.y)
        if tell.fits(2) and tell.next() < 0.6:
            tell.say("meet", A=a, B=b, P=tell.y)
        tell.maybe(1)
    else:
        tell.maybe(3)
        tell.go(a, tell.y)
        tell.maybe(1)
    tell.end(a, b, t)


def _passed(tell: _Teller) -> None:
    """A thing passes from hand to hand."""
    a, b, c, t = tell.A, tell.B, tell.C, tell.t
    tell.start(a, tell.x, t)
    tell.friend(c, tell.z)
    if tell.next() < 0.6:
        tell.friend(b, tell.y)
        tell.go(a, tell.y)
        tell.give(a, b, t)
        tell.maybe(4, 0.4)
        tell.go(b, tell.z)
        tell.give(b, c, t)
    else:
        tell.go(a, tell.z)
        tell.give(a, c, t, "lend")
        tell.maybe(3)
    if tell.fits(2):
        tell.go(c, tell.y)
        tell.maybe(1)
    tell.say("end", A=c, t=t, P=tell.inside[c])


PLOTS = {
    "stolen": _stolen, "lost": _lost, "present": _present, "packed": _packed, "swapped": _swapped, "hidden": _hidden,
    "picnic": _picnic,     "treasure": _treasure,
    "borrowed": _borrowed, "passed": _passed,
}  # fmt: skip
_ORDER = (*PLOTS.items(), ("packed", _packed), ("picnic", _picnic))


def write(n: int, generator: torch.Generator, split: Split = "train") -> list[Tale]:
    """Return n tales. The same generator gives the same tales everywhere, and the first ten of any number of them.

    Raises:
        ValueError: if n is negative, or the split is unknown.
    """
    import torch

    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if n < 0:
        raise ValueError(f"n must be a number of tales, at least 0, got {n}")
    tales = []
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        for numbers in torch.rand(size, NUMBERS, generator=generator, dtype=torch.float64).tolist():
            numbers = iter(numbers).__next__
            text = " " * (LONGEST + 1)
            while len(text) > LONGEST:
                tell = _Teller(numbers, split)
                plot, happens = tell.pick(_ORDER)
                happens(tell)
                text = " ".join(tell.lines)
            cast = (tell.A, tell.B, tell.C, tell.t, tell.u, tell.c, tell.x, tell.y, tell.z)
            tales.append(Tale(text, cast, tell.inside, plot))
    return tales
