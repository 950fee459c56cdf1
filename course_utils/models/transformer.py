"""The transformer: every token looks at the others (self-attention), then thinks for itself (MLP), layer upon layer.

Read from top to bottom:

1. `attention`, written out: four lines, and the whole idea.
2. `Block` = self-attention + per-token MLP, each added to what was there (residual) and normalised.
3. Two uses of the same block:
   `GPT` reads from left to right and predicts the next token (causal, norm before: GPT-2);
   `BERT` reads in both directions and predicts the hidden tokens (norm after).
4. `GPT.generate`: one token after another, with a cache of keys and values, so that nothing is computed twice.

Letters in the shape comments: B texts in a batch, T tokens (queries), S tokens that can be seen (keys), D width,
H heads of d = D / H numbers each, V vocabulary.

Sources: A. Vaswani et al., Attention Is All You Need (2017); A. Radford et al., Language Models are Unsupervised
Multitask Learners (2019: GPT-2); J. Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers (2019).
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_utils.models.sampling import draw, evaluating, next_token_probabilities

ACTIVATIONS = {"gelu": "none", "gelu_tanh": "tanh"}  # GELU exactly (BERT), or by GPT-2's tanh formula


@dataclass
class Config:
    """The sizes of a transformer; the other defaults are GPT-2's."""

    vocab_size: int  # V
    context: int  # the longest text it can read, in tokens (each position has its own learned vector)
    dim: int = 128  # D
    layers: int = 4
    heads: int = 4  # H, each of D / H numbers
    hidden: int | None = None  # width inside the MLP; None: 4 D
    dropout: float = 0.0
    activation: str = "gelu_tanh"
    norm_eps: float = 1e-5

    def __post_init__(self):
        self.hidden = 4 * self.dim if self.hidden is None else self.hidden
        for name in ("vocab_size", "context", "dim", "layers", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(
                f"dim must be a multiple of heads, got {self.dim} / {self.heads}: every head gets an equal share"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be the share of numbers set to 0, 0 ≤ dropout < 1, got {self.dropout}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")


@dataclass
class BERTConfig(Config):
    """The sizes of a BERT, with BERT's defaults."""

    activation: str = "gelu"
    norm_eps: float = 1e-12
    token_types: int = 2  # first sentence, second sentence
    head: bool = True  # for masked language modelling; an encoder that was fine-tuned for other tasks has none


# --- attention --------------------------------------------------------------------------------------------------------


def attention(
    q: Float[Tensor, "batch heads query dim"],
    k: Float[Tensor, "batch heads key dim"],
    v: Float[Tensor, "batch heads key dim"],
    visible: Bool[Tensor, "#batch #heads #query key"] | None = None,
) -> tuple[Float[Tensor, "batch heads query dim"], Float[Tensor, "batch heads query key"]]:
    """Return what each query gets (a mean of the values, weighted by how well the keys fit) and those weights.

    Args:
        visible: which keys a query may see; None shows all. A query that sees none gets NaN.

    Source: Vaswani et al. (2017), equation 1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, d) @ (B, H, d, S) -> (B, H, T, S)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    weights = scores.softmax(dim=-1)  # over the keys: each row sums to 1
    return weights @ v, weights  # (B, H, T, S) @ (B, H, S, d) -> (B, H, T, d)


def visible_keys(
    queries: int, keys: int, *, causal: bool, mask: Bool[Tensor, "batch key"] | None = None, device=None
) -> Bool[Tensor, "#batch 1 query key"]:
    """Return which keys each query may see; the queries are the last `queries` of the `keys` tokens.

    Args:
        causal: whether a token sees only itself and those before it.
        mask: True for a token, False for padding, which nothing but itself sees (so that no row is empty, even in a
            text that is all padding).
    """
    key = torch.arange(keys, device=device)
    query = key[keys - queries :, None]  # (T, 1)
    visible = key <= query if causal else (key >= 0).expand(queries, keys)  # (T, S)
    visible = visible[None]  # (1, T, S)
    if mask is not None:
        visible = visible & mask[:, None, :] | (key == query)  # (B, T, S)
    return visible[:, None]  # (B, 1, T, S): the same for every head


class KVCache:
    """The keys and values of the tokens read so far, so that they need not be computed again for the next token."""

    def __init__(self, config: Config, batch: int, device=None, dtype=None):
        shape = (2, batch, config.heads, config.context, config.dim // config.heads)  # keys and values
        self.layers = [torch.empty(shape, device=device, dtype=dtype) for _ in range(config.layers)]
        self.length = 0  # how many tokens it holds

    def extend(self, layer: int, kv: Float[Tensor, "2 batch heads time dim"]) -> Float[Tensor, "2 batch heads key dim"]:
        """Add the T new tokens' keys and values of one layer; return all S = length + T of them."""
        end = self.length + kv.shape[3]
        self.layers[layer][:, :, :, self.length : end] = kv
        return self.layers[layer][:, :, :, :end]


class SelfAttention(nn.Module):
    """Several heads of attention side by side, each on its own D / H numbers, then mixed."""

    def __init__(self, config: Config, layer: int):
        super().__init__()
        self.heads, self.layer, self.dropout = config.heads, layer, config.dropout
        self.qkv = nn.Linear(config.dim, 3 * config.dim)  # the three projections of all heads in one matrix
        self.out = nn.Linear(config.dim, config.dim)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        visible: Bool[Tensor, "#batch 1 time key"] | None,
        causal: bool,
        cache: KVCache | None,
        maps: list[Tensor] | None,
    ) -> Float[Tensor, "batch time dim"]:
        B, T, D = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.heads, D // self.heads)  # (B, T, 3D) -> (B, T, 3, H, d)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
        q, (k, v) = qkv[0], qkv[1:] if cache is None else cache.extend(self.layer, qkv[1:])  # k, v: (B, H, S, d)
        dropout = self.dropout if self.training else 0.0
        # On a CPU, the backward pass of torch's fused attention in bfloat16 is four times slower than `attention`.
        slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad and not dropout
        if maps is None and not slow:
            # The same numbers as `attention`, without ever holding the (T, S) weights: faster, and linear in memory.
            y = F.scaled_dot_product_attention(q, k, v, visible, dropout, is_causal=causal and visible is None)
        else:
            if causal and visible is None:
                visible = visible_keys(T, T, causal=True, device=x.device)
            y, weights = attention(q, k, v, visible)
            if maps is not None:
                maps.append(weights)
        return self.out(y.transpose(1, 2).reshape(B, T, D))  # (B, H, T, d) -> (B, T, D)


# --- the block --------------------------------------------------------------------------------------------------------


class MLP(nn.Module):
    """Each token by itself: D -> hidden -> D."""

    def __init__(self, config: Config):
        super().__init__()
        self.up = nn.Linear(config.dim, config.hidden)
        self.down = nn.Linear(config.hidden, config.dim)
        self.approximate = ACTIVATIONS[config.activation]

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        return self.down(F.gelu(self.up(x), approximate=self.approximate))


class Block(nn.Module):
    """Self-attention, then the MLP. GPT-2 normalises what goes in (pre-norm), BERT what comes out (post-norm)."""

    def __init__(self, config: Config, layer: int, *, pre_norm: bool):
        super().__init__()
        self.pre_norm = pre_norm
        self.norm_1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attention = SelfAttention(config, layer)
        self.norm_2 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch time dim"], *how) -> Float[Tensor, "batch time dim"]:
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm_1(x), *how))
            return x + self.dropout(self.mlp(self.norm_2(x)))
        x = self.norm_1(x + self.dropout(self.attention(x, *how)))
        return self.norm_2(x + self.dropout(self.mlp(x)))


