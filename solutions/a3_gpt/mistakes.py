"""Assignment 3, GPT: what is asked in each exercise, how it is compared, and the mistakes we know by name.

Each exercise stands in one place: points and comparison, then its cases (small ones that can be checked by hand, then
random ones; the same function draws the visible and the hidden cases), then wrong functions with the hint for those who
wrote them. Three exercises ask for a class: there a wrong class changes one method of a right one.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.author.exercise import Case, Exercise, Module, Promises, close, exact

LIBRARY = [
    "course_utils.learn.losses.mean_cross_entropy",
    "course_utils.learn.losses.next_token_loss",
    "course_utils.models.sampling.next_token_probabilities",
    "course_utils.models.transformer.Block",
    "course_utils.models.transformer.GPT",
    "course_utils.models.transformer.KVCache",
    "course_utils.models.transformer.MLP",
    "course_utils.models.transformer.SelfAttention",
    "course_utils.models.transformer.Transformer",
    "course_utils.models.transformer.attention",
    "course_utils.models.transformer.visible_keys",
]
ATTENTION = [
    "torch.nn.MultiheadAttention",
    "torch.nn.TransformerDecoderLayer",
    "torch.nn.TransformerEncoderLayer",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]
CROSS_ENTROPY = [
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.nll_loss",
]
NEAR = close(rtol=1e-4, atol=1e-5)  # sums in another order differ in the last digits


@torch.no_grad()
def _weights(module: nn.Module, g: torch.Generator, zero: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Random weights for all parameters of a module, by name; those whose name ends in one of `zero` are 0."""
    found = {}
    for name, parameter in module.state_dict().items():
        drawn = torch.randn(parameter.shape, generator=g)
        if "norm" in name:
            drawn = 0.3 * drawn + (1 if name.endswith("weight") else 0)
        elif parameter.ndim == 2:
            drawn = drawn / math.sqrt(parameter.shape[1])
        found[name] = 0 * drawn if zero and name.endswith(zero) else drawn
    return found


def _past(g: torch.Generator, batch: int, heads: int, length: int, dim: int) -> tuple[Tensor, Tensor]:
    """Keys and values (B, H, P, d) of `length` earlier tokens."""
    k, v = torch.randn(2, batch, heads, length, dim // heads, generator=g)
    return k.clone(), v.clone()


# --- 1. Look back -----------------------------------------------------------------------------------------------------

causal_attention = Exercise(
    "causal_attention", points=3, compare=NEAR, banned=LIBRARY + ATTENTION, promises=Promises(gradients=(0, 1, 2))
)


@causal_attention.cases
def _(g):
    q = torch.tensor([[0.0, 0, 0, 0], [2 * math.log(3), 0, 0, 0]])[None, None]
    k = torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0]])[None, None]
    v = torch.tensor([[8.0, 0, 0, 0], [4.0, 0, 0, 0]])[None, None]
    yield Case((q, k, v), note="the example in the text")
    yield Case((q[:, :, 1:], k, v), note="fewer queries than keys")
    yield Case(
        (
            15 * torch.randn(1, 2, 4, 4, generator=g),
            15 * torch.randn(1, 2, 6, 4, generator=g),
            torch.randn(1, 2, 6, 4, generator=g),
        ),
        note="large scores, and more keys than queries",
    )
    q, k, v = torch.randn(3, 1, 2, 5, 4, generator=g, dtype=torch.double).unbind(0)
    last = torch.arange(5)[:, None] == 4  # hidden from all tokens but itself, and the largest score of each
    yield Case(
        (100 + q, torch.where(last, 100, -100) + k, v),
        note="scores that are seen are about −20,000, far below numbers that only look like −∞",
    )
    for batch, heads, queries, keys, d in ((1, 1, 4, 4, 3), (2, 3, 5, 5, 4), (2, 2, 3, 7, 6), (3, 2, 1, 5, 2)):
        q = torch.randn(batch, heads, queries, d, generator=g)
        more = "more keys than queries" if keys > queries else ""
        yield Case((q, *torch.randn(2, batch, heads, keys, d, generator=g).unbind(0)), note=more)


causal_attention.equivalent("of four dimensions, number -2 is number 2", "q.shape[[---]2]", "k.shape[[---]2]")
causal_attention.equivalent(
    "the scores do not depend on the order in which the two dimensions are named", "k.transpose(-[-2, -1-]{+1, -2+})"
)
causal_attention.equivalent("of four dimensions, number -2 is number 2", "k.transpose([---]2, -1)")


def _seen(q: Tensor, k: Tensor) -> Tensor:
    """(T, S) bool: which keys each query may see, if the queries are the last T of the S tokens."""
    T, S = q.shape[-2], k.shape[-2]
    return torch.ones(T, S, dtype=torch.bool).tril(S - T)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / math.sqrt(q.shape[-1])


def _attend(scores: Tensor, seen: Tensor, v: Tensor, axis: int = -1) -> tuple[Tensor, Tensor]:
    weights = scores.masked_fill(~seen, -math.inf).softmax(axis)
    return weights @ v, weights


