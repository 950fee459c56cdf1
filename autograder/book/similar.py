"""Which submissions share more code than a class does by chance: a reason to look at both, not a verdict.

Code is read as tokens without comments, layout and the names that students choose; every run of K tokens is hashed, and
of WINDOW neighbouring hashes the smallest is kept, so that whatever two submissions share over K + WINDOW - 1 tokens is
found wherever it stands. What was released counts for nobody, nor what many in the class wrote.

Source: Schleimer, Wilkerson and Aiken (2003), Winnowing: local algorithms for document fingerprinting, SIGMOD.
"""

import builtins
import io
import keyword
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

K, WINDOW = 10, 4
LEAST = 20  # shared fingerprints; short answers are alike by nature
SHARE = 0.75  # of the shorter one's fingerprints
COMMON = 0.25  # share of the class from which on a fingerprint says nothing
FEW = 5  # students who may share a fingerprint in any class
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True)
class Pair:
    """Two students; `share` is how much of the shorter one's own code is in the other's, `count` in fingerprints."""

    first: str
    second: str
    share: float
    count: int


def alike(written: dict[str, list[str]], released: list[str]) -> list[Pair]:
    """The pairs of students whose code shares at least SHARE, the most alike first.

    Args:
        written: student -> the code of each cell that may be changed.
        released: the code cells of the released notebook.
    """
    given = {h for source in released for h in _hashes(source)}
    own = {student: fingerprints(sources) - given for student, sources in written.items()}
    held = Counter(h for found in own.values() for h in found)
    most = max(FEW, COMMON * len(own))
    place = {h: i for i, h in enumerate(h for h, n in held.items() if 1 < n <= most)}
    bits = {s: sum(1 << place[h] for h in found if h in place) for s, found in own.items()}  # a set as one number
    size = {s: sum(held[h] <= most for h in found) for s, found in own.items()}
    pairs = []
    for a, b in combinations([s for s in sorted(own) if size[s] >= LEAST], 2):
        count = (bits[a] & bits[b]).bit_count()
        if count >= LEAST and count >= SHARE * min(size[a], size[b]):
            pairs.append(Pair(a, b, count / min(size[a], size[b]), count))
    return sorted(pairs, key=lambda p: (-p.share, -p.count))


def code(notebook: dict[str, Any]) -> list[str]:
    """The text of the code cells that a student may change, or has added; `notebook` is its JSON."""
    cells = [c for c in notebook.get("cells", []) if c.get("cell_type") == "code"]
    graders = [c.get("metadata", {}).get("nbgrader") or {} for c in cells]
    texts = [c["source"] if isinstance(c["source"], str) else "".join(c["source"]) for c in cells]
    return [text for text, g in zip(texts, graders) if g.get("solution") or not (g.get("grade") or g.get("locked"))]


def fingerprints(sources: Iterable[str]) -> set[int]:
    """The fingerprints of some cells; no run of tokens goes from one cell to the next."""
    kept = set()
    for source in sources:
        hashes = _hashes(source)
        kept |= {min(hashes[i : i + WINDOW]) for i in range(max(1, len(hashes) - WINDOW + 1)) if hashes}
    return kept


def _hashes(source: str) -> list[int]:
    found = tokens(source)
    return [zlib.crc32("\0".join(found[i : i + K]).encode()) for i in range(len(found) - K + 1)]


def tokens(source: str) -> list[str]:
    """What the code does, token by token, up to where it is broken: chosen names are "name", texts "text"."""
    found: list[str] = []
    before = ["", ""]
    lines = "\n".join(line.lstrip() for line in source.splitlines())  # so that indentation cannot be broken
    try:
        for token in tokenize.generate_tokens(io.StringIO(lines).readline):
            if token.type not in SKIPPED:
                found.append(_plain(token, before))
                before = [before[1], token.string]
    except (tokenize.TokenError, SyntaxError):
        pass
    return found


def _plain(token: tokenize.TokenInfo, before: list[str]) -> str:
    name = tokenize.tok_name[token.type]
    if name == "STRING" or name.startswith("FSTRING"):
        return "text"
    if name != "NAME" or keyword.iskeyword(token.string):
        return token.string
    of_a_library = before[1] == "." and before[0] != "self"
    return token.string if of_a_library or hasattr(builtins, token.string) else "name"
