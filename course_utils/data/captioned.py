"""Pictures with short captions from a seed, as plain tensors and text: the stuff of an assignment's cases.

    images, captions, kinds, colours = postcards(400, seed=0, objects=("house", "fish"), colours=("red", "blue"))
    new = Recipe("captioned.postcards", {"n": 100, "seed": 1}, item=0)          # in a solution's mistakes.py

The seed alone decides, so a case needs to store nothing but these few words.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from course_utils import runtime
from course_utils.data import postcards as world

TEMPLATES = (
    "a {colour} {object}",
    "a picture of a {colour} {object}",
    "a postcard of a {colour} {object}",
    "here you see a {colour} {object}",
    "the {object} is {colour}",
)


def sentences(thing: str, colour: str) -> list[str]:
    """Return all that may be written under a card with this object in this colour."""
    found = [template.format(object=thing, colour=colour) for template in TEMPLATES]
    return [re.sub(r"\ba (?=[aeiou])", "an ", sentence) for sentence in found]


def postcards(
    n: int,
    seed: int,
    *,
    part: str = "train",
    size: int = 32,
    objects: Sequence[str] = world.OBJECTS,
    colours: Sequence[str] = tuple(world.COLOURS),
) -> tuple[UInt8[Tensor, "n 3 S S"], list[str], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return (images 0 … 255, captions, objects, colours) of n postcards with `size` pixels a side.

    A caption names object and colour and nothing else, in one of TEMPLATES. The last two results are places in
    `objects` and `colours`.

    Args:
        part: as in `postcards.draw`; "held_out", for example, has combinations that "train" never shows.
        objects, colours: those that may occur.

    Raises:
        ValueError: if a name is unknown, n is negative, or the part has none of these combinations.
    """
    known = {"objects": (objects, world.OBJECTS), "colours": (colours, tuple(world.COLOURS))}
    for what, (names, all_names) in known.items():
        if wrong := [name for name in names if name not in all_names] or not names:
            raise ValueError(f"{what} must be some of {', '.join(all_names)}, got {wrong or names}")
    if n < 0:
        raise ValueError(f"n must be ≥ 0, got {n}")
    kinds = torch.tensor([world.OBJECTS.index(name) for name in objects])
    tones = torch.tensor([list(world.COLOURS).index(name) for name in colours])
    held_out = world.HELD_OUT[kinds][:, tones]  # (objects, colours)
    if part in world.PARTS and part != "all" and not (held_out if part == "held_out" else ~held_out).any():
        raise ValueError(f"the part {part!r} has none of these combinations")

    images, captions, kind, colour = _drawn(n, seed, part, size, tuple(objects), tuple(colours))
    return images.clone(), list(captions), kind.clone(), colour.clone()


@lru_cache(maxsize=4)  # a case asks for the pictures and the captions one after the other
def _drawn(n: int, seed: int, part: str, size: int, objects: tuple, colours: tuple) -> tuple:
    kinds = torch.tensor([world.OBJECTS.index(name) for name in objects])
    tones = torch.tensor([list(world.COLOURS).index(name) for name in colours])
    generator, found = runtime.seed(seed), []
    while sum(len(rows["object"]) for rows in found) < n or not found:
        rows = world.sample(max(64, 2 * n), generator, part)
        wanted = torch.isin(rows["object"], kinds) & torch.isin(rows["colour"], tones)
        found.append({name: column[wanted] for name, column in rows.items()})
    factors = {name: torch.cat([rows[name] for rows in found])[:n] for name in found[0]}
    images, _ = world.render(factors, size)
    kind = (factors["object"][:, None] == kinds).int().argmax(1)
    colour = (factors["colour"][:, None] == tones).int().argmax(1)
    form = torch.randint(len(TEMPLATES), (n,), generator=generator)
    captions = [sentences(objects[k], colours[c])[f] for f, k, c in zip(form.tolist(), kind.tolist(), colour.tolist())]
    return (images * 255).round().to(torch.uint8), captions, kind, colour


