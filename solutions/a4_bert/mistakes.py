"""Assignment 4, BERT: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them.
"""

import math
from functools import cache

import torch
from torch import Tensor

from autograder.author.exercise import Case, Exercise, Promises, Seed, close, distribution

LIBRARY = [
    "course_utils.learn.losses.mask_tokens",
    "course_utils.learn.losses.masked_language_modelling_loss",
    "course_utils.learn.losses.mean_cross_entropy",
    "course_utils.models.transformer.attention",
    "course_utils.models.transformer.mean_pool",
]


def _lengths(g: torch.Generator, batch: int, time: int) -> Tensor:
    """(B, T) bool: texts of 1 … T tokens, padded on the right; one of them fills its row."""
    lengths = torch.randint(1, time + 1, (batch,), generator=g)
    lengths[torch.randint(batch, (), generator=g)] = time
    return torch.arange(time) < lengths[:, None]


# --- 1. Hide and guess ------------------------------------------------------------------------------------------------

mask_tokens = Exercise("mask_tokens", points=3, compare=close(), banned=LIBRARY, promises=Promises(dtype=True))


@mask_tokens.cases
def _(g):
    codes = torch.tensor([[2, 7, 8, 9, 3, 0]])
    choose = torch.tensor([[0.01, 0.10, 0.90, 0.14, 0.02, 0.05]])
    yield Case(
        (codes, choose, torch.full((1, 6), 0.5), torch.full((1, 6), 6), 4, 5, 0.15), note="the example in the text"
    )
    codes = torch.tensor([[2, 5, 6, 7, 8, 3]])
    how = torch.tensor([[0.1, 0.79, 0.8, 0.9, 0.2, 0.9]], dtype=torch.double)  # two of them at a border
    yield Case(
        (codes, torch.zeros(1, 6), how, torch.tensor([[9, 9, 9, 9, 9, 9]]), 4, 5, 1.0), note="all ordinary tokens"
    )
    yield Case(
        (codes, torch.full((1, 6), 0.25), how, torch.full((1, 6), 9), 4, 5, 0.25),
        note="numbers as large as the share: not below it, so none is chosen",
    )
    for batch, time, size, special, share in ((4, 30, 20, 5, 0.15), (8, 40, 300, 5, 0.5), (6, 50, 60, 8, 0.5)):
        codes = torch.randint(special, size, (batch, time), generator=g)
        seldom = torch.randint(special, (batch, time), generator=g)  # special ones, which may stand anywhere
        codes = torch.where(torch.rand(batch, time, generator=g) < 0.25, seldom, codes)
        codes = codes * _lengths(g, batch, time)
        choose, how = torch.rand(2, batch, time, generator=g)
        other = torch.randint(special, size, (batch, time), generator=g)
        other = torch.where(torch.rand(batch, time, generator=g) < 0.5, codes, other)  # the token itself, by chance
        yield codes, choose, how, other, special - 1 if special == 5 else 1, special, share


mask_tokens.equivalent("at 0.8 itself the next line writes the other token", "how <{+=+} 0.8")


def _masked(codes, chosen, how, other, mask_code, low=0.8, high=0.9) -> Tensor:
    inputs = torch.where(chosen & (how < low), mask_code, codes)
    return torch.where(chosen & (how >= low) & (how < high), other, inputs)


@mask_tokens.mistake(
    "the code of [MASK] or the number of special codes is written out in yours, or one is made from the other. Both "
    "are arguments: `mask_code` and `special`."
)
@mask_tokens.breaks("mask_code: the code of [MASK], an int.")
def mask_code_made_from_special(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, special - 1), codes.masked_fill(~chosen, -100)


@mask_tokens.also("mask_code_made_from_special")
@mask_tokens.breaks("special: how many codes are special, an int.")
def five_codes_are_special(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= 5)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.also("mask_code_made_from_special")
def special_made_from_mask_code(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes > mask_code)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


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


@mask_tokens.mistake(
    "the code `special` is an ordinary token already: special are the codes *below* it. Ask for ≥, not for >."
)
def first_ordinary_token_left_out(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes > special)
    return _masked(codes, chosen, how, other, mask_code), torch.where(chosen, codes, -100)


@mask_tokens.mistake("the target of a place that is not chosen is −100, not 0: 0 is a token ([PAD]) like any other.")
def zero_where_nothing_is_asked(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), torch.where(chosen, codes, 0)


