"""CLIP's two encoders: words as numbers, unit vectors, the bound on the temperature, zero-shot and recall by hand."""

import math

import pytest
import torch

from course_utils import runtime
from course_utils.learn import evaluate, losses
from course_utils.models.clip import (
    CLIP,
    MAX_LOG_SCALE,
    CLIPConfig,
    WordTokenizer,
    recall_at_k,
    words_of,
    zero_shot_classifier,
)

CAPTIONS = ["A small red boat at sea, at night.", "a snow-white house", "the red car"]


def small(vocab_size=12, seed=0):
    return CLIP(CLIPConfig(vocab_size, context=8, dim=10, image_width=4, text_dim=16), runtime.seed(seed))


def batch(n=4, vocab_size=12, time=6, seed=1):
    g = runtime.seed(seed)
    lengths = torch.randint(1, time + 1, (n, 1), generator=g)
    mask = torch.arange(time) < lengths
    codes = torch.randint(2, vocab_size, (n, time), generator=g) * mask
    return torch.rand(n, 3, 32, 32, generator=g), codes, mask


# --- words ------------------------------------------------------------------------------------------------------------


def test_words_and_their_codes():
    assert words_of(CAPTIONS[0]) == ["a", "small", "red", "boat", "at", "sea", "at", "night"]
    tokenizer = WordTokenizer.fit(CAPTIONS)
    assert tokenizer.words[:4] == ("a", "at", "boat", "car") and "snow-white" in tokenizer.words
    assert len(tokenizer) == len(tokenizer.words) + 2
    assert WordTokenizer.fit(CAPTIONS, min_count=2).words == ("a", "at", "red")
    codes, mask = tokenizer.encode_batch(CAPTIONS)
    assert codes.shape == mask.shape == (3, 8) and codes.dtype == torch.int64 and mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [8, 3, 3] and (codes[~mask] == tokenizer.pad).all()
    assert tokenizer.decode(codes[2]) == "the red car"
    assert tokenizer.decode(tokenizer.encode("the blue car")) == "the ? car"
    assert tokenizer.unknown_words("The blue CAR") == ["blue"]
    assert WordTokenizer(tokenizer.words).encode_batch(CAPTIONS)[0].equal(codes), "the words are all there is to keep"


def test_long_short_and_broken_captions():
    tokenizer = WordTokenizer.fit(CAPTIONS)
    with pytest.raises(ValueError, match="more than 4 words.*truncate=True: 'A small red boat"):
        tokenizer.encode_batch(CAPTIONS, 4)
    codes, mask = tokenizer.encode_batch(CAPTIONS, 4, truncate=True)
    assert tokenizer.decode(codes[0]) == "a small red boat" and mask.sum(1).tolist() == [4, 3, 3]
    codes, mask = tokenizer.encode_batch(["", "?!"])
    assert codes.tolist() == [[0], [0]] and not mask.any()
    with pytest.raises(ValueError, match="give a list of texts"):
        tokenizer.encode_batch("a red car")
    with pytest.raises(ValueError, match="must differ"):
        WordTokenizer(["a", "a"])
    with pytest.raises(ValueError, match="not single lower-case words: 'Red', 'a b'"):
        WordTokenizer(["Red", "a b", "car"])


# --- the model --------------------------------------------------------------------------------------------------------


def test_both_encoders_give_unit_vectors_in_one_space():
    model, (images, codes, mask) = small().eval(), batch()
    pictures, captions = model.encode_image(images), model.encode_text(codes, mask)
    assert pictures.shape == captions.shape == (4, 10)
    assert torch.allclose(pictures.norm(dim=1), torch.ones(4)) and torch.allclose(captions.norm(dim=1), torch.ones(4))
    assert torch.allclose(model.encode_text(codes), captions), "without a mask: what is not padding"
    assert model.encode_text(torch.zeros(2, 3, dtype=torch.int64)).equal(torch.zeros(2, 10)), "no words, no direction"


def test_padding_changes_nothing():
    model, (_, codes, mask) = small().eval(), batch()
    wider = torch.nn.functional.pad(codes, (0, 2)), torch.nn.functional.pad(mask, (0, 2))
    assert torch.allclose(model.encode_text(codes, mask), model.encode_text(*wider), atol=1e-6)
    alone = torch.cat([model.encode_text(row[real][None]) for row, real in zip(codes, mask)])
    assert torch.allclose(model.encode_text(codes, mask), alone, atol=1e-6)


def test_the_order_of_words_matters_and_each_word_sees_all():
    model = small().eval()
    a, b = torch.tensor([[2, 3, 4]]), torch.tensor([[4, 3, 2]])
    assert not torch.allclose(model.encode_text(a), model.encode_text(b), atol=1e-4)
    other = torch.tensor([[2, 3, 9]])
    first = [model.text.encode(x)[0, 0] for x in (a, other)]
    assert not torch.allclose(*first), "the first word has seen the last one"


def test_the_same_seed_gives_the_same_weights():
    a, b, c = (small(seed=n).state_dict() for n in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["image_projection.weight"], c["image_projection.weight"])
    assert not torch.equal(a["text_projection.weight"], c["text_projection.weight"])


