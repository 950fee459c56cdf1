"""Pictures with short captions by a seed, as plain tensors and text: what an assignment's cases are made of.

    images, captions, kinds, colours = postcards(400, seed=0, objects=("house", "fish"), colours=("red", "blue"))
    new = Recipe("captioned.postcards", {"n": 100, "seed": 1}, item=0)          # in a solution's mistakes.py

The seed alone decides, so that a case needs to keep nothing but these few words.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

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

    They show these objects in these colours. A caption names object and colour and nothing else, in one of TEMPLATES.
    The last two are places in `objects` and `colours`. part: as in `postcards.draw`, for example "held_out":
    combinations that "train" never shows.
    Raises ValueError for names that there are not, n < 0, and if the part has none of these combinations.
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


@lru_cache(maxsize=4)  # a case takes the pictures and the captions one after the other
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
    captions = [
        TEMPLATES[f].format(object=objects[k], colour=colours[c]).replace(" a orange", " an orange")
        for f, k, c in zip(form.tolist(), kind.tolist(), colour.tolist())
    ]
    captions = [f"an{text[1:]}" if text.startswith("a orange") else text for text in captions]
    return (images * 255).round().to(torch.uint8), captions, kind, colour