@mask_tokens.mistake("your two answers are exchanged: first what the model reads, then the targets.")
def targets_first(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return torch.where(chosen, codes, -100), _masked(codes, chosen, how, other, mask_code)


@mask_tokens.mistake(
    "a token whose number is *equal* to the share is chosen, too. It is chosen if its number is below it."
)
def equal_is_chosen(codes, choose, how, other, mask_code, special, share):
    chosen = (choose <= share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "only padding is left out. Special are all codes below `special`, [CLS] and [SEP] among them: none of them is "
    "chosen."
)
def only_padding_left_out(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes > 0)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "tokens that were not chosen are hidden, too: what is done to a token needs both, `chosen` and `how`."
)
def hidden_without_being_chosen(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = _masked(codes, torch.ones_like(chosen), how, other, mask_code)
    return inputs, codes.masked_fill(~chosen, -100)


@mask_tokens.mistake("[MASK] and the random token have changed places: 80 % become [MASK], 10 % another token.")
def mask_and_other_exchanged(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = torch.where(chosen & (how < 0.8), other, codes)
    inputs = torch.where(chosen & (how >= 0.8) & (how < 0.9), mask_code, inputs)
    return inputs, codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "the other token is written over [MASK]: it belongs where `how` is at least 0.8 *and* below 0.9, not wherever it "
    "is below 0.9."
)
def other_over_mask(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return torch.where(chosen & (how < 0.9), other, codes), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "a fixed number of tokens of each text is chosen. Each token is chosen by its own number: `choose` below `share`."
)
def so_many_of_each_text(codes, choose, how, other, mask_code, special, share):
    many = int(round(share * codes.shape[1]))
    places = choose.masked_fill(codes < special, 2.0).argsort(1)[:, :many]
    chosen = torch.zeros_like(codes, dtype=torch.bool).scatter(1, places, True) & (codes >= special)
    inputs = torch.where(chosen & (how < 0.8), mask_code, codes)
    inputs = torch.where(chosen & (how >= 0.8) & (how < 0.9), other, inputs)
    return inputs, codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "the three parts of 80, 10 and 10 % come in another order: below 0.8 is [MASK], from 0.8 to 0.9 another "
    "token, from "
    "0.9 on the token itself."
)
def parts_from_the_other_end(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = torch.where(chosen & (how >= 0.2), mask_code, codes)
    inputs = torch.where(chosen & (how >= 0.1) & (how < 0.2), other, inputs)
    return inputs, codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "tokens that were not chosen become others, too. `how` says what becomes of a token *that is chosen*; all "
    "else stays."
)
def others_without_being_chosen(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = torch.where(chosen & (how < 0.8), mask_code, codes)
    inputs = torch.where((codes >= special) & (how >= 0.8) & (how < 0.9), other, inputs)
    return inputs, codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "targets stand only where the model reads something else. A chosen token that stays as it is must be guessed, too."
)
def targets_where_it_looks_different(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    inputs = torch.where(chosen & (how < 0.8), mask_code, codes)
    inputs = torch.where(chosen & (how >= 0.8) & (how < 0.9), other, inputs)
    return inputs, codes.masked_fill(inputs == codes, -100)


@mask_tokens.mistake(
    "`choose` decides over both: which tokens are chosen, and what becomes of them. The second is up to `how`."
)
def choose_for_both(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    how = choose / share if share else choose
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


@mask_tokens.mistake(
    "a target is missing where the random token is the true one by chance. All that is chosen must be guessed, "
    "whatever the model reads."
)
def no_target_where_the_other_is_the_same(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen | (other == codes), -100)


@mask_tokens.also("so_many_of_each_text")
def so_many_of_all_places(codes, choose, how, other, mask_code, special, share):
    places = choose.argsort(1)[:, : int(round(share * codes.shape[1]))]
    chosen = torch.zeros_like(codes, dtype=torch.bool).scatter(1, places, True) & (codes >= special)
    return _masked(codes, chosen, how, other, mask_code), codes.masked_fill(~chosen, -100)


# --- 2. The loss at the chosen places ---------------------------------------------------------------------------------

CROSS_ENTROPY = [
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.nll_loss",
]
mlm_loss = Exercise(
    "mlm_loss", points=3, compare=close(), banned=LIBRARY + CROSS_ENTROPY, promises=Promises(gradients=(0,))
)


@mlm_loss.cases
def _(g):
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.125, 0.125, 0.75], [0.5, 0.25, 0.25]]]).log()
    yield Case((logits, torch.tensor([[0, -100], [0, 2]])), note="the example in the text")
    yield Case((torch.randn(2, 3, 4, generator=g), torch.full((2, 3), -100)), note="none chosen")
    logits = torch.tensor([[[1000.0, 0.0, -1000.0], [0.0, 1000.0, 999.0]]])
    yield Case((logits, torch.tensor([[-100, 2]])), note="logits of 1000: e^1000 is more than any float")
    logits = 100 * torch.randn(2, 4, 6, generator=g)
    yield Case(
        (logits, logits.argmin(-1).where(torch.arange(4) % 3 > 0, -100)),
        note="large logits, and what is right was thought impossible",
    )
    for batch, time, size, share in ((3, 5, 4, 0.4), (6, 12, 20, 0.3), (4, 20, 50, 0.15)):
        targets = torch.randint(size, (batch, time), generator=g)
        targets[0, 0] = 0  # a token like any other
        chosen = torch.rand(batch, time, generator=g) < share
        chosen[0, :3], chosen[1] = True, False
        chosen[1, 0], chosen[2, :2] = True, True
        yield 3 * torch.randn(batch, time, size, generator=g), targets.masked_fill(~chosen, -100)


mlm_loss.equivalent("a matrix has two dimensions: the last one is number 1", "log_softmax([---]1)")


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
    "you divide by the number of texts. The mean is over the chosen *places* of the whole batch: divide by how many "
    "there are."
)
def divided_by_the_texts(logits, targets):
    chosen = targets != -100
    log_p = logits.log_softmax(-1)[chosen].gather(1, targets[chosen][:, None])
    return -log_p.sum() / len(targets)


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


@mlm_loss.mistake(
    "something small is added before the logarithm, so no token can cost more than about 20 nats. Take `log_softmax`, "
    "which needs no help."
)
def cut_before_the_logarithm(logits, targets):
    chosen = targets != -100
    p = logits[chosen].softmax(-1).gather(1, targets[chosen][:, None])
    return -(p + 1e-9).log().sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake(
    "softmax first and its logarithm then: what is very unlikely is rounded to 0, and its logarithm is −∞. "
    "`log_softmax` does both in one."
)
def logarithm_of_the_softmax(logits, targets):
    chosen = targets != -100
    return -logits[chosen].softmax(-1).gather(1, targets[chosen][:, None]).log().sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake("your softmax runs over the chosen places. It runs over the vocabulary, the last axis.")
def softmax_over_the_places(logits, targets):
    chosen = targets != -100
    found = logits[chosen].log_softmax(0).gather(1, targets[chosen][:, None])
    return -found.sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake(
    "where there is nothing to guess (−100) the loss of token 0 is in the sum, and only the count leaves these places "
    "out."
)
def unchosen_in_the_sum(logits, targets):
    found = -logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])
    return found.sum() / (targets != -100).sum().clamp(min=1)


@mlm_loss.mistake("the targets 0 are left out. 0 is a token like any other; nothing to guess is −100 alone.")
def token_0_left_out(logits, targets):
    chosen = targets > 0
    return _nats(logits, targets)[chosen].sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake("1 is added to the count. Where nothing is chosen make it at least 1, and leave it alone elsewhere.")
def count_plus_1(logits, targets):
    return _nats(logits, targets).sum() / ((targets != -100).sum() + 1)


@mlm_loss.mistake(
    "nothing is shifted here: the logits of a place are about the target of the *same* place. (A GPT looks one ahead.)"
)
def shifted_as_for_a_gpt(logits, targets):
    logits, targets = logits[:, :-1], targets[:, 1:]
    chosen = targets != -100
    return _nats(logits[chosen], targets[chosen]).sum() / chosen.sum().clamp(min=1)


