"""Public corpora by name: fetched once, from whichever address answers, checked against a SHA-256, kept in the cache."""

import hashlib
import io
import urllib.request
import zipfile
from dataclasses import dataclass

from course_utils.data import cache


@dataclass(frozen=True)
class Known:
    file: str
    sha256: str
    addresses: tuple[str, ...]


KNOWN = {
    "tiny_shakespeare": Known(
        "tiny_shakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        (
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            "https://raw.githubusercontent.com/karpathy/ng-video-lecture/master/input.txt",
        ),
    ),
    "sms_spam": Known(
        "sms_spam.zip",
        "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3",
        (
            "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            "https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",
        ),
    ),
}
SECONDS = 20  # without a byte before the next address is tried
MOST_BYTES = 64 * 2**20


def fetch(name: str) -> bytes:
    """The checked bytes of a known file, from the cache or else from the network.

    Raises ConnectionError, saying which file to put where, if no address gives it.
    """
    known = KNOWN[name]
    place = cache.folder() / "downloads" / known.file
    failures = []
    try:
        content = place.read_bytes()
        if hashlib.sha256(content).hexdigest() == known.sha256:
            return content
        failures.append(f"{place}: not the expected file (SHA-256 differs)")
    except OSError:
        pass
    for address in known.addresses:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:
                content = answer.read(MOST_BYTES)
        except (OSError, ValueError) as error:  # URLError, timeouts and http.client's errors below
            failures.append(f"{address}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == known.sha256:
            cache.write(f"downloads/{known.file}", content)
            return content
        failures.append(f"{address}: sent {len(content):,} bytes that are not the expected file (SHA-256 differs)")
    raise ConnectionError(
        f"could not get {name}:\n  "
        + "\n  ".join(failures)
        + "\nCheck the network and try again. Or, on a machine that has one, download one of\n  "
        + "\n  ".join(known.addresses)
        + f'\nand put the file here as\n  {place}\nWithout a network, text.load() has real English too: load("docs").'
    )


def documents(name: str) -> list[tuple[str, str, str]]:
    """(name, source, text) of each document: one play text for tiny_shakespeare, one per message ("ham/1", "spam/3") for sms_spam."""
    content = fetch(name)
    if name == "tiny_shakespeare":
        return [(name, KNOWN[name].addresses[0], content.decode())]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read("SMSSpamCollection").decode().split("\n")
    pairs = [line.rstrip("\r").split("\t", 1) for line in lines if "\t" in line]
    return [(f"{label}/{i}", KNOWN[name].addresses[0], text) for i, (label, text) in enumerate(pairs)]
