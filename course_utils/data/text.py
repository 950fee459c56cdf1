"""Text to learn from: the docstrings of the course's own libraries (no download), any text file, and two public corpora.

corpus = text.load("docs")                 # English sentences from five libraries
train, held_out = corpus.split(0.1)        # by object, nothing shared
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
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy

from course_utils.data import cache, docstrings, download

LIBRARIES = ("numpy", "scipy", "sklearn", "matplotlib", "torchvision")
"""Import names of the libraries whose docstrings make the corpus "docs"."""

DISTRIBUTIONS = {"sklearn": "scikit-learn"}
DOWNLOADS = tuple(download.KNOWN)

# A sentence that names a library, or something that only one of them can mean, gives the answer of "which library wrote this?" away.
NAMES = re.compile(
    r"\b(numpy|np|scipy|sp|sklearn|scikits?|matplotlib|mpl|pyplot|pylab|plt|torchvision|pytorch|torch|mplot3d)\w*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Document:
    """What one object says: `name` ("numpy.linalg._linalg.norm"), `source` (the file that it stands in) and `text`."""

    name: str
    source: str
    text: str

    @property
    def library(self) -> str:
        """The first part of the name: "numpy" of "numpy.linalg._linalg.norm"."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Corpus:
    """A named list of documents, in a fixed order."""

    name: str
    documents: list[Document]

    @functools.cached_property
    def text(self) -> str:
        """All documents, an empty line between two of them."""
        return "\n\n".join(document.text for document in self.documents)

    def __repr__(self) -> str:
        characters = sum(len(document.text) for document in self.documents)
        return f"Corpus({self.name!r}, {len(self.documents):,} documents, {characters:,} characters)"

    def split(self, held_out: float = 0.1, seed: int = 0) -> tuple["Corpus", "Corpus"]:
        """(train, held-out): a share `held_out` of the characters, between 0 and 1, by whole documents.

        Documents that say the same are counted once, and a held-out document loses the sentences that a training document also
        has, so that a model cannot score by having seen them. Which documents are held out depends on their names and `seed` only, within
        each library: "docs" and "numpy" hold out the same documents of numpy. A single document (a file) is cut in two at a line end.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out is a share between 0 and 1, such as 0.1, got {held_out}")
        if len(self.documents) == 1:
            return self._cut(held_out)
        unique = list({_key(document.text): document for document in reversed(self.documents)}.values())[::-1]
        ranked = sorted(unique, key=lambda document: hashlib.sha256(f"{seed} {document.name}".encode()).digest())
        wanted = dict.fromkeys((document.library for document in unique), 0.0)
        for document in unique:
            wanted[document.library] += held_out * len(document.text)
        chosen = set()
        for document in ranked:
            if wanted[document.library] > 0:
                wanted[document.library] -= len(document.text)
                chosen.add(document.name)
        train = [document for document in unique if document.name not in chosen]
        seen = {_key(sentence) for document in train for sentence in _sentences(document.text)}
        rest = []
        for document in unique:
            if document.name in chosen:
                lines = (_without(line, seen) for line in document.text.split("\n"))
                text = "\n".join(filter(None, lines))
                if text:
                    rest.append(Document(document.name, document.source, text))
        return Corpus(f"{self.name} (train)", train), Corpus(f"{self.name} (held out)", rest)

    def _cut(self, held_out: float) -> tuple["Corpus", "Corpus"]:
        (document,) = self.documents
        at = round(len(document.text) * (1 - held_out))
        at = document.text.rfind("\n", 0, at) + 1 or at
        parts = document.text[:at], document.text[at:]
        return tuple(
            Corpus(f"{self.name} ({part})", [Document(document.name, document.source, text)])
            for part, text in zip(("train", "held out"), parts, strict=True)
        )


def _key(text: str) -> str:
    """What two texts have in common that say the same: lower-case words; identifiers and numbers are all alike."""
    return " ".join("#" if re.search(r"[\d_]", word) else word for word in re.findall(r"\w+", text.lower()))


def _sentences(text: str) -> list[str]:
    return [sentence for line in text.split("\n") for sentence in docstrings.split_sentences(line)]


def _without(line: str, seen: set[str]) -> str:
    return " ".join(sentence for sentence in docstrings.split_sentences(line) if _key(sentence) not in seen)


# ---- loading --------------------------------------------------------------------------------------------------------


def load(name_or_path: str | os.PathLike = "docs", *, view: Literal["prose", "raw"] = "prose") -> Corpus:
    """A corpus: "docs" (all five libraries), one library ("numpy"), a download ("tiny_shakespeare", "sms_spam") or a text file's path.

    `view` is for docstrings: "prose" keeps their English sentences (ASCII, one line per paragraph), "raw" keeps them as they are. The first
    call reads the libraries' files (seconds); later ones read the cache (milliseconds).
    Raises ValueError or OSError, saying what to do, for an unknown name and for a file that is missing, unreadable, empty or not UTF-8.
    """
    if view not in ("prose", "raw"):
        raise ValueError(f'view is "prose" or "raw", got {view!r}')
    name = name_or_path if isinstance(name_or_path, str) else ""
    if name == "docs":
        return _docs("docs", LIBRARIES, view)
    if name in LIBRARIES or name in DISTRIBUTIONS.values():
        library = {v: k for k, v in DISTRIBUTIONS.items()}.get(name, name)
        return _docs(library, (library,), view)
    if name in DOWNLOADS:
        return Corpus(name, [Document(*found) for found in download.documents(name)])
    return _file(name_or_path)


def _file(name_or_path: str | os.PathLike) -> Corpus:
    path = Path(name_or_path).expanduser()
    known = ", ".join(("docs", *LIBRARIES, *DOWNLOADS))
    if not path.exists():
        raise FileNotFoundError(
            f"no text file at {path.absolute()}: give the path of a UTF-8 text file, or one of {known}"
        )
    if not path.is_file():
        raise IsADirectoryError(f"{path} is not a file: give the path of one UTF-8 text file, or one of {known}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise type(error)(
            f"cannot read {path} ({error.strerror}): make it readable, or copy it to a folder of your own"
        ) from None
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{content[error.start]:02x}): save it as UTF-8 in your editor, or convert it, "
            f'for example with Path("new.txt").write_text(Path({str(path)!r}).read_text("latin-1"), "utf-8")'
        ) from None
    if not text.strip():
        raise ValueError(f"{path} holds no text ({len(content)} bytes): give a file that does, or one of {known}")
    return Corpus(path.stem, [Document(path.stem, str(path), text)])


def _docs(name: str, libraries: Sequence[str], view: str) -> Corpus:
    keys = {library: _cache_name(library) for library in libraries}
    missing = [library for library in libraries if (library, view, keys[library]) not in _memory]
    for library in missing:
        found = _read_cache(keys[library].format(view=view))
        if found is not None:
            _memory[library, view, keys[library]] = found
    missing = [library for library in missing if (library, view, keys[library]) not in _memory]
    if missing:
        for library, views in _read_packages(missing).items():
            for each, documents in views.items():
                _memory[library, each, keys[library]] = documents
                _write_cache(keys[library].format(view=each), documents)
    return Corpus(name, [document for library in libraries for document in _memory[library, view, keys[library]]])


_memory: dict[tuple[str, str, str], list[Document]] = {}


def _folder(library: str) -> Path:
    spec = importlib.util.find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{library} is not installed, so its docstrings cannot be read: install the course's locked packages (`make lab` does)"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@functools.cache
def _parser_version() -> str:
    return hashlib.sha256(Path(docstrings.__file__).read_bytes()).hexdigest()[:12]


def _cache_name(library: str) -> str:
    _folder(library)
    version = importlib.metadata.version(DISTRIBUTIONS.get(library, library))
    return f"docstrings/{library}-{version}-{{view}}-{_parser_version()}.txt"


def _read_cache(name: str) -> list[Document] | None:
    content = cache.read_checked(name)
    if content is None:
        return None
    header, _, body = content.partition(b"\n")
    header, body = json.loads(header), body.decode()
    starts = [0, *header["ends"]]
    return [
        Document(name, source, body[start:end])
        for name, source, start, end in zip(header["names"], header["sources"], starts, header["ends"], strict=False)
    ]


def _write_cache(name: str, documents: list[Document]) -> None:
    ends, at = [], 0
    for document in documents:
        at += len(document.text)
        ends.append(at)
    header = {"names": [d.name for d in documents], "sources": [d.source for d in documents], "ends": ends}
    cache.write_checked(name, json.dumps(header).encode() + b"\n" + "".join(d.text for d in documents).encode())


def _read_packages(libraries: Iterable[str]) -> dict[str, dict[str, list[Document]]]:
    """library -> view -> documents, from the files of the installed packages, on all cores."""
    jobs = []
    for library in libraries:
        folder = _folder(library)
        jobs += [(str(path), library, str(folder)) for path in docstrings.source_files(folder)]
    found: dict[str, dict[str, list[Document]]] = {library: {"raw": [], "prose": []} for library in libraries}
    for (_, library, _), documents in zip(jobs, _in_parallel(jobs), strict=True):
        for name, source, raw, prose in documents:
            found[library]["raw"].append(Document(name, source, raw))
            if prose:
                found[library]["prose"].append(Document(name, source, prose))
    return found


def _in_parallel(jobs: list[tuple[str, str, str]]) -> list[list]:
    """`docstrings.read_file` of each job, by as many worker processes as there are cores; here where none can be started."""
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
    by_size = sorted(range(len(jobs)), key=lambda i: -os.path.getsize(jobs[i][0]))
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for i in by_size:
        least = loads.index(min(loads))
        shares[least].append(i)
        loads[least] += os.path.getsize(jobs[i][0]) + 2000
    results: list[list] = [[] for _ in jobs]
    running = [(share, _start([jobs[i] for i in share])) for share in shares[1:] if share]
    pending = list(shares[0])
    for share, process in running:
        if process is None:
            pending += share
    for i in pending:
        path, package, folder = jobs[i]
        results[i] = docstrings.read_file(Path(path), package, Path(folder))
    for share, process in running:
        if process is not None:
            answer = _answer(process, len(share))
            for i, found in zip(share, answer or [None] * len(share), strict=True):
                path, package, folder = jobs[i]
                results[i] = docstrings.read_file(Path(path), package, Path(folder)) if found is None else found
    return results


def _start(jobs: list) -> subprocess.Popen | None:
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", docstrings.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process.stdin.write(json.dumps(jobs).encode())
        process.stdin.close()
        return process
    except (OSError, TypeError, ValueError):
        return None


def _answer(process: subprocess.Popen, count: int) -> list | None:
    with process:
        output = process.stdout.read()
    try:
        answer = json.loads(output)
    except ValueError:
        return None
    return answer if process.returncode == 0 and len(answer) == count else None


# ---- sentences ------------------------------------------------------------------------------------------------------


def sentences(corpus: Corpus) -> list[str]:
    """The sentences of a corpus in order; paragraphs end at an empty line, and in docstrings at every line's end."""
    found = []
    for document in corpus.documents:
        if document.library in LIBRARIES:
            found += _sentences(document.text)
        else:
            for paragraph in re.split(r"\n\s*\n", document.text):
                found += docstrings.split_sentences(" ".join(paragraph.split()))
    return found


