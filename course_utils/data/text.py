"""Text to learn from: docstrings of the course's own libraries (no download), any text file, and two public corpora.

corpus = text.load("docs")                 # English sentences from five libraries
train, held_out = corpus.split(0.1)        # by object, no sentence in both
codes = text.CharTokenizer.from_text(train.text).encode(train.text)
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import random
import re
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy
import regex

from course_utils import runtime
from course_utils.data import cache, docstrings, download, text_files

if TYPE_CHECKING:
    import torch

LIBRARIES = ("numpy", "scipy", "sklearn", "matplotlib", "torchvision")
"""Import names of the libraries whose docstrings make the corpus "docs"."""

DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where the package to install has another name
HELD_OUT = 0.2  # of the labelled sentences


@dataclass(frozen=True)
class Document:
    """What one object says: `name` ("numpy.linalg._linalg.norm"), `source` (a file or an address) and `text`."""

    name: str
    source: str
    text: str

    @property
    def label(self) -> str:
        """What a classifier could predict, the first part of the name: "numpy", or "spam" for "spam/17"."""
        return self.name.replace("/", ".").partition(".")[0]


@dataclass(frozen=True)
class Corpus:
    """A named list of documents in a fixed order. In view "prose", each line of a document is a paragraph."""

    name: str
    documents: list[Document]
    view: str = "raw"

    @functools.cached_property
    def text(self) -> str:
        """All documents, with an empty line between each two."""
        return "\n\n".join(document.text for document in self.documents)

    def __repr__(self) -> str:
        characters = sum(len(document.text) for document in self.documents)
        return f"Corpus({self.name!r}, {len(self.documents):,} documents, {characters:,} characters)"

    def split(self, held_out: float = 0.1, seed: int = 0) -> tuple["Corpus", "Corpus"]:
        """Split into training and held-out documents.

        Documents that say the same are counted once. In prose, a held-out document also loses the sentences that occur
        in a training document, word for word or nearly so, so that no model can score by having seen them. Which
        documents are held out depends only on the seed and on the documents with the same label: "docs" and "numpy"
        hold out the same part of numpy. A single document (a text file) is cut in two at the end of a line.

        Args:
            held_out: about what share of each label's characters, between 0 and 1.

        Returns:
            The training corpus and the held-out corpus.

        Raises:
            ValueError: if the share is out of range, or leaves one part empty.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be a share between 0 and 1, such as 0.1, got {held_out}")
        if len(self.documents) == 1:
            train, rest = _cut(self.documents[0], held_out)
        else:
            said: dict[str, set[str]] = {document.label: set() for document in self.documents}
            unique = [d for d in self.documents if _first(d, said[d.label])]
            chosen = _draw(unique, held_out, seed)
            seen: set[str] = set()
            train = [d for i, d in enumerate(unique) if i not in chosen and _first(d, seen)]
            rest = [d for i, d in enumerate(unique) if i in chosen and _first(d, seen)]
            if self.view == "prose":
                rest = _without_seen(rest, train)
        if not train or not rest:
            raise ValueError(f"cannot hold out {held_out} of {self!r}: use more documents, or a share nearer to 0.5")
        return Corpus(f"{self.name} (train)", train, self.view), Corpus(f"{self.name} (held out)", rest, self.view)


def _cut(document: Document, held_out: float) -> tuple[list[Document], list[Document]]:
    at = round(len(document.text) * (1 - held_out))
    at = document.text.rfind("\n", 0, at) + 1 or at
    return tuple(
        [Document(document.name, document.source, part)] if part else []
        for part in (document.text[:at], document.text[at:])
    )


def _draw(documents: list[Document], held_out: float, seed: int) -> set[int]:
    """The numbers of the held-out documents: drawn by a hash of seed and name until the label's share is full."""
    ranked = sorted(
        range(len(documents)), key=lambda i: hashlib.sha256(f"{seed} {documents[i].name}".encode()).digest()
    )
    share: dict[str, float] = {}
    for document in documents:
        share[document.label] = share.get(document.label, 0) + held_out * len(document.text)
    wanted = dict(share)
    chosen = set()
    for i in ranked:
        label, length = documents[i].label, len(documents[i].text)
        if wanted[label] > 0 and length <= max(2 * wanted[label], 0.1 * share[label]):
            wanted[label] -= length
            chosen.add(i)
    return chosen


