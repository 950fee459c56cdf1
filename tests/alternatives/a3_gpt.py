"""Other right answers to assignment 3, in the styles that students write: loops, einsum, one module per head."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("causal_attention")
def attention_in_loops(q, k, v):
    B, H, T, d = q.shape
    S = k.shape[2]
    y, weights = torch.zeros_like(q), q.new_zeros(B, H, T, S)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                n = S - T + t + 1
                scores = k[b, h, :n] @ q[b, h, t] / d**0.5
                e = torch.exp(scores - scores.max())
                row = e / e.sum()
                weights[b, h, t, :n] = row
                y[b, h, t] = row @ v[b, h, :n]
    return y, weights


@alternative("causal_attention")
def attention_by_einsum(q, k, v):
    T, S = q.size(2), k.size(2)
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.size(3) ** -0.5
    places = torch.arange(S, device=q.device)
    hidden = places[None, :] > places[S - T :, None]
    weights = F.softmax(scores + scores.new_zeros(T, S).masked_fill(hidden, -1e9), dim=3)
    return [torch.einsum("bhts,bhsd->bhtd", weights, v), weights]


@alternative("causal_attention")
def attention_of_all_and_then_the_last(q, k, v):
    T, S = q.shape[-2], k.shape[-2]
    q = torch.cat([torch.zeros_like(k[..., : S - T, :]), q], dim=-2)  # queries for the earlier tokens, too
    mask = torch.triu(torch.full((S, S), float("-inf"), device=q.device), diagonal=1)
    weights = torch.softmax((q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3) + mask, dim=-1)
    return (weights @ v)[:, :, S - T :], weights[:, :, S - T :]


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("SelfAttention")
class HeadAfterHead(nn.Module):
    """A loop over the heads, each with its columns."""

    def __init__(self, dim, heads):
        super().__init__()
        self.d = dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x, past=None):
        q, k, v = torch.chunk(self.qkv(x), 3, dim=-1)
        results, keys, values = [], [], []
        for h, (qh, kh, vh) in enumerate(zip(q.split(self.d, 2), k.split(self.d, 2), v.split(self.d, 2))):
            if past is not None:
                kh, vh = torch.cat((past[0][:, h], kh), 1), torch.cat((past[1][:, h], vh), 1)
            T, S = qh.shape[1], kh.shape[1]
            mask = x.new_full((T, S), -math.inf).triu(S - T + 1)
            results.append(F.softmax(torch.bmm(qh, kh.transpose(1, 2)) / self.d**0.5 + mask, -1) @ vh)
            keys.append(kh)
            values.append(vh)
        return self.out(torch.cat(results, 2)), (torch.stack(keys, 1), torch.stack(values, 1))


@alternative("SelfAttention")
class WithAMaskOfItsOwn(nn.Module):
    """A large mask is kept with the module, as nanoGPT does it; products by einsum."""

    def __init__(self, dim, heads):
        super().__init__()
        self.n = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.register_buffer("bias", torch.tril(torch.ones(64, 64)))

    def forward(self, x, past=None):
        B, T, D = x.size()
        q, k, v = (part.reshape(B, T, self.n, D // self.n) for part in self.qkv(x).split(D, dim=2))
        if past is not None:
            k = torch.cat([past[0].transpose(1, 2), k], 1)
            v = torch.cat([past[1].transpose(1, 2), v], 1)
        S = k.size(1)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / (D // self.n) ** 0.5
        scores = scores.masked_fill(self.bias[S - T : S, :S] == 0, float("-inf"))
        y = torch.einsum("bhts,bshd->bthd", scores.softmax(3), v)
        return [self.out(y.flatten(2)), [k.transpose(1, 2), v.transpose(1, 2)]]


# --- 3 ----------------------------------------------------------------------------------------------------------------


class Feed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


@alternative("Block")
class BlockOfClasses(nn.Module):
    """Each part a class of its own."""

    def __init__(self, dim, heads):
        super().__init__()
        self.attention, self.mlp = HeadAfterHead(dim, heads), Feed(dim)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x, past=None):
        more, cache = self.attention(self.norm_1(x), past)
        x = x + more
        return x + self.mlp(self.norm_2(x)), cache


class Norm(nn.Module):
    """LayerNorm by its formula."""

    def __init__(self, dim):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) + self.bias


@alternative("Block")
class BlockByFormula(nn.Module):
    """Norm and GELU written out, in double precision."""

    def __init__(self, dim, heads):
        super().__init__()
        self.attention = WithAMaskOfItsOwn(dim, heads)
        self.mlp = nn.ModuleDict({"up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim)})
        self.norm_1, self.norm_2 = Norm(dim), Norm(dim)

    def forward(self, x, past=None):
        y, present = self.attention(self.norm_1(x), past)
        middle = torch.add(x, y)
        z = self.mlp["up"](self.norm_2(middle)).double()
        z = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        return (middle + self.mlp["down"](z.float())).double(), present


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("count_parameters")
def counted_by_formula(vocab_size, context, dim, layers, heads):
    return vocab_size * dim + context * dim + layers * (12 * dim * dim + 13 * dim) + 2 * dim


@alternative("count_parameters")
def counted_matrix_by_matrix(vocab_size, context, dim, layers, heads):
    shapes = [(vocab_size, dim), (context, dim), (dim,), (dim,)]
    for _ in range(layers):
        shapes += [(3 * dim, dim), (3 * dim,), (dim, dim), (dim,), (4 * dim, dim), (4 * dim,), (dim, 4 * dim), (dim,)]
        shapes += 4 * [(dim,)]
    return sum(math.prod(shape) for shape in shapes)


@alternative("count_parameters")
def counted_on_the_meta_device(vocab_size, context, dim, layers, heads):
    with torch.device("meta"):
        block = [nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)]
        block += [nn.LayerNorm(dim), nn.LayerNorm(dim)]
        rest = [nn.Embedding(vocab_size, dim), nn.Embedding(context, dim), nn.LayerNorm(dim)]
    block, rest = (sum(p.numel() for module in part for p in module.parameters()) for part in (block, rest))
    return torch.tensor(layers * block + rest)


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("next_token_loss")
def loss_in_loops(logits, tokens):
    found = []
    for rows, text in zip(logits.double(), tokens.tolist()):
        for row, following in zip(rows, text[1:]):
            found.append(row.logsumexp(0) - row[following])
    return (sum(found) / len(found)).float()


@alternative("next_token_loss")
def loss_by_one_hot(logits, tokens):
    z = logits[:, :-1] - logits[:, :-1].amax(-1, keepdim=True)
    log_p = z - z.exp().sum(-1, keepdim=True).log()
    return -torch.einsum("btv,btv->bt", log_p, F.one_hot(tokens[:, 1:], logits.shape[-1]).float()).mean()


@alternative("next_token_loss")
def loss_flat(logits, tokens):
    V = logits.shape[-1]
    z, wanted = logits[:, :-1, :].reshape(-1, V), tokens[:, 1:].reshape(-1)
    return (torch.logsumexp(z, 1) - z[torch.arange(len(z)), wanted]).mean()


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("next_probabilities")
def probabilities_in_loops(logits, temperature=1.0, top_k=None, top_p=None):
    rows = []
    for row in logits.double().tolist():
        best = max(row)
        if temperature == 0:
            rows.append([float(i == row.index(best)) for i in range(len(row))])
            continue
        p = [math.exp((z - best) / temperature) for z in row]
        if top_k is not None:
            least = sorted(p, reverse=True)[min(top_k, len(p)) - 1]
            p = [x if x >= least else 0.0 for x in p]
        p = [x / sum(p) for x in p]
        if top_p is not None:
            kept, total = set(), 0.0
            for i in sorted(range(len(p)), key=lambda i: -p[i]):
                if total >= top_p:
                    break
                kept.add(i)
                total += p[i]
            p = [x if i in kept else 0.0 for i, x in enumerate(p)]
        rows.append([x / sum(p) for x in p])
    return torch.tensor(rows)


@alternative("next_probabilities")
def probabilities_by_a_shifted_mask(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature < 1e-9:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    z = logits / temperature
    if top_k:
        kth = torch.sort(z, dim=1, descending=True).values[:, min(top_k, z.shape[1]) - 1]
        z = torch.where(z < kth[:, None], float("-inf"), z)
    if top_p:
        ordered, index = torch.sort(z, descending=True)
        drop = ordered.softmax(-1).cumsum(-1) > top_p
        drop[:, 1:] = drop[:, :-1].clone()
        drop[:, 0] = False
        z = z.masked_fill(torch.zeros_like(drop).scatter(1, index, drop), float("-inf"))
    return z.softmax(-1)


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("GPT")
class OfBlocks(nn.Module):
    """What exercises 2 and 3 give, put together."""

    def __init__(self, vocab_size, context, dim, layers, heads):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList([BlockOfClasses(dim, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens, past=None):
        past = past or [None] * len(self.blocks)
        before = past[0][0].size(2) if past[0] is not None else 0
        place = torch.arange(before, before + tokens.size(1), device=tokens.device)
        x = self.tokens(tokens) + self.positions(place)[None]
        caches = []
        for block, cache in zip(self.blocks, past):
            x, cache = block(x, cache)
            caches.append(cache)
        return F.linear(self.norm(x), self.tokens.weight), tuple(caches)


@alternative("GPT")
class WithATiedHead(OfBlocks):
    """The output matrix is a module of its own whose weight is the token vectors'; tokens are read one by one."""

    def __init__(self, vocab_size, context, dim, layers, heads):
        super().__init__(vocab_size, context, dim, layers, heads)
        self.head = nn.Linear(dim, vocab_size, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens, past=None):
        found = []
        for t in range(tokens.shape[1]):
            before = 0 if past is None else past[0][0].shape[-2]
            x = self.tokens(tokens[:, t : t + 1]) + self.positions.weight[before]
            present = []
            for i in range(len(self.blocks)):
                x, kv = self.blocks[i](x, past[i] if past is not None else None)
                present.append(kv)
            past = present
            found.append(self.head(self.norm(x)))
        return torch.cat(found, 1), past
