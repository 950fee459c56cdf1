"""The course's plots: one call each, axes with units, the finding as title, colours that all eyes can tell apart.

    plots.curve({"train": {0: 4.0, 1: 3.2}, "held-out": {0: 4.1, 1: 3.4}}, x="order k", y="bits", title="Both fall")

A plot appears where it is called. Its text form (screen readers, text-only viewers) is the title and the numbers.
With `ax=` it is drawn on that Axes instead, for several panels in one figure.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from numbers import Real
from textwrap import fill

import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

# Okabe & Ito (2008), without the yellow that vanishes on a projector.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "os^Dv*x"
LINES = ("-", "--", "-.", ":")
LEGEND = {"fontsize": 11, "facecolor": "white", "edgecolor": "none", "framealpha": 0.8}  # it may lie over bars
INK = "#222222"
MANY = 64  # points in a line: with more their markers run together, and nobody listens to all their numbers
DPI = 160  # pixels in the file; shown at half that, so that a projector or a zoomed page stays sharp

Points = Mapping[Real, Real]


def curve(
    series: Points | Mapping[str, Points],
    *,
    x: str,
    y: str,
    title: str = "",
    levels: Mapping[str, float | tuple[float, float]] | None = None,
    errors: Mapping[str, Points] | None = None,
    log: str = "",
    ax: Axes | None = None,
) -> None:
    """Line plot of one series `{x: y}` or of several `{name: {x: y}}`.

    Args:
        errors: half the height of the error bars, `{name: {x: error}}`; of the series that have any.
        levels: horizontal references by name: a number is a line, a pair (low, high) a band.
        log: which axes are logarithmic: "", "x", "y" or "xy".
        ax: draw here and show nothing; without it a figure is made and shown.
    """
    named = series if _nested(series) else {"": series}
    with _Shown(ax, title, x=x, y=y, numbers=named) as axes:
        for i, (name, points) in enumerate(named.items()):
            marker = _cycle(MARKERS, i) if len(points) <= MANY else ""
            style = {"color": _cycle(COLOURS, i), "marker": marker, "linestyle": _cycle(LINES, i)}
            values = list(map(float, points.values()))
            axes.plot(list(points), values, label=name or None, **style)
            error = [float((errors or {}).get(name, {}).get(at, 0)) for at in points]
            if any(error):
                axes.errorbar(list(points), values, error, fmt="none", ecolor=style["color"], capsize=3)
        for i, (name, level) in enumerate((levels or {}).items()):
            if isinstance(level, tuple):
                axes.axhspan(*level, color=_cycle(COLOURS[2:], i), alpha=0.18, linewidth=0, label=name)
            else:
                axes.axhline(level, color=_cycle(COLOURS[2:], i), linestyle=":", linewidth=2, label=name)
        _scale(axes, log, {float(at) for points in named.values() for at in points})
        axes.grid(alpha=0.3)
        if len(named) > 1 or levels:
            axes.legend(**LEGEND)


def bars(
    values: Mapping[str, Real] | Mapping[str, Mapping[str, Real]],
    *,
    x: str = "",
    y: str,
    title: str = "",
    form: str = ".2f",
    errors: Mapping[str, Real] | Mapping[str, Mapping[str, Real]] | None = None,
    ax: Axes | None = None,
) -> None:
    """Bar plot of `{label: value}`, or of groups side by side `{group: {label: value}}`; each bar carries its number.

    Args:
        form: how the numbers are written, as in `format(value, form)`; "" leaves them out.
        errors: half the height of the error bars, in the form of `values`.
    """
    groups = values if _nested(values) else {"": values}
    spread = {} if errors is None else errors if _nested(values) else {"": errors}
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    width = 0.8 / len(groups)
    with _Shown(ax, title, x=x, y=y, numbers=groups) as axes:
        for i, (name, group) in enumerate(groups.items()):
            at = [labels.index(label) + (i - (len(groups) - 1) / 2) * width for label in group]
            drawn = axes.bar(
                at, list(map(float, group.values())), width * 0.94, color=_cycle(COLOURS, i), label=name or None
            )
            if name in spread:
                half = [float(spread[name].get(label, 0)) for label in group]
                axes.errorbar(at, list(map(float, group.values())), half, fmt="none", ecolor=INK, capsize=4)
            if form and group:
                said = [format(float(v), form) for v in group.values()]
                room = 72 * axes.get_position().width * axes.figure.get_figwidth() * width / len(labels)  # points
                size = max(7.0, min(11.0, room / (0.65 * max(map(len, said)))))  # a digit is .65 as wide as it is high
                if name in spread:  # inside, where no error bar crosses the number
                    axes.bar_label(drawn, said, label_type="center", fontsize=size, color="white")
                else:
                    axes.bar_label(drawn, said, padding=2, fontsize=min(10.0, size), color=INK)
        axes.set_xticks(range(len(labels)), labels)
        axes.margins(y=0.12)
        axes.grid(axis="y", alpha=0.3)
        if len(groups) > 1:
            axes.legend(**LEGEND)


def heatmap(
    matrix,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x: str,
    y: str,
    unit: str,
    title: str = "",
    form: str = ".2f",
    ax: Axes | None = None,
) -> None:
    """Picture of a matrix (R, C): tensor, array or nested list, darker is more; small ones show their numbers.

    Args:
        rows, columns: the R and the C tick labels.
        unit: what a cell holds; the label of the colour bar.
        form: how the numbers are written in a matrix of up to 12 columns.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape != (len(rows), len(columns)):
        raise ValueError(
            f"matrix must have shape {(len(rows), len(columns))}, one row and column per label, got {matrix.shape}"
        )
    numbers = {row: dict(zip(columns, values)) for row, values in zip(rows, matrix)} if matrix.size <= 64 else {}
    size = (max(5.0, min(9.0, 2.2 + 0.42 * len(columns))), max(3.2, min(7.4, 1.4 + 0.36 * len(rows))))
    with _Shown(ax, title, x=x, y=y, numbers=numbers, size=size) as axes:
        image = axes.imshow(matrix, cmap="Blues", aspect="auto", vmin=min(0.0, matrix.min()))
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        whole = bool((matrix == matrix.round()).all())
        bar = axes.figure.colorbar(image, ax=axes, pad=0.02, ticks=MaxNLocator(6, integer=whole))
        bar.set_label(unit, fontsize=12, color=INK)
        bar.outline.set_visible(False)
        axes.spines[:].set_visible(False)
        if len(columns) <= 12:
            for (row, column), value in np.ndenumerate(matrix):
                dark = image.norm(value) > 0.55
                axes.text(column, row, format(value, form), ha="center", va="center", color="white" if dark else INK)


