"""PCA beside a linear autoencoder trained by gradient descent: the same subspace? Both timed, one thread.

python benchmarks/pca.py [--samples 20000] [--inputs 784] [--latent 64] [--steps 1500]
"""

import argparse
import math
import time

import torch
from sklearn.decomposition import PCA

from course_utils import runtime
from course_utils.learn.evaluate import principal_angles
from course_utils.models.autoencoder import LinearAutoencoder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    g, D, k = runtime.seed(0), options.inputs, options.latent
    spread = torch.arange(1, D + 1) ** -0.5 * torch.where(torch.arange(D) < k, 1.0, 0.5)  # a step after the k-th
    turn = torch.linalg.qr(torch.randn(D, D, generator=g)).Q
    x = torch.randn(options.samples, D, generator=g) * spread @ turn

    start = time.perf_counter()
    pca = PCA(k, svd_solver="covariance_eigh").fit(x.numpy())
    exact_seconds = time.perf_counter() - start
    directions = torch.tensor(pca.components_).T

    start = time.perf_counter()
    model = LinearAutoencoder(x.mean(0), k, g)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in range(options.steps):
        batch = x[torch.randint(len(x), (512,), generator=g)]
        optimizer.zero_grad()
        ((model(batch) - batch) ** 2).sum(1).mean().backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    angles = principal_angles(model.decoder.weight.detach(), directions) * 180 / math.pi
    centred = x - x.mean(0)
    with torch.no_grad():
        errors = [((centred - centred @ directions @ directions.T) ** 2).mean(), ((model(x) - x) ** 2).mean()]
    print(f"{options.samples:,} × {D}, {k} components; largest principal angle {angles.max():.1f}°")
    print("| way | seconds | ratio | squared error |\n|---|---:|---:|---:|")
    for name, time_, error in zip(("PCA", "linear autoencoder"), (exact_seconds, seconds), errors):
        print(f"| {name} | {time_:.2f} | {time_ / exact_seconds:.1f} | {error:.5f} |")


if __name__ == "__main__":
    main()
