"""course_utils.show.tale_widgets: what the judge found stands in the text, by a sign and not by colour alone."""

from course_utils.data import tales
from course_utils.show import tale_widgets
from course_utils.show.tale_widgets import BROKEN, KEPT, ODD

GIVEN = "Anna was in the barn with a red kite."
TEXT = f"{GIVEN} Anna ran to the hill with it. Anna the the. Anna left the red kite on the beach."


def test_marks_stand_at_their_words_in_order():
    found = tales.marks(TEXT)
    assert found == sorted(found) and {kind for _, _, kind in found} <= {KEPT, BROKEN, ODD}
    assert ("Anna the the.", ODD) in [(TEXT[a:b], kind) for a, b, kind in found]
    verdict = tales.judge(TEXT)
    broken = {fact.word for fact in verdict.facts if not fact.kept}
    assert broken and broken == {(a, b) for a, b, kind in found if kind == BROKEN}


def test_a_prompt_has_no_marks():
    inside = "Anna the the."
    assert (0, len(inside), ODD) in tales.marks(f"{inside} {GIVEN}")
    assert tales.marks(f"{inside} {GIVEN}", start=1) == tales.marks(f"{inside} {GIVEN}", start=1)
    assert not [m for m in tales.marks(f"{inside} {GIVEN}", start=1) if m[0] < len(inside)]


def test_judged_escapes_and_signs():
    html = tale_widgets.judged("a < b in", [(0, 1, KEPT), (6, 8, BROKEN)])
    assert "&lt;" in html and html.count("✓") == 1 and html.count("✗") == 1
    assert html.index("✓") < html.index("&lt;") < html.index("✗")


def test_one_sentence_is_not_several():
    assert "1 sentence that" in tale_widgets.said([(0, 1, ODD)])
    assert "2 sentences that" in tale_widgets.said([(0, 1, ODD), (2, 3, ODD)])


def test_columns_say_how_many_facts_hold_in_html_and_in_words():
    shown = tale_widgets.Judged({"gpt": TEXT}, lambda text: tales.marks(text, 1), given=GIVEN)
    counted = tale_widgets.said(tales.marks(TEXT, 1))
    bundle = shown._repr_mimebundle_()
    assert counted in bundle["text/html"] and counted in bundle["text/plain"]
    assert f"<b>{GIVEN}</b>" in bundle["text/html"]
    assert "✗" not in bundle["text/plain"].partition(GIVEN)[2][:10]
    assert bundle["text/plain"].count("✗") == bundle["text/html"].count("✗") > 0


def test_tellers_go_on_with_the_prompt_and_grow_together():
    def tell(model, prompt, temperature, seed):
        asked.append((model, prompt, temperature, seed))
        yield prompt + " Anna"
        yield prompt + " Anna ran to the hill with it."

    asked = []
    explorer = tale_widgets.tellers(
        tell, lambda text, prompt: tales.marks(text, 1), models=("small", "larger"), prompt=GIVEN
    )
    assert asked[:2] == [("small", GIVEN, 1.0, 1), ("larger", GIVEN, 1.0, 1)]
    assert explorer.text.count("ran to the hill") == 2 and explorer.text.count("facts hold") == 2
    explorer.set(sample=3)
    assert asked[-1] == ("larger", GIVEN, 1.0, 3)