@mlm_loss.mistake(
    "the sum is divided by all *tokens of the vocabulary*, or by all numbers. Divide by how many are chosen."
)
def divided_by_all_logits(logits, targets):
    chosen = targets != -100
    return _nats(logits[chosen], targets[chosen]).sum() / logits.numel()


@mlm_loss.mistake(
    "in place of ln Σ eᶻ you take the *largest* logit: the sum runs over all tokens. That is `logsumexp`, not `amax`."
)
def largest_for_the_sum(logits, targets):
    chosen = targets != -100
    z = logits[chosen]
    off = z.amax(-1) - z.gather(1, targets[chosen][:, None])[:, 0]
    return off.sum() / chosen.sum().clamp(min=1)


# --- 3. Attention that does not see padding ---------------------------------------------------------------------------

attention_weights = Exercise(
    "attention_weights",
    points=3,
    compare=close(),
    banned=LIBRARY,
    promises=Promises(gradients=(0,)),
)


@attention_weights.cases
def _(g):
    scores = torch.tensor([[4.0, 1.0, 9.0], [2.0, 2.0, 5.0], [1.0, 3.0, 3.0]]).log()[None, None]
    yield Case((scores, torch.tensor([[True, True, False]])), note="the example in the text")
    yield Case(
        (torch.randn(2, 2, 3, 3, generator=g), torch.tensor([[True, False, False], [False, False, False]])),
        note="a text with one token, and one that is all padding",
    )
    yield Case((torch.randn(3, 3, 5, 5, generator=g), _lengths(g, 3, 5)), note="as many texts as heads")
    yield Case(
        (1000 * torch.randn(2, 1, 4, 4, generator=g), torch.tensor([[True] * 3 + [False], [True] * 2 + [False] * 2])),
        note="scores of some thousands",
    )
    yield Case(
        (
            torch.randn(2, 2, 4, 4, generator=g, dtype=torch.double) - torch.tensor([5500, 5500, 5500, -5500]),
            torch.tensor([[True] * 3 + [False], [True] * 2 + [False] * 2]),
        ),
        note="scores near −5500, but padding's near 5500",
    )
    for batch, heads, time in ((2, 4, 6), (5, 2, 7)):
        mask = _lengths(g, batch, time)
        mask[0, 2:] = False
        if batch == 5:
            mask[1] = torch.arange(time) > 2  # padding on the left: nothing says that it stands on the right
        yield Case(
            (2 * torch.randn(batch, heads, time, time, generator=g), mask),
            note="padding on the left, too" if batch == 5 else "",
        )


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
    B, H = scores.shape[:2]
    rows = mask[torch.arange(H) % B]  # (H, T), what broadcasting does where B = H
    return _softmax(scores, rows[None, :, None, :].expand_as(scores))


@attention_weights.mistake(
    "padding keys get the score 0, by multiplying with the mask, and $e^0 = 1$ is a weight. The score is −∞."
)
def scores_times_mask(scores, mask):
    weights = (scores * mask[:, None, None, :]).softmax(-1)
    return weights * mask.any(1)[:, None, None, None]


@attention_weights.mistake(
    "a query does not see the keys after it. That is a GPT's mask: BERT looks both ways, and leaves out padding alone."
)
def looks_back_alone(scores, mask):
    seen = mask[:, None, None, :] & torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~seen, -math.inf).softmax(-1).nan_to_num(0.0)


@attention_weights.mistake(
    "padding is taken out only after `exp` (or after the softmax, which takes the largest score off first). Where a "
    "score of padding's is far larger, all others become 0. Set padding's scores to −∞ before."
)
def largest_of_all_scores_taken_off(scores, mask):
    e = (scores - scores.amax(-1, keepdim=True)).exp() * mask[:, None, None, :]
    return (e / e.sum(-1, keepdim=True)).nan_to_num(0.0)


@attention_weights.mistake(
    "you count the tokens of each text and take as many places from the left. Padding may stand on the left: use the "
    "mask itself."
)
@attention_weights.breaks("padding (on whichever side)")
def as_many_from_the_left(scores, mask):
    left = torch.arange(mask.shape[1]) < mask.sum(1)[:, None]
    return scores.masked_fill(~left[:, None, None, :], -math.inf).softmax(-1).nan_to_num(0.0)


@attention_weights.mistake("the scores are divided by a root first. They come in as they are to be used.")
def divided_by_a_root(scores, mask):
    scores = scores / math.sqrt(scores.shape[-1])
    return scores.masked_fill(~mask[:, None, None, :], -math.inf).softmax(-1).nan_to_num(0.0)


@attention_weights.also("scores_times_mask")
def scores_and_weights_times_mask(scores, mask):
    m = mask[:, None, None, :].to(scores.dtype)
    return (scores * m).softmax(-1) * m


@attention_weights.mistake("the heads share one table in yours, the mean of their scores. Each has its own.")
def heads_averaged(scores, mask):
    return _softmax(scores.mean(1, keepdim=True).expand_as(scores), mask[:, None, None, :].expand_as(scores))


# --- 4. One vector for a text -----------------------------------------------------------------------------------------

mean_pool = Exercise("mean_pool", points=2, compare=close(), banned=LIBRARY)


@mean_pool.cases
def _(g):
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    yield Case((hidden, torch.tensor([[True, True, False]])), note="the example in the text")
    yield Case(
        (torch.randn(2, 3, 4, generator=g), torch.tensor([[True, False, False], [False, False, False]])),
        note="a text with one token, and one with none",
    )
    zeros = torch.randn(3, 5, 5, generator=g).relu()
    zeros[0, 0] = torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0])
    yield Case((zeros, _lengths(g, 3, 5)), note="as many places as features, and many features are exactly 0")
    mask = _lengths(g, 3, 5)
    mask[:, 3:] = False
    yield Case((torch.randn(3, 5, 2, generator=g), mask), note="no text is as long as the table is wide")
    for batch, time, size in ((4, 6, 3), (5, 7, 4)):
        hidden, mask = torch.randn(batch, time, size, generator=g), _lengths(g, batch, time)
        mask[0, 2:] = False
        if batch == 5:
            mask[1, 3:] = True
            mask[1, :3] = False  # padding on the left
        yield Case(
            (torch.where(mask[:, :, None], hidden, 1000 * hidden), mask),
            note="padding on the left, too" if batch == 5 else "",
        )