_NO_LETTERS = str.maketrans(dict.fromkeys(string.punctuation + string.digits, " "))


def _key(text: str) -> str:
    """The same for two texts that say the same: their words in lower case, without numbers or punctuation."""
    return " ".join(text.lower().translate(_NO_LETTERS).split()) or text


def _first(document: Document, seen: set[str]) -> bool:
    """Whether no document before it said the same; `seen` remembers."""
    before = len(seen)
    seen.add(_key(document.text))
    return len(seen) > before


def _sentences(prose: str) -> list[str]:
    return [sentence for line in prose.split("\n") for sentence in docstrings.split_sentences(line)]


def _runs(key: str) -> set[tuple[str, str, str]]:
    """The runs of three words in a sentence's key."""
    found = key.split(" ")
    return set(zip(found, found[1:], found[2:], strict=False))


def _without_seen(documents: list[Document], train: list[Document]) -> list[Document]:
    """Prose documents without the sentences that `train` has: the same key, or one that shares 70 % of its runs."""
    seen = {_key(sentence) for document in train for sentence in _sentences(document.text)}
    new = {_key(sentence) for document in documents for sentence in _sentences(document.text)} - seen
    places: dict[tuple[str, str, str], list[int]] = {run: [] for key in new for run in _runs(key)}
    for number, key in enumerate(seen):
        for run in _runs(key) & places.keys():
            places[run].append(number)
    for key in new:
        runs = _runs(key)
        hits = Counter(number for run in runs for number in places[run])
        if hits and max(hits.values()) >= 0.7 * len(runs):
            seen.add(key)
    kept = []
    for document in documents:
        paragraphs = (docstrings.split_sentences(line) for line in document.text.split("\n"))
        lines = (" ".join(sentence for sentence in found if _key(sentence) not in seen) for found in paragraphs)
        text = "\n".join(filter(None, lines))
        if text:
            kept.append(Document(document.name, document.source, text))
    return kept


# --- loading ----------------------------------------------------------------------------------------------------------


def load(name_or_path: str | os.PathLike = "docs", *, view: Literal["prose", "raw"] = "prose") -> Corpus:
    """Return a corpus: "docs" (five libraries), one of LIBRARIES, "tiny_shakespeare", "sms_spam", or a text file.

    The public corpora are downloaded once. The first call reads the libraries' files (seconds), later ones a cache
    (milliseconds). A text file must be UTF-8, or have a byte-order mark (UTF-16, UTF-32).

    Args:
        view: for the libraries. "prose" keeps the English sentences of docstrings (ASCII, one line per paragraph);
            "raw" keeps docstrings as they are.

    Raises:
        OSError: if a file is missing or unreadable, or a download is not available at any address.
        ValueError: if a file is empty or not text.
    """
    if view not in ("prose", "raw"):
        raise ValueError(f'view must be "prose" or "raw", got {view!r}')
    if name_or_path == "docs":
        return _docstrings("docs", LIBRARIES, view)
    for library in LIBRARIES:
        if name_or_path in (library, DISTRIBUTIONS.get(library, library)):
            return _docstrings(library, (library,), view)
    if name_or_path in download.KNOWN:
        return Corpus(name_or_path, [Document(*found) for found in download.documents(name_or_path)])
    return _file(name_or_path)


def _file(name_or_path: str | os.PathLike) -> Corpus:
    choice = f"give the path of a UTF-8 text file, or one of {', '.join(('docs', *LIBRARIES, *download.KNOWN))}"
    path = Path(name_or_path).expanduser()
    shown = str(path) if len(str(path)) < 200 else f"{str(path)[:200]}…"
    try:
        if path.is_dir():
            raise IsADirectoryError
        if path.exists() and not path.is_file():  # it may never end
            raise OSError("it is a pipe or a device")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no text file {shown} in {Path.cwd()}: {choice}") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"{shown} is a folder: {choice}") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot read {shown} ({reason}): make the file readable, or {choice}") from None
    text = text_files.decode(content, path)
    if not text.strip():
        raise ValueError(f"{shown} holds no text ({len(content)} bytes): {choice}")
    return Corpus(path.stem, [Document(path.stem, str(path), text)])


_loaded: dict[str, list[Document]] = {}  # name of a file in the cache -> its documents