def named_points(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    x: str,
    y: str,
    title: str = "",
    log: str = "",
    ax: Axes | None = None,
) -> None:
    """Points that carry their names: `{group: {name: (x, y)}}`, a colour and a marker for each group.

    Args:
        log: which axes are logarithmic: "", "x", "y" or "xy".
    """
    numbers = {group: {name: at[1] for name, at in points.items()} for group, points in groups.items()}
    with _Shown(ax, title, x=x, y=y, numbers=numbers) as axes:
        for i, (group, points) in enumerate(groups.items()):
            at = list(points.values())
            style = {"color": _cycle(COLOURS, i), "marker": _cycle(MARKERS, i), "s": 60, "label": group}
            axes.scatter([a for a, _ in at], [b for _, b in at], **style)
            for name, (a, b) in points.items():
                under = any(a == other_a and b < other_b for other_a, other_b in at)  # there is one above it
                place = {"xytext": (0, -18 if under else 8), "textcoords": "offset points", "ha": "center"}
                axes.annotate(name, (a, b), fontsize=11, color=INK, **place)
        _scale(axes, log, {float(a) for points in groups.values() for a, _ in points.values()})
        axes.margins(x=0.12, y=0.15)
        axes.grid(alpha=0.3)
        if len(groups) > 1:
            axes.legend(**LEGEND)


class _Shown:
    """The Axes to draw on; on leaving, its labels are set and, if the figure is ours, it is shown."""

    def __init__(self, ax, title, *, x, y, numbers, size=(7.6, 4.2)):
        self.figure = None
        if ax is None:
            self.figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
            self.figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # inches around it, for dark pages
        self.ax = ax if ax is not None else self.figure.add_subplot()
        self.labels = {"title": title, "x": x, "y": y}
        self.numbers = numbers

    def __enter__(self) -> Axes:
        self.ax.tick_params(colors=INK, labelsize=12)
        self.ax.spines[["top", "right"]].set_visible(False)
        self.ax.set_axisbelow(True)  # the grid behind the bars
        return self.ax

    def __exit__(self, kind, error, trace):
        if kind is not None:
            return
        self.ax.set_xlabel(self.labels["x"], fontsize=13, color=INK)
        self.ax.set_ylabel(self.labels["y"], fontsize=13, color=INK)
        self.ax.set_title(self.labels["title"], fontsize=14, color=INK, loc="left", wrap=True)
        if self.figure is not None:
            show(self.figure, text=self._text())

    def _text(self) -> str:
        by = " by ".join(filter(None, (self.labels["y"], self.labels["x"])))
        lines = [f"{self.labels['title']} ({by})"]
        for name, points in self.numbers.items():
            told = _some(list(points.items()))
            values = ", ".join(f"{point} → {float(value):.4g}" for point, value in told)
            lines.append(f"  {name}: {values}" if name else f"  {values}")
        return "\n".join(lines)