class Transformer(nn.Module):
    """What GPT and BERT share: token and position vectors, and the stack of blocks."""

    causal: bool
    pre_norm: bool

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        self.positions = nn.Embedding(config.context, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, i, pre_norm=self.pre_norm) for i in range(config.layers))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the weights as GPT-2 does: normal with σ = 0.02, and smaller where a sum grows with the depth.

        Source: Radford et al. (2019), section 2.3 (1 / √N, N = 2 · layers additions).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(0, 0.02, generator=generator)
            if isinstance(module, nn.Linear):
                module.bias.zero_()
        if self.pre_norm:
            for block in self.blocks:
                for added in (block.attention.out, block.mlp.down):
                    added.weight.div_(math.sqrt(2 * self.config.layers))

    def read(
        self,
        x: Float[Tensor, "batch time dim"],
        mask: Bool[Tensor, "batch key"] | None,
        cache: KVCache | None,
        maps: list[Tensor] | None,
    ) -> Float[Tensor, "batch time dim"]:
        """Send the tokens' vectors through the blocks."""
        T, S = x.shape[1], x.shape[1] + (cache.length if cache else 0)
        # Without padding, the common cases need no (T, S) table: all see all, the newest sees all, or plain causal.
        simple = mask is None and (not self.causal or T == S or T == 1)
        visible = None if simple else visible_keys(T, S, causal=self.causal, mask=mask, device=x.device)
        for block in self.blocks:
            x = block(x, visible, self.causal and T == S, cache, maps)
        if cache is not None:
            cache.length = S
        return x

    def attention_maps(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None, **more
    ) -> Float[Tensor, "batch layers heads time time"]:
        """Return how much each token (row) looks at each token (column), in every layer and head. Rows sum to 1."""
        maps: list[Tensor] = []
        self.encode(tokens, mask, maps=maps, **more)
        return torch.stack(maps, dim=1)  # layers times (B, H, T, T) -> (B, layers, H, T, T)

    def _check(self, tokens: Tensor, mask: Tensor | None, past: int = 0) -> Bool[Tensor, "batch key"] | None:
        if tokens.ndim != 2:
            raise ValueError(
                f"tokens must have the shape (batch, time), got {tuple(tokens.shape)}: one text is tokens[None]"
            )
        if tokens.shape[1] + past > self.config.context:
            limit = self.config.context
            how = f"tokens[:, -{limit}:]" if self.causal else f"tokenizer.encode_batch(texts, {limit})"
            raise ValueError(
                f"this model reads at most {limit} tokens, got {tokens.shape[1] + past}: cut the text, e.g. {how}"
            )
        if mask is None:
            return None
        if mask.shape != (tokens.shape[0], tokens.shape[1] + past):
            raise ValueError(
                f"mask must say whether each token is real (True) or padding (False), with the shape "
                f"{(tokens.shape[0], tokens.shape[1] + past)}, got {tuple(mask.shape)}"
            )
        return mask.bool()


