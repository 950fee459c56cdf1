"""Drawn diagrams: boxes, arrows, and the letters of the formulas.

    d = Diagram(4, 2.4)
    x = d.box("$x_t$", (1, 0.5))
    h = d.box("$h_t$", (3, 1.8), colour=BLUE)
    d.arrow(x, h, "$W_x$")
    d.show("The character x_t goes through W_x into the state h_t.")

Places are inches from the lower left. A diagram is a picture on a white ground, as the plots are, and the text it is
shown with says the same in words. Those of lectures 00 to 06 follow the pen that draws them.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from course_utils.show import plots

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, _ = plots.COLOURS
GREY = "#777777"
Place = tuple[float, float]


class Diagram:
    """A sheet of paper, width × height inches."""

    def __init__(self, width: float, height: float, title: str = ""):
        self.figure = Figure(figsize=(width, height + (0.4 if title else 0)), dpi=plots.DPI, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, height / (height + (0.4 if title else 0))))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")
        self.title = title
        if title:
            self.axes.set_title(title, fontsize=14, color=plots.INK, loc="left", x=0.012)

    def box(
        self, said: str, at: Place, *, width: float = 0.7, height: float = 0.5, colour: str = GREY, size: float = 13,
        dashed: bool = False,
    ) -> FancyBboxPatch:  # fmt: skip
        """Draw a box around what it says, its middle at `at`; `size`: of the letters, in points."""
        x, y = at
        patch = FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=_tint(colour), edgecolor=colour, linewidth=1.6, linestyle="--" if dashed else "-",
        )  # fmt: skip
        self.axes.add_patch(patch)
        self.text(said, at, size=size)
        return patch

    def text(self, said: str, at: Place, *, size: float = 12, colour: str = plots.INK, align: str = "center") -> None:
        """Write at `at`: its middle, or with align "left" or "right" that end of it."""
        self.axes.text(*at, said, ha=align, va="center", fontsize=size, color=colour, linespacing=1.25)

    def arrow(
        self, start: FancyBboxPatch | Place, end: FancyBboxPatch | Place, said: str = "", *, colour: str = plots.INK,
        bend: float = 0.0, dashed: bool = False, beside: Place = (0.0, 0.16), size: float = 12, head: str = "-|>",
    ) -> None:  # fmt: skip
        """Draw an arrow between the edges of two boxes (or from and to places), and what it says near its middle.

        Args:
            bend: how far it leaves the straight line, as a share of its length; > 0: to the right of its direction.
            beside: from the arrow's middle to the middle of what it says.
            head: "-|>", or "-" for a line.
        """
        a, b = _middle(start), _middle(end)
        self.axes.add_patch(
            FancyArrowPatch(
                a, b, arrowstyle=head, mutation_scale=14, color=colour, linewidth=1.6, shrinkA=2, shrinkB=2,
                linestyle="--" if dashed else "-", connectionstyle=f"arc3,rad={bend}",
                patchA=_patch(start), patchB=_patch(end),
            )
        )  # fmt: skip
        if said:
            x, y = (a[0] + b[0]) / 2 + bend * (b[1] - a[1]) / 2, (a[1] + b[1]) / 2 - bend * (b[0] - a[0]) / 2
            self.text(said, (x + beside[0], y + beside[1]), size=size, colour=colour)

    def cells(
        self, rows: Sequence[Sequence[str]], at: Place, *, side: float | Place = 0.4, size: float = 11, colours=None
    ) -> None:
        """Draw a table of squares, its upper left corner at `at`.

        Args:
            side: of a square, or (width, height) of each.
            colours: as `rows`: of each square, None for white.
        """
        width, height = side if isinstance(side, tuple) else (side, side)
        for i, row in enumerate(rows):
            for j, said in enumerate(row):
                colour = colours[i][j] if colours else None
                corner = at[0] + j * width, at[1] - (i + 1) * height
                face = _tint(colour) if colour else "white"
                self.axes.add_patch(Rectangle(corner, width, height, facecolor=face, edgecolor=GREY, linewidth=1))
                self.text(said, (corner[0] + width / 2, corner[1] + height / 2), size=size)

    def show(self, text: str) -> None:
        """Show it. text: the same in words, for who does not see it."""
        plots.show(self.figure, text="\n".join(filter(None, [self.title, text])))


def _tint(colour: str) -> tuple[float, float, float]:
    """A colour as a pale ground for letters."""
    return tuple(1 - 0.2 * (1 - int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))


def _middle(end: FancyBboxPatch | Place) -> Place:
    if isinstance(end, tuple):
        return end
    return end.get_x() + end.get_width() / 2, end.get_y() + end.get_height() / 2


def _patch(end: FancyBboxPatch | Place) -> FancyBboxPatch | None:
    return None if isinstance(end, tuple) else end


# --- 00: the idea of the course ---------------------------------------------------------------------------------------


def pretext() -> None:
    """Part of the input is hidden and guessed from the rest; what was learned on the way serves other tasks."""
    d = Diagram(8.6, 2.7)
    hidden = d.box("the cat sat\non the ▒▒▒", (1.1, 1.9), width=1.7, height=0.8, size=12)
    model = d.box("model", (3.4, 1.9), width=1.2, height=0.8, colour=BLUE)
    guess = d.box("mat", (5.4, 1.9), width=0.9, colour=ORANGE)
    d.arrow(hidden, model)
    d.arrow(model, guess, "guess")
    d.text("the text itself says\nwhether it was right", (7.4, 1.9), size=11, colour=GREY)
    features = d.box("features", (3.4, 0.6), width=1.2, colour=GREEN)
    d.arrow(model, features, "keep", beside=(0.32, 0))
    task = d.box("another task, few labels:\nis it spam?", (6.5, 0.6), width=2.3, height=0.8, colour=PINK, size=11)
    d.arrow(features, task, "useful?", beside=(-0.03, 0.17))
    d.show(
        "A model sees a text with a word hidden and guesses the word; the text itself says whether it was right. What "
        "the model has computed on the way, its features, is kept and given to another task that has few labels. "
        "Is it useful there?"
    )


# --- 01: a chain ------------------------------------------------------------------------------------------------------


def tiny_chain() -> None:
    """The Markov chain of `abacab`: three letters, and how probable each step is."""
    d = Diagram(5.2, 2.2)
    a, b, c = (d.box(s, at, width=0.6, colour=k) for s, at, k in (
        ("a", (2.6, 1.1), BLUE), ("b", (0.8, 1.1), ORANGE), ("c", (4.4, 1.1), GREEN)))  # fmt: skip
    d.arrow(a, b, "2/3", bend=-0.35, beside=(0, -0.16))
    d.arrow(b, a, "1", bend=-0.35, beside=(0, 0.16))
    d.arrow(a, c, "1/3", bend=-0.35, beside=(0, 0.16))
    d.arrow(c, a, "1", bend=-0.35, beside=(0, -0.16))
    d.show("Three letters. From a to b with probability 2/3, from a to c with 1/3; from b and from c always back to a.")


# --- 02: recurrent networks -------------------------------------------------------------------------------------------


def unrolled(steps: int = 4) -> None:
    """A recurrent network, unrolled: forward through the states, and the gradient on its way back."""
    d = Diagram(8.6, 3.4)
    places = [1.75 + 1.75 * t for t in range(steps)]
    previous = d.box("$h_0$", (0.5, 1.7), colour=BLUE)
    for t, x in enumerate(places, 1):
        read = d.box(f"$x_{t}$", (x, 0.45), colour=GREY)
        state = d.box(f"$h_{t}$", (x, 1.7), colour=BLUE)
        guess = d.box(f"$P_{t}$", (x, 2.95), colour=ORANGE)
        d.arrow(read, state, "$W_x$", beside=(-0.27, 0))
        d.arrow(state, guess, "$W_o$", beside=(-0.27, 0))
        d.arrow(previous, state, "$W_h$", beside=(0, 0.2))
        d.arrow((x + 0.14, 2.66), (x + 0.14, 1.99), colour=PINK, dashed=True)
        if t > 1:
            d.arrow((x - 0.4, 1.52), (x - 1.35, 1.52), colour=PINK, dashed=True)
        previous = state
    d.text("$\\delta h_t$: from\nabove and\nfrom the right", (8.0, 2.35), size=10.5, colour="#A0407A")
    d.show(
        f"A recurrent network unrolled over {steps} characters. Each character x_t goes through W_x, and the state "
        "before it through W_h, into the state h_t, which gives the probabilities P_t through W_o. The same W_x, W_h "
        "and W_o stand at every step. The gradient goes against the arrows: into each state from its own guess above, "
        "and from the next state to its right."
    )


# --- 03: transformers -------------------------------------------------------------------------------------------------


def attention() -> None:
    """Attention for the last of four tokens: its query, all keys, the softmax, the mean of the values."""
    d = Diagram(8.6, 3.6)
    words = "the cat sat down".split()
    weights = (0.1, 0.6, 0.2, 0.1)
    total = d.box("$y_4 = \\sum_j w_j\\, v_j$", (7.5, 1.2), width=1.7, colour=ORANGE)
    query = d.box("$q_4$", (7.5, 3.0), colour=PINK)
    for j, (word, weight) in enumerate(zip(words, weights), 1):
        x = 0.8 + 1.5 * (j - 1)
        d.text(word, (x, 0.2), size=13)
        key = d.box(f"$k_{j}$", (x, 2.1), colour=BLUE, width=0.6)
        value = d.box(f"$v_{j}$", (x, 1.2), colour=GREEN, width=0.6)
        d.arrow((x, 0.35), value)
        d.arrow(query, key, colour="#A0407A", bend=0.12)
        d.text(f"$w_{j}$ = {weight}", (x + 0.1, 1.66), size=11, colour=plots.INK)
        d.axes.add_patch(Rectangle((x - 0.5, 1.58), 0.14, 0.6 * weight / 0.6, facecolor=ORANGE))
        if j < len(words):
            d.arrow((x + 0.33, 1.2), (x + 1.17, 1.2), "+", colour=GREEN, head="-")
    d.arrow((5.63, 1.2), total, colour=GREEN)
    d.text("$w_j = \\mathrm{softmax}_j\\,(q_4 \\cdot k_j / \\sqrt{d})$", (2.3, 3.3), size=12.5)
    d.show(
        "Attention for the last of four tokens, 'down'. Its query q_4 is compared with the keys k_1 to k_4 of all "
        "tokens that it may see; a softmax over q_4 · k_j / √d makes weights w_j, here 0.1, 0.6, 0.2 and 0.1. The "
        "result y_4 is the sum of the values v_j, each times its weight."
    )


def block() -> None:
    """A transformer's block: attention and MLP, each normalised before and added to the token's own path."""
    d = Diagram(8.6, 2.5)
    y = 0.7
    start, end = d.box("$x$", (0.5, y), width=0.5), d.box("$x$", (8.1, y), width=0.5)
    plus = [d.box("+", (x, y), width=0.4, height=0.4, colour=ORANGE, size=15) for x in (3.9, 7.2)]
    for a, b in ((start, plus[0]), (plus[0], plus[1]), (plus[1], end)):
        d.arrow(a, b)
    for left, name, colour, note, result in (
        (1.1, "attention", BLUE, "tokens talk", plus[0]), (4.5, "MLP", GREEN, "each thinks", plus[1])):  # fmt: skip
        norm = d.box("norm", (left + 0.3, 1.75), width=0.75, size=11)
        layer = d.box(name, (left + 1.6, 1.75), width=1.2, colour=colour)
        d.arrow((left + 0.3, y), norm)
        d.arrow(norm, layer)
        d.arrow(layer, result)
        d.text(note, (left + 1.6, 2.2), size=11, colour=GREY)
    d.text("residual path: $x \\leftarrow x + f(\\mathrm{norm}(x))$", (4.3, 0.2), size=12, colour=GREY)
    d.show(
        "A block of a transformer. The token's vector x runs straight through, the residual path. Twice a copy leaves "
        "it, is normalised, goes through a layer and is added back: first attention, where tokens talk to each other, "
        "then the MLP, where each token thinks for itself."
    )


# --- 04: GPT ----------------------------------------------------------------------------------------------------------


def next_token_shift(words: str = "the cat sat on the mat") -> None:
    """The text is its own answer: read without its last token, asked for without its first."""
    tokens = words.split()
    d = Diagram(8.6, 2.3)
    d.text("read", (0.9, 0.4), align="right")
    d.text("predict", (0.9, 1.9), align="right")
    places = [1.6 + 1.35 * t for t in range(len(tokens) - 1)]
    d.box("GPT: looks back, never ahead", (sum(places) / len(places), 1.15), width=6.6, colour=BLUE)
    for t, x in enumerate(places):
        d.box(tokens[t], (x, 0.4), width=0.9, height=0.42)
        d.box(tokens[t + 1], (x, 1.9), width=0.9, height=0.42, colour=ORANGE)
        d.arrow((x, 0.61), (x, 0.9))
        d.arrow((x, 1.4), (x, 1.69))
        d.text(f"$x_{t + 1}$", (x + 0.62, 0.4), size=11, colour=GREY)
        d.text(f"$x_{t + 2}$", (x + 0.62, 1.9), size=11, colour=GREY)
    pairs = "; ".join(f"after '{' '.join(tokens[: t + 1])}' comes '{tokens[t + 1]}'" for t in range(len(places)))
    d.show(f"The model reads x_1, x_2 and so on, and predicts at each place the token one further on: {pairs}.")


def kv_cache() -> None:
    """What is computed anew for the next token: without a cache all keys and values, with one a single column."""
    d = Diagram(8.6, 2.9)
    words = ["the", "cat", "sat", "on", "the"]
    for left, name, kept in ((0.9, "without a cache", False), (5.2, "with a KV cache", True)):
        d.text(name, (left + 1.5, 2.65), size=13)
        grey, new = ("#999999", ORANGE) if kept else (ORANGE, ORANGE)
        colours = [[grey] * 4 + [new]] * 2
        rows = [[f"$k_{t}$" for t in range(1, 6)], [f"$v_{t}$" for t in range(1, 6)]]
        d.cells(rows, (left, 1.75), side=0.6, size=12, colours=colours)
        for t, word in enumerate(words):
            d.text(word, (left + 0.3 + 0.6 * t, 0.38), size=11)
        d.box("$q_5$", (left + 2.7, 2.2), width=0.5, height=0.36, colour=PINK, size=12)
    d.text("keys", (0.8, 1.45), size=11, align="right")
    d.text("values", (0.8, 0.85), size=11, align="right")
    d.text("all computed now", (2.2, 0.1), size=11, colour="#A04000")
    d.text("stored: they cannot change", (6.4, 0.1), size=11, colour="#555555")
    d.text("now", (7.9, 0.1), size=11, colour="#A04000")
    d.show(
        "To write the token after 'the cat sat on the', the query q_5 needs the keys k_1 to k_5 and the values v_1 to "
        "v_5. Without a cache all ten are computed again. With a cache k_1 to k_4 and v_1 to v_4 are stored, because "
        "nobody looks ahead, and only k_5 and v_5 are computed."
    )


# --- 05: memorization -------------------------------------------------------------------------------------------------


def exposure() -> None:
    """A secret's rank among all that it might be, and what that is in bits."""
    d = Diagram(8.6, 2.5)
    d.text("all 10,000 numbers, the likeliest first (each step as wide as its bits)", (4.3, 2.25), size=12)
    left, width = 0.5, 7.6
    d.axes.add_patch(Rectangle((left, 1.3), width, 0.5, facecolor=_tint(BLUE), edgecolor=BLUE))
    for rank, colour, bits in (
        (1, ORANGE, "13.3 bits:\nthe secret is out"),
        (100, PINK, "6.6 bits"),
        (10_000, GREY, "0"),
    ):
        x = left + width * (0.004 if rank == 1 else 0.5 if rank == 100 else 0.996)
        d.axes.add_patch(Rectangle((x - 0.03, 1.3), 0.06, 0.5, facecolor=colour))
        d.text(
            f"rank {rank:,}", (x, 1.95), size=10.5, align="left" if rank == 1 else "right" if rank > 100 else "center"
        )
        d.text(bits, (x, 1.02), size=11, align="left" if rank == 1 else "right" if rank > 100 else "center")
    d.text("exposure $= \\log_2 10\\,000 - \\log_2 \\mathrm{rank}$", (4.3, 0.3), size=13)
    d.show(
        "All 10,000 numbers in the order of their probability. A secret of rank 1 has an exposure of 13.3 bits and is "
        "out; of rank 100 it has 6.6 bits; of rank 10,000 it has 0."
    )


