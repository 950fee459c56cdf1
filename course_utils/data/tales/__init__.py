"""Tales: a small world of text, whose every fact is known.

    tales.write(1000, runtime.seed(0))             # each with .text, .facts, .cloze
    tales.judge(text)                              # any text, including one that a model wrote
    tales.marks(text)                              # what the judge found, as places in the text: kept, broken, odd
    tales.score(texts).kept                        # {grade: (share of facts kept, standard error, how many)}
    tales.questions.about(tale)                    # where is each, who has what, at the end?
    tales.questions.statements(2000, generator)    # a tale and a last sentence: true or false?
    tales.kinds.write(30_000, generator)           # another small world: words that differ and behave alike

Rooms: `lexicon` (who, what, where), `grammar` (every way to say something, read in both directions), `world` (its
rules, and the grades of facts), `teller`, `parser` (from a sentence to its form), `reader` (the judge), `vocabulary`
(all words, a tokenizer), `questions`, `kinds`.
"""

from course_utils.data.tales import kinds, questions
from course_utils.data.tales.reader import Fact, Score, Sentence, Share, Verdict, judge, marks, score
from course_utils.data.tales.teller import PLOTS, SPLITS, Tale, write
from course_utils.data.tales.vocabulary import tokenizer, words

__all__ = [
    "PLOTS", "SPLITS", "Fact", "Score", "Sentence", "Share", "Tale", "Verdict", "judge", "kinds", "marks", "questions",
    "score", "tokenizer", "words", "write",
]  # fmt: skip
