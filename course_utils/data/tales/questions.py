"""Questions about the end of a tale, with answers that no word count gives away.

    for question in about(tale):                  # "Where is the kite at the end?" "in the attic", of three places
        tale.text + " " + question.say(question.answer)      # the answer as a sentence of the tale, which a judge reads
    statements(2000, runtime.seed(0))             # (texts, labels): a tale and a last sentence, true or false

All places and people that could be the answer occur in the tale.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from course_utils.data.tales import lexicon as w
from course_utils.data.tales.parser import CLASS, TOKEN
from course_utils.data.tales.teller import CAPITAL, NAME, WHERE, Split, Tale, write

if TYPE_CHECKING:
    import torch


class Question(NamedTuple):
    """A question about how a tale ends, its answer, all candidates (the answer among them), and the answer's grade."""

    text: str
    answer: str
    options: tuple[str, ...]
    grade: int  # of the fact asked for, as seen after the last sentence
    sentence: str  # an answer in full, with "{}" where the answer stands

    def say(self, option: str) -> str:
        """Return one of the options as a sentence: "In the end the kite was in the attic.""" ""
        said = self.sentence.format(option)
        return said[0].upper() + said[1:]


def about(tale: Tale) -> list[Question]:
    """Return all questions about a tale that have more than one candidate: where each is, and who has each thing."""
    world = tale.verdict.world
    world.now = len(tale.verdict.sentences)
    named = tale.verdict.named
    places = tuple(WHERE[entity] for entity in named if CLASS[entity] == "place")
    people = tuple(NAME[entity] for entity in named if entity in NAME)
    found = []
    for entity in named:
        chain = world.chain(entity)
        if not chain or CLASS[entity] in ("place", "holder"):
            continue
        who = NAME.get(entity)
        place = chain[-1]
        if len(places) > 1 and place in WHERE:
            sentence = f"{CAPITAL[entity]} was still {{}}." if who else f"In the end the {entity} was {{}}."
            asked = f"Where is {who or f'the {entity}'} at the end?"
            found.append(Question(asked, WHERE[place], places, world.at(entity, place)[1], sentence))
        if entity in w.THINGS and len(people) > 1 and (holder := next((x for x in chain if x in NAME), None)):
            asked = f"Who has the {entity} at the end?"
            sentence = f"In the end {{}} had the {entity}."
            found.append(Question(asked, NAME[holder], people, world.has(holder, entity)[1], sentence))
    return found


def statements(
    n: int, generator: torch.Generator, split: Split = "train", grades: tuple[int, ...] = (1, 2, 3, 4)
) -> tuple[list[str], list[bool]]:
    """Return tales with one more sentence each, about who is where or who has what at the end. Is it true?

    Half of them are. True and false ones are paired, so that the person or place that the sentence names occurs equally
    often in both tales, and so do all others that it could name: counting words tells nothing.

    Args:
        n: how many, an even number.
        generator: where the randomness comes from.
        split: which tales, as in `write`.
        grades: which grades of facts are asked for.

    Returns:
        (texts, labels), in an order that tells nothing.

    Raises:
        ValueError: if n is odd or negative, or there is no such grade.
    """
    import torch

    if n < 0 or n % 2:
        raise ValueError(f"n must be an even number, at least 0, got {n}")
    if not set(grades) & {1, 2, 3, 4}:
        raise ValueError(f"grades must be some of 1, 2, 3, 4, got {grades}")
    waiting: dict[tuple, list[str]] = defaultdict(list)
    pairs: list[tuple[str, str]] = []  # (true, false)
    while len(pairs) < n // 2:
        tales = write(max(64, n), generator, split)
        numbers = torch.rand(len(tales), 3, generator=generator, dtype=torch.float64).tolist()
        for tale, (which, truth, other) in zip(tales, numbers):
            asked = [question for question in about(tale) if question.grade in grades]
            if not asked:
                continue
            question = asked[int(which * len(asked))]
            false = [option for option in question.options if option != question.answer]
            option = question.answer if truth < 0.5 else false[int(other * len(false))]
            words = TOKEN.findall(tale.text)
            others = sorted(words.count(one.split()[-1]) for one in question.options if one != option)
            key = (question.sentence.endswith("{}."), words.count(option.split()[-1]), *others)
            text = f"{tale.text} {question.say(option)}"
            if waiting[(*key, truth >= 0.5)]:
                opposite = waiting[(*key, truth >= 0.5)].pop()
                pairs.append((text, opposite) if truth < 0.5 else (opposite, text))
            else:
                waiting[(*key, truth < 0.5)].append(text)
    pairs = pairs[: n // 2]
    marked = [(text, label) for true, false in pairs for text, label in ((true, True), (false, False))]
    order = torch.randperm(n, generator=generator).tolist()
    return [marked[i][0] for i in order], [marked[i][1] for i in order]
