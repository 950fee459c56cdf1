"""CLIP: one encoder for pictures, one for captions, and one space in which a picture lies near its caption.

    tokenizer = WordTokenizer.fit(captions)
    model = CLIP(CLIPConfig(vocab_size=len(tokenizer)), generator)
    codes, mask = tokenizer.encode_batch(captions, model.config.context)
    loss = losses.clip_loss(*model(images, codes, mask))            # one step of training
    classes = zero_shot_classifier(model, tokenizer, [["a red car", "the red car"], ["a red house"]])   # (classes, dim)
    best = (model.encode_image(images) @ classes.T).argmax(1)       # a classifier that nobody trained

Letters in the shape comments: N pictures, M captions, T words, E numbers in the space that both share.
For a CLIP from the hub use `transformers.CLIPModel`.

Source: A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021).
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_utils.models.convnet import ConvNet, ConvNetConfig, small_encoder
from course_utils.models.finite import BROKEN_ENCODER, DIVERGED, check_finite
from course_utils.models.transformer import Config, Transformer, mean_pool

START_LOG_SCALE = math.log(1 / 0.07)  # the logits' scale is learned, as its logarithm; it starts here …
MAX_LOG_SCALE = math.log(100)  # … and may not grow beyond this (Radford et al., section 2.5)

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")  # letters and digits; "snow-white" is one word, "sea," is "sea"


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return WORD.findall(text.lower())


class WordTokenizer:
    """Words as whole numbers: 0 is padding, 1 any word that is not in the list.

    Args:
        words: the list, without repeats; words[i] has the code i + 2.

    Raises:
        ValueError: if a word is repeated, or is not a single lower-case word.
    """

    pad, unknown = 0, 1

    def __init__(self, words: Iterable[str]):
        self.words = tuple(words)
        self._codes = {word: code for code, word in enumerate(self.words, start=2)}
        if len(self._codes) < len(self.words):
            raise ValueError("the words must differ from one another")
        if wrong := [word for word in self.words if words_of(word) != [word]]:
            raise ValueError(f"these are not single lower-case words: {', '.join(map(repr, wrong[:5]))}")

    @classmethod
    def fit(cls, texts: Iterable[str], min_count: int = 1) -> WordTokenizer:
        """Return a tokenizer of all words that occur at least `min_count` times, in alphabetical order."""
        counts = Counter(word for text in texts for word in words_of(text))
        return cls(sorted(word for word, count in counts.items() if count >= min_count))

    def __len__(self) -> int:
        """The number of codes, with padding and unknown."""
        return len(self.words) + 2

    def encode(self, text: str) -> Int[Tensor, " time"]:
        """Return the codes of a text's words."""
        return torch.tensor([self._codes.get(word, self.unknown) for word in words_of(text)], dtype=torch.int64)

    def encode_batch(
        self, texts: Sequence[str], length: int | None = None, *, truncate: bool = False
    ) -> tuple[Int[Tensor, "batch time"], Bool[Tensor, "batch time"]]:
        """Return (codes, mask), padded on the right; the mask is True where there is a word.

        A text without words becomes a row of padding.

        Args:
            length: how many words a row has; None takes the longest text's.
            truncate: cut longer texts off at the end.

        Raises:
            ValueError: if `texts` is a single string, or a text is too long (the message quotes the first such text).
        """
        if isinstance(texts, str):
            raise ValueError("give a list of texts: [text]")
        rows = [self.encode(text) for text in texts]
        longest = max(map(len, rows), default=0)
        length = max(1, longest) if length is None else length
        if longest > length and not truncate:
            text = next(text for text, row in zip(texts, rows) if len(row) > length)
            raise ValueError(f"this text has more than {length} words: shorten it, or pass truncate=True: {text!r}")
        codes = torch.full((len(rows), length), self.pad)  # int64
        for into, row in zip(codes, rows):
            into[: len(row)] = row[:length]
        return codes, torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]

    def decode(self, codes: Iterable[int]) -> str:
        """Return the words of codes; padding is left out, an unknown word is "?"."""
        names = ["", "?", *self.words]
        return " ".join(names[int(code)] for code in codes if int(code) != self.pad)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that are not in the list."""
        return [word for word in words_of(text) if word not in self._codes]


@dataclass
class CLIPConfig:
    """The sizes of a small CLIP."""

    vocab_size: int  # of the captions' tokenizer
    context: int = 32  # the longest caption, in words
    dim: int = 64  # E, of the space that both encoders share
    image_width: int = 32  # of the ConvNet
    text_dim: int = 64
    text_layers: int = 2
    text_heads: int = 4

    def __post_init__(self):
        if self.dim < 1:
            raise ValueError(f"dim must be ≥ 1, got {self.dim}")
        self.image  # noqa: B018  the parts' own checks
        self.text  # noqa: B018

    @property
    def image(self) -> ConvNetConfig:
        return ConvNetConfig(width=self.image_width)

    @property
    def text(self) -> Config:
        return Config(self.vocab_size, self.context, self.text_dim, self.text_layers, self.text_heads)


class TextEncoder(Transformer):
    """The blocks of lecture 03 over a caption's words, each word seeing all others, and the mean of their vectors.

    (The paper's text encoder is causal, so that training could continue as a language model, and takes the last token.)
    """

    causal, pre_norm = False, True

    def __init__(self, config: Config, generator: torch.Generator | None = None):
        super().__init__(config)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.initialise(generator)

    def encode(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        *,
        maps: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch time dim"]:
        """Return one vector for each word.

        Args:
            mask: True for a word, False for padding.
            maps: a list that receives each layer's attention weights.
        """
        mask = self._check(tokens, mask)
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]  # (M, T, D)
        return self.norm(self.read(self.dropout(x), mask, None, maps))

    def forward(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return one vector for each caption; zeros for one without words."""
        return mean_pool(self.encode(tokens, mask), mask)


class CLIP(nn.Module):
    """Two encoders, each followed by one matrix into the shared space, and a learned temperature.

    Args:
        generator: where the initial weights are drawn from (CPU); None uses torch's global generator.

    Source: Radford et al. (2021), figure 3 and section 2.5.
    """

    def __init__(self, config: CLIPConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.image = ConvNet(config.image, generator)
        self.text = TextEncoder(config.text, generator)
        self.image_projection = nn.Linear(config.image.dim, config.dim, bias=False)
        self.text_projection = nn.Linear(config.text_dim, config.dim, bias=False)
        with torch.no_grad():
            for projection in (self.image_projection, self.text_projection):
                projection.weight.normal_(0, projection.in_features**-0.5, generator=generator)
        self.log_scale = nn.Parameter(torch.tensor(START_LOG_SCALE))  # ln(1 / temperature)

    @property
    def temperature(self) -> float:
        """What the cosines are divided by; at least 0.01."""
        return math.exp(-min(float(self.log_scale.detach()), MAX_LOG_SCALE))

    def encode_image(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim"]:
        """Return a vector of length 1 for each picture."""
        return nn.functional.normalize(self.image_projection(self.image(images)), dim=1)

    def encode_text(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Return a vector of length 1 for each caption (zeros for one without words).

        Args:
            mask: True for a word; None takes every code that is not padding.

        Raises:
            ValueError: if there are more than `context` words.
        """
        mask = tokens != WordTokenizer.pad if mask is None else mask
        return nn.functional.normalize(self.text_projection(self.text(tokens, mask)), dim=1)

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"], Float[Tensor, ""]]:
        """Return what `losses.clip_loss` needs: pictures' vectors, captions' vectors, ln(1 / temperature).

        In training, a log_scale that has grown beyond its bound is first set back to it.
        """
        if self.training:
            with torch.no_grad():
                self.log_scale.clamp_(max=MAX_LOG_SCALE)
        return self.encode_image(images), self.encode_text(tokens, mask), self.log_scale


def small_clip(captions: Iterable[str], generator: torch.Generator | None = None) -> tuple[CLIP, WordTokenizer]:
    """Return a CLIP for pictures that show one small thing anywhere, and the tokenizer of the captions' words.

    It is trained in assignment 8. Its encoder of pictures is `small_encoder()`, drawn as torch's layers draw theirs.

    Args:
        captions: all that are trained on.
        generator: where the other initial weights are drawn from (CPU); None uses torch's global generator.
    """
    tokenizer = WordTokenizer.fit(captions)
    model = CLIP(CLIPConfig(len(tokenizer), image_width=16, text_dim=32, text_layers=1), generator)
    model.image = small_encoder()  # (N, 3, H, W) -> (N, 64)
    return model, tokenizer


@torch.no_grad()
def zero_shot_classifier(
    model: CLIP, tokenizer: WordTokenizer, prompts: Sequence[str | Sequence[str]]
) -> Float[Tensor, "classes dim"]:
    """Return a vector of length 1 for each class: the direction of the mean of its prompts' vectors.

    The best class of a picture is the largest of `model.encode_image(images) @ classes.T`. The model is used in eval
    mode and left in the mode it was in.

    Args:
        prompts: for each class one text, or several (a prompt ensemble).

    Raises:
        ValueError: if a class has no prompts, or the model's vectors are not finite.

    Source: Radford et al. (2021), section 3.1.4.
    """
    groups = [[group] if isinstance(group, str) else list(group) for group in prompts]
    if not groups or not all(groups):
        raise ValueError("every class needs at least one prompt")
    device, training = model.log_scale.device, model.training
    model.eval()
    found = []
    for group in groups:
        codes, mask = tokenizer.encode_batch(group)
        found.append(model.encode_text(codes.to(device), mask.to(device)).mean(0))  # (prompts, E) -> (E,)
    model.train(training)
    classes = nn.functional.normalize(torch.stack(found), dim=1)
    check_finite(classes, "the vectors of the classes", DIVERGED)
    return classes


def recall_at_k(
    similarity: Float[Tensor, "queries items"], k: int, relevant: Bool[Tensor, "queries items"] | None = None
) -> float:
    """Return the share of queries that have a relevant item among the k most similar ones.

    Of equals, those with the smaller number come first. By chance, with one relevant item each, it is k / items. For
    captions to pictures, transpose.

    Args:
        relevant: which items answer a query; None means that item i answers query i.

    Raises:
        ValueError: unless 1 ≤ k ≤ items; if the shapes do not match, a query has no answer, or for NaN.
    """
    if similarity.ndim != 2 or not 1 <= k <= similarity.shape[1]:
        raise ValueError(f"k must be between 1 and the number of items, got k = {k}, shape {tuple(similarity.shape)}")
    if relevant is None:
        if similarity.shape[0] > similarity.shape[1]:
            raise ValueError(
                f"item i answers query i, but there are {tuple(similarity.shape)} of them: give `relevant`"
            )
        relevant = torch.eye(*similarity.shape, dtype=torch.bool, device=similarity.device)
    if relevant.shape != similarity.shape or not relevant.any(1).all():
        raise ValueError("relevant must have the similarity's shape and at least one True in each row")
    check_finite(similarity, "the similarities", BROKEN_ENCODER)
    nearest = similarity.argsort(dim=1, descending=True, stable=True)[:, :k]  # (queries, k)
    return int(relevant.gather(1, nearest).any(1).sum()) / len(relevant)