@causal_attention.mistake(
    "the mask is the wrong triangle: your tokens see themselves and what comes *after* them. Token i may see the "
    "keys up to i: `tril`, not `triu`."
)
def looks_ahead(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    return _attend(_scores(q, k), torch.ones(T, S, dtype=torch.bool).triu(S - T), v)


@causal_attention.mistake("there is no mask: each token sees those after it, too.")
def no_mask(q, k, v):
    return _attend(_scores(q, k), torch.ones_like(_seen(q, k)), v)


@causal_attention.mistake(
    "your tokens do not see themselves. The mask hides what comes *after* a token; the token itself is seen, else "
    "the first one sees nothing at all."
)
def does_not_see_itself(q, k, v):
    return _attend(_scores(q, k), _seen(q, k).tril(k.shape[-2] - q.shape[-2] - 1), v)


@causal_attention.also("does_not_see_itself")
def does_not_see_itself_and_nan_is_0(q, k, v):
    return tuple(part.nan_to_num() for part in does_not_see_itself(q, k, v))


@causal_attention.mistake("the scores are not divided by √d.")
def not_scaled(q, k, v):
    return _attend(q @ k.mT, _seen(q, k), v)


@causal_attention.mistake("you divide by d, the formula by √d.")
def divided_by_d(q, k, v):
    return _attend(q @ k.mT / q.shape[-1], _seen(q, k), v)


@causal_attention.mistake("you *multiply* by √d: divide.")
def multiplied_by_root(q, k, v):
    return _attend(q @ k.mT * math.sqrt(q.shape[-1]), _seen(q, k), v)


@causal_attention.mistake(
    "your *columns* sum to 1: this is softmax over the queries. Each query shares its attention out among the keys, "
    "the last axis."
)
def softmax_over_queries(q, k, v):
    return _attend(_scores(q, k), _seen(q, k), v, -2)


@causal_attention.mistake(
    "what is hidden gets the weight 0 *after* the softmax, and the rest no longer adds up to 1. Set its score to −∞ "
    "before the softmax."
)
def zeroed_after_softmax(q, k, v):
    weights = _scores(q, k).softmax(-1) * _seen(q, k)
    return weights @ v, weights


@causal_attention.mistake(
    "what is hidden gets the score 0, and $e^0 = 1$: it is still looked at. The score that gives the weight 0 is −∞."
)
def score_zero(q, k, v):
    weights = (_scores(q, k) * _seen(q, k)).softmax(-1)
    return weights @ v, weights


@causal_attention.mistake(
    "with more keys than queries your mask begins at the wrong end: the first query sees the first key alone. The "
    "queries are the *last* T of the S tokens, so the first one sees S − T + 1 keys: `tril(S - T)`."
)
def mask_at_the_wrong_end(q, k, v):
    return _attend(_scores(q, k), torch.ones_like(_seen(q, k)).tril(), v)


@causal_attention.mistake(
    "you mask only where there are as many queries as keys. With a past the new tokens must not look ahead either: "
    "among several new ones the first does not see the second."
)
def mask_only_without_a_past(q, k, v):
    seen = _seen(q, k)
    return _attend(_scores(q, k), seen if q.shape[-2] == k.shape[-2] else torch.ones_like(seen), v)


@causal_attention.mistake("the second of your two answers holds the scores. Asked for are the weights, after softmax.")
def scores_instead_of_weights(q, k, v):
    y, _ = _attend(_scores(q, k), _seen(q, k), v)
    return y, _scores(q, k).masked_fill(~_seen(q, k), -math.inf)


@causal_attention.mistake(
    "what is hidden gets a large negative score in place of −∞. Where the scores that are seen are lower still, it "
    "wins: take `-math.inf`."
)
@causal_attention.breaks("Scores of −20,000 occur: a large negative number is no −∞.")
def not_low_enough(q, k, v):
    return _attend(_scores(q, k).masked_fill(~_seen(q, k), -1e4), torch.ones_like(_seen(q, k)), v)


@causal_attention.mistake(
    "what is hidden is taken out only after `exp` (or after the softmax, which takes the largest score off first). "
    "Where a hidden score is far larger, all that is seen becomes 0. Set the hidden scores to −∞ before."
)
def largest_of_all_scores_taken_off(q, k, v):
    scores = _scores(q, k)
    e = (scores - scores.amax(-1, keepdim=True)).exp() * _seen(q, k)
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


@causal_attention.mistake("your two answers are exchanged: first what each token gets, then the weights.")
def weights_first(q, k, v):
    y, weights = _attend(_scores(q, k), _seen(q, k), v)
    return weights, y


@causal_attention.mistake("you divide by the root of how many keys there are. It is √d, the root of the size of a key.")
def root_of_the_keys(q, k, v):
    return _attend(_scores(q, k) * math.sqrt(q.shape[-1]) / math.sqrt(k.shape[-2]), _seen(q, k), v)


@causal_attention.mistake(
    "a token does not see itself (only the first does, which has nobody else). Itself and all before it: j ≤ i."
)
def only_the_first_sees_itself(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    seen = torch.ones(T, S, dtype=torch.bool).tril(S - T - 1)
    seen[0, 0] |= S == T
    return _attend(_scores(q, k), seen, v)


@causal_attention.mistake(
    "a token's own value is added to what it gets. Here the answer is the weighted mean alone (the residual "
    "comes later)."
)
def own_value_added(q, k, v):
    y, weights = _attend(_scores(q, k), _seen(q, k), v)
    return y + v[..., -q.shape[-2] :, :], weights


@causal_attention.mistake(
    "with as many keys as queries there is no mask in yours: there, too, a token sees itself and those before it alone."
)
def mask_only_with_a_past(q, k, v):
    seen = torch.ones_like(_seen(q, k)) if q.shape[-2] == k.shape[-2] else _seen(q, k)
    return _attend(_scores(q, k), seen, v)


@causal_attention.mistake(
    "you divide by √d *after* the softmax, so that the weights no longer sum to 1. The scores are divided, before it."
)
def divided_after_the_softmax(q, k, v):
    weights = (q @ k.mT).masked_fill(~_seen(q, k), -math.inf).softmax(-1) / math.sqrt(q.shape[-1])
    return weights @ v, weights


# --- 2. Several heads, and a cache ------------------------------------------------------------------------------------

SelfAttention = Exercise(
    "SelfAttention", points=4, compare=NEAR, banned=LIBRARY + ATTENTION, promises=Promises(gradients=(0,), case=3)
)


class Attention(nn.Module):
    """A right one; the mistakes below change one method each."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x):  # (B, T, D) -> three times (B, H, T, d)
        B, T, _ = x.shape
        return self.qkv(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def extend(self, past, k, v):  # each (B, H, P, d) and (B, H, T, d) -> (B, H, S, d)
        return (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))

    def seen(self, T, S):
        return torch.ones(T, S, dtype=torch.bool).tril(S - T)

    def root(self, x, q):
        return math.sqrt(q.shape[-1])

    def merge(self, y):  # (B, H, T, d) -> (B, T, D)
        return y.transpose(1, 2).flatten(2)

    def forward(self, x, past=None):
        q, k, v = self.split(x)
        k, v = self.extend(past, k, v)
        scores = q @ k.mT / self.root(x, q)
        weights = scores.masked_fill(~self.seen(q.shape[2], k.shape[2]), -math.inf).softmax(-1)
        return self.out(self.merge(weights @ v)), (k, v)


@SelfAttention.cases
def _(g):
    x = torch.tensor([[[1.0, 2, 3, 4], [5.0, 6, 7, 8]]])
    only_values = torch.cat([torch.zeros(8, 4), torch.eye(4)])
    plain = {"qkv.weight": only_values, "qkv.bias": torch.zeros(12)}
    plain |= {"out.weight": torch.eye(4), "out.bias": torch.zeros(4)}
    yield Case((Module((4, 2), plain, (x,)),), note="the example in the text")
    v = x.view(1, 2, 2, 2).transpose(1, 2)  # (B, H, T, d)
    past = (torch.zeros(1, 2, 1, 2), v[:, :, :1].clone())
    yield Case((Module((4, 2), plain, (x[:, 1:], past)),), note="with a past: the first token is in the cache")
    for dim, heads, batch, time, before in ((6, 2, 2, 4, 0), (8, 4, 3, 5, 0), (6, 3, 2, 1, 4), (8, 2, 2, 3, 2)):
        state = _weights(Attention(dim, heads), g)
        x = torch.randn(batch, time, dim, generator=g)
        past = (_past(g, batch, heads, before, dim),) if before else ()
        yield Case((Module((dim, heads), state, (x, *past)),), note="with a past" if past else "")


SelfAttention.equivalent(
    "the scores do not depend on the order in which the two dimensions are named", "k.transpose(-[-2, -1-]{+1, -2+})"
)
SelfAttention.equivalent("of four dimensions, number -2 is number 2", "k.transpose([---]2, -1)")
SelfAttention.equivalent(
    "the order in which the two dimensions are named makes no difference", "transpose([-1, 2-]{+2, 1+})"
)


@SelfAttention.mistake(
    "the heads are cut with `view(B, H, T, d)` alone: that mixes the tokens. A head takes its d numbers *of each "
    "token*: first view(B, T, H, d), then exchange the axes of T and H."
)
class HeadsWithoutTranspose(Attention):
    def split(self, x):
        B, T, D = x.shape
        return [part.reshape(B, self.heads, T, D // self.heads) for part in self.qkv(x).split(D, -1)]


@SelfAttention.mistake(
    "the heads are put together with `reshape(B, T, D)` alone: that mixes the tokens. First exchange the axes of H "
    "and T again, (B, H, T, d) → (B, T, H, d)."
)
class MergedWithoutTranspose(Attention):
    def merge(self, y):
        B, H, T, d = y.shape
        return y.reshape(B, T, H * d)


@SelfAttention.mistake(
    "you divide by √D. Each head's queries and keys have d = D/H numbers: divide by √d = √(D/H), or a head's softmax "
    "comes out too flat."
)
class DividedByTheWholeWidth(Attention):
    def root(self, x, q):
        return math.sqrt(x.shape[-1])


@SelfAttention.mistake(
    "the numbers of `qkv` are read in another order. The first D are the queries of all heads, then come D for the "
    "keys and D for the values; you cut into heads first."
)
class HeadsBeforeQueriesKeysValues(Attention):
    def split(self, x):
        B, T, _ = x.shape
        return self.qkv(x).view(B, T, self.heads, 3, -1).permute(3, 0, 2, 1, 4)


@SelfAttention.mistake(
    "your heads take every H-th number. Head h has d *neighbouring* numbers, h·d … (h + 1)·d − 1: view(B, T, H, d), "
    "not view(B, T, d, H)."
)
class EveryHthNumber(Attention):
    def split(self, x):
        B, T, _ = x.shape
        return self.qkv(x).view(B, T, 3, -1, self.heads).permute(2, 0, 4, 1, 3)


@SelfAttention.mistake("there is no mask: each token sees those after it, too.")
class NoMask(Attention):
    def seen(self, T, S):
        return torch.ones(T, S, dtype=torch.bool)


@SelfAttention.mistake("the last matrix is missing: what the heads found goes through `out`.")
class WithoutOut(Attention):
    def forward(self, x, past=None):
        q, k, v = self.split(x)
        k, v = self.extend(past, k, v)
        weights = (q @ k.mT / self.root(x, q)).masked_fill(~self.seen(q.shape[2], k.shape[2]), -math.inf).softmax(-1)
        return self.merge(weights @ v), (k, v)


@SelfAttention.mistake(
    "`past` is not used: the new tokens see each other and nothing before. Put the earlier keys and values in front "
    "of the new ones, along the axis of time."
)
class PastIgnored(Attention):
    def extend(self, past, k, v):
        return k, v


@SelfAttention.mistake("the earlier keys and values come *before* the new ones: torch.cat([past, new], dim=2).")
class PastBehindTheNew(Attention):
    def extend(self, past, k, v):
        return (k, v) if past is None else (torch.cat([k, past[0]], 2), torch.cat([v, past[1]], 2))


@SelfAttention.mistake(
    "the result is right, and what you hand back overwrites the cache with the new keys and values alone. Hand back "
    "all S of them, else the next token has no past."
)
class CacheOverwritten(Attention):
    def forward(self, x, past=None):
        y, (k, v) = super().forward(x, past)
        return y, (k[:, :, -x.shape[1] :], v[:, :, -x.shape[1] :])


@SelfAttention.mistake(
    "with a past your mask begins at the wrong end: the first new token sees the first key alone. It sees all "
    "earlier ones and itself, P + 1 keys: `tril(P)`."
)
class MaskWithoutThePast(Attention):
    def seen(self, T, S):
        return torch.ones(T, S, dtype=torch.bool).tril()


@SelfAttention.mistake(
    "you mask only without a past. Several new tokens after a past must not look ahead either: the first of them does "
    "not see the second."
)
class MaskOnlyWithoutAPast(Attention):
    def seen(self, T, S):
        return torch.ones(T, S, dtype=torch.bool).tril() if T == S else torch.ones(T, S, dtype=torch.bool)


@SelfAttention.mistake(
    "queries and keys are exchanged: the first D numbers of `qkv` are the queries, then come the keys."
)
class QueriesAndKeysExchanged(Attention):
    def split(self, x):
        q, k, v = super().split(x)
        return k, q, v


@SelfAttention.mistake("what comes in is added to what comes out. That residual belongs to the block, exercise 3.")
class WithResidual(Attention):
    def forward(self, x, past=None):
        y, present = super().forward(x, past)
        return x + y, present


@SelfAttention.mistake("all heads give the same: their mean. Each head keeps its own d numbers, side by side.")
class HeadsAveraged(Attention):
    def merge(self, y):
        return super().merge(y.mean(1, keepdim=True).expand_as(y))


@SelfAttention.mistake(
    "with a past, new tokens see the past and themselves, but not *each other*: the second new one sees the first, too."
)
class NewOnesDoNotSeeEachOther(Attention):
    def seen(self, T, S):
        if S == T:
            return super().seen(T, S)
        return torch.cat([torch.ones(T, S - T), torch.eye(T)], 1).bool()


@SelfAttention.mistake("the earlier *keys* stand for the values, too. `past` is a pair: (k, v).")
class PastKeysForValues(Attention):
    def extend(self, past, k, v):
        return super().extend(past and (past[0], past[0]), k, v)


# --- 3. The block -----------------------------------------------------------------------------------------------------

Block = Exercise("Block", points=3, compare=NEAR, banned=LIBRARY + ATTENTION, promises=Promises(gradients=(0,), case=3))


class Layer(nn.Module):
    """A right block; the mistakes below change one method each."""

    def __init__(self, dim, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp = nn.ModuleDict({"up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim)})

    def bend(self, x):
        return F.gelu(x, approximate="tanh")

    def think(self, x):
        return self.mlp["down"](self.bend(self.mlp["up"](x)))

    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        x = x + y
        return x + self.think(self.norm_2(x)), present


@Block.cases
def _(g):
    zero = ("out.weight", "down.weight")
    state = _weights(Layer(2, 1), g, zero=(*zero, "qkv.weight", "qkv.bias"))
    state |= {"attention.out.bias": torch.tensor([1.0, 1.0]), "mlp.down.bias": torch.tensor([0.0, 2.0])}
    yield Case(
        (Module((2, 1), state, (torch.tensor([[[10.0, 20.0], [30.0, 50.0]]]),)),), note="the example in the text"
    )
    for dim, heads, batch, time, before in ((4, 1, 2, 3, 0), (6, 2, 2, 4, 0), (8, 4, 1, 6, 0), (6, 3, 2, 2, 3)):
        state = _weights(Layer(dim, heads), g)
        past = (_past(g, batch, heads, before, dim),) if before else ()
        size = 0.01 if heads == 4 else 2  # so small that what a norm adds to the variance counts
        module = Module((dim, heads), state, (size * torch.randn(batch, time, dim, generator=g), *past))
        yield Case((module,), note="with a past" if past else "")


Block.equivalent(
    "the scores do not depend on the order in which the two dimensions are named", "k.transpose(-[-2, -1-]{+1, -2+})"
)
Block.equivalent("of four dimensions, number -2 is number 2", "k.transpose([---]2, -1)")
Block.equivalent("the order in which the two dimensions are named makes no difference", "transpose([-1, 2-]{+2, 1+})")


@Block.mistake(
    "you normalise *after* adding (post-norm: BERT, and the transformer of 2017). GPT-2 normalises what goes *into* "
    "the attention and into the MLP, and leaves the sum alone: x + f(norm(x))."
)
class NormAfter(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(x, past)
        x = self.norm_1(x + y)
        return self.norm_2(x + self.think(x)), present


@Block.mistake("nothing is added: both residuals are missing. The result of each part is *added* to what was there.")
class NoResidual(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        return self.think(self.norm_2(y)), present


@Block.mistake("the residual around the MLP is missing: add what it gives to what went in.")
class NoResidualAtTheMLP(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        return self.think(self.norm_2(x + y)), present


@Block.mistake("the residual around the attention is missing: add what it gives to what went in.")
class NoResidualAtTheAttention(Layer):
    def forward(self, x, past=None):
        x, present = self.attention(self.norm_1(x), past)
        return x + self.think(self.norm_2(x)), present


@Block.mistake(
    "you add to the *normalised* x, so the way straight through is lost. Normalise what goes into f alone: x + "
    "f(norm(x)), where the first x is untouched."
)
class AddedToTheNormalised(Layer):
    def forward(self, x, past=None):
        x = self.norm_1(x)
        y, present = self.attention(x, past)
        x = self.norm_2(x + y)
        return x + self.think(x), present


@Block.mistake(
    "the MLP gets the x from before the attention. First the attention adds its part, then the MLP reads that."
)
class SideBySide(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        return x + y + self.think(self.norm_2(x)), present


@Block.mistake("the MLP reads x without `norm_2`: each of the two parts has a norm of its own in front.")
class SecondNormMissing(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        x = x + y
        return x + self.think(x), present


@Block.mistake("`norm_1` stands in front of the MLP, too: that one has its own, `norm_2`.")
class FirstNormTwice(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        x = x + y
        return x + self.think(self.norm_1(x)), present


@Block.mistake("between `up` and `down` nothing bends: two linear maps in a row are one. GELU is missing.")
class NothingBends(Layer):
    def bend(self, x):
        return x


@Block.mistake("your MLP has ReLU; GPT-2's has GELU: F.gelu(…, approximate='tanh').")
class WithReLU(Layer):
    def bend(self, x):
        return x.relu()


@Block.mistake("that is the exact GELU; GPT-2 uses its formula with tanh: F.gelu(…, approximate='tanh').")
class ExactGELU(Layer):
    def bend(self, x):
        return F.gelu(x)


@Block.mistake("`past` does not reach the attention: hand it on.")
class PastNotHandedOn(Layer):
    def forward(self, x, past=None):
        return super().forward(x)


@Block.mistake(
    "the MLP's part is added to the normalised x. Only what the MLP *reads* is normalised; it is added to x as it was."
)
class SecondAddedToTheNormalised(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        z = self.norm_2(x + y)
        return z + self.think(z), present


@Block.mistake("neither norm is there: each of the two parts reads a normalised copy of x.")
class NoNorms(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(x, past)
        x = x + y
        return x + self.think(x), present


@Block.mistake("the attention reads x without `norm_1`: each of the two parts has a norm of its own in front.")
class FirstNormMissing(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(x, past)
        x = x + y
        return x + self.think(self.norm_2(x)), present


@Block.mistake(
    "the attention masks only without a past. Several new tokens after a past must not look ahead either: with S keys "
    "the mask is `tril(S - T)`."
)
class AttentionMaskedOnlyWithoutAPast(Layer):
    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.attention = MaskOnlyWithoutAPast(dim, heads)


@Block.mistake(
    "your norms have another ε: a token whose numbers are all small shows it. `nn.LayerNorm` adds 1e-5 to the "
    "variance, inside of the root."
)
@Block.breaks("`nn.LayerNorm(D)`, twice")
class NormsWithoutEpsilon(Layer):
    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim, 1e-12), nn.LayerNorm(dim, 1e-12)


@Block.mistake("your MLP has SiLU; GPT-2's has GELU: F.gelu(…, approximate='tanh').")
class WithSiLU(Layer):
    def bend(self, x):
        return F.silu(x)


@Block.mistake("GELU comes after `down` in yours. It stands between the two: up, GELU, down.")
class BendsAtTheEnd(Layer):
    def think(self, x):
        return self.bend(self.mlp["down"](self.mlp["up"](x)))


@Block.mistake(
    "both parts add to the *normalised* copy. What comes in goes straight through: x + f(norm(x)), with x as it was."
)
class BothAddedToTheNormalised(Layer):
    def forward(self, x, past=None):
        x = self.norm_1(x)
        y, present = self.attention(x, past)
        x = x + y
        return x + self.think(self.norm_2(x)), present


@Block.mistake(
    "your norms divide by the deviation with D − 1 (`std()`), or add ε outside of the root. A LayerNorm takes "
    "the plain "
    "mean of the squares: `var(correction=0)`."
)
class DeviationWithOneLess(Layer):
    def norm(self, layer, x):
        x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)
        return x * layer.weight + layer.bias

    def forward(self, x, past=None):
        y, present = self.attention(self.norm(self.norm_1, x), past)
        x = x + y
        return x + self.think(self.norm(self.norm_2, x)), present


@Block.mistake("the two norms are exchanged: `norm_1` stands before the attention, `norm_2` before the MLP.")
class NormsExchanged(Layer):
    def forward(self, x, past=None):
        y, present = self.attention(self.norm_2(x), past)
        x = x + y
        return x + self.think(self.norm_1(x)), present


@Block.mistake(
    'that is another approximation of GELU, z · sigmoid(1.702 z). GPT-2\'s is `F.gelu(z, approximate="tanh")`.'
)
class SigmoidGELU(Layer):
    def bend(self, x):
        return x * torch.sigmoid(1.702 * x)


# --- 4. How many numbers? ---------------------------------------------------------------------------------------------

count_parameters = Exercise("count_parameters", points=2, compare=exact(), banned=LIBRARY)


@count_parameters.cases
def _(g):
    yield Case((2, 3, 1, 1, 1), note="the example in the text")
    yield Case((50257, 1024, 768, 12, 12), note="the smallest GPT-2")
    for _ in range(4):
        V, C, d, L, H = (int(torch.randint(low, high, (), generator=g)) for low, high in RANGES)
        yield V, C, d * H, L, H


RANGES = ((100, 60_000), (20, 3_000), (2, 130), (2, 100), (2, 20))


def _count(V, C, D, L, matrices=12, biases=9, norms=4, last=2) -> int:
    """`matrices` D², `biases` D and `norms` D in each layer, `last` D at the end, and the vectors."""
    return (V + C) * D + L * (matrices * D**2 + (biases + norms) * D) + last * D


@count_parameters.mistake(
    "you count the matrix from D back to V again. In GPT-2 it is the table of the token vectors once more (*tied*), "
    "and costs nothing."
)
def output_counted_again(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers) + vocab_size * dim


@count_parameters.mistake(
    "that is 12 L D² and the vectors: the biases and the norms (a scale and a shift each) are missing."
)
def matrices_alone(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, biases=0, norms=0, last=0)


@count_parameters.mistake("the biases are missing: 3D + D for the attention, 4D + D for the MLP, in each layer.")
def biases_missing(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, biases=0)


@count_parameters.mistake("the norms are missing: two in each layer and one at the end, each with a scale and a shift.")
def norms_missing(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, norms=0, last=0)


@count_parameters.mistake(
    "a norm has two vectors of D numbers, the scale (weight) and the shift (bias); you count one."
)
def norms_without_shift(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, norms=2, last=1)


@count_parameters.mistake("the last norm, after all blocks, is missing: 2 D.")
def last_norm_missing(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, last=0)


@count_parameters.mistake("the position vectors are missing: `context` times D.")
def positions_missing(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, 0, dim, layers)


@count_parameters.mistake(
    "you give each head its own D × 3D matrix. The heads *share out* the D numbers: with more heads each one is "
    "narrower, and the count stays the same."
)
def matrices_for_each_head(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, matrices=3 * heads + 9, biases=3 * heads + 6)


@count_parameters.mistake(
    "you give each head an output layer of its own, with a bias of D numbers. `out` is *one* layer for all heads "
    "together: D × D weights and D biases."
)
def output_bias_for_each_head(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers) + layers * (heads - 1) * dim


@count_parameters.mistake("the vectors of tokens and positions are missing: (V + C) D.")
def vectors_missing(vocab_size, context, dim, layers, heads):
    return _count(0, 0, dim, layers)


@count_parameters.mistake(
    "each block lacks 2 D parameters, as many as one norm has. It has two norms, one in front of each part; and the "
    "bias of a layer is as long as what comes *out* of it (3 D numbers for `qkv`, not D)."
)
def one_norm_in_each_block(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, norms=2)


@count_parameters.mistake(
    "the attention's matrices do not grow with the number of heads: the heads *share out* the D numbers, so H changes "
    "nothing."
)
def attention_for_each_head(vocab_size, context, dim, layers, heads):
    return _count(vocab_size, context, dim, layers, matrices=4 * heads + 8)


@count_parameters.mistake(
    "each block is 5D short. So much are the biases of the MLP (`up` has 4D, `down` has D); and so much is missing "
    "where each matrix is given D biases: it has as many as numbers come *out* of it, so `qkv` has 3D and `up` 4D."
)
def mlp_without_biases(vocab_size, context, dim, layers, heads):
    return (vocab_size + context) * dim + layers * (12 * dim**2 + 8 * dim) + 2 * dim


@count_parameters.mistake("the biases of the attention are missing: `qkv` has 3D, `out` has D.")
def attention_without_biases(vocab_size, context, dim, layers, heads):
    return (vocab_size + context) * dim + layers * (12 * dim**2 + 9 * dim) + 2 * dim


@count_parameters.mistake("the last norm is counted in each layer. It stands once, after all of them.")
def last_norm_in_each_layer(vocab_size, context, dim, layers, heads):
    return (vocab_size + context) * dim + layers * (12 * dim**2 + 15 * dim)


@count_parameters.mistake(
    "the logits have a bias in yours. They are a product with the token vectors, and nothing else."
)
def bias_of_the_logits(vocab_size, context, dim, layers, heads):
    return (vocab_size + context) * dim + layers * (12 * dim**2 + 13 * dim) + 2 * dim + vocab_size


# --- 5. The loss ------------------------------------------------------------------------------------------------------

next_token_loss = Exercise(
    "next_token_loss", points=2, compare=close(), banned=LIBRARY + CROSS_ENTROPY, promises=Promises(gradients=(0,))
)


@next_token_loss.cases
def _(g):
    p = torch.tensor([[[0.25, 0.25, 0.5], [0.125, 0.75, 0.125], [0.5, 0.25, 0.25]]])
    yield Case((p.log(), torch.tensor([[1, 2, 0]])), note="the example in the text")
    yield Case(
        (torch.tensor([[[1000.0, 0, -1000], [0, 1000.0, 999], [0, 0, 0]]]), torch.tensor([[1, 0, 2]])),
        note="logits of 1000: e^1000 is more than any float",
    )
    logits = 100 * torch.randn(2, 5, 6, generator=g)
    yield Case(
        (logits, logits.argmin(-1).roll(1, 1)), note="large logits, and what comes is what was thought impossible"
    )
    for batch, time, size in ((1, 2, 4), (3, 5, 4), (4, 8, 10), (2, 20, 30)):
        tokens = torch.randint(size, (batch, time), generator=g)
        tokens[0, 0], tokens[0, 1] = 0, 1
        yield 3 * torch.randn(batch, time, size, generator=g), tokens


next_token_loss.equivalent("`gather` looks at the T − 1 places that have a target", "logits[:, :[--1-]]")


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, T) −ln P(target)."""
    return -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


@next_token_loss.mistake(
    "nothing is shifted: you ask the model for the token that it has just read. The logits at place t predict the "
    "token at t + 1."
)
def not_shifted(logits, tokens):
    return _nats(logits, tokens).mean()


@next_token_loss.mistake(
    "shifted the wrong way: you ask for the token *before*. Leave out the last logits and the first token, not the "
    "other way round."
)
def shifted_the_wrong_way(logits, tokens):
    return _nats(logits[:, 1:], tokens[:, :-1]).mean()


@next_token_loss.mistake(
    "with `roll` the last place is asked for the *first* token of its text. Nothing follows the last token: leave "
    "its logits out."
)
def goes_round(logits, tokens):
    return _nats(logits, tokens.roll(-1, 1)).mean()


@next_token_loss.mistake("this is the sum. Divide it by how many predictions there are, B · (T − 1).")
def sum_instead_of_mean(logits, tokens):
    return _nats(logits[:, :-1], tokens[:, 1:]).sum()


@next_token_loss.mistake("you divide by B · T, and there are only B · (T − 1) predictions.")
def divided_by_all_places(logits, tokens):
    return _nats(logits[:, :-1], tokens[:, 1:]).sum() / tokens.numel()


@next_token_loss.mistake(
    "you add up each text's places and take the mean of the texts alone: the mean is over B · (T − 1)."
)
def mean_over_texts_only(logits, tokens):
    return _nats(logits[:, :-1], tokens[:, 1:]).sum(1).mean()


@next_token_loss.mistake("that is in bits. The loss is in nats: the natural logarithm.")
def in_bits(logits, tokens):
    return _nats(logits[:, :-1], tokens[:, 1:]).mean() / math.log(2)


@next_token_loss.mistake("the sign is missing: ln P is negative, the loss is −ln P.")
def sign_missing(logits, tokens):
    return -_nats(logits[:, :-1], tokens[:, 1:]).mean()


@next_token_loss.mistake(
    "$e^{1000}$ is infinite, so large logits give nan or infinity. Subtract the largest logit of each place first, "
    "or use `log_softmax` or `logsumexp`, which do."
)
def overflow(logits, tokens):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -p[:, :-1].gather(-1, tokens[:, 1:, None]).log().mean()


@next_token_loss.mistake("the softmax goes over the places. It goes over the vocabulary, the last axis.")
def softmax_over_time(logits, tokens):
    return -logits.log_softmax(1)[:, :-1].gather(-1, tokens[:, 1:, None]).mean()


@next_token_loss.mistake(
    "the logits are not normalised: −(the target's logit) alone is no −ln P. Subtract the logarithm of the sum of "
    "all tokens' $e^{logit}$."
)
def logits_not_normalised(logits, tokens):
    return -logits[:, :-1].gather(-1, tokens[:, 1:, None]).mean()


@next_token_loss.mistake("your softmax runs over the places of the text. It runs over the vocabulary, the last axis.")
def softmax_over_the_places(logits, tokens):
    return -logits[:, :-1].log_softmax(1).gather(-1, tokens[:, 1:, None]).mean()


@next_token_loss.mistake(
    "something small is added before the logarithm, so no token can cost more than about 20 nats. Take `log_softmax`, "
    "which needs no help."
)
def cut_before_the_logarithm(logits, tokens):
    p = logits[:, :-1].softmax(-1).gather(-1, tokens[:, 1:, None])
    return -(p + 1e-9).log().mean()


@next_token_loss.mistake(
    "softmax first and its logarithm then: what is very unlikely is rounded to 0, and its logarithm is −∞. "
    "`log_softmax` does both in one."
)
def logarithm_of_the_softmax(logits, tokens):
    return -logits[:, :-1].softmax(-1).gather(-1, tokens[:, 1:, None]).log().mean()


@next_token_loss.mistake("token 0 is left out, as if it were padding. Here it is a token like any other.")
def token_0_left_out(logits, tokens):
    seen = tokens[:, 1:] != 0
    return (_nats(logits[:, :-1], tokens[:, 1:]) * seen).sum() / seen.sum().clamp(min=1)


@next_token_loss.mistake(
    "you average the probabilities and take the logarithm afterwards. It is the mean of the logarithms."
)
def logarithm_of_the_mean(logits, tokens):
    return -(-_nats(logits[:, :-1], tokens[:, 1:])).exp().mean().log()


@next_token_loss.mistake(
    "only the last prediction of each text counts in yours. Each place but the last one is judged: T − 1 predictions."
)
def last_prediction_alone(logits, tokens):
    return _nats(logits[:, -2:-1], tokens[:, -1:]).mean()


# --- 6. What may come next --------------------------------------------------------------------------------------------

next_probabilities = Exercise("next_probabilities", points=3, compare=close(), banned=LIBRARY)


@next_probabilities.cases
def _(g):
    def logits(*shares):
        return torch.tensor([shares]).log()

    yield Case((logits(0.5, 0.25, 0.15, 0.1), 1.0, None, 0.6), note="the examples in the text")
    yield Case((logits(0.5, 0.25, 0.15, 0.1), 1.0, 2, None), note="the example in the text: top-k")
    yield Case((logits(0.5, 0.25, 0.25), 0.5, None, None), note="the example in the text: temperature")

    def mixed(*shares):  # in another order each time, and with another constant in the logits
        return logits(*shares)[:, torch.randperm(len(shares), generator=g)] + torch.randn(1, generator=g)

    yield Case((mixed(0.1, 0.4, 0.1, 0.3, 0.1), 1.0, 3, None), note="top-k: several are as likely as the k-th")
    yield Case((mixed(0.05, 0.9, 0.05), 1.0, None, 0.1), note="top-p: the likeliest alone is more than the share")
    yield Case((mixed(0.4, 0.1, 0.2, 0.3), 1.0, 3, 0.75), note="top-k, then top-p of what it leaves")
    yield Case((mixed(0.3, 0.4, 0.2, 0.1), 0.5, None, 0.8), note="the temperature, then top-p")
    more = 0.02 * torch.rand((), generator=g)
    ring = torch.tensor([[1, 2, 0], [2, 0, 1]])[
        torch.randint(2, (), generator=g)
    ]  # to sort these is not to put them back
    shares = torch.stack([0.5 + more, torch.tensor(0.3), 0.2 - more])
    yield Case((shares[ring].log()[None], 1.0, None, 0.6), note="top-p alone: the two likeliest stay at their places")
    nearly = torch.tensor([[0.5, 1.0, 1.0 - 1e-6]], dtype=torch.double)[:, torch.randperm(3, generator=g)]
    both = F.pad(
        torch.cat([nearly, torch.randn(1, 3, generator=g)]), (0, 1), value=-9.0
    )  # the last token is chosen nowhere
    yield Case((both, 0.0, None, None), note="greedy, and nearly a tie")
    higher = 4 * torch.arange(4)[:, None]  # each text has a bound of its own
    yield 2 * torch.randn(4, 30, generator=g) + higher, 0.7, 10, None
    yield Case(
        (300 + 1e-3 * torch.randn(2, 6, generator=g, dtype=torch.double), 1e-3, 5, None),
        note="a temperature of 0.001: powers of probabilities would be 0 to the last digit",
    )
    yield Case((2 * torch.randn(3, 12, generator=g), 1.5, 40, 0.8), note="top-k with more than there are, and top-p")


next_probabilities.equivalent(
    "a matrix has two dimensions: the last one is number 1",
    "argmax([---]1)",
    "shape[[---]1]",
    "softmax([---]1)",
    "cumsum([---]1)",
    "scatter([---]1",
    "sum([---]1",
)
next_probabilities.equivalent("of V tokens, the V likeliest are all", "top_k <{+=+} logits")
next_probabilities.equivalent(
    "`scatter` writes to every place", "[-zeros_like-]{+ones_like+}", "[-torch.zeros_like(p)-]{+p+}"
)
next_probabilities.uncaught(
    "with p = 1 it would drop what stands behind a sum that rounding has brought to 1: less than 1e-7, "
    "which no tolerance sees",
    "[- and top_p < 1-]",
    "top_p <{+=+} 1",
    "top_p < [-1-]{+2+}",
)
next_probabilities.uncaught(
    "it differs only where a sum is exactly p: there rounding decides, in right answers, too", "before <{+=+} top_p"
)


def _filtered(logits, temperature, top_k, top_p, before=lambda ordered: ordered.cumsum(-1) - ordered) -> Tensor:
    """The right answer; `before` says how much of the probability stands in front of each token, in falling order."""
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = _top_k(logits / temperature, top_k)
    return _top_p(logits.softmax(-1), top_p, before)


def _top_k(logits: Tensor, top_k: int | None) -> Tensor:
    if top_k is None or top_k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -math.inf)


def _top_p(p: Tensor, top_p: float | None, before=lambda ordered: ordered.cumsum(-1) - ordered) -> Tensor:
    if top_p is None:
        return p
    ordered, index = p.sort(descending=True, stable=True)
    p = torch.zeros_like(p).scatter(-1, index, ordered * (before(ordered) < top_p))
    return p / p.sum(-1, keepdim=True)


@next_probabilities.mistake(
    "you raise the probabilities to the power 1/τ: right on paper, but with a small τ all of them become 0. Divide the "
    "logits by τ; softmax does the rest."
)
@next_probabilities.breaks("$z_v \\leftarrow z_v / \\tau$")
def powers_of_probabilities(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, 0, None, None)
    p = logits.softmax(-1) ** (1 / temperature)
    return _filtered((p / p.sum(-1, keepdim=True)).log(), 1.0, top_k, top_p)


@next_probabilities.mistake(
    "a small temperature is greedy in yours, or is raised to some least one. Only τ = 0 is: 0.001 is a number to "
    "divide by like any other."
)
def small_temperatures_are_greedy(logits, temperature, top_k, top_p):
    return _filtered(logits, 0 if temperature < 0.1 else temperature, top_k, top_p)


@next_probabilities.also("small_temperatures_are_greedy")
def a_least_temperature(logits, temperature, top_k, top_p):
    return _filtered(logits, 0 if temperature == 0 else max(temperature, 0.1), top_k, top_p)


@next_probabilities.mistake(
    "the token with which the sum first reaches `top_p` is left out (and where the likeliest alone is more than "
    "that, nothing is left). It belongs to those that stay: look at the sum of those *before* it."
)
def crossing_token_dropped(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature, top_k, top_p, lambda ordered: ordered.cumsum(-1))


@next_probabilities.mistake(
    "one token too many stays under top-p: stop with the token that makes the sum reach the share, not one later."
)
def one_too_many(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature, top_k, top_p, lambda o: F.pad(o.cumsum(-1) - o, (1, -1)))


@next_probabilities.mistake("you multiply by the temperature: divide, so that a low one makes the likeliest likelier.")
def temperature_multiplied(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature and 1 / temperature, top_k, top_p)


@next_probabilities.mistake(
    "you divide the *probabilities* by the temperature, and normalising takes that out again. Divide the logits."
)
def probabilities_divided(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature and 1.0, top_k, top_p)


@next_probabilities.mistake(
    "temperature 0 is division by zero. It means greedy: the likeliest token has probability 1."
)
def nan_at_zero(logits, temperature, top_k, top_p):
    return _top_p(_top_k(logits / temperature, top_k).softmax(-1), top_p)


@next_probabilities.mistake(
    "what stays no longer sums to 1. After top-k and after top-p, divide by the sum of what is left."
)
def not_normalised(logits, temperature, top_k, top_p):
    kept = _filtered(logits, temperature, top_k, top_p) > 0
    return kept * (logits / temperature).softmax(-1) if temperature else kept.float()


@next_probabilities.mistake(
    "of several tokens that are as likely as the k-th you keep some and drop others. Nothing tells them apart: all "
    "of them stay, even if that makes more than k."
)
def ties_cut(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, temperature, top_k, top_p)
    best = logits.sort(descending=True, stable=True).indices[:, : top_k or logits.shape[-1]]
    logits = torch.full_like(logits, -math.inf).scatter(-1, best, logits.gather(-1, best) / temperature)
    return _top_p(logits.softmax(-1), top_p)


@next_probabilities.also("ties_cut")
def last_of_ties_kept(logits, temperature, top_k, top_p):
    return ties_cut(logits.flip(-1), temperature, top_k, top_p).flip(-1)


@next_probabilities.also("ties_cut")
def second_of_ties_kept(logits, temperature, top_k, top_p):
    before = (logits[:, :, None] == logits[:, None]).tril(-1).sum(-1)  # (B, V): equal ones at earlier places
    order = (before - 1).abs().argsort(-1, stable=True)
    p = ties_cut(logits.gather(-1, order), temperature, top_k, top_p)
    return torch.zeros_like(p).scatter(-1, order, p)


@next_probabilities.mistake(
    "what stays is put back with `gather`, or an index, at the places that `sort` gave. That sorts once more: "
    "`scatter` is its inverse, and puts each to the place that it came from."
)
def put_back_with_gather(logits, temperature, top_k, top_p):
    p = _filtered(logits, temperature, top_k, None)
    if temperature == 0 or top_p is None or top_p == 1:
        return p
    ordered, index = p.sort(descending=True, stable=True)
    kept = p * (ordered.cumsum(-1) - ordered < top_p).gather(-1, index)
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-12)