def in_two_places(
    n: int,
    seed: int,
    *,
    size: int = 24,
    objects: Sequence[str] = ("house", "cactus", "car"),
    colours: Sequence[str] = tuple(world.COLOURS),
    each: int = 3,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (first, second, gallery, new, truth): pictures of the same thing in different places.

    A thing is an object in one colour; landscape, weather, place and size differ from card to card. `first` and
    `second`, both (n, 3, S, S), show the same thing in each row. `gallery` has one card of every thing, `new` has
    `each` more in random order, and truth says which row of the gallery each of them shows. All pictures are uint8.

    Raises:
        ValueError: if a name is unknown.
    """
    names = {"object": (objects, world.OBJECTS), "colour": (colours, tuple(world.COLOURS))}
    for what, (wanted, known) in names.items():
        if wrong := set(wanted) - set(known):
            raise ValueError(f"{what} must be one of {', '.join(known)}, got {', '.join(sorted(wrong))}")
    return tuple(part.clone() for part in _in_two_places(n, seed, size, tuple(objects), tuple(colours), each))


@lru_cache(maxsize=2)
def _in_two_places(n: int, seed: int, size: int, objects: tuple, colours: tuple, each: int) -> tuple:
    generator = runtime.seed(seed)
    factors = world.sample(9000, generator, "all")
    kind = torch.tensor([world.OBJECTS.index(name) for name in objects])
    tone = torch.tensor([list(world.COLOURS).index(name) for name in colours])
    thing = torch.where(factors["object"][:, None] == kind, torch.arange(len(kind)), -1).amax(1) * len(tone)
    thing += torch.where(factors["colour"][:, None] == tone, torch.arange(len(tone)), -99).amax(1)
    groups = [(thing == i).nonzero()[:, 0] for i in range(len(kind) * len(tone))]
    which = torch.randint(len(groups), (n,), generator=generator).tolist()
    pairs = [groups[i][1 + each + torch.randperm(len(groups[i]) - 1 - each, generator=generator)[:2]] for i in which]
    order = torch.randperm(len(groups) * each, generator=generator)
    rows = [torch.stack(pairs)[:, 0], torch.stack(pairs)[:, 1], torch.stack([group[0] for group in groups])]
    rows.append(torch.cat([group[1 : 1 + each] for group in groups])[order])
    images = [world.render({name: column[r] for name, column in factors.items()}, size)[0] for r in rows]
    return *((255 * x).round().to(torch.uint8) for x in images), order // each


def objects_alone(n: int, seed: int, *, new: int = 960, size: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Return (images, new, labels): single objects, upright, that nothing but the object tells apart.

    The ground is a patchwork of random colours, and every pixel is noisy: it says neither what stands on it nor which
    way is up, and neither the colours at the border nor all edges of a picture say where the object is. `images`, n of
    them, come without labels; the labels of `new` are places in `world.OBJECTS`. All pictures are uint8.
    """
    return tuple(part.clone() for part in _objects_alone(n, seed, new, size))


@lru_cache(maxsize=2)
def _objects_alone(n: int, seed: int, new: int, size: int) -> tuple:
    generator = runtime.seed(seed)
    factors = world.sample(n + new, generator, "all")
    images, masks = world.render(factors, size)
    images = images * masks + _patchwork(n + new, size, generator) * (1 - masks)
    images += 0.08 * torch.randn(images.shape, generator=generator)
    images = (255 * images.clamp(0, 1)).round().to(torch.uint8)
    return images[:n], images[n:], factors["object"][n:]


def _patchwork(n: int, size: int, generator: torch.Generator, patches: int = 8) -> Tensor:
    """(n, 3, S, S) plain pictures: each place has the random colour of the nearest of some random points.

    Where two points are about equally near, their colours run into each other.
    """
    points, colours = torch.rand(n, patches, 2, generator=generator), torch.rand(n, 3, patches, generator=generator)
    places = torch.arange(size) + 0.5
    down, across = ((places - size * points[..., i, None]).square() for i in (0, 1))  # (n, patches, S)
    distance = (down[..., None] + across[:, :, None]).sqrt_()  # (n, patches, S, S)
    return (colours @ distance.mul_(-2).softmax(1).flatten(2)).view(n, 3, size, size)
