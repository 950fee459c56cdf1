"""Live widgets with pictures in them; they behave as those of `course_utils.show.widgets` do."""

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as widgets
from torch import Tensor

from course_utils.show import pictures
from course_utils.show.widgets import _INK, _SLIDER, Explorer


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
                f'<p style="margin: 0; display: flex; gap: 1em; {_INK}">'
                f'<span style="flex: 0 0 20em">{escape(line + note)} </span>'
                f'<span style="flex: 1">{bar}</span><span style="flex: 0 0 4em">{p:6.1%}</span></p>'
            )
        shown = pictures.html(images[picture : picture + 1], zoom=5)
        bars = f'<div aria-live="polite" style="flex: 1">{"".join(rows)}</div>'
        return f'<div style="display: flex; gap: 2em; align-items: center">{shown}{bars}</div>'

    return Explorer(
        render,
        {
            "picture": widgets.IntSlider(0, min=0, max=len(images) - 1, description="picture", **_SLIDER),
            "captions": widgets.Textarea(
                "\n".join(captions),
                description="captions",
                continuous_update=False,
                rows=max(4, len(captions) + 1),
                layout=widgets.Layout(width="95%", max_width="560px"),
            ),
        },
    )