@next_probabilities.also("put_back_with_gather")
def values_put_back_with_gather(logits, temperature, top_k, top_p):
    p = _filtered(logits, temperature, top_k, None)
    if temperature == 0 or top_p is None or top_p == 1:
        return p
    ordered, index = p.sort(descending=True, stable=True)
    kept = (ordered * (ordered.cumsum(-1) - ordered < top_p)).gather(-1, index)
    return kept / kept.sum(-1, keepdim=True)


@next_probabilities.mistake(
    "top-p comes before top-k in yours. First top-k, then softmax of what is left, then top-p of *those* probabilities."
)
def top_p_first(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, temperature, top_k, top_p)
    p = _top_p((logits / temperature).softmax(-1), top_p)
    return _top_k(p.log(), top_k).softmax(-1)


@next_probabilities.mistake("the temperature comes last in yours. It comes first, and changes what top-p leaves.")
def temperature_last(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, temperature, top_k, top_p)
    p = _filtered(logits, 1.0, top_k, top_p)
    return (p.log() / temperature).softmax(-1)


@next_probabilities.mistake(
    "the dropped tokens get the logit 0, and $e^0 = 1$: they can still be drawn. The logit that gives the "
    "probability 0 is −∞."
)
def dropped_get_logit_0(logits, temperature, top_k, top_p):
    p = _filtered(logits, temperature, top_k, top_p)
    return torch.where(p > 0, logits / temperature, 0).softmax(-1) if temperature else p


