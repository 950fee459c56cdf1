"""Other right answers to assignment 8, in the styles that students write: loops, numpy, einsum, library."""

from collections.abc import Callable

import torch

from course_utils.models.clip import small_clip

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("clip_logits")
def logits_in_loops(image, text, log_scale):
    scale = log_scale.exp().clamp(max=100.0)
    rows = []
    for x in image:
        lengths = [(x.norm() * y.norm()).clamp(min=1e-30) for y in text]
        rows.append(torch.stack([scale * (x @ y) / length for y, length in zip(text, lengths)]))
    return torch.stack(rows)


@alternative("clip_logits")
def logits_by_cosine_similarity(image, text, log_scale):
    cosines = torch.nn.functional.cosine_similarity(image[:, None], text[None], dim=2)
    return torch.minimum(log_scale, torch.tensor(100.0).log()).exp() * cosines


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("symmetric_loss")
def loss_in_loops(logits):
    total = 0.0
    for i in range(len(logits)):
        for line in (logits[i], logits[:, i]):
            total -= line.double().log_softmax(0)[i]
    return (total / (2 * len(logits))).to(logits.dtype)


@alternative("symmetric_loss")
def loss_written_out(logits):
    losses = []
    for z in (logits, logits.T):
        z = z - z.amax(1, keepdim=True)
        log_p = z - z.exp().sum(1, keepdim=True).log()
        losses.append(-torch.einsum("ii->", log_p) / len(z))
    return torch.stack(losses).mean()


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("distinct_batch")
def batch_by_dictionary(order, captions, n):
    first = {}
    for i in order.tolist():
        first.setdefault(captions[i], i)
    return torch.tensor(list(first.values())[:n])


@alternative("distinct_batch")
def batch_with_tensors(order, captions, n):
    kinds = {caption: kind for kind, caption in enumerate(dict.fromkeys(captions))}
    codes = torch.tensor([kinds[captions[i]] for i in order.tolist()])  # (N,)
    twin_before = (codes[:, None] == codes[None, :]).tril(-1).any(1)
    return order[~twin_before][:n]


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("class_vectors")
def vectors_in_loops(prompts, classes, count):
    found = []
    for c in range(count):
        mine = [row / row.norm() for row, k in zip(prompts, classes.tolist()) if k == c]
        mean = sum(mine) / len(mine) if mine else torch.zeros(prompts.shape[1])
        found.append(mean / mean.norm() if mine else mean)
    return torch.stack(found)


@alternative("class_vectors")
def vectors_by_a_matrix(prompts, classes, count):
    belongs = torch.nn.functional.one_hot(classes, count).to(prompts.dtype)  # (P, C)
    belongs = belongs / belongs.sum(0).clamp(min=1)
    means = torch.einsum("pc,pe->ce", belongs, prompts / prompts.norm(dim=1, keepdim=True))
    lengths = means.norm(dim=1, keepdim=True)
    return means / torch.where(lengths > 0, lengths, torch.ones_like(lengths))


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("zero_shot")
def probabilities_by_logsumexp(image, pairs, scale):
    logits = scale * torch.einsum("ne,oce->noc", image, pairs)
    return logits.logsumexp(2).softmax(1)


@alternative("zero_shot")
def probabilities_in_loops(image, pairs, scale):
    rows = []
    for x in image:
        logits = scale * (pairs @ x)  # (O, C)
        e = (logits - logits.max()).exp()
        rows.append(e.sum(1) / e.sum())
    return torch.stack(rows)


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("recall_both_ways")
def recall_by_topk(similarity, k):
    found = []
    for z in (similarity, similarity.T):
        worst = z.topk(k, dim=1).values[:, -1]  # of the first k: what fits as well as that is found, too
        found.append(float((z.diagonal() >= worst).float().mean()))
    return found[0], found[1]


@alternative("recall_both_ways")
def recall_in_loops(similarity, k):
    n, hits = len(similarity), [0, 0]
    for i in range(n):
        for way, line in enumerate((similarity[i].tolist(), similarity[:, i].tolist())):
            hits[way] += sorted(line, reverse=True).index(line[i]) < k
    return [torch.tensor(hit / n) for hit in hits]


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("learn_to_name")
def named_without_twins(images, captions, steps):
    """Batches without twins, AdamW on a cosine, another seed."""
    torch.manual_seed(1)
    model, tokenizer = small_clip(captions)
    model.to(images.device)
    codes, mask = (x.to(images.device) for x in tokenizer.encode_batch(captions))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        seen, rows = set(), []
        for i in torch.randperm(len(images))[:100].tolist():
            if captions[i] not in seen:
                seen.add(captions[i])
                rows.append(i)
        x, y, log_scale = model(images[rows].float() / 255 - 0.5, codes[rows], mask[rows])
        logits = log_scale.exp() * x @ y.T
        loss = (logits.logsumexp(1) + logits.logsumexp(0) - 2 * logits.diagonal()).mean() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().state_dict()


@alternative("learn_to_name")
def a_fixed_temperature_and_both_encoders_by_hand(images, captions, steps):
    torch.manual_seed(0)
    model, tokenizer = small_clip(captions, torch.Generator().manual_seed(7))
    model = model.to(images.device)
    codes, mask = tokenizer.encode_batch(captions)
    codes, mask, own = codes.to(images.device), mask.to(images.device), torch.arange(64, device=images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(images), (64,))
        logits = 10 * model.encode_image(images[rows] / 255 - 0.5) @ model.encode_text(codes[rows], mask[rows]).T
        loss = torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("distinct_batch")
def batch_by_recursion(order, captions, n):
    def take(rest, seen):
        if not rest or len(seen) == n:
            return []
        first, *rest = rest
        return take(rest, seen) if captions[first] in seen else [first, *take(rest, seen | {captions[first]})]

    return torch.tensor(take(order.tolist(), frozenset()), dtype=torch.int64)


@alternative("recall_both_ways")
def recall_by_searching_sorted_rows(similarity, k):
    def found(table):
        ordered, own = table.sort(1).values, table.diagonal()[:, None].contiguous()
        better = len(table) - torch.searchsorted(ordered, own, right=True)[:, 0]
        return (better < k).double().mean()

    return found(similarity), found(similarity.T.contiguous())


@alternative("zero_shot")
def probabilities_from_sums_of_objects(image, pairs, scale):
    return (scale * torch.einsum("ne,oce->noc", image, pairs)).logsumexp(2).softmax(1)
