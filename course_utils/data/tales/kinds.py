"""Kinds of things: words that differ but behave alike, which is what pre-training is good for.

    texts = write(30_000, runtime.seed(0))         # "Anna tuned the harp. Ben peeled the mango. …", without labels
    sentences, labels = labelled(20, runtime.seed(1))        # "Ben saw the harp." → "instrument", twenty of each kind
    entropy(masked=0.3)                            # the least loss that any masked language model can reach

Three hundred nouns, sixty of each kind. In a text, a verb of the kind comes before the noun three times out of four
("tuned the harp"), and a neutral one otherwise ("saw the harp"). The labelled sentences have neutral verbs only, so
nothing but the noun tells the kind: anyone who has seen few labels has not seen most nouns.

The world is simple enough that its entropy is known; draw it beside each loss. `entropy(tied=False)` is the loss of a
model that knows how often each word occurs but sees no tie between verb and noun: the plateau on which training rests
before it falls.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy

from course_utils.data.tales.lexicon import BOYS, GIRLS

if TYPE_CHECKING:
    import torch

    from course_utils.data.bpe import BPETokenizer

NOUNS: dict[str, tuple[str, ...]] = {
    "food": tuple(
        "apricot avocado bagel banana beetroot biscuit blueberry broccoli burger burrito cabbage cauliflower celery "
        "cherry chestnut coconut courgette croissant cucumber custard doughnut dumpling fig grape grapefruit "
        "hazelnut lasagne leek lemon lentil lettuce lime mango meatball meringue mushroom noodle olive omelette onion "
        "orange papaya parsnip pepper pineapple pizza plum potato pretzel pudding radish raspberry sausage scone "
        "spinach strawberry tomato tortilla waffle walnut".split()
    ),
    "animal": tuple(
        "alligator alpaca ant antelope baboon badger bat bee bison buffalo butterfly camel cheetah chicken cobra cow "
        "crab crocodile deer dolphin eagle elephant falcon ferret flamingo frog gazelle giraffe gorilla hamster hawk "
        "heron horse hyena iguana jaguar kangaroo koala lamb leopard lion lizard llama lobster mole moose ostrich owl "
        "panda panther peacock pelican penguin pigeon rhino salmon seal tiger turtle zebra".split()
    ),
    "tool": tuple(
        "anvil auger awl axe bellows broom chainsaw chisel clamp crowbar cutter drill duster file fork funnel grater "
        "grinder hacksaw hatchet hoe jack ladder lathe lever mallet mattock mop nail pickaxe pitchfork plane pliers "
        "plough plunger pruner pulley punch rake ratchet razor ruler sander sledgehammer scalpel scissors scraper "
        "screwdriver scythe shears shovel sickle sieve spanner stapler trowel tweezers vice whisk wrench".split()
    ),
    "vehicle": tuple(
        "aeroplane airship ambulance barge bike buggy bulldozer bus cab caravan carriage cart catamaran chariot coach "
        "convertible dinghy excavator ferry forklift freighter galleon glider gondola helicopter hovercraft jeep jet "
        "kayak limousine locomotive lorry minibus moped motorbike motorboat paddleboat rickshaw rocket rowboat scooter "
        "ship skateboard sleigh snowmobile spaceship steamboat streetcar submarine tank tanker taxi tractor train tram "
        "tricycle truck tugboat van yacht".split()
    ),
    "instrument": tuple(
        "accordion bagpipe balalaika banjo bassoon bongo bouzouki bugle castanet celesta cello clarinet clavichord "
        "concertina cornet cymbal didgeridoo dulcimer euphonium fife flugelhorn glockenspiel gong guitar harmonica "
        "harmonium harpsichord kazoo keyboard koto lute lyre mandolin maraca marimba melodica oboe ocarina organ "
        "panpipe piano piccolo psaltery recorder saxophone sitar snare sousaphone spinet synthesizer tabla tambourine "
        "timpani triangle trombone tuba ukulele vibraphone viola xylophone".split()
    ),
}  # fmt: skip
VERBS: dict[str, tuple[str, ...]] = {
    "food": ("tasted", "cooked", "chewed", "swallowed", "served", "ate"),
    "animal": ("fed", "stroked", "tamed", "petted", "groomed", "chased"),
    "tool": ("sharpened", "gripped", "oiled", "wielded", "handled", "mended"),
    "vehicle": ("drove", "steered", "parked", "boarded", "refuelled", "overtook"),
    "instrument": ("tuned", "played", "practised", "muted", "mastered", "rehearsed"),
}
NEUTRAL = ("saw", "found", "liked", "drew", "bought", "forgot")
KINDS = tuple(NOUNS)
NAMES = (*GIRLS[:5], *BOYS[:5])
TELLING = 0.75  # share of the sentences with a verb of the kind
SENTENCES = 3  # of a text
END = "."
LENGTH = 5  # words of a sentence, with its full stop

_VERBS = (*(verb for kind in KINDS for verb in VERBS[kind]), *NEUTRAL)
_NOUNS = tuple(noun for kind in KINDS for noun in NOUNS[kind])


def words() -> tuple[str, ...]:
    """All words, in alphabetical order."""
    return tuple(sorted({*NAMES, *_VERBS, *_NOUNS, "the", END}))


def tokenizer() -> BPETokenizer:
    """Return a tokenizer of whole words, like that of the tales."""
    from course_utils.data.tales import vocabulary

    return vocabulary.word_tokenizer(words())


def _pick(u: float, options: tuple[str, ...]) -> str:
    return options[int(u * len(options))]


def write(n: int, generator: torch.Generator) -> list[str]:
    """Return n texts of three sentences each, every sentence independent of the others.

    Raises:
        ValueError: if n is negative.
    """
    import torch

    if n < 0:
        raise ValueError(f"n must be a number of texts, at least 0, got {n}")
    texts = []
    for text in torch.rand(n, SENTENCES, 5, generator=generator, dtype=torch.float64).tolist():
        sentences = []
        for who, kind, telling, verb, noun in text:
            kind = _pick(kind, KINDS)
            verbs = VERBS[kind] if telling < TELLING else NEUTRAL
            sentences.append(f"{_pick(who, NAMES)} {_pick(verb, verbs)} the {_pick(noun, NOUNS[kind])}.")
        texts.append(" ".join(sentences))
    return texts


def labelled(per_kind: int, generator: torch.Generator) -> tuple[list[str], list[str]]:
    """Return neutral sentences and the kind that each is about, `per_kind` of each, in mixed order.

    Raises:
        ValueError: if `per_kind` is below 1.
    """
    import torch

    if per_kind < 1:
        raise ValueError(f"per_kind must be a number of sentences, at least 1, got {per_kind}")
    labels = [kind for kind in KINDS for _ in range(per_kind)]
    labels = [labels[i] for i in torch.randperm(len(labels), generator=generator).tolist()]
    numbers = torch.rand(len(labels), 3, generator=generator, dtype=torch.float64).tolist()
    sentences = [
        f"{_pick(who, NAMES)} {_pick(verb, NEUTRAL)} the {_pick(noun, NOUNS[kind])}."
        for kind, (who, verb, noun) in zip(labels, numbers)
    ]
    return sentences, labels


@functools.cache
def _joint() -> numpy.ndarray:
    """P(verb, noun), shape (verbs, nouns)."""
    table = numpy.zeros((len(_VERBS), len(_NOUNS)))
    for kind in KINDS:
        nouns = [_NOUNS.index(noun) for noun in NOUNS[kind]]
        for verbs, share in ((VERBS[kind], TELLING), (NEUTRAL, 1 - TELLING)):
            for verb in verbs:
                table[_VERBS.index(verb), nouns] = share / len(KINDS) / len(verbs) / len(nouns)
    return table


def entropy(masked: float | None = None, *, tied: bool = True) -> float:
    """Return the least loss that any language model can have here, in nats.

    Args:
        masked: the share of the words that a masked language model has to guess, each drawn independently and then
            hidden (four in five), replaced by a random word (one in ten) or left alone, as BERT does it. The loss is
            the mean over the drawn words. None: the loss of next-word prediction, the mean over all words.
        tied: False for a model that does not see which verbs go with which nouns.

    Raises:
        ValueError: if `masked` does not lie between 0 and 1.
    """
    table = _joint()
    if not tied:
        table = numpy.outer(table.sum(1), table.sum(0))
    if masked is None:
        pair = -float((table[table > 0] * numpy.log(table[table > 0])).sum())
        return (math.log(len(NAMES)) + pair) / LENGTH
    if not 0 < masked <= 1:
        raise ValueError(f"masked must be a share of the words, more than 0 and at most 1, got {masked}")
    size = len(words())
    names = numpy.full((len(NAMES), 1), 1 / len(NAMES))
    total = _guess(names, masked, size) + _guess(table, masked, size) + _guess(table.T, masked, size)
    # "the" and the full stop always stand in the same places: nothing to guess
    return total / LENGTH


def _seen(n: int, drawn: float, size: int) -> numpy.ndarray:
    """P(what is seen | the word), shape (n, n + 2): one of the n words, the mask, or a word of another class."""
    seen = numpy.full((n, n + 2), drawn * 0.1 / size)
    seen[:, n] = drawn * 0.8
    seen[:, n + 1] = drawn * 0.1 * (size - n) / size
    seen[numpy.arange(n), numpy.arange(n)] += 1 - drawn + drawn * 0.1
    return seen


def _guess(table: numpy.ndarray, masked: float, size: int) -> float:
    """Mean of -log P(word | what is seen of it and of its partner) for a word that was drawn; rows are the words."""
    partner = table @ _seen(table.shape[1], masked, size)  # (words, partner as seen)
    joint = partner[:, None, :] * _seen(table.shape[0], 1.0, size)[:, :, None]  # (words, itself as seen, partner)
    whole = joint.sum(0, keepdims=True)
    share = numpy.divide(joint, whole, out=numpy.ones_like(joint), where=joint > 0)
    return -float((joint * numpy.log(share)).sum())
