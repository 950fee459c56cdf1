"""Postcards: little pictures whose every factor is known, so that a representation can be asked what it kept.

    cards = postcards.draw(2000, runtime.seed(0))      # images (2000, 3, 32, 32), masks, factors, captions
    factors = postcards.sample(8, runtime.seed(1))     # the same in two steps: first what there is to see …
    images, masks = postcards.render(factors, 96)      # … then the picture of it, here with 96 pixels a side

A card shows one object on the ground of one biome, under a sky. The object's colour is free: apart from the
combinations that are held out, it depends on nothing. All other colours are determined: grass is green, the sea is
blue.

All randomness is in `sample`, from a CPU generator; `render` is arithmetic, the same on every device up to rounding.
Shapes are signed distances (negative inside), which one line turns into the share of a pixel that they cover.

Letters in the shape comments: n cards, S pixels a side, L layers.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Factors = dict[str, Tensor]  # each (n,); "_words" is (n, 5)
RGB = tuple[float, float, float]
Map = Float[Tensor, "n S S"]

# The luminances are close together (0.43 … 0.72) and each card has its own shade, so a grey picture tells little about
# the colour.
COLOURS: dict[str, RGB] = {
    "red": (0.94, 0.23, 0.21),
    "orange": (0.97, 0.49, 0.09),
    "yellow": (0.93, 0.74, 0.10),
    "green": (0.22, 0.70, 0.30),
    "turquoise": (0.13, 0.70, 0.72),
    "blue": (0.24, 0.43, 0.93),
    "purple": (0.63, 0.34, 0.88),
    "pink": (0.96, 0.43, 0.68),
}
BIOMES = ("meadow", "desert", "snow", "sea", "forest", "city")
WEATHERS = ("clear", "cloudy", "rain", "fog", "snowfall")
OBJECTS = (
    "house", "tree", "car", "boat", "balloon", "cactus", "rocket", "snowman", "fish", "mushroom", "flower", "umbrella",
)  # fmt: skip
PARTS = ("train", "held_out", "all")

SIZES = (0.36, 0.64)  # side of the square that the object is drawn in, as a share of the picture's
ANGLES = (-0.16, 0.16)  # radians, counter-clockwise


def held_out() -> Bool[Tensor, "objects colours"]:
    """Return which combinations are never trained on: two colours of each object, three objects of each colour."""
    table = torch.zeros(len(OBJECTS), len(COLOURS), dtype=torch.bool)
    for i in range(len(OBJECTS)):
        table[i, [i % 8, (i + 4) % 8]] = True
    return table


HELD_OUT = held_out()


@dataclass(frozen=True)
class Postcards:
    """n cards: the pictures, what is on them, and what one would write about them."""

    images: Float[Tensor, "n 3 S S"]  # in [0, 1]
    masks: Float[Tensor, "n 1 S S"]  # share of each pixel that the object covers
    free: Float[Tensor, "n 1 S S"]  # share of each pixel painted in the free colour (no wheels, windows, spots)
    factors: Factors
    captions: list[str]

    def __len__(self) -> int:
        return len(self.images)


def draw(
    n: int,
    generator: torch.Generator,
    size: int = 32,
    part: str = "train",
    device: torch.device | str | None = None,
) -> Postcards:
    """Return n cards with `size` pixels a side. The first rows are the same whatever n is.

    Args:
        part: "train" shows no combination of HELD_OUT, "held_out" only those, "all" every one.
        device: where the cards are drawn; None takes the CPU.

    Raises:
        ValueError: if n is negative, `size` is below 1, or the part is unknown.
    """
    check_size(size)
    factors = sample(n, generator, part)
    captions = describe(factors)
    images, masks, free = paint(factors, size, device)
    return Postcards(images, masks, free, {name: value.to(images.device) for name, value in factors.items()}, captions)


# --- factors ----------------------------------------------------------------------------------------------------------


def sample(n: int, generator: torch.Generator, part: str = "train") -> Factors:
    """Return the factors of n cards, on the CPU.

    "object", "colour", "biome", "weather": int64, places in OBJECTS, COLOURS, BIOMES, WEATHERS; "night": bool; "size",
    "x", "y": side and centre of the object's square, as shares of the picture's side (y counts downwards); "angle":
    radians, counter-clockwise. Names that begin with "_" are nuisance: the horizon, clouds, waves, shade, words.

    All are independent except for colour and object (HELD_OUT), y and size (objects stand on the ground), and y and
    object (balloons and rockets fly).

    Raises:
        ValueError: if n is negative, or the part is unknown.
    """
    if n < 0:
        raise ValueError(f"n must be ≥ 0, got {n}")
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    u = torch.rand(n, 24, generator=generator, device=generator.device).cpu().unbind(1)

    def between(i: int, low: float, high: float) -> Float[Tensor, " n"]:
        return low + (high - low) * u[i]

    def one_of(i: int, choices: int) -> Int[Tensor, " n"]:
        return (u[i] * choices).long().clamp(max=choices - 1)

    allowed = {"train": ~HELD_OUT, "held_out": HELD_OUT, "all": torch.ones_like(HELD_OUT)}[part]
    kind, colour = allowed.nonzero()[one_of(0, int(allowed.sum()))].unbind(1)
    size, horizon = between(1, *SIZES), between(2, 0.52, 0.66)
    flies = torch.tensor([name in FLYING for name in OBJECTS])[kind]
    foot = torch.tensor([FOOT.get(name, 0.5) for name in OBJECTS])[kind]  # from the centre down to the ground
    ground = horizon + between(3, 0.45, 0.85) * (1 - horizon)
    return {
        "object": kind,
        "colour": colour,
        "biome": one_of(4, len(BIOMES)),
        "weather": one_of(5, len(WEATHERS)),
        "night": u[6] < 0.35,
        "size": size,
        "x": between(7, 0.3, 0.7),
        "y": torch.where(flies, between(3, 0.33, 0.5), ground - foot * size),
        "angle": between(8, *ANGLES),
        "_horizon": horizon,
        "_shade": between(9, 0.78, 1.05),  # brightness of the object's colour
        "_mirror": torch.where(u[10] < 0.5, -1.0, 1.0),
        "_ground": between(11, -0.03, 0.03),  # brightness of the ground
        "_far": u[12],  # where hills, trees and houses stand
        "_texture": u[13],  # where waves and tufts are
        "_cloud": u[14],
        "_cloud_y": u[15],
        "_sun": u[16],
        "_drops": u[17],
        "_words": torch.stack(u[18:23], dim=1),
    }


FLYING = ("balloon", "rocket")
FLOATING = ("boat", "fish")  # at sea; all others stand on an islet
FOOT = {"car": 0.36, "boat": 0.40, "fish": 0.24, "rocket": 0.5}


# --- pictures ---------------------------------------------------------------------------------------------------------

CHUNK = 128 * 32 * 32  # pixels to work on at a time, few enough to stay in the processor's cache


def render(
    factors: Factors, size: int = 32, device: torch.device | str | None = None
) -> tuple[Float[Tensor, "n 3 S S"], Float[Tensor, "n 1 S S"]]:
    """Return (images, masks) of cards with given factors, `size` pixels a side.

    Change a factor and draw again, and only that changes.

    Args:
        device: where to draw; None draws where the factors are.
    """
    images, masks, _ = paint(factors, size, device)
    return images, masks


def paint(factors: Factors, size: int, device: torch.device | str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return (images, masks, free): the scenes by biome, then the objects by kind, then the weather on top."""
    check_size(size)
    f = {name: value.to(device) if device is not None else value for name, value in factors.items()}
    n, device = len(f["object"]), f["object"].device
    images = torch.empty(n, 3, size, size, device=device)
    masks, free = (torch.empty(n, 1, size, size, device=device) for _ in range(2))
    for biome, g, rows in groups(f, "biome", size):
        colours, weights, _ = flatten(scene(BIOMES[biome], g, size), g)
        images[rows] = (colours @ weights).view(-1, 3, size, size)
    for kind, g, rows in groups(f, "object", size):
        colours, weights, through, painted = lay(figure(OBJECTS[kind], g, size), g)
        picture = torch.baddbmm(images[rows].flatten(2) * through[:, None], colours, weights)
        images[rows] = picture.view(-1, 3, size, size)
        masks[rows] = (1 - through).view(-1, 1, size, size)
        free[rows] = painted.view(-1, 1, size, size)
    for weather, g, rows in groups(f, "weather", size):
        if WEATHERS[weather] in VEILS:
            colours, weights, through = flatten(VEILS[WEATHERS[weather]](g, Grid(g, size)), g)
            picture = torch.baddbmm(images[rows].flatten(2) * through[:, None], colours, weights)
            images[rows] = picture.view(-1, 3, size, size)
    return images.clamp_(0, 1), masks, free


