import ast
import bz2
import codecs
import errno
import gzip
import importlib
import inspect
import io
import lzma
import os
import pickle
import re
import string
import subprocess
import sys
import textwrap
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from course_utils.data import cache, docstrings, text

# --- docstrings: reading ----------------------------------------------------------------------------------------------

SOURCE = '''
"""The module."""

def plain():
    """A function."""
    def inner():
        """Inside it."""

async def waits():
    """Waits."""

class Thing:
    """A class."""

    class Inner:
        """A class in it."""

    @property
    def size(self):
        """How large."""

    @size.setter
    def size(self, value):
        """Set how large."""

    def silent(self):
        return "not a docstring"

if True:
    def chosen():
        """First branch."""
else:
    def chosen():
        """Second branch."""

try:
    from somewhere import fast
except ImportError:
    def fast():
        """Slow."""
finally:
    with open("x") as f:
        def last():
            """Last."""
'''


def test_read_finds_every_object_once_in_the_order_of_the_file():
    assert docstrings.read(SOURCE, "m") == [
        ("m", "The module."),
        ("m.plain", "A function."),
        ("m.plain.inner", "Inside it."),
        ("m.waits", "Waits."),
        ("m.Thing", "A class."),
        ("m.Thing.Inner", "A class in it."),
        ("m.Thing.size", "How large."),
        ("m.chosen", "First branch."),
        ("m.fast", "Slow."),
        ("m.last", "Last."),
    ]


@pytest.mark.parametrize("module", [textwrap, ast, inspect])
def test_read_agrees_with_inspect_on_modules_of_the_standard_library(module):
    found = dict(docstrings.read(inspect.getsource(module), module.__name__))
    agreed = 0
    for value in vars(module).values():
        name = f"{module.__name__}.{getattr(value, '__qualname__', None)}"
        if name in found and (inspect.isfunction(value) or inspect.isclass(value)):
            lines = inspect.cleandoc(value.__doc__).split("\n")
            assert found[name] == "\n".join(map(str.rstrip, lines)).strip()
            agreed += 1
    assert agreed >= 5


@given(st.text(alphabet=" \t\nab", max_size=60))
def test_clean_is_cleandoc_without_spaces_at_line_ends(docstring):
    expected = "\n".join(line.rstrip() for line in inspect.cleandoc(docstring).split("\n")).strip("\n")
    assert docstrings.clean(docstring).lstrip() == expected.lstrip()


def test_a_file_that_is_not_python_has_no_docstrings():
    assert docstrings.read('def f(:\n """x"""', "m") == []
    assert docstrings.read('"""x\0"""', "m") == []


def test_invalid_escapes_of_other_people_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert docstrings.read('"""Latex \\phi \\d."""', "m") == [("m", "Latex \\phi \\d.")]


