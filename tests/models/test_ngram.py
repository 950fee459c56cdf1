"""The chains against a slow version made of dictionaries and loops, and against numbers that can be checked by hand."""

import math
import random
import time
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course_utils.models import ngram
from course_utils.models.ngram import NGramModel

ABRA = "abracadabra"
ORDERS = range(9)
SMOOTHINGS = [0.01, 1, "witten-bell"]


class SlowChain:
    """The definition, one symbol at a time: counts in dictionaries, probabilities by recursion."""

    def __init__(self, text, alphabet, order, smoothing):
        self.alphabet, self.order, self.smoothing = alphabet, order, smoothing
        self.followers = defaultdict(Counter)
        for i in range(len(text)):
            for j in range(min(order, i) + 1):
                self.followers[tuple(text[i - j : i])][text[i]] += 1

    def probability(self, symbol, context):
        context = tuple(context)[max(0, len(context) - self.order) :]
        seen, V = self.followers.get(context, Counter()), len(self.alphabet)
        if self.smoothing != "witten-bell":
            if not seen:
                return 1 / V
            return (seen[symbol] + self.smoothing) / (seen.total() + self.smoothing * V)
        shorter = self.probability(symbol, context[1:]) if context else 1 / V
        if not seen:
            return shorter
        return (seen[symbol] + len(seen) * shorter) / (seen.total() + len(seen))

    def probabilities(self, text):
        return [self.probability(symbol, text[:i]) for i, symbol in enumerate(text)]


def made_text(length, alphabet="abcde", seed=0):
    """A text with structure: each symbol likes to repeat what came three symbols before."""
    draw, text = random.Random(seed), []
    for i in range(length):
        text.append(text[i - 3] if i > 3 and draw.random() < 0.6 else draw.choice(alphabet))
    return "".join(text)


@pytest.fixture(params=[2**22, 6], ids=["tables", "trie"])
def table_entries(request, monkeypatch):
    """Both ways of counting: 6 entries leave a table for order 0 only."""
    monkeypatch.setattr(ngram, "TABLE_ENTRIES", request.param)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_counts_of_abracadabra():
    counts = NGramModel(1).fit(ABRA).counts  # rows: a b c d r
    assert counts.tolist() == [[0, 2, 1, 1, 0], [0, 0, 0, 0, 2], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [2, 0, 0, 0, 0]]
    assert NGramModel(0).fit(ABRA).counts.tolist() == [5, 2, 1, 1, 2]


def test_additive_smoothing_by_hand(table_entries):
    model = NGramModel(1, smoothing=1).fit(ABRA)
    assert model.distribution("a").tolist() == pytest.approx([1 / 9, 3 / 9, 2 / 9, 2 / 9, 1 / 9])
    # "ab": the first symbol from no context (5 + 1) / (11 + 5), the second from "a"
    assert model.log_probability("ab") == pytest.approx(math.log(6 / 16 * 3 / 9))


def test_witten_bell_by_hand(table_entries):
    model = NGramModel(2, "witten-bell").fit(ABRA)
    of_a = (5 + 5 / 5) / (11 + 5)  # no context: 11 symbols, 5 kinds, then uniform
    after_r = (2 + 1 * of_a) / (2 + 1)
    after_br = (2 + 1 * after_r) / (2 + 1)
    assert model.distribution("br")[0].item() == pytest.approx(after_br)
    assert model.distribution("xbr"[1:])[0].item() == pytest.approx(after_br)
    assert model.distribution("dr")[0].item() == pytest.approx(after_r)  # "dr" never occurs: what "r" predicts
    assert model.distribution("r")[0].item() == pytest.approx(after_r)
    assert model.distribution("")[0].item() == pytest.approx(of_a)


def test_without_smoothing_the_unseen_is_impossible(table_entries):
    model = NGramModel(1, smoothing=0).fit("abab c")
    assert model.log_probability("ac") == -math.inf
    assert model.bits_per_symbol("ac") == math.inf
    assert model.log_probability("ab") == pytest.approx(math.log(2 / 6))  # after "a" always "b"
    assert model.distribution("a").tolist() == [0, 0, 1, 0]
    assert model.distribution("c").tolist() == [0.25] * 4  # "c" ends the text: nothing is known


