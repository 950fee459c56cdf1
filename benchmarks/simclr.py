"""SimCLR on real pictures with three minutes of one core, judged by a linear probe beside what needs no training.

    python benchmarks/simclr.py --images FOLDER [--seconds 180] [--batch 128] [--size 24]

FOLDER has train/ and test/, each with one folder of 32 × 32 pictures for each class. Only SimCLR's training is
counted, in processor time; it sees no label. Every row of the table is the same probe on the same pictures, with its
regulariser chosen on a fifth of the training part. "All layers" are the maps of every layer of the encoder, averaged
over the picture's four quarters; "the last layer" is its mean over all places, the encoder's plain output.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torchvision.io import ImageReadMode, read_image

from course_utils import runtime
from course_utils.learn import augment, evaluate, losses, train
from course_utils.models.convnet import ConvNet, projection_head


def read(folder):
    """Return pictures (N, 3, H, W) as bytes, and labels (N,)."""
    files = [(file, k) for k, c in enumerate(sorted(folder.iterdir())) for file in sorted(c.glob("*.*"))]
    images = torch.stack([read_image(str(file), ImageReadMode.RGB) for file, _ in files])
    return images, torch.tensor([k for _, k in files])


def simclr(images, options):
    """Return an encoder that was trained for so many seconds of processor time, and the number of steps."""
    g = runtime.seed(0)
    encoder = ConvNet(generator=g)
    head = projection_head(encoder.config.dim, 64, g)
    views = augment.Compose(  # smaller than the pictures: twice as many steps, and objects of the size that they have
        augment.CropResize((0.2, 1.0), flip=0.5, size=options.size),
        augment.ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augment.ColourDrop(p=0.2),
    )
    model = torch.nn.Sequential(encoder, head)
    optimizer = train.adamw(model, options.lr, weight_decay=0.05, betas=(0.9, 0.95))
    start, steps, order = time.process_time(), 0, torch.empty(0, dtype=torch.long)
    while (done := (time.process_time() - start) / options.seconds) < 1:
        for group in optimizer.param_groups:  # up in the first twentieth, then down half a cosine
            group["lr"] = options.lr * min(1, 20 * done) * 0.5 * (1 + math.cos(math.pi * done))
        if len(order) < options.batch:
            order = torch.randperm(len(images), generator=g)
        rows, order = order[: options.batch], order[options.batch :]
        both = torch.cat(augment.two_views(images[rows].float() / 255, views, g))  # (2 N, 3, size, size)
        loss = losses.nt_xent(*model(both - 0.5).chunk(2), options.temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return encoder, steps


def all_layers(encoder):
    """Return a function from pictures to the maps of all layers, averaged over the picture's quarters."""

    def quarters(x):
        found = []
        for layer in encoder.layers:
            x = layer(x)
            found.append(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return torch.cat(found, dim=1)  # (N, 4 · sum of the layers' channels)

    return quarters


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--temperature", type=float, default=0.3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = [read(options.images / part) for part in ("train", "test")]
    trained, steps = simclr(parts[0][0], options)
    print(
        f"{len(parts[0][0]):,} pictures to train on, {len(parts[1][0]):,} to test; {steps:,} steps of {options.batch}"
    )
    contestants = {}
    for name, encoder in (("SimCLR", trained), ("random encoder", ConvNet(generator=runtime.seed(0)))):
        encoder.eval()
        contestants |= {f"{name}, all layers": all_layers(encoder), f"{name}, the last layer": encoder}
    pca = PCA(64, svd_solver="covariance_eigh").fit(parts[0][0].flatten(1).float().numpy() / 255)
    mean, directions = torch.tensor(pca.mean_), torch.tensor(pca.components_).T
    contestants |= {
        "pixels": lambda x: x.flatten(1),
        "PCA, 64": lambda x: ((x + 0.5).flatten(1) - mean) @ directions,
    }
    print("| features | numbers | right, % | error | regulariser |\n|---|---:|---:|---:|---:|")
    for name, encoder in contestants.items():
        (x, y), (x_test, y_test) = (
            (torch.cat([evaluate.features(encoder, p.float() / 255 - 0.5) for p in images.split(1000)]), labels)
            for images, labels in parts
        )
        probe = evaluate.linear_probe(x, y, x_test, y_test, l2=(1e-1, 3e-2, 1e-2, 3e-3), generator=runtime.seed(0))
        row = f"| {name} | {x.shape[1]:,} | {100 * probe.score:.1f} | {100 * probe.error:.1f} | {probe.l2:g} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
