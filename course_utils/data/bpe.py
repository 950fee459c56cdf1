"""Byte-pair encoding: pieces of words as symbols, learned by joining the most frequent neighbours, again and again.

    tokenizer = BPETokenizer.train(train.text, vocab_size=2048)
    codes = tokenizer.encode("the shape of the array")     # LongTensor (T,)
    tokenizer.decode(codes)

It starts from the 256 bytes, so every text can be encoded, whatever it was trained on. The file format is Hugging
Face's `tokenizer.json`, so `BPETokenizer.load` reads the hub's tokenizers as well.

Sources: R. Sennrich, B. Haddow and A. Birch, Neural Machine Translation of Rare Words with Subword Units (2016); on
bytes: A. Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.2.
"""

# ruff: noqa: F722  (jaxtyping writes shapes as strings)
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor

END = "<|endoftext|>"
GPT_SPECIAL = (END,)
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPECIAL = ("end", "pad", "unknown", "cls", "sep", "mask")  # the attributes for <|endoftext|> and BERT's tokens
LONGEST_WORD = 256  # bytes of a word that pieces are learned from; the rest counts as another word


class BPETokenizer:
    """Text ↔ whole numbers, by a `tokenizers.Tokenizer` (`backend`), with the course's `encode`, `decode` and `len`.

    The special tokens' codes are `end` (<|endoftext|>), `pad`, `unknown`, `cls`, `sep` and `mask`; None where there is
    no such token. Padding and cutting by the backend are switched off: `encode_batch` does both.

    Args:
        names: what the special tokens are called where BERT's names do not apply, for example {"pad": "<pad>"}.
    """

    def __init__(self, backend: Tokenizer, names: Mapping[str, str] | None = None):
        self.backend = backend
        backend.no_padding()  # a sentence encoder's file may ask for 128 tokens every time
        backend.no_truncation()
        called = {**dict(zip(SPECIAL, (END, *BERT_SPECIAL), strict=True)), **(names or {})}
        self.end, self.pad, self.unknown, self.cls, self.sep, self.mask = (
            backend.token_to_id(called[name]) for name in SPECIAL
        )
        self._codes = frozenset(backend.get_vocab(with_added_tokens=True).values())

    @classmethod
    def train(
        cls, texts: str | Iterable[str], vocab_size: int = 2048, special: Sequence[str] = GPT_SPECIAL
    ) -> BPETokenizer:
        """Learn the pieces from one text or several. The same texts give the same pieces.

        Args:
            vocab_size: the largest number of symbols: the special ones, 256 bytes, and the joined pairs.
            special: GPT_SPECIAL for a model that reads running text; BERT_SPECIAL for one that reads "[CLS] sentence
                [SEP]".

        Raises:
            ValueError: if `vocab_size` leaves no room for pairs, or the texts are too short to have any.
        """
        if vocab_size <= 256 + len(special):
            raise ValueError(
                f"vocab_size must be more than {256 + len(special)} (256 bytes and {len(special)} special tokens), "
                f"got {vocab_size}"
            )
        texts = [texts] if isinstance(texts, str) else texts
        pieces = (line for text in texts for line in _encodable(text).splitlines(True))
        backend = Tokenizer(models.BPE())
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)  # nothing is joined across words
        # The trainer's time grows with the square of a word's length, and Chinese has no spaces: learn from parts.
        backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.FixedLength(LONGEST_WORD)])
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(special),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        backend.train_from_iterator(pieces, trainer)
        backend.pre_tokenizer = words
        if backend.get_vocab_size() == 256 + len(special):
            raise ValueError("the text is too short: no pair of neighbours occurs twice; give a longer text")
        if "[CLS]" in special:
            backend.post_processor = processors.TemplateProcessing(
                single="[CLS] $A [SEP]",
                pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                special_tokens=[(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
            )
        return cls(backend)

    @classmethod
    def load(cls, path: str | os.PathLike) -> BPETokenizer:
        """Read a `tokenizer.json`, this class's or the hub's.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not a tokenizer.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer at {path.absolute()}: give the path of a tokenizer.json")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(f"{path} is not a tokenizer.json ({error}): fetch it or make it again") from None

    def save(self, path: str | os.PathLike) -> None:
        """Write `tokenizer.json`."""
        Path(path).write_text(self.backend.to_str(pretty=False), "utf-8")

    def __len__(self) -> int:
        """The number of symbols; where some codes have no symbol, the largest code plus one."""
        return max(self._codes, default=-1) + 1

    @property
    def unused(self) -> list[int]:
        """The codes in 0 … len - 1 that have no symbol. Most tokenizers have none."""
        return [code for code in range(len(self)) if code not in self._codes]

    def __repr__(self) -> str:
        return f"BPETokenizer({len(self)} symbols)"

    def encode(self, text: str) -> Int[Tensor, " time"]:
        """Return the codes of a text, with no special tokens added (but "[MASK]" in the text is that token).

        Raises:
            ValueError: if the text holds half a surrogate pair, as a damaged text may.
        """
        return torch.tensor(self.backend.encode(_encodable(text), add_special_tokens=False).ids, dtype=torch.long)

    def encode_batch(
        self, texts: Sequence[str], length: int | None = None
    ) -> tuple[Int[Tensor, "batch time"], Bool[Tensor, "batch time"]]:
        """Return the codes of several texts, padded on the right to the longest, and the mask of real tokens (True).

        Each text gets its special tokens (BERT's "[CLS] … [SEP]").

        Args:
            length: the most tokens a text may have, special ones included; a longer one is cut, and keeps its [SEP].

        Raises:
            ValueError: if there are no texts, or `length` is too small.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError("texts must be a list of at least one str: for a single text, encode_batch([text])")
        texts = list(map(_encodable, texts))
        rows = [encoding.ids for encoding in self.backend.encode_batch(texts, add_special_tokens=True)]
        if length is not None:
            end = [self.sep] if self.sep is not None and self.backend.post_processor is not None else []
            if length <= 2 * len(end):
                raise ValueError(f"length must leave room for at least one token of the text, got {length}")
            rows = [row if len(row) <= length else row[: length - len(end)] + end for row in rows]
        T = max(map(len, rows))
        size = torch.tensor(list(map(len, rows)))  # (B,)
        filler = self.pad if self.pad is not None else 0
        codes = torch.tensor([row + [filler] * (T - len(row)) for row in rows], dtype=torch.long)  # (B, T)
        return codes, torch.arange(T) < size[:, None]

    def decode(self, codes: Int[Tensor, " time"] | Sequence[int], skip_special: bool = False) -> str:
        """Return the text of codes (T,). Bytes that form no whole character become "\ufffd".

        Raises:
            ValueError: if a code has no symbol, or the shape is another.
        """
        codes = codes.tolist() if isinstance(codes, Tensor) else list(codes)
        if any(not isinstance(code, int) for code in codes):
            raise ValueError("codes must be whole numbers of shape (time,): decode one row at a time")
        if codes and not 0 <= min(codes) <= max(codes) < len(self):
            raise ValueError(f"codes must be in 0 … {len(self) - 1}, got {min(codes)} … {max(codes)}")
        if wrong := set(codes) - self._codes:
            raise ValueError(f"no symbol of this tokenizer has the code {min(wrong)}")
        return self.backend.decode(codes, skip_special_tokens=skip_special)

    def pieces(self, text: str) -> list[str]:
        """Return the pieces into which a text is cut, for inspection."""
        return [self.decode([code]) for code in self.encode(text).tolist()]


def _encodable(text: str) -> str:
    """Return the text.

    Raises:
        TypeError: if it is not a str.
        ValueError: if it cannot be written as UTF-8.
    """
    if not isinstance(text, str):
        raise TypeError(f"a text must be a str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text holds {text[error.start]!r} (place {error.start}): half of a surrogate pair, which has no "
            'bytes. Replace such halves, for example with text.encode("utf-8", "replace").decode()'
        ) from None
    return text