def test_source_files_are_sorted_and_without_tests_and_copies_of_other_projects(tmp_path):
    for name in ["b.py", "a/z.py", "a_.py", "a/tests/t.py", "testing/x.py", "externals/y.py", "_version.py", "c.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in docstrings.source_files(tmp_path)]
    assert found == ["a/z.py", "a_.py", "b.py"]


# --- docstrings: prose ------------------------------------------------------------------------------------------------

DOCSTRING = r"""
Compute the ``norm`` of :class:`~numpy.ndarray` *x* by Schölkopf's method [1]_

The second paragraph is wrapped over
two lines, e.g. here, cf. Fig. 3 of the paper. See [2]_ for details. It has **two** “quoted” sentences.

.. math::

    \sqrt{x} \text{This is a formula with enough words to pass.}

A sentence with :math:`x^2` is left out. One with :math:`n` and ``axis`` stays.

.. note:: Text of a note
    is kept as prose.
.. versionadded:: 1.2
    New here. This text of a version note is not kept.
.. deprecated:: 1.3
    Use another. This text is not kept either.

Parameters
----------
x : array_like
    This sentence describes a parameter of the function.
axis : int
    This one describes another parameter of it.

Returns
-------
n : float
    The norm that was computed by the function.

Notes
-----
The notes are prose again::

    This is code that reads like a sentence.

- First item is a sentence of its own.
- Second item goes on
  in the next line.

=====  =====
Name   Text
=====  =====
First  This row reads like a sentence.
Next   This row reads like another sentence.
=====  =====

:param x: This field list describes a parameter. It is no prose.

Args:
    y (int): One more parameter. This sentence describes it in detail.

Visit www.example.org for the rest of it. Or https://example.org for the rest.

Examples
--------
Here we compute the norm.

>>> norm([1, 2])
This is what doctest prints out here.

Now it is done.

References
----------
.. [1] This is a paper that has a title.
"""

PROSE = """\
Compute the norm of ndarray x by Scholkopf's method.
The second paragraph is wrapped over two lines, e.g. here, cf. Fig. 3 of the paper. It has two "quoted" sentences.
One with n and axis stays.
Text of a note is kept as prose.
First item is a sentence of its own.
Second item goes on in the next line.
Here we compute the norm.
Now it is done."""


def test_prose_keeps_the_english_and_nothing_else():
    assert docstrings.prose(docstrings.clean(DOCSTRING)) == PROSE


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("See :func:`a.b.c` and :meth:`~a.b.c`.", "See a.b.c and c."),
        ("See `.Axes.plot` and `~.axes.Axes`.", "See Axes.plot and Axes."),
        ("See :ref:`the guide <user_guide>` and `this page <https://x.org>`_.", "See the guide and this page."),
        ("See :ref:`user_guide`.", f"See {docstrings.DROP}."),
        ("A ``x = 1`` and :math:`\\alpha` or ``'svd'``.", f"A {docstrings.DROP} and alpha or 'svd'."),
        ("Known [1]_, [AS2]_ and as in [3]_.", f"Known{docstrings.DROP}{docstrings.DROP} as{docstrings.DROP}."),
        ("It works [1]_.", "It works."),
        ("Uses **bold**, *italic* and 2 * 3 * 4.", "Uses bold, italic and 2 * 3 * 4."),
        ("Naïve — “so”, it’s…", 'Naive - "so", it\'s...'),
    ],
)
def test_inline_markup_is_removed(marked, plain):
    if "[AS2]" in marked:
        marked, plain = "Shown in [AS2]_ and so.", f"Shown {docstrings.DROP} and so."
    assert docstrings.inline(marked) == plain


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One here. Two there! Three? Four.", ["One here.", "Two there!", "Three?", "Four."]),
        ("Use e.g. This one, i.e. That. Not etc. All.", ["Use e.g. This one, i.e. That.", "Not etc. All."]),
        ("By J. Smith et al. In 1948. See Eq. 3.", ["By J. Smith et al. In 1948.", "See Eq. 3."]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("Version 1.2 is out. It is new.", ["Version 1.2 is out.", "It is new."]),
        ("", []),
    ],
)
def test_sentences_end_where_they_end(paragraph, expected):
    assert docstrings.split_sentences(paragraph) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Return the mean of an array.", True),
        ("The n_samples and/or k-means (see below) matter; so does it.", True),
        ("Is it so?", True),
        ("return the mean of an array.", False),
        ("Return the mean of an array", False),
        ("Set x = 3 for all arrays.", False),
        ("Returns {x} for all arrays.", False),
        ("Too short.", False),
        ("Shapes 10, 20, 30, 40, 50, 60, 70 are fine.", False),
        ("THE SOFTWARE IS PROVIDED AS IS.", False),
        ("Open a (parenthesis and forget it.", False),
        ("Formula \x00 was here before now.", False),
        ("Call plot() before you draw it.", False),
    ],
)
def test_what_counts_as_english(sentence, expected):
    assert docstrings.is_english(sentence) is expected


# --- a small package in place of the libraries ------------------------------------------------------------------------