@functools.cache
def _labelled(memory_key: str) -> dict[str, dict[str, list[str]]]:
    """part -> library -> sentences: of 40 … 200 characters, no library's name in them, none twice, none in two libraries or parts."""
    parts = dict(zip(("train", "held_out"), load("docs").split(held_out=0.2, seed=0), strict=True))
    owners: dict[str, set[str]] = {}
    for part in parts.values():
        for document in part.documents:
            for sentence in _sentences(document.text):
                owners.setdefault(_key(sentence), set()).add(document.library)
    seen: set[str] = set()
    found: dict[str, dict[str, list[str]]] = {}
    for part, corpus in parts.items():
        found[part] = {library: [] for library in LIBRARIES}
        for document in corpus.documents:
            for sentence in _sentences(document.text):
                key = _key(sentence)
                if key in seen or len(owners[key]) > 1 or not 40 <= len(sentence) <= 200 or NAMES.search(sentence):
                    continue
                seen.add(key)
                found[part][document.library].append(sentence)
    return found


def _pool(part: str, libraries: Iterable[str]) -> dict[str, list[str]]:
    libraries = (libraries,) if isinstance(libraries, str) else tuple(libraries)
    for library in libraries:
        if library not in LIBRARIES:
            raise ValueError(f"unknown library {library!r}: choose from {', '.join(LIBRARIES)}")
    if not libraries or len(set(libraries)) < len(libraries):
        raise ValueError(f"libraries must be different names, at least one, got {libraries}")
    if part not in ("train", "held_out"):
        raise ValueError(f'part is "train" or "held_out", got {part!r}')
    everything = _labelled("|".join(_cache_name(library) for library in LIBRARIES))[part]
    return {library: everything[library] for library in libraries}


