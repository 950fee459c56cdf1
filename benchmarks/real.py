"""What the lectures show on small worlds, asked again of real data and real models; the results are stored.

    course fetch --all                                   # once
    python benchmarks/real.py spam                       # or cifar, fashion, shakespeare, gpt2, clip

Each takes at most fifteen minutes of one core, prints a table, and writes course_utils/results/real/NAME.json, with
the date, the machine and the command: there `real.result("spam")` finds it, for a lecture to show where it cannot run.

    spam          messages, by labels per class: a real BERT's frozen features, this course's, word counts, from scratch
    cifar         photographs: SimCLR, SupCon, jigsaw and colour beside a random encoder, pixels and PCA, by labels
    fashion       pictures of clothes through 64 numbers: autoencoder, denoising, VAE, PCA
    shakespeare   bits per character against minutes: chain, LSTM, GPT
    gpt2          the same prompts to GPT-2 and to a larger one; which famous texts each knows by heart
    clip          photographs named by CLIP, which was never told these ten kinds
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

import results

from course_utils.data import real

SUBJECTS = {  # the module with a function of this name, and what it needs
    "spam": ("real_text", ("sms_spam", "all-MiniLM-L6-v2")),
    "cifar": ("real_pictures", ("cifar10",)),
    "fashion": ("real_pictures", ("fashion_mnist",)),
    "shakespeare": ("real_text", ("tiny_shakespeare",)),
    "gpt2": ("real_models", ("gpt2", "gpt2-medium")),
    "clip": ("real_models", ("clip-vit-base-patch32", "cifar10")),
}


def store(subject: str, found: dict, seconds: float, folder: Path) -> Path:
    """Write a result where `real.result` finds it."""
    return results.store(folder / f"{subject}.json", found, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s SUBJECT [options]"
    )
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--share", type=float, default=1.0, help="of the work, for a trial; it is not stored")
    parser.add_argument("--folder", type=Path, default=real.RESULTS, help="where the result is written")
    options = parser.parse_args()
    module, needed = SUBJECTS[options.subject]
    if said := real.missing(*needed):
        sys.exit(said)
    import torch

    torch.set_num_threads(1)
    run = getattr(importlib.import_module(module), options.subject)
    start = time.process_time()
    found = run(options.share)
    seconds = time.process_time() - start
    print(f"{seconds / 60:.1f} minutes of processor time")
    if options.share == 1:
        print(store(options.subject, found, seconds, options.folder))


if __name__ == "__main__":
    main()
