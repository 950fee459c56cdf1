"""The BPE tokenizer: loses nothing, learns the same twice, pads and cuts as it says."""

import random
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer

TEXT = (
    "the cat sat on the mat, and the other cat sat on the hat.\nThe shape of the array is the shape of the data.\n" * 5
)

SMALL = BPETokenizer.train(TEXT, vocab_size=280)


@pytest.fixture(scope="module")
def gpt():
    return BPETokenizer.train(TEXT, vocab_size=290)


@pytest.fixture(scope="module")
def bert():
    return BPETokenizer.train(TEXT, vocab_size=290, special=BERT_SPECIAL)


def test_round_trip_loses_nothing_even_of_what_was_never_seen(gpt):
    for text in (TEXT, "", "漢字 naïve\t\n\n  two  spaces\r\n😀", "\x00"):
        assert gpt.decode(gpt.encode(text)) == text
    assert gpt.encode(TEXT).dtype == torch.long
    assert len(gpt.encode(TEXT)) < len(TEXT) / 2  # pieces, not characters


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_round_trip_of_any_text(text):
    assert SMALL.decode(SMALL.encode(text)) == text


def test_first_join_is_the_most_frequent_pair():
    tokenizer = BPETokenizer.train("ababab ababab cb\n" * 3, vocab_size=258)
    assert tokenizer.pieces("abcb") == ["ab", "c", "b"]


def test_training_twice_gives_the_same(gpt):
    assert BPETokenizer.train(TEXT, vocab_size=290).backend.to_str() == gpt.backend.to_str()
    assert BPETokenizer.train([TEXT], vocab_size=290).backend.to_str() == gpt.backend.to_str()


def test_save_and_load(gpt, bert, tmp_path):
    for tokenizer in (gpt, bert):
        tokenizer.save(tmp_path / "tokenizer.json")
        again = BPETokenizer.load(tmp_path / "tokenizer.json")
        assert again.encode(TEXT).equal(tokenizer.encode(TEXT)) and len(again) == len(tokenizer) == 290
        assert (again.end, again.pad, again.mask) == (tokenizer.end, tokenizer.pad, tokenizer.mask)


def test_batch_is_padded_and_masked(bert):
    codes, mask = bert.encode_batch(["the cat", "the cat sat on the mat"])
    assert codes.shape == mask.shape and mask.dtype == torch.bool
    assert (codes[:, 0] == bert.cls).all() and (codes[~mask] == bert.pad).all() and not (codes[mask] == bert.pad).any()
    for row, real, text in zip(codes, mask, ["the cat", "the cat sat on the mat"]):
        assert row[real][1:-1].equal(bert.encode(text)) and row[real][-1] == bert.sep
    cut, kept = bert.encode_batch(["the cat", "the cat sat on the mat"], length=4)
    assert cut.shape == (2, 4) and cut[1].tolist() == [*codes[1, :3].tolist(), bert.sep] and kept[1].all()


def test_batch_without_special_tokens(gpt):
    codes, mask = gpt.encode_batch(["the", "the cat sat"], length=2)
    assert mask.tolist() == [[True, False], [True, True]]
    assert codes[1].equal(gpt.encode("the cat sat")[:2])


def test_empty_texts_in_a_batch(gpt, bert):
    codes, mask = bert.encode_batch(["", "cat"])
    assert codes[0][mask[0]].tolist() == [bert.cls, bert.sep]
    assert not gpt.encode_batch(["", "cat"])[1][0].any()  # an all-padding row


def test_bad_input(gpt, tmp_path):
    with pytest.raises(ValueError, match="more than 257"):
        BPETokenizer.train(TEXT, vocab_size=257)
    with pytest.raises(ValueError, match="too short"):
        BPETokenizer.train("", vocab_size=300)
    with pytest.raises(ValueError, match="0 … 289, got 300"):
        gpt.decode([300])
    with pytest.raises(ValueError, match="one row at a time"):
        gpt.decode(torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="at least one"):
        gpt.encode_batch([])
    with pytest.raises(FileNotFoundError, match="no tokenizer"):
        BPETokenizer.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model')
    with pytest.raises(ValueError, match="not a tokenizer.json"):
        BPETokenizer.load(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("letters", ["a", "abcdefghijklmnopqrstuvwxyz", "漢", " ", "."])
def test_one_line_of_40_000_letters(gpt, letters):
    line = "".join(random.Random(0).choices(letters, k=40_000))
    start = time.process_time()
    assert gpt.decode(gpt.encode(line)) == line
    gpt.encode_batch([line], length=16)
    trained = BPETokenizer.train(line, vocab_size=512)
    assert time.process_time() - start < 1.5  # with the square of the length: 6 s for 漢
    assert trained.decode(trained.encode(line)) == line
    assert "FixedLength" not in trained.backend.to_str(), "only training cuts long words"


def test_half_a_surrogate_pair_is_named(gpt):
    for call in (
        gpt.encode,
        gpt.pieces,
        lambda text: gpt.encode_batch(["the", text]),
        lambda text: BPETokenizer.train([TEXT, text], vocab_size=290),
    ):
        with pytest.raises(ValueError, match=r"holds '\\udc80' \(place 4\): half of a surrogate pair"):
            call("the \udc80 cat")
    with pytest.raises(TypeError, match="a text must be a str, got bytes"):
        gpt.encode(b"the")


def test_what_a_file_pads_and_cuts_by_itself_is_left_to_encode_batch(bert, tmp_path):
    backend = Tokenizer.from_str(bert.backend.to_str())
    backend.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    backend.enable_truncation(4)
    backend.save(str(tmp_path / "tokenizer.json"))
    found = BPETokenizer.load(tmp_path / "tokenizer.json")
    for texts in (["cat"], ["the cat sat on the mat", "cat"]):
        assert all(a.equal(b) for a, b in zip(found.encode_batch(texts), bert.encode_batch(texts), strict=True))
    assert found.encode("the cat sat on the mat").equal(bert.encode("the cat sat on the mat"))


def test_codes_without_a_symbol():
    backend = Tokenizer(models.WordPiece({"a": 0, "b": 1, "[UNK]": 5}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken("<pad>")])
    tokenizer = BPETokenizer(backend, {"pad": "<pad>"})
    assert tokenizer.pad == backend.token_to_id("<pad>") and tokenizer.unknown == 5
    assert len(tokenizer) == 6 and set(tokenizer.unused) == set(range(6)) - {0, 1, 5, tokenizer.pad}
    assert tokenizer.encode("a b c").tolist() == [0, 1, 5]
    with pytest.raises(ValueError, match="no symbol of this tokenizer has the code"):
        tokenizer.decode([tokenizer.unused[0]])
