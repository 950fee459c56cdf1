"""The two widgets of lecture 08: the puzzle against the model, and grey pictures painted."""

import torch

from course_utils.learn import pretext
from course_utils.runtime import seed
from course_utils.show.picture_widgets import colour_explorer, jigsaw_explorer

IMAGES = torch.rand(3, 3, 30, 30, generator=seed(0))
ORDERS = pretext.permutation_set(10)


def puzzle(images, number):
    tiles, which = pretext.jigsaw(images, ORDERS, seed(number))
    return tiles, ORDERS[which]


def test_the_right_answer_is_right_and_the_wrong_one_is_counted():
    widget = jigsaw_explorer(IMAGES, puzzle, lambda tiles: ORDERS[1:2])
    for number in range(3):
        order = puzzle(IMAGES[number : number + 1], number)[1][0]
        right = "".join(str(int(tile) + 1) for tile in order.argsort())  # cell by cell, the tile that belongs there
        widget.set(picture=number, answer=right, reveal=True)
        model = int((ORDERS[1] == order).sum())
        assert f"You put 9 of 9 tiles into their place, the model {model}." in widget.text
    widget.set(answer="123456789")
    assert f"You put {int((order == torch.arange(9)).sum())} of 9" in widget.text


def test_an_answer_that_is_no_order_gets_a_sentence():
    widget = jigsaw_explorer(IMAGES, puzzle, lambda tiles: ORDERS[1:2])
    for answer in ("", "12345678", "112345678", "abc"):
        widget.set(answer=answer)
        assert "write each of the numbers 1 … 9 once" in widget.text
    widget.set(**{"answer": "987654321"})
    assert "No result" not in widget.text
    assert "what it was" not in widget.text, "nothing is given away before it is asked for"


def test_painters_are_asked_with_the_temperature_and_measured():
    asked = []

    def painter(images, temperature):
        asked.append(temperature)
        return torch.zeros_like(images)

    widget = colour_explorer(IMAGES, {"black": painter})
    widget.set(temperature=1.0)
    assert asked[0] == 0.38
    assert abs(asked[-1] - 1) < 1e-6
    assert "black: 0.00" in widget.text
    assert "grey: 0.00" in widget.text
    truth = float((IMAGES[0].amax(0) - IMAGES[0].amin(0)).mean())
    assert f"true: {truth:.2f}" in widget.text
