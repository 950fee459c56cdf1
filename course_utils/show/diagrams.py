"""Drawn diagrams: boxes, arrows, and the letters of the formulas.

    d = Diagram(4, 2.4)
    x = d.box("$x_t$", (1, 0.5))
    h = d.box("$h_t$", (3, 1.8), colour=BLUE)
    d.arrow(x, h, "$W_x$")
    d.show("The character x_t goes through W_x into the state h_t.")

Places are inches from the lower left. A diagram is a picture on a white ground, as the plots are, and the text it is
shown with says the same in words. Those of the lectures follow the pen that draws them.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor

from course_utils.show import plots

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, _ = plots.COLOURS
GREY = "#777777"
Place = tuple[float, float]


class Diagram:
    """A sheet of paper, width × height inches."""

    def __init__(self, width: float, height: float, title: str = ""):
        self.figure = Figure(figsize=(width, height + (0.4 if title else 0)), dpi=plots.DPI, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, height / (height + (0.4 if title else 0))))
        self.limits = (0, width), (0, height)
        self.axes.set(xlim=self.limits[0], ylim=self.limits[1])
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

    def picture(self, image: Tensor, at: Place, *, side: float = 1.1) -> None:
        """Draw a picture (3, H, W) with values in [0, 1], its middle at `at`, `side` inches wide."""
        x, y = at
        where = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
        shown = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
        self.axes.imshow(shown, extent=where, interpolation="nearest", aspect="auto", zorder=3)
        self.axes.set(xlim=self.limits[0], ylim=self.limits[1])  # imshow has moved them

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


def unrolled() -> None:
    """A recurrent network, unrolled: forward through the states, and the gradient on its way back."""
    d = Diagram(8.6, 3.4)
    places = [1.75 + 1.75 * t for t in range(4)]
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
        "A recurrent network unrolled over 4 characters. Each character x_t goes through W_x, and the state "
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


def next_token_shift() -> None:
    """The text is its own answer: read without its last token, asked for without its first."""
    tokens = "the cat sat on the mat".split()
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


# --- 07: autoencoders -------------------------------------------------------------------------------------------------


def autoencoder(card: Tensor, rebuilt: Tensor) -> None:
    """A picture, its code, the picture again; and the three ways to keep it from being a copying machine."""
    d = Diagram(8.6, 3.0)
    d.picture(card, (0.9, 2.0))
    d.picture(rebuilt, (7.7, 2.0))
    encoder = d.box("encoder\n$f$", (2.7, 2.0), width=1.2, height=0.9, colour=BLUE)
    code = d.box("$z$", (4.3, 2.0), width=0.45, height=0.7, colour=ORANGE, size=15)
    decoder = d.box("decoder\n$g$", (5.9, 2.0), width=1.2, height=0.9, colour=BLUE)
    d.arrow((1.5, 2.0), encoder, "$x$", beside=(-0.32, 0.18))
    d.arrow(encoder, code)
    d.arrow(code, decoder)
    d.arrow(decoder, (7.1, 2.0), "$\\hat x$", beside=(0.3, 0.2))
    d.text("loss: $\\Vert \\hat x - x \\Vert^2$", (7.7, 1.15), size=12)
    d.text("noise here:\ndenoising", (0.9, 0.55), size=11)
    d.arrow((0.9, 0.85), (0.9, 1.36), colour=PINK)
    d.text("few numbers, or noise\nand a price: VAE", (4.3, 0.6), size=11)
    d.arrow((4.3, 0.9), code, colour=ORANGE)
    d.show(
        "An autoencoder. The encoder f makes a code z of a few numbers from the picture x, the decoder g makes a "
        "picture x-hat from the code; the loss is the squared distance of the two. What keeps it from copying: noise"
        " at the entrance (denoising), a narrow code, or noise in the code and a price for it (VAE)."
    )


def vae(card: Tensor, rebuilt: Tensor) -> None:
    """The encoder gives a mean and a deviation, one draw goes to the decoder, the KL is the price."""
    d = Diagram(8.6, 2.7)
    d.picture(card, (0.8, 1.5))
    d.picture(rebuilt, (7.8, 1.5))
    encoder = d.box("encoder", (2.4, 1.5), width=1.1, height=0.7, colour=BLUE)
    mean = d.box("$\\mu$", (3.9, 2.1), width=0.5, colour=ORANGE)
    deviation = d.box("$\\sigma$", (3.9, 0.9), width=0.5, colour=ORANGE)
    z = d.box("$z = \\mu + \\sigma \\epsilon$", (5.2, 1.5), width=1.3, colour=GREEN)
    decoder = d.box("decoder", (6.55, 1.5), width=1.0, height=0.7, colour=BLUE, size=12)
    d.arrow((1.4, 1.5), encoder, "$x$", beside=(-0.3, 0.18))
    for part in (mean, deviation):
        d.arrow(encoder, part)
        d.arrow(part, z)
    d.arrow((5.2, 0.62), z, colour=PINK)
    d.text("$\\epsilon \\sim \\mathcal{N}(0, 1)$", (5.2, 0.42), size=12)
    d.arrow(z, decoder)
    d.arrow(decoder, (7.2, 1.5))
    d.text("price: KL$(\\mathcal{N}(\\mu, \\sigma^2) \\,\\Vert\\, \\mathcal{N}(0, 1))$", (2.6, 0.3), size=11.5)
    d.text("$\\hat x$", (7.8, 0.75), size=12)
    d.show(
        "A variational autoencoder. The encoder gives a mean mu and a deviation sigma for each number of the code; "
        "one draw z = mu + sigma · epsilon, with epsilon from the normal distribution, goes to the decoder, which "
        "makes the picture x-hat. The price of the code is the KL divergence of its Gaussian from N(0, 1)."
    )


# --- 08: pretext tasks ------------------------------------------------------------------------------------------------


def patches(card: Tensor, side: int = 8, gap: int = 3) -> None:
    """One encoder reads two patches of a card; which of eight neighbours is the second?"""
    d = Diagram(8.6, 2.9)
    corner = (card.shape[-1] - side) // 2
    first = card[:, corner : corner + side, corner : corner + side]
    right = corner + side + gap
    second = card[:, corner : corner + side, right : right + side]
    d.picture(card, (1.4, 1.45), side=2.4)
    scale = 2.4 / card.shape[-1]
    for column, colour in ((corner, ORANGE), (right, PINK)):
        place = 0.2 + column * scale, 2.65 - (corner + side) * scale
        d.axes.add_patch(
            Rectangle(place, side * scale, side * scale, fill=False, edgecolor=colour, linewidth=3, zorder=5)
        )
    answer = d.box("which of the\neight places?\n“right”", (7.5, 1.45), width=1.5, height=1.1, colour=GREEN, size=11.5)
    for y, part, name, colour in ((2.1, first, "first", ORANGE), (0.8, second, "second", PINK)):
        d.picture(part, (3.5, y), side=0.8)
        d.text(name, (3.5, y - 0.53), size=11)
        encoder = d.box("encoder $f$", (5.1, y), width=1.2, colour=BLUE)
        d.arrow((2.7, y), (3.05, y), colour=colour)
        d.arrow((3.95, y), encoder)
        d.arrow(encoder, answer)
    d.text("same weights", (5.1, 1.45), size=11, colour=GREY)
    d.show(
        "Relative patch prediction. Two patches of a card, the middle one and a neighbour to its right with a gap "
        "between, go through the same encoder f. From both results the network says which of the eight places the "
        "second patch came from: right."
    )


def jigsaw(card: Tensor, order: Sequence[int] = (2, 7, 4, 0, 8, 5, 1, 3, 6)) -> None:
    """The nine tiles of a card in another order, one encoder for all of them; which order is it?"""
    d = Diagram(8.6, 2.9)
    cell = card.shape[-1] // 3
    d.picture(card, (1.3, 1.45), side=2.2)
    for i, source in enumerate(order):
        row, column = divmod(source, 3)
        tile = card[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        d.picture(tile, (3.3 + 0.72 * (i % 3), 2.17 - 0.72 * (i // 3)), side=0.66)
    encoder = d.box("encoder $f$\nfor each tile", (6.05, 1.45), width=1.35, height=0.8, colour=BLUE, size=11.5)
    answer = d.box("which order\n$\\pi$ is it?", (7.75, 1.45), width=1.2, height=0.8, colour=GREEN, size=11.5)
    d.arrow((2.45, 1.45), (2.9, 1.45), "$\\pi$")
    d.arrow((5.15, 1.45), encoder)
    d.arrow(encoder, answer)
    d.show(
        "A jigsaw puzzle. The nine tiles of a card are laid out in another order pi; each goes through the same "
        "encoder f, and from all nine results the network says which of a fixed set of orders it was."
    )


# --- 09: contrastive learning -----------------------------------------------------------------------------------------


def simclr(card: Tensor, first: Tensor, second: Tensor) -> None:
    """One picture, two views, the encoder and the head that is thrown away; the views must find each other."""
    d = Diagram(8.6, 3.0)
    d.picture(card, (0.8, 1.5))
    loss = d.box("NT-Xent:\nalike, among\nall others", (7.7, 1.5), width=1.5, height=1.1, colour=GREEN, size=11.5)
    for y, view, i in ((2.35, first, "1"), (0.65, second, "2")):
        d.arrow((1.4, 1.5 + (y - 1.5) * 0.2), (1.95, y))
        d.picture(view, (2.5, y), side=1.0)
        encoder = d.box("encoder\n$f$", (4.0, y), width=1.0, height=0.75, colour=BLUE, size=12)
        head = d.box("head\n$g$", (5.6, y), width=0.8, height=0.75, size=12, dashed=True)
        d.arrow((3.02, y), encoder, f"$x_{i}$", beside=(-0.27, 0.18))
        d.arrow(encoder, head, f"$h_{i}$")
        d.arrow(head, loss, f"$z_{i}$", beside=(-0.1, 0.2 if y > 1.5 else -0.2))
    d.text("two draws of\nthe augmentation", (0.95, 0.45), size=11, colour=GREY)
    d.text("same weights;\nthe probe reads $h$", (4.0, 1.5), size=11, colour=GREY)
    d.text("thrown\naway", (5.6, 1.5), size=11, colour=GREY)
    d.show(
        "SimCLR. Two draws of the augmentation make two views x_1 and x_2 of one picture. Both go through the same "
        "encoder f, which gives h, and the same head g, which gives z. The loss NT-Xent asks that z_1 and z_2 are "
        "alike among all others. The head is thrown away after training; the probe reads h."
    )


# --- 10: why does it work? --------------------------------------------------------------------------------------------


def info_nce() -> None:
    """K + 1 candidates, one of them the partner: a guess among K + 1, so at most ln(K + 1) nats."""
    d = Diagram(8.6, 2.9)
    x = d.box("$x$", (0.8, 1.5), width=0.6, colour=BLUE)
    names = [("$y$  the partner", GREEN), ("$y_1$  another", GREY), ("$y_2$  another", GREY), ("$y_K$  another", GREY)]
    guess = d.box("a softmax over\n$K + 1$ scores", (6.0, 1.5), width=1.7, height=0.9, colour=ORANGE, size=12)
    for y, (said, colour) in zip((2.5, 1.85, 1.2, 0.4), names):
        box = d.box(said, (3.0, y), width=1.7, height=0.46, colour=colour, size=12)
        d.arrow(x, box, colour=colour)
        d.arrow(box, guess, colour=colour)
    d.text("…", (3.0, 0.8), size=14)
    d.text("$f(x, y)$", (1.45, 2.3), size=12)
    d.text("at best certain:\nloss 0", (7.65, 2.2), size=11)
    d.text("blind guessing:\nloss $\\ln(K + 1)$", (7.65, 0.8), size=11)
    d.show(
        "InfoNCE. x is scored with K + 1 candidates: its partner y and K others. A softmax over the scores says "
        "which is the partner. At best it is certain, a loss of 0; who guesses blindly pays ln(K + 1). So nobody can"
        " gain more than ln(K + 1) nats, however much x and y share."
    )


def hsic() -> None:
    """Two tables of the same views: how alike are their features, and are they of the same picture?"""
    d = Diagram(8.6, 2.9)
    near, far = BLUE, None
    alike = [[near, near, far, SKY], [near, near, SKY, far], [far, SKY, near, near], [SKY, far, near, near]]
    said = [[".9", ".8", ".1", ".3"], [".8", ".9", ".3", ".1"], [".1", ".3", ".9", ".7"], [".3", ".1", ".7", ".9"]]
    same = [["1", "1", "0", "0"]] * 2 + [["0", "0", "1", "1"]] * 2
    colours = [[ORANGE if cell == "1" else None for cell in row] for row in same]
    tables = (
        (0.9, said, alike, "$K_{ij} = z_i \\cdot z_j$: how alike"),
        (3.9, same, colours, "$L_{ij}$: the same picture?"),
    )
    for left, rows, painted, name in tables:
        d.text(name, (left + 0.9, 2.6), size=12)
        d.cells(rows, (left, 2.35), side=0.45, colours=painted)
        for i, view in enumerate(("7a", "7b", "8a", "8b")):
            d.text(view, (left - 0.25, 2.12 - 0.45 * i), size=10.5, colour=GREY)
            d.text(view, (left + 0.22 + 0.45 * i, 0.38), size=10.5, colour=GREY)
    d.text("HSIC: how well the\ntwo tables agree,\ntheir means taken out", (7.3, 1.6), size=12)
    d.arrow((5.8, 1.45), (6.3, 1.45))
    d.show(
        "HSIC. Four views, a and b of picture 7 and of picture 8. One table, K, says how alike the features of each "
        "two views are, the other, L, whether they are of the same picture. HSIC measures how well the two tables "
        "agree."
    )


def graphcl() -> None:
    """A graph, two views (a node dropped; an edge perturbed), one encoder: lecture 09's picture again."""
    d = Diagram(8.6, 3.0)
    ring = [(0.45, 0.0), (0.14, 0.43), (-0.36, 0.26), (-0.36, -0.26), (0.14, -0.43)]
    edges = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2)]

    def draw(x: float, y: float, lines: list[tuple[int, int]], without: int | None = None) -> None:
        for a, b in lines:
            if without not in (a, b):
                d.arrow((x + ring[a][0], y + ring[a][1]), (x + ring[b][0], y + ring[b][1]), colour=GREY, head="-")
        for i, (dx, dy) in enumerate(ring):
            if i != without:
                colour = (BLUE, ORANGE, GREEN, PINK, SKY)[i]
                d.axes.add_patch(Circle((x + dx, y + dy), 0.09, facecolor=colour, edgecolor="white", zorder=5))

    draw(0.8, 1.5, edges)
    loss = d.box("NT-Xent", (7.7, 1.5), width=1.2, colour=GREEN, size=12)
    views = ((2.45, edges, 3, "a node dropped"), (0.82, [*edges[:4], (0, 2), (1, 4)], None, "an edge perturbed"))
    for y, lines, without, said in views:
        draw(2.7, y, lines, without)
        encoder = d.box("message\npassing $f$", (4.6, y), width=1.2, height=0.75, colour=BLUE, size=11.5)
        head = d.box("$g$", (6.0, y), width=0.5, dashed=True)
        d.arrow((1.35, 1.5 + (y - 1.5) * 0.2), (2.1, y))
        d.arrow((3.3, y), encoder)
        d.arrow(encoder, head)
        d.arrow(head, loss)
        d.text(said, (2.7, y - 0.64), size=10.5, colour=GREY)
    d.show(
        "GraphCL. Two views of one graph, one with a node dropped and one with an edge perturbed, go through the "
        "same encoder f, which passes messages, and a head g; NT-Xent asks that they find each other among the "
        "others."
    )