def test_uniform():
    model = NGramModel.uniform("abcd")
    assert model.bits_per_symbol("abcacbd") == 2
    assert model.distribution("").tolist() == [0.25] * 4
    assert NGramModel.uniform(8).bits_per_symbol(torch.tensor([0, 7])) == 3
    assert set(NGramModel.uniform(["to", "be"]).sample(50, generator=seeded(0))[0]) == {"to", "be"}
    for wrong in (0, -1, True, "", [], 2.5, None):
        with pytest.raises(ValueError, match="size=|empty|text must be"):
            NGramModel.uniform(wrong)


# --- against the slow version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", ORDERS)
def test_probabilities_equal_the_slow_version(order, smoothing, table_entries):
    train, other = made_text(400), made_text(120, seed=1)
    slow = SlowChain(train, "abcde", order, smoothing)
    model = NGramModel(order, smoothing).fit(train)
    for text in (train, other, other[:1], other[:order], other[: order + 1]):
        if text:
            expected = torch.tensor(slow.probabilities(text), dtype=torch.float64)
            torch.testing.assert_close(model.probabilities(text), expected, rtol=1e-12, atol=0)
    for context in ("", "a", "dab", "abcde", other[:7], other[:20]):
        expected = torch.tensor([slow.probability(symbol, context) for symbol in "abcde"])
        torch.testing.assert_close(model.distribution(context), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("entries", [6, 25, 125, 626, 2**22])
def test_tables_and_trie_give_the_same_numbers(entries, monkeypatch):
    text = made_text(2000)
    for smoothing in SMOOTHINGS:
        expected = NGramModel(5, smoothing).fit(text)
        monkeypatch.setattr(ngram, "TABLE_ENTRIES", entries)
        model = NGramModel(5, smoothing).fit(text)
        monkeypatch.undo()
        assert (model._trie is None) == (entries == 2**22)  # the two really went different ways
        torch.testing.assert_close(model.probabilities(text), expected.probabilities(text), rtol=1e-12, atol=0)
        for temperature in (0, 0.5, 1, 2):
            of_trie = model.sample(40, 30, temperature, "ab", seeded(3))
            of_tables = expected.sample(40, 30, temperature, "ab", seeded(3))
            assert of_trie == of_tables


@settings(deadline=None)
@given(
    text=st.text(alphabet="ab \nßπ🙂", min_size=1, max_size=60),
    context=st.text(alphabet="ab \nßπ🙂", max_size=10),
    order=st.integers(0, 8),
    smoothing=st.one_of(st.just("witten-bell"), st.floats(0, 100), st.integers(0, 3)),
    entries=st.sampled_from([1, 50, 2**22]),
)
def test_distributions_are_distributions(text, context, order, smoothing, entries):
    order = min(order, len(text) - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram, "TABLE_ENTRIES", entries)
        model = NGramModel(order, smoothing).fit(text, alphabet="ab \nßπ🙂")
    p = model.distribution(context)
    assert p.shape == (7,) and (p >= 0).all()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    # the texts of one length are a distribution too: bits are over all symbols, the first ones included
    total = sum(model.probabilities(a + b).prod().item() for a in "ab \nßπ🙂" for b in "ab \nßπ🙂")
    assert total == pytest.approx(1, abs=1e-9)


def test_long_contexts_over_a_large_alphabet_do_not_overflow():
    """3000 ** 9 sequences are more than an int64 can number."""
    words = [f"w{random.Random(i).randrange(3000)}" for i in range(4000)] * 2
    model, slow = NGramModel(8, "witten-bell").fit(words), SlowChain(words, set(words), 8, "witten-bell")
    expected = torch.tensor(slow.probabilities(words[:300]), dtype=torch.float64)
    torch.testing.assert_close(model.probabilities(words[:300]), expected, rtol=1e-12, atol=0)
    assert model.sample(20, prompt=words[100:108], temperature=0)[0] == words[108:128]


# --- what is measured -------------------------------------------------------------------------------------------------


def test_bits_are_comparable_across_orders():
    """Whatever the order, all symbols are counted: bits × symbols = -log2 P(text)."""
    text = made_text(300)
    for order in ORDERS:
        model = NGramModel(order).fit(text)
        assert model.probabilities(text).shape == (300,)
        assert model.bits_per_symbol(text) == pytest.approx(-model.log_probability(text) / math.log(2) / 300)
        assert model.bits_per_character(text) == pytest.approx(model.bits_per_symbol(text))


def test_the_first_symbols_are_scored_with_shorter_contexts():
    """So they cost the same under every order that looks back further."""
    text, beginning = made_text(300), "abd"
    expected = NGramModel(2, "witten-bell").fit(text).log_probability(beginning)
    for order in (3, 5, 8):
        assert NGramModel(order, "witten-bell").fit(text).log_probability(beginning) == pytest.approx(expected)


def test_bits_per_character_of_words_counts_the_spaces():
    words = "to be or not to be".split()
    model = NGramModel(1).fit(words)
    assert model.bits_per_character(words) == pytest.approx(-model.log_probability(words) / math.log(2) / 18)
    with pytest.raises(ValueError, match="bits_per_symbol"):
        NGramModel(0).fit(torch.tensor([0, 1]), 2).bits_per_character(torch.tensor([0, 1]))


def test_higher_orders_overfit():
    text = made_text(3000)
    train, held_out = text[:2700], text[2700:]
    of_train = [NGramModel(k).fit(train).bits_per_symbol(train) for k in ORDERS]
    additive = [NGramModel(k).fit(train).bits_per_symbol(held_out) for k in ORDERS]
    assert of_train == sorted(of_train, reverse=True)
    assert additive.index(min(additive)) == 3  # the text was made with a memory of three symbols
    assert additive[3:6] == sorted(additive[3:6])


# --- symbols and alphabets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_characters_words_and_codes_agree(smoothing):
    text = made_text(500)
    of_text = NGramModel(3, smoothing).fit(text)
    of_words = NGramModel(3, smoothing).fit(list(text))
    codes = torch.tensor(["abcde".index(symbol) for symbol in text])
    of_codes = NGramModel(3, smoothing).fit(codes, 5)
    assert of_text.log_probability(text) == of_words.log_probability(list(text)) == of_codes.log_probability(codes)
    [a], [b], [c] = (
        of_text.sample(30, prompt="abc", generator=seeded(1)),
        of_words.sample(30, prompt=["a", "b", "c"], generator=seeded(1)),
        of_codes.sample(30, prompt=torch.tensor([0, 1, 2]), generator=seeded(1)),
    )
    assert a == "".join(b) == "".join("abcde"[code] for code in c.tolist())


def test_any_character_survives():
    text = "naïve 🙂 text\n\t\x00 with \ud800 lone surrogates … 日本語" * 3
    model = NGramModel(4, smoothing=0).fit(text)
    assert "".join(model.alphabet.symbols) == "".join(sorted(set(text)))
    assert model.sample(30, temperature=0, prompt=text[:4])[0] == text[4:34]
    assert model.bits_per_symbol(text) < 1


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_codes_of_any_integer_type(dtype):
    codes = torch.tensor([0, 199, 250, 0, 199, 250, 0, 199], dtype=dtype)
    model = NGramModel(2).fit(codes, size=251)  # so that a pair is no longer a number below 256
    sample = model.sample(6, n=2, temperature=0, prompt=codes[:2])
    assert sample.dtype == torch.int64 and sample.tolist() == [[250, 0, 199, 250, 0, 199]] * 2
    assert torch.equal(model.probabilities(codes), model.probabilities(codes.long()))
    assert model.view(1).counts[199, 250] == 2


def test_symbols_outside_the_alphabet():
    model = NGramModel(1).fit("abab")
    with pytest.raises(ValueError, match=r"2 symbols .* alphabet of 2: 'x', 'é'.*alphabet=.*unknown="):
        model.bits_per_symbol("abéx")
    with pytest.raises(ValueError, match="'x'"):
        model.sample(3, prompt="x")
    with pytest.raises(ValueError, match="'c'"):
        NGramModel(1).fit("abc", alphabet="ab")
    with pytest.raises(ValueError, match="'either'"):
        NGramModel(0).fit("to be".split()).log_probability(["to", "either"])
    with pytest.raises(ValueError, match=r"0 … 2 \(size=3\), got 0 … 3"):
        NGramModel(1).fit(torch.tensor([0, 1, 3]), size=3)


def test_an_alphabet_makes_room_for_symbols_that_come_later(table_entries):
    model = NGramModel(1, smoothing=1).fit("abab", alphabet="abc")
    assert model.distribution("a").tolist() == pytest.approx([1 / 5, 3 / 5, 1 / 5])
    assert model.log_probability("c") == pytest.approx(math.log(1 / 7))


def test_unknown_stands_for_all_other_symbols():
    text = made_text(200)
    model = NGramModel(2).fit(text, unknown="?")
    assert model.alphabet.symbols == list("?abcde")
    assert model.log_probability("ab🙂cx") == model.log_probability("ab?c?")
    rare = NGramModel(1).fit("to be or not to be".split(), alphabet=["to", "be"], unknown="<unk>")
    assert rare.alphabet.symbols == ["<unk>", "be", "to"]
    assert rare.counts.tolist() == [[1, 0, 1], [1, 0, 0], [0, 2, 0]]
    assert rare.log_probability(["either"]) == rare.log_probability(["<unk>"])


# --- sampling ---------------------------------------------------------------------------------------------------------


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def five_sigma(observed, probabilities):
    """Fail if counts differ from what the probabilities promise by more than chance explains (chi-square, 5 sigma)."""
    expected = probabilities.double() / probabilities.double().sum() * sum(observed)
    assert all(count == 0 for count, wanted in zip(observed, expected) if wanted == 0)
    pairs = [(count, wanted.item()) for count, wanted in zip(observed, expected) if wanted > 0]
    if len(pairs) == 1:
        return
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in pairs)
    assert stats.chi2.sf(statistic, len(pairs) - 1) > 2 * stats.norm.sf(5), (observed, expected)