@next_probabilities.mistake(
    "your probabilities are in falling order, not in the order of the tokens: after sorting, put each back into its "
    "place (`scatter`, or index with what `sort` gave)."
)
def left_sorted(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature, top_k, top_p).sort(descending=True).values


@next_probabilities.mistake(
    "the token with which the sum first reaches `top_p` is left out, unless it is the first. It belongs to those that "
    "stay: look at the sum of those *before* it."
)
def crossing_token_dropped_but_the_first(logits, temperature, top_k, top_p):
    return _filtered(
        logits, temperature, top_k, top_p, lambda o: torch.where(torch.arange(o.shape[-1]) > 0, o.cumsum(-1), 0)
    )


@next_probabilities.mistake(
    "top-k gives the dropped tokens the logit 0, and $e^0 = 1$: they can still be drawn. The logit that gives the "
    "probability 0 is −∞."
)
def top_k_leaves_logit_0(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, temperature, top_k, top_p)
    kept = _top_k(logits / temperature, top_k)
    return _top_p(kept.masked_fill(kept == -math.inf, 0).softmax(-1), top_p)


@next_probabilities.mistake(
    "after top-p the probabilities no longer sum to 1: divide each row by the sum of what is left."
)
def not_normalised_after_top_p(logits, temperature, top_k, top_p):
    if temperature == 0:
        return _filtered(logits, temperature, top_k, top_p)
    before = _top_k(logits / temperature, top_k).softmax(-1)
    return before * (_filtered(logits, temperature, top_k, top_p) > 0)