def test_the_temperature_is_learned_and_bounded():
    model = small()
    assert model.temperature == pytest.approx(0.07)
    losses.clip_loss(*model(*batch())).backward()
    assert model.log_scale.grad is not None and model.log_scale.grad != 0
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert model.temperature == pytest.approx(0.01)
    log_scale = model.train()(*batch())[2]
    assert float(log_scale.detach()) == pytest.approx(MAX_LOG_SCALE) == pytest.approx(math.log(100))
    losses.clip_loss(*model(*batch())).backward()
    assert model.log_scale.grad != 0, "it can come back from its bound"


def test_only_training_moves_the_temperature():
    model = small().eval()
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    model(*batch())
    assert float(model.log_scale.detach()) == 9.0
    assert evaluate.features(model.encode_image, batch()[0]).shape == (4, 10)  # which asserts that nothing changed


def test_it_learns_which_caption_belongs_to_which_picture():
    g = runtime.seed(0)
    colour = torch.eye(3)[torch.arange(12) % 3]  # red, green and blue pictures
    images = colour[:, :, None, None] * torch.rand(12, 1, 32, 32, generator=g)
    tokenizer = WordTokenizer.fit(["a red one", "a green one", "a blue one"])
    codes, mask = tokenizer.encode_batch(["a red one", "a green one", "a blue one"] * 4)
    model = small(len(tokenizer))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(60):
        rows = torch.arange(3) + 3 * (step % 4)  # one of each: no two equal captions in a batch
        optimizer.zero_grad()
        loss = losses.clip_loss(*model(images[rows], codes[rows], mask[rows]))
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    classes = zero_shot_classifier(model, tokenizer, ["a red one", "a green one", "a blue one"])
    found = (evaluate.features(model.encode_image, images) @ classes.T).argmax(1)
    assert found.equal(torch.arange(12) % 3)


def test_bad_input():
    model, (images, codes, mask) = small(), batch()
    with pytest.raises(ValueError, match="at most 8 tokens, got 9"):
        model.encode_text(torch.ones(1, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 2, got 1"):
        losses.clip_loss(*model.eval()(images[:1], codes[:1], mask[:1]))
    with pytest.raises(ValueError, match="dim must be ≥ 1"):
        CLIPConfig(10, dim=0)
    with pytest.raises(ValueError, match="width must be ≥ 1"):
        CLIPConfig(10, image_width=0)
    with pytest.raises(ValueError, match="multiple of heads"):
        CLIPConfig(10, text_dim=10)


# --- what it is used for ----------------------------------------------------------------------------------------------


def test_zero_shot_classifier_against_a_loop():
    tokenizer = WordTokenizer.fit(CAPTIONS)
    model = small(len(tokenizer))
    prompts = [["a red car", "the car"], "a house", ["boat", "a small boat at sea", "boat"]]
    found = zero_shot_classifier(model, tokenizer, prompts)
    assert model.training and not found.requires_grad
    model.eval()
    for vector, group in zip(found, prompts):
        total = torch.zeros(10)
        for prompt in [group] if isinstance(group, str) else group:
            codes = tokenizer.encode(prompt)[None]
            total += model.encode_text(codes).detach()[0]
        assert torch.allclose(vector, total / total.norm(), atol=1e-6)
    with pytest.raises(ValueError, match="at least one prompt"):
        zero_shot_classifier(model, tokenizer, [["a"], []])


def test_recall_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.5], [0.7, 0.6, 0.1], [0.2, 0.8, 0.1]])
    assert [recall_at_k(similarity, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [recall_at_k(similarity.T, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    answers = torch.tensor([[True, False, True], [True, False, False], [False, False, True]])
    assert [recall_at_k(similarity, k, answers) for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 1])
    assert recall_at_k(torch.zeros(4, 4), 1) == 0.25, "of equals, the first"


@pytest.mark.parametrize("seed", range(3))
def test_recall_against_counting(seed):
    similarity = torch.randn(9, 12, generator=runtime.seed(seed))
    for k in (1, 3, 12):
        better = (similarity > similarity.diagonal()[:, None]).sum(1)  # how many items are before the right one
        assert recall_at_k(similarity, k) == pytest.approx(float((better < k).double().mean()))


def test_recall_refuses():
    for k in (0, 4):
        with pytest.raises(ValueError, match="between 1 and the number of items"):
            recall_at_k(torch.eye(3), k)
    with pytest.raises(ValueError, match="give `relevant`"):
        recall_at_k(torch.rand(4, 3), 1)
    with pytest.raises(ValueError, match="at least one True in each row"):
        recall_at_k(torch.rand(2, 3), 1, torch.zeros(2, 3, dtype=torch.bool))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_on_the_gpu():
    model, parts = small(), batch()
    expected = losses.clip_loss(*model.eval()(*parts))
    found = losses.clip_loss(*model.cuda()(*(part.cuda() for part in parts)))
    assert float(found) == pytest.approx(float(expected), rel=1e-3)
