"""Text files from anywhere: which encoding a file has, or what it is if it is not text. Nothing here writes to a file.

text_files.decode(content, path)      # the text of a file's bytes, or a ValueError that says what they are
"""

import codecs
import io
import re
import zipfile
from pathlib import Path

MARKS = (  # longest first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks and the codecs that read them."""

UNPACK = "unpack it, and give the path of the text file in it"
PICTURE = "pictures are read with images.folder"
WRITER = "open it in the program that made it, and save it as plain text (UTF-8)"
OTHER = "give the path of a text file"

KINDS = (  # (where, the bytes there, what such a file is, what to do)
    (0, b"%PDF-", "a PDF document", WRITER),
    (0, b"{\\rtf", "a document in Rich Text Format (RTF)", WRITER),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document (.doc, .xls or .ppt)", WRITER),
    (0, b"bplist00", "a property list of a Mac", WRITER),
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", OTHER),
    (0, b"\x1f\x8b", "a gzip archive", UNPACK),
    (0, b"BZh", "a bzip2 archive", UNPACK),
    (0, b"\xfd7zXZ\x00", "an xz archive", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (0, b"\x04\x22\x4d\x18", "an LZ4 archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture", PICTURE),
    (0, b"\xff\xd8\xff", "a JPEG picture", PICTURE),
    (0, b"GIF8", "a GIF picture", PICTURE),
    (0, b"II*\x00", "a TIFF picture", PICTURE),
    (0, b"MM\x00*", "a TIFF picture", PICTURE),
    (8, b"WEBP", "a WebP picture", PICTURE),
    (0, b"BM", "a BMP picture", PICTURE),
    (0, b"8BPS", "a Photoshop picture", PICTURE),
    (4, b"ftyphei", "a HEIC picture", PICTURE),
    (4, b"ftypmif1", "a HEIC picture", PICTURE),
    (4, b"ftypavif", "an AVIF picture", PICTURE),
    (4, b"ftyp", "a video or a recording (MP4)", OTHER),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", OTHER),
    (8, b"AVI ", "a video (AVI)", OTHER),
    (8, b"WAVE", "a recording (WAV)", OTHER),
    (0, b"OggS", "a recording (Ogg)", OTHER),
    (0, b"fLaC", "a recording (FLAC)", OTHER),
    (0, b"ID3", "a recording (MP3)", OTHER),
    (0, b"\xff\xfb", "a recording (MP3)", OTHER),
    (0, b"SQLite format 3\x00", "an SQLite database", OTHER),
    *((0, bytes([0x80, version]), "a Python pickle", OTHER) for version in (2, 3, 4, 5)),
    (0, b"\x93NUMPY", "a numpy array (.npy)", OTHER),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", OTHER),
    (0, b"PAR1", "a Parquet table", OTHER),
    (0, b"ARROW1", "an Arrow table", OTHER),
    (0, b"GGUF", "the weights of a model (GGUF)", OTHER),
    (8, b'{"', "the weights of a model (safetensors)", OTHER),
    (0, b"\x7fELF", "a program", OTHER),
    (0, b"MZ", "a program", OTHER),
    (0, b"\xcf\xfa\xed\xfe", "a program", OTHER),
    (0, b"\xca\xfe\xba\xbe", "a program", OTHER),
)
"""The first bytes of files that are not text."""

ALWAYS = (b"%PDF-", b"{\\rtf")  # these may hold nothing but letters, yet they are not text to learn from

IN_ZIP = (  # a file in the archive -> what the archive is
    ("word/document.xml", "a Word document (.docx)", WRITER),
    ("xl/workbook.xml", "an Excel table (.xlsx)", WRITER),
    ("ppt/presentation.xml", "a PowerPoint presentation (.pptx)", WRITER),
    ("META-INF/container.xml", "an e-book (EPUB)", WRITER),
    ("content.xml", "an OpenDocument file (.odt, .ods or .odp)", WRITER),
    ("data.pkl", "a PyTorch file", OTHER),
)

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # all but tab, line ends and page breaks
CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def decode(content: bytes, path: Path) -> str:
    r"""Return the text of a file's bytes, with "\n" at the ends of lines.

    UTF-8 is read, and UTF-8, UTF-16 and UTF-32 with a byte-order mark.

    Raises:
        ValueError: for another encoding, a picture, an archive, a document, or text with control characters. The
            message says what the file is, and how to get text from it; the advice never changes the file itself.
    """
    if content.startswith(ALWAYS):
        raise ValueError(_other(content, path))
    encoding = next((codec for mark, codec in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(_other(content, path) or _undecodable(content, encoding, error, path)) from None
    text = text.removesuffix("\x1a")  # how DOS ended its text files
    if found := CONTROL.search(text):
        raise ValueError(_other(content, path) or _controls(text, content, encoding, found, path))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _other(content: bytes, path: Path) -> str:
    """What a file is that is not text, and what to do; empty if nothing is known about it."""
    binary = CONTROL_BYTE.search(content)
    for at, mark, kind, advice in KINDS:
        letters = mark.isascii() and mark.decode().isprintable() and mark not in ALWAYS  # a text may begin with "BM"
        if content.startswith(mark, at) and (binary or not letters):
            if kind == "a zip archive":
                kind, advice = _in_zip(content)
            return f"{path} is {kind}, not text: {advice}"
    return ""


def _in_zip(content: bytes) -> tuple[str, str]:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a damaged zip archive", "fetch it again, unpack it, and give the path of the text file in it"
    for part, kind, advice in IN_ZIP:
        if any(name == part or name.endswith(f"/{part}") for name in names):
            return kind, advice
    return "a zip archive", UNPACK


# --- advice -----------------------------------------------------------------------------------------------------------


def _new_file(path: Path, expression: str) -> str:
    """Python code that writes the text of `expression` into a file that does not exist yet."""
    new, number = path.with_name(f"{path.stem}-utf8.txt"), 2
    while new.exists():
        new, number = path.with_name(f"{path.stem}-utf8-{number}.txt"), number + 1
    return f'open({str(new)!r}, "x", encoding="utf-8").write({expression})'  # "x": never over another file


def _read(path: Path, encoding: str, more: str = "") -> str:
    return f'open({str(path)!r}, encoding="{encoding}"{more}).read()'


def _undecodable(content: bytes, encoding: str, error: UnicodeDecodeError, path: Path) -> str:
    at = f"byte {error.start}: 0x{error.object[error.start]:02x}"
    if not encoding.startswith("utf-8"):
        name = encoding.upper()
        return f"{path} begins as {name}, but is not {name} ({at}): it was cut off or damaged; fetch or save it again"
    if error.reason == "unexpected end of data" and not content[: error.start].isascii():
        return f"{path} is UTF-8, but ends in the middle of a character: it was cut off; fetch or save it again"
    if guess := _wide(content):
        why, how = f"it looks like {guess}", _read(path, guess)
    elif CONTROL_BYTE.search(content):
        return f"{path} is not text: it is not UTF-8 ({at}), and it holds control characters; {OTHER}"
    elif _mostly_utf8(content):
        why, how = "almost all of it is UTF-8", _read(path, "utf-8", ', errors="replace"')
    else:
        guess = _western(content)
        why, how = f"if it is Western text, it is likely {guess}", _read(path, guess)
    return (
        f"{path} is not UTF-8 ({at}): open it in an editor and save a copy as UTF-8; or make a new file with Python, "
        f"which leaves yours as it is ({why}): {_new_file(path, how)}"
    )


def _wide(content: bytes) -> str:
    """The name of UTF-16, if there are many zeros and nearly all lie in every other byte; else nothing."""
    zeros = [content[start::2].count(0) for start in (0, 1)]
    if max(zeros) < max(3, len(content) / 20) or min(zeros) > max(zeros) / 10:
        return ""
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


def _mostly_utf8(content: bytes) -> bool:
    """Whether it has more whole characters beyond ASCII than bytes that belong to no character."""
    text = content.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - bad > bad


def _western(content: bytes) -> str:
    """Windows' encoding, whose quotes and dashes are control characters in Latin-1; or Latin-1, where that has gaps."""
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _controls(text: str, content: bytes, encoding: str, found: re.Match, path: Path) -> str:
    at = f"U+{ord(found[0]):04X} at place {found.start():,}"
    if encoding == "utf-8" and "\0" in text and (guess := _wide(content)):
        new = _new_file(path, _read(path, guess))
        advice = f"it looks like {guess} without a byte-order mark; this makes a new file: {new}"
    elif not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):  # only those that cp1252 has a letter or a quote for
        how = f'{_read(path, encoding)}.encode("latin-1", "replace").decode("cp1252", "replace")'
        advice = (
            "Windows' quotes and dashes turn into these when read as Latin-1; this makes a new file that has them "
            f"back: {_new_file(path, how)}"
        )
    else:
        how = f're.sub(r"[\\x00-\\x08\\x0e-\\x1f\\x7f-\\x9f]", "", {_read(path, encoding)})'
        advice = (
            "it is not text, or it was damaged; after `import re`, this makes a new file without them: "
            f"{_new_file(path, how)}"
        )
    return f"{path} holds control characters ({at}): {advice}"
