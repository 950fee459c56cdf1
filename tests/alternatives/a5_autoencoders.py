"""Other right answers to assignment 5, in the styles that students write: loops, numpy, einsum, library."""

import math
from collections.abc import Callable

import numpy
import torch

ALTERNATIVES: dict[str, list[Callable]] = {}


def alternative(exercise: str) -> Callable[[Callable], Callable]:
    """Register a right answer to the exercise."""

    def register(function: Callable) -> Callable:
        ALTERNATIVES.setdefault(exercise, []).append(function)
        return function

    return register


# --- 1 ----------------------------------------------------------------------------------------------------------------


@alternative("pca")
def pca_by_eigenvectors(x, k):
    mean = x.mean(dim=0, keepdim=True)
    covariance = torch.cov(x.T, correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    order = values.argsort(descending=True)[:k]
    rows = vectors[:, order].T.clone()
    for row in rows:
        if row[row.abs().argmax()] < 0:
            row *= -1
    return mean[0], rows, values[order]


@alternative("pca")
def pca_in_numpy(x, k):
    x = x.numpy()
    mean = x.mean(axis=0)
    v = numpy.linalg.svd(x - mean)[2][:k]
    v = v * numpy.sign(v[numpy.arange(k), numpy.abs(v).argmax(1)])[:, None]
    variance = (((x - mean) @ v.T) ** 2).mean(axis=0)
    return torch.from_numpy(mean), torch.from_numpy(v), torch.from_numpy(variance)


@alternative("pca")
def pca_by_power_iteration(x, k):
    mean = x.mean(0)
    rest, rows, variances = x - mean, [], []
    for _ in range(k):
        v = rest[rest.norm(dim=1).argmax()]
        for _ in range(2000):
            v = rest.T @ (rest @ v)
            v = v / v.norm()
        v = v if v.max() >= -v.min() else -v
        rows.append(v)
        variances.append(((rest @ v) ** 2).mean())
        rest = rest - torch.outer(rest @ v, v)
    return mean, torch.stack(rows), torch.stack(variances)


# --- 2 ----------------------------------------------------------------------------------------------------------------


@alternative("linear_autoencoder")
def gradients_in_loops(x, encoder, decoder):
    loss, to_encoder, to_decoder = 0.0, torch.zeros_like(encoder), torch.zeros_like(decoder)
    for sample in x:
        code = encoder @ sample
        error = decoder @ code - sample
        loss = loss + error @ error / len(x)
        to_decoder += 2 / len(x) * torch.outer(error, code)
        to_encoder += 2 / len(x) * torch.outer(decoder.T @ error, sample)
    return loss, to_encoder, to_decoder


@alternative("linear_autoencoder")
def gradients_from_the_covariance(x, encoder, decoder):
    covariance = torch.einsum("ni,nj->ij", x, x) / x.shape[0]  # (D, D): all that matters of the data
    off = decoder @ encoder - torch.eye(x.shape[1]).to(x)
    loss = torch.trace(off @ covariance @ off.T)
    return [loss, 2 * decoder.T @ off @ covariance, 2 * off @ covariance @ encoder.T]


# --- 3 ----------------------------------------------------------------------------------------------------------------


@alternative("principal_angles")
def angles_by_projections(a, b):
    onto_a, onto_b = a @ torch.linalg.pinv(a), b @ torch.linalg.pinv(b)  # (D, D) each
    squares = torch.linalg.svdvals(onto_a @ onto_b)[: a.shape[1]].clamp(0, 1)
    sines = torch.linalg.svdvals(onto_b - onto_a @ onto_b)[: a.shape[1]].flip(0).clamp(0, 1)
    return torch.where(squares > 0.7, sines.asin(), squares.acos())


@alternative("principal_angles")
def angles_with_gram_schmidt(a, b):
    def orthonormal(columns):
        found = []
        for column in columns.T:
            for _ in range(2):
                for q in found:
                    column = column - (q @ column) * q
            found.append(column / column.norm())
        return torch.stack(found)

    p, q = orthonormal(a), orthonormal(b)
    values = torch.linalg.eigvalsh(p @ q.T @ q @ p.T).clamp(0, 1)
    return values.sqrt().acos().flip(0)


# --- 4 ----------------------------------------------------------------------------------------------------------------


@alternative("corrupt")
def corrupted_in_loops(x, noise, choose, sigma, share):
    found = x.clone()
    for n in range(x.shape[0]):
        for d in range(x.shape[1]):
            value = float(x[n, d]) + sigma * float(noise[n, d])
            found[n, d] = 0.0 if choose[n, d] < share else min(1.0, max(0.0, value))
    return found


@alternative("corrupt")
def corrupted_in_numpy(x, noise, choose, sigma, share):
    noisy = numpy.clip(x.numpy() + sigma * noise.numpy(), 0, 1)
    return torch.tensor(numpy.where(choose.numpy() < numpy.float32(share), numpy.float32(0), noisy.astype("float32")))


@alternative("corrupt")
def corrupted_by_multiplication(x, noise, choose, sigma, share):
    visible = (choose >= share).to(x.dtype)
    return torch.relu(1 - torch.relu(1 - (x + sigma * noise))) * visible


# --- 5 ----------------------------------------------------------------------------------------------------------------


@alternative("draw_and_kl")
def drawn_in_loops(mean, log_variance, noise):
    z, kl = torch.empty_like(mean), mean.new_zeros(len(mean))
    for n in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            m, ell = mean[n, j], log_variance[n, j]
            sigma = (ell / 2).exp()
            z[n, j] = m + sigma * noise[n, j]
            kl[n] += (m * m + sigma * sigma - 1 - ell) / 2
    return z, kl


@alternative("draw_and_kl")
def drawn_from_distributions(mean, log_variance, noise):
    sigma = torch.exp(0.5 * log_variance)
    code, prior = torch.distributions.Normal(mean, sigma), torch.distributions.Normal(0.0, 1.0)
    cross = prior.entropy() + 0.5 * (mean.square() + sigma.square() - 1)  # −E ln prior(z)
    return [code.loc + code.scale * noise, (cross - code.entropy()).sum(-1)]


# --- 6 ----------------------------------------------------------------------------------------------------------------


@alternative("elbo")
def elbo_in_loops(x, logits, kl, beta):
    found = []
    for n in range(len(x)):
        total = 0.0
        for draw in logits[:, n].double():
            for pixel, a in zip(x[n].tolist(), draw):
                log_1_plus = a.clamp(min=0) + (-a.abs()).exp().log1p()  # ln(1 + e^a) = −ln(1 − p)
                total += pixel * a - log_1_plus
        found.append((total / len(logits)).float() - beta * kl[n])
    return torch.stack(found)


@alternative("elbo")
def elbo_with_softplus(x, logits, kl, beta):
    nats = torch.einsum("nd,snd->n", x, logits) - torch.nn.functional.softplus(logits).sum(dim=(0, 2))
    return nats / logits.shape[0] - beta * kl


@alternative("elbo")
def elbo_with_log_softmax(x, logits, kl, beta):
    both = torch.stack([logits, torch.zeros_like(logits)], -1).log_softmax(-1)  # (S, N, D, 2): ink, paper
    wanted = torch.stack([x, 1 - x], -1)
    return (both * wanted).sum((2, 3)).mean(0) - beta * kl


# --- 7 ----------------------------------------------------------------------------------------------------------------


@alternative("latent_walk")
def walk_in_a_loop(start, end, steps):
    length = torch.linalg.norm(start) * torch.linalg.norm(end)
    omega = math.acos(max(-1.0, min(1.0, float((start * end).sum() / length))))
    codes = []
    for i in range(steps):
        t = i / (steps - 1)
        if math.sin(omega) < 1e-3:
            a, b = 1 - t, t
        else:
            a, b = math.sin((1 - t) * omega) / math.sin(omega), math.sin(t * omega) / math.sin(omega)
        codes.append(a * start + b * end)
    return torch.stack(codes)


@alternative("latent_walk")
def walk_by_half_angles(start, end, steps):
    u, v = start.double() / start.double().norm(), end.double() / end.double().norm()
    omega = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    t = torch.linspace(0, 1, steps, dtype=torch.double, device=start.device)
    weights = torch.stack([torch.sin((1 - t) * omega), torch.sin(t * omega)], 1) / torch.sin(omega)
    if omega < 1e-3:
        weights = torch.stack([1 - t, t], 1)
    return (weights @ torch.stack([start, end]).double()).float()


# --- 8 ----------------------------------------------------------------------------------------------------------------


@alternative("clean_up")
def cleaned_by_likeness(training, noisy, sigma):
    log_p = -(torch.cdist(noisy, training) ** 2) / (2 * sigma**2)  # (M, N): how likely each clean picture is
    return log_p.softmax(1) @ training > 0.5


@alternative("clean_up")
def cleaned_by_a_network(training, noisy, sigma):
    g = torch.Generator().manual_seed(0)
    D = training.shape[1]
    net = torch.nn.Sequential(torch.nn.Linear(D, 256), torch.nn.ReLU(), torch.nn.Linear(256, D))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.normal_(0, layer.in_features**-0.5, generator=g)
            layer.bias.zero_()
    net.to(training.device)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(600):
        clean = training[torch.randint(len(training), (100,), generator=g)]
        noise = torch.randn(clean.shape, generator=g).to(clean.device)
        loss = ((net(clean + sigma * noise) - clean) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return net(noisy) > 0.5


@alternative("clean_up")
def cleaned_by_shrunken_directions(training, noisy, sigma):
    mean = training.mean(0)
    _, s, rows = torch.linalg.svd(training - mean, full_matrices=False)
    variances = s**2 / len(training)
    codes = (noisy - mean) @ rows.T * variances / (variances + sigma**2)
    return mean + codes @ rows > 0.5


# --- more styles ------------------------------------------------------------------------------------------------------


@alternative("pca")
def pca_by_deflation(x, k):
    mean = x.mean(0)
    rest, directions, variances = torch.cov((x - mean).double().T, correction=0).view(x.shape[1], -1), [], []
    for _ in range(k):
        values, vectors = torch.linalg.eigh(rest)
        v = vectors[:, -1] * vectors[vectors[:, -1].abs().argmax(), -1].sign()
        directions.append(v)
        variances.append(values[-1])
        rest = rest - values[-1] * torch.outer(v, v)
    return mean, torch.stack(directions), torch.stack(variances)


@alternative("principal_angles")
def angles_with_tangents(a, b):
    p, q = torch.linalg.qr(a.double()).Q, torch.linalg.qr(b.double()).Q
    _, cosines, Vh = torch.linalg.svd(p.T @ q)
    nearest = q @ Vh.T
    return torch.atan2((nearest - p @ (p.T @ nearest)).norm(dim=0), cosines)


@alternative("elbo")
def elbo_with_logaddexp(x, logits, kl, beta):
    return (x * logits - torch.logaddexp(logits, torch.zeros_like(logits))).mean(0).sum(1) - beta * kl


@alternative("latent_walk")
def walk_as_a_product(start, end, steps):
    t = torch.arange(steps, dtype=start.dtype, device=start.device)[:, None] / (steps - 1)
    angle = torch.acos((start @ end / start.norm() / end.norm()).clip(-1, 1))
    if angle.sin() < 1e-3:
        return torch.lerp(start[None], end[None], t)
    return torch.cat([((1 - t) * angle).sin(), (t * angle).sin()], 1) / angle.sin() @ torch.stack([start, end])
