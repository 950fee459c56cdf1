"""Tales with the judge's marks in them: facts kept ✓, facts broken ✗, sentences that are none in grey.

    tale_widgets.Judged({"gpt": text}, mark)              # beside each other, in a notebook
    tale_widgets.tellers(tell, mark, models=models, prompt="…")    # live

`mark` is the judge: called with a text, it returns (start, end, kind) of what it judged, in order; the kinds are KEPT,
BROKEN and ODD, as `tales.marks` gives them.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from html import escape

import ipywidgets as widgets

from course_utils.show.parts import INK, SLIDER, TEXT, WIDE, temperature_slider
from course_utils.show.widgets import Explorer

KEPT, BROKEN, ODD = "kept", "broken", "odd"
Marks = Iterable[tuple[int, int, str]]
_STYLE = {
    KEPT: "border-bottom: 2px solid #009E73",
    BROKEN: "border-bottom: 3px double #D55E00; background: rgba(213, 94, 0, 0.25)",
    ODD: "opacity: 0.65; font-style: italic",
}
_SIGN = {KEPT: "✓", BROKEN: "✗", ODD: "?"}  # not by colour alone


def judged(text: str, marks: Marks) -> str:
    """Return HTML of a text with its marks, each followed by its sign."""
    found, at = [], 0
    for start, end, kind in marks:
        found.append(escape(text[at:start]))
        found.append(f'<span style="{_STYLE[kind]}">{escape(text[start:end])}</span><sup>{_SIGN[kind]}</sup>')
        at = end
    return "".join(found) + escape(text[at:])


def said(marks: Marks) -> str:
    """Return the count of a text's marks as a sentence."""
    count = Counter(kind for _, _, kind in marks)
    sentences = "1 sentence" if count[ODD] == 1 else f"{count[ODD]} sentences"
    odd = f", {sentences} that the world does not have" if count[ODD] else ""
    return f"{count[KEPT]} of {count[KEPT] + count[BROKEN]} facts hold{odd}"


class Judged:
    """Tales in columns, each judged.

    Args:
        texts: by title.
        mark: the judge of this module's description.
        given: what all begin with: in bold, not judged.
    """

    def __init__(self, texts: Mapping[str, str], mark: Callable[[str], Marks], given: str = ""):
        self.columns = {title: (text, list(mark(text))) for title, text in texts.items()}
        self.given = given

    @property
    def html(self) -> str:
        start = f"<b>{escape(self.given)}</b> " if self.given else ""
        columns = "".join(
            f'<div style="flex: 1 1 18em"><p style="margin: 0"><b style="{INK}">{escape(title)}</b>: {said(marks)}</p>'
            f'<div style="{TEXT}; white-space: normal">{start}{self._body(text, marks)}</div></div>'
            for title, (text, marks) in self.columns.items()
        )
        return f'<div aria-live="polite" style="display: flex; flex-wrap: wrap; gap: 1em">{columns}</div>'

    def _body(self, text: str, marks: Marks) -> str:
        n = len(text) - len(text[len(self.given) :].lstrip())
        return judged(text[n:], [(start - n, end - n, kind) for start, end, kind in marks if start >= n])

    def _repr_mimebundle_(self, **kwargs) -> dict[str, str]:
        lines = []
        for title, (text, marks) in self.columns.items():
            signs = {end: _SIGN[kind] for _, end, kind in marks}
            lines.append(f"{title}: {said(marks)}\n  " + "".join(c + signs.get(i, "") for i, c in enumerate(text, 1)))
        return {"text/html": self.html, "text/plain": "\n".join(lines)}


def tellers(
    tell: Callable[[str, str, float, int], Iterable[str]],
    mark: Callable[[str, str], Marks],
    *,
    models: Collection[str],
    prompt: str,
) -> Explorer:
    """Several models go on with one tale, judged word by word while it grows.

    Args:
        tell: called as tell(model, prompt, temperature, seed), yields the whole tale, longer each time.
        mark: called as mark(text, prompt), returns the marks of what comes after the prompt.
        models: the names of the columns.
        prompt: the first.
    """

    def render(prompt: str, temperature: float, sample: int) -> Iterator[str]:
        streams = [tell(name, prompt, temperature, sample) for name in models]
        texts: dict[str, str] = {}
        for grown in itertools.zip_longest(*streams):  # None: this one has come to its end
            texts |= {name: text for name, text in zip(models, grown) if text is not None}
            yield Judged(texts, lambda text: mark(text, prompt), given=prompt).html

    return Explorer(
        render,
        prompt=widgets.Text(prompt, description="the tale begins", continuous_update=False, **WIDE),
        temperature=temperature_slider(1.0),
        sample=widgets.IntSlider(1, min=1, max=20, description="sample", **SLIDER),
    )
