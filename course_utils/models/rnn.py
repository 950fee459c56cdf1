"""Recurrent language models: one state vector is carried along the text, and must hold all of the past that matters.

Read from top to bottom:

1. `MultiplicativeRNN`, written out: the current character chooses *which matrix* updates the state.
2. `CharRNN`: characters in, a cell of your choice (tanh, GRU and LSTM are torch's), logits of the next character out.

Letters in the shape comments: B texts in a batch, T time, V vocabulary, E width of the input, H width of the state,
F factors of the multiplicative cell.

Sources: J. Elman, Finding Structure in Time (1990); S. Hochreiter and J. Schmidhuber, Long Short-Term Memory (1997);
K. Cho et al., Learning Phrase Representations using RNN Encoder-Decoder (2014: GRU); I. Sutskever, J. Martens and
G. Hinton, Generating Text with Recurrent Neural Networks (ICML 2011: multiplicative).
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.models.sampling import draw, evaluating, next_token_probabilities

State = Tensor | tuple[Tensor, Tensor]  # (layers, B, H); an LSTM has two of them


@dataclass
class RNNConfig:
    """The sizes of a character RNN."""

    vocab_size: int  # V
    cell: str = "lstm"  # "tanh", "gru", "lstm" or "multiplicative"
    hidden: int = 256  # H
    layers: int = 1
    embedding: int | None = None  # E; None: one-hot, E = V
    factors: int | None = None  # F, of the multiplicative cell; None: as many as H
    dropout: float = 0.0  # on the output of the layers

    def __post_init__(self):
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {self.cell!r}")
        if self.cell == "multiplicative" and self.layers != 1:
            raise ValueError(f"the multiplicative RNN has one layer, got layers={self.layers}")
        for name in ("vocab_size", "hidden", "layers", "embedding", "factors"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be the share of numbers set to 0, 0 ≤ dropout < 1, got {self.dropout}")


class MultiplicativeRNN(nn.Module):
    """An RNN whose input chooses the matrix that updates the state.

    h ← tanh(W_hf f + W_hx x) with f = (W_fx x) ∘ (W_fh h): each input x has its own hidden-to-hidden matrix,
    W_hf diag(W_fx x) W_fh. The matrices share F factors, so V of them do not cost V · H² numbers.

    Source: Sutskever, Martens & Hinton (2011), equations 7 and 8.
    """

    def __init__(self, inputs: int, hidden: int, factors: int | None = None):
        super().__init__()
        factors = hidden if factors is None else factors
        self.fx = nn.Linear(inputs, factors, bias=False)  # W_fx
        self.fh = nn.Linear(hidden, factors, bias=False)  # W_fh
        self.hf = nn.Linear(factors, hidden, bias=False)  # W_hf
        self.hx = nn.Linear(inputs, hidden, bias=False)  # W_hx

    def forward(
        self, x: Float[Tensor, "batch time inputs"], state: Float[Tensor, "1 batch hidden"] | None = None
    ) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "1 batch hidden"]]:
        """Return the state after every step, and the last one, as torch's RNN does."""
        h = x.new_zeros(len(x), self.hx.out_features) if state is None else state[0]  # (B, H)
        states = []
        for gate, drive in zip(self.fx(x).unbind(1), self.hx(x).unbind(1)):  # T times (B, F) and (B, H)
            f = gate * self.fh(h)  # (B, F)
            h = torch.tanh(self.hf(f) + drive)  # (B, H)
            states.append(h)
        return torch.stack(states, dim=1), h[None]


CELLS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM, "multiplicative": MultiplicativeRNN}