mean_pool.equivalent("times a number, True is 1 and False 0 in any case", "to([-hidden.dtype-])")


@mean_pool.mistake(
    "you divide by T, padding included: a short text's vector shrinks, the more so the longer its neighbours are. "
    "Divide by how many real tokens the text has."
)
def divided_by_all_places(hidden, mask):
    return (hidden * mask[:, :, None]).mean(1)


@mean_pool.mistake(
    "padding's vectors are in the sum; you divide by the right count, but of the wrong sum. Multiply by the mask first."
)
def padding_in_the_sum(hidden, mask):
    return hidden.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@mean_pool.mistake("the mask is not used: this is the mean over all T places, padding among them.")
def padding_in_the_mean(hidden, mask):
    return hidden.mean(1)


@mean_pool.mistake("a text that is all padding gives 0/0 = nan. Its vector is 0: divide by at least 1.")
def nan_without_any_token(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


@mean_pool.mistake("this is the first place's vector, [CLS]. Asked for is the mean over all real tokens.")
def first_place_alone(hidden, mask):
    return hidden[:, 0].clone()


@mean_pool.also("first_place_alone")
def first_place_alone_without_padding(hidden, mask):
    return hidden[:, 0] * mask[:, :1]


@mean_pool.mistake("this is the largest value of each feature. Asked for is the mean.")
def largest_instead_of_mean(hidden, mask):
    top = hidden.masked_fill(~mask[:, :, None], -math.inf).amax(1)
    return torch.where(mask.any(1, keepdim=True), top, 0.0)


@mean_pool.mistake("this is the sum. Divide it by how many real tokens the text has.")
def sum_of_the_vectors(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1)


@mean_pool.mistake("you divide all texts by the same number, the batch's mean length. Each text has its own length.")
def one_length_for_all(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1).float().mean().clamp(min=1)


@mean_pool.mistake(
    "mask[:, None, :] lines up with the features, not with the places (it only fits where T = D). Make it (B, T, 1)."
)
def mask_along_the_features(hidden, mask):
    return (hidden * mask[:, None, :]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@mean_pool.mistake(
    "1 is added to each count. Where there is no token make it at least 1, and leave it alone elsewhere."
)
def one_token_too_many(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / (mask.sum(1, keepdim=True) + 1)


@mean_pool.mistake(
    "your sum runs over the features. It runs over the places, axis 1, and leaves D numbers for each text."
)
def summed_over_the_features(hidden, mask):
    return (hidden * mask[:, :, None]).sum(2) / mask.sum(1, keepdim=True).clamp(min=1)


@mean_pool.mistake("all texts are divided by their mean number of tokens. Each has a number of its own.")
def mean_number_for_all(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / (mask.sum() / len(mask)).clamp(min=1e-9)


@mean_pool.mistake("the first place is left out. [CLS] is a real token: all that the mask calls True count.")
def without_the_first_place(hidden, mask):
    mask = mask.clone()
    mask[:, 0] = False
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


@mean_pool.mistake("each vector is brought to length 1. Asked for is the mean itself.")
def brought_to_length_1(hidden, mask):
    return torch.nn.functional.normalize((hidden * mask[..., None]).sum(1), dim=1)


@mean_pool.mistake(
    "you divide by how many numbers are not 0, feature by feature. A feature may be exactly 0 at a real token: "
    "count the mask."
)
def divided_by_what_is_not_0(hidden, mask):
    hidden = hidden * mask[..., None]
    return hidden.sum(1) / (hidden != 0).sum(1).clamp(min=1)


@mean_pool.mistake("the sums are divided by the tokens of the *whole batch*. Each text has its own count.")
def divided_by_the_tokens_of_the_batch(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum().clamp(min=1)


@mean_pool.mistake(
    "you average the first places, as many as there are tokens. Padding may stand on the left: let the mask say which."
)
def first_places_as_many_as_tokens(hidden, mask):
    many = mask.sum(1, keepdim=True)
    seen = torch.arange(mask.shape[1]) < many
    return (hidden * seen[..., None]).sum(1) / many.clamp(min=1)


@mean_pool.mistake(
    "you divide by the number of tokens of the *longest* text. Each text is divided by its own: `mask.sum(1, "
    "keepdim=True)`."
)
def divided_by_the_longest(hidden, mask):
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1).max().clamp(min=1)


# --- 5. Labels, drawn fairly ------------------------------------------------------------------------------------------

# Rows that increase are sets: the law of a right answer is one and the same, however it draws. Within a row each index
# stands at most once, so the steps away from an index are independent draws, and `pairs` tests their law.
draw_labels = Exercise("draw_labels", points=3, compare=distribution("pairs"), banned=LIBRARY)


@draw_labels.cases
def _(g):
    def seed():
        return Seed(int(torch.randint(2**31, (), generator=g)))

    yield Case((torch.tensor([0, 1, 1, 0, 1]), 1, 2000, seed()), note="the example in the text")
    yield Case((torch.tensor([1, 0, 1, 0]), 2, 60, seed()), note="all members of a class are drawn")
    yield Case((torch.arange(9) // 3, 2, 400, seed()), note="labels in order, class by class")
    yield Case((torch.arange(8) // 4, 2, 6000, seed()), note="all pairs of four are equally likely")
    for sizes, k, repeats in (((9, 3), 2, 500), ((4, 5, 3), 2, 500), ((3, 2, 4, 3), 1, 500)):
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        yield labels[torch.randperm(len(labels), generator=g)], k, repeats, seed()


draw_labels.equivalent(
    "a class without members adds nothing", "labels.max()) + 1{+ + 1+}", "labels.max()) + [-1-]{+2+}"
)
draw_labels.equivalent("of a vector `nonzero` has one column: the last is the first", "nonzero()[:, [-0-]{+-1+}]")
draw_labels.equivalent("the last dimension is the default", "argsort([-1-])", "sort([-1-])")


def _of_each(labels: Tensor) -> list[Tensor]:
    """For each class the indices of its members, in order."""
    return [(labels == c).nonzero()[:, 0] for c in range(int(labels.max()) + 1)]


def _shuffled(size: int, k: int, repeats: int, generator: torch.Generator) -> Tensor:
    """(R, k) different numbers below `size`, in random order."""
    return torch.rand(repeats, size, generator=generator).argsort(1)[:, :k]


@draw_labels.mistake(
    "the rows take turns: a shuffled class is dealt out from row to row until nothing is left. Each row is drawn from "
    "all members, whatever the row above has."
)
@draw_labels.breaks("Each class and each repeat is drawn independently of the others.")
def dealt_out_in_turns(labels, k, repeats, generator):
    drawn = []
    for members in _of_each(labels):
        deals = len(members) // k
        orders = torch.rand(-(-repeats // deals), len(members), generator=generator).argsort(1)[:, : deals * k]
        drawn.append(members[orders].view(-1, k)[:repeats])
    return torch.cat(drawn, 1).sort(1).values


@draw_labels.mistake(
    "you draw *with* replacement: the same sentence can be in a row twice, and its second label is worth nothing."
)
def with_replacement(labels, k, repeats, generator):
    drawn = [m[torch.randint(len(m), (repeats, k), generator=generator)] for m in _of_each(labels)]
    return torch.cat(drawn, 1).sort(1).values


@draw_labels.mistake(
    "you draw C · k of all sentences, whatever their class. It must be k of *each* class: else a row may lack a class."
)
def not_of_each_class(labels, k, repeats, generator):
    return _shuffled(len(labels), k * len(_of_each(labels)), repeats, generator).sort(1).values


@draw_labels.mistake(
    "you take the first k of each class, every time. Nothing is drawn, so there is nothing to average."
)
def first_k(labels, k, repeats, generator):
    return torch.cat([m[:k] for m in _of_each(labels)]).sort().values.repeat(repeats, 1)


@draw_labels.mistake("a row has k sentences in all. It must have k of each class, C · k together.")
def k_in_all(labels, k, repeats, generator):
    return _shuffled(len(labels), k, repeats, generator).sort(1).values


@draw_labels.mistake("the right sentences, but the rows do not increase. Sort each row.")
def not_sorted(labels, k, repeats, generator):
    return torch.cat([m[_shuffled(len(m), k, repeats, generator)] for m in _of_each(labels)], 1)


@draw_labels.mistake("each class is sorted by itself. Sort the whole row, after the classes are put together.")
def sorted_within_classes(labels, k, repeats, generator):
    drawn = [m[_shuffled(len(m), k, repeats, generator).sort(1).values] for m in _of_each(labels)]
    return torch.cat(drawn, 1)


@draw_labels.mistake(
    "these are places *within* a class (its 0th, its 1st sentence). Wanted are indices into `labels`: look the places "
    "up in the list of the class's members."
)
def places_within_the_class(labels, k, repeats, generator):
    return torch.cat([_shuffled(len(m), k, repeats, generator) for m in _of_each(labels)], 1).sort(1).values


@draw_labels.mistake("these are the labels of the drawn sentences. Wanted are their indices.")
def labels_instead_of_indices(labels, k, repeats, generator):
    return labels[torch.cat([m[_shuffled(len(m), k, repeats, generator)] for m in _of_each(labels)], 1)]


def _drawn(labels, k, repeats, generator, pick) -> Tensor:
    """Rows of each class's members at the places that `pick` gives for n of them."""
    members = [(labels == c).nonzero()[:, 0] for c in range(int(labels.max()) + 1)]
    return torch.cat([m[pick(len(m))] for m in members], 1).sort(1).values


@draw_labels.mistake(
    "your k are neighbours: members that follow one another, from a random one on. All sets of k must be "
    "equally likely."
)
def neighbours(labels, k, repeats, generator):
    def pick(n):
        return torch.randint(n - k + 1, (repeats, 1), generator=generator) + torch.arange(k)

    return _drawn(labels, k, repeats, generator, pick)


@draw_labels.mistake(
    "all classes use the same places: what is drawn for one decides over the others (and the last members of "
    "the larger "
    "classes never come). Draw for each class by itself, from all of its members."
)
def same_places_in_each_class(labels, k, repeats, generator):
    least = int(labels.bincount().min())
    places = torch.rand(repeats, least, generator=generator).argsort(1)[:, :k]
    return _drawn(labels, k, repeats, generator, lambda n: places)


@draw_labels.also("same_places_in_each_class")
def same_order_for_each_class(labels, k, repeats, generator):
    u = torch.rand(repeats, int(labels.bincount().max()), generator=generator)
    return _drawn(labels, k, repeats, generator, lambda n: u[:, :n].argsort(1)[:, :k])


@draw_labels.also("neighbours")
def neighbours_in_a_ring(labels, k, repeats, generator):
    def pick(n):
        return (torch.randint(n, (repeats, 1), generator=generator) + torch.arange(k)) % n

    return _drawn(labels, k, repeats, generator, pick)


@draw_labels.mistake("the last member of each class is never drawn. Random places go from 0 to n − 1, both included.")
def last_member_never(labels, k, repeats, generator):
    return _drawn(labels, k, repeats, generator, lambda n: _shuffled(max(k, n - 1), k, repeats, generator))


# --- 6. Error bars ----------------------------------------------------------------------------------------------------

mean_and_error = Exercise("mean_and_error", points=2, compare=close(), banned=LIBRARY)


@mean_and_error.cases
def _(g):
    yield Case((torch.tensor([[[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]]).bool(),), note="the example in the text")
    yield Case(
        ((torch.rand(2, 1, 6, generator=g) < torch.tensor([[[0.3]], [[0.7]]])).repeat(1, 4, 1),), note="all draws alike"
    )
    rate = (0.1 + 0.8 * torch.rand(8, 1, 1, generator=g)).expand(8, 1, 30)
    yield Case(
        ((torch.rand(8, 1, 30, generator=g) < rate).repeat(1, 11, 1),),
        note="all draws alike: the error is 0, no root of a rounding",
    )
    for kinds, draws, sentences in ((3, 10, 40), (4, 2, 25), (5, 5, 5), (2, 30, 8)):
        rate = 0.2 + 0.6 * torch.rand(kinds, draws, 1, generator=g)
        yield (torch.rand(kinds, draws, sentences, generator=g) < rate,)


@mean_and_error.mistake(
    "that is how far *single* draws scatter. The mean of R draws is better known than one of them: divide by √R."
)
def scatter_of_single_draws(right):
    share = right.float().mean(2)
    return share.mean(1), share.std(1)


@mean_and_error.mistake(
    "you divide the squares by R, and the formula by R − 1 (`correction=1`, torch's default and not numpy's): the "
    "draws are closer to their own mean than to the true one."
)
def divided_by_R(right):
    share = right.float().mean(2)
    return share.mean(1), share.std(1, correction=0) / share.shape[1] ** 0.5


@mean_and_error.mistake(
    "√(p(1 − p)/(R·N)) takes all R · N answers for independent. They are not: one unlucky draw of labels spoils all N "
    "answers at once. Ask the R shares how far they differ."
)
def as_if_all_were_independent(right):
    p = right.float().mean((1, 2))
    return p, (p * (1 - p) / (right.shape[1] * right.shape[2])).sqrt()


@mean_and_error.mistake("you divide by √N, the number of sentences. What is averaged are R draws.")
def divided_by_root_N(right):
    share = right.float().mean(2)
    return share.mean(1), share.std(1) / right.shape[2] ** 0.5


@mean_and_error.mistake(
    "your error is taken over the *sentences*: how much they differ in difficulty. Asked for is how much the R draws "
    "of labels differ: first the share of each draw (mean over the last axis), then their deviation."
)
def over_the_sentences(right):
    share = right.float().mean(1)
    return share.mean(1), share.std(1) / share.shape[1] ** 0.5


@mean_and_error.mistake("that is the variance (over R). Take the root: an error has the unit of the mean.")
def variance_instead_of_deviation(right):
    share = right.float().mean(2)
    return share.mean(1), share.var(1) / share.shape[1]


@mean_and_error.mistake("the mean comes first, then the error.")
def error_first(right):
    share = right.float().mean(2)
    return share.std(1) / share.shape[1] ** 0.5, share.mean(1)


@mean_and_error.mistake("one number for everything. Each of the K rows has its own mean and its own error.")
def all_rows_together(right):
    share = right.float().mean(2)
    return share.mean(), share.std() / share.numel() ** 0.5


@mean_and_error.mistake(
    "you take the deviation over all R · N answers at once. First the share of each draw; the R shares say how far "
    "draws scatter."
)
def deviation_of_all_answers(right):
    each = right.double().flatten(1)
    return each.mean(1), each.std(1) / each.shape[1] ** 0.5


@mean_and_error.mistake(
    "you take the deviation of the single answers, right or wrong, and divide it by √R. First the share of each draw; "
    "the deviation is that of the R shares."
)
def deviation_of_single_answers(right):
    each = right.double().flatten(1)
    return each.mean(1), each.std(1) / right.shape[1] ** 0.5


@mean_and_error.mistake("you divide by R. The mean of R draws scatters √R times less than one draw: divide by √R.")
def divided_by_all_draws(right):
    shares = right.double().mean(2)
    return shares.mean(1), shares.std(1) / shares.shape[1]


@mean_and_error.mistake("that is the variance of the shares over √R. The root of it is missing: the deviation over √R.")
def variance_over_root_r(right):
    shares = right.double().mean(2)
    return shares.mean(1), shares.var(1) / shares.shape[1] ** 0.5


@mean_and_error.mistake(
    "the error is 1.96 times too large: that is half of a 95 % interval. Asked for is one standard error."
)
def interval_of_95_percent(right):
    shares = right.double().mean(2)
    return shares.mean(1), 1.96 * shares.std(1) / math.sqrt(shares.shape[1])


@mean_and_error.mistake(
    "you average over the things that are compared. For each of the K there is a mean and an error: axis 1."
)
def over_the_things(right):
    shares = right.double().mean(2)
    return shares.mean(0), shares.std(0) / math.sqrt(shares.shape[0])


@mean_and_error.mistake(
    "half of the distance from the least to the largest share is no deviation: it grows with the number of draws. Take "
    "the root of the mean square (`std`), over √R."
)
def half_the_range(right):
    shares = right.float().mean(2)
    return shares.mean(1), (shares.amax(1) - shares.amin(1)) / 2 / math.sqrt(shares.shape[1])


# --- 7. Which library? ------------------------------------------------------------------------------------------------

# The class LogisticRegression itself is not banned: the code of its `fit` is a wrapper's that all estimators share.
LINEAR_MODELS = ["LogisticRegression", "LogisticRegressionCV", "RidgeClassifier"]
which_library = Exercise(
    "which_library",
    points=4,
    compare=close(rtol=0, atol=0.02),
    banned=LIBRARY
    + ["course_utils.learn.evaluate.linear_probe", "course_utils.learn.evaluate.logistic_regression"]
    + [f"sklearn.linear_model.{name}.__init__" for name in LINEAR_MODELS],
    seconds=2,
)


@which_library.cases
def _(g):
    features = torch.tensor([[1.0, 100.0], [1.0, 300.0], [3.0, 100.0], [3.0, 300.0]])
    new = torch.tensor([[3.5, 50.0], [2.5, 250.0], [1.25, 400.0], [2.0, 500.0]])
    yield Case((features, torch.tensor([0, 0, 1, 1]), new, 1.0), note="the example in the text")
    yield Case((*_units(g), 0.3), note="features of very different sizes, and one that never changes")
    yield Case((*_one_class_in_the_new(g), 0.5), note="new sentences of one class alone")
    yield Case((*_far_from_the_middle(g), 0.3), note="features far from zero")
    yield Case((*_no_order_among_classes(g), 0.3), note="classes that have no order")
    yield Case((*_sentences(g), 1.0), note="real sentences, by BERT's features")


CORNERS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def _around(g: torch.Generator, centres: Tensor, each: list[int], spread: float) -> tuple[Tensor, Tensor]:
    """((N, D) points scattered around their class's centre, (N,) its class), in random order."""
    labels = torch.arange(len(each)).repeat_interleave(torch.tensor(each))
    labels = labels[torch.randperm(len(labels), generator=g)]
    return centres[labels] + spread * torch.randn(len(labels), centres.shape[1], generator=g), labels


def _units(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Four classes in two features of some hundred-thousandths; a third feature in thousands tells nothing."""
    x, y = _around(g, CORNERS, [12] * 4, 0.25)
    new, _ = _around(g, CORNERS, [20] * 4, 0.25)
    x, new = (torch.cat([1e-5 * f, 1e3 * torch.randn(len(f), 1, generator=g)], 1) for f in (x, new))
    return x, y, new


def _one_class_in_the_new(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """All new sentences are of one class: they have a mean of their own, and it tells."""
    x, y = _around(g, 2 * CORNERS, [15] * 4, 0.6)
    each = [0] * 4
    each[int(torch.randint(1, 4, (), generator=g))] = 160
    new, _ = _around(g, 2 * CORNERS, each, 0.6)
    return x, y, new


def _far_from_the_middle(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The border between a small class and a large one is not at the mean of all features."""
    centres = torch.tensor([[5.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    x, y = _around(g, centres, [20, 40, 40], 0.15)
    centres[2, 0] = 2.4
    new, _ = _around(g, centres, [8, 8, 60], 0.15)
    return x, y.clamp(max=1), new


def _no_order_among_classes(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Class 3 is no more like class 2 than like class 0; and one feature is always the same."""
    centres = CORNERS[[0, 3, 2, 1]]
    x, y = _around(g, centres, [15] * 4, 0.25)
    new, _ = _around(g, centres, [15] * 4, 0.25)
    x, new = (torch.cat([f, torch.full((len(f), 1), 5.0)], 1) for f in (x, new))
    return x, y, new


@cache
def _pooled() -> list[tuple[Tensor, Tensor]]:
    """(features (N, 128), labels (N,)) by BERT of sentences of three libraries: to train on, and held out."""
    from course_utils import pretrained
    from course_utils.data import text
    from course_utils.models import transformer

    bert, tokenizer = pretrained.load("bert", device="cpu")
    libraries, found = ["numpy", "sklearn", "matplotlib"], []
    for part in ("train", "held_out"):
        sentences, names = text.labelled_sentences(part, libraries, limit=300, seed=4)
        codes, mask = tokenizer.encode_batch(sentences, 48)
        with torch.no_grad():
            pairs = zip(codes.split(100), mask.split(100))
            features = torch.cat([transformer.mean_pool(bert.encode(c, m), m) for c, m in pairs])
        found.append((features, torch.tensor([libraries.index(name) for name in names])))
    return found


def _sentences(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Real sentences' features: 60 labels of each of three libraries, and 60 new ones of each."""
    parts = []
    for features, labels in _pooled():
        rows = torch.cat([m[torch.randperm(len(m), generator=g)[:60]] for m in _of_each(labels)])
        rows = rows[torch.randperm(len(rows), generator=g)]
        parts += [features[rows], labels[rows]]
    return tuple(parts[:3])


def _standard(x: Tensor, by: Tensor, correction: int = 0) -> Tensor:
    """x with the mean and the deviation of `by` taken out, feature by feature; a constant feature gives 0."""
    return (x - by.mean(0)) / by.std(0, correction=correction).clamp(min=1e-8)


def _scores(x, y, new, penalty, bias=True, on_bias=False, steps=100, size=lambda w: w.square().sum()) -> Tensor:
    """(M, C) logits of a logistic regression; the arguments spoil parts of it."""
    x, new = (torch.cat([f, torch.full((len(f), 1), float(bias))], 1) for f in (x, new))
    weight = torch.zeros(x.shape[1], int(y.max()) + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        held = weight if on_bias else weight[:-1]
        found = torch.nn.functional.cross_entropy(x @ weight, y) + penalty / 2 * size(held)
        found.backward()
        return found

    optimizer.step(loss)
    return (new @ weight).detach()


which_library.equivalent(
    "the loss is convex, and the same minimum is found",
    "W = torch.[-zeros-]{+ones+}",
    "b = torch.[-zeros-]{+ones+}",
    "max_iter=[-100-]{+101+}",
    "max_iter=[-100-]{+99+}",
    "[-, line_search_fn='strong_wolfe'-]",
)
which_library.uncaught("20 steps, the default, reach the minimum in the cases, too", "[-max_iter=100, -]")


def _fitted(features, labels, new_features, penalty, **how) -> Tensor:
    return _scores(_standard(features, features), labels, _standard(new_features, features), penalty, **how)


@which_library.mistake(
    "the features are not standardised. One feature in thousands drowns another in thousandths, and the penalty on the "
    "weights hits the small one alone: subtract each feature's mean, divide by its deviation."
)
def not_standardised(features, labels, new_features, penalty):
    return _scores(features, labels, new_features, penalty).softmax(1)


@which_library.mistake(
    "the new features are standardised by their *own* mean and deviation. Then what a sentence gets depends on its "
    "neighbours: use the mean and the deviation of the labelled features for both."
)
def new_ones_by_themselves(features, labels, new_features, penalty):
    new = _standard(new_features, new_features)
    return _scores(_standard(features, features), labels, new, penalty).softmax(1)


@which_library.mistake("the deviation is divided by N − 1. Here it is over N: `std(0, correction=0)`.")
def divided_by_n_minus_1(features, labels, new_features, penalty):
    x, new = (_standard(f, features, correction=1) for f in (features, new_features))
    return _scores(x, labels, new, penalty).softmax(1)


@which_library.mistake(
    "there is no bias: all borders between classes go through the mean of all features. Add one number for each class."
)
def no_bias(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty, bias=False).softmax(1)


@which_library.mistake(
    "the penalty is on the bias, too. It is on W alone: how frequent a class is costs nothing to say."
)
def penalty_on_the_bias(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty, on_bias=True).softmax(1)


@which_library.mistake("your penalty is twice as strong: in the formula stands λ/2.")
def half_missing(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, 2 * penalty).softmax(1)


@which_library.mistake(
    "your penalty is N times too weak: you add up the sentences' losses, and the formula takes their mean."
)
def sum_of_the_losses(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty / len(features)).softmax(1)


@which_library.mistake("all features are divided by *one* deviation. Each feature has its own: `std(0, …)`.")
def one_deviation_for_all(features, labels, new_features, penalty):
    mean, deviation = features.mean(0), features.std(correction=0)
    return _scores((features - mean) / deviation, labels, (new_features - mean) / deviation, penalty).softmax(1)


@which_library.mistake(
    "that is the *nearest centroid*: a softmax of distances to the classes' means. It asks no loss and finds no "
    "minimum; two classes that lie close get the same say as two that lie apart."
)
def nearest_centroid(features, labels, new_features, penalty):
    x, new = _standard(features, features), _standard(new_features, features)
    centres = torch.stack([x[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    return (-torch.cdist(new, centres).square() / 2).softmax(1)


@which_library.mistake(
    "a feature that is the same for all sentences has the deviation 0, and 0/0 = nan spoils every score. Divide by a "
    "deviation of at least, say, 1e-8."
)
def constant_feature_gives_nan(features, labels, new_features, penalty):
    mean, deviation = features.mean(0), features.std(0, correction=0)
    return _scores((features - mean) / deviation, labels, (new_features - mean) / deviation, penalty).softmax(1)


@which_library.mistake(
    "you standardise each *sentence* over its features. It is the other way round: each feature over the sentences, "
    "dim=0."
)
def each_sentence_by_itself(features, labels, new_features, penalty):
    x, new = (_standard(f.T, f.T).T for f in (features, new_features))
    return _scores(x, labels, new, penalty).softmax(1)


@which_library.mistake("these are the scores. Asked for are the probabilities: softmax of each row.")
def scores_instead_of_probabilities(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty)


@which_library.mistake(
    "these are the classes. Asked for is the probability of each class, (M, C): the cells below take the largest."
)
def classes_instead_of_probabilities(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty).argmax(1)


@which_library.mistake(
    "the new sentences are not standardised. They need the means and deviations of the labelled ones."
)
def new_ones_as_they_are(features, labels, new_features, penalty):
    return _scores(_standard(features, features), labels, new_features, penalty).softmax(1)


@which_library.mistake("there is (nearly) no penalty on the weights: they grow, and your probabilities are too sure.")
def without_penalty(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, 1e-6).softmax(1)


@which_library.mistake(
    "mean and deviation are those of *all* sentences, the new ones included. They come from the labelled ones alone."
)
def new_ones_in_the_mean(features, labels, new_features, penalty):
    both = torch.cat([features, new_features])
    return _scores(_standard(features, both), labels, _standard(new_features, both), penalty).softmax(1)


@which_library.mistake("the penalty is on the sizes of W (|W|). In the formula stand its squares.")
def absolute_penalty(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty, size=lambda w: w.abs().sum()).softmax(1)


@which_library.mistake("the penalty is on the *mean* of the squares of W. In the formula stands their sum.")
def penalty_on_the_mean(features, labels, new_features, penalty):
    return _fitted(features, labels, new_features, penalty, size=lambda w: w.square().mean()).softmax(1)


@which_library.also("new_ones_by_themselves")
def new_ones_by_their_own_mean(features, labels, new_features, penalty):
    deviation = features.std(0, correction=0).clamp(min=1e-8)
    new = (new_features - new_features.mean(0)) / deviation
    return _scores(_standard(features, features), labels, new, penalty).softmax(1)


@which_library.also("one_deviation_for_all")
def one_deviation_about_the_means(features, labels, new_features, penalty):
    mean = features.mean(0)
    deviation = (features - mean).std()
    return _scores((features - mean) / deviation, labels, (new_features - mean) / deviation, penalty).softmax(1)


@which_library.mistake(
    "you fit each class by itself, against all the rest. The model is *one*: a softmax over all classes, fitted with "
    "their common cross entropy."
)
def one_class_against_the_rest(features, labels, new_features, penalty):
    p = _against_the_rest(features, labels, new_features, penalty).sigmoid()
    return p / p.sum(1, keepdim=True)


@which_library.also("one_class_against_the_rest")
def softmax_of_what_was_fitted_one_by_one(features, labels, new_features, penalty):
    return _against_the_rest(features, labels, new_features, penalty).softmax(1)


def _against_the_rest(features, labels, new_features, penalty) -> Tensor:
    """(M, C) logits of C regressions with two classes each; two weights share a penalty, so it is twice as large."""
    classes = range(int(labels.max()) + 1)
    parts = [_fitted(features, (labels == c).long(), new_features, 2 * penalty) for c in classes]
    return torch.stack([z[:, 1] - z[:, 0] for z in parts], 1)


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@mask_tokens.breaks("Leave `codes` itself as it was")
def hidden_in_the_argument(codes, choose, how, other, mask_code, special, share):
    chosen = (choose < share) & (codes >= special)
    targets = codes.where(chosen, -100)
    swapped = chosen & (how >= 0.8) & (how < 0.9)
    codes[swapped] = other[swapped]
    codes[chosen & (how < 0.8)] = mask_code
    return codes, targets


@mlm_loss.breaks("Gradients must reach `logits`")
def constant_where_none_is_chosen(logits, targets):
    chosen = targets != -100
    if not chosen.any():
        return torch.tensor(0.0)
    return -logits[chosen].log_softmax(-1).gather(1, targets[chosen][:, None]).mean()


@mlm_loss.breaks("logits of 1000 do occur")
def logarithm_after_softmax(logits, targets):
    chosen = targets != -100
    p = logits.softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -((p + 1e-9).log() * chosen).sum() / chosen.sum().clamp(min=1)


@attention_weights.breaks("up to some thousands in size")
def filled_with_minus_a_thousand(scores, mask):
    weights = scores.masked_fill(~mask[:, None, None], -1000).softmax(-1)
    return weights * mask[:, None, None]


@draw_labels.breaks("All randomness comes from `generator`; make none of your own")
def drawn_from_elsewhere(labels, k, repeats, generator):
    key = torch.rand(repeats, len(labels))
    parts = [(labels == c).nonzero()[:, 0] for c in range(int(labels.max()) + 1)]
    return torch.cat([p[key[:, p].argsort(1)[:, :k]] for p in parts], 1).sort(1).values


@draw_labels.breaks("All randomness comes from `generator`; make none of your own")
def seeded_anew(labels, k, repeats, generator):
    key = torch.rand(repeats, len(labels), generator=torch.Generator().manual_seed(3))
    parts = [(labels == c).nonzero()[:, 0] for c in range(int(labels.max()) + 1)]
    return torch.cat([p[key[:, p].argsort(1)[:, :k]] for p in parts], 1).sort(1).values


@attention_weights.breaks("up to some thousands in size")
def ten_thousand_taken_off(scores, mask):
    weights = (scores - 1e4 * ~mask[:, None, None, :]).softmax(-1)
    return weights * mask.any(1)[:, None, None, None]
