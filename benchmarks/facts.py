"""What models of tales keep: facts by grade and well-formed sentences, read by the judge in what each one writes.

    python benchmarks/facts.py [--texts 500] [--samples FILE]

A Markov chain of words, an LSTM, a small and a larger GPT write as many tales each, from nothing but the sign that one
begins. Nothing is selected. The table, its standard errors (texts are independent, sentences are not) and the learning
curves go to course_utils/results/tales.json; --samples writes the first ten tales of each model to a file.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from results import FOLDER, store

from course_utils import pretrained, runtime
from course_utils.data import tales
from course_utils.recipes.tales import CHAIN_ORDER, GRADES, chain, told_by

MODELS = ("tales-rnn", "tales-gpt-small", "tales-gpt")
LARGER, OTHERS = "tales-gpt", ("tales-gpt-small", "tales-rnn")  # that it has to beat
SHOWN = 10


def measured(texts):
    """Return what the judge finds in some texts, ready to be stored: each share with its error and count."""
    found = tales.score(texts)
    whole = [verdict.well_formed and verdict.holds for verdict in map(tales.judge, texts)]
    share = sum(whole) / len(whole)
    return {
        "texts": found.texts,
        "well formed": found.form._asdict(),
        "grades": {str(grade): found.kept[grade]._asdict() for grade in GRADES if grade in found.kept},
        "whole tales that hold": {
            "share": share, "error": math.sqrt(share * (1 - share) / len(whole)), "count": len(whole),
        },
    }  # fmt: skip


def chance(n=300):
    """Return, by grade, how often a fact is kept by whoever picks any fitting word of the tale, with errors."""
    found = {grade: [] for grade in GRADES}
    for tale in tales.write(n, runtime.seed(5)):
        for fact in tales.judge(tale.text, options=True).facts:
            if fact.grade in found:
                found[fact.grade].append(1 / (1 + len(fact.options)))
    return {str(grade): sum(values) / len(values) for grade, values in found.items() if values}


def ahead(report, first, second):
    """Return by grade how many standard errors of the difference the first model keeps more than the second."""
    a, b = (report["models"][name]["grades"] for name in (first, second))
    return {
        grade: (a[grade]["share"] - b[grade]["share"]) / math.hypot(a[grade]["error"], b[grade]["error"])
        for grade in a
        if grade in b and math.hypot(a[grade]["error"], b[grade]["error"]) > 0
    }


def report(n, temperature=1.0, shown=SHOWN, seed=10):
    """Let every model write; return what is stored, and the first tales of each."""
    found, samples = {}, {}
    for name in ("chain", *MODELS):
        if name == "chain":
            tokenizer = tales.tokenizer()
            model = chain(tokenizer)
            about = {"order": CHAIN_ORDER}
        else:
            model, tokenizer = pretrained.load(name)
            card = pretrained.card(name)
            about = {"parameters": card["parameters"], "processor_seconds": card.get("processor_seconds")}
            about["curve"] = card.get("curve")
        texts = told_by(model, tokenizer, n, seed, temperature)
        found[name] = about | measured(texts)
        samples[name] = texts[:shown]
    result = {"temperature": temperature, "models": found, "chance": chance()}
    result["ahead"] = {name: ahead(result, LARGER, name) for name in OTHERS}
    return result, samples


def table(result):
    """The shares as Markdown."""
    lines = ["| model | parameters | sentences well formed | " + " | ".join(f"grade {g}" for g in GRADES) + " |"]
    lines.append("|---|---:|" + "---:|" * (1 + len(GRADES)))
    for name, row in result["models"].items():
        shares = [row["well formed"], *(row["grades"].get(str(grade)) for grade in GRADES)]
        cells = [f"{share['share']:.3f} ± {share['error']:.3f}" if share else "none" for share in shares]
        size = f"{row['parameters']:,}" if "parameters" in row else f"order {row['order']}"
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    picked = [f"{result['chance'].get(str(grade), math.nan):.3f}" for grade in GRADES]
    lines.append(f"| any fitting word of the tale | | | {' | '.join(picked)} |")
    for name, steps in result["ahead"].items():
        gaps = ", ".join(f"grade {grade}: {step:.1f}" for grade, step in steps.items())
        lines.append(f"{LARGER} ahead of {name}, in standard errors: {gaps}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--temperature", type=float, default=1.0, help="1: as they learned it; below: safer")
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER / "tales.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    result, samples = report(options.texts, options.temperature)
    store(options.out, result, time.process_time() - start)
    print(table(result))
    if options.samples:
        parts = [f"{name}\n\n" + "\n\n".join(texts) for name, texts in samples.items()]
        options.samples.write_text("\n\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
