"""The table of floors: what counts as met, and that its rows are those that were promised."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import floors  # noqa: E402


@pytest.mark.parametrize(
    ("reached", "error", "floor", "by", "met"),
    [(0.91, 0.01, 0.9, 0, True), (0.89, 0.5, 0.9, 0, False), (0.06, 0.01, 0, 5, True), (0.04, 0.01, 0, 5, False)],
)
def test_when_a_floor_is_met(reached, error, floor, by, met):
    row = floors.Row("simclr", "object", reached, error, floor, by)
    assert row.met is met and ("yes" if met else "**no**") in str(row)
    assert f"{reached:.3f} ± {error:.3f}" in str(row)


def test_an_aim_that_is_missed_is_no_failure_but_is_shown():
    assert "not yet" in str(floors.Row("patch", "object", 0.4, 0.01, 0.5, aim=True))


@pytest.fixture(scope="module")
def rows():
    """Fewer cards than the table is made with: enough to see what the table says, and not whether it holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floors, "LABELLED", 300)
        return floors.pictures(100)


def test_every_promise_has_a_row(rows):
    promised = {(row.checkpoint, row.what): (row.floor, row.by) for row in rows if not row.aim}
    assert promised["simclr", "object, linear probe"] == (0.90, 0)
    assert promised["supcon", "object, linear probe"] == (0.97, 0)
    assert promised["supcon", "object, gain over simclr"] == (0, 5)
    assert promised["clip", "object, linear probe"] == (0.95, 0)
    assert promised["clip", "colour, linear probe"] == (0.96, 0)
    assert promised["clip", "object and colour of unseen combinations, zero-shot"] == (0.90, 0)
    for name in ("patch", "jigsaw", "colour"):
        assert promised[name, "object, gain over pixels"] == promised[name, "object, gain over random"] == (0, 3)
    for name in ("ae", "dae", "vae"):
        assert (name, "squared error below PCA's with 64 numbers") in promised
    for other in ("ae", "vae", "PCA, its best size"):
        assert promised["dae", f"noisy cards: squared error below that of {other}"] == (0, 3)


def test_every_row_has_an_error_bar(rows):
    assert all(math.isfinite(row.reached) and math.isfinite(row.error) for row in rows)
    assert all(row.error > 0 or row.reached == 1 for row in rows), "none but where every card was right"