def show(figure: Figure, text: str = "figure") -> None:
    """Show a figure here and now, as a picture on white: legible in dark mode too.

    Args:
        text: what is shown where there are no pictures.
    """
    _clear_of_legends(figure)
    data, metadata = _picture(figure, text)
    display(data, raw=True, metadata=metadata)


class Live:
    """A `curve` that grows where it was first drawn: call it with the series so far, as often as you like.

    live = plots.Live(x="step", y="loss (nats per character)", title="The loss falls")
    train.fit(…, look=train.Look(watch=lambda history: live(history.curves())))
    """

    def __init__(self, **labels):
        self.labels = labels  # as in `curve`
        self.handle = None

    def __call__(self, series: Points | Mapping[str, Points]) -> None:
        numbers = series if _nested(series) else {"": series}
        canvas = _Shown(None, self.labels.get("title", ""), x=self.labels["x"], y=self.labels["y"], numbers=numbers)
        with canvas as axes:
            curve(series, ax=axes, **self.labels)
            canvas.figure, figure = None, canvas.figure  # so that leaving shows nothing
        data, metadata = _picture(figure, canvas._text())
        if self.handle is None:
            self.handle = display(data, raw=True, metadata=metadata, display_id=True)
        else:
            self.handle.update(data, raw=True, metadata=metadata)


