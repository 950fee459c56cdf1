"""How fast tales are told and judged, how often they repeat themselves, and how many facts of each grade they hold.

    python benchmarks/tales.py [--tales 5000] [--repeats 5]

Speeds are medians of processor time on one core, so that a machine that is busy with other things says the same.
"""

import argparse
import re
import statistics
import time
from collections import Counter

from course_utils import runtime
from course_utils.data import tales
from course_utils.data.tales import parser as reading


def per_second(work, count, repeats):
    took = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return count / statistics.median(took)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tales", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    n = options.tales
    told = tales.write(n, runtime.seed(0))  # and the forms are compiled
    texts = [tale.text for tale in told]
    generator = runtime.seed(1)
    telling = per_second(lambda: tales.write(n, generator), n, options.repeats)
    judging = per_second(lambda: list(map(tales.judge, texts)), n, options.repeats)
    print(f"| work | tales/s |\n|---|---:|\n| tell | {telling:,.0f} |\n| judge | {judging:,.0f} |")

    said = Counter(sentence for text in texts for _, sentence in reading.split(text))
    words = Counter(word for text in texts for word in reading.TOKEN.findall(text))
    lengths = [len(text.split()) for text in texts]
    names = re.compile(r"\b(" + "|".join(reading.CLASS) + r")\b")
    kinds_of_sentence = Counter(names.sub("…", sentence) for sentence in said.elements())
    (often, times), (pattern, uses) = said.most_common(1)[0], kinds_of_sentence.most_common(1)[0]
    print(f"\n{n:,} tales: {said.total() / n:.1f} sentences and {statistics.mean(lengths):.0f} words each")
    print(f"vocabulary: {len(tales.words())} words and marks, {len(words)} of them used")
    print(f"sentences that stand once only: {sum(count == 1 for count in said.values()) / said.total():.1%}")
    print(f"most frequent sentence: {times} of {said.total():,}: {often}")
    print(f"most frequent wording: {uses / kinds_of_sentence.total():.1%}: {pattern}")

    facts = Counter(fact.grade for tale in told for fact in tale.facts)
    rivals = [fact for tale in told[:1000] for fact in tale.cloze]
    print("\n| grade | facts per tale | with rivals in the tale | chance among them |\n|---:|---:|---:|---:|")
    for grade, count in sorted(facts.items()):
        found = [1 / (1 + len(fact.options)) for fact in rivals if fact.grade == grade]
        print(f"| {grade} | {count / n:.2f} | {len(found) / min(n, 1000):.2f} | {statistics.mean(found):.2f} |")


if __name__ == "__main__":
    main()