class CharRNN(nn.Module):
    """Predicts each next character from a state that is carried along the text.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.
    """

    def __init__(self, config: RNNConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        E = config.vocab_size if config.embedding is None else config.embedding
        self.embedding = None if config.embedding is None else nn.Embedding(config.vocab_size, E)
        if config.cell == "multiplicative":
            self.cell = MultiplicativeRNN(E, config.hidden, config.factors)
        else:
            self.cell = CELLS[config.cell](E, config.hidden, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden, config.vocab_size)
        self.initialise(generator)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the weights so that all sums start with variance 1; an LSTM's forget gates start open (bias 1).

        Source: R. Jozefowicz, W. Zaremba and I. Sutskever, An Empirical Exploration of Recurrent Network Architectures
        (2015), section 2.2, for the forget gate.
        """
        one_hot = {"cell.weight_ih_l0", "cell.fx.weight", "cell.hx.weight"} if self.embedding is None else set()
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                weight.zero_()
            else:
                terms = 1 if name in one_hot or name == "embedding.weight" else weight.shape[1]  # that are not zero
                weight.normal_(0, terms**-0.5, generator=generator)
            if self.config.cell == "lstm" and "bias_ih" in name:
                weight[self.config.hidden : 2 * self.config.hidden] = 1  # torch's order: input, forget, cell, output

    def encode(
        self, tokens: Int[Tensor, "batch time"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """Return the top layer's state after each character, and the state to continue with.

        Args:
            state: what `encode` returned for the text so far; None starts with zeros.

        Raises:
            ValueError: unless the tokens are (batch, time) with time ≥ 1.
        """
        if tokens.ndim != 2 or tokens.shape[1] == 0:
            raise ValueError(f"tokens must have the shape (batch, time) with time ≥ 1, got {tuple(tokens.shape)}")
        if self.embedding is None:
            x = F.one_hot(tokens.long(), self.config.vocab_size).to(self.head.weight.dtype)  # (B, T) -> (B, T, V)
        else:
            x = self.embedding(tokens)  # (B, T) -> (B, T, E)
        return self.cell(x, state)

    def logits(self, hidden: Float[Tensor, "... hidden"]) -> Float[Tensor, "... vocab"]:
        """Return the unnormalised log-probabilities of the next character."""
        return self.head(self.dropout(hidden))

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch time vocab"], State]:
        """Return the logits of the character after each character, and the state to continue with."""
        hidden, state = self.encode(tokens, state)
        return self.logits(hidden), state

    @torch.no_grad()
    def generate(
        self,
        prompt: Int[Tensor, "batch time"],
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "batch length"]:
        """Return `length` characters that follow each prompt (which is not repeated).

        Args:
            prompt: all of one length.
            temperature, top_k, top_p: as in `next_token_probabilities`; temperature 0 is greedy.
            generator: where the randomness comes from; a seed gives the same characters on every device.

        Raises:
            ValueError: if the prompt is empty, a code lies outside the vocabulary, or `length` is negative; and, naming
                the step, as `next_token_probabilities` does.
        """
        if length < 0:
            raise ValueError(f"length must be ≥ 0, got {length}")
        if prompt.ndim != 2 or prompt.shape[1] == 0:
            raise ValueError(f"a prompt must have the shape (batch, time) with time ≥ 1, got {tuple(prompt.shape)}")
        if prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < self.config.vocab_size:
            raise ValueError(
                f"codes must be in 0 … {self.config.vocab_size - 1}, got {int(prompt.min())} … {int(prompt.max())}: "
                "was the prompt encoded with this model's tokenizer?"
            )
        found, token, state = [], prompt.to(self.head.weight.device), None
        with evaluating(self):
            for step in range(length):
                hidden, state = self.encode(token, state)
                p = next_token_probabilities(self.logits(hidden[:, -1]), temperature, top_k, top_p, step=step)  # (B, V)
                token = draw(p, generator)[:, None]  # (B, 1)
                found.append(token)
        return torch.cat(found, dim=1) if found else prompt.new_zeros(len(prompt), 0)

    @torch.no_grad()
    def log_probabilities(self, tokens: Int[Tensor, " time"], chunk: int = 1024) -> Float[Tensor, " time-1"]:
        """Return ln P(character | all before it) of a text, for each character but the first.

        Args:
            chunk: how many characters to read at once. It only limits the memory: the state runs through the whole
                text.

        Raises:
            ValueError: if the text has fewer than 2 characters.
        """
        if tokens.ndim != 1 or len(tokens) < 2:
            raise ValueError(f"a text must have the shape (time,) with time ≥ 2, got {tuple(tokens.shape)}")
        found, state = [], None
        tokens = tokens.to(self.head.weight.device)
        with evaluating(self):
            for inputs, targets in zip(tokens[:-1].split(chunk), tokens[1:].split(chunk)):
                logits, state = self(inputs[None], state)  # (1, T, V)
                found.append(logits[0].log_softmax(-1).gather(1, targets[:, None])[:, 0])
        return torch.cat(found)
