"""Live widgets for the lectures: move a slider, the result is rewritten at once.

All of them behave alike: the same settings give the same result, a Reset button brings the first ones back, several
quick changes are answered once (the last value wins), the keyboard works (Tab to a control, then the arrow keys), of a
text only so much is read as can be answered at once, and an error is a sentence in the place of the result. Where there
are no widgets (nbconvert, a terminal, another viewer) each is its settings and its result, as HTML and as plain text.
"""

import asyncio
import itertools
import math
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from html import escape, unescape
from typing import Any

import ipywidgets as widgets
import torch

from course_utils.show.moving import NOTE, Moving
from course_utils.show.parts import BOX, INK, SLIDER, TEXT, WIDE, bar, menu, named_bar, temperature_slider

PAUSE_S = 0.03  # settings must stand still for so long before a slow result is computed; a fast one does not wait
PATIENCE_S = 0.1  # but a slider that is dragged on and on is answered this often
PIECE = 60  # characters or words that are written at a time …
PIECE_S = 0.06  # … and shown when so many seconds have passed
TEXT_LIMIT = 2000  # characters of a text field that are read


class Explorer(Moving):
    """Controls on top, the result of `render(**settings)` below.

    Args:
        render: called with the controls' values by name. Returns HTML, or yields it: each piece takes the place of the
            one before, so that what is slow can be seen growing. An exception becomes a sentence in its place.
        beside: a widget on the left of the result.
        controls: widgets with a `.value`, by the name of `render`'s argument. Of a text longer than TEXT_LIMIT the
            beginning is read; of one called `prompt`, which is to be gone on with, the end.
    """

    def __init__(
        self,
        render: Callable[..., str | Iterable[str]],
        *,
        beside: widgets.Widget | None = None,
        **controls: widgets.ValueWidget,
    ):
        self._render, self._controls = render, controls
        self._first = {name: control.value for name, control in self._controls.items()}
        self._waiting: asyncio.TimerHandle | None = None
        self._asked: float | None = None  # when the oldest change came that has no answer yet
        self._slow = PAUSE_S  # seconds that the last answer took
        self.result = widgets.HTML(layout=widgets.Layout(width="100%"))
        self.result.add_class("course-result")
        self.reset = widgets.Button(description="Reset", tooltip="Back to the first settings", icon="undo")
        self.reset.on_click(lambda _: self.set(**self._first))
        for control in self._controls.values():
            control.observe(self._changed, names="value")
            if getattr(control, "continuous_update", False) and isinstance(control.value, str):
                control.add_class("course-while-typing")
        self.refresh()
        wrapped = widgets.Layout(flex_flow="row wrap", grid_gap="0 1.5em")
        row = widgets.HBox([*self._controls.values(), self.reset], layout=wrapped)
        below = self.result if beside is None else widgets.HBox([beside, self.result])
        super().__init__([widgets.HTML(_STYLE, layout=widgets.Layout(display="none")), row, below])
        self.add_class("course-explorer")

    @property
    def settings(self) -> dict[str, Any]:
        """The controls' values by name; of long texts, what is read of them."""
        return {name: _read(name, control.value) for name, control in self._controls.items()}

    def set(self, **settings) -> None:
        """Give controls new values from code; the result follows."""
        for name, value in settings.items():
            self._controls[name].value = value

    @property
    def text(self) -> str:
        """The result as plain text; marked words are in [brackets]."""
        html = re.sub(
            r"<mark[^>]*>(.*?)</mark>", r"[\1]", self.result.value.replace("</figcaption>", " · ").replace("</p>", "\n")
        )
        return unescape(re.sub(r"<[^>]*>", "", html)).strip()

    def refresh(self) -> None:
        """Compute the result of the present settings to its end, now."""
        self._stop()
        started = time.monotonic()
        for html in self._results():
            self.result.value = html
        self._slow = time.monotonic() - started

    def _results(self) -> Iterator[str]:
        settings, notes = self.settings, ""
        for name, control in self._controls.items():
            if isinstance(control.value, str) and len(control.value) > TEXT_LIMIT:
                part = "last" if name == "prompt" else "first"
                said = f"{name} is {len(control.value):,} characters long: its {part} {TEXT_LIMIT:,} are read"
                notes += f'<p style="{NOTE}">{said}</p>'
        try:
            result = self._render(**settings)
            for html in [result] if isinstance(result, str) else result:
                yield notes + html
        except Exception as error:  # whatever it is, a room full of students gets a sentence
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}".strip(": ")
            sentence = f"No result for {_said(settings)}: {said}"
            yield f'{notes}<p role="alert" style="{BOX}">{escape(sentence)}</p>'

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _changed(self, _) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no event loop (a script, a test): at once
            self.refresh()
        else:
            self._stop()
            now = time.monotonic()
            self._asked = now if self._asked is None else self._asked
            pause = max(0.0, min(PAUSE_S, self._slow, self._asked + PATIENCE_S - now))
            self._waiting = loop.call_later(pause, self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked, started = None, time.monotonic()
        self._write(self._results(), loop)
        self._slow = time.monotonic() - started

    def _write(self, results: Iterator[str], loop: asyncio.AbstractEventLoop) -> None:
        """Show the next piece of a result and let the loop listen before the one after it: a change stops the rest."""
        html = next(results, None)
        if html is None:
            self._waiting = None
        else:
            self.result.value = html
            self._waiting = loop.call_later(0, self._write, results, loop)

    @property
    def still(self) -> str:
        """Settings and result as HTML that needs no widgets."""
        said = []
        for name, control in self._controls.items():
            value = _short(_read(name, control.value))
            said.append(f"{escape(control.description or name)}: <b>{escape(str(value))}</b>")
        return f'<div class="course-still"><p style="{NOTE}">{" · ".join(said)}</p>{self.result.value}</div>'

    @property
    def plain(self) -> str:
        """Settings and result as plain text."""
        return f"{_said(self.settings)}\n\n{self.text}"


def chain_explorer(
    models: Mapping[int, Any],
    *,
    length: int = 400,
    order: int | None = None,
    known_words: Collection[str] = (),
    captions: Mapping[int, str] | None = None,
) -> Explorer:
    """Text of a Markov chain, rewritten as order and temperature move.

    Args:
        models: fitted chains by order; each needs `.sample(length, temperature=, prompt=, generator=)`.
        length: characters (or words) to write.
        order: the first to be shown; None takes the middle one.
        known_words: if given, whole words of the text that are not among them are underlined and counted.
        captions: a line under the sliders by order, e.g. that chain's bits per character.
    """
    if not models:
        raise ValueError("chain_explorer needs at least one fitted chain, e.g. {2: NGramModel(2).fit(text)}")
    orders = sorted(models)
    order = orders[len(orders) // 2] if order is None else order
    if order not in models:
        raise ValueError(f"order {order} is not among the fitted chains {orders}")
    known = frozenset(known_words)

    def render(order: int, temperature: float, sample: int) -> Iterator[str]:
        chain, generator = models[order], torch.Generator().manual_seed(sample)
        text, shown = None, time.monotonic()
        while text is None or len(text) < length:  # piece by piece, each going on where the last one ended
            piece = min(length - len(text or ()), PIECE)
            more = chain.sample(piece, temperature=temperature, prompt=text, generator=generator)[0]
            text = more if text is None else text + more
            if len(text) >= length or time.monotonic() - shown > PIECE_S:
                yield html(order, text)
                shown = time.monotonic()

    def html(order: int, text: str | list[str]) -> str:
        words = (text if isinstance(text, str) else " ".join(text)).strip().split(" ")
        whole = [word for word in words[1:-1] if word]  # the first and the last may be cut off
        unknown = {word for word in whole if word not in known} if known else set()
        notes = [captions[order]] if captions and order in captions else []
        if known:
            count = sum(word in unknown for word in whole)
            notes.append(f"{count} of {len(whole)} words are not in the corpus (underlined)")
        body = " ".join(_underlined(word) if word in unknown else escape(word) for word in words)
        return f'<p style="{NOTE}">{escape(" · ".join(notes))}</p><div aria-live="polite" style="{TEXT}">{body}</div>'

    return Explorer(
        render,
        order=widgets.SelectionSlider(options=orders, value=order, description="order k", **SLIDER),
        temperature=temperature_slider(1.0, least=0.1),
        sample=widgets.IntSlider(1, min=1, max=20, description="sample", **SLIDER),
    )


SHADE = 0.5  # of the strongest colour behind text, so that the text can be read
_BLUE, _ORANGE = "var(--course-blue, 0, 114, 178)", "var(--course-orange, 213, 94, 0)"  # lighter on a dark ground
_STYLE = """<style>
[data-jp-theme-light=false] .course-explorer { --course-blue: 86, 180, 233; --course-orange: 255, 140, 40; }
.course-explorer { --jp-widgets-font-size: var(--jp-content-font-size1); }
.course-explorer .widget-html-content { font-size: var(--jp-content-font-size1); }
.course-explorer .course-still-only { display: none; }
.course-explorer .widget-readout { min-width: max-content; }
.course-explorer :is(.noUi-handle, button, input, select, textarea):focus-visible {
  outline: 3px solid #D55E00 !important; outline-offset: -2px; }
.course-explorer.jupyter-widgets-disconnected::before {
  content: "The kernel was restarted: run this cell again, then the controls answer."; color: inherit;
  font-family: var(--jp-ui-font-family); font-size: var(--jp-content-font-size1); padding: 10px 14px;
  border-left: 4px solid #D55E00; }
.course-explorer.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before { content: none; }
</style>"""


def _underlined(word: str) -> str:
    return f'<u style="text-decoration: underline wavy #D55E00; text-underline-offset: 3px">{escape(word)}</u>'


def _read(name: str, value: Any) -> Any:
    """What is read of a control's value."""
    if isinstance(value, str):
        part = value[-TEXT_LIMIT:] if name == "prompt" else value[:TEXT_LIMIT]
        return re.sub("[\ud800-\udfff]", "�", part)  # halves of a character, which no tokenizer takes
    return value


def _short(value: Any) -> Any:
    """A value as it is named in a sentence."""
    if isinstance(value, float):
        return round(value, 3)
    return f"{value[:59]}…" if isinstance(value, str) and len(value) > 60 else value


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in settings.items())


# --- numbers over a text ----------------------------------------------------------------------------------------------


def shaded(text: str, values, *, least: float | None = None, most: float | None = None) -> str:
    """Return HTML of a text whose characters are shaded by their numbers (T,): blue below zero, orange above.

    least, most: the numbers of the full colours; None: the furthest from zero that there is.
    """
    values = [float(value) for value in values]
    if len(values) != len(text):
        raise ValueError(f"one number for each character: {len(text)} characters, {len(values)} numbers")
    furthest = max((abs(value) for value in values), default=0.0) or 1.0
    low, high = (-furthest if least is None else least), (furthest if most is None else most)
    found = []
    for character, value in zip(text, values):
        share = min(1.0, max(0.0, value / high if value > 0 and high else value / low if low else 0.0))
        rgb = _ORANGE if value > 0 else _BLUE
        shown = escape(character) if character != "\n" else "↵\n"
        found.append(f'<span style="background: rgba({rgb}, {SHADE * share:.2f})">{shown}</span>')
    return "".join(found)


def unit_explorer(
    texts: Mapping[str, str], states: Mapping[str, Any], *, unit: int = 0, captions: Mapping[int, str] | None = None
) -> Explorer:
    """What one unit of a network does over a text: each character is shaded by the state after it.

    Args:
        texts: by name.
        states: a tensor (characters, units) for each of the texts, values from -1 to 1.
        unit: the first to be shown.
        captions: a line above the text by unit.
    """
    if texts.keys() != states.keys() or not texts:
        raise ValueError(f"each text needs its states, got texts {list(texts)} and states {list(states)}")
    units = next(iter(states.values())).shape[1]

    def render(text: str, unit: int) -> str:
        values = states[text][:, unit]
        note = (captions or {}).get(unit, "")
        range_ = f"unit {unit}: from {float(values.min()):.2f} (blue) to {float(values.max()):.2f} (orange)"
        note = " · ".join(filter(None, (range_, note)))
        return (
            f'<p style="{NOTE}">{escape(note)}</p>'
            f'<div aria-live="polite" style="{TEXT}">{shaded(texts[text], values, least=-1, most=1)}</div>'
        )

    return Explorer(
        render,
        text=menu(texts, "text"),
        unit=widgets.IntSlider(unit, min=0, max=units - 1, description="unit", **SLIDER),
    )


def writer(
    write: Callable[..., Iterable[str]],
    *,
    choices: Collection[str] = (),
    prompt: str = "",
    temperature: float = 1.0,
) -> Explorer:
    """A model that goes on with your prompt: type it, choose a temperature, press Enter or move a slider.

    Args:
        write: called as write(choice, prompt, temperature, seed); yields the continuation, longer each time.
        choices: what the menu offers; without any there is none, and `choice` is None.
        prompt, temperature: the first settings.
    """

    def render(prompt: str, temperature: float, sample: int, choice: str | None = None) -> Iterator[str]:
        for text in write(choice, prompt, temperature, sample):
            yield f'<div aria-live="polite" style="{TEXT}"><b>{escape(prompt)}</b>{escape(text)}</div>'

    controls = {
        "prompt": widgets.Text(prompt, description="prompt", continuous_update=False, **WIDE),
        "temperature": temperature_slider(temperature),
        "sample": widgets.IntSlider(1, min=1, max=20, description="sample", **SLIDER),
    }
    if choices:
        controls = {"choice": menu(choices, "model"), **controls}
    return Explorer(render, **controls)


def fill_in(model, tokenizer, text: str) -> Explorer:
    """Type a text with one or more [MASK]; below it stand the eight tokens that a BERT thinks likeliest for each.

    Args:
        model, tokenizer: what `pretrained.load` returns for a BERT.
        text: the first text.
    """
    device = next(model.parameters()).device

    def render(text: str) -> str:
        # A piece has its space in front: without this, the space would be read, and the rest of the word be guessed.
        codes, mask = tokenizer.encode_batch([text.replace(" [MASK]", "[MASK]")])
        places = (codes[0] == tokenizer.mask).nonzero()[:, 0]
        if not len(places):
            raise ValueError("write [MASK] in the place of the words that are to be guessed")
        with torch.no_grad():
            p = model(codes.to(device), mask.to(device))[0, places.to(device)].softmax(-1).cpu()  # (masks, V)
        lines = []
        for number, row in enumerate(p, start=1):
            best = row.topk(8)
            likely = zip(best.indices.tolist(), best.values.tolist())
            guesses = ", ".join(f"{tokenizer.decode([code]).replace(' ', '␣')!r} {share:.0%}" for code, share in likely)
            lines.append(f'<p style="{TEXT}">[MASK] {number}: {escape(guesses, quote=False)}</p>')
        return f'<div aria-live="polite">{"".join(lines)}</div>'

    return Explorer(render, text=widgets.Text(text, description="text", continuous_update=False, **WIDE))


def attention_explorer(tokens: Collection[str], maps, *, layer: int = 0, head: int = 0) -> Explorer:
    """Who looks at whom: one head of one layer as a table; the row of one token as shades over the text.

    Args:
        tokens: the T pieces of text.
        maps: attention weights (layers, heads, T, T), each row sums to 1.
        layer, head: the first to be shown.
    """
    tokens = [token if token.strip() else token.replace("\n", "↵").replace(" ", "␣") or "␣" for token in tokens]
    T = len(tokens)
    if tuple(maps.shape[2:]) != (T, T):
        raise ValueError(f"maps must have the shape (layers, heads, {T}, {T}), got {tuple(maps.shape)}")
    layers, heads = maps.shape[:2]

    def render(layer: int, head: int, token: int) -> str:
        weights = maps[layer, head]  # (T, T)
        row = weights[token]
        best = sorted(range(T), key=lambda i: -float(row[i]))[:3]
        said = ", ".join(f"“{tokens[i].strip()}” {float(row[i]):.0%}" for i in best if row[i] > 0)
        shades = []
        for i, piece in enumerate(tokens):
            frame = "outline: 2px solid #D55E00; outline-offset: -1px;" if i == token else ""
            shades.append(
                f'<span style="background: rgba({_BLUE}, {SHADE * float(row[i]):.2f}); {frame}">{escape(piece)}</span>'
            )
        cells = []
        for i in range(T):
            line = "".join(
                f'<td style="width: 11px; height: 11px; padding: 0; background: rgba({_BLUE}, {w:.2f})"></td>'
                for w in weights[i].tolist()
            )
            mark = "font-weight: bold; color: #D55E00" if i == token else INK
            label = f'<td style="padding: 0 6px 0 0; text-align: right; white-space: pre; font-size: 11px; {mark}">'
            cells.append(f'<tr style="line-height: 11px">{label}{escape(tokens[i])}</td>{line}</tr>')
        note = f"layer {layer}, head {head}: “{tokens[token].strip()}” (token {token}) looks at {said}"
        return (
            f'<p style="{NOTE}">{escape(note)}</p><div aria-live="polite" style="{TEXT}">{"".join(shades)}</div>'
            f'<table style="border-collapse: collapse; margin: 8px 0" aria-hidden="true">{"".join(cells)}</table>'
        )

    return Explorer(
        render,
        layer=widgets.IntSlider(layer, min=0, max=layers - 1, description="layer", **SLIDER),
        head=widgets.IntSlider(head, min=0, max=heads - 1, description="head", **SLIDER),
        token=widgets.IntSlider(T - 1, min=0, max=T - 1, description="token", **SLIDER),
    )


# --- texts beside each other ------------------------------------------------------------------------------------------


class SideBySide:
    """Texts in columns, some of their words marked: with a ground, a line below and, in plain text, [brackets].

    Args:
        columns: for each title the words, and for each word whether it is marked.
        note: a line above.
    """

    def __init__(self, columns: Mapping[str, tuple[Iterable[str], Iterable[bool]]], note: str = ""):
        self.columns = {title: list(zip(words, marks)) for title, (words, marks) in columns.items()}
        self.note = note

    @property
    def html(self) -> str:
        columns = "".join(
            f'<div style="flex: 1 1 18em"><p style="margin: 0"><b style="{INK}">{escape(title)}</b></p>'
            f'<div style="{TEXT}; white-space: normal">{_marked(words)}<p></p></div></div>'
            for title, words in self.columns.items()
        )
        row = f'<div aria-live="polite" style="display: flex; flex-wrap: wrap; gap: 1em">{columns}</div>'
        return (f'<p style="{NOTE}">{escape(self.note)}</p>' if self.note else "") + row

    @property
    def text(self) -> str:
        parts = [self.note] if self.note else []
        for title, words in self.columns.items():
            runs = [f"[{' '.join(run)}]" if marked else " ".join(run) for marked, run in _runs(words)]
            parts.append(f"{title}:\n  {' '.join(runs)}")
        return "\n".join(parts)

    def _repr_mimebundle_(self, **kwargs) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def _runs(words: Iterable[tuple[str, bool]]) -> Iterator[tuple[bool, list[str]]]:
    """Neighbours that are all marked, or all not, together."""
    for marked, run in itertools.groupby(words, key=lambda word: word[1]):
        yield marked, [word for word, _ in run]


def _marked(words: Iterable[tuple[str, bool]]) -> str:
    style = "background: #CDE7F7; color: #111; border-bottom: 2px solid #0072B2; padding: 0 2px"
    found = []
    for marked, run in _runs(words):
        said = escape(" ".join(run))
        found.append(f'<mark style="{style}">{said}</mark>' if marked else said)
    return " ".join(found)


def recital_explorer(
    passages: Mapping[str, list[str]],
    recite: Callable[[str, list[str], int], list[str] | Iterable[list[str]]],
    compare: Callable[[list[str], list[str]], tuple[list[bool], list[bool]]],
    *,
    models: Collection[str],
    prompt: int = 20,
    length: int = 30,
) -> Explorer:
    """Give a model the first words of a passage: what it writes stands beside how the passage goes on.

    Args:
        passages: the words of each, by a name for the menu; each longer than `length`.
        recite: called as recite(model, words, length), returns that many words to follow them, or yields them, more
            each time.
        compare: called as compare(written, truth), returns which words of each are to be marked.
        models: what the menu offers.
        prompt: how many words are given at first.
        length: how many words are compared.
    """
    shortest = min(map(len, passages.values())) - length
    if shortest < 1:
        raise ValueError(f"each passage needs more than {length} words, the shortest has {shortest + length}")

    def render(passage: str, model: str, prompt: int) -> Iterator[str]:
        words = passages[passage]
        truth = words[prompt : prompt + length]
        given = f"given: {' '.join(words[:prompt])}"
        for written in _pieces(recite(model, words[:prompt], length)):
            marks = compare(written, truth)
            columns = {f"{model} writes": (written, marks[0]), "the passage goes on": (truth, marks[1])}
            yield SideBySide(columns, note=f"{sum(marks[0])} of {length} words in common · {given}").html

    return Explorer(
        render,
        passage=menu(passages, "passage"),
        model=menu(models, "model", list(models)[-1]),
        prompt=widgets.IntSlider(
            min(prompt, shortest), min=1, max=min(40, shortest), description="words given", **SLIDER
        ),
    )


def _pieces(text: str | list | Iterable) -> Iterator:
    """A text or a list of words at once, or whatever comes piece by piece."""
    return iter([text] if isinstance(text, str | list) else text)


# --- what may come next -----------------------------------------------------------------------------------------------


class NextExplorer(Explorer):
    """Bars of what may follow a text, each beside a button that goes on with it.

    Args:
        likely: called with the controls' values by name; returns the pieces that may follow, each with its bar as HTML,
            and a line that is said below them.
        most: how many pieces there are at most.
        controls: as Explorer's; one of them is the text, called `prompt`.
    """

    def __init__(
        self,
        likely: Callable[..., tuple[list[tuple[str, str]], str]],
        *,
        most: int,
        **controls: widgets.ValueWidget,
    ):
        self._likely, self._next = likely, []
        size = widgets.Layout(width="9em", height="28px", margin="1px 0")
        self.go_on = [widgets.Button(tooltip="Go on with this", layout=size) for _ in range(most)]
        for number, button in enumerate(self.go_on):
            button.on_click(lambda _, number=number: self._press(number))
        beside = widgets.VBox(self.go_on, layout=widgets.Layout(flex="0 0 auto", margin="2px 0 0 0"))
        super().__init__(self._rows, beside=beside, **controls)

    def _press(self, number: int) -> None:
        if number < len(self._next):
            self._controls["prompt"].value += self._next[number]

    def _rows(self, **settings) -> str:
        self._next = []
        try:
            rows, note = self._likely(**settings)
            self._next = [piece for piece, _ in rows]
        finally:
            for button, piece in itertools.zip_longest(self.go_on, self._next):
                button.disabled = piece is None
                button.description = "" if piece is None else _visible(piece)
        row = f"margin: 0; height: 30px; display: flex; align-items: center; gap: 1em; {INK}"
        bars = "".join(
            f'<p style="{row}"><code class="course-still-only" style="flex: 0 0 9em">{escape(_visible(piece))} </code>'
            f"{bar}</p>"
            for piece, bar in rows
        )
        return f'{bars}<p aria-live="polite" style="{NOTE}">{escape(note)}</p>'


def _visible(piece: str) -> str:
    """A piece of text with signs in the place of its spaces and ends of lines."""
    return piece.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


def next_letter_explorer(models: Mapping[int, Any], *, prompt: str, order: int, most: int = 10) -> NextExplorer:
    """What a Markov chain expects next, as you type: bars with the counts behind them, likeliest first.

    Args:
        models: fitted chains of characters by order. Letters are made small; what a chain does not know is read as a
            space.
        prompt, order: the first settings.
        most: how many letters are shown.
    """

    def likely(prompt: str, order: int) -> tuple[list[tuple[str, str]], str]:
        chain = models[order]
        symbols = chain.alphabet.symbols
        known = "".join(letter if letter in symbols else " " for letter in prompt.lower())
        context = re.sub(" +", " ", known)[-order:] if order else ""
        p, counts = chain.distribution(context), chain.counts_after(context)
        rows = []
        for code in p.topk(min(most, len(p))).indices.tolist():
            rows.append((symbols[code], bar(float(p[code]), f"{p[code]:6.1%} ({int(counts[code]):,} times)")))
        seen = f"It has seen “{_visible(context)}” {int(counts.sum()):,} times" if context else "It looks at no letter"
        rest = float(1 - p.topk(min(most, len(p))).values.sum())
        return rows, f"{seen}; the other letters have {max(rest, 0):.1%} together."

    return NextExplorer(
        likely,
        prompt=widgets.Text(prompt, description="type here", continuous_update=True, **WIDE),
        order=widgets.SelectionSlider(options=sorted(models), value=order, description="order k", **SLIDER),
        most=most,
    )


def next_token_explorer(
    model, tokenizer, probabilities: Callable[..., Any], *, prompt: str, begin: int | None = None, most: int = 12
) -> NextExplorer:
    """The likeliest next tokens after a prompt as bars, before and after temperature, top-k and top-p.

    Args:
        model, tokenizer: a GPT and its tokenizer, as `pretrained.load` returns them.
        probabilities: called as probabilities(logits (1, V), temperature, top_k, top_p), returns (1, V).
        prompt: the first text.
        begin: a token that the model reads before each prompt, if its texts began with one.
        most: how many tokens are shown.
    """
    device = next(model.parameters()).device
    before = torch.tensor([] if begin is None else [begin], dtype=torch.long)

    def likely(prompt: str, temperature: float, top_k: int, top_p: float) -> tuple[list[tuple[str, str]], str]:
        codes = tokenizer.encode(prompt)
        if not len(codes):
            raise ValueError("the prompt is empty: write at least one letter")
        codes = torch.cat([before, codes])[-model.config.context :]
        with torch.no_grad():
            logits = model(codes.to(device)[None])[:, -1].float().cpu()  # (1, V)
        learned = logits.softmax(-1)[0]
        p = probabilities(logits, temperature, top_k, top_p)[0]
        best = learned.topk(most).indices
        rows = [
            (
                tokenizer.decode([code]),
                bar(float(p[code]), f"{p[code]:6.1%} (learned {learned[code]:.1%})", learned[code]),
            )
            for code in best.tolist()
        ]
        left, rest = int((p > 0).sum()), float(p.sum() - p[best].sum())
        return rows, f"{left} of {len(p)} tokens can be drawn; those not shown have {rest:.1%} together"

    V = model.config.vocab_size
    return NextExplorer(
        likely,
        prompt=widgets.Text(prompt, description="prompt", continuous_update=True, **WIDE),
        temperature=temperature_slider(1.0, most=3.0),
        top_k=widgets.IntSlider(V, min=1, max=V, description="top-k", **SLIDER),
        top_p=widgets.FloatSlider(1.0, min=0.01, max=1.0, step=0.01, description="top-p", **SLIDER),
        most=most,
    )


# --- other bars -------------------------------------------------------------------------------------------------------


def canary_explorer(
    secrets: Mapping[str, int],
    planted: Mapping[str, int],
    score: Callable[[str, str], torch.Tensor],
    exposure: Callable[[torch.Tensor, int], float],
    *,
    models: Collection[str],
    most: int = 6,
) -> Explorer:
    """How far a model gives a planted secret away, by how often it was planted: its rank among all that it might be.

    Args:
        secrets: by person the secret, a number.
        planted: by person how often it stood in the training text; as many people for each count.
        score: called as score(model, person), returns ln P of all numbers, (N,); asked once for each.
        exposure: called with these and the secret, returns bits.
        models: what the menu offers.
        most: how many of the likeliest numbers are shown.
    """
    people = {times: [who for who in planted if planted[who] == times] for times in sorted(set(planted.values()))}
    known: dict[tuple[str, str], torch.Tensor] = {}

    def render(times: int, person: int, model: str) -> str:
        who = people[times][person - 1]
        if (model, who) not in known:
            known[model, who] = score(model, who).cpu()
        log_p, secret = known[model, who], secrets[who]
        N, p = len(log_p), log_p.softmax(0)
        bits = exposure(log_p, secret)
        rank = 1 + int((log_p > log_p[secret]).sum())
        width = len(str(N - 1))
        shown = log_p.topk(most).indices.tolist()
        if secret not in shown:
            shown.append(secret)
        rows = []
        for number in shown:
            name = f"{number:0{width}}" + (" ◀ the secret" if number == secret else "")
            rows.append(named_bar(name, float(p[number] / p.max()), f"{float(p[number]):.2%}", strong=number == secret))
        most_bits = math.log2(N)
        said = f"{who}, planted {times} times: rank {rank:,} of {N:,}, exposure {bits:.1f} of {most_bits:.1f} bits"
        return (
            f'<p aria-live="polite" style="{TEXT}">{escape(said)}</p>'
            f"{named_bar('exposure', bits / most_bits, f'{bits:.1f} bits')}"
            f'<p style="{NOTE}">The likeliest numbers, and the secret:</p>{"".join(rows)}'
        )

    return Explorer(
        render,
        times=widgets.SelectionSlider(options=list(people), value=max(people), description="times planted", **SLIDER),
        person=widgets.IntSlider(1, min=1, max=min(map(len, people.values())), description="person", **SLIDER),
        model=menu(models, "model"),
    )


def bound_explorer(bound: Callable[[float, int], float]) -> Explorer:
    """What InfoNCE shows of the information that two views share, and the ceiling that the number of negatives sets.

    Args:
        bound: called as bound(nats, K), returns what K negatives show of them.
    """
    most = 12.0  # nats

    def render(nats: float, negatives: int) -> str:
        K = 2**negatives - 1
        ceiling = math.log(K + 1)
        bars = {"shared": nats, "shown by InfoNCE": bound(nats, K), "ceiling ln(K + 1)": ceiling}
        rows = [named_bar(name, max(value, 0) / most, f"{value:.2f} nats") for name, value in bars.items()]
        said = (
            "the ceiling decides what you see, and only more negatives raise it"
            if nats > ceiling
            else "the ceiling is above what they share; the bound comes near it, nearer with more negatives"
        )
        wanted = f"A ceiling of {nats:.1f} nats takes {math.expm1(nats):,.0f} negatives or more."
        return f'{"".join(rows)}<p aria-live="polite" style="{TEXT}">K = {K} negatives: {said}. {wanted}</p>'

    return Explorer(
        render,
        nats=widgets.FloatSlider(
            5.0, min=0.5, max=most, step=0.5, readout_format=".1f", description="nats shared", **SLIDER
        ),
        negatives=widgets.IntSlider(4, min=1, max=10, description="log₂(K + 1)", **SLIDER),
    )