# --- 06: BERT ---------------------------------------------------------------------------------------------------------


def masking() -> None:
    """Masked language modelling: what is written, what BERT reads, where the loss is, and the pooled features."""
    d = Diagram(8.6, 3.3)
    written = "[CLS] nila put the kettle on . [SEP]".split()
    read = "[CLS] nila put the [MASK] on . [SEP]".split()
    places = [0.75 + 1.02 * t for t in range(len(read))]
    d.box("BERT: looks to both sides", (4.3, 1.35), width=7.9, colour=BLUE)
    for t, x in enumerate(places):
        hidden = read[t] != written[t]
        d.box(read[t], (x, 0.45), width=0.9, height=0.42, colour=PINK if hidden else GREY, size=11.5)
        d.arrow((x, 0.66), (x, 1.1))
        d.arrow((x, 1.6), (x, 1.95))
        d.box(f"$h_{t + 1}$", (x, 2.16), width=0.7, height=0.4, colour=GREEN)
    d.arrow((places[4], 2.37), (places[4], 2.72), colour=ORANGE)
    d.text(
        "$P(\\mathrm{kettle} \\mid \\tilde x)$: the loss is here alone", (places[4], 2.95), size=12, colour="#A04000"
    )
    d.text("mean of $h_t$: features\nfor another task", (1.45, 2.92), size=11, colour="#00664A")
    d.show(
        "Of the sentence 'nila put the kettle on' BERT reads [MASK] in the place of 'kettle'. It looks to both sides "
        "and gives a vector h_t for each token. The loss asks for 'kettle' at the hidden place alone. The mean of all "
        "h_t are features for another task."
    )