def _docstrings(name: str, libraries: Sequence[str], view: str) -> Corpus:
    files = {library: _cache_file(library, view) for library in libraries}
    for file in files.values():
        if file not in _loaded and (documents := _read_cache(file)):
            _loaded[file] = documents
    missing = [library for library, file in files.items() if file not in _loaded]
    for (library, each), documents in _read_packages(missing).items():
        file = _cache_file(library, each)
        _loaded[file] = documents
        _write_cache(file, documents)
    return Corpus(name, [document for file in files.values() for document in _loaded[file]], view)


def _folder(library: str) -> Path:
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{library} is not installed, so its docstrings cannot be read: run `make lab` once")
    return Path(next(iter(spec.submodule_search_locations)))


@functools.cache
def _fingerprint(module_file: str) -> str:
    return hashlib.sha256(Path(module_file).read_bytes()).hexdigest()[:12]


def _cache_file(library: str, view: str) -> str:
    """A file named after the versions of the package and of the rules, so that neither can change unnoticed."""
    _folder(library)
    version = importlib.metadata.version(DISTRIBUTIONS.get(library, library))
    return f"docstrings/{library}-{version}-{view}-{_fingerprint(docstrings.__file__)}.txt"


def _read_cache(file: str) -> list[Document] | None:
    content = cache.read_checked(file)
    if content is None:
        return None
    header, _, body = content.partition(b"\n")
    names, sources, ends = json.loads(header)
    body = body.decode()
    pieces = zip(names, sources, [0, *ends], ends, strict=False)
    return [Document(name, source, body[start:end]) for name, source, start, end in pieces]


def _write_cache(file: str, documents: list[Document]) -> None:
    ends, at = [], 0
    for document in documents:
        at += len(document.text)
        ends.append(at)
    header = json.dumps([[d.name for d in documents], [d.source for d in documents], ends])
    cache.write_checked(file, header.encode() + b"\n" + "".join(d.text for d in documents).encode())


def _read_packages(libraries: Sequence[str]) -> dict[tuple[str, str], list[Document]]:
    """(library, view) -> documents, from the files of the installed packages."""
    folders = {library: _folder(library) for library in libraries}
    jobs = [
        (str(path), library, str(folder))
        for library, folder in folders.items()
        for path in docstrings.source_files(folder)
    ]
    found: dict[tuple[str, str], list[Document]] = {
        (library, view): [] for library in libraries for view in ("prose", "raw")
    }
    for (_, library, _), objects in zip(jobs, _read_files(jobs), strict=True):
        for name, source, raw, prose in objects:
            found[library, "raw"].append(Document(name, source, raw))
            if prose:
                found[library, "prose"].append(Document(name, source, prose))
    return found


def _read_files(jobs: Sequence[tuple[str, str, str]]) -> list[list]:
    """`docstrings.read_file` for each job, by one worker process per core; whatever they leave undone is done here."""
    sizes = [os.path.getsize(path) + 2000 for path, _, _ in jobs]
    shares: list[list[int]] = [[] for _ in range(min(runtime.cores(), 8))]
    loads = [0] * len(shares)
    for i in sorted(range(len(jobs)), key=sizes.__getitem__, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(i)
        loads[least] += sizes[i]
    workers = [_start([jobs[i] for i in share]) if share else None for share in shares]
    results: list[list | None] = [None] * len(jobs)
    try:
        for share, worker in zip(shares, workers, strict=True):
            for i, objects in zip(share, _answer(worker, len(share)), strict=True):
                results[i] = objects
    finally:
        for worker in workers:
            if worker is not None and worker.poll() is None:
                worker.kill()
    return [docstrings.read_file(*job) if found is None else found for job, found in zip(jobs, results, strict=True)]


def _start(jobs: Sequence[tuple[str, str, str]]) -> subprocess.Popen | None:
    """A worker that has its jobs, or None where no process can be started (as in some sandboxes)."""
    command = [sys.executable, "-I", "-S", docstrings.__file__]
    try:
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, TypeError):
        return None
    try:
        worker.stdin.write(json.dumps(jobs).encode())
        worker.stdin.close()
    except OSError:  # it has died already
        pass
    return worker


def _answer(worker: subprocess.Popen | None, count: int) -> list[list | None]:
    if worker is not None:
        output = worker.stdout.read()
        worker.stdout.close()
        try:
            answer = json.loads(output) if worker.wait() == 0 else []
        except ValueError:
            answer = []
        if len(answer) == count:
            return answer
    return [None] * count


