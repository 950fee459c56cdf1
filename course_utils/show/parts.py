"""What the live widgets are made of: styles, sliders, bars."""

from collections.abc import Iterable
from html import escape
from typing import Any

import ipywidgets as widgets

SLIDER = {"style": {"description_width": "initial"}, "layout": {"width": "21em"}}
WIDE = {"style": {"description_width": "initial"}, "layout": {"width": "95%", "max_width": "46em"}}
# JupyterLab's colours and sizes (they follow its theme and its presentation mode); elsewhere those of the page around.
INK = "color: var(--jp-content-font-color1, inherit)"
ROW = f"margin: 2px 0; display: flex; align-items: center; gap: 1em; {INK}"
BOX = f"margin: 0; padding: 10px 14px; border-left: 4px solid #D55E00; line-height: 1.5; {INK}"
TEXT = (
    "font-family: var(--jp-code-font-family, monospace); font-size: calc(1.15 * var(--jp-content-font-size1, 14px));"
    f" line-height: 1.6; white-space: pre-wrap; overflow-wrap: anywhere; padding: 10px 14px;"
    f" border-left: 4px solid #0072B2; {INK}"
)


def menu(options: Iterable, description: str, value: Any = None) -> widgets.SelectionSlider:
    """One of several by the arrow keys, which JupyterLab takes away from a drop-down menu."""
    options = list(options)
    value = options[0] if value is None else value
    longest = max(len(str(option)) for option in options)  # the slider stays where it is, whatever it says beside it
    labelled = [(str(option).ljust(longest, "\N{NO-BREAK SPACE}"), option) for option in options]
    layout = {"width": f"{20 + longest / 2:.0f}em", "max_width": "100%"}
    style = {"description_width": "initial"}
    return widgets.SelectionSlider(options=labelled, value=value, description=description, style=style, layout=layout)


def temperature_slider(value: float, most: float = 2.0, least: float = 0.0) -> widgets.FloatSlider:
    return widgets.FloatSlider(
        value, min=least, max=most, step=0.1, readout_format=".1f", description="temperature", **SLIDER
    )


def bar(share: float, said: str, thin: float | None = None) -> str:
    """A bar and what it says; `thin`: a grey one below it."""
    bars = f'<span style="display: block; width: {100 * share:.1f}%; height: 0.7em; background: #0072B2"></span>'
    if thin is not None:
        bars += f'<span style="display: block; width: {100 * thin:.1f}%; height: 0.25em; background: #999"></span>'
    return f'<span style="flex: 1">{bars}</span><span style="flex: 0 0 14em">{escape(said)}</span>'


def named_bar(name: str, share: float, said: str, *, strong: bool = False) -> str:
    """A line with a name, a bar and what it says."""
    ink = "font-weight: bold; color: #D55E00" if strong else INK
    return f'<p style="{ROW}"><span style="flex: 0 0 12em; {ink}">{escape(name)} </span>{bar(share, said)}</p>'