# --- 11: CLIP ---------------------------------------------------------------------------------------------------------


def clip_matrix(cards: Sequence[Tensor], captions: Sequence[str]) -> None:
    """Three pictures, three captions, all cosines; the diagonal must be large in its row and in its column."""
    d = Diagram(8.6, 3.7)
    left, top, side = 3.2, 2.3, 0.72
    rows = [[f"$x_{i} \\cdot y_{j}$" for j in (1, 2, 3)] for i in (1, 2, 3)]
    colours = [[ORANGE if i == j else None for j in range(3)] for i in range(3)]
    d.cells(rows, (left, top), side=(0.95, side), size=11.5, colours=colours)
    d.box("picture\nencoder", (1.9, 1.22), width=1.0, height=1.9, colour=BLUE, size=12)
    for i, card in enumerate(cards[:3]):
        y = top - side * (i + 0.5)
        d.picture(card, (0.7, y), side=0.62)
        d.arrow((1.02, y), (1.4, y))
        d.arrow((2.4, y), (3.18, y), f"$x_{i + 1}$", beside=(0, 0.13))
    d.box("text encoder", (4.63, 2.9), width=2.8, height=0.4, colour=GREEN, size=12)
    for j, caption in enumerate(captions[:3]):
        x = left + 0.95 * (j + 0.5)
        d.text(caption.replace(" ", "\n", 1), (x, 3.42), size=9.5)
        d.arrow((x, 2.7), (x, 2.32), f"$y_{j + 1}$", beside=(0.18, 0.02))
    d.text("each row: which caption?", (6.25, 1.5), size=11.5, align="left")
    d.text("each column: which picture?", (6.25, 1.1), size=11.5, align="left")
    said = "; ".join(captions[:3])
    d.show(
        f"CLIP. Three pictures go through the picture encoder (x_1 to x_3), their captions ({said}) through the text "
        "encoder (y_1 to y_3). A table has the product of each picture with each caption. Its diagonal, a picture "
        "with its own caption, must be the largest of its row (which caption?) and of its column (which picture?)."
    )