def check_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"size must be ≥ 1 pixel, got {size}")


def groups(factors: Factors, name: str, size: int) -> Iterator[tuple[int, Factors, Int[Tensor, " rows"]]]:
    """Yield (value, factors of some rows that have it, those rows), few enough rows at a time for the cache.

    Rows with the same weather are put together: what that weather lacks need not be drawn.
    """
    order = (factors[name] * 1000 + factors["weather"] * 2 + factors["night"]).argsort(stable=True)
    values, counts = factors[name].unique(return_counts=True)
    for value, rows in zip(values.tolist(), order.split(counts.tolist())):
        for part in rows.split(max(1, CHUNK // size**2)):
            yield value, {key: column[part] for key, column in factors.items()}, part


class Grid:
    """The pixels' centres: X (S,) to the right and Y (S, 1) downwards, from 0 to 1; numbers as (n, 1, 1)."""

    def __init__(self, factors: Factors, size: int):
        self.size = size
        places = (torch.arange(size, device=factors["object"].device) + 0.5) / size
        self.X, self.Y = places, places[:, None]

    def cover(self, distance: Tensor) -> Tensor:
        """Return the share of each pixel that a shape covers, from its signed distance in shares of the side."""
        return (0.5 - distance * self.size).clamp(0, 1)


@dataclass(frozen=True)
class Tone:
    """A colour that is the same on all cards, except that it changes at night."""

    day: RGB
    night: RGB


Colour = Tone | Float[Tensor, "n 3"]
Layer = tuple[Colour, Map]  # the paint, and how much of each pixel it covers; the first layer lies at the bottom

NIGHT = (0.42, 0.48, 0.72)  # what is left of red, green and blue at night
NIGHT_OBJECT = (0.82, 0.82, 0.92)  # more, because a lamp shines on the object


def lit(rgb: RGB, left: RGB = NIGHT) -> Tone:
    """Return a colour that keeps these shares of red, green and blue at night."""
    return Tone(rgb, tuple(c * share for c, share in zip(rgb, left)))


def ground_tone(rgb: RGB, g: Factors) -> Float[Tensor, "n 3"]:
    """Return a colour with each card's own brightness of the ground."""
    left = torch.where(g["night"][:, None], torch.tensor(NIGHT, device=g["night"].device), 1.0)  # (n, 3)
    return (torch.tensor(rgb, device=left.device) + g["_ground"][:, None]) * left


def flatten(
    layers: list[Layer], g: Factors
) -> tuple[Float[Tensor, "n 3 L"], Float[Tensor, "n L SS"], Float[Tensor, "n SS"]]:
    """Return the layers' colours, how much of each is visible from above, and how much of what lies below them all."""
    n, size = len(g["night"]), layers[0][1].shape[-1]
    weights = torch.empty(n, len(layers), size, size, device=g["night"].device)
    through = torch.ones(n, size, size, device=weights.device)
    for i in reversed(range(len(layers))):
        through -= torch.mul(layers[i][1], through, out=weights[:, i])
    fixed = [colour if isinstance(colour, Tone) else Tone((0, 0, 0), (0, 0, 0)) for colour, _ in layers]
    tables = torch.tensor([[tone.day for tone in fixed], [tone.night for tone in fixed]], device=weights.device)
    colours = tables[g["night"].long()]  # (n, L, 3)
    for i, (colour, _) in enumerate(layers):
        if not isinstance(colour, Tone):
            colours[:, i] = colour
    return colours.transpose(1, 2), weights.flatten(2), through.flatten(1)


def number(values: Float[Tensor, " n"]) -> Float[Tensor, "n 1 1"]:
    return values[:, None, None]


# --- the scene --------------------------------------------------------------------------------------------------------

SKIES: dict[str, tuple[RGB, RGB]] = {  # at the top, at the horizon
    "clear": ((0.33, 0.62, 0.93), (0.76, 0.90, 0.98)),
    "cloudy": ((0.56, 0.68, 0.82), (0.82, 0.87, 0.92)),
    "rain": ((0.45, 0.51, 0.60), (0.68, 0.72, 0.77)),
    "fog": ((0.72, 0.76, 0.80), (0.87, 0.89, 0.91)),
    "snowfall": ((0.62, 0.69, 0.79), (0.86, 0.89, 0.94)),
}
NIGHT_SKY = ((0.03, 0.05, 0.17), (0.16, 0.19, 0.38))


def sky_colour(g: Factors, place: int) -> Float[Tensor, "n 3"]:
    day = torch.tensor([SKIES[name][place] for name in WEATHERS], device=g["night"].device)[g["weather"]]
    night = torch.tensor(NIGHT_SKY[place], device=day.device) + 0.10 * day
    return torch.where(g["night"][:, None], night, day)


def scene(biome: str, g: Factors, size: int) -> list[Layer]:
    """Return the layers of the sky, sun or moon, clouds, distant things, and the ground."""
    grid = Grid(g, size)
    horizon = number(g["_horizon"])
    one = torch.ones(len(horizon), size, size, device=grid.X.device)
    layers = [(sky_colour(g, 0), one), (sky_colour(g, 1), (grid.Y / horizon).clamp(0, 1).expand_as(one))]
    here = [WEATHERS[i] for i in g["weather"].unique().tolist()]
    if "clear" in here:
        layers += heavens(g, grid)
    if here != ["fog"]:
        layers += clouds(g, grid, second=here != ["clear"])
    return layers + LANDS[biome](g, grid) + shadow(biome, g, grid)


def heavens(g: Factors, grid: Grid) -> list[Layer]:
    """The sun by day, moon and stars by night, where the sky is clear."""
    X, Y = grid.X, grid.Y
    x, y = number(0.12 + 0.76 * g["_sun"]), 0.15
    distance = ((X - x) ** 2 + (Y - y) ** 2).sqrt()
    clear = number((g["weather"] == WEATHERS.index("clear")).float())
    moon = number(g["night"].float())
    bite = ((X - x - 0.05) ** 2 + (Y - y + 0.035) ** 2).sqrt() - 0.075  # leaves a crescent moon of the disc
    disc = grid.cover(torch.maximum(distance - 0.09, moon * 0.5 * -bite - (1 - moon))) * clear
    glow = (1 - distance / 0.24).clamp(min=0).square() * clear * (1 - 0.7 * moon) * 0.6
    layers = [(lit((1.0, 0.95, 0.7)), glow), (Tone((1.0, 0.87, 0.32), (0.97, 0.95, 0.82)), disc)]
    if g["night"].any():
        star = grid.cover(dots(grid, 6, number(g["_sun"]) * 6, 0.06)) * clear * moon * 0.9
        layers = [(lit((0.95, 0.95, 0.85), (1, 1, 1)), star), *layers]
    return layers


def dots(grid: Grid, cells: int, shift: Tensor, radius: float) -> Map:
    """Return the distance to round dots, one in each cell of a grid, at a place that depends on the cell.

    Args:
        radius: as a share of a cell.
    """
    u, v = grid.X * cells + shift, grid.Y * cells + shift  # (n, 1, S), (n, S, 1)
    i, j = u.floor(), v.floor()
    du = u - i - 0.5 - 0.3 * torch.sin(i * 2.4 + j * 3.7)
    dv = v - j - 0.5 - 0.3 * torch.sin(i * 5.1 + j * 1.3)
    return ((du**2 + dv**2).sqrt() - radius) / cells


def clouds(g: Factors, grid: Grid, second: bool) -> list[Layer]:
    """Three balls on a flat base: a large cloud and a second one in bad weather, a small one otherwise, none in fog."""
    X, Y, weather = grid.X, grid.Y, g["weather"]
    large = number(torch.tensor([0.75, 1.25, 1.25, 1.0, 1.0], device=X.device)[weather])
    cx, cy = number(g["_cloud"]), number(0.12 + 0.16 * g["_cloud_y"])
    shape = cloud_shape((X - cx) / large, (Y - cy) / large) * large
    if second:
        other = cloud_shape((X - (cx + 0.55) % 1.2 + 0.1) / large, (Y - cy - 0.1) / large) * large
        shape = torch.minimum(shape, other + (large < 1).float())
    grey = torch.tensor([1.0, 0.96, 0.60, 0.9, 0.93], device=X.device)[weather][:, None]  # (n, 1)
    grey = grey * torch.tensor([0.97, 1.0, 1.05], device=X.device)
    grey = torch.where(g["night"][:, None], grey * torch.tensor([0.34, 0.38, 0.55], device=X.device), grey)
    there = number((weather != WEATHERS.index("fog")).float())
    return [(grey, grid.cover(shape) * there * 0.92)]


def cloud_shape(u: Tensor, v: Tensor) -> Tensor:
    d = torch.minimum(((u + 0.02) ** 2 + (v + 0.03) ** 2).sqrt() - 0.085, ((u - 0.10) ** 2 + v**2).sqrt() - 0.06)
    d = torch.minimum(d, ((u + 0.12) ** 2 + (v - 0.01) ** 2).sqrt() - 0.055)
    return torch.maximum(d, v - 0.035)


def waves(x: Tensor, *parts: tuple[float, float, float]) -> Tensor:
    """Return a sum of sines, each (height, frequency, phase)."""
    return sum(height * torch.sin(math.tau * (frequency * x + phase)) for height, frequency, phase in parts)


def meadow(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, p, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_far"]), number(g["_texture"])
    tufts = torch.sin(X * 60 + 9 * torch.sin(Y * 31 + t * 6)) * torch.sin(Y * 75 + t * 30)
    ground = grid.cover(h + waves(X, (0.015, 1.0, p)) - Y)
    return [
        (lit((0.58, 0.78, 0.47)), grid.cover(h - 0.07 + waves(X, (0.045, 0.9, p), (0.02, 2.1, 2 * p)) - Y)),
        (ground_tone((0.46, 0.72, 0.33), g), ground),
        (lit((0.34, 0.60, 0.24)), ground * (tufts - 0.45).clamp(min=0) * 0.9),
        (lit((0.38, 0.65, 0.28)), ground * ((Y - h) * 1.2).clamp(0, 0.6)),
    ]


def desert(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, p, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_far"]), number(g["_texture"])
    mesa = (((X - p) + 0.5) % 1.0 - 0.5).abs()  # distance from the table mountain's middle
    mesa = torch.maximum(mesa - 0.13 - (Y - h + 0.14) * 0.5, h - 0.14 - Y)
    ground = grid.cover(h + waves(X, (0.02, 0.8, p), (0.008, 1.9, t)) - Y)
    ripples = torch.sin((Y * 22 + waves(X, (0.35, 1.3, t), (0.15, 3.1, p))) * math.tau / 2)
    return [
        (lit((0.80, 0.52, 0.36)), grid.cover(mesa)),
        (lit((0.86, 0.68, 0.42)), grid.cover(h - 0.03 + waves(X, (0.03, 1.2, t)) - Y)),
        (ground_tone((0.93, 0.79, 0.52), g), ground),
        (lit((0.84, 0.67, 0.40)), ground * (ripples - 0.55).clamp(min=0) * 1.3),
    ]


def snow(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, p, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_far"]), number(g["_texture"])
    left = ((X * 1.6 + p) % 1.0 - 0.5).abs() / 1.6  # distance from the nearest peak
    top = h - 0.27 + left * 0.85
    jag = 0.018 * (((X * 14 + p * 5) % 1.0) - 0.5).abs()
    ground = grid.cover(h + waves(X, (0.018, 0.9, p)) - Y)
    drifts = torch.sin((Y * 13 + waves(X, (0.5, 1.1, t))) * math.tau / 2)
    return [
        (lit((0.52, 0.60, 0.74)), grid.cover((top - Y) * 0.76)),
        (lit((0.95, 0.97, 1.00), (0.5, 0.56, 0.76)), grid.cover(torch.maximum(top - Y, Y - (h - 0.17) - jag * 3))),
        (ground_tone((0.93, 0.95, 0.99), g), ground),
        (lit((0.76, 0.84, 0.94)), ground * (drifts - 0.5).clamp(min=0) * 1.2),
    ]


def sea(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_texture"])
    water = grid.cover((h - Y).expand(-1, grid.size, grid.size))
    near = ((Y - h) / (1 - h)).clamp(0, 1)
    crests = torch.sin((Y * 15 + waves(X, (0.22, 2.2, t), (0.1, 5.0, 3 * t))) * math.tau / 2)
    return [
        (ground_tone((0.30, 0.62, 0.84), g), water),
        (lit((0.07, 0.36, 0.66)), water * near),
        (lit((0.62, 0.84, 0.94)), water * (crests - 0.6).clamp(min=0) * (1.6 - near)),
    ]


def forest(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, p, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_far"]), number(g["_texture"])

    def firs(number_of: float, height: float, phase: Tensor) -> Tensor:
        u = X * number_of + phase * 7
        k = u.floor()
        top = h - height * (0.78 + 0.22 * torch.sin(k * 2.4 + phase * 6))
        away = (u - k - 0.5).abs() / number_of
        slope = 2 * number_of * (0.56 * height + 0.06)  # so that even the smallest fir ends where the next begins
        return grid.cover(torch.maximum((away * slope - (Y - top)) / slope, Y - h - 0.06))

    ground = grid.cover(h + waves(X, (0.012, 1.1, p)) - Y)
    litter = torch.sin(X * 47 + 7 * torch.sin(Y * 23 + t * 6)) * torch.sin(Y * 58 + t * 30)
    return [
        (lit((0.30, 0.50, 0.38)), firs(8.0, 0.36, p)),
        (lit((0.13, 0.35, 0.25)), firs(6.0, 0.28, p + 0.13)),
        (ground_tone((0.36, 0.40, 0.20), g), ground),
        (lit((0.27, 0.29, 0.14)), ground * (litter - 0.35).clamp(min=0) * 1.2),
    ]


def city(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, h, p, t = grid.X, grid.Y, number(g["_horizon"]), number(g["_far"]), number(g["_texture"])

    def blocks(number_of: float, low: float, high: float, phase: Tensor) -> tuple[Tensor, Tensor]:
        u = X * number_of + phase * 9
        k = u.floor()
        top = h - low - (high - low) * (0.5 + 0.5 * torch.sin(k * 2.4 + phase * 6))
        inside = torch.maximum((u - k - 0.5).abs() / number_of - 0.46 / number_of, top - Y)
        i, j = (u - k) * 4, (Y - top) * 20  # windows: a grid in each block, with lights in some
        across, down = ((i % 1.0 - 0.5).abs() - 0.29) / (4 * number_of), ((j % 1.0 - 0.5).abs() - 0.31) / 20
        lights = torch.sin(i.floor() * 5.3 + j.floor() * 2.9 + k * 1.7) > 0
        windows = grid.cover(across) * grid.cover(down) * grid.cover(top + 0.05 - Y) * grid.cover(Y - h + 0.02)
        return grid.cover(torch.maximum(inside, Y - h - 0.02)), windows * lights

    back, _ = blocks(6.0, 0.16, 0.34, p)
    front, windows = blocks(4.0, 0.05, 0.24, p + 0.37)
    ground = grid.cover((h - Y).expand(-1, grid.size, grid.size))
    kerb = grid.cover(((Y - h - 0.035).abs() - 0.035).expand(-1, grid.size, grid.size))
    middle = h + 0.62 * (1 - h)
    dashes = ((X * 3 + t) % 1.0 - 0.5).abs() / 3 - 0.085
    night = number(g["night"].float())
    return [
        (lit((0.66, 0.70, 0.80)), back),
        (lit((0.50, 0.53, 0.63)), front),
        (lit((1.0, 0.90, 0.58), (1, 1, 1)), windows * front * (0.45 + 0.5 * night)),
        (ground_tone((0.46, 0.46, 0.50), g), ground),
        (lit((0.74, 0.73, 0.72)), kerb),
        (lit((0.93, 0.92, 0.88)), grid.cover(torch.maximum(dashes, (Y - middle).abs() - 0.014))),
    ]


LANDS: dict[str, Callable[[Factors, Grid], list[Layer]]] = {
    "meadow": meadow, "desert": desert, "snow": snow, "sea": sea, "forest": forest, "city": city,
}  # fmt: skip


def shadow(biome: str, g: Factors, grid: Grid) -> list[Layer]:
    """What lies under the object: its shadow; at sea, an islet or ripples."""
    X, Y = grid.X, grid.Y
    kind = g["object"]
    flies, floats = (
        number(torch.tensor([name in names for name in OBJECTS], device=kind.device)[kind].float())
        for names in (FLYING, FLOATING)
    )
    foot = torch.tensor([FOOT.get(name, 0.5) for name in OBJECTS], device=kind.device)[kind]
    size = number(g["size"])
    x, y = number(g["x"]), number(g["y"] + foot * g["size"])
    u, v = (X - x) / size, (Y - y) / size

    def oval(width: float, height: float, down: float = 0.0) -> Tensor:
        return ((u / width) ** 2 + ((v - down) / height) ** 2).sqrt() - 1

    layers = []
    if biome == "sea":
        islet = grid.cover(oval(0.66, 0.16, 0.05) * 0.16 * size) * (1 - flies) * (1 - floats)
        foam = grid.cover(oval(0.76, 0.20, 0.06) * 0.20 * size) * (1 - flies)
        layers = [(lit((0.80, 0.92, 0.96)), foam * 0.75), (lit((0.93, 0.81, 0.55)), islet)]
    dark = (-1.4 * oval(0.50, 0.09, -0.01)).clamp(0, 1) * (1 - flies) * (1 - floats if biome == "sea" else 1.0)
    return [*layers, (lit((0.08, 0.10, 0.16)), dark * 0.38)]


# --- objects: local places u to the right and v upwards, -0.5 … 0.5 ---------------------------------------------------

FREE, DARK, LIGHT = "free", "dark", "light"  # the free colour, its shadow, its highlight
WHITE, BLACK, WOOD, GLASS = (0.97, 0.96, 0.93), (0.16, 0.16, 0.20), (0.48, 0.31, 0.19), (0.72, 0.88, 0.97)


def circle(u: Tensor, v: Tensor, x: float, y: float, r: float) -> Tensor:
    return ((u - x) ** 2 + (v - y) ** 2).sqrt() - r


def ellipse(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float) -> Tensor:
    return (((u - x) / a) ** 2 + ((v - y) / b) ** 2).sqrt().sub(1) * min(a, b)


def box(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float, r: float = 0.0) -> Tensor:
    """A box of half-width a and half-height b, its corners cut with a radius of about r."""
    d = torch.maximum((u - x).abs() - a, (v - y).abs() - b)
    return d if not r else torch.maximum(d, ((u - x).abs() + (v - y).abs() - a - b + 0.6 * r) * 0.7071)


def polygon(u: Tensor, v: Tensor, *points: tuple[float, float]) -> Tensor:
    """A convex polygon, its corners given counter-clockwise."""
    d = None
    for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1]):
        length = math.hypot(x2 - x1, y2 - y1)
        nx, ny = (y2 - y1) / length, (x1 - x2) / length
        side = u * nx + v * ny - (x1 * nx + y1 * ny)
        d = side if d is None else torch.maximum(d, side)
    return d


def capsule(u: Tensor, v: Tensor, x1: float, y1: float, x2: float, y2: float, r: float) -> Tensor:
    dx, dy = x2 - x1, y2 - y1
    t = (((u - x1) * dx + (v - y1) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return ((u - x1 - t * dx) ** 2 + (v - y1 - t * dy) ** 2).sqrt() - r


def union(*distances: Tensor) -> Tensor:
    d = distances[0]
    for other in distances[1:]:
        d = torch.minimum(d, other)
    return d


both = torch.maximum  # the intersection of two shapes


def house(u, v):
    walls = box(u, v, 0, -0.19, 0.38, 0.31)
    return [
        (WOOD, box(u, v, 0.24, 0.28, 0.07, 0.17)),
        (FREE, walls),
        (DARK, both(walls, 0.20 - u)),
        ((0.38, 0.24, 0.22), polygon(u, v, (-0.5, 0.09), (0.5, 0.09), (0.0, 0.48))),
        ((0.33, 0.20, 0.14), box(u, v, 0.12, -0.33, 0.085, 0.17)),
        (WHITE, box(u, v, -0.18, -0.13, 0.115, 0.115)),
        (GLASS, box(u, v, -0.18, -0.13, 0.08, 0.08)),
    ]


def tree(u, v):
    crown = union(circle(u, v, 0, 0.24, 0.26), circle(u, v, -0.21, 0.03, 0.22), circle(u, v, 0.21, 0.03, 0.22))
    crown = union(crown, circle(u, v, 0, -0.02, 0.20))
    return [
        (WOOD, polygon(u, v, (-0.10, -0.5), (0.10, -0.5), (0.06, -0.1), (-0.06, -0.1))),
        (FREE, crown),
        (DARK, both(crown, -circle(u, v, -0.10, 0.20, 0.40))),
        (LIGHT, circle(u, v, -0.11, 0.27, 0.10)),
    ]


def car(u, v):
    body = box(u, v, 0, -0.11, 0.5, 0.13, 0.12)
    return [
        (FREE, polygon(u, v, (-0.36, 0.0), (0.30, 0.0), (0.16, 0.25), (-0.26, 0.25))),
        (GLASS, polygon(u, v, (-0.26, 0.02), (-0.06, 0.02), (-0.06, 0.19), (-0.20, 0.19))),
        (GLASS, polygon(u, v, (0.0, 0.02), (0.21, 0.02), (0.11, 0.19), (0.0, 0.19))),
        (FREE, body),
        (DARK, both(body, v + 0.16)),
        ((1.0, 0.93, 0.6), box(u, v, 0.45, -0.06, 0.05, 0.04)),
        (BLACK, union(circle(u, v, -0.27, -0.22, 0.14), circle(u, v, 0.27, -0.22, 0.14))),
        ((0.75, 0.76, 0.78), union(circle(u, v, -0.27, -0.22, 0.06), circle(u, v, 0.27, -0.22, 0.06))),
    ]


def boat(u, v):
    hull = polygon(u, v, (-0.34, -0.42), (0.32, -0.42), (0.5, -0.10), (-0.5, -0.10))
    return [
        (WOOD, box(u, v, -0.01, 0.18, 0.03, 0.32)),
        (WHITE, polygon(u, v, (0.05, -0.03), (0.43, -0.03), (0.05, 0.48))),
        (FREE, polygon(u, v, (-0.37, -0.03), (-0.06, -0.03), (-0.06, 0.42))),
        (FREE, hull),
        (DARK, both(hull, v + 0.30)),
        (WHITE, both(hull, (v + 0.18).abs() - 0.03)),
    ]


def balloon(u, v):
    bag = union(
        circle(u, v, 0, 0.15, 0.35), polygon(u, v, (-0.11, -0.28), (0.11, -0.28), (0.31, -0.02), (-0.31, -0.02))
    )
    side = u.abs() / (1.05 - 2.4 * (v - 0.15) ** 2).clamp(min=0.2)
    return [
        (WOOD, union(capsule(u, v, -0.09, -0.28, -0.06, -0.42, 0.014), capsule(u, v, 0.09, -0.28, 0.06, -0.42, 0.014))),
        (WOOD, box(u, v, 0, -0.44, 0.09, 0.06, 0.02)),
        (FREE, bag),
        (WHITE, both(bag, (side - 0.17).abs() - 0.05)),
        (DARK, both(bag, 0.24 - u)),
        (LIGHT, circle(u, v, -0.05, 0.30, 0.05)),
    ]


def cactus(u, v):
    trunk = capsule(u, v, 0, -0.5, 0, 0.36, 0.14)
    left = union(capsule(u, v, -0.1, -0.10, -0.33, -0.10, 0.085), capsule(u, v, -0.33, -0.10, -0.33, 0.16, 0.085))
    right = union(capsule(u, v, 0.1, 0.02, 0.33, 0.02, 0.085), capsule(u, v, 0.33, 0.02, 0.33, 0.30, 0.085))
    body = both(union(trunk, left, right), -0.5 - v)
    return [
        (FREE, body),
        (DARK, both(body, union(box(u, v, 0.09, 0, 0.03, 0.4), box(u, v, -0.05, 0, 0.02, 0.38)))),
        ((1.0, 0.97, 0.75), circle(u, v, 0, 0.48, 0.07)),
    ]


def rocket(u, v):
    width = 0.20 * (1 - ((v + 0.05) / 0.55) ** 2)
    body = both((u.abs() - width) * 0.85, -0.30 - v)
    return [
        ((1.0, 0.62, 0.12), polygon(u, v, (0.0, -0.52), (0.11, -0.28), (-0.11, -0.28))),
        ((1.0, 0.92, 0.5), polygon(u, v, (0.0, -0.42), (0.06, -0.28), (-0.06, -0.28))),
        ((0.32, 0.34, 0.42), polygon(u, v, (-0.34, -0.40), (-0.10, -0.30), (-0.10, 0.02), (-0.20, -0.06))),
        ((0.32, 0.34, 0.42), polygon(u, v, (0.10, -0.30), (0.34, -0.40), (0.20, -0.06), (0.10, 0.02))),
        (FREE, body),
        (DARK, both(body, 0.07 - u)),
        (WHITE, both(body, 0.30 - v)),
        (WHITE, circle(u, v, 0, 0.10, 0.11)),
        ((0.20, 0.42, 0.62), circle(u, v, 0, 0.10, 0.07)),
    ]


def snowman(u, v):
    body = union(circle(u, v, 0, -0.27, 0.25), circle(u, v, 0, 0.03, 0.19))
    head = circle(u, v, 0, 0.23, 0.145)
    dots = union(circle(u, v, 0, 0.04, 0.028), circle(u, v, 0, -0.10, 0.028), circle(u, v, 0, -0.24, 0.028))
    eyes = union(circle(u, v, -0.055, 0.265, 0.026), circle(u, v, 0.055, 0.265, 0.026))
    arms = union(capsule(u, v, -0.16, 0.05, -0.40, 0.17, 0.022), capsule(u, v, 0.16, 0.05, 0.40, 0.17, 0.022))
    return [
        (WOOD, arms),
        (FREE, union(body, head)),
        (DARK, both(union(body, head), 0.10 - u)),
        (BLACK, union(dots, eyes)),
        (WHITE, box(u, v, 0, 0.125, 0.14, 0.035)),
        ((0.98, 0.60, 0.15), polygon(u, v, (0.0, 0.19), (0.17, 0.215), (0.0, 0.24))),
        (BLACK, union(box(u, v, 0, 0.345, 0.19, 0.03), box(u, v, 0, 0.42, 0.115, 0.08))),
    ]


def fish(u, v):
    body = ellipse(u, v, 0.07, 0, 0.38, 0.25)
    tail = both(polygon(u, v, (-0.22, 0.0), (-0.5, 0.25), (-0.5, -0.25)), -circle(u, v, -0.58, 0, 0.16))
    return [
        (DARK, tail),
        (DARK, union(polygon(u, v, (-0.12, 0.15), (0.16, 0.17), (-0.10, 0.34)),
                     polygon(u, v, (-0.02, -0.18), (-0.14, -0.31), (0.12, -0.20)))),
        (FREE, body),
        (LIGHT, both(body, union((u - 0.02).abs() - 0.045, (u + 0.16).abs() - 0.04))),
        (WHITE, circle(u, v, 0.28, 0.06, 0.085)),
        (BLACK, circle(u, v, 0.30, 0.06, 0.05)),
    ]  # fmt: skip


def mushroom(u, v):
    cap = both(ellipse(u, v, 0, -0.02, 0.48, 0.50), -0.04 - v)
    spots = union(circle(u, v, -0.20, 0.18, 0.085), circle(u, v, 0.10, 0.30, 0.09), circle(u, v, 0.26, 0.08, 0.075))
    spots = union(spots, circle(u, v, -0.36, 0.03, 0.05), circle(u, v, 0.0, 0.07, 0.06))
    return [
        ((0.96, 0.91, 0.80), polygon(u, v, (-0.17, -0.5), (0.17, -0.5), (0.12, 0.0), (-0.12, 0.0))),
        ((0.86, 0.78, 0.66), ellipse(u, v, 0, -0.05, 0.40, 0.07)),
        (FREE, cap),
        (WHITE, both(spots, cap)),
    ]


def flower(u, v):
    x, y = u, v - 0.13
    r = (x * x + y * y).sqrt().clamp(min=1e-4)
    c = y / r
    petals = (r - 0.285 - 0.085 * (16 * c**5 - 20 * c**3 + 5 * c)) * 0.75  # cos(5 φ): five petals
    leaves = union(ellipse(u, v, -0.15, -0.40, 0.15, 0.065), ellipse(u, v, 0.15, -0.35, 0.15, 0.065))
    green = (0.16, 0.45, 0.20)
    return [
        (green, union(box(u, v, 0, -0.30, 0.035, 0.20), leaves)),
        (FREE, petals),
        (DARK, both(petals, r - 0.18)),
        ((0.98, 0.88, 0.36), circle(u, v, 0, 0.13, 0.125)),
        (WOOD, circle(u, v, 0, 0.13, 0.055)),
    ]


def umbrella(u, v):
    dome = both(ellipse(u, v, 0, 0.02, 0.5, 0.44), 0.02 - v)
    for x in (-0.335, 0.0, 0.335):
        dome = both(dome, -ellipse(u, v, x, 0.0, 0.165, 0.075))
    hook = both(circle(u, v, 0.09, -0.40, 0.09).abs() - 0.03, v + 0.40)
    return [
        ((0.30, 0.22, 0.18), union(box(u, v, 0, -0.17, 0.03, 0.24), hook, box(u, v, 0, 0.46, 0.02, 0.05))),
        (FREE, dome),
        (WHITE, both(dome, (u.abs() / (1.02 - (v / 0.46) ** 2).clamp(min=0.1).sqrt() - 0.25).abs() - 0.085)),
    ]


SHAPES: dict[str, Callable[[Tensor, Tensor], list]] = {
    "house": house, "tree": tree, "car": car, "boat": boat, "balloon": balloon, "cactus": cactus, "rocket": rocket,
    "snowman": snowman, "fish": fish, "mushroom": mushroom, "flower": flower, "umbrella": umbrella,
}  # fmt: skip
MIRRORED = ("car", "boat", "fish", "house", "snowman", "umbrella")  # may face the other way


def figure(name: str, g: Factors, size: int) -> list[tuple[str | RGB, Map]]:
    """Return the object's layers: (colour, coverage), the lowest first."""
    grid = Grid(g, size)
    side, angle = number(g["size"]), g["angle"]
    x, y = (grid.X - number(g["x"])) / side, (number(g["y"]) - grid.Y) / side  # (n, 1, S), (n, S, 1)
    cos, sin = number(angle.cos()), number(angle.sin())
    u, v = cos * x + sin * y, cos * y - sin * x
    if name in MIRRORED:
        u = u * number(g["_mirror"])
    scale = side * size
    return [(colour, (0.5 - d * scale).clamp(0, 1)) for colour, d in SHAPES[name](u, v)]


def lay(layers: list[tuple[str | RGB, Map]], g: Factors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `flatten`, with the free colour filled in; also return how much of each pixel is painted in it."""
    device = g["colour"].device
    free = torch.tensor(list(COLOURS.values()), device=device)[g["colour"]] * g["_shade"][:, None]  # (n, 3)
    left = torch.where(g["night"][:, None], torch.tensor(NIGHT_OBJECT, device=device), 1.0)
    tones = {FREE: free * left, DARK: free * 0.80 * left, LIGHT: (free + (1 - free) * 0.35) * left}
    coloured = [(tones[c] if isinstance(c, str) else lit(c, NIGHT_OBJECT), coverage) for c, coverage in layers]
    colours, weights, through = flatten(coloured, g)
    painted = sum(weights[:, i] for i, (c, _) in enumerate(layers) if isinstance(c, str))
    return colours, weights, through, painted


# --- what falls or hangs in the air -----------------------------------------------------------------------------------


def rain(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, p = grid.X, grid.Y, number(g["_drops"])
    u = (X + 0.25 * Y) * 9 + p * 9
    k = u.floor()
    fall = (Y * 2.6 + p + 0.37 * k + 0.3 * torch.sin(k * 2.4)) % 1.0
    streak = grid.cover((u - k - 0.5).abs() / 9 - 0.008) * grid.cover(((fall - 0.5).abs() - 0.23) / 2.6)
    return [(lit((0.80, 0.87, 0.95), (0.6, 0.65, 0.8)), streak * 0.55)]


def fog(g: Factors, grid: Grid) -> list[Layer]:
    X, Y, p = grid.X, grid.Y, number(g["_drops"])
    bands = 0.25 + 0.11 * torch.sin((Y * 2.2 + waves(X, (0.12, 0.8, p)) + p) * math.tau)
    return [(lit((0.88, 0.90, 0.92), (0.36, 0.40, 0.52)), bands.expand(-1, grid.size, grid.size))]


def snowfall(g: Factors, grid: Grid) -> list[Layer]:
    flake = grid.cover(dots(grid, 6, number(g["_drops"]) * 6, 0.095))
    return [(lit((1.0, 1.0, 1.0), (0.75, 0.78, 0.9)), flake * 0.9)]


VEILS: dict[str, Callable[[Factors, Grid], list[Layer]]] = {"rain": rain, "fog": fog, "snowfall": snowfall}


# --- captions ---------------------------------------------------------------------------------------------------------

TEMPLATES = (
    "a {colour} {object}",
    "a picture of a {colour} {object}",
    "a postcard of a {colour} {object}",
    "a postcard with a {colour} {object} on it",
    "here you see a {colour} {object}",
    "the {object} is {colour}",
    "a small {colour} {object}",
    "a big {colour} {object}",
)
_FORMS = (  # {it}: "a small red boat", {where}: "at sea", {when}: ", at night"
    "{it} {where}{when}",
    "{it} {where}{when}",
    "a postcard of {it} {where}{when}",
    "a picture of {it} {where}{when}",
    "{where}: {it}{when}",
    "here you see {it} {where}{when}",
    "{it}{when}, {where}",
    "the {object} is {colour}, and it is {where}{when}",
)
_WHERE = {
    "meadow": ("in a meadow", "on the green meadow", "in the meadow"),
    "desert": ("in the desert", "in the sandy desert", "in a desert"),
    "snow": ("in the snow", "in deep snow", "on the white snow"),
    "sea": ("at sea", "by the sea", "on the blue sea"),
    "forest": ("in the forest", "in a dark forest", "at the edge of a forest"),
    "city": ("in the city", "in a city", "on a city street"),
}
_AIR = {
    "clear": ("under a clear sky", "in fine weather"),
    "cloudy": ("under clouds", "in cloudy weather"),
    "rain": ("in the rain", "while it rains"),
    "fog": ("in fog", "in the mist"),
    "snowfall": ("among falling flakes", "while flakes fall"),
}
_NIGHT = ("at night", "by night", "in the dark of night")
_DAY = ("by day", "in daylight")


def describe(factors: Factors) -> list[str]:
    """Return one caption for each card; every one names object, colour and biome, and "night" only at night.

    Size (small below 0.43, big above 0.57), weather and day are mentioned now and then, as the numbers in "_words"
    decide.
    """

    def pick(choices: tuple[str, ...], number: float) -> str:
        return choices[min(int(number * len(choices)), len(choices) - 1)]

    colours, captions = list(COLOURS), []
    columns = [factors[name].tolist() for name in ("object", "colour", "biome", "weather", "night", "size", "_words")]
    for kind, colour, biome, weather, night, size, (a, b, c, d, e) in zip(*columns):
        name, adjective = OBJECTS[kind], colours[colour]
        if c < 0.7 and not 0.43 <= size <= 0.57:
            adjective = f"{pick(('small', 'little') if size < 0.43 else ('big', 'large'), b)} {adjective}"
        when = f", {pick(_AIR[WEATHERS[weather]], d)}" if e > 0.6 else ""
        if night and d < 0.9:
            when += f", {pick(_NIGHT, b)}"
        elif not night and d < 0.15:
            when += f", {pick(_DAY, b)}"
        it = f"{'an' if adjective[0] in 'aeiou' else 'a'} {adjective} {name}"
        where = pick(_WHERE[BIOMES[biome]], c)
        captions.append(pick(_FORMS, a).format(it=it, where=where, when=when, object=name, colour=colours[colour]))
    return captions