def _install(folder: Path, version: str = "1.0", files: dict[str, str] | None = None) -> None:
    package = folder / "tinylib"
    (package / "sub").mkdir(parents=True, exist_ok=True)
    files = files or {
        "__init__.py": '"""A package that must never be imported."""\nraise RuntimeError("imported")\n',
        "b.py": 'def f():\n    """Return the number of things that there are.\n\n    x : int\n    """\n',
        "sub/__init__.py": '"""A package in the package, with Füße."""\n',
        "sub/a.py": '"""Uses `x`."""\nclass C:\n    """A class of its own kind."""\n',
    }
    for name, source in files.items():
        (package / name).write_text(source, "utf-8")
    for old in folder.glob("*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    info = folder / f"tinylib-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n")
    importlib.invalidate_caches()


@pytest.fixture
def tinylib(tmp_path, monkeypatch):
    """A package `tinylib` 1.0 to load, an empty cache, and nothing in memory. Gives the cache's folder."""
    _install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(text, "LIBRARIES", ("tinylib",))
    monkeypatch.setattr(text, "_loaded", {})
    monkeypatch.setattr(cache, "_warned", False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _forget(monkeypatch):
    monkeypatch.setattr(text, "_loaded", {})


def test_documents_of_a_package_in_both_views(tinylib):
    raw = text.load("tinylib", view="raw")
    assert [(d.name, d.source, d.text) for d in raw.documents] == [
        ("tinylib", "tinylib/__init__.py", "A package that must never be imported."),
        ("tinylib.b.f", "tinylib/b.py", "Return the number of things that there are.\n\nx : int"),
        ("tinylib.sub", "tinylib/sub/__init__.py", "A package in the package, with Füße."),
        ("tinylib.sub.a", "tinylib/sub/a.py", "Uses `x`."),
        ("tinylib.sub.a.C", "tinylib/sub/a.py", "A class of its own kind."),
    ]
    prose = text.load("tinylib")
    assert [d.text for d in prose.documents] == [
        "A package that must never be imported.",
        "Return the number of things that there are.",
        "A class of its own kind.",
    ]
    assert prose.text == "\n\n".join(d.text for d in prose.documents)
    assert text.load("docs").documents == prose.documents
    assert {d.label for d in raw.documents} == {"tinylib"}
    assert "tinylib" not in sys.modules
    with pytest.raises(ValueError, match='"prose" or "raw"'):
        text.load("tinylib", view="markdown")


def _broken_worker(monkeypatch, how):
    if how == "no process can be started":
        monkeypatch.setattr(text.subprocess, "Popen", lambda *a, **k: (_ for _ in ()).throw(BlockingIOError(11, "no")))
    elif how == "no interpreter":
        monkeypatch.setattr(sys, "executable", None)
    elif how == "it fails":
        monkeypatch.setattr(sys, "executable", "/bin/false")
    elif how == "it answers nonsense":
        monkeypatch.setattr(sys, "executable", "/bin/echo")


@pytest.mark.parametrize("how", ["no process can be started", "no interpreter", "it fails", "it answers nonsense"])
def test_without_workers_the_same_is_read_here(tinylib, monkeypatch, how):
    expected = text.load("tinylib", view="raw").documents
    _forget(monkeypatch)
    monkeypatch.setenv("COURSE_CACHE", str(tinylib / "another"))
    _broken_worker(monkeypatch, how)
    assert text.load("tinylib", view="raw").documents == expected


def test_workers_do_read(tinylib, monkeypatch):
    monkeypatch.setattr(docstrings, "read_file", lambda *a: pytest.fail("read here, not by a worker"))
    assert len(text.load("tinylib", view="raw").documents) == 5


def test_a_script_without_a_main_guard_runs_once(tinylib, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from course_utils.data import text\n"
        "text.LIBRARIES = ('tinylib',)\n"
        "print(len(text.load('tinylib').documents))\n"
    )
    result = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert (result.stdout, result.stderr) == ("3\n", "")


def test_the_second_load_reads_the_cache(tinylib, monkeypatch):
    first = text.load("tinylib").documents, text.load("tinylib", view="raw").documents
    _forget(monkeypatch)
    monkeypatch.setattr(docstrings, "source_files", lambda folder: pytest.fail("the package was read again"))
    assert (text.load("tinylib").documents, text.load("tinylib", view="raw").documents) == first
    assert not [path for path in tinylib.rglob(".*")], "temporary files are left"
    assert {path.stat().st_mode & 0o777 for path in tinylib.rglob("*.txt")} == {0o644}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\x00\xff garbage",
        lambda content: content.replace(b"things", b"thongs"),
        lambda content: content[1:],
    ],
)
def test_a_broken_cache_file_is_made_again(tinylib, monkeypatch, damage):
    expected = text.load("tinylib").documents
    (file,) = tinylib.rglob("*prose*.txt")
    good = file.read_bytes()
    file.write_bytes(damage(good))
    _forget(monkeypatch)
    assert text.load("tinylib").documents == expected
    assert file.read_bytes() == good


def test_a_new_version_of_the_package_or_of_the_rules_is_read_anew(tinylib, tmp_path, monkeypatch):
    text.load("tinylib")
    _install(tmp_path / "site", "2.0", {"b.py": '"""The new version says something else."""\n'})
    assert "The new version says something else." in text.load("tinylib").text
    assert len(list(tinylib.rglob("*prose*.txt"))) == 2
    monkeypatch.setattr(text, "_fingerprint", lambda file: "other")
    text.load("tinylib")
    assert len(list(tinylib.rglob("*prose*.txt"))) == 3


def test_a_library_that_is_not_installed_is_named(tinylib, monkeypatch):
    monkeypatch.setattr(text, "LIBRARIES", ("nosuchlib",))
    with pytest.raises(ModuleNotFoundError, match="nosuchlib is not installed.*make lab"):
        text.load("nosuchlib")


