"""All words of the tales, and a tokenizer whose symbols they are.

    tokenizer = vocabulary.tokenizer()
    tokenizer.decode(tokenizer.encode(tale.text)) == tale.text

"The" and "the" are two words, so nothing is lost and no rule for capital letters is needed.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from course_utils.data.tales import grammar, parser

if TYPE_CHECKING:
    from course_utils.data.bpe import BPETokenizer


@functools.cache
def words() -> tuple[str, ...]:
    """Return every word and every mark that a tale can hold, including held-out names, in alphabetical order."""
    found = {"the", "The", "a", "A", "it", "It", "his", "her", "he", "she", "He", "She"}
    found.update(parser.CLASS, parser.DEEDS)
    found.update(word for preposition in parser.PREPOSITIONS for word in (preposition, preposition.capitalize()))
    for form in grammar.ALL:
        found.update(parser.TOKEN.findall(re.sub(r"\{\w+\}", " ", form.text)))
    return tuple(sorted(found))


def tokenizer() -> BPETokenizer:
    """Return a tokenizer of whole words, with the methods and special tokens of `BPETokenizer`.

    Codes 0 … 5 are <|endoftext|>, [PAD], [UNK], [CLS], [SEP] and [MASK]; a word that no tale holds becomes [UNK].
    """
    return word_tokenizer(words())


def word_tokenizer(words: tuple[str, ...]) -> BPETokenizer:
    """Return a tokenizer of these words and marks, with special tokens first."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    from course_utils.data.bpe import BERT_SPECIAL, END, BPETokenizer

    special = (END, *BERT_SPECIAL)
    codes = {word: code for code, word in enumerate((*special, *words))}
    backend = Tokenizer(models.WordLevel(codes, unk_token="[UNK]"))
    backend.add_special_tokens(list(special))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(parser.TOKEN.pattern), "isolated"),
        ]
    )
    tidy = [decoders.Replace(f" {mark}", mark) for mark in (*"”:;", ".", ",", "!", "?")]
    backend.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse(), decoders.Replace("“ ", "“"), *tidy]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, codes[name]) for name in ("[CLS]", "[SEP]")],
    )
    return BPETokenizer(backend)
