"""How fast the course's whole-batch SimCLR augmentation is, beside torchvision v2's in a DataLoader with two workers.

    python benchmarks/augment.py [--size 32] [--pictures 4096] [--batch 256] [--repeats 5]

One run, the same operations with the same ranges and chances on the same pictures; every repeat runs all in turn, the
table shows medians. torchvision has two worker processes (it changes one picture at a time, as its users do); the
course has one thread, then two. The workers' start is not counted.
"""

import argparse
import statistics
import time

import torch
import torchvision
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from course_utils import runtime
from course_utils.learn import augment


class Pictures(Dataset):
    """Pictures that change each time they are asked for."""

    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i])


def theirs(size, blur):
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(blur, (0.1, 2.0))], 0.5),
        ]
    )


def loader_seconds(loader):
    start = time.perf_counter()
    n = sum(len(batch) for batch in loader)
    return (time.perf_counter() - start) / n


def our_seconds(images, batch, generator, threads):
    torch.set_num_threads(threads)
    ours = augment.simclr(1.0)
    start = time.perf_counter()
    for part in images.split(batch):
        ours(part, generator)
    return (time.perf_counter() - start) / len(images)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    images = torch.rand(options.pictures, 3, options.size, options.size, generator=runtime.seed(0))
    blur = max(3, options.size // 10 // 2 * 2 + 1)
    there = Pictures(images, theirs(options.size, blur))
    loader = DataLoader(there, options.batch, num_workers=2, persistent_workers=True)
    generator, times = runtime.seed(1), {"torchvision": [], 1: [], 2: []}
    loader_seconds(loader)  # once, to warm up
    for _ in range(options.repeats):
        times["torchvision"].append(loader_seconds(loader))
        for threads in (1, 2):
            our_seconds(images[: options.batch], options.batch, generator, threads)
            times[threads].append(our_seconds(images, options.batch, generator, threads))
    rate = {name: 1 / statistics.median(values) for name, values in times.items()}
    print(f"{options.size} × {options.size}; torch {torch.__version__}, torchvision {torchvision.__version__}")
    print("| who | pictures/s | ratio |\n|---|---:|---:|")
    print(f"| torchvision v2, DataLoader, 2 workers | {rate['torchvision']:,.0f} | 1.0 |")
    for threads in (1, 2):
        ratio = rate[threads] / rate["torchvision"]
        print(f"| course, whole batches, {threads} thread{'s' * (threads > 1)} | {rate[threads]:,.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
