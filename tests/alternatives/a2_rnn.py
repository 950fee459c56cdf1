"""Other right answers to assignment 2, in the styles that students write: loops, einsum, library."""

import math
from collections.abc import Callable

import torch

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("rnn_step")
def step_with_rows(x, h, weights):
    a = weights["W_x"][x.argmax(1)] + torch.einsum("bi,ij->bj", h, weights["W_h"]) + weights["b"]
    return (a.exp() - (-a).exp()) / (a.exp() + (-a).exp())


@alternative("rnn_step")
def step_as_one_matrix(x, h, weights):
    ones = torch.ones_like(h[:, :1])
    stacked = torch.cat([weights["W_x"], weights["W_h"], weights["b"][None]])
    return (torch.cat([x, h, ones], dim=1) @ stacked).tanh()


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("run_rnn")
def run_by_index(codes, h, weights):
    B, T = codes.shape
    x = torch.nn.functional.one_hot(codes, len(weights["c"])).float() @ weights["W_x"]
    states, logits = torch.empty(B, T, h.shape[1]), torch.empty(B, T, len(weights["c"]))
    for t in range(T):
        h = torch.tanh(x[:, t] + h @ weights["W_h"] + weights["b"])
        states[:, t] = h
        logits[:, t] = h @ weights["W_o"] + weights["c"]
    return states, logits


@alternative("run_rnn")
def run_text_by_text(codes, h, weights):
    found = []
    for row, state in zip(codes.tolist(), h):
        for code in row:
            state = (weights["W_x"][code] + weights["W_h"].T @ state + weights["b"]).tanh()
            found.append(state)
    states = torch.stack(found).view(*codes.shape, -1)
    return [states, torch.einsum("bth,hv->btv", states, weights["W_o"]) + weights["c"]]


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("next_character_loss")
def loss_in_loops(logits, codes):
    B, T = codes.shape
    total = 0.0
    for b in range(B):
        for t in range(T - 1):
            total += logits[b, t].double().logsumexp(0) - logits[b, t, codes[b, t + 1]].double()
    return (total / (B * (T - 1))).float()


@alternative("next_character_loss")
def loss_with_one_hot(logits, codes):
    z = logits - logits.amax(-1, keepdim=True)
    log_p = z - z.exp().sum(-1, keepdim=True).log()
    wanted = torch.nn.functional.one_hot(codes, logits.shape[-1]).to(logits.dtype)
    return -torch.einsum("btv,btv->", log_p[:, :-1], wanted[:, 1:]) / codes[:, 1:].numel()


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("bptt")
def back_text_by_text(codes, h, states, logits, weights):
    B, T = codes.shape
    found = {name: torch.zeros_like(value) for name, value in weights.items()}
    for b in range(B):
        later = torch.zeros_like(h[0])  # what comes back from the step after
        for t in range(T - 2, -1, -1):
            dz = logits[b, t].softmax(0)
            dz[codes[b, t + 1]] -= 1
            da = (weights["W_o"] @ dz + later) * (1 - states[b, t].square())
            found["W_o"] += torch.outer(states[b, t], dz)
            found["c"] += dz
            found["W_x"][codes[b, t]] += da
            found["W_h"] += torch.outer(states[b, t - 1] if t else h[b], da)
            found["b"] += da
            later = weights["W_h"] @ da
    return {name: value / (B * (T - 1)) for name, value in found.items()}


@alternative("bptt")
def back_with_einsum(codes, h, states, logits, weights):
    B, T = codes.shape
    hot = torch.nn.functional.one_hot(codes, logits.shape[-1]).to(logits.dtype)
    dz = (logits.softmax(-1)[:, :-1] - hot[:, 1:]) / (B * (T - 1))
    direct, slope = torch.einsum("btv,hv->bth", dz, weights["W_o"]), 1 - states[:, :-1] ** 2
    da = [direct[:, -1] * slope[:, -1]]
    for t in range(T - 3, -1, -1):
        da.insert(0, slope[:, t] * (direct[:, t] + torch.einsum("bj,ij->bi", da[0], weights["W_h"])))
    da = torch.stack(da, 1)
    before = torch.cat([h[:, None], states], 1)[:, : T - 1]
    return {
        "W_h": torch.einsum("bti,btj->ij", before, da),
        "W_x": torch.einsum("btv,bth->vh", hot[:, :-1], da),
        "W_o": torch.einsum("bth,btv->hv", states[:, :-1], dz),
        "b": da.sum((0, 1)),
        "c": dz.sum((0, 1)),
    }


