"""How fast the chains of `course_utils.models.ngram` count, score and write, beside the usual ways to do it.

    python benchmarks/ngram.py [--text FILE] [--repeats 7] [--processor-time]

One run, one thread each. Every repeat runs all contestants one after the other, so that a busy machine is unfair to
none; the table shows medians. The text is the course's own corpus, or a file, cut to 1.1 million characters.
"""

import argparse
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from course_utils.models.ngram import NGramModel

CHARACTERS = 1_100_000
CHAINS, LENGTH = 100, 100

try:
    import markovify
except ImportError:
    markovify = None


# --- the usual ways, order 2 ------------------------------------------------------------------------------------------


def numpy_codes(text: str) -> tuple[np.ndarray, int]:
    points = (
        np.frombuffer(text.encode(), np.uint8) if text.isascii() else np.frombuffer(text.encode("utf-32-le"), "<i4")
    )
    present = np.flatnonzero(np.bincount(points))
    table = np.zeros(present[-1] + 1, np.int64)
    table[present] = np.arange(len(present))
    return table[points], len(present)


def numpy_counts(codes: np.ndarray, size: int) -> np.ndarray:
    return np.bincount((codes[:-2] * size + codes[1:-1]) * size + codes[2:], minlength=size**3)


def dict_of_counter(text: str) -> dict[str, Counter]:
    followers = defaultdict(Counter)
    for i in range(2, len(text)):
        followers[text[i - 2 : i]][text[i]] += 1
    return followers


def sample_dict(followers: dict[str, Counter], draw: random.Random) -> list[str]:
    texts = []
    for _ in range(CHAINS):
        text = draw.choice(list(followers))
        while len(text) < LENGTH:
            counter = followers[text[-2:]]
            text += draw.choices(list(counter), list(counter.values()))[0] if counter else draw.choice("ab ")
        texts.append(text)
    return texts


# --- measuring --------------------------------------------------------------------------------------------------------


clock = time.perf_counter


def measure(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each; one round to warm up, then all of them in each round."""
    seconds = {name: [] for name in contestants}
    for round_number in range(repeats + 1):
        for name, run in contestants.items():
            start = clock()
            run()
            if round_number:
                seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def show(title: str, seconds: dict[str, float]) -> None:
    print(f"\n{title}")
    ours = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:<46}{value * 1e3:>10.2f} ms{value / ours:>9.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="a text file; default: the course's own corpus")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--processor-time", action="store_true", help="not the wall clock's: for a busy machine")
    arguments = parser.parse_args()
    if arguments.processor_time:
        global clock
        clock = time.process_time
    if arguments.text:
        text = arguments.text.read_text(encoding="utf-8")
    else:
        from course_utils.data.text import load

        text = load("docs").text
    text = text[:CHARACTERS]
    torch.set_num_threads(1)
    repeats = arguments.repeats
    codes, size = numpy_codes(text)
    tensor = torch.from_numpy(codes)
    assert np.array_equal(numpy_counts(codes, size), NGramModel(2).fit(text).counts.flatten().numpy())
    clock_name = "processor" if arguments.processor_time else "wall clock"
    print(
        f"{len(text):,} characters, {size} different; torch {torch.__version__}, numpy {np.__version__}, one thread;\n"
        f"median {clock_name} time of {repeats} rounds; × = how many times as long as the first line of its part"
    )

    show(
        "Order-2 counts from codes (int64)",
        measure(
            {
                "NGramModel(2).fit(codes, size)": lambda: NGramModel(2).fit(tensor, size),
                "numpy.bincount": lambda: numpy_counts(codes, size),
            },
            3 * repeats,
        ),
    )
    others = {
        "numpy: look-up table, bincount": lambda: numpy_counts(*numpy_codes(text)),
        "dict of Counter": lambda: dict_of_counter(text),
    }
    if markovify:
        others["markovify.Chain"] = lambda: markovify.Chain([text], 2)
    show(
        "Order-2 counts from text",
        measure({"NGramModel(2).fit(text)": lambda: NGramModel(2).fit(text), **others}, repeats),
    )

    model, generator, followers = NGramModel(2).fit(text), torch.Generator().manual_seed(0), dict_of_counter(text)
    temperatures = iter(np.linspace(0.5, 1.5, 10_000).tolist())
    others = {
        "the same, a new temperature each time": lambda: model.view().sample(
            LENGTH, CHAINS, next(temperatures), generator=generator
        ),
        "dict of Counter, random.choices": lambda: sample_dict(followers, random.Random(0)),
    }
    if markovify:
        chain = markovify.Chain([text[i : i + LENGTH] for i in range(0, len(text), LENGTH)], 2)
        others["markovify.Chain.walk"] = lambda: [chain.walk() for _ in range(CHAINS)]
    show(
        f"{CHAINS * LENGTH:,} characters written as {CHAINS} chains of {LENGTH}, order 2",
        measure({"NGramModel.sample": lambda: model.sample(LENGTH, CHAINS, generator=generator), **others}, repeats),
    )

    large = NGramModel(8, "witten-bell").fit(text)
    show(
        "All of the text, Witten-Bell",
        measure(
            {
                "order 2: fit": lambda: NGramModel(2, "witten-bell").fit(text),
                "order 2: bits_per_character": lambda: large.view(2).bits_per_character(text),
                "order 8: fit": lambda: NGramModel(8, "witten-bell").fit(text),
                "order 8: bits_per_character": lambda: large.bits_per_character(text),
                "order 8: sample 400 characters": lambda: large.sample(400, temperature=0.8, generator=generator),
                f"order 8: sample {CHAINS} × {LENGTH} characters": lambda: large.sample(
                    LENGTH, CHAINS, temperature=0.8, generator=generator
                ),
            },
            max(2, repeats // 2),
        ),
    )
    if not markovify:
        print("\nmarkovify is not installed, so it was not measured.")


if __name__ == "__main__":
    main()