# --- 12: what is a representation for? --------------------------------------------------------------------------------


def what_is_kept() -> None:
    """Which factors of a card each pretext may throw away."""
    d = Diagram(8.6, 3.0)
    factors = ("object", "colour", "biome", "weather", "place")
    rows = {  # kept, thrown away, or as it comes
        "autoencoder": ("large things", "?", "?", "✓", "✓", "?"),
        "SimCLR": ("what two views share", "✓", "–", "✓", "✓", "–"),
        "SupCon": ("what a class shares", "✓", "–", "–", "–", "–"),
        "CLIP": ("what captions say", "✓", "✓", "✓", "?", "–"),
    }
    for j, name in enumerate(factors):
        d.text(name, (4.75 + 0.8 * j, 2.75), size=11.5)
    for i, (name, (pays, *marks)) in enumerate(rows.items()):
        y = 2.3 - 0.62 * i
        box = d.box(name, (0.95, y), width=1.5, height=0.44, colour=BLUE, size=12)
        d.arrow(box, (2.1, y))
        d.text(f"pays for\n{pays}", (2.2, y), size=10.5, align="left")
        for j, mark in enumerate(marks):
            colour = {"✓": GREEN, "–": PINK, "?": None}[mark]
            d.cells([[mark]], (4.4 + 0.8 * j, y + 0.2), side=(0.7, 0.4), size=13, colours=[[colour]])
    d.text("✓ paid for    – may go    ? as it comes", (6.35, 0.1), size=10.5, colour=GREY)
    d.show(
        "What each pretext pays for. An autoencoder pays for what covers many pixels: biome and weather, the object "
        "only as it comes. SimCLR pays for what two views share: object, biome and weather; colour and place may "
        "go. SupCon pays for the object alone. CLIP pays for what captions say: object, colour and biome, the "
        "weather now and then, never the exact place."
    )