def test_a_cache_that_cannot_be_written_costs_one_warning(tinylib, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot write to the cache folder .*COURSE_CACHE") as caught:
        assert len(text.load("tinylib").documents) == 3
        assert len(text.load("tinylib", view="raw").documents) == 5
    assert len(caught) == 1
    monkeypatch.setattr(docstrings, "source_files", lambda folder: pytest.fail("what was read is kept in memory"))
    assert len(text.load("tinylib").documents) == 3


@pytest.mark.parametrize(("failing", "code"), [("replace", errno.ENOSPC), ("fsync", errno.EDQUOT)])
def test_a_full_disk_leaves_nothing_behind(tinylib, monkeypatch, failing, code):
    def fail(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, failing, fail)
    with pytest.warns(UserWarning, match=os.strerror(code)):
        assert len(text.load("tinylib").documents) == 3
    assert [path for path in tinylib.rglob("*") if path.is_file()] == []


# --- files ------------------------------------------------------------------------------------------------------------


def test_any_text_file(tmp_path):
    path = tmp_path / "story.txt"
    path.write_bytes("\ufeffOne café.\r\nTwo.\r".encode())
    corpus = text.load(path)
    assert (corpus.name, corpus.text) == ("story", "One café.\nTwo.\n")
    assert corpus.documents == text.load(str(path)).documents
    assert corpus.documents[0].source == str(path)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, r"no text file .*x\.txt.* or one of docs, numpy, .*tiny_shakespeare, sms_spam"),
        ("folder", IsADirectoryError, "is a folder: give the path"),
        (b"caf\xe9 au lait", ValueError, r"not UTF-8 \(byte 3: 0xe9\): open it in an editor and save"),
        (b"", ValueError, r"holds no text \(0 bytes\)"),
        (b" \n\t", ValueError, r"holds no text \(3 bytes\)"),
    ],
)
def test_files_that_cannot_be_used_say_what_to_do(tmp_path, content, error, message):
    path = tmp_path / "x.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        text.load(path)


SAID = "“Hello” – it’s a café.\r\nTwo lines.\n"


@pytest.mark.parametrize(
    "content",
    [
        SAID.encode("utf-8-sig"),
        SAID.encode("utf-16"),
        codecs.BOM_UTF16_BE + SAID.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + SAID.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + SAID.encode("utf-32-be"),
        SAID.encode() + b"\x1a",
    ],
    ids=["utf-8", "utf-16", "utf-16-be", "utf-32-le", "utf-32-be", "dos"],
)
def test_a_byte_order_mark_says_how_to_read(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    assert text.load(tmp_path / "x.txt").text == SAID.replace("\r", "")


@pytest.mark.parametrize(
    ("content", "message", "made"),
    [
        (SAID.encode("cp1252"), "likely cp1252", SAID),
        ("caf\xe9".encode("latin-1"), "likely cp1252", "café"),
        ("caf\xe9 \x81".encode("latin-1"), "likely latin-1", None),
        (SAID.encode("utf-16-le"), "looks like utf-16-le", SAID),
        ("Hello world.\n".encode("utf-16-be"), "looks like utf-16-be", "Hello world.\n"),
        ("é".encode() * 9 + b"\xe9 au lait", "almost all of it is UTF-8", "é" * 9 + "\ufffd au lait"),
        (SAID.encode("cp1252").decode("latin-1").encode(), "Windows' quotes and dashes", SAID),
        (b"red\x1b[0m and\0 more", "not text, or it was damaged", "red[0m and more"),
    ],
)
def test_advice_on_an_encoding_works_and_leaves_the_file_alone(tmp_path, content, message, made):
    path, new = tmp_path / "x.txt", tmp_path / "x-utf8.txt"
    path.write_bytes(content)
    new.write_text("of the user's")
    with pytest.raises(ValueError, match=message) as caught:
        text.load(path)
    (code,) = re.findall(r"open\('.*\)$", str(caught.value))
    exec(code, {"re": re})
    assert path.read_bytes() == content and new.read_text() == "of the user's"
    if made is not None:
        assert text.load(tmp_path / "x-utf8-2.txt").text == made.replace("\r", "")
    with pytest.raises(FileExistsError):  # a second time
        exec(code, {"re": re})


def _zip(name):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, "text")
    return packed.getvalue()