def labelled_sentences(
    part: Literal["train", "held_out"] = "train",
    libraries: Iterable[str] = LIBRARIES,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[list[str], list[str]]:
    """(sentences, the library that each was written for), shuffled, as many of each library (at most `limit`), drawn with `seed`.

    A sentence has 40 … 200 characters, stands once, in one part and one library only, and names no library (those that do are left out:
    they would give the answer away). One fifth of the objects is held out, always the same, whatever `libraries` and `seed` are.
    """
    pool = _pool(part, libraries)
    count = min(map(len, pool.values()))
    if limit is not None:
        if limit < 1:
            raise ValueError(f"limit is the number of sentences per library, at least 1, got {limit}")
        count = min(count, limit)
    draw = random.Random(seed)
    pairs = [(sentence, library) for library, found in pool.items() for sentence in draw.sample(found, count)]
    draw.shuffle(pairs)
    return [sentence for sentence, _ in pairs], [library for _, library in pairs]


def training_texts(libraries: Iterable[str] = LIBRARIES, characters: int = 30_000) -> dict[str, str]:
    """library -> its text of about `characters` characters (whole sentences, never more), one sentence a line.

    The sentences are those of `labelled_sentences("train")`; none is in the held-out part. A library that has less gives what it has.
    """
    if characters < 1:
        raise ValueError(f"characters must be at least 1, got {characters}")
    texts = {}
    for library, found in _pool("train", libraries).items():
        found = random.Random(0).sample(found, len(found))
        lines, length = [], 0
        for sentence in found:
            if length + len(sentence) + 1 > characters + 1:
                break
            lines.append(sentence)
            length += len(sentence) + 1
        texts[library] = "\n".join(lines) or found[0][:characters]
    return texts


# ---- symbols --------------------------------------------------------------------------------------------------------


def shannon(text: str) -> str:
    """`text` in Shannon's 27 symbols: a–z and space. Anything else, and any run of it, becomes one space.

    Source: C. E. Shannon, A Mathematical Theory of Communication (1948), section 3.
    """
    return re.sub("[^a-z]+", " ", text.lower()).strip()


def words(text: str) -> list[str]:
    """The words of `text` in order, in lower case, without punctuation and numbers; "don't" is one word."""
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower())


