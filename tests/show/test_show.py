"""course_utils.show: plots say what they show, widgets answer alike and never throw at a student."""

import asyncio
import io
import re
import time

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from course_utils.show import moving, plots, quiz, widgets


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: a list of (data, metadata)."""
    calls = []
    monkeypatch.setattr(plots, "display", lambda data, raw, metadata: calls.append((data, metadata)))
    return calls


@pytest.fixture
def axes():
    return Figure().add_subplot()


def labels(axes):
    return axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")


# --- plots ------------------------------------------------------------------------------------------------------------


def test_curve_draws_each_series_and_labels_the_axes(axes):
    plots.curve({"train": {0: 4, 1: 3}, "held-out": {0: 4.5, 1: 3.5}}, x="order k", y="bits", title="falls", ax=axes)
    assert labels(axes) == ("order k", "bits", "falls")
    assert [line.get_label() for line in axes.get_lines()] == ["train", "held-out"]
    np.testing.assert_allclose(axes.get_lines()[1].get_xydata(), [[0, 4.5], [1, 3.5]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "held-out"]


def test_curve_of_one_series_needs_no_name_and_no_legend(axes):
    plots.curve({0: torch.tensor(4.0), 2: torch.tensor(3.0)}, x="k", y="bits", ax=axes)
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [[0, 4], [2, 3]])
    assert axes.get_legend() is None


def test_curve_levels_are_a_line_or_a_band(axes):
    plots.curve({0: 4.0, 1: 2.0}, x="k", y="bits", levels={"uniform": 4.75, "people": (0.6, 1.3)}, ax=axes)
    assert axes.get_lines()[1].get_ydata() == [4.75, 4.75]
    assert axes.patches[0].get_y() == 0.6
    assert axes.patches[0].get_height() == pytest.approx(0.7)
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"uniform", "people"}


def test_curve_log_axes(axes):
    plots.curve({1: 1.0, 100: 0.01}, x="distance", y="bits", log="xy", ax=axes)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("crowded", [True, False])
def test_a_legend_never_lies_over_what_is_drawn(crowded):
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    levels = {f"level {height}": height for height in range(9)} if crowded else None
    plots.curve({"up": {0: 0, 8: 8}, "flat": {0: 0, 8: 0}}, x="x", y="y", levels=levels, ax=axes)
    plots.show(figure)
    figure.draw_without_rendering()
    box = axes.get_legend().get_window_extent()
    for line in axes.lines:
        assert not line.get_path().transformed(line.get_transform()).intersects_bbox(box, filled=False)
    wide, _ = figure.get_size_inches()
    assert (wide > 8.5) == crowded == (box.x0 >= axes.get_window_extent().x1), "only then beside it"
    assert len(axes.get_legend().get_texts()) == (11 if crowded else 2)


@pytest.mark.parametrize("errors", [True, False])
def test_numbers_of_narrow_bars_do_not_touch(errors):
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    heights = {name: {label: 0.95 for label in "abcd"} for name in "wxyz"}
    plots.bars(heights, y="right", errors=heights if errors else None, ax=axes)
    figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.x0)
    assert len(boxes) == 16 and all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))


def test_a_legend_over_bars_moves_aside():
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    plots.bars({"usual": {"old": 1.0, "new": 1.0}, "other": {"old": 1.0, "new": 1.0}}, y="bits", ax=axes)
    plots.show(figure)
    figure.draw_without_rendering()
    assert not any(map(axes.get_legend().get_window_extent().overlaps, (p.get_window_extent() for p in axes.patches)))


def test_a_logarithmic_axis_shows_what_was_measured_in_plain_numbers(axes):
    points = {0: 1.0, 5: 1.0, 20: 0.8, 21: 0.8, 50: 0.7, 1500: 0.6}
    plots.curve({"a": points, "b": {0.5: 1.0}}, x="labels", y="right", log="x", ax=axes)
    axes.figure.canvas.draw()
    said = [label.get_text() for label in axes.get_xticklabels()]
    assert said == ["0.5", "5", "20", "50", "1,500"], "21 is too close to 20, and 0 is not on it"
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def test_a_logarithmic_axis_may_have_a_single_value(axes):
    plots.curve({5: 1.0}, x="labels", y="right", log="x", ax=axes)
    axes.figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5"]


def test_lines_differ_in_more_than_colour(axes):
    plots.curve({str(i): {0: i, 1: i} for i in range(4)}, x="", y="", ax=axes)
    styles = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(styles) == len({s[1] for s in styles}) == len({s[2] for s in styles}) == 4


def test_a_line_of_hundreds_of_points_has_no_markers_and_tells_some_of_its_numbers(axes, shown):
    few, many = {at: 1.0 for at in range(plots.MANY)}, {at: float(at) for at in range(500)}
    plots.curve({"few": few, "many": many}, x="step", y="nats", ax=axes)
    assert [line.get_marker() for line in axes.get_lines()] == ["o", ""]
    plots.curve({"few": few, "many": many}, x="step", y="nats")
    said = [line.split(": ")[1].split(", ") for line in shown[0][0]["text/plain"].splitlines()[1:]]
    assert len(said[0]) == plots.MANY
    assert len(said[1]) <= plots.MANY + 1 and said[1][:2] == ["0 → 0", "8 → 8"] and said[1][-1] == "499 → 499"


def test_bars_carry_their_numbers(axes):
    plots.bars({"a": 1.234, "b": 2.0}, y="bits", ax=axes)
    assert [patch.get_height() for patch in axes.patches] == [1.234, 2.0]
    assert {text.get_text() for text in axes.texts} == {"1.23", "2.00"}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]


def test_bars_in_groups_stand_side_by_side(axes):
    plots.bars({"g": {"a": 1, "b": 2}, "h": {"b": 3}}, y="", ax=axes)
    at = [(round(p.get_x() + p.get_width() / 2, 3), p.get_height()) for p in axes.patches]
    assert at == [(-0.2, 1), (0.8, 2), (1.2, 3)]


def test_heatmap_rows_are_rows(axes):
    plots.heatmap(
        torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
        rows="ab",
        columns="xyz",
        x="next",
        y="previous",
        unit="count",
        ax=axes,
    )
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0, 1, 2], [3, 4, 5]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a", "b"]
    number = next(text for text in axes.texts if text.get_text() == "5.00")
    assert number.get_position() == (2, 1)
    assert axes.figure.axes[1].get_ylabel() == "count"


def test_heatmap_with_a_missing_label_says_so(axes):
    with pytest.raises(ValueError, match=r"\(2, 3\).*got \(2, 2\)"):
        plots.heatmap([[1, 2], [3, 4]], rows="ab", columns="xyz", x="", y="", unit="", ax=axes)


def test_a_shown_plot_is_an_opaque_white_picture_with_its_numbers_as_text(shown):
    plots.curve({"train": {0: 4.0, 1: 3.25}}, x="order k", y="bits", title="It falls")
    ((data, metadata),) = shown
    picture = matplotlib.image.imread(io.BytesIO(data["image/png"]))
    height, width = picture.shape[:2]
    assert picture[0, 0].tolist() == [1, 1, 1, 1]
    assert (picture[..., 3] == 1).all()
    assert metadata["image/png"] == {"width": width // 2, "height": height // 2}
    assert "It falls" in data["text/plain"]
    assert "1 → 3.25" in data["text/plain"]


def test_with_axes_nothing_is_shown(shown, axes):
    plots.curve({0: 1.0}, x="", y="", ax=axes)
    plots.bars({"a": 1.0}, y="", ax=axes)
    assert shown == []


def test_a_failed_plot_is_not_shown(shown):
    with pytest.raises(TypeError):
        plots.curve({0: [1, 2]}, x="", y="")
    assert shown == []


# --- widgets ----------------------------------------------------------------------------------------------------------


class Chain:
    """Stands in for an NGramModel: writes its order, the temperature and a number drawn from the generator."""

    def __init__(self, order):
        self.order = order

    def sample(self, length, n=1, temperature=1.0, prompt=None, generator=None):
        drawn = torch.randint(1000, (1,), generator=generator).item()
        return [f"order{self.order} at {temperature:.1f} drew {drawn} <b> ".ljust(length, ".")]


@pytest.fixture
def explorer():
    return widgets.chain_explorer({k: Chain(k) for k in range(5)}, length=60, captions={3: "3.14 bits"})


def test_chain_explorer_starts_in_the_middle(explorer):
    assert explorer.settings == {"order": 2, "temperature": 1.0, "sample": 1}
    assert "order2 at 1.0" in explorer.text
    assert len(explorer.text) == 60


def test_moving_a_slider_rewrites_the_text(explorer):
    before = explorer.text
    explorer.set(order=3)
    assert "order3 at 1.0" in explorer.text
    assert "3.14 bits" in explorer.text
    explorer.set(temperature=0.5)
    assert "order3 at 0.5" in explorer.text
    assert before != explorer.text


def test_same_settings_same_text_and_another_sample_another(explorer):
    first = explorer.text
    explorer.set(sample=2)
    assert explorer.text != first
    explorer.set(order=4, sample=1)
    explorer.set(order=2)
    assert explorer.text == first


def test_reset_brings_the_first_settings_back(explorer):
    first = explorer.text
    explorer.set(order=4, temperature=2.0, sample=7)
    explorer.reset.click()
    assert explorer.settings == {"order": 2, "temperature": 1.0, "sample": 1}
    assert explorer.text == first


def test_generated_markup_is_text(explorer):
    assert "&lt;b&gt;" in explorer.result.value
    assert "<b>" in explorer.text


def test_unknown_whole_words_are_underlined_and_counted():
    chain = widgets.chain_explorer({1: Chain(1)}, length=60, known_words={"at", "of", "drew", "<b>"})
    underlined = re.findall(r"<u[^>]*>([^<]*)</u>", chain.result.value)
    assert len(underlined) == 2  # the temperature and the drawn number; the first and the last word may be cut off
    assert "2 of 5 words" in chain.text


def test_quick_changes_are_answered_once_with_the_last():
    calls = []

    def render(value):
        calls.append(value)
        return f"<p>{value}</p>"

    async def move():
        explorer = widgets.Explorer(render, value=widgets.widgets.IntSlider(0))
        for value in range(1, 9):
            explorer.set(value=value)
        assert explorer.text == "0"
        await asyncio.sleep(widgets.PAUSE_S * 5)
        return explorer.text

    assert asyncio.run(move()) == "8"
    assert calls == [0, 8]


def test_what_comes_while_a_slow_result_is_computed_is_answered_once(monkeypatch):
    monkeypatch.setattr(widgets, "PAUSE_S", 0.2)  # far above what a busy machine needs for the changes below
    monkeypatch.setattr(widgets, "PATIENCE_S", 2)
    calls = []

    def render(value):
        calls.append(value)
        time.sleep(0.2)
        return f"<p>{value}</p>"

    async def move():
        explorer = widgets.Explorer(render, value=widgets.widgets.IntSlider(0))
        explorer.set(value=1)
        while calls != [0, 1]:
            await asyncio.sleep(0.01)
        for value in range(2, 21):  # they waited in the kernel's queue
            explorer.set(value=value)
            await asyncio.sleep(0)
        while explorer.text != "20":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)

    asyncio.run(move())
    assert calls == [0, 1, 20]


def test_a_slider_that_never_rests_is_answered_all_the_same():
    calls = []

    def render(value):
        calls.append(value)
        time.sleep(0.05)
        return f"<p>{value}</p>"

    async def move():
        explorer = widgets.Explorer(render, value=widgets.widgets.IntSlider(0, max=1000))
        started, value = time.monotonic(), 0
        while time.monotonic() - started < 4 * widgets.PATIENCE_S:
            explorer.set(value=(value := value + 1))
            await asyncio.sleep(widgets.PAUSE_S / 3)

    asyncio.run(move())
    assert len(calls) > 2


def test_a_result_in_pieces_grows_and_a_change_stops_it():
    shown = []

    def render(value):
        for i in range(50):
            shown.append((value, i))
            yield f"<p>{value}, piece {i}</p>"

    async def move():
        explorer = widgets.Explorer(render, value=widgets.widgets.IntSlider(0))
        assert explorer.text == "0, piece 49", "the first result is whole at once"
        explorer.set(value=1)
        while len(shown) < 55:
            await asyncio.sleep(0)
        explorer.set(value=2)
        await asyncio.sleep(widgets.PAUSE_S * 10)
        return explorer.text

    assert asyncio.run(move()) == "2, piece 49"
    assert 5 <= sum(value == 1 for value, _ in shown) < 50
    assert [i for value, i in shown if value == 2] == list(range(50))


def test_pieces_make_the_text_that_one_call_would_write():
    from course_utils.models.ngram import NGramModel

    model = NGramModel(2).fit("the cat sat on the mat and the rat ate the cat")
    explorer = widgets.chain_explorer({2: model}, length=3 * widgets.PIECE + 5)
    pieces = explorer.text
    whole = model.sample(3 * widgets.PIECE + 5, generator=torch.Generator().manual_seed(1))[0]
    assert pieces == whole.strip()
    words = NGramModel(1, smoothing=0).fit("the cat sat on the mat and the rat ate the cat on the mat".split())
    assert len(widgets.chain_explorer({1: words}, length=200).text.split()) == 200


def test_an_error_is_a_sentence_and_the_next_result_comes():
    def render(value):
        if value == 3:
            raise ValueError("no <chain> of order 3")
        return str(value)

    explorer = widgets.Explorer(render, value=widgets.widgets.IntSlider(0))
    explorer.set(value=3)
    assert explorer.text == "No result for value 3: no <chain> of order 3"
    assert "Traceback" not in explorer.result.value
    assert 'role="alert"' in explorer.result.value
    explorer.set(value=4)
    assert explorer.text == "4"


def test_without_a_browser_it_is_settings_and_text(explorer):
    explorer.set(order=3)
    assert explorer.plain.startswith("order 3, temperature 1.0, sample 1") and "order3 at 1.0" in explorer.plain
    assert "order k: <b>3</b>" in explorer.still and explorer.result.value in explorer.still


@pytest.mark.parametrize("make", [lambda: widgets.bound_explorer(min), lambda: quiz.ask("04_gpt")])
def test_a_widget_is_displayed_as_its_still_and_then_itself(make, monkeypatch):
    calls = []
    monkeypatch.setattr(moving, "display", lambda data, raw: calls.append(data))
    shown = make()
    shown._ipython_display_()
    picture, live = calls
    assert picture.keys() == {"text/html", "text/plain"} and picture["text/plain"] == shown.plain
    assert shown.still in picture["text/html"] and shown.still_note in picture["text/html"]
    assert live == {moving.VIEW: {"version_major": 2, "version_minor": 0, "model_id": shown.model_id}, "text/plain": ""}


def test_of_a_long_text_a_part_is_read_and_that_is_said():
    read = {}

    def render(prompt, text):
        read.update(prompt=prompt, text=text)
        raise ValueError("too hard")

    controls = {"prompt": widgets.widgets.Text(), "text": widgets.widgets.Textarea()}
    explorer = widgets.Explorer(render, **controls)
    assert "characters long" not in explorer.text
    explorer.set(prompt="a" * 50_000 + "é" * 50_000, text="🦊<" * 50_000)
    assert read == {"prompt": "é" * widgets.TEXT_LIMIT, "text": "🦊<" * (widgets.TEXT_LIMIT // 2)}
    assert "prompt is 100,000 characters long: its last 2,000 are read" in explorer.text
    assert "text is 100,000 characters long: its first 2,000 are read" in explorer.text
    assert len(explorer.still) < 2000 and "too hard" in explorer.still
    assert "🦊<" not in explorer.still, "escaped"
    explorer.set(prompt="half a \ud83e", text="")
    assert read["prompt"] == "half a �" and "characters long" not in explorer.text


@pytest.mark.parametrize(
    ("models", "order", "said"), [({}, None, "at least one"), ({1: Chain(1)}, 2, "order 2 is not among")]
)
def test_chain_explorer_refuses_what_it_cannot_show(models, order, said):
    with pytest.raises(ValueError, match=said):
        widgets.chain_explorer(models, order=order)


# --- lectures 02 and 03 -----------------------------------------------------------------------------------------------


def test_a_live_curve_is_drawn_once_and_then_in_place(monkeypatch):
    said = []

    class Handle:
        def update(self, data, **kwargs):
            said.append(("update", data))

    def display(data, **kwargs):
        said.append(("display", data))
        return Handle()

    monkeypatch.setattr(plots, "display", display)
    live = plots.Live(x="step", y="loss", title="Falls")
    live({1: 3.0})
    live({1: 3.0, 2: 2.0})
    assert [kind for kind, _ in said] == ["display", "update"]
    assert said[0][1]["text/plain"].splitlines() == ["Falls (loss by step)", "  1 → 3"]
    assert said[1][1]["image/png"][:4] == b"\x89PNG" and said[1][1]["image/png"] != said[0][1]["image/png"]


def test_shaded_colours_each_character_by_its_number():
    html = widgets.shaded("a<\n", [1.0, -0.5, 0.0])
    assert html.count("<span") == 3
    assert "rgba(var(--course-orange, 213, 94, 0), 0.50)" in html
    assert "rgba(var(--course-blue, 0, 114, 178), 0.25)" in html
    assert "&lt;" in html and "↵" in html
    with pytest.raises(ValueError, match="2 characters, 1 numbers"):
        widgets.shaded("ab", [1.0])


def test_unit_explorer_shows_the_unit_that_is_chosen():
    states = {"one": torch.tensor([[0.0, 1.0], [0.5, -1.0]])}
    explorer = widgets.unit_explorer({"one": "ab"}, states, unit=1, captions={0: "first"})
    assert "from -1.00 (blue) to 1.00 (orange)" in explorer.text and "first" not in explorer.text
    explorer.set(unit=0)
    assert "from 0.00 (blue) to 0.50 (orange) · first" in explorer.text
    with pytest.raises(ValueError, match="each text needs its states"):
        widgets.unit_explorer({"one": "ab"}, {})


def test_writer_goes_on_with_the_prompt():
    def write(choice, prompt, temperature, seed):
        yield f"{choice} {temperature} {seed}"

    explorer = widgets.writer(write, choices=["small", "large"], prompt="<i>")
    assert explorer.text == "<i>small 1.0 1"
    explorer.set(choice="large", temperature=0.5)
    assert explorer.text == "<i>large 0.5 1"
    assert widgets.writer(write).text == "None 1.0 1"


def test_attention_explorer_says_where_a_token_looks():
    maps = torch.zeros(2, 1, 2, 2)
    maps[0, 0] = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    maps[1, 0] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    explorer = widgets.attention_explorer(["a", " <b>"], maps)
    assert "“<b>” (token 1) looks at “<b>” 75%, “a” 25%" in explorer.text
    explorer.set(layer=1)
    assert "looks at “a” 100%" in explorer.text
    with pytest.raises(ValueError, match=r"\(layers, heads, 3, 3\)"):
        widgets.attention_explorer(["a", "b", "c"], maps)


# --- texts beside each other ------------------------------------------------------------------------------------------


def test_side_by_side_marks_words_in_html_and_in_plain_text():
    shown = widgets.SideBySide({"model": (["a", "<b>", "c"], [False, True, True]), "true": (["d"], [False])}, note="2")
    bundle = shown._repr_mimebundle_()
    assert re.findall("<mark[^>]*>(.*?)</mark>", bundle["text/html"]) == ["&lt;b&gt; c"]
    assert bundle["text/plain"] == "2\nmodel:\n  a [<b> c]\ntrue:\n  d"


def test_recital_explorer_compares_with_how_the_passage_goes_on():
    asked = []

    def recite(model, words, length):
        asked.append((model, words))
        return ["w3", "x"][:length]

    def compare(written, truth):
        assert truth == ["w3", "w4"]
        return [True, False], [True, False]

    passages = {"one": [f"w{i}" for i in range(6)]}
    explorer = widgets.recital_explorer(passages, recite, compare, models=["small", "large"], prompt=3, length=2)
    assert asked[-1] == ("large", ["w0", "w1", "w2"])
    assert "1 of 2 words in common" in explorer.text
    grown = widgets.recital_explorer(
        passages, lambda *a: ([f"w{i}" for i in range(3, 3 + n)] for n in (1, 2)),
        lambda w, t: ([True] * len(w), [True] * len(t)), models=["m"], prompt=3, length=2,
    )  # fmt: skip
    assert "2 of 2 words in common" in grown.text and len(list(grown._results())) == 2
    with pytest.raises(ValueError, match="more than 6 words"):
        widgets.recital_explorer(passages, recite, compare, models=["m"], length=6)


def test_named_points_carry_their_names(axes):
    plots.named_points({"a": {"one": (2012, 10.0)}, "b": {"two": (2020, 1000.0)}}, x="year", y="size", log="y", ax=axes)
    assert [text.get_text() for text in axes.texts] == ["one", "two"]
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


# --- treemap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[6, 6, 4, 3, 2, 2, 1], [1], [1, 1, 1, 1], [1, 5, 2]])
def test_squarify_fills_the_rectangle_in_proportion_and_without_overlap(sizes):
    found = plots.squarify(sizes, 6, 4)
    np.testing.assert_allclose([w * h for _, _, w, h in found], [24 * size / sum(sizes) for size in sizes])
    for x, y, w, h in found:
        assert x >= -1e-9 and y >= -1e-9 and x + w <= 6 + 1e-9 and y + h <= 4 + 1e-9
    for i, (x, y, w, h) in enumerate(found):
        for x2, y2, w2, h2 in found[:i]:
            assert min(x + w, x2 + w2) - max(x, x2) < 1e-9 or min(y + h, y2 + h2) - max(y, y2) < 1e-9


def test_squarify_gives_the_rectangles_of_the_paper():
    """Figure 4 of Bruls, Huizing and van Wijk: 6, 6, 4, 3, 2, 2, 1 in 6 x 4 begins with two of 3 x 2."""
    assert [(w, h) for _, _, w, h in plots.squarify([6, 6, 4, 3, 2, 2, 1], 6, 4)[:2]] == [(3, 2), (3, 2)]


def test_squarify_wants_positive_sizes():
    with pytest.raises(ValueError, match="positive"):
        plots.squarify([1, 0])


def test_treemap_labels_every_part(shown, axes):
    values = {"tiny": 0.001, "large": 60, "small": 40}
    plots.treemap(values, unit="GiB", title="shares", ax=axes)
    assert [text.get_text() for text in axes.texts] == ["large\n60", "small\n40", "1", "1\xa0tiny\xa00"]
    plots.treemap(values, unit="GiB", title="shares")
    assert "large → 60, small → 40, tiny → 0.001" in shown[0][0]["text/plain"]


def test_treemap_of_groups_gives_each_a_colour_and_a_place(axes):
    plots.treemap({"web": {"a": 30, "b": 10}, "books": {"c": 60}}, unit="GiB", ax=axes)
    c, a, b = axes.patches[:3]
    assert a.get_facecolor() == b.get_facecolor() != c.get_facecolor()
    assert c.get_width() * c.get_height() == pytest.approx(0.6 * 8.6 * 4.4)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["books", "web"]


# --- GPT's widgets ----------------------------------------------------------------------------------------------------


def test_next_token_explorer_shows_the_distribution_that_is_drawn_from():
    from course_utils.data.text import CharTokenizer
    from course_utils.models.sampling import next_token_probabilities
    from course_utils.models.transformer import GPT, Config

    model = GPT(Config(vocab_size=4, context=8, dim=8, layers=1, heads=2), torch.Generator().manual_seed(0))
    explorer = widgets.next_token_explorer(
        model, CharTokenizer("abc "), next_token_probabilities, prompt="abca", most=3
    )
    assert "4 of 4 tokens can be drawn" in explorer.text
    explorer.set(top_k=2)
    assert "2 of 4 tokens can be drawn; those not shown have 0.0% together" in explorer.text
    explorer.set(temperature=0)
    assert "1 of 4" in explorer.text and "100.0%" in explorer.text
    explorer.set(prompt="")
    assert "the prompt is empty" in explorer.text
    assert all(button.disabled for button in explorer.go_on), "no token to go on with"
    explorer.reset.click()
    best = explorer.go_on[0].description
    assert f"{best} " in explorer.text and not explorer.go_on[0].disabled
    explorer.go_on[0].click()
    assert explorer.settings["prompt"] == "abca" + best.replace("␣", " ")


def test_next_token_explorer_reads_the_token_that_begins_a_text():
    from course_utils.data.text import CharTokenizer
    from course_utils.models.sampling import next_token_probabilities
    from course_utils.models.transformer import GPT, Config

    model = GPT(Config(vocab_size=4, context=8, dim=8, layers=1, heads=2), torch.Generator().manual_seed(0))
    tokenizer = CharTokenizer("abc ")
    asked = {"prompt": "ab", "most": 4}
    with_it = widgets.next_token_explorer(model, tokenizer, next_token_probabilities, begin=2, **asked)
    with torch.no_grad():
        p = model(torch.tensor([[2, *tokenizer.encode("ab")]]))[0, -1].softmax(-1)
    assert f"(learned {p.max():.1%})" in with_it.text
    without = widgets.next_token_explorer(model, tokenizer, next_token_probabilities, **asked)
    assert without.text != with_it.text


def test_next_letter_explorer_counts_what_followed():
    from course_utils.models.ngram import NGramModel

    models = {k: NGramModel(k).fit("the cat sat on the mat ") for k in range(4)}
    explorer = widgets.next_letter_explorer(models, prompt="THE", order=3, most=4)
    assert "It has seen “the” 2 times" in explorer.text
    assert "(2 times)" in explorer.text.splitlines()[0] and "␣" in explorer.text.splitlines()[0]
    assert [button.description for button in explorer.go_on][0] == "␣"
    explorer.set(prompt="a🦊", order=2)
    assert "It has seen “a␣” 0 times" in explorer.text, "what it does not know is a space"
    explorer.set(order=0)
    assert "It looks at no letter" in explorer.text
    explorer.set(prompt="", order=3)
    assert "No result" not in explorer.text
    explorer.go_on[1].click()
    assert len(explorer.settings["prompt"]) == 1


def test_canary_explorer_says_the_rank_of_the_secret():
    asked = []

    def score(model, who):
        asked.append((model, who))
        log_p = torch.linspace(0, -5, 16)  # number 0 is the likeliest
        return log_p.log_softmax(0)

    def exposure(log_p, secret):
        return 4 - np.log2(1 + int((log_p > log_p[secret]).sum()))

    explorer = widgets.canary_explorer(
        {"ann": 0, "bob": 7}, {"ann": 8, "bob": 0}, score, exposure, models=["plain", "private"], most=3
    )
    assert "ann, planted 8 times: rank 1 of 16, exposure 4.0 of 4.0 bits" in explorer.text
    explorer.set(times=0)
    assert "bob, planted 0 times: rank 8 of 16, exposure 1.0 of 4.0 bits" in explorer.text
    assert "07 ◀ the secret" in explorer.text and "03" not in explorer.text
    explorer.set(times=8)
    explorer.set(model="private")
    assert asked == [("plain", "ann"), ("plain", "bob"), ("private", "ann")], "each is asked once"


def test_bound_explorer_says_which_of_the_two_decides():
    explorer = widgets.bound_explorer(lambda nats, K: min(nats, np.log(K + 1)))
    assert "K = 15 negatives: the ceiling decides" in explorer.text and "2.77 nats" in explorer.text
    assert "A ceiling of 5.0 nats takes 147 negatives or more" in explorer.text, "ln(K + 1) = 5"
    explorer.set(negatives=10)
    assert "K = 1023 negatives: the ceiling is above what they share" in explorer.text


def test_bars_have_error_bars_where_they_are_given(axes):
    plots.bars({"a": {"x": 50, "y": 30}}, errors={"a": {"x": 4, "y": 2}}, y="%", ax=axes)
    (drawn,) = [collection for collection in axes.collections if len(collection.get_segments()) == 2]
    ends = [sorted(y for _, y in segment) for segment in drawn.get_segments()]
    np.testing.assert_allclose(ends, [[46, 54], [28, 32]])


# --- widgets with pictures --------------------------------------------------------------------------------------------


def test_captions_explorer_scores_what_one_writes():
    from course_utils.show import picture_widgets

    def probabilities(number, lines):
        return torch.tensor([float(len(line) + number) for line in lines]).softmax(0)

    explorer = picture_widgets.captions_explorer(
        torch.rand(3, 3, 8, 8),
        probabilities,
        captions=["a cat", "a <dog>"],
        unknown=lambda line: ["xyz"] * ("x" in line),
    )
    assert "a <dog>" in explorer.text and "88.1%" in explorer.text and "11.9%" in explorer.text
    assert explorer.result.value.count("data:image/png") == 1
    assert explorer.text.index("a <dog>") < explorer.text.index("a cat"), "the likeliest first"
    before = explorer.result.value
    explorer.set(picture=2)
    assert explorer.result.value != before
    explorer.set(captions="x\n\nx\n")
    assert "x (unknown: xyz)" in explorer.text and "100.0%" in explorer.text
    explorer.set(captions=" ")
    assert "there is no caption: write at least one line" in explorer.text


def test_report_card_says_the_scores_and_marks_the_best(axes, shown):
    from course_utils.learn.evaluate import ReportCard

    score = torch.tensor([[0.5, 0.25], [1.0, -0.5]])
    card = ReportCard(["a", "b"], ["object", "size"], ["accuracy", "R²"], score, score * 0, torch.tensor([0.5, 0.0]))
    plots.report_card(card, title="b knows objects", ax=axes)
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0.25], [1, 0]])
    said = {text.get_position(): text for text in axes.texts}
    assert [said[x, y].get_text() for y in (0, 1) for x in (0, 1)] == ["50%", "0.25", "100%", "-0.50"]
    assert {at for at, text in said.items() if text.get_fontweight() == "bold"} == {(0, 1), (1, 0)}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["object\naccuracy", "size\nR²"]
    plots.report_card(card, title="b knows objects")
    assert "a: object → 0.5, size → 0.25" in shown[0][0]["text/plain"]


def test_augmentation_explorer_shows_each_by_its_strength():
    from course_utils.learn import augment
    from course_utils.show import picture_widgets

    explorer = picture_widgets.augmentation_explorer(
        torch.rand(2, 3, 8, 8),
        {"noise": lambda s: augment.GaussianNoise((s, s)), "grey": lambda s: augment.ColourDrop(p=s)},
    )
    assert explorer.result.value.count("data:image/png") == 2
    explorer.set(strength=0.0)
    assert "noise: 0.00; grey: 0.00" in explorer.text, "no strength, no change"
    explorer.set(strength=1.0)
    strong = explorer.result.value
    assert "0.00" not in explorer.text.split("average")[1]
    explorer.set(sample=2)
    assert explorer.result.value != strong
    explorer.set(sample=1)
    assert explorer.result.value == strong
    with pytest.raises(ValueError, match="at least one picture"):
        picture_widgets.augmentation_explorer(torch.rand(2, 3, 8, 8), {})


def test_circle_explorer_draws_each_pair_where_it_is():
    from course_utils.show import picture_widgets

    start = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [-1.0, 0.0]]])  # (2, 2 pairs, 2), any length
    paths = {"turn": torch.stack([start, -start]), "stay": torch.stack([start, start])}
    explorer = picture_widgets.circle_explorer(paths, captions={"turn": lambda p: f"mean {float(p.mean()):.2f}"})
    assert "0°–90°, 90°–180°" in explorer.text and "mean" in explorer.text and "step 0 of 1" in explorer.text
    assert 'cx="100.0" cy="-0.0"' in explorer.result.value, "east is on the right, at any length"
    explorer.set(step=1)
    assert "180°–270°, 270°–0°" in explorer.text
    explorer.set(pull="stay")
    assert "0°–90°, 90°–180°" in explorer.text and "mean" not in explorer.text
    with pytest.raises(ValueError, match="paths must all be"):
        picture_widgets.circle_explorer({"a": start})