@pytest.mark.parametrize("temperature", [0.5, 1, 2])
@pytest.mark.parametrize("smoothing", [0, 0.5, "witten-bell"])
def test_samples_follow_the_distribution(smoothing, temperature, table_entries):
    model = NGramModel(3, smoothing).fit(made_text(600))
    draws = [text for text in model.sample(4, 20_000, temperature, generator=seeded(5))]
    for context in ("", "a", "ab", "abc"):  # as they follow each other at the start of a text
        after = Counter(text[len(context)] for text in draws if text.startswith(context))
        p = model.distribution(context).double() ** (1 / temperature)
        five_sigma([after[symbol] for symbol in "abcde"], p)
    after = Counter(text[0] for text in model.sample(1, 20_000, temperature, "eeabc", seeded(6)))
    five_sigma([after[symbol] for symbol in "abcde"], model.distribution("abc").double() ** (1 / temperature))


def test_long_samples_keep_the_statistics(table_entries):
    """Pairs far from the start still follow the chain: no step forgets or shifts its context."""
    model = NGramModel(2, 0.1).fit(made_text(600))
    texts = model.sample(60, 2000, generator=seeded(7))
    after = Counter(text[i + 2] for text in texts for i in (20, 40, 57) if text[i : i + 2] == "ca")
    five_sigma([after[symbol] for symbol in "abcde"], model.distribution("ca"))


