"""Assignment 4, BERT: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math

import torch
from torch import Tensor

from course_utils.grading.exercise import Exercise, close

LIBRARY = [
    "course_utils.losses.mask_tokens",
    "course_utils.losses.masked_language_modelling_loss",
    "course_utils.losses.mean_cross_entropy",
    "course_utils.models.transformer.attention",
    "course_utils.models.transformer.mean_pool",
]


def _lengths(g: torch.Generator, batch: int, time: int) -> Tensor:
    """(B, T) bool: texts of 1 … T tokens, padded on the right; one of them fills its row."""
    lengths = torch.randint(1, time + 1, (batch,), generator=g)
    lengths[torch.randint(batch, (), generator=g)] = time
    return torch.arange(time) < lengths[:, None]


# --- 1. Hide and guess ------------------------------------------------------------------------------------------------

mask_tokens = Exercise("mask_tokens", points=3, compare=close(), banned=LIBRARY)


@mask_tokens.cases
def _(g):
    codes = torch.tensor([[2, 7, 8, 9, 3, 0]])
    choose = torch.tensor([[0.01, 0.10, 0.90, 0.14, 0.02, 0.05]])
    yield codes, choose, torch.full((1, 6), 0.5), torch.full((1, 6), 6), 4, 5, 0.15  # the example in the text
    codes = torch.tensor([[2, 5, 6, 7, 8, 3]])
    how = torch.tensor([[0.1, 0.79, 0.85, 0.95, 0.2, 0.9]])
    yield codes, torch.zeros(1, 6), how, torch.tensor([[9, 9, 9, 9, 9, 9]]), 4, 5, 1.0  # all ordinary tokens
    yield codes, torch.full((1, 6), 0.3), how, torch.full((1, 6), 9), 4, 5, 0.15  # none
    for batch, time, size, special, share in ((4, 30, 20, 5, 0.15), (8, 40, 300, 5, 0.5), (6, 50, 60, 8, 0.3)):
        codes = torch.randint(special, size, (batch, time), generator=g)
        codes[torch.rand(batch, time, generator=g) < 0.1] = 1
        codes[:, 0] = 2
        codes = codes * _lengths(g, batch, time)
        choose, how = torch.rand(2, batch, time, generator=g)
        other = torch.randint(special, size, (batch, time), generator=g)
        yield codes, choose, how, other, special - 1, special, share


def _masked(codes, chosen, how, other, mask_code, low=0.8, high=0.9) -> Tensor:
    inputs = torch.where(chosen & (how < low), mask_code, codes)
    return torch.where(chosen & (how >= low) & (how < high), other, inputs)


@mask_tokens.mistake(
    "[CLS], [SEP] or padding is hidden, too. Only ordinary tokens are chosen, those with a code of `special` or more: "
    "there is nothing to learn from guessing padding."
)
def special_tokens_chosen(codes, choose, how, other, mask_code, special, share):
    chosen = choose < share
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "all chosen tokens become [MASK]. Only 80 % do (how < 0.8); 10 % become another token, and 10 % stay."
)
def all_become_mask(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return codes.masked_fill(chosen, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "a chosen token that stays as it is has no target. It must be predicted all the same: only so does the vector of a "
    "visible token have to be good."
)
def kept_tokens_without_target(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~(chosen & (how < 0.9)), -100)


@mask_tokens.mistake("every token has a target. Only the chosen ones do, everywhere else it is −100.")
def targets_everywhere(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.clone()


@mask_tokens.mistake(
    "your targets are what stands there *after* hiding: the model would be asked to say “[MASK]”. The target is the "
    "true token; take it before you change anything, or change a copy."
)
def targets_after_hiding(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = _masked(codes, chosen, how, other, mask_code)
    return inputs, inputs.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "the last two parts are exchanged: 0.8 ≤ how < 0.9 becomes another token, how ≥ 0.9 stays as it is."
)
def parts_exchanged(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = torch.where(chosen & (how < 0.8), mask_code, codes)
    return torch.where(chosen & (how >= 0.9), other, inputs), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake("20 % become another token and none stays as it is. It is 10 % each.")
def none_stays(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code, 0.8, 2.0), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake("`choose < share` picks the tokens; you have it the other way round and hide most of the text.")
def the_others_are_chosen(codes, choose, how, other, mask_code, special, share):
    chosen = (choose >= share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


# --- 2. The loss at the chosen places ---------------------------------------------------------------------------------

CROSS_ENTROPY = [
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.nll_loss",
]
mlm_loss = Exercise("mlm_loss", points=3, compare=close(), banned=LIBRARY + CROSS_ENTROPY)


@mlm_loss.cases
def _(g):
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.125, 0.125, 0.75], [0.5, 0.25, 0.25]]]).log()
    yield logits, torch.tensor([[0, -100], [0, 2]])  # the example in the text
    yield torch.randn(2, 3, 4, generator=g), torch.full((2, 3), -100)  # none chosen
    logits = torch.tensor([[[1000.0, 0.0, -1000.0], [0.0, 1000.0, 999.0]]])
    yield logits, torch.tensor([[0, 2]])  # e^1000 is more than any float
    for batch, time, size, share in ((3, 5, 4, 0.4), (6, 12, 20, 0.3), (4, 20, 50, 0.15)):
        targets = torch.randint(size, (batch, time), generator=g)
        chosen = torch.rand(batch, time, generator=g) < share
        chosen[0, :3], chosen[1] = True, False
        chosen[1, 0], chosen[2, :2] = True, True
        yield 3 * torch.randn(batch, time, size, generator=g), targets.masked_fill(~chosen, -100)


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, T) −ln P(target); 0 where there is none."""
    found = -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return found * (targets != -100)


