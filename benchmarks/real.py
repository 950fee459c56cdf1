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
import json
import os
import platform
import sys
import time
from pathlib import Path

from course_utils.data import real

SUBJECTS = {  # the module with a function of this name, and what it needs
    "spam": ("real_text", ("sms_spam", "all-MiniLM-L6-v2")),
    "cifar": ("real_pictures", ("cifar10",)),
    "fashion": ("real_pictures", ("fashion_mnist",)),
    "shakespeare": ("real_text", ("tiny_shakespeare",)),
    "gpt2": ("real_models", ("gpt2", "gpt2-medium")),
    "clip": ("real_models", ("clip-vit-base-patch32", "cifar10")),
}


def machine() -> str:
    """The processor, how many threads are used, and the version of torch."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    import torch

    return f"{name}, {torch.get_num_threads()} thread, torch {torch.__version__}"


def rounded(found):
    """The same with five digits behind the point: none is known better."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [rounded(value) for value in found]
    return round(found, 5) if isinstance(found, float) else found


def store(subject: str, found: dict, seconds: float, folder: Path) -> Path:
    """Write a result, whole or not at all."""
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "command": f"python benchmarks/real.py {' '.join(sys.argv[1:])}",
        "processor_seconds": round(seconds),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{subject}.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(about | rounded(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


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
