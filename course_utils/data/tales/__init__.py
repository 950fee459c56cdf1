"""Tales: a small world of text, whose every fact is known.

    tales = write(1000, runtime.seed(0))           # tales[0].text, .facts, .inside
    verdict = judge(text)                          # any text, also one that a model wrote
    score(texts).kept                              # {grade: (share of facts kept, standard error, how many)}

Rooms: `lexicon` (who, what, where), `grammar` (every way to say something, read in both directions), `world` (its
rules, and the grades of facts), `teller`, `reader` (the judge), `vocabulary` (all words, a tokenizer).
"""

from course_utils.data.tales.reader import Fact, Score, Sentence, Verdict, judge, score
from course_utils.data.tales.teller import PLOTS, SPLITS, Tale, write
from course_utils.data.tales.vocabulary import tokenizer, words

__all__ = [
    "PLOTS", "SPLITS", "Fact", "Score", "Sentence", "Tale", "Verdict", "judge", "score", "tokenizer", "words", "write",
]  # fmt: skip