def _picture(kind):
    packed = io.BytesIO()
    Image.new("RGB", (40, 40)).save(packed, kind)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        *((_picture(kind), f"a {kind} picture") for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF")),
        (_picture("WEBP"), "a WebP picture"),
        (gzip.compress(b"Text."), "a gzip archive"),
        (bz2.compress(b"Text."), "a bzip2 archive"),
        (lzma.compress(b"Text."), "an xz archive"),
        (_zip("story.txt"), "a zip archive"),
        (_zip("story.txt")[:40], "a damaged zip archive"),
        (_zip("word/document.xml"), "a Word document"),
        (_zip("archive/data.pkl"), "a PyTorch file"),
        (b"%PDF-1.4\nletters only", "a PDF document"),
        (b"{\\rtf1 Hello.}", "a document in Rich Text Format"),
        (pickle.dumps(["Text."]), "a Python pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_a_file_of_another_kind_is_named(tmp_path, content, kind):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.txt is {re.escape(kind)}.*, not text: "):
        text.load(tmp_path / "x.txt")


def test_a_text_may_begin_like_a_file_of_another_kind(tmp_path):
    for start in ("BMW", "MZ", "ID3 is an algorithm", "GIF8", "PAR1", "BZh", "OggS"):
        (tmp_path / "x.txt").write_text(start)
        assert text.load(tmp_path / "x.txt").text == start
    (tmp_path / "x.txt").write_bytes("BMW für alle".encode("cp1252"))
    with pytest.raises(ValueError, match="likely cp1252"):
        text.load(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Größe, é".encode()[:-1], "ends in the middle of a character: it was cut off"),
        (SAID.encode("utf-16")[:-1], r"begins as UTF-16, but is not UTF-16 \(byte \d+: 0x0a\): it was cut off"),
        (bytes(range(256)), "is not text: it is not UTF-8 .* holds control characters"),
        (codecs.BOM_UTF8, "holds no text"),
        (codecs.BOM_UTF16_LE, "holds no text"),
    ],
)
def test_a_file_that_is_cut_off_or_empty(tmp_path, content, message):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        text.load(tmp_path / "x.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe or a device"):
        text.load(tmp_path / "pipe")


def test_an_unreadable_file_says_so(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OSError, match=r"cannot read .*x\.txt \(Permission denied\): make the file readable"):
        text.load(tmp_path / "x.txt")


@pytest.mark.parametrize("given_text", ["It was the best of times. " * 400, "a\0b", "no such corpus"])
def test_a_text_in_place_of_a_path_is_no_crash(given_text):
    with pytest.raises(OSError, match="or one of docs") as caught:
        text.load(given_text)
    assert len(str(caught.value)) < 900


# --- split ------------------------------------------------------------------------------------------------------------


def _corpus(*texts, view="raw"):
    return text.Corpus("made", [text.Document(f"m.d{i}", "made", each) for i, each in enumerate(texts)], view)


def _many(n=200):
    return [f"Document {string.ascii_lowercase[i % 26]}{string.ascii_lowercase[i // 26]} says this." for i in range(n)]


def test_split_is_by_document_and_of_the_right_size():
    corpus = _corpus(*_many())
    train, held_out = corpus.split(0.25)
    assert {d.name for d in train.documents} | {d.name for d in held_out.documents} == {
        d.name for d in corpus.documents
    }
    assert not {d.name for d in train.documents} & {d.name for d in held_out.documents}
    assert 0.24 < len(held_out.text) / len(corpus.text) < 0.27
    for part in (train, held_out):
        assert part.documents == [d for d in corpus.documents if d in part.documents], "in the corpus's order"


def test_split_repeats_and_follows_the_seed():
    corpus = _corpus(*_many())
    assert corpus.split(0.25, seed=1) == corpus.split(0.25, seed=1)
    assert corpus.split(0.25, seed=1) != corpus.split(0.25, seed=2)