@next_probabilities.mistake(
    "after top-p your probabilities are in falling order, not in the order of the tokens: put each back into its place "
    "(`scatter`, or index with what `sort` gave)."
)
def left_sorted_by_top_p(logits, temperature, top_k, top_p):
    p = _filtered(logits, temperature, top_k, top_p)
    return p.sort(descending=True).values if temperature and top_p is not None and top_p < 1 else p


@next_probabilities.mistake(
    "temperature 0 is a very small temperature in yours: two tokens that are nearly as likely share the probability. "
    "The likeliest gets all of it."
)
@next_probabilities.breaks("the likeliest token gets probability 1")
def small_instead_of_zero(logits, temperature=1.0, top_k=None, top_p=None):
    return _filtered(logits, max(temperature, 1e-6), top_k, top_p)


@next_probabilities.mistake(
    "the k-th token itself is dropped, with all as likely as it: below it ends what stays (<, not ≤)."
)
def kth_dropped(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None or top_k >= logits.shape[-1]:
        return _filtered(logits, temperature, top_k, top_p)
    logits = logits / temperature
    kept = logits.masked_fill(logits <= logits.topk(top_k).values[:, -1:], -math.inf)
    return _top_p(kept.softmax(-1), top_p)


@next_probabilities.mistake("one bound of top-k serves the whole batch: each row has a k-th largest logit of its own.")
def one_bound_for_the_batch(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None or top_k >= logits.shape[-1]:
        return _filtered(logits, temperature, top_k, top_p)
    logits = logits / temperature
    kept = logits.masked_fill(logits < logits.topk(top_k).values.min(), -math.inf)
    return _top_p(kept.softmax(-1), top_p)


@next_probabilities.mistake(
    "top-p goes from the least likely upwards: sort with `descending=True`, the likeliest come first."
)
def least_likely_first(logits, temperature=1.0, top_k=None, top_p=None):
    p = _filtered(logits, temperature, top_k, None)
    if temperature == 0 or top_p is None:
        return p
    ordered, index = p.sort(stable=True)
    p = torch.zeros_like(p).scatter(-1, index, ordered * (ordered.cumsum(-1) - ordered < top_p))
    return p / p.sum(-1, keepdim=True)


@next_probabilities.mistake(
    "you keep what has at least a certain share of the largest probability (that is min-p). Top-p adds up: a token "
    "stays while those *before* it have less than p together."
)
def share_of_the_largest(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature, top_k, top_p, lambda o: torch.where(o >= (1 - top_p) * o[:, :1], 0.0, 2.0))


@next_probabilities.mistake(
    "top-p is an *at least* for each token in yours (p_v > p). It is a share that is reached together."
)
def bound_for_each(logits, temperature, top_k, top_p):
    return _filtered(logits, temperature, top_k, top_p, lambda o: torch.where(o >= o[:, :1].clamp(max=top_p), 0.0, 2.0))


# --- 7. The whole -----------------------------------------------------------------------------------------------------

GPT = Exercise("GPT", points=3, compare=NEAR, banned=LIBRARY + ATTENTION, promises=Promises(gradients=(0,), case=3))


class Model(nn.Module):
    """A right one; the mistakes below change one method each."""

    def __init__(self, vocab_size, context, dim, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(Layer(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def places(self, T, P):  # which position vectors the T tokens after P earlier ones get
        return self.positions.weight[P : P + T]

    def stack(self, x, past):
        present = []
        for i, block in enumerate(self.blocks):
            x, kv = block(x, None if past is None else past[i])
            present.append(kv)
        return x, present

    def end(self, x):
        return self.norm(x) @ self.tokens.weight.T

    def forward(self, tokens, past=None):
        P = 0 if past is None else past[0][0].shape[2]
        x, present = self.stack(self.tokens(tokens) + self.places(tokens.shape[1], P), past)
        return self.end(x), present


@GPT.cases
def _(g):
    zero = ("qkv.weight", "qkv.bias", "out.weight", "out.bias", "down.weight", "down.bias", "norm.bias")
    state = _weights(Model(2, 2, 2, 1, 1), g, zero=zero)
    state |= {"tokens.weight": torch.eye(2), "positions.weight": torch.tensor([[0.0, 0.0], [0.0, 3.0]])}
    state |= {"norm.weight": torch.ones(2)}
    yield Case((Module((2, 2, 2, 1, 1), state, (torch.tensor([[0, 0]]),)),), note="the example in the text")
    past = [(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2))]
    yield Case(
        (Module((2, 2, 2, 1, 1), state, (torch.tensor([[0]]), past)),),
        note="with a past: the first token is in the cache",
    )
    for V, C, D, L, H, batch, time, before in (
        (11, 8, 6, 2, 2, 2, 5, 0),
        (7, 6, 8, 3, 4, 3, 6, 0),
        (9, 9, 6, 2, 3, 2, 1, 5),
        (8, 7, 4, 3, 2, 2, 3, 4),
    ):
        state = _weights(Model(V, C, D, L, H), g)
        past = ([_past(g, batch, H, before, D) for _ in range(L)],) if before else ()
        module = Module((V, C, D, L, H), state, (torch.randint(V, (batch, time), generator=g), *past))
        yield Case((module,), note="with a past" if past else "")


GPT.equivalent(
    "the scores do not depend on the order in which the two dimensions are named", "k.transpose(-[-2, -1-]{+1, -2+})"
)
GPT.equivalent("of four dimensions, number -2 is number 2", "k.transpose([---]2, -1)")
GPT.equivalent("the order in which the two dimensions are named makes no difference", "transpose([-1, 2-]{+2, 1+})")
GPT.equivalent("all layers have read as many tokens", "past[[-0-]{+-1+}][0]")
GPT.equivalent("there are as many values as keys", "past[0][[-0-]{+1+}]", "past[0][[-0-]{+-1+}]")


@GPT.mistake(
    "with a past the positions begin at 0 again. After P tokens in the cache the next one is at position P (counted "
    "from 0): take the positions P … P + T − 1."
)
class PositionsBeginAgain(Model):
    def places(self, T, P):
        return self.positions.weight[:T]


@GPT.mistake("with a past your positions are one too low: P tokens stand at 0 … P − 1, the next one is at P.")
class PositionsOneTooLow(Model):
    def places(self, T, P):
        start = max(P - 1, 0)
        return self.positions.weight[start : start + T]


@GPT.mistake("your positions are one too high: they are counted from 0, and the first new token stands at P.")
class PositionsOneTooHigh(Model):
    def places(self, T, P):
        last = len(self.positions.weight) - 1
        return self.positions.weight[torch.arange(P + 1, P + T + 1).clamp(max=last)]


@GPT.mistake("the position vectors are not added: without them the model cannot tell which token came first.")
class WithoutPositions(Model):
    def places(self, T, P):
        return 0


@GPT.mistake("the last norm, between the blocks and the logits, is missing.")
class LastNormMissing(Model):
    def end(self, x):
        return x @ self.tokens.weight.T


@GPT.mistake("you give probabilities (or their logarithms). Asked for are the logits, before any softmax.")
class ProbabilitiesInsteadOfLogits(Model):
    def end(self, x):
        return (self.norm(x) @ self.tokens.weight.T).softmax(-1)


@GPT.mistake("each layer has its own cache: block i goes on from `past[i]`. All of yours go on from `past[0]`.")
class AllFromTheFirstCache(Model):
    def stack(self, x, past):
        return super().stack(x, None if past is None else [past[0]] * len(self.blocks))


@GPT.mistake("the blocks do not get `past`: after the first call the model has forgotten all that it has read.")
class BlocksWithoutPast(Model):
    def stack(self, x, past):
        return super().stack(x, None)


@GPT.mistake("you go through the first block L times. Each layer has weights of its own.")
class FirstBlockAgainAndAgain(Model):
    def stack(self, x, past):
        present = []
        for i in range(len(self.blocks)):
            x, kv = self.blocks[0](x, None if past is None else past[i])
            present.append(kv)
        return x, present


@GPT.mistake("what you hand back are all layers' caches in reverse: `present[i]` belongs to block i.")
class CachesInReverse(Model):
    def stack(self, x, past):
        x, present = super().stack(x, past)
        return x, present[::-1]


@GPT.mistake("you hand back the last block's keys and values alone. Every block needs its own the next time.")
class OnlyTheLastCache(Model):
    def stack(self, x, past):
        x, present = super().stack(x, past)
        return x, present[-1:]


@GPT.mistake(
    "`[Block(D, H)] * L` is one block L times, with one set of weights: the last one loaded is everybody's. Make L of "
    "them, `nn.ModuleList(Block(D, H) for _ in range(L))`."
)
class OneBlockForAll(Model):
    def __init__(self, vocab_size, context, dim, layers, heads):
        super().__init__(vocab_size, context, dim, layers, heads)
        self.blocks = nn.ModuleList([self.blocks[0]] * layers)


@GPT.mistake("you hand back the last block's keys and values for every block. Each block hands on its own.")
class LastCacheForAll(Model):
    def stack(self, x, past):
        x, present = super().stack(x, past)
        return x, present[-1:] * len(present)


@GPT.mistake(
    "P is read off the wrong axis: a key is (B, H, P, d), so the earlier tokens are counted along axis 2; axis 1 "
    "counts the heads."
)
class HeadsTakenForTheLength(Model):
    def forward(self, tokens, past=None):
        P = 0 if past is None else past[0][0].shape[1]
        x, present = self.stack(self.tokens(tokens) + self.places(tokens.shape[1], P), past)
        return self.end(x), present


@GPT.mistake("the blocks are gone through in reverse: `blocks.0` comes first.")
class BlocksInReverse(Model):
    def stack(self, x, past):
        present = [None] * len(self.blocks)
        for i in reversed(range(len(self.blocks))):
            x, present[i] = self.blocks[i](x, None if past is None else past[i])
        return x, present


@GPT.mistake(
    "the vectors are multiplied by √D before the first block. That is the transformer of 2017; GPT-2 leaves them."
)
class ScaledByTheRootOfD(Model):
    def forward(self, tokens, past=None):
        P = 0 if past is None else past[0][0].shape[2]
        x = self.tokens(tokens) + self.places(tokens.shape[1], P)
        x, present = self.stack(x * x.shape[-1] ** 0.5, past)
        return self.end(x), present


@GPT.mistake(
    "the vectors of the tokens are multiplied by √D (as in the transformer of 2017). Here they are added as they are."
)
class TokensScaledByTheRootOfD(Model):
    def forward(self, tokens, past=None):
        P = 0 if past is None else past[0][0].shape[2]
        x = self.tokens(tokens)
        x, present = self.stack(x * x.shape[-1] ** 0.5 + self.places(tokens.shape[1], P), past)
        return self.end(x), present


@GPT.mistake("those are log-probabilities. Return the logits as they are: the loss takes its own softmax.")
class LogarithmsInsteadOfLogits(Model):
    def forward(self, tokens, past=None):
        logits, present = super().forward(tokens, past)
        return logits.log_softmax(-1), present


@GPT.mistake("all new tokens get the position of the first of them. They stand at P, P + 1, …, P + T − 1.")
class OnePositionForAllNew(Model):
    def places(self, T, P):
        return self.positions.weight[P : P + 1] if P else super().places(T, P)


@GPT.mistake("the last norm comes after *each* block in yours. It stands once, after all of them.")
class NormAfterEachBlock(Model):
    def stack(self, x, past):
        present = []
        for i, block in enumerate(self.blocks):
            x, kv = block(x, None if past is None else past[i])
            x = self.norm(x) if i + 1 < len(self.blocks) else x
            present.append(kv)
        return x, present


@GPT.mistake("block i goes on from `past[i]`. Yours takes them in reverse: the first block gets the last one's.")
class PastsInReverse(Model):
    def stack(self, x, past):
        return super().stack(x, past and past[::-1])


@GPT.mistake("the logits are divided by √D (as scores are). Here they are the plain product with the token vectors.")
class LogitsDividedByTheRootOfD(Model):
    def end(self, x):
        return super().end(x) / x.shape[-1] ** 0.5


@GPT.mistake(
    "P is read off the wrong axis: a key is (B, H, P, d), and the last axis counts the numbers of a head. The earlier "
    "tokens are axis 2."
)
class SizeOfAHeadTakenForTheLength(Model):
    def forward(self, tokens, past=None):
        P = 0 if past is None else past[0][0].shape[-1]
        x, present = self.stack(self.tokens(tokens) + self.places(tokens.shape[1], P), past)
        return self.end(x), present


# --- Promises ---------------------------------------------------------------------------------------------------------
# Wrong answers whose values may be right: each breaks a sentence of the statement, and has to lose by it.


@causal_attention.breaks("Which score gives the weight 0")
def plain_exponentials(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    e = (q @ k.mT / math.sqrt(q.shape[-1])).exp() * q.new_ones(T, S).tril(S - T)
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


@causal_attention.breaks("Gradients must reach `q`, `k` and `v`")
def weights_cut_off(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(q.new_ones(T, S).tril(S - T) == 0, -math.inf).softmax(-1).detach()
    return weights @ v, weights


@causal_attention.breaks("on a GPU too")
def mask_on_the_cpu(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    hidden = ~torch.ones(T, S, dtype=torch.bool).tril(S - T)
    weights = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(hidden, -math.inf).softmax(-1)
    return weights @ v, weights


@next_token_loss.breaks("logits of 1000 do occur")
def logarithm_after_softmax(logits, tokens):
    return -(logits[:, :-1].softmax(-1).gather(2, tokens[:, 1:, None]) + 1e-9).log().mean()


@next_token_loss.breaks("Gradients must reach `logits`")
def loss_as_a_number(logits, tokens):
    return torch.tensor(-logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None]).mean().item())


@SelfAttention.breaks("gives the same answer when it is asked again")
class KeepsTheCacheItself(Attention):
    kept = None

    def extend(self, past, k, v):
        past = self.kept if past is None else past
        self.kept = super().extend(past, k, v)
        return self.kept