@alternative("bptt")
def back_with_whole_jacobians(codes, h, states, logits, weights):
    B, T = codes.shape
    found = {name: torch.zeros_like(value) for name, value in weights.items()}
    for b in range(B):
        for end in range(T - 1):  # each prediction sends its error back by itself
            dz = (
                (
                    logits[b, end].softmax(0)
                    - torch.eye(logits.shape[-1], dtype=h.dtype, device=h.device)[codes[b, end + 1]]
                )
                / B
                / (T - 1)
            )
            found["W_o"] += states[b, end][:, None] * dz
            found["c"] += dz
            dh = weights["W_o"] @ dz
            for t in range(end, -1, -1):
                slope = torch.diag(1 - states[b, t] ** 2)
                found["b"] += slope @ dh
                found["W_x"][codes[b, t]] += slope @ dh
                found["W_h"] += (h[b] if t == 0 else states[b, t - 1])[:, None] * (slope @ dh)
                dh = weights["W_h"] @ slope @ dh
    return found


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("clip_by_global_norm")
def clipped_as_torch_does(gradients, limit):
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    factor = min(1.0, limit / (norm + 1e-6))
    return {name: factor * g for name, g in gradients.items()}, norm


@alternative("clip_by_global_norm")
def clipped_by_the_norm_of_norms(gradients, limit):
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
    if norm > limit:
        gradients = {name: g / norm * limit for name, g in gradients.items()}
    return gradients, norm.item()


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("write")
def write_with_gumbel(prompt, length, temperature, weights, generator):
    h, text = weights["W_h"].new_zeros(prompt.shape[0], weights["W_h"].shape[0]), prompt
    for t in range(prompt.shape[1] + length - 1):
        h = torch.tanh(weights["W_x"][text[:, t]] + h @ weights["W_h"] + weights["b"])
        if t >= prompt.shape[1] - 1:
            z = (h @ weights["W_o"] + weights["c"]) / temperature
            noise = -torch.empty_like(z).exponential_(generator=generator).log()
            text = torch.cat([text, (z + noise).argmax(1, keepdim=True)], dim=1)
    return text[:, prompt.shape[1] :]


@alternative("write")
def write_by_inverting_the_cumulative(prompt, length, temperature, weights, generator):
    def read(h, code):
        x = torch.nn.functional.one_hot(code, len(weights["c"])).to(h.dtype)
        return torch.tanh(x @ weights["W_x"] + h @ weights["W_h"] + weights["b"])

    h = weights["b"].expand(len(prompt), -1) * 0
    for t in range(prompt.shape[1]):
        h = read(h, prompt[:, t])
    found = torch.zeros_like(prompt[:, :1]).repeat(1, length)
    for t in range(length):
        cumulative = ((h @ weights["W_o"] + weights["c"]) / temperature).double().softmax(1).cumsum(1)
        u = torch.rand(len(h), 1, generator=generator, dtype=torch.double).to(h.device)
        found[:, t] = (u * cumulative[:, -1:] > cumulative).sum(1)
        h = read(h, found[:, t])
    return found


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("multiplicative_step")
def a_matrix_for_each_text(x, h, weights):
    W = torch.einsum("hf,bf,fk->bhk", weights["W_hf"], x @ weights["W_fx"].T, weights["W_fh"])  # (B, H, H)
    return torch.tanh(torch.einsum("bhk,bk->bh", W, h) + x @ weights["W_hx"].T)


@alternative("multiplicative_step")
def in_columns(x, h, weights):
    found = []
    for code, state in zip(x.argmax(1), h):
        f = weights["W_fx"][:, code] * (weights["W_fh"] @ state)
        found.append((weights["W_hf"] @ f + weights["W_hx"][:, code]).tanh())
    return torch.stack(found)


# --- 8 ----------------------------------------------------------------------------------------------------------------


def _trained(network, head, texts, answers, new_texts, steps, size):
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    eye = torch.eye(int(max(texts.max(), new_texts.max())) + 1)
    for _ in range(steps):
        batch = torch.randperm(len(texts))[:size]
        loss = torch.nn.functional.cross_entropy(head(network(eye[texts[batch]])[0][:, -1]), answers[batch])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return head(network(eye[new_texts])[0][:, -1]).argmax(1)


@alternative("far_back")
def with_an_lstm(texts, answers, new_texts, generator):
    size = int(max(texts.max(), new_texts.max())) + 1
    network = torch.nn.LSTM(size, 48, batch_first=True)
    head = torch.nn.Linear(48, int(answers.max()) + 1)
    return _trained(network, head, texts, answers, new_texts, 1000, 64)


class GatedCell(torch.nn.Module):
    """One gate, which says how much of the old state is kept; it is open at the beginning."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.x, self.h = torch.nn.Linear(size, 2 * hidden), torch.nn.Linear(hidden, 2 * hidden)
        with torch.no_grad():
            self.x.bias[:hidden] = 2

    def forward(self, x):
        h, states = torch.zeros(len(x), self.h.in_features), []
        for column in self.x(x).unbind(1):
            keep, candidate = (column + self.h(h)).chunk(2, dim=1)
            h = keep.sigmoid() * h + (1 - keep.sigmoid()) * candidate.tanh()
            states.append(h)
        return torch.stack(states, 1), h


@alternative("far_back")
def with_a_gate_of_its_own(texts, answers, new_texts, generator):
    size = int(max(texts.max(), new_texts.max())) + 1
    return _trained(
        GatedCell(size, 48), torch.nn.Linear(48, int(answers.max()) + 1), texts, answers, new_texts, 800, 64
    )