# --- sentences --------------------------------------------------------------------------------------------------------

# A sentence that names a library gives away who wrote it, so it makes no fair question.
GIVEAWAYS = re.compile(r"numpy|scipy|sklearn|scikit|matplotlib|pyplot|pylab|torch|\b(?:np|sp|plt|mpl)\b", re.IGNORECASE)


def sentences(corpus: Corpus) -> list[str]:
    """Return the sentences of a corpus, in order. None crosses an empty line or, in prose, the end of a line."""
    if corpus.view == "prose":
        return [sentence for document in corpus.documents for sentence in _sentences(document.text)]
    paragraphs = (p for document in corpus.documents for p in re.split(r"\n\s*\n", document.text))
    return [sentence for p in paragraphs for sentence in docstrings.split_sentences(" ".join(p.split()))]


@functools.cache
def _labelled(file: str) -> dict[str, dict[str, list[str]]]:
    """part -> library -> sentences: what `labelled_sentences` draws from, cached in `file`."""
    content = cache.read_checked(file)
    if content is not None:
        return json.loads(content)
    docs = _docstrings("docs", LIBRARIES, "prose")  # not `load`, which an exercise may forbid
    written_by: dict[str, set[str]] = {}
    for document in docs.documents:
        for sentence in _sentences(document.text):
            written_by.setdefault(_key(sentence), set()).add(document.label)
    parts = dict(zip(("train", "held_out"), docs.split(HELD_OUT, seed=0), strict=True))
    found = {part: {library: [] for library in LIBRARIES} for part in parts}
    for part, corpus in parts.items():
        for document in corpus.documents:
            for sentence in _sentences(document.text):
                fits = 40 <= len(sentence) <= 200 and not GIVEAWAYS.search(sentence)
                if fits and len(written_by.pop(_key(sentence), ())) == 1:  # popped: each sentence is taken once
                    found[part][document.label].append(sentence)
    cache.write_checked(file, json.dumps(found).encode())
    return found


def _pool(part: str, libraries: Iterable[str]) -> dict[str, list[str]]:
    libraries = (libraries,) if isinstance(libraries, str) else tuple(libraries)
    if not libraries or len(set(libraries)) < len(libraries) or not set(libraries) <= set(LIBRARIES):
        raise ValueError(f"libraries must be different names out of {', '.join(LIBRARIES)}, got {libraries}")
    if part not in ("train", "held_out"):
        raise ValueError(f'part must be "train" or "held_out", got {part!r}')
    made_from = [_cache_file(library, "prose") for library in LIBRARIES] + [_fingerprint(__file__)]
    found = _labelled(f"docstrings/labelled-{hashlib.sha256(repr(made_from).encode()).hexdigest()[:12]}.json")[part]
    return {library: found[library] for library in libraries}