def test_split_is_the_same_for_every_hash_seed():
    program = (
        "from course_utils.data import text; import hashlib\n"
        "c = text.Corpus('c', [text.Document(f'm.d{i}', '', 'One more number %s is said here. Same again.' % ('x' * i))"
        " for i in range(60)], 'prose')\n"
        "print(hashlib.sha256(repr(c.split(0.3)).encode() + c.split(0.3)[1].text.encode()).hexdigest())"
    )
    outputs = {
        subprocess.check_output([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


def test_split_counts_documents_that_say_the_same_once():
    texts = _many(60)
    corpus = _corpus(*texts, *(each.upper() for each in texts), *(f"{each}  42" for each in texts))
    train, held_out = corpus.split(0.2)
    said = [re.sub("[^a-z]+", " ", d.text.lower()).strip() for d in train.documents + held_out.documents]
    assert len(said) == len(set(said)) == 60


def test_split_holds_out_nothing_that_another_label_says_in_training():
    texts = _many(100)
    documents = [text.Document(f"{label}.d{i}", "", each) for label in ("a", "b") for i, each in enumerate(texts)]
    train, held_out = text.Corpus("two", documents).split(0.3)
    said = [d.text for d in train.documents + held_out.documents]
    assert len(said) == len(set(said)) == 100
    assert len(held_out.documents) >= 5


def test_held_out_prose_loses_what_training_says_too():
    shared = "This very sentence stands in each of the documents."
    nearly = "Return the {} coefficients of the polynomial that fits the data best."
    corpus = _corpus(*(f"{shared} {each}\n{nearly.format(each[9:11])}" for each in _many()), view="prose")
    train, held_out = corpus.split(0.2)
    assert shared in train.text
    assert "coefficients" in train.text
    assert shared not in held_out.text
    assert "coefficients" not in held_out.text
    raw = text.Corpus("raw", corpus.documents).split(0.2)[1]
    assert shared in raw.text, "raw documents stay as they are"


def test_split_of_one_text_cuts_it_at_a_line():
    corpus = _corpus("".join(f"line {i}\n" for i in range(100)))
    train, held_out = corpus.split(0.1)
    assert train.text + held_out.text == corpus.text
    assert train.text.endswith("\n")
    assert 0.08 < len(held_out.text) / len(corpus.text) < 0.12
    train, held_out = _corpus("no line ends here").split(0.5)
    assert train.text + held_out.text == "no line ends here"


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_split_says_what_a_share_is(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        _corpus(*_many()).split(share)


def test_split_refuses_what_cannot_be_split():
    with pytest.raises(ValueError, match="more documents"):
        _corpus("same", "same", "Same.").split(0.5)
    with pytest.raises(ValueError, match="more documents"):
        text.Corpus("empty", []).split(0.5)


# --- symbols ----------------------------------------------------------------------------------------------------------


def test_shannon_has_27_symbols():
    assert text.shannon("Don't  panic:\nIt's 42, café!") == "don t panic it s caf"
    assert text.shannon("...") == ""


@given(st.text())
def test_shannon_is_letters_with_single_spaces(given_text):
    found = text.shannon(given_text)
    assert re.fullmatch("(?:[a-z]+(?: [a-z]+)*)?", found)
    assert text.shannon(found) == found


def test_words():
    assert text.words("Don't STOP -- it's the co-op's 2nd “Café”.") == [
        *["don't", "stop", "it's", "the", "co", "op's", "nd", "café"]
    ]
    assert text.words("42 %") == []


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),
        ("nai\u0308ve Cafe\u0301s", ["nai\u0308ve", "cafe\u0301s"]),
        ("İstanbul", ["i\u0307stanbul"]),  # in lower case a letter and a mark
        ("می\u200cروم خانه\u200c.", ["می\u200cروم", "خانه"]),
        ("co\u00adoperate", ["cooperate"]),
        ("\u0301 a x² Ⅷ", ["a", "x"]),
        ("d\u0323\u0307o’n\u0303t", ["d\u0323\u0307o’n\u0303t"]),
    ],
)
def test_words_keep_their_marks(given_text, expected):
    assert text.words(given_text) == expected


@pytest.mark.parametrize("part", ["a", "a\u0301", "a'", "'", "\u200c", "漢", "A. ", "e.g. ", '."', " \n", "\0"])
def test_long_lines_take_time_that_grows_with_their_length(part):
    line = part * (40_000 // len(part))
    start = time.process_time()
    text.words(line), text.shannon(line), text.sentences(_corpus(line)), text.sentences(_corpus(line, view="prose"))
    assert time.process_time() - start < 1


def test_sentences_of_a_plain_text_may_go_over_lines():
    corpus = _corpus("First Citizen:\nBefore we go,\nhear me. Speak!\n\nAll:\nSpeak.")
    assert text.sentences(corpus) == ["First Citizen: Before we go, hear me.", "Speak!", "All: Speak."]
    assert text.sentences(_corpus("One line.\nAnother line", view="prose")) == ["One line.", "Another line"]


def test_tokenizer_by_hand():
    tokenizer = text.CharTokenizer("cab")
    codes = tokenizer.encode("abcb")
    assert codes.tolist() == [1, 2, 0, 2]
    assert (codes.dtype, len(tokenizer)) == (torch.int64, 3)
    assert tokenizer.decode(codes) == tokenizer.decode([1, 2, 0, 2]) == "abcb"
    assert tokenizer.encode("").tolist() == [] and tokenizer.decode([]) == ""
    assert text.CharTokenizer.from_text("banana").alphabet == "abn"
    odd = text.CharTokenizer("a\ud800?")  # half a surrogate pair, as a damaged file may hold
    assert odd.decode(odd.encode("\ud800a")) == "\ud800a"


@settings(max_examples=200)
@given(st.text(alphabet=st.characters(), min_size=1), st.data())
def test_tokenizer_agrees_with_a_loop(sample, data):
    tokenizer = text.CharTokenizer.from_text(sample)
    message = data.draw(st.text(alphabet=sorted(set(sample))))
    assert tokenizer.encode(message).tolist() == [tokenizer.alphabet.index(c) for c in message]
    assert tokenizer.decode(tokenizer.encode(message)) == message


@pytest.mark.parametrize("character", ["b", "é", "z", "\U0001f600", "\ud800", "\0"])
def test_an_unknown_character_is_named_or_replaced(character):
    with pytest.raises(ValueError, match=re.escape(f"no code for {character!r} (place 2)")):
        text.CharTokenizer("ac").encode("ac" + character + "a")
    assert text.CharTokenizer("a?", unknown="?").encode("a" + character + "a").tolist() == [0, 1, 0]
    assert text.CharTokenizer.from_text("a", unknown="?").alphabet == "?a"


@pytest.mark.parametrize(
    ("alphabet", "unknown", "message"),
    [("", None, "empty"), ("aba", None, "'a' more than once"), ("ab", "c", "unknown must be"), ("ab", "ab", "unknown")],
)
def test_tokenizer_refuses_what_is_no_alphabet(alphabet, unknown, message):
    with pytest.raises(ValueError, match=message):
        text.CharTokenizer(alphabet, unknown)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([0, 2], "code 2: the codes of this alphabet are 0 … 1"),
        ([-1], "code -1"),
        ([[0, 1]], r"shape \(T,\)"),
        ([0.5], r"shape \(T,\)"),
    ],
)
def test_decode_refuses_what_has_no_character(codes, message):
    with pytest.raises(ValueError, match=message):
        text.CharTokenizer("ab").decode(torch.tensor(codes))


