"""The world of the tales, as a reader knows it: who is where, who has what, what lies in what, and since when.

Rules:

1. A person or animal is in one place. A thing is with one person, in one holder (a basket, a box), or in one place.
2. What somebody has goes where that person goes, and so does everything in a basket that is carried.
3. To give, drop, hide or use a thing, one must have it. To take a thing that lies about, or to give one, one must be
   there.
4. A colour stays. A wish lasts. Whoever speaks tells the truth.

Each fact has a grade, by how far a reader must look for it:

- 1: one sentence said it, the one before (or this one).
- 2: one sentence said it, longer ago.
- 3: two facts must be joined: the thing is where the person who has it went; two people went to the same place.
- 4: three or more: the thing lies in a basket, somebody carries the basket, that person went there.
- 0: nothing that was told decides it. Only texts that the teller did not write have such facts.
"""

from __future__ import annotations


class World:
    """What has been told so far. Entities are named by their words: "Anna", "the goat", "kite", "attic"."""

    __slots__ = ("now", "inside", "said", "moved", "spot", "beside", "colour", "wish")

    def __init__(self):
        self.now = 0  # number of the sentence
        self.inside: dict[str, str] = {}  # entity -> what it is in: a place, a holder or somebody
        self.said: dict[str, int] = {}  # entity -> the sentence that last told so
        self.moved: dict[str, int] = {}  # entity -> the sentence in which it came there
        self.spot: dict[str, tuple[str, int]] = {}  # thing -> (its place, the sentence that said so outright)
        self.beside: dict[str, tuple[str, int]] = {}  # thing -> (who put it down where they were, when)
        self.colour: dict[str, tuple[str, int]] = {}
        self.wish: dict[str, tuple[str, int]] = {}

    def chain(self, entity: str) -> list[str]:
        """What `entity` is in, what that is in, and so on; the last is a place. Empty if nothing is known."""
        found, inside = [], self.inside
        while entity in inside and len(found) < 8:  # a model's text can put a box into itself
            entity = inside[entity]
            found.append(entity)
        return found

    def grade(self, facts: int, said: int) -> int:
        """The grade of something that needs so many facts, the latest of them told in sentence `said`."""
        if facts > 1:
            return 3 if facts == 2 else 4
        return 1 if self.now - said <= 1 else 2

    # Each relation answers (holds, grade). Where it does not hold, the grade is that of what holds instead.

    def at(self, entity: str, place: str) -> tuple[bool, int]:
        """Is somebody, or a thing, in this place?"""
        chain = self.chain(entity)
        if not chain:
            return False, 0
        holds = chain[-1] == place
        told = self.spot.get(entity)
        if told and told[0] == chain[-1] and all(self.moved[link] <= told[1] for link in [entity, *chain[:-1]]):
            return holds, self.grade(1, told[1])
        facts = len(chain) + (len(chain) == 1 and entity in self.beside)
        return holds, self.grade(facts, self.said[entity])

    def has(self, who: str, thing: str) -> tuple[bool, int]:
        """Does somebody have this thing, in their hands or in a basket that they carry?"""
        chain = self.chain(thing)
        if who in chain:
            return True, self.grade(chain.index(who) + 1, self.said[thing])
        own = [self.said[other] for other, holder in self.inside.items() if holder == who]
        if own:
            return False, self.grade(1, max(own))
        return False, self.grade(max(len(chain) - 1, 1), self.said[thing]) if chain else 0

    def in_(self, thing: str, holder: str) -> tuple[bool, int]:
        """Does this thing lie in this holder?"""
        found = self.inside.get(thing)
        return found == holder, self.grade(1, self.said[thing]) if found else 0

    def near(self, one: str, other: str) -> tuple[bool, int]:
        """Are two in the same place (two people, or a person and a thing)?"""
        first, second = [one, *self.chain(one)], [other, *self.chain(other)]
        if len(first) < 2 and len(second) < 2 or one == other:
            return False, 0
        shared = next((link for link in first if link in second), None)
        if shared is None:
            if len(first) < 2 or len(second) < 2:  # one of them has never been heard of
                return False, 0
            return False, self.grade(len(first) + len(second) - 2, 0)
        for thing, person in ((one, other), (other, one)):
            if thing in self.beside and self.beside[thing][0] == person:
                if self.moved.get(person, 0) <= self.beside[thing][1]:
                    return True, self.grade(1, self.beside[thing][1])
        facts = first.index(shared) + second.index(shared)
        said = max(self.said.get(one, 0), self.said.get(other, 0))
        if facts == 2 and self.said.get(one) == self.said.get(other):  # told in one breath
            facts = 1
        return True, self.grade(facts, said)

    def wished(self, who: str, thing: str) -> tuple[bool, int]:
        """Is this what somebody wants?"""
        if who not in self.wish:
            return False, 0
        found, said = self.wish[who]
        return found == thing, self.grade(1, said)

    def coloured(self, thing: str, colour: str) -> tuple[bool, int]:
        """Does the thing have this colour?"""
        if thing not in self.colour:
            return False, 0
        found, said = self.colour[thing]
        return found == colour, self.grade(1, said)

    # Changes.

    def move(self, entity: str, into: str) -> None:
        """`entity` is now in a place, in a holder or with somebody, as this sentence says."""
        self.inside[entity] = into
        self.said[entity] = self.moved[entity] = self.now
        self.beside.pop(entity, None)

    def put_beside(self, thing: str, who: str) -> None:
        """`thing` is now where somebody is, wherever that may be."""
        place = self.chain(who)
        if place:
            self.move(thing, place[-1])
            self.beside[thing] = (who, self.now)

    def tell_place(self, entity: str, place: str) -> None:
        """This sentence says outright where something is."""
        self.spot[entity] = (place, self.now)
        if self.inside.get(entity) == place:
            self.said[entity] = self.now
            self.beside.pop(entity, None)

    def believe(self, relation: str, subject: str, value: str) -> None:
        """This sentence says so: if it was true, it has now been said again; if not, it is true from now on."""
        if relation == "at":
            if self.chain(subject)[-1:] != [value]:
                self.move(subject, value)
            self.tell_place(subject, value)
        elif relation == "has":
            if subject not in self.chain(value):
                self.move(value, subject)
            elif self.inside[value] == subject:
                self.said[value] = self.now
        elif relation == "in":
            if self.inside.get(subject) != value:
                self.move(subject, value)
            self.said[subject] = self.now
        elif relation == "near":
            here, there = self.chain(subject)[-1:], self.chain(value)[-1:]
            if here != there and there:
                self.move(subject, there[0])
            elif here != there:
                self.move(value, here[0])
        elif relation == "wish":
            self.wish[subject] = (value, self.now)

    def change(self, effect: str, one: str, other: str, to: str | None = None) -> None:
        """Apply an effect of `grammar`: what is so after the sentence."""
        if effect in ("go", "be", "put", "into"):
            self.move(one, other)
        elif effect in ("get", "own"):
            self.move(other, one)
        elif effect == "bring":
            self.move(one, to)
            self.tell_place(other, to)
        elif effect == "beside":
            self.put_beside(one, other)
        elif effect == "wish":
            self.wish[one] = (other, self.now)