def labelled_sentences(
    part: Literal["train", "held_out"] = "train",
    libraries: Iterable[str] = LIBRARIES,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[list[str], list[str]]:
    """Return sentences, and for each the library it was written for; equally many from each library.

    A sentence has 40 … 200 characters, occurs once, in one part and for one library only, and names no library: those
    that do (GIVEAWAYS) are left out. A fifth of the objects is held out, always the same, whatever `libraries` and
    `seed` are.

    Args:
        limit: at most how many per library; None takes as many as the smallest library has.
        seed: decides which are drawn, and in what order.

    Raises:
        ValueError: if a name is unknown, or `limit` is below 1.
    """
    pool = _pool(part, libraries)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be a number of sentences per library, at least 1, got {limit}")
    count = min(min(map(len, pool.values())), limit or sys.maxsize)
    draw = random.Random(seed)
    pairs = [(sentence, library) for library, found in pool.items() for sentence in draw.sample(found, count)]
    draw.shuffle(pairs)
    return [sentence for sentence, _ in pairs], [library for _, library in pairs]


def training_texts(libraries: Iterable[str] = LIBRARIES, characters: int = 30_000) -> dict[str, str]:
    """Return at most `characters` characters of each library's text: whole sentences, one per line, in random order.

    They come from `labelled_sentences("train")`, so none is in its held-out part. The order is always the same. A
    library that has less text gives all it has.

    Raises:
        ValueError: if `characters` is too small for a single sentence.
    """
    texts = {}
    for library, found in _pool("train", libraries).items():
        kept, length = [], 0
        for sentence in random.Random(0).sample(found, len(found)):
            if length + len(sentence) > characters:
                break
            kept.append(sentence)
            length += len(sentence) + 1
        texts[library] = "\n".join(kept)
    if not all(texts.values()):
        raise ValueError(f"{characters} characters are too few for a single sentence: ask for at least 200")
    return texts


# --- symbols ----------------------------------------------------------------------------------------------------------


def shannon(text: str) -> str:
    """Return a text in Shannon's 27 symbols, a–z and space: lower case, every run of anything else as one space.

    Source: C. E. Shannon, A Mathematical Theory of Communication (1948), section 3.
    """
    return re.sub("[^a-z]+", " ", text.lower()).strip()


# A letter, then letters and the marks on them (हिन्दी; é as e and an accent); joiners (Persian) only between these.
_LETTERS = r"\p{L}(?:[\u200c\u200d]*[\p{L}\p{M}])*"
_WORD = regex.compile(rf"{_LETTERS}(?:['’]{_LETTERS})*")


def words(text: str) -> list[str]:
    """Return the words of a text in order, in lower case, without punctuation or numbers; "don't" is one word.

    A mark stays with its letter, so "हिन्दी" is one word. Soft hyphens, which nobody sees, are left out.
    """
    return _WORD.findall(text.lower().replace("\u00ad", ""))


class CharTokenizer:
    """Characters ↔ whole numbers: the code of a character is its place in `alphabet`, a string of different characters.

    Args:
        unknown: a character of the alphabet that stands for all characters outside it; without one, these are an error.

    Raises:
        ValueError: if the alphabet is empty, holds a character twice, or lacks `unknown`.
    """

    def __init__(self, alphabet: str, unknown: str | None = None):
        if not alphabet:
            raise ValueError(
                "the alphabet is empty: give the characters that may occur, or use CharTokenizer.from_text"
            )
        if len(set(alphabet)) < len(alphabet):
            twice = next(c for c in alphabet if alphabet.count(c) > 1)
            raise ValueError(f"the alphabet holds {twice!r} more than once: each character needs a code of its own")
        if unknown is not None and (len(unknown) != 1 or unknown not in alphabet):
            raise ValueError(f"unknown must be one character of the alphabet, got {unknown!r}")
        self.alphabet = alphabet
        self.unknown = unknown
        self._points = _code_points(alphabet)
        self._codes = numpy.full(self._points.max() + 2, -1 if unknown is None else alphabet.index(unknown))
        self._codes[self._points] = numpy.arange(len(alphabet))  # the last place is that of all higher code points

    @classmethod
    def from_text(cls, text: str, unknown: str | None = None) -> "CharTokenizer":
        """Return a tokenizer whose alphabet is the sorted characters of `text` (and `unknown`)."""
        return cls("".join(sorted(set(text) | set(unknown or ""))), unknown)

    def __len__(self) -> int:
        return len(self.alphabet)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.alphabet!r}, unknown={self.unknown!r})"

    def encode(self, text: str) -> "torch.Tensor":
        """Return the codes of `text`: LongTensor (T,) on the CPU.

        Raises:
            ValueError: if a character has no code.
        """
        import torch

        codes = self._codes[numpy.minimum(_code_points(text), len(self._codes) - 1)]
        if self.unknown is None and codes.size and codes.min() < 0:
            at = int(codes.argmin())
            raise ValueError(
                f"no code for {text[at]!r} (place {at}): the alphabet of {len(self)} characters lacks it. Build the "
                "tokenizer from all the text it will see, or give it an `unknown` character that stands for the rest"
            )
        return torch.from_numpy(codes)

    def decode(self, codes: "torch.Tensor | Sequence[int]") -> str:
        """Return the text of `codes`, whole numbers of shape (T,) on any device.

        Raises:
            ValueError: if a code has no character, or the shape or type is another.
        """
        codes = numpy.asarray(codes.detach().cpu() if hasattr(codes, "detach") else codes)
        if not codes.size:
            return ""
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise ValueError(f"codes must be whole numbers of shape (T,), got {codes.dtype} of shape {codes.shape}")
        if codes.min() < 0 or codes.max() >= len(self):
            wrong = codes[(codes < 0) | (codes >= len(self))][0]
            raise ValueError(f"no character has the code {wrong}: the codes of this alphabet are 0 … {len(self) - 1}")
        return self._points[codes].tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> numpy.ndarray:
    return numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