# --- GPT --------------------------------------------------------------------------------------------------------------


class GPT(Transformer):
    """Predicts each next token from those before it: GPT-2's architecture, with tied input and output vectors.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.

    Source: Radford et al. (2019), section 2.3.
    """

    causal, pre_norm = True, True

    def __init__(self, config: Config, generator: torch.Generator | None = None):
        super().__init__(config)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.register_buffer("unused", None, persistent=False)  # (V,) True for codes without a symbol: never written
        self.initialise(generator)

    def encode(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch key"] | None = None,
        *,
        cache: KVCache | None = None,
        maps: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch time dim"]:
        """Return what the model knows at each token: the vectors that the next tokens are predicted from.

        Args:
            mask: True for a token, False for padding, over the cache's tokens and the new ones. Positions count real
                tokens only, so padding on the left changes nothing.
            cache: the earlier tokens; the new ones are added to it (without gradients).
            maps: a list that receives each layer's attention weights.

        Raises:
            ValueError: if cached and new tokens together are more than `context`.
        """
        past = cache.length if cache else 0
        mask = self._check(tokens, mask, past)
        T = tokens.shape[1]
        if mask is None:
            position = self.positions.weight[past : past + T]  # (T, D)
        else:
            position = self.positions((mask.long().cumsum(1) - 1).clamp(min=0)[:, past:])  # (B, T, D)
        x = self.tokens(tokens) + position  # (B, T) -> (B, T, D)
        return self.norm(self.read(self.dropout(x), mask, cache, maps))

    def logits(self, hidden: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Return the unnormalised log-probabilities of the next token: how well each token's vector fits."""
        return F.linear(hidden, self.tokens.weight)  # (…, D) -> (…, V)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch key"] | None = None,
        *,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logits of the token after each token; arguments as in `encode`."""
        return self.logits(self.encode(tokens, mask, cache=cache))

    def generate(
        self,
        prompt: Int[Tensor, "batch time"] | Sequence[Int[Tensor, " time"]],
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | None = None,
        stop: int | None = None,
        use_cache: bool = True,
    ) -> Int[Tensor, "batch length"]:
        """Return `length` tokens that follow each prompt (which is not repeated).

        Of a prompt longer than the context, only the last `context` tokens are read. Whenever the context is full, its
        older half is forgotten and the newer half read again, so a text can be longer than the context.

        Args:
            prompt: (B, T), or a list of B prompts of different lengths (they are padded on the left, behind a mask).
            temperature, top_k, top_p: as in `next_token_probabilities`; temperature 0 is greedy.
            generator: where the randomness comes from; a seed gives the same tokens on every device.
            stop: a token that ends a text; the rest of its row is filled with it.
            use_cache: keep keys and values (the same tokens, sooner).

        Raises:
            ValueError: if a prompt is empty, a token lies outside the vocabulary, or `length` is negative; and, naming
                the step, as `next_token_probabilities` does.
        """
        if length < 0:
            raise ValueError(f"length must be ≥ 0, got {length}")
        window, mask = left_pad(prompt, self.tokens.weight.device)
        if window.shape[1] == 0 or (mask is not None and not mask.any(1).all()):
            raise ValueError(
                "the prompt is empty: give at least one token to continue from (a newline, an end of text …)"
            )
        if not 0 <= int(window.min()) <= int(window.max()) < self.config.vocab_size:
            raise ValueError(
                f"tokens must be in 0 … {self.config.vocab_size - 1}, got {int(window.min())} … {int(window.max())}: "
                "was the prompt encoded with this model's tokenizer?"
            )
        context = self.config.context
        window, mask = window[:, -context:], None if mask is None else mask[:, -context:]  # what the model can read
        cache, read_on, found = None, None, []
        done = torch.zeros(len(window), dtype=torch.bool, device=window.device)  # (B,)
        with evaluating(self), torch.inference_mode():
            for step in range(length):
                if window.shape[1] > context:
                    keep = (context + 1) // 2
                    window, mask, cache = window[:, -keep:], None if mask is None else mask[:, -keep:], None
                if cache is not None and mask is None:
                    logits = read_on(token)  # (B, V)
                else:
                    if use_cache and cache is None:
                        cache = KVCache(self.config, len(window), window.device, self.tokens.weight.dtype)
                        read_on = Stepper(self, cache)
                    unread = window[:, cache.length :] if use_cache else window
                    hidden = self.encode(unread, mask, cache=cache)[:, -1]  # (B, D) of the last token
                    logits = self.logits(hidden)  # (B, V)
                if self.unused is not None:
                    logits = logits.masked_fill(self.unused, -math.inf)
                p = next_token_probabilities(logits, temperature, top_k, top_p, step=step)  # (B, V)
                token = draw(p, generator)  # (B,)
                if stop is not None:
                    token = token.masked_fill(done, stop)
                    done |= token == stop
                found.append(token)
                window = torch.cat([window, token[:, None]], dim=1)
                mask = None if mask is None else F.pad(mask, (0, 1), value=True)
                if stop is not None and done.all():
                    found += [token] * (length - len(found))
                    break
        # A tensor made in inference mode cannot be trained on: return a copy.
        return torch.stack(found, dim=1).clone() if found else window.new_zeros(len(window), 0)

    @torch.no_grad()
    def log_probabilities(self, tokens: Int[Tensor, " time"], batch: int = 32) -> Float[Tensor, " time-1"]:
        """Return ln P(token | tokens before it) of a text of any length, for each token but the first.

        The text is read in windows of `context` tokens that overlap by half, so that each token is predicted from at
        least half a context (at the start of the text: from all there is).

        Args:
            batch: how many windows to read at once.

        Raises:
            ValueError: if the text has fewer than 2 tokens.
        """
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"a text must have the shape (time,) with time ≥ 2, got {tuple(tokens.shape)}")
        context, step = self.config.context, max(1, self.config.context // 2)
        inputs, targets = tokens[:-1], tokens[1:]
        T = len(inputs)
        starts = [0] if T <= context else [*range(0, T - context, step), T - context]
        found = torch.empty(T, device=self.tokens.weight.device)
        with evaluating(self):
            for i in range(0, len(starts), batch):
                windows = torch.stack([inputs[start : start + context] for start in starts[i : i + batch]])
                logp = self(windows.to(found.device)).float().log_softmax(-1)  # (windows, ≤ context, V)
                for start, row in zip(starts[i : i + batch], logp):
                    # Tokens in two windows were already predicted in the earlier one, from a longer past.
                    new = 0 if start == 0 else done - start
                    done = start + len(row)
                    wanted = targets[start + new : done].to(found.device)
                    found[start + new : done] = row[new:].gather(1, wanted[:, None])[:, 0]
        return found


class Stepper:
    """A GPT flattened for one token at a time: read_on(token) is model(token[:, None], cache=cache)[:, 0].

    A small model spends more time finding and calling its parts than on arithmetic. Here the parts are found once per
    text. No padding, no dropout, no gradients.
    """

    def __init__(self, model: GPT, cache: KVCache):
        def norm(module: nn.LayerNorm):
            return module.normalized_shape, module.weight, module.bias, module.eps

        def linear(module: nn.Linear):
            return module.bias, module.weight.t()

        self.cache, self.heads = cache, model.config.heads
        self.tokens, self.positions, self.norm = model.tokens.weight, model.positions.weight, norm(model.norm)
        self.layers = []
        for block, kv in zip(model.blocks, cache.layers):
            attention, mlp = block.attention, block.mlp
            parts = norm(block.norm_1), linear(attention.qkv), linear(attention.out)
            self.layers.append((*parts, norm(block.norm_2), linear(mlp.up), linear(mlp.down), mlp.approximate, kv))

    def __call__(self, token: Int[Tensor, " batch"]) -> Float[Tensor, "batch vocab"]:
        """Return the logits after one more token, and add the token to the cache."""
        n, layer_norm, addmm = self.cache.length, torch.layer_norm, torch.addmm
        x = self.tokens[token] + self.positions[n]  # (B, D)
        B, D = x.shape
        split = B, 3, self.heads, 1, D // self.heads
        for norm_1, (qkv_bias, qkv), (out_bias, out), norm_2, (up_bias, up), (down_bias, down), tanh, kv in self.layers:
            new = addmm(qkv_bias, layer_norm(x, *norm_1), qkv).view(split).transpose(0, 1)  # (3, B, H, 1, d)
            kv[:, :, :, n : n + 1] = new[1:]
            k, v = kv[:, :, :, : n + 1].unbind(0)  # (B, H, S, d)
            y = F.scaled_dot_product_attention(new[0], k, v)  # (B, H, 1, d)
            x = x + addmm(out_bias, y.view(B, D), out)
            hidden = F.gelu(addmm(up_bias, layer_norm(x, *norm_2), up), approximate=tanh)
            x = x + addmm(down_bias, hidden, down)
        self.cache.length = n + 1
        return layer_norm(x, *self.norm) @ self.tokens.t()  # (B, V)


def left_pad(
    prompts: Tensor | Sequence[Tensor], device=None
) -> tuple[Int[Tensor, "batch time"], Bool[Tensor, "batch time"] | None]:
    """Return prompts as one (B, T) tensor, zeros before the shorter ones, and the mask of real tokens (None: all are).

    The padding is on the left because the text is continued on the right.

    Raises:
        ValueError: if the prompts do not have the right shape.
    """
    if isinstance(prompts, Tensor):
        if prompts.ndim != 2:
            raise ValueError(
                f"a prompt must have the shape (batch, time), got {tuple(prompts.shape)}: use prompt[None]"
            )
        return prompts.to(device), None
    if len(prompts) == 0 or any(prompt.ndim != 1 for prompt in prompts):
        raise ValueError("several prompts must be a list of tensors of shape (time,), at least one")
    T = max(len(prompt) for prompt in prompts)
    tokens = torch.stack([F.pad(prompt, (T - len(prompt), 0)) for prompt in prompts]).to(device)
    start = torch.tensor([T - len(prompt) for prompt in prompts], device=device)
    mask = torch.arange(T, device=device) >= start[:, None]  # (B, T)
    return tokens, None if bool(mask.all()) else mask


# --- BERT -------------------------------------------------------------------------------------------------------------


class BERT(Transformer):
    """Predicts hidden tokens from those on both sides: BERT's architecture with its masked-language-modelling head.

    If config.head is False, only `encode` works.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.

    Source: Devlin et al. (2019), sections 3 and 3.1.
    """

    causal, pre_norm = False, False

    def __init__(self, config: BERTConfig, generator: torch.Generator | None = None):
        super().__init__(config)
        self.types = nn.Embedding(config.token_types, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        if config.head:
            self.transform = nn.Linear(config.dim, config.dim)
            self.transform_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
            self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.initialise(generator)

    def encode(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        token_types: Int[Tensor, "batch time"] | None = None,
        *,
        maps: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch time dim"]:
        """Return the vector of each token in its text: the features for other tasks (`mean_pool` makes one per text).

        Args:
            mask: True for a token, False for padding (nothing looks at it, and its own vectors mean nothing).
            token_types: 0 for the first sentence (default), 1 for the second.
            maps: a list that receives each layer's attention weights.

        Raises:
            ValueError: if there are more than `context` tokens.
        """
        mask = self._check(tokens, mask)
        position = torch.arange(tokens.shape[1], device=tokens.device)  # (T,)
        kind = self.types.weight[0] if token_types is None else self.types(token_types)  # (D,) or (B, T, D)
        x = self.tokens(tokens) + self.positions(position) + kind  # (B, T, D)
        return self.read(self.dropout(self.norm(x)), mask, None, maps)

    def logits(self, hidden: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Return the unnormalised log-probabilities of the token that stood there, from any of `encode`'s vectors.

        Raises:
            ValueError: if the model has no head.
        """
        if not self.config.head:
            raise ValueError(
                "this BERT came without its masked-language-modelling head, so it predicts no tokens: encode gives its "
                'features. For predictions, load a BERT that has its head, such as the bundled "bert"'
            )
        x = F.gelu(self.transform(hidden), approximate=ACTIVATIONS[self.config.activation])
        return F.linear(self.transform_norm(x), self.tokens.weight, self.bias)  # (…, D) -> (…, V)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        token_types: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logits of each token, seen from both sides; arguments as in `encode`."""
        return self.logits(self.encode(tokens, mask, token_types))


def mean_pool(
    hidden: Float[Tensor, "batch time dim"], mask: Bool[Tensor, "batch time"] | None = None
) -> Float[Tensor, "batch dim"]:
    """Return one vector per text: the mean over its real tokens (mask True). A text that is all padding gets zeros."""
    if mask is None:
        return hidden.mean(1)
    shares = mask / mask.sum(1, keepdim=True).clamp(min=1)  # (B, T): 1 / number of real tokens, or 0
    return torch.einsum("bt,btd->bd", shares.to(hidden.dtype), hidden)
