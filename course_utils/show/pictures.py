"""Pictures: a grid of them as one figure, or as HTML for a widget.

    pictures.grid(cards.images[:16], titles=cards.captions[:16])
    pictures.html(cards.images[:8])                       # <img …> for a widget's render()

Pictures are tensors (3, H, W) or (1, H, W) with values in [0, 1]; what lies outside is cut.
"""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from course_utils.show import plots


def grid(
    images: Tensor | Sequence[Tensor], titles: Sequence | None = None, columns: int = 8, title: str | None = None
) -> None:
    """Show pictures row by row, `columns` in a row, each with its own title if `titles` are given.

    Its text form is the titles, or the number of pictures.

    Args:
        images: (N, 3, H, W) or (N, 1, H, W), or a list of (3, H, W) of any sizes.

    Raises:
        ValueError: if the shape is another, or there is no picture.
    """
    images, titles = check(images, titles)
    columns = min(check_columns(columns), len(images))
    rows = -(-len(images) // columns)
    side = min(1.6, 10.5 / columns)
    figure = Figure(
        figsize=(side * columns + 0.1, (side + (0.28 if titles else 0)) * rows + (0.45 if title else 0.1)),
        dpi=plots.DPI, layout="constrained", facecolor="white",
    )  # fmt: skip
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(images):
            axes.imshow(images[i].permute(1, 2, 0).expand(-1, -1, 3).numpy(), interpolation="nearest")
            if titles:
                axes.set_title(titles[i], fontsize=max(6.0, min(11.0, 8 * side)), color=plots.INK, pad=3, wrap=True)
    if title:
        figure.suptitle(title, fontsize=14, color=plots.INK, x=0.01, ha="left")
    said = [f"{i + 1}: {name}" for i, name in enumerate(titles)] if titles else [f"{len(images)} pictures"]
    plots.show(figure, text="\n".join(filter(None, [title, *said])))


def html(images: Tensor | Sequence[Tensor], titles: Sequence | None = None, columns: int = 8, zoom: int = 3) -> str:
    """Return pictures as HTML, each pixel `zoom` screen pixels wide, `columns` in a row, titles below.

    Made for `render()` of a widget: nothing is shown here.

    Raises:
        ValueError: as `grid` does, and if `zoom` is below 1.
    """
    images, titles = check(images, titles)
    if zoom < 1:
        raise ValueError(f"zoom must be ≥ 1, got {zoom}")
    cells, drawn = [], "image-rendering: pixelated; display: block; max-width: 100%; height: auto"
    for i, image in enumerate(images):
        name = titles[i] if titles else f"picture {i + 1}"
        H, W = image.shape[1:]
        said = f'<figcaption style="font-size: 12px; max-width: {max(W * zoom, 60)}px">{escape(name)}</figcaption>'
        cells.append(
            f'<figure style="margin: 0"><img alt="{escape(name)}" width="{W * zoom}" height="{H * zoom}" '
            f'style="{drawn}" src="{data_url(image)}">'
            f"{said if titles else ''}</figure>"
        )
    columns = min(check_columns(columns), len(cells))
    tracks = f"repeat({columns}, minmax(0, max-content))"  # where there is no room, the pictures become smaller
    style = f"display: grid; grid-template-columns: {tracks}; gap: 4px; padding: 4px 0"
    return f'<div style="{style}">{"".join(cells)}</div>'


def data_url(image: Tensor) -> str:
    """Return a picture (3, H, W) as a PNG in a data: address."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).contiguous()
    buffer = BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def check(images: Tensor | Sequence[Tensor], titles: Sequence | None) -> tuple[list[Tensor], list[str] | None]:
    """Return the pictures on the CPU, cut to [0, 1], and the titles as text."""
    if isinstance(images, Tensor) and images.ndim == 3:
        images = images[None]
    images = [image.detach().float().cpu().clamp(0, 1) for image in images]
    if not images:
        raise ValueError("there is no picture to show")
    for image in images:
        if image.ndim != 3 or image.shape[0] not in (1, 3):
            raise ValueError(f"a picture must be (3, H, W) or (1, H, W), got {tuple(image.shape)}")
    if titles is not None:
        titles = [f"{name:.2f}" if isinstance(name, float) else str(name) for name in titles]
        if len(titles) != len(images):
            raise ValueError(f"one title for each picture: {len(images)} pictures, {len(titles)} titles")
    return images, titles


def check_columns(columns: int) -> int:
    if columns < 1:
        raise ValueError(f"columns must be ≥ 1, got {columns}")
    return columns