@pytest.mark.parametrize("chance, which", [(0.0, 0), (1 - 2**-53, -1)])
def test_the_smallest_and_the_largest_random_number(chance, which, table_entries, monkeypatch):
    """They draw the first and the last symbol that is possible, never one that is not, nor one of the next context."""
    text = made_text(600, "bcd")
    model = NGramModel(2, smoothing=0).fit(text, alphabet="abcde")
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, chance, dtype=torch.float64))
    [sample] = model.sample(30)
    for i in range(30):
        assert sample[i] == sorted(model.alphabet.symbols[j] for j in model.distribution(sample[:i]).nonzero())[which]


def test_temperature_zero_is_greedy(table_entries):
    model = NGramModel(3, "witten-bell").fit(made_text(600))
    [text] = model.sample(50, temperature=0)
    for i in range(50):
        assert text[i] == "abcde"[model.distribution(text[:i]).argmax()]
    assert model.sample(50, n=3, temperature=0, generator=seeded(1)) == [text] * 3
    assert model.sample(50, temperature=1e-9, generator=seeded(1)) == [text]  # and nothing under- or overflows near it


def test_chains_of_a_batch_are_independent_and_reproducible(table_entries):
    model = NGramModel(2).fit(made_text(600))
    texts = model.sample(30, 50, generator=seeded(8))
    assert texts == model.sample(30, 50, generator=seeded(8))
    assert texts != model.sample(30, 50, generator=seeded(9))
    assert len(texts) == 50 and {len(text) for text in texts} == {30} and len(set(texts)) == 50
    generator = seeded(8)
    assert model.sample(30, 50, generator=generator) != model.sample(30, 50, generator=generator)  # it moves on


