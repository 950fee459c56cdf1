"""Live widgets with pictures in them; they behave as those of `course_utils.show.widgets` do."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets as widgets
import torch
from torch import Tensor

from course_utils.data.images import grey
from course_utils.show import pictures
from course_utils.show.moving import NOTE
from course_utils.show.parts import INK, SLIDER, WIDE, menu, named_bar
from course_utils.show.widgets import Explorer


def captions_explorer(
    images: Tensor,
    probabilities: Callable[[int, list[str]], Tensor],
    *,
    captions: Sequence[str],
    unknown: Callable[[str], list[str]] | None = None,
) -> Explorer:
    """Write captions, one a line: how likely CLIP finds each of them for one picture, as bars beside it.

    Args:
        images: (N, 3, H, W) in [0, 1], what the slider goes through.
        probabilities: called as probabilities(number of the picture, captions), returns (len(captions),) that sum to 1.
        captions: the first ones.
        unknown: called with a caption, returns its words that the model does not know; they are said beside its bar.
    """

    def render(picture: int, captions: str) -> str:
        lines = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))
        if not lines:
            raise ValueError("there is no caption: write at least one line")
        chance = probabilities(picture, lines).tolist()
        rows = []
        for p, line in sorted(zip(chance, lines), reverse=True):
            strange = unknown(line) if unknown else []
            note = f" (unknown: {', '.join(strange)})" if strange else ""
            bar = f'<div style="width: {100 * p:.1f}%; height: 0.7em; background: #0072B2"></div>'
            rows.append(
                f'<p style="margin: 0; display: flex; gap: 1em; {INK}">'
                f'<span style="flex: 0 0 20em">{escape(line + note)} </span>'
                f'<span style="flex: 1">{bar}</span><span style="flex: 0 0 4em">{p:6.1%}</span></p>'
            )
        shown = pictures.html(images[picture : picture + 1], zoom=5)
        bars = f'<div aria-live="polite" style="flex: 1">{"".join(rows)}</div>'
        return f'<div style="display: flex; gap: 2em; align-items: center">{shown}{bars}</div>'

    return Explorer(
        render,
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="picture", **SLIDER),
        captions=widgets.Textarea(
            "\n".join(captions),
            description="captions",
            continuous_update=False,
            rows=max(4, len(captions) + 1),
            **WIDE,
        ),
    )


def augmentation_explorer(
    images: Tensor,
    augmentations: Mapping[str, Callable[[float], Callable[[Tensor, torch.Generator], Tensor]]],
) -> Explorer:
    """Every augmentation of one picture side by side; one slider for the picture, one for how strong, one for chance.

    Args:
        images: (N, 3, H, W) in [0, 1], what the first slider goes through.
        augmentations: by name, called with a strength from 0 to 1; what comes back is called with pictures (1, 3, H, W)
            and a generator.
    """
    if not augmentations or not len(images):
        raise ValueError("augmentation_explorer needs at least one picture and one augmentation")

    def render(picture: int, strength: float, sample: int) -> str:
        image = images[picture : picture + 1]
        found = [make(strength)(image, torch.Generator().manual_seed(sample))[0] for make in augmentations.values()]
        moved = [float((one - image[0]).abs().mean()) if one.shape == image[0].shape else math.nan for one in found]
        lines = [f"{name}: {change:.2f}" for name, change in zip(augmentations, moved)]
        note = f"how far each moves the pixels, on average (0 … 1): {'; '.join(lines)}"
        return f'{pictures.html(found, list(augmentations), 5, zoom=3)}<p style="{NOTE}">{escape(note)}</p>'

    return Explorer(
        render,
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="picture", **SLIDER),
        strength=widgets.FloatSlider(0.5, min=0, max=1, step=0.1, description="strength", **SLIDER),
        sample=widgets.IntSlider(1, min=1, max=20, description="sample", **SLIDER),
    )


def circle_explorer(
    paths: Mapping[str, Tensor], *, step: int = 0, captions: Mapping[str, Callable[[Tensor], str]] | None = None
) -> Explorer:
    """Pairs of points that move on a circle: a menu for what moves them, a slider for the time.

    Args:
        paths: by name (steps, 2, N, 2): at each step both points of N pairs, of any length but 0; a pair has one colour
            and a line between its points.
        step: the first to be shown.
        captions: by name, what is said of the points (2, N, 2) above them.
    """
    steps = {len(path) for path in paths.values()}
    if len(steps) != 1 or any(path.ndim != 4 or path.shape[1] != 2 or path.shape[3] != 2 for path in paths.values()):
        raise ValueError(
            f"paths must all be (steps, 2, pairs, 2), got {[tuple(path.shape) for path in paths.values()]}"
        )
    (count,) = steps

    def render(pull: str, step: int) -> str:
        points = paths[pull][step] / paths[pull][step].norm(dim=-1, keepdim=True)  # (2, N, 2)
        marks, angles = [], []
        for i, ((ax, ay), (bx, by)) in enumerate(zip(points[0].tolist(), points[1].tolist())):
            colour = f"hsl({round(360 * i / points.shape[1])}, 75%, 45%)"
            a, b = (round(100 * ax, 1), round(-100 * ay, 1)), (round(100 * bx, 1), round(-100 * by, 1))
            marks.append(
                f'<line x1="{a[0]}" y1="{a[1]}" x2="{b[0]}" y2="{b[1]}" stroke="{colour}" stroke-width="1.5"/>'
            )
            marks.append(f'<circle cx="{a[0]}" cy="{a[1]}" r="4" fill="{colour}"/>')
            marks.append(f'<rect x="{b[0] - 3.5}" y="{b[1] - 3.5}" width="7" height="7" fill="{colour}"/>')
            angles.append("–".join(f"{math.degrees(math.atan2(y, x)) % 360:.0f}°" for x, y in ((ax, ay), (bx, by))))
        said = captions[pull](points) if captions and pull in captions else ""
        note = f"step {step} of {count - 1}" + (f" · {said}" if said else "")
        return (
            f'<p style="{NOTE}">{escape(note)}</p><svg role="img" aria-label="{len(angles)} pairs on the circle" '
            f'viewBox="-115 -115 230 230" width="320" height="320"><circle r="100" fill="none" stroke="#999"/>'
            f'{"".join(marks)}</svg><p style="{NOTE}">the pairs’ angles: {", ".join(angles)}</p>'
        )

    return Explorer(
        render,
        pull=menu(paths, "what moves them"),
        step=widgets.IntSlider(step, min=0, max=count - 1, description="step", **SLIDER),
    )


def jigsaw_explorer(
    images: Tensor,
    puzzle: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    solve: Callable[[Tensor], Tensor],
) -> Explorer:
    """Solve a jigsaw puzzle against the model: write which tile belongs where, then look at both answers.

    Args:
        images: (N, 3, H, W) in [0, 1], what the slider goes through.
        puzzle: called as puzzle(images (1, 3, H, W), number), returns the tiles (1, T, 3, P, P) as they are shown, and
            their order (1, T): the tile at place i comes from cell order[i]. T ≤ 9.
        solve: called with the tiles, returns the model's order (1, T).
    """

    def sheet(tiles: Tensor) -> Tensor:
        """(T, 3, P, P) -> one picture, with white lines between the tiles."""
        side = math.isqrt(len(tiles))
        framed = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=1.0)
        rows = [torch.cat(list(row), dim=2) for row in framed.split(side)]
        return torch.cat(rows, dim=1)

    def placed(tiles: Tensor, order: Tensor) -> Tensor:
        """Each tile in the cell that the order says; cells that no tile was given are grey."""
        cells = torch.full_like(tiles, 0.8)
        cells[order] = tiles
        return sheet(cells)

    def render(picture: int, answer: str, reveal: bool) -> str:
        tiles, order = puzzle(images[picture : picture + 1], picture)
        tiles, order, T = tiles[0], order[0], tiles.shape[1]
        written = [int(digit) - 1 for digit in answer if digit.isdigit()]
        if sorted(written) != list(range(T)):
            raise ValueError(
                f"write each of the numbers 1 … {T} once: first the tile for the upper left cell, and so on"
            )
        yours = torch.empty(T, dtype=torch.int64)
        yours[torch.tensor(written)] = torch.arange(T)  # the cell into which each tile was put
        shown, titles = [sheet(tiles), placed(tiles, yours)], [f"the tiles: 1 … {T}, row by row", "your picture"]
        said = (
            "Which tile belongs where? Read the tiles' numbers row by row and write them in the right order, nine "
            "digits in a row: the tile of the top left corner first, that of the bottom right one last."
        )
        if reveal:
            model = solve(tiles[None])[0]
            shown += [placed(tiles, model), images[picture]]
            titles += ["the model's picture", "what it was"]
            said = (
                f"You put {int((yours == order).sum())} of {T} tiles into their place, "
                f"the model {int((model == order).sum())}."
            )
        boxes = "".join(pictures.html(image, titles=[title], zoom=4) for image, title in zip(shown, titles))
        return (
            f'<p aria-live="polite" style="{NOTE}">{escape(said)}</p>'
            f'<div style="display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start">{boxes}</div>'
        )

    first = "".join(str(i + 1) for i in range(puzzle(images[:1], 0)[0].shape[1]))
    return Explorer(
        render,
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="puzzle", **SLIDER),
        answer=widgets.Text(first, description="your order", continuous_update=False, **SLIDER),
        reveal=widgets.Checkbox(False, description="show both answers"),
    )


def colour_explorer(images: Tensor, painters: Mapping[str, Callable[[Tensor, float], Tensor]]) -> Explorer:
    """A grey picture, what each painter makes of it, and the truth, with the mean colourfulness below each.

    Args:
        images: (N, 3, H, W) in [0, 1], what the slider goes through.
        painters: by name, called as painter(images (1, 3, H, W), temperature), returns a picture of the same shape; one
            that has no temperature ignores it.
    """

    def spread(image: Tensor) -> float:
        """The mean of the largest channel minus the smallest: 0 for grey."""
        return float((image.amax(0) - image.amin(0)).mean())

    def render(picture: int, temperature: float) -> str:
        image = images[picture : picture + 1]
        shown = {"grey": grey(image).expand_as(image)}
        shown |= {name: paint(image, temperature) for name, paint in painters.items()}
        shown["true"] = image
        titles = [f"{name}: {spread(part[0]):.2f}" for name, part in shown.items()]
        said = (
            "Below each picture: how colourful it is (largest channel minus smallest, mean). What the grey picture "
            "does not tell, squared error paints grey-brown; classes choose."
        )
        note = f'<p style="{NOTE}">{said}</p>'
        return f"{pictures.html(torch.cat(list(shown.values())), titles=titles, zoom=4)}{note}"

    return Explorer(
        render,
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="picture", **SLIDER),
        temperature=widgets.FloatLogSlider(
            0.38, base=10, min=-1.5, max=0.5, step=0.05, description="temperature", readout_format=".2f", **SLIDER
        ),
    )


def walk_explorer(
    images: Tensor,
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    *,
    start: int = 0,
    end: int = 1,
    pictures_between: int = 5,
    zoom: int = 4,
) -> Explorer:
    """Walk from one picture's code to another's along the arc between them; every place on the way is decoded.

    Args:
        images: (N, 3, H, W) in [0, 1], among which both ends are chosen; N ≥ 2.
        encode: called with pictures (2, 3, H, W), returns their codes (2, L).
        decode: called with codes (n, L), returns pictures (n, 3, H, W) in [0, 1].
        start, end: the first settings.
        pictures_between: how many places on the way are shown, beside the one that the slider chooses.
        zoom: screen pixels for each pixel of the large pictures.
    """
    if len(images) < 2:
        raise ValueError(f"a walk needs at least two pictures, got {len(images)}")

    def render(start: int, end: int, way: float) -> str:
        ends = images[[start, end]]
        with torch.no_grad():
            codes = encode(ends)  # (2, L)
            t = torch.cat([codes.new_tensor([way, 0, 1]), torch.linspace(0, 1, pictures_between + 2).to(codes)[1:-1]])
            walk = arc(codes[0], codes[1], t)  # (3 + between, L)
            shown = decode(walk).clamp(0, 1)
        at, lengths = walk[0], codes.norm(dim=1)
        large = pictures.html(
            [ends[0], shown[1], shown[0], shown[2], ends[1]],
            [f"picture {start}", "decoded", f"{way:.0%} of the way", "decoded", f"picture {end}"],
            columns=5,
            zoom=zoom,
        )
        strip = pictures.html(shown[3:], [f"{share:.0%}" for share in t[3:].tolist()], columns=10, zoom=zoom // 2 or 1)
        distances = (codes - at).norm(dim=1).tolist()
        note = (
            f"{len(at)} numbers; the code here has the length {float(at.norm()):.2f} (the ends {lengths[0]:.2f} and "
            f"{lengths[1]:.2f}) and is {distances[0]:.2f} from the code of picture {start}, {distances[1]:.2f} from "
            f"that of picture {end}"
        )
        return f'<p style="{NOTE}">{escape(note)}</p><div aria-live="polite">{large}{strip}</div>'

    last = len(images) - 1
    return Explorer(
        render,
        start=widgets.IntSlider(start, min=0, max=last, description="from picture", **SLIDER),
        end=widgets.IntSlider(end, min=0, max=last, description="to picture", **SLIDER),
        way=widgets.FloatSlider(0.5, min=0, max=1, step=0.05, readout_format=".0%", description="on the way", **SLIDER),
    )


def arc(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return the codes (n, L) at the shares t (n,) of the arc from start (L,) to end (L,); a line if they are parallel.

    Source: K. Shoemake, Animating Rotation with Quaternion Curves (1985), section 3.3.
    """
    cosine = torch.dot(start, end) / (start.norm() * end.norm()).clamp(min=1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    shares = torch.stack((1 - t, t), dim=1)  # (n, 2): of the start, of the end
    if torch.sin(angle) >= 1e-3:
        shares = torch.sin(shares * angle) / torch.sin(angle)
    return shares @ torch.stack((start, end))


def denoise_explorer(
    images: Tensor,
    corrupt: Callable[[Tensor, float, torch.Generator], Tensor],
    denoisers: Mapping[str, Callable[[Tensor], Tensor]],
    *,
    sigma: float = 0.3,
    zoom: int = 4,
) -> Explorer:
    """Draw noise on a picture, where and as strong as you like: what each denoiser makes of it, beside the clean one.

    Args:
        images: (N, 3, H, W) in [0, 1], what the slider goes through.
        corrupt: called as corrupt(images (1, 3, H, W), sigma, generator), returns noisy pictures.
        denoisers: by name, called with noisy pictures (1, 3, H, W), return clean ones.
        sigma: the first setting: the deviation of the noise.
        zoom: screen pixels for each pixel.
    """
    if not denoisers or not len(images):
        raise ValueError("denoise_explorer needs at least one picture and one denoiser")

    H, W = images.shape[2:]

    def render(picture: int, sigma: float, sample: int, columns: tuple[int, int], rows: tuple[int, int]) -> str:
        clean = images[picture : picture + 1]
        noisy, part = clean.clone(), (..., slice(rows[0] - 1, rows[1]), slice(columns[0] - 1, columns[1]))
        noisy[part] = corrupt(clean, sigma, torch.Generator().manual_seed(sample))[part]
        with torch.no_grad():
            shown = {"noisy": noisy, **{name: denoise(noisy).clamp(0, 1) for name, denoise in denoisers.items()}}
        errors = {name: float(((image - clean) ** 2).mean()) ** 0.5 for name, image in shown.items()}
        titles = [f"{name}: {error:.3f}" for name, error in errors.items()] + ["clean"]
        best = min(errors, key=errors.get)
        note = (
            f"noise of deviation {sigma:.2f}; below each picture: how far its pixels are from the clean ones (root of "
            f"the mean square, 0 … 1). Nearest to the clean picture: {best}."
        )
        row = pictures.html(torch.cat([*shown.values(), clean]), titles, columns=8, zoom=zoom)
        return f'<p style="{NOTE}">{escape(note)}</p><div aria-live="polite">{row}</div>'

    return Explorer(
        render,
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="picture", **SLIDER),
        sigma=widgets.FloatSlider(
            sigma, min=0, max=1, step=0.05, readout_format=".2f", description="noise σ", **SLIDER
        ),
        columns=widgets.IntRangeSlider(value=(1, W), min=1, max=W, description="on columns", **SLIDER),
        rows=widgets.IntRangeSlider(value=(1, H), min=1, max=H, description="on rows", **SLIDER),
        sample=widgets.IntSlider(1, min=1, max=20, description="sample", **SLIDER),
    )