class CharTokenizer:
    """Characters ↔ whole numbers: the code of a character is its place in `alphabet`.

    `unknown`: a character of the alphabet that stands for those that are not in it; without it they are an error.
    """

    def __init__(self, alphabet: str, unknown: str | None = None):
        if not alphabet:
            raise ValueError(
                "the alphabet is empty: give the characters that may occur, or use CharTokenizer.from_text(text)"
            )
        if len(set(alphabet)) < len(alphabet):
            twice = next(c for c in alphabet if alphabet.count(c) > 1)
            raise ValueError(f"the alphabet holds {twice!r} more than once: each character needs one code")
        if unknown is not None and (len(unknown) != 1 or unknown not in alphabet):
            raise ValueError(f"unknown must be one character of the alphabet, got {unknown!r}")
        self.alphabet = alphabet
        self.unknown = unknown
        self._points = _code_points(alphabet)
        self._codes = numpy.full(
            int(self._points.max()) + 2, -1 if unknown is None else alphabet.index(unknown), dtype=numpy.int64
        )
        self._codes[self._points] = numpy.arange(len(alphabet))

    @classmethod
    def from_text(cls, text: str, unknown: str | None = None) -> "CharTokenizer":
        """The alphabet is the sorted characters of `text` (and `unknown`)."""
        return cls("".join(sorted(set(text) | set(unknown or ""))), unknown)

    def __len__(self) -> int:
        return len(self.alphabet)

    def __repr__(self) -> str:
        return f"CharTokenizer({self.alphabet!r}" + (f", unknown={self.unknown!r})" if self.unknown else ")")

    def encode(self, text: str):
        """Codes of `text`: LongTensor (T,) on the CPU. Raises ValueError, naming the character, for one that has no code."""
        import torch

        codes = self._codes[numpy.minimum(_code_points(text), len(self._codes) - 1)]
        if self.unknown is None and (codes < 0).any():
            at = int((codes < 0).argmax())
            raise ValueError(
                f"no code for {text[at]!r} (character {at}): the alphabet has {len(self)} characters; build it from all texts that you will "
                "encode, or give CharTokenizer an `unknown` character to stand for the rest"
            )
        return torch.from_numpy(codes)

    def decode(self, codes) -> str:
        """The text of `codes`: a LongTensor (T,) on any device, or a list of ints. Raises ValueError for a code outside 0 … len - 1."""
        codes = numpy.asarray(codes.detach().cpu() if hasattr(codes, "detach") else codes)
        if codes.size == 0:
            return ""
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise ValueError(
                f"codes must be whole numbers of shape (T,), got {codes.dtype} of shape {codes.shape}: decode row by row"
            )
        if codes.min() < 0 or codes.max() >= len(self):
            wrong = codes[(codes < 0) | (codes >= len(self))][0]
            raise ValueError(f"no character for code {wrong}: codes of this alphabet are 0 … {len(self) - 1}")
        return self._points[codes].tobytes().decode("utf-32-le", "surrogatepass")


def _code_points(text: str) -> numpy.ndarray:
    return numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