@mlm_loss.mistake(
    "you divide by all B · T places. The mean is over the chosen ones, else the loss gets smaller the fewer tokens are "
    "hidden."
)
def mean_over_all_places(logits, targets):
    return _nats(logits, targets).mean()


@mlm_loss.mistake(
    "you take the mean of each text, then the mean of these. Each chosen *token* counts the same, whatever text it "
    "stands in: one sum, one count."
)
def mean_of_the_texts_means(logits, targets):
    count = (targets != -100).sum(1)
    return (_nats(logits, targets).sum(1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


@mlm_loss.mistake("this is the sum. Divide it by how many tokens were chosen.")
def sum_instead_of_mean(logits, targets):
    return _nats(logits, targets).sum()


@mlm_loss.mistake("where no token was chosen you give 0/0 = nan, and one such batch ruins the model. It is 0 there.")
def nan_where_none_is_chosen(logits, targets):
    return _nats(logits, targets).sum() / (targets != -100).sum()


@mlm_loss.mistake(
    "$e^{1000}$ is infinite, so large logits give nan or infinity. Subtract the largest logit of each place first, or "
    "use `log_softmax` or `logsumexp`, which do."
)
def overflow(logits, targets):
    probabilities = logits.exp() / logits.exp().sum(-1, keepdim=True)
    chosen = targets != -100
    found = -probabilities[chosen].gather(1, targets[chosen][:, None]).log()
    return found.sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake("that is in bits. The loss is in nats: the natural logarithm.")
def in_bits(logits, targets):
    return _nats(logits, targets).sum() / (targets != -100).sum().clamp(min=1) / math.log(2)


@mlm_loss.mistake(
    "where there is nothing to guess (−100) your loss asks for token 0. Leave these places out of the sum, and out of "
    "the count."
)
def unchosen_count_as_token_0(logits, targets):
    return _nats(logits, targets.clamp(min=0)).mean()


@mlm_loss.mistake(
    "the logits are not normalised: −(the target's logit) alone is no −ln P. Subtract the logarithm of the sum of all "
    "tokens' $e^{logit}$."
)
def logits_not_normalised(logits, targets):
    chosen = targets != -100
    found = -logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * chosen
    return found.sum() / chosen.sum().clamp(min=1)


# --- 3. Attention that does not see padding ---------------------------------------------------------------------------

attention_weights = Exercise("attention_weights", points=3, compare=close(), banned=LIBRARY)


@attention_weights.cases
def _(g):
    scores = torch.tensor([[4.0, 1.0, 9.0], [2.0, 2.0, 5.0], [1.0, 3.0, 3.0]]).log()[None, None]
    yield scores, torch.tensor([[True, True, False]])  # the example in the text
    yield torch.randn(2, 2, 3, 3, generator=g), torch.tensor([[True, False, False], [False, False, False]])
    yield torch.randn(3, 3, 5, 5, generator=g), _lengths(g, 3, 5)  # as many texts as heads
    yield 1000 * torch.randn(2, 1, 4, 4, generator=g), torch.tensor([[True] * 3 + [False], [True] * 2 + [False] * 2])
    for batch, heads, time in ((2, 4, 6), (5, 2, 7)):
        mask = _lengths(g, batch, time)
        mask[0, 2:] = False
        if batch == 5:
            mask[1] = mask[1].flip(0)  # padding on the left: nothing says that it stands on the right
        yield 2 * torch.randn(batch, heads, time, time, generator=g), mask


def _softmax(scores: Tensor, visible: Tensor, axis: int = -1) -> Tensor:
    """Softmax over what is visible; zeros where nothing is."""
    return scores.masked_fill(~visible, -math.inf).softmax(axis).nan_to_num(0.0)


@attention_weights.mistake(
    "you hide the padding *queries*. What must not be looked at are the padding *keys*, the last axis: "
    "mask[:, None, None, :]."
)
def queries_hidden(scores, mask):
    return _softmax(scores, mask[:, None, :, None].expand_as(scores))


@attention_weights.mistake("the mask is the wrong way round: True is a real token. You look at nothing but padding.")
def mask_inverted(scores, mask):
    return _softmax(scores, ~mask[:, None, None, :].expand_as(scores))


@attention_weights.mistake(
    "padding's weight is set to 0 *after* softmax, and the rest no longer adds up to 1. Set its score to −∞ before "
    "softmax."
)
def zeroed_after_softmax(scores, mask):
    return scores.softmax(-1) * mask[:, None, None, :]


@attention_weights.mistake(
    "padding's score is set to 0, and $e^0 = 1$: it is still looked at. The score that gives the weight 0 is −∞."
)
def score_zero(scores, mask):
    return (scores * mask[:, None, None, :]).softmax(-1)


@attention_weights.mistake("a text that is all padding gives 0/0 = nan. Its weights are 0.")
def nan_for_all_padding(scores, mask):
    return scores.masked_fill(~mask[:, None, None, :], -math.inf).softmax(-1)


@attention_weights.mistake(
    "a text that is all padding gets uniform weights: with one very negative number in place of −∞, all scores are "
    "equal. Its weights are 0."
)
def uniform_for_all_padding(scores, mask):
    return scores.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1)


@attention_weights.mistake(
    "your *columns* sum to 1: this is softmax over the queries. Each query shares its attention out among the keys, "
    "the last axis."
)
def softmax_over_queries(scores, mask):
    return _softmax(scores, mask[:, None, None, :].expand_as(scores), -2)


@attention_weights.mistake("the mask is not used: padding is looked at like any token.")
def mask_not_used(scores, mask):
    return scores.softmax(-1)


@attention_weights.mistake(
    "padding's *queries* are set to 0, too. Nobody looks at what a padding token looks at, so nothing needs to "
    "be done there; asked for is the plain softmax over the real keys."
)
def padding_queries_zeroed(scores, mask):
    return _softmax(scores, mask[:, None, None, :].expand_as(scores)) * mask[:, None, :, None]


@attention_weights.mistake(
    "mask[:, None, :] lines up with the heads, not with the texts: axes are matched from the right. Make it "
    "(B, 1, 1, T)."
)
def mask_along_the_heads(scores, mask):
    B, H, T, _ = scores.shape
    rows = mask[torch.arange(H) % B]  # (H, T), what broadcasting does where B = H
    return _softmax(scores, rows[None, :, None, :].expand_as(scores))