@pytest.mark.parametrize("context", ["", "a", "br", "abra", "xabr", "cabra", "zzz"])
@pytest.mark.parametrize("order", [0, 2, 4])
def test_counts_after_a_context(context, order, table_entries):
    model = NGramModel(order).fit(ABRA, alphabet=ABRA + "xz")
    last = context[max(0, len(context) - order) :]
    places = [i for i in range(len(last), len(ABRA)) if ABRA[i - len(last) : i] == last]
    expected = [sum(ABRA[i] == symbol for i in places) for symbol in model.alphabet.symbols]
    assert model.counts_after(context).tolist() == expected


@pytest.mark.parametrize("temperature", [0, 0.3, 1.0, 2.0])
def test_a_single_text_is_the_one_that_a_batch_would_draw(temperature, monkeypatch):
    monkeypatch.setattr(ngram, "TABLE_ENTRIES", 27)
    model = NGramModel(4, smoothing="witten-bell").fit("the cat sat on the mat and the rat ate the cat " * 3)
    for prompt in ("", "t", "the r", "dddddd"):
        for seed in range(5):
            single = model.sample(
                60, temperature=temperature, prompt=prompt, generator=torch.Generator().manual_seed(seed)
            )
            state = model._state(model._encode(prompt), 1)
            chance = torch.rand(60, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            assert single == model.alphabet.decode(model._sample_trie(state, chance, temperature))


def test_sampling_leaves_the_global_seed_alone():
    model = NGramModel(1).fit(made_text(100))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, other = model.sample(40), model.sample(40)
    assert one != other
    assert torch.equal(torch.rand(3), expected)


def test_only_the_last_symbols_of_a_prompt_count(table_entries):
    model = NGramModel(2).fit(made_text(600))
    assert model.sample(9, prompt="eeeeedab", generator=seeded(1)) == model.sample(9, prompt="ab", generator=seeded(1))
    assert NGramModel(0).fit("ab").sample(3, prompt="ab", temperature=0) == ["aaa"]  # of equals the first


def test_another_temperature_is_not_answered_from_the_last_one():
    model = NGramModel(1, 1).fit(made_text(100))
    hot = model.sample(40, 20, 5.0, generator=seeded(1))
    assert model.sample(40, 20, 0.1, generator=seeded(1)) != hot
    assert model.sample(40, 20, 5.0, generator=seeded(1)) == hot
    model.fit(made_text(100, seed=3))  # nor from the last text
    assert model.sample(40, 20, 5.0, generator=seeded(1)) != hot


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_view_equals_a_model_fitted_anew(smoothing, monkeypatch):
    monkeypatch.setattr(ngram, "TABLE_ENTRIES", 125)  # tables up to order 2, then the trie
    text, other = made_text(1000), made_text(200, seed=1)
    big = NGramModel(6, "witten-bell").fit(text)
    for order in range(7):
        model, view = NGramModel(order, smoothing).fit(text), big.view(order, smoothing)
        assert torch.equal(view.probabilities(other), model.probabilities(other))
        assert view.sample(20, 5, 0.8, generator=seeded(2)) == model.sample(20, 5, 0.8, generator=seeded(2))
    assert big.order == 6 and big.smoothing == "witten-bell" and big.view().order == 6
    with pytest.raises(ValueError, match="order 7 was not counted"):
        big.view(7)


# --- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [-1, 1.5, "2", None, True])
def test_wrong_order(order):
    with pytest.raises(ValueError, match="order must be a whole number ≥ 0"):
        NGramModel(order)


@pytest.mark.parametrize("smoothing", [-0.1, math.nan, math.inf, "laplace", None, True])
def test_wrong_smoothing(smoothing):
    with pytest.raises(ValueError, match="smoothing must be a number ≥ 0"):
        NGramModel(2, smoothing)


def test_texts_that_are_too_short():
    with pytest.raises(ValueError, match="order 3 needs a text of at least 4 symbols, got 3"):
        NGramModel(3).fit("abc")
    assert NGramModel(3).fit("abcd").sample(1, temperature=0, prompt="abc") == ["d"]
    for empty in ("", []):
        with pytest.raises(ValueError, match="empty"):
            NGramModel(0).fit(empty)
    with pytest.raises(ValueError, match="at least 1 symbols, got 0"):
        NGramModel(0).fit(torch.tensor([], dtype=torch.long), 3)
    model = NGramModel(3).fit("abcd")
    for method in (model.log_probability, model.bits_per_symbol, model.bits_per_character, model.probabilities):
        with pytest.raises(ValueError, match="the text is empty"):
            method("")


@pytest.mark.parametrize(
    "text", [None, 5, b"bytes", {"a": 1}, [1, 2], ["a", 1], torch.rand(4), torch.ones(2, 2).long()]
)
def test_wrong_kinds_of_text(text):
    with pytest.raises(ValueError, match="text must be a str|codes must be integers"):
        NGramModel(0).fit(text)
    with pytest.raises(ValueError, match="text must be a str|codes must be integers"):
        NGramModel(0).fit("abc").distribution(text)


def test_the_kind_must_stay_the_same():
    model = NGramModel(1).fit("to be or not to be".split())
    with pytest.raises(ValueError, match=r"fitted on words, got characters: give e\.g\. \"a text\"\.split"):
        model.bits_per_symbol("to be")
    with pytest.raises(ValueError, match="fitted on characters, got words"):
        NGramModel(1).fit("to be").sample(3, prompt=["to"])


def test_wrong_alphabets():
    for size in (None, 0, -1, 2.5, True):
        with pytest.raises(ValueError, match="codes need the number of symbols"):
            NGramModel(0).fit(torch.tensor([0, 1]), size)
    with pytest.raises(ValueError, match="size is for codes only"):
        NGramModel(0).fit("abc", 3)
    with pytest.raises(ValueError, match="alphabet must be a str or a list of str"):
        NGramModel(0).fit("abc", alphabet=5)
    with pytest.raises(ValueError, match="single characters, got 'bc'"):
        NGramModel(0).fit("abc", alphabet=["a", "bc"])
    with pytest.raises(ValueError, match="single characters, got '<unk>'"):
        NGramModel(0).fit("abc", unknown="<unk>")
    with pytest.raises(ValueError, match="codes have no alphabet"):
        NGramModel(0).fit(torch.tensor([0, 1]), 2, unknown="?")


def test_nothing_works_before_fit():
    for use in (
        lambda model: model.distribution("a"),
        lambda model: model.sample(3),
        lambda model: model.log_probability("a"),
        lambda model: model.counts,
    ):
        with pytest.raises(ValueError, match="fit"):
            use(NGramModel(1))


@pytest.mark.parametrize("name", ["length", "n"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", None, True])
def test_wrong_numbers_of_samples(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number ≥ 1, got"):
        NGramModel(1).fit("abab").sample(**{"length": 3, name: wrong})


@pytest.mark.parametrize("temperature", [-0.1, math.inf, math.nan, "1", None, True])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="temperature must be a number ≥ 0"):
        NGramModel(1).fit("abab").sample(3, temperature=temperature)


def test_counts_that_fit_no_table():
    model = NGramModel(3).fit([str(i) for i in range(200)])
    with pytest.raises(ValueError, match=r"200 \*\* 4 counts do not fit in one table.*view\(order=1\)\.counts"):
        _ = model.counts
    assert model.view(order=1).counts.sum() == 199


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_megabyte_takes_no_patience():
    """Far above what it takes (benchmarks/ngram.py measures), far below what a loop over symbols would."""
    text = made_text(10_000, "abcdefghijklmnopqrstuvwxyz ,.") * 110
    start = time.process_time()
    model = NGramModel(2).fit(text)
    model.bits_per_symbol(text)
    model.sample(100, 100, generator=seeded(0))
    assert time.process_time() - start < 1.5
