"""The recipes of the models that tell tales and learn kinds, and what those models keep."""

import math

import pytest
import torch

from course_utils import pretrained, runtime
from course_utils.data import tales
from course_utils.data.tales import kinds
from course_utils.learn import losses
from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config
from course_utils.recipes import kinds as kinds_recipe
from course_utils.recipes import tales as recipe


@pytest.fixture(scope="module")
def tokenizer():
    return tales.tokenizer()


@pytest.fixture(scope="module")
def few():
    return [tale.text for tale in tales.write(40, runtime.seed(7))]


@pytest.fixture
def small_pool(monkeypatch):
    rows = recipe.learned(300)
    monkeypatch.setattr(recipe, "learned", lambda: rows)
    return rows


# --- tales as rows ----------------------------------------------------------------------------------------------------


def test_a_tale_is_a_row_between_two_ends(tokenizer, few):
    table, lengths = recipe.rows(few, tokenizer)
    assert table.shape == (40, int(lengths.max())) and lengths.max() <= recipe.LONGEST
    for row, length, text in zip(table.tolist(), lengths.tolist(), few):
        assert row[0] == row[length - 1] == tokenizer.end and set(row[length:]) <= {tokenizer.end}
        assert tokenizer.decode(row[1 : length - 1]) == text


def test_batches_are_drawn_by_the_generator_and_have_one_length(small_pool):
    draw = recipe.batches(16)
    (codes, real), (again, _), (other, _) = draw(runtime.seed(0)), draw(runtime.seed(0)), draw(runtime.seed(1))
    assert codes.equal(again) and not codes.equal(other)
    assert codes.shape[1] == int(real.sum(1).max()) and real.float().mean() > 0.9
    starts = {int(draw(runtime.seed(n))[1].sum()) for n in range(40)}
    assert len(starts) > 10, "short tales and long ones"


@pytest.mark.parametrize("kind", ["gpt", "rnn"])
def test_the_loss_is_that_of_each_word_of_a_tale(kind, tokenizer, few):
    if kind == "gpt":
        model = GPT(Config(len(tokenizer), recipe.LONGEST, 16, 1, 2), runtime.seed(0))
        logits = model
    else:
        model = CharRNN(RNNConfig(len(tokenizer), "lstm", 16, embedding=8), runtime.seed(0))
        logits = lambda x: model(x)[0]  # noqa: E731
    codes, real = recipe.cut(*recipe.rows(few, tokenizer))
    expected = losses.next_token_loss(logits(codes[:, :-1]), codes, real)
    assert recipe.next_word_loss(model, codes, real).item() == pytest.approx(expected.item(), abs=1e-5)
    longer = torch.nn.functional.pad(codes, (0, 3), value=tokenizer.end)
    again = recipe.next_word_loss(model, longer, torch.nn.functional.pad(real, (0, 3), value=False))
    assert again.item() == pytest.approx(expected.item(), abs=1e-5), "padding costs nothing"


# --- what they write --------------------------------------------------------------------------------------------------


def test_models_tell_as_many_tales_as_were_asked_for(tokenizer):
    model = GPT(Config(len(tokenizer), recipe.LONGEST, 8, 1, 1), runtime.seed(0))
    found = recipe.told_by(model, tokenizer, 7, 0)
    assert len(found) == 7 and found == recipe.told_by(model, tokenizer, 7, 0) != recipe.told_by(model, tokenizer, 7, 1)


def test_a_tale_ends_at_the_end_token(tokenizer):
    class Ends(torch.nn.Linear):
        def generate(self, prompt, length, *, temperature, generator):
            assert prompt.tolist() == [[tokenizer.end]] * 2 and length == recipe.LONGEST - 1 and temperature == 0.5
            key, end = tokenizer.encode("key").item(), tokenizer.end
            return torch.tensor([[key, key, end, key], [key] * 4])

    assert recipe.told_by(Ends(1, 1), tokenizer, 2, 0, temperature=0.5) == ["key key", "key key key key"]


def test_the_chain_begins_as_tales_do_and_copies_what_it_has_read(tokenizer, small_pool):
    table, lengths = small_pool
    begun = {tokenizer.decode(row[1:4]) for row in table.tolist()}
    found = recipe.told_by(recipe.chain(tokenizer), tokenizer, 20, 0)
    assert all(text for text in found)
    assert sum(tokenizer.decode(tokenizer.encode(text)[:3]) in begun for text in found) >= 15
    assert recipe.facts_kept(found)["well formed"] > 0.1


def test_facts_kept_of_the_teller_and_of_nonsense(few):
    kept = recipe.facts_kept(few)
    assert kept == {"well formed": 1, "grade 1": 1, "grade 2": 1, "grade 3": 1, "grade 4": 1}
    nothing = recipe.facts_kept(["The the the. Key was a goat in."])
    assert nothing["well formed"] == 0 and math.isnan(nothing["grade 1"])


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_words_are_hidden_and_signs_are_not():
    tokenizer = kinds.tokenizer()
    codes = tokenizer.encode_batch(kinds.write(500, runtime.seed(0)))[0]
    hidden, targets = kinds_recipe.hide(codes, runtime.seed(1))
    chosen = targets != losses.NOT_A_TARGET
    assert chosen[:, 1:-1].float().mean() == pytest.approx(kinds_recipe.HIDDEN, abs=0.02)
    assert not chosen[:, [0, -1]].any() and hidden[~chosen].equal(codes[~chosen])
    assert targets[chosen].equal(codes[chosen])


def test_neighbours_are_of_one_kind_where_vectors_say_so():
    tokenizer = kinds.tokenizer()
    model = BERT(BERTConfig(len(tokenizer), 17, 16, 1, 2, token_types=1), runtime.seed(0))
    assert kinds_recipe.neighbours(model) < 0.4
    with torch.no_grad():
        for i, kind in enumerate(kinds.KINDS):
            model.tokens.weight[torch.cat([tokenizer.encode(noun) for noun in kinds.NOUNS[kind]]), i] += 1
    assert kinds_recipe.neighbours(model) == 1


def test_the_bundled_bert_has_learned_the_kinds():
    """Its loss has fallen from the plateau to the world's own entropy; the curve shows when."""
    model, _ = pretrained.load("kinds-bert", device="cpu")
    card = pretrained.card("kinds-bert")
    assert kinds_recipe.neighbours(model) == card["neighbours"] >= 0.99
    assert card["entropy"] == pytest.approx(kinds.entropy(kinds_recipe.HIDDEN), abs=1e-3)
    assert abs(card["held_out_loss"] - card["entropy"]) < 0.06 < (card["plateau"] - card["held_out_loss"]) / 2
    curve = dict(zip(card["curve"]["step"], card["curve"]["held_out_loss"]))
    on_the_plateau = [loss for step, loss in curve.items() if step < 300]
    assert min(on_the_plateau) > card["plateau"], "for a while it saw no tie between verb and noun"