def test_encoding_a_million_characters_is_much_faster_than_a_loop():
    sample = "the quick brown fox jumps over the lazy dog. " * 25_000
    tokenizer = text.CharTokenizer.from_text(sample)
    table = {c: i for i, c in enumerate(tokenizer.alphabet)}

    def seconds(function):
        times = []
        for _ in range(3):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(lambda: tokenizer.encode(sample)) * 4 < seconds(lambda: torch.tensor([table[c] for c in sample]))


# --- the real libraries -----------------------------------------------------------------------------------------------


@pytest.fixture
def docs(tmp_path_factory, monkeypatch):
    """The real corpus, from a cache that the test processes of one run share; the first of them makes it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "docs"
    monkeypatch.setenv("COURSE_CACHE", str(shared))
    try:
        shared.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 120
        while not (shared / "made").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
    corpus = text.load("docs")
    text.labelled_sentences()
    (shared / "made").touch()
    return corpus


def _plain(sentence):
    return " ".join(re.findall("[a-z]+", sentence.lower()))


def test_every_library_has_prose_and_raw_text(docs):
    raw = text.load("docs", view="raw")
    for library, prose_least, raw_least in [
        ("numpy", 250_000, 1_400_000),
        ("scipy", 750_000, 4_500_000),
        ("sklearn", 400_000, 2_900_000),
        ("matplotlib", 350_000, 1_150_000),
        ("torchvision", 80_000, 550_000),
    ]:
        for corpus, least in ((docs, prose_least), (raw, raw_least)):
            mine = [d for d in corpus.documents if d.label == library]
            assert mine == text.load(library, view=corpus.view).documents
            assert least < sum(len(d.text) for d in mine) < 2 * least
            assert len({d.name for d in mine}) == len(mine)
    assert text.load("scikit-learn").documents == text.load("sklearn").documents


def test_raw_text_is_the_docstring(docs):
    found = {d.name: d.text for d in text.load("numpy", view="raw").documents}
    expected = inspect.cleandoc(numpy.linalg.norm.__doc__)
    assert found["numpy.linalg._linalg.norm"].split() == expected.split()


def test_prose_is_english(docs):
    assert docs.text.isascii()
    assert len(set(docs.text)) <= 80
    found = text.sentences(docs)
    assert len(found) > 20_000
    assert [s for s in found if not docstrings.is_english(s)] == []
    counts = Counter(text.words(docs.text))
    common = sum(counts[w] for w in ["the", "of", "a", "to", "is", "and", "in", "for", "be", "this"])
    assert 0.22 < common / counts.total() < 0.4
    assert sum(map(len, found)) / len(found) > 60


def test_nothing_of_training_is_held_out(docs):
    train, held_out = docs.split(0.1)
    assert 0.06 < len(held_out.text) / len(docs.text) < 0.11
    assert {d.label for d in held_out.documents} == set(text.LIBRARIES)
    seen = {_plain(s) for s in text.sentences(train)}
    new = [_plain(s) for s in text.sentences(held_out)]
    assert seen.isdisjoint(new)
    # nearly the same: most three-word runs of a held-out sentence in one training sentence
    places = {}
    for number, sentence in enumerate(seen):
        found = sentence.split()
        for i in range(len(found) - 2):
            places.setdefault(tuple(found[i : i + 3]), set()).add(number)
    near = 0
    for sentence in new:
        found = sentence.split()
        runs = {tuple(found[i : i + 3]) for i in range(len(found) - 2)}
        hits = Counter(number for run in runs for number in places.get(run, ()))
        near += bool(runs) and max(hits.values(), default=0) >= 0.75 * len(runs)
    assert near == 0


def test_a_library_holds_out_the_same_documents_alone_and_among_the_others(docs):
    alone = {d.name for d in text.load("torchvision").split(0.1)[1].documents}
    among = {d.name for d in docs.split(0.1)[1].documents if d.label == "torchvision"}
    assert among <= alone
    assert len(among) >= 0.9 * len(alone)


def test_labelled_sentences_are_balanced_and_give_nothing_away(docs):
    written_by = {}
    for document in docs.documents:
        for sentence in text.sentences(text.Corpus("one", [document], "prose")):
            written_by.setdefault(_plain(sentence), set()).add(document.label)
    for part in ("train", "held_out"):
        sentences, labels = text.labelled_sentences(part)
        assert len(sentences) == len(labels)
        counts = Counter(labels)
        assert set(counts) == set(text.LIBRARIES)
        assert len(set(counts.values())) == 1
        assert counts["numpy"] >= {"train": 400, "held_out": 90}[part]
        assert all(40 <= len(s) <= 200 for s in sentences)
        assert not [s for s in sentences if re.search("numpy|scipy|sklearn|scikit|matplotlib|torch|pyplot", s.lower())]
        assert labels != sorted(labels, key=text.LIBRARIES.index), "shuffled"
        for sentence, label in zip(sentences, labels, strict=True):
            assert written_by[_plain(sentence)] == {label}


def test_no_labelled_sentence_is_in_both_parts(docs):
    everything = {part: text._pool(part, text.LIBRARIES) for part in ("train", "held_out")}
    train, held_out = ([_plain(s) for found in pool.values() for s in found] for pool in everything.values())
    assert len(train) == len(set(train)) and len(held_out) == len(set(held_out))
    assert not set(train) & set(held_out)
    assert not {_plain(s) for s in text.sentences(docs.split(0.2)[0])} & set(held_out)
    for characters in (1_000, 30_000, 10**9):
        for found in text.training_texts(characters=characters).values():
            assert not set(held_out) & {_plain(s) for s in found.split("\n")}
            assert len(found) <= characters


def test_labelled_sentences_follow_their_arguments(docs):
    two = ("scipy", "torchvision")
    assert text.labelled_sentences(seed=1) == text.labelled_sentences(seed=1) != text.labelled_sentences(seed=2)
    sentences, labels = text.labelled_sentences("held_out", two, limit=7, seed=3)
    assert Counter(labels) == {"scipy": 7, "torchvision": 7}
    assert set(sentences) <= {s for found in text._pool("held_out", text.LIBRARIES).values() for s in found}
    texts = text.training_texts(two, characters=5_000)
    assert list(texts) == list(two)
    assert texts["scipy"] == text.training_texts(characters=5_000)["scipy"]
    assert all(4_700 < len(found) <= 5_000 for found in texts.values())
    assert text.training_texts("scipy", 9_000)["scipy"].startswith(texts["scipy"])
    for wrong in [{"libraries": ("numpy", "pandas")}, {"libraries": ()}, {"libraries": ("numpy", "numpy")}]:
        with pytest.raises(ValueError, match="different names out of numpy, scipy"):
            text.labelled_sentences(**wrong)
    with pytest.raises(ValueError, match="at least 1"):
        text.labelled_sentences(limit=0)
    with pytest.raises(ValueError, match='"train" or "held_out"'):
        text.labelled_sentences("test")
    with pytest.raises(ValueError, match="ask for at least 200"):
        text.training_texts(characters=10)


def test_the_second_time_reads_no_package_and_splits_nothing(docs, monkeypatch):
    text._labelled.cache_clear()  # another test may have asked, with another cache folder
    monkeypatch.setattr(text, "_loaded", {})
    text.load("docs")
    text.labelled_sentences()
    monkeypatch.setattr(text, "_loaded", {})
    text._labelled.cache_clear()
    monkeypatch.setattr(docstrings, "source_files", lambda folder: pytest.fail("the packages were read again"))
    monkeypatch.setattr(text.Corpus, "split", lambda *a, **k: pytest.fail("split again"))
    text.load("docs")
    text.labelled_sentences()
