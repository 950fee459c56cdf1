"""How many postcards are drawn in a second.

    python benchmarks/postcards.py [--cards 4000] [--repeats 5] [--sizes 32 64] [--threads 1 2]

Medians of processor time by default divided by the threads, so that a machine that is busy with other things says the
same; `--wall` takes the clock on the wall. On a GPU the clock is the wall's.
"""

import argparse
import statistics
import time

import torch

from course_utils import runtime
from course_utils.data import postcards


def seconds(n, size, device, wall):
    clock = time.perf_counter if wall or device.type != "cpu" else time.process_time
    start = clock()
    postcards.draw(n, runtime.seed(0), size=size, device=device)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--wall", action="store_true")
    options = parser.parse_args()
    device = runtime.device()
    print(f"{options.cards} cards with their captions, on {device}; torch {torch.__version__}")
    print("| size | threads | pictures/s |\n|---:|---:|---:|")
    for size in options.sizes:
        for threads in options.threads:
            torch.set_num_threads(threads)
            seconds(200, size, device, options.wall)
            took = statistics.median(seconds(options.cards, size, device, options.wall) for _ in range(options.repeats))
            share = 1 if options.wall or device.type != "cpu" else threads
            print(f"| {size} × {size} | {threads} | {options.cards / took * share:,.0f} |")


if __name__ == "__main__":
    main()