def _picture(figure: Figure, text: str) -> tuple[dict, dict]:
    """The MIME bundle of a figure and its metadata."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    width, height = (int(side * DPI / 2) for side in figure.get_size_inches())
    return {"image/png": buffer.getvalue(), "text/plain": text}, {"image/png": {"width": width, "height": height}}


def _clear_of_legends(figure: Figure) -> None:
    """Put each legend that lies over lines or bars beside its axes; the figure grows by as much."""
    with_legend = [axes for axes in figure.axes if axes.get_legend() is not None]
    if with_legend:
        figure.draw_without_rendering()  # before that nobody knows where a legend lies
    for axes in with_legend:
        legend = axes.get_legend()
        box = legend.get_window_extent()
        lines = (line.get_path().transformed(line.get_transform()) for line in axes.lines)
        bars = (patch.get_window_extent() for patch in axes.patches)
        if any(line.intersects_bbox(box, filled=False) for line in lines) or any(map(box.overlaps, bars)):
            said = [text.get_text() for text in legend.get_texts()]
            axes.legend(legend.legend_handles, said, loc="upper left", bbox_to_anchor=(1.01, 1), **LEGEND)
            width, height = figure.get_size_inches()
            figure.set_size_inches(width + box.width / figure.dpi, height)


def _some(points: list) -> list:
    """All points, or MANY and one of them at most, evenly apart, the first and the last among them."""
    apart = -(-len(points) // MANY)  # rounded up
    return points if apart <= 1 else [*points[:-1:apart], points[-1]]


def _nested(values: Mapping) -> bool:
    return bool(values) and all(isinstance(value, Mapping) for value in values.values())


def _cycle(items: Sequence, i: int):
    return items[i % len(items)]


def _scale(axes: Axes, log: str, values: set[float]) -> None:
    """Make the axes logarithmic that `log` names. Below x stand whole numbers where its values are whole."""
    if "y" in log:
        axes.set_yscale("log")
    if "x" in log:
        axes.set_xscale("log")
        _mark_what_was_measured(axes, values)
    elif all(value.is_integer() for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mark_what_was_measured(axes: Axes, values: set[float]) -> None:
    """Put plain numbers below a logarithmic axis: values that were measured, as far as they do not crowd."""
    there = sorted(value for value in values if value > 0)  # the others are not on the axis
    shown = there[:1]
    for value in there[1:]:
        if np.log(value / shown[-1]) >= 0.08 * np.log(there[-1] / there[0]):
            shown.append(value)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def squarify(sizes: Sequence[Real], width: float = 1.0, height: float = 1.0) -> list[tuple[float, float, float, float]]:
    """Cut a rectangle into one for each size, (x, y, width, height), areas in proportion, as square as possible.

    The order is kept; the result looks best with the largest first.

    Raises:
        ValueError: if a size is not positive.

    Source: M. Bruls, K. Huizing, J. J. van Wijk, Squarified Treemaps (2000).
    """
    sizes = [float(size) for size in sizes]
    if not all(0 < size < float("inf") for size in sizes):
        raise ValueError(f"sizes must be positive numbers, got {sizes}")
    areas = [size * width * height / sum(sizes) for size in sizes]
    found, x, y = [], 0.0, 0.0
    while areas:
        side = min(width, height)

        def worst(n: int, areas=areas, side=side) -> float:
            """The most elongated of the first n, if they share one strip along the shorter side."""
            depth = sum(areas[:n]) / side
            return max(max(depth / (area / depth), (area / depth) / depth) for area in areas[:n])

        n = 1
        while n < len(areas) and worst(n + 1) <= worst(n):
            n += 1
        depth = sum(areas[:n]) / side
        at = 0.0
        for area in areas[:n]:
            length = area / depth
            found.append((x, y + at, depth, length) if width >= height else (x + at, y, length, depth))
            at += length
        if width >= height:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
        areas = areas[n:]
    return found


def treemap(
    values: Mapping[str, Real] | Mapping[str, Mapping[str, Real]],
    *,
    unit: str,
    title: str = "",
    form: str = ".0f",
    ax: Axes | None = None,
) -> None:
    """One rectangle for each of `{label: size}`, its area in proportion, the largest first.

    Args:
        values: or `{group: {label: size}}`: each group has a colour and a place of its own.
        unit: of the sizes, e.g. "GiB".
        form: how the sizes are written. What is too small for a label has a number, and its label stands below.
    """
    groups = values if _nested(values) else {"": values}
    ordered = {g: dict(sorted(part.items(), key=lambda item: -item[1])) for g, part in groups.items()}
    ordered = dict(sorted(ordered.items(), key=lambda item: -sum(item[1].values())))
    small = []
    with _Shown(ax, title, x="", y=unit, numbers=ordered, size=(8.6, 5.4)) as axes:
        places = squarify([sum(part.values()) for part in ordered.values()], 8.6, 4.4)
        for i, ((group, part), (left, top, width, height)) in enumerate(zip(ordered.items(), places)):
            for j, (label, (x, y, w, h)) in enumerate(zip(part, squarify(list(part.values()), width, height))):
                colour = _cycle(COLOURS, i) if group else _cycle(COLOURS[:4], j)
                x, y = left + x, top + y
                axes.add_patch(Rectangle((x, y), w, h, facecolor=colour, alpha=0.28, edgecolor="white", linewidth=2))
                size = min(13.0, 100 * w / max(len(label), 5), 26 * h)  # points that fit into the rectangle
                said = f"{label}\n{format(float(part[label]), form)}"
                if size < 6.5:
                    small.append(f"{len(small) + 1} {label} {format(float(part[label]), form)}")
                    said, size = str(len(small)), min(9.0, 60 * w, 60 * h)
                axes.text(x + w / 2, y + h / 2, said, ha="center", va="center", fontsize=size, color=INK)
        if len(ordered) > 1:
            patches = [Rectangle((0, 0), 1, 1, facecolor=_cycle(COLOURS, i), alpha=0.45) for i in range(len(ordered))]
            axes.legend(
                patches, ordered, frameon=False, fontsize=11, ncols=len(ordered), loc="upper left",
                bbox_to_anchor=(0, 0), borderaxespad=0.3, borderpad=0, handlelength=1,
            )  # fmt: skip
        axes.set_xlim(0, 8.6)
        axes.set_ylim(4.4, 0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if small:
            said = fill("   ".join(entry.replace(" ", "\N{NO-BREAK SPACE}") for entry in small), 105)
            axes.text(0, 4.5 if len(ordered) == 1 else 4.75, said, ha="left", va="top", fontsize=9.5, color=INK)


def report_card(card, *, title: str = "", ax: Axes | None = None) -> None:
    """All encoders by all factors, from `evaluate.report_card`: a row is an encoder, a column a factor.

    The darker, the more of the way from chance (white) to perfect. Accuracies are written in percent, R² as a number;
    the best of each column is bold. Its text form has all scores.
    """
    score, chance = card.score.double().numpy(), card.chance.double().numpy()
    way = ((score - chance) / (1 - chance)).clip(0, 1)  # R² has chance 0
    size = (1.9 + 0.95 * len(card.factors), 1.3 + 0.38 * len(card.encoders))
    numbers = {name: dict(zip(card.factors, row)) for name, row in zip(card.encoders, score.tolist())}
    with _Shown(ax, title, x="", y="", numbers=numbers, size=size) as axes:
        image = axes.imshow(way, cmap="Blues", aspect="auto", vmin=0, vmax=1)
        axes.set_xticks(range(len(card.factors)), [f"{f}\n{kind}" for f, kind in zip(card.factors, card.kinds)])
        axes.set_yticks(range(len(card.encoders)), card.encoders)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        bar = axes.figure.colorbar(image, ax=axes, pad=0.02)
        bar.set_label("share of the way from chance to perfect", fontsize=12, color=INK)
        bar.outline.set_visible(False)
        for (row, column), value in np.ndenumerate(score):
            said = f"{value:.0%}" if card.kinds[column] == "accuracy" else f"{value:.2f}"
            best = value == score[:, column].max()
            axes.text(
                column, row, said, ha="center", va="center", fontsize=11, fontweight="bold" if best else "normal",
                color="white" if way[row, column] > 0.55 else INK,
            )  # fmt: skip
