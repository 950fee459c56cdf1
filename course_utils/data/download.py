"""Public corpora by name: fetched once from whichever address answers, checked against a SHA-256, kept in the cache."""

import hashlib
import http.client
import io
import urllib.request
import zipfile
from dataclasses import dataclass

from course_utils.data import cache

SECONDS = 20  # without a byte, before the next address is tried
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class File:
    """A public file: its name in the cache, its checksum and the addresses that offer it, in the order to try."""

    name: str
    sha256: str
    addresses: tuple[str, ...]


KNOWN = {
    "tiny_shakespeare": File(
        "tiny_shakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "https://raw.githubusercontent.com/jcjohnson/torch-rnn/master/data/tiny-shakespeare.txt",
            "https://raw.githubusercontent.com/karpathy/ng-video-lecture/master/input.txt",
        ),
    ),
    "sms_spam": File(  # T. A. Almeida, J. M. Gómez Hidalgo: SMS Spam Collection v.1 (2011), CC BY 4.0
        "sms_spam.zip",
        "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
        (
            "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            "https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",
        ),
    ),
}


def fetch(name: str) -> bytes:
    """The checked bytes of a known file: from the cache, else from the first address that sends the right ones.

    Raises ConnectionError if none does; it says what each address answered, and which file to put where.
    """
    file = KNOWN[name]
    place = cache.folder() / "downloads" / file.name
    failures = []
    try:
        content = place.read_bytes()
    except OSError:
        pass
    else:
        if hashlib.sha256(content).hexdigest() == file.sha256:
            return content
        failures.append(f"{place}: not the expected file (its SHA-256 differs)")
    for address in file.addresses:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:
                content = answer.read(MOST_BYTES)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{address}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == file.sha256:
            cache.write(f"downloads/{file.name}", content)
            return content
        failures.append(f"{address}: sent {len(content):,} bytes, but not the expected file (their SHA-256 differs)")
    raise ConnectionError(
        "\n  ".join([f"could not get {name!r}:", *failures])
        + "\n  ".join(
            ["\nTry again with a network, or download the file on another machine from one of", *file.addresses]
        )
        + f'\nand save it as\n  {place}\nWithout a network, text.load("docs") has two million characters of English'
    )


def documents(name: str) -> list[tuple[str, str, str]]:
    """(name, source, text) of each document: all of tiny_shakespeare; each message ("ham/0", "spam/2") of sms_spam."""
    content = fetch(name)
    source = KNOWN[name].addresses[0]
    if name == "tiny_shakespeare":
        return [(name, source, content.decode())]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read("SMSSpamCollection").decode().split("\n")
    messages = [line.rstrip("\r").split("\t", 1) for line in lines if "\t" in line]
    return [(f"{label}/{i}", source, text) for i, (label, text) in enumerate(messages)]