def report_card_explorer(
    images: Tensor,
    features: Mapping[str, Tensor],
    card,
    factors: Mapping[str, Tensor],
    *,
    captions: Sequence[str],
    encoder: str,
    other: str,
) -> Explorer:
    """Two encoders asked for one factor: their probes' scores, and whether a card's neighbours share the factor.

    Args:
        images: (N, 3, H, W) in [0, 1], what the slider goes through; N > 7.
        features: by encoder, (N, dim) each; compared by the cosine of the standardised ones.
        card: what `evaluate.report_card` says about these encoders.
        factors: by name (N,), those of the card; whole numbers and booleans are classes.
        captions: N of them.
        encoder, other: the first to be shown.
    """
    if any(len(x) != len(images) for x in [*features.values(), *factors.values(), captions]) or len(images) < 8:
        raise ValueError(
            f"each of the {len(images)} pictures (at least 8) needs a caption, a value of each factor and features of "
            "each encoder"
        )
    directions = {}
    for name, x in features.items():
        x = (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
        directions[name] = torch.nn.functional.normalize(x, dim=1)

    def line(encoder: str, factor: str, picture: int) -> str:
        """An encoder's score, the neighbours that it finds, and what they say about the factor."""
        cosine = directions[encoder] @ directions[encoder][picture]  # (N,)
        cosine[picture] = math.inf  # itself first
        near = cosine.topk(8).indices.tolist()
        score, error = card[encoder, factor]
        values = factors[factor][near].tolist()
        if card.kinds[card.factors.index(factor)] == "accuracy":
            same = [value == values[0] for value in values[1:]]
            titles = ["✓ same" if yes else "✗ other" for yes in same]
            said, what = f"{score:.0%} ± {error:.0%}", f"{sum(same)} of its 7 nearest have the same {factor}"
        else:
            titles = [f"{value:.2f}" for value in values[1:]]
            apart = sum(abs(value - values[0]) for value in values[1:]) / 7
            said, what = f"R² {score:.2f} ± {error:.2f}", f"{factor} of its 7 nearest differs by {apart:.2f} on average"
        shown = pictures.html(images[near], ["this card", *titles], columns=8, zoom=3)
        return f'{named_bar(encoder, max(score, 0.0), said)}<p style="{NOTE}">{escape(what)}</p>{shown}'

    def render(encoder: str, other: str, factor: str, picture: int) -> str:
        number = card.factors.index(factor)
        chance = float(card.chance[number])
        guess = f"{chance:.0%}" if card.kinds[number] == "accuracy" else "R² 0"
        note = f"How well a linear probe finds: {factor} (guessing: {guess}). This card: “{captions[picture]}”."
        lines = [line(name, factor, picture) for name in dict.fromkeys((encoder, other))]
        return f'<p style="{NOTE}">{escape(note)}</p><div aria-live="polite">{"".join(lines)}</div>'

    return Explorer(
        render,
        encoder=menu(features, "encoder", encoder),
        other=menu(features, "against", other),
        factor=menu(card.factors, "factor"),
        picture=widgets.IntSlider(0, min=0, max=len(images) - 1, description="card", **SLIDER),
    )
