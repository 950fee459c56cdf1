"""`course fetch`: whole or not at all, checked, and one sentence for whatever goes wrong. The servers are local."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zipfile
from itertools import dropwhile
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save as to_bytes
from typer.testing import CliRunner

from course_utils import pretrained, runtime
from course_utils.cli import app
from course_utils.data import download, images, real, text
from course_utils.data.text import CharTokenizer
from course_utils.models.transformer import GPT, Config

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 2000
CHATS = "ham\tOk lar... \u2028Joking\r\nspam\tWIN a\tprize £100\n\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /NAME with the server's `files[NAME]`, and ranges; `cut` and `rude` say what is special about a name."""

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        self.server.asked.append((name, self.headers.get("Range")))
        body = self.server.files.get(name)
        if body is None:
            return self.send_error(404, "Not Found")
        start = 0
        if (asked := self.headers.get("Range")) and name not in self.server.rude:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(body):
                return self.no_such_range(len(body))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = self.server.cut.pop(name, len(body))
        for at in range(start, stop, self.server.block):
            self.wfile.write(body[at : min(at + self.server.block, stop)])
            time.sleep(self.server.wait)

    def no_such_range(self, size: int):
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self):
        with contextlib.suppress(ConnectionError):  # who asked was killed, or has given up
            super().handle()

    def log_message(self, *args):
        pass


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of all that is fetched; no mirror is set."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "real"


@pytest.fixture
def server(here, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.asked, served.files, served.cut, served.rude = [], {}, {}, set()
        served.block, served.wait = 2**16, 0
        served.address = f"http://127.0.0.1:{served.server_port}"
        threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
        yield served
        served.shutdown()


def sha(content):
    return hashlib.sha256(content).hexdigest()


def item(monkeypatch, server, *names, content=PLAY, name="tiny_shakespeare"):
    """Make the play an item that is offered at these paths of the server, the first of which are wrong."""
    file = real.File("tiny_shakespeare.txt", sha(content), len(content))
    source = real.Source(tuple(f"{server.address}/{path}" for path in names), sha(content), len(content))
    made = real.Item(name, "a play", 0.1, "none", "a page", ("01",), "tiny_shakespeare.txt", (file,), (source,))
    monkeypatch.setitem(real.ITEMS, name, made)
    return made


def left(here):
    """What lies there, but for locks."""
    return sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file() and p.suffix != ".lock")


def refused(name, **options):
    """The one sentence with which a fetch ends."""
    with pytest.raises(download.NotFetched) as caught:
        download.fetch(name, **options)
    message = str(caught.value)
    assert "\n" not in message and name in message
    return message


# --- what there is ----------------------------------------------------------------------------------------------------


def test_everything_is_pinned_and_described():
    for name, found in real.ITEMS.items():
        assert found.name == name and found.what and found.licence and found.lectures and found.megabytes > 0
        assert len(found.sources) in (1, len(found.files))
        for one in (*found.sources, *found.files):
            assert one.checksum is None or re.fullmatch("[0-9a-f]{64}|md5:[0-9a-f]{32}", one.checksum)
        for source in found.sources:
            pinned = [re.search(r"/resolve/[0-9a-f]{40}/", address) for address in source.addresses]
            assert source.checksum or all(pinned), "a checksum, or a revision that cannot change"
            assert source.addresses[0].startswith(("https://", "{hub}/"))
    assert all(len(real.ITEMS[name].sources[0].addresses) >= 2 for name in download.KNOWN)


def test_lectures_and_names():
    assert real.of_lecture("6") == real.of_lecture("06") == ["sms_spam", "all-MiniLM-L6-v2"]
    with pytest.raises(ValueError, match="lecture 03 needs nothing.*these do: 01, 02"):
        real.of_lecture("3")
    assert real.known("openai-community/gpt2").name == "gpt2"
    with pytest.raises(ValueError, match="nothing called 'gpt9' can be fetched: choose from tiny_shakespeare"):
        real.known("gpt9")


def test_results_that_were_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(real, "RESULTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing was measured for 'spam': there are none yet"):
        real.result("spam")
    (tmp_path / "spam.json").write_text('{"date": "2026-01-01"}')
    assert real.result("spam")["date"] == "2026-01-01"
    with pytest.raises(FileNotFoundError, match="there are spam"):
        real.result("cifar")


# --- the network ------------------------------------------------------------------------------------------------------


def test_the_next_address_is_tried_until_the_checksum_is_right(here, server, monkeypatch):
    server.files = {"wrong": b"<html>Sign in</html>", "short": PLAY, "good": PLAY}
    server.cut = {"short": 5000}
    item(monkeypatch, server, "missing", "wrong", "short", "good", "never")
    assert download.fetch("tiny_shakespeare").read_bytes() == PLAY
    assert [name for name, _ in server.asked] == ["missing", "wrong", "short", "good"]
    assert left(here) == ["tiny_shakespeare.txt"]
    download.fetch("tiny_shakespeare")
    assert len(server.asked) == 4, "the second time it was here"


def test_a_download_that_was_cut_goes_on_where_it_was(here, server, monkeypatch):
    server.files, server.cut = {"play": PLAY}, {"play": 70_000}
    item(monkeypatch, server, "play")
    assert "the connection was cut" in refused("tiny_shakespeare")
    assert left(here) == [".fetching/tiny_shakespeare/play.part"] and real.find("tiny_shakespeare") is None
    assert real.state("tiny_shakespeare") == "begun, not complete"
    assert download.fetch("tiny_shakespeare").read_bytes() == PLAY
    assert server.asked == [("play", None), ("play", "bytes=65536-")], "written in blocks of 64 KiB"
    assert left(here) == ["tiny_shakespeare.txt"]


@pytest.mark.parametrize("begun", [PLAY[:9999], b"another file" * 100, PLAY + b"more", b""])
@pytest.mark.parametrize("rude", [False, True], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("sized", [True, False])
def test_whatever_an_earlier_run_left_the_result_is_right(here, server, monkeypatch, begun, rude, sized):
    server.files, server.rude = {"play": PLAY}, {"play"} if rude else set()
    made = item(monkeypatch, server, "play")
    if not sized:
        object.__setattr__(made.sources[0], "size", None)
    part = here / ".fetching" / "tiny_shakespeare" / "play.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(begun)
    assert download.fetch("tiny_shakespeare").read_bytes() == PLAY


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "the server says 404 Not Found"), ("wrong", "its checksum differs")]
)
def test_nothing_wrong_is_kept(here, server, monkeypatch, name, said):
    server.files = {"wrong": b"<html>Sign in</html>"}
    item(monkeypatch, server, name)
    assert said in refused("tiny_shakespeare")
    assert left(here) == [] and real.state("tiny_shakespeare") == "no"


def test_no_network_no_name_no_proxy(here, server, monkeypatch):
    made = item(monkeypatch, server, "play")
    server.shutdown()
    server.server_close()
    assert "no connection" in refused("tiny_shakespeare")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "the proxy that HTTP_PROXY or HTTPS_PROXY names does not answer" in refused("tiny_shakespeare")
    monkeypatch.delenv("HTTP_PROXY")
    for address in ("http://nowhere.invalid/play", "http:///play", "nonsense"):
        source = real.Source((address,), made.sources[0].checksum)
        monkeypatch.setitem(real.ITEMS, "tiny_shakespeare", real.Item(**{**vars(made), "sources": (source,)}))
        assert "set COURSE_MIRROR to a folder" in refused("tiny_shakespeare")
    assert left(here) == []
    with pytest.raises(ConnectionError, match=r'text.load\("docs"\) gives two million characters'):
        text.load("tiny_shakespeare")


def test_no_answer(here, server, monkeypatch):
    monkeypatch.setattr(download, "SECONDS", 0.2)
    server.files, server.wait, server.block = {"play": PLAY}, 1, 10
    item(monkeypatch, server, "play")
    assert re.search("no answer within 0.2 s|no connection", refused("tiny_shakespeare"))


def test_archives_are_unpacked(here, server, monkeypatch):
    packed, batches = io.BytesIO(), {f"data_batch_{i}": bytes([i]) * 1000 for i in range(3)}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in {**batches, "readme.html": b"no"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("SMSSpamCollection", CHATS)
        archive.writestr("readme", "no")
    server.files = {"c.tar.gz": packed.getvalue(), "s.zip": zipped.getvalue(), "p.gz": gzip.compress(PLAY)}
    for name, path, files in (
        ("cifar10", "c.tar.gz", {f"cifar-10-batches-py/{name}": content for name, content in batches.items()}),
        ("sms_spam", "s.zip", {"sms_spam/SMSSpamCollection": CHATS.encode()}),
        ("fashion_mnist", "p.gz", {"FashionMNIST/raw/images": PLAY}),
    ):
        source = real.Source((f"{server.address}/{path}",), sha(server.files[path]))
        files = {name: (real.File(name, sha(content)), content) for name, content in files.items()}
        place = next(iter(files)).split("/")[0]
        made = real.Item(name, "", 0.1, "", "", (), place, tuple(file for file, _ in files.values()), (source,))
        monkeypatch.setitem(real.ITEMS, name, made)
        assert download.fetch(name) == here / place
        assert {name: (here / name).read_bytes() for name in files} == {n: c for n, (_, c) in files.items()}
    assert [(d.name, d.label, d.text) for d in text.load("sms_spam").documents] == [
        ("ham/0", "ham", "Ok lar... \u2028Joking"),
        ("spam/1", "spam", "WIN a\tprize £100"),
    ]


# --- the hub, and being killed ----------------------------------------------------------------------------------------


def model_files(layers=24, width=1024):
    import torch

    config = json.dumps({"model_type": "gpt2", "n_embd": width, "n_layer": layers}).encode()
    weights = to_bytes({"w": torch.randn(250_000, generator=runtime.seed(0))})
    return {"config.json": config, "tokenizer.json": b'{"model": {}}', "model.safetensors": weights}


def course_fetch(here, server, *arguments, **settings):
    environment = {**os.environ, "HF_ENDPOINT": server.address, "COURSE_CACHE": str(here.parent), **settings}
    command = [sys.executable, "-m", "course_utils.cli", "fetch", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_fetch_that_is_killed_at_any_moment_goes_on(here, server):
    """Kills while it starts, and when so many bytes of the weights are here; none leaves a model that is not whole."""
    server.files = model_files()
    server.block, server.wait = 20_000, 0.02  # a second for the weights
    part = here / ".fetching" / "gpt2-medium" / "model.safetensors.part"
    for moment in (0.2, 0.6, 70_000, 400_000, 800_000, 990_000):
        running = course_fetch(here, server, "gpt2-medium")
        if moment < 1:
            time.sleep(moment)
        while moment >= 1 and running.poll() is None and not (part.exists() and part.stat().st_size >= moment):
            time.sleep(0.001)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        whole = real.find("gpt2-medium")
        assert whole is None or left(whole) == sorted(server.files)
        assert whole or not (here / "models" / "gpt2-medium").exists()
    running = course_fetch(here, server, "gpt2-medium")
    said, complaints = running.communicate()
    assert running.returncode == 0, complaints
    assert {name: (here / "models" / "gpt2-medium" / name).read_bytes() for name in server.files} == server.files
    assert left(here) == [f"models/gpt2-medium/{name}" for name in sorted(server.files)]
    ranges = [asked for name, asked in server.asked if name == "model.safetensors"]
    resumed = list(dropwhile(lambda asked: asked is None, ranges))  # the first three may be killed with nothing there
    assert 1 <= len(ranges) - len(resumed) <= 3 <= len(resumed) and all(resumed), "none began anew"
    assert [name for name, _ in server.asked].count("config.json") <= 3, "what was there was not fetched again"


def test_a_fetch_that_is_killed_while_the_checksum_is_counted_has_it_all_still(here, server, monkeypatch):
    server.files = model_files()
    monkeypatch.setenv("HF_ENDPOINT", server.address)

    def killed(*_, source, **__):
        if source == "model.safetensors":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", killed)
        with pytest.raises(KeyboardInterrupt):
            download.fetch("gpt2-medium")
    download.fetch("gpt2-medium")
    whole = len(server.files["model.safetensors"])
    asked = [asked for name, asked in server.asked if name == "model.safetensors"]
    assert asked == [None, f"bytes={whole}-"], "nothing was fetched twice"
    assert left(here) == [f"models/gpt2-medium/{name}" for name in sorted(server.files)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config.json": b"<html>Sign in</html>"}, "its config.json is cut off, damaged or another kind of file"),
        ({"config.json": model_files(layers=12)["config.json"]}, "n_layer is 12 in its config.json, not 24"),
        ({"config.json": b'{"model_type": "llama"}'}, "model_type is 'llama' in its config.json, not 'gpt2'"),
        ({"tokenizer.json": b'{"model": '}, "its tokenizer.json is cut off"),
        ({"model.safetensors": model_files()["model.safetensors"][:-10]}, "its model.safetensors is cut off"),
        ({"model.safetensors": b"<html>Sign in</html>"}, "its model.safetensors is cut off or damaged"),
    ],
)
def test_another_model_is_refused(here, server, monkeypatch, change, said):
    server.files = {**model_files(), **change}
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    assert said in refused("gpt2-medium")
    assert left(here) == []


# --- a mirror ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stick(tmp_path, monkeypatch):
    """A mirror with some of everything, in the form that the documentation gives it."""
    stick = tmp_path / "stick"
    (stick / "sms_spam").mkdir(parents=True)
    lines = ["Label\tText", *["ham\thello"] * 4827, *["spam\twin"] * 747]
    (stick / "sms_spam" / "SMSSpamCollection").write_text("\n".join(lines) + "\n")
    for name, content in model_files().items():
        (stick / "models" / "gpt2-medium").mkdir(parents=True, exist_ok=True)
        (stick / "models" / "gpt2-medium" / name).write_bytes(content)
    for number, kind in enumerate(real.CIFAR10):
        for part, count in (("train", 2), ("test", 1)):
            (stick / "cifar10" / part / kind).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (25 * number, 0, 0)).save(stick / "cifar10" / part / kind / f"{i}.png")
    monkeypatch.setenv("COURSE_MIRROR", str(stick))
    return stick


def test_a_mirror_gives_what_it_has_and_the_rest_is_named(here, stick):
    said = CliRunner().invoke(app, ["fetch", "--all"])
    assert said.exit_code == 1
    assert "gpt2 is not in the mirror" in said.output and "it would be in models/gpt2\n" in said.output
    assert "5 of 8 could not be fetched; the others are here" in said.output
    assert [name for name in real.ITEMS if real.find(name)] == ["sms_spam", "cifar10", "gpt2-medium"]
    assert real.state("cifar10") == "a part: 20 and 10 pictures"
    assert {p for p in left(here)} == {p for p in left(stick)}
    assert CliRunner().invoke(app, ["fetch", "sms_spam", "cifar10"]).exit_code == 0


def test_what_was_fetched_is_a_mirror_for_others(here, stick, tmp_path, monkeypatch):
    said = CliRunner().invoke(app, ["fetch", "sms_spam", "gpt2-medium", "--to", str(tmp_path / "other")])
    assert said.exit_code == 0 and not here.exists()
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "other"))
    assert CliRunner().invoke(app, ["fetch", "sms_spam", "gpt2-medium"]).exit_code == 0
    assert left(here) == left(tmp_path / "other")


def test_loaders_find_what_was_fetched(here, stick, tmp_path):
    assert len(text.load("sms_spam").documents) == 5574
    download.fetch("cifar10")
    with pytest.warns(UserWarning, match="a part of CIFAR-10 is here: 20 train pictures"):
        pictures = images.torchvision("CIFAR10")
    assert pictures.images.shape == (20, 3, 32, 32) and tuple(pictures.classes) == real.CIFAR10
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no more was asked for
        assert len(images.torchvision("CIFAR10", limit=2)) == 20
    with pytest.raises(ConnectionError, match="cannot fetch CIFAR10"):
        images.torchvision("CIFAR10", root=tmp_path)  # a folder that was asked for is not replaced by another
    assert pretrained_name_is_found(here)


def pretrained_name_is_found(here):
    tokenizer = CharTokenizer("abc\0", unknown="\0")
    model = GPT(Config(len(tokenizer), 8, 16, 1, 2), runtime.seed(0))
    pretrained.save(here / "models" / "gpt2-medium", model, tokenizer, {})
    found = [pretrained.load(name)[0] for name in ("gpt2-medium", "openai-community/gpt2-medium")]
    return all(one.config.dim == 16 for one in found)


def test_a_mirror_that_is_not_there_or_lacks_a_file(here, stick, monkeypatch):
    (stick / "models" / "gpt2-medium" / "tokenizer.json").unlink()
    assert "is incomplete in the mirror" in refused("gpt2-medium")
    (stick / "cifar10" / "test" / "truck" / "0.png").unlink()  # a part has all classes in both
    assert "or a part of it in cifar10/train and cifar10/test" in refused("cifar10")
    monkeypatch.setenv("COURSE_MIRROR", str(stick / "away"))
    with pytest.raises(download.NotFetched, match="COURSE_MIRROR is .*away, but there is no such folder: plug it in"):
        download.fetch("sms_spam")
    assert left(here) == []


@pytest.mark.parametrize(
    ("name", "path", "content", "said"),
    [
        ("tiny_shakespeare", "tiny_shakespeare.txt", b"a" * 1_115_394, "its checksum differs"),
        ("tiny_shakespeare", "tiny_shakespeare.txt", b"a", "it has 1 bytes"),
        ("sms_spam", "sms_spam/SMSSpamCollection", b"ham\thello\n", "it has 1 ham and 0 spam"),
        ("sms_spam", "sms_spam/SMSSpamCollection", b"\xff\xfe\0", "it has 0 ham and 0 spam"),
        ("cifar10", "cifar10/train/dog/0.png", b"no picture", "cifar10/train/dog/0.png is not a picture"),
        ("gpt2-medium", "models/gpt2-medium/config.json", b"{}", "it is another model: model_type is None"),
        ("gpt2-medium", "models/gpt2-medium/model.safetensors", b"", "model.safetensors is not the expected file"),
    ],
)
def test_a_wrong_file_in_the_mirror(here, stick, name, path, content, said):
    (stick / path).write_bytes(content)
    message = refused(name)
    assert said in message and "Nothing of it was kept" in message
    assert left(here) == [] and real.state(name) == "no"


def test_pictures_of_another_size_are_not_cifar(here, stick):
    Image.new("RGB", (64, 64)).save(stick / "cifar10" / "test" / "cat" / "0.png")
    assert "cifar10/test/cat/0.png has 64 × 64 pixels, not 32 × 32" in refused("cifar10")


def test_a_copy_that_was_stopped_goes_on(here, stick, monkeypatch):
    copy, copied = download._copy_file, []

    def stopped(source, target, bar):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(target.name)
        copy(source, target, bar)

    monkeypatch.setattr(download, "_copy_file", stopped)
    said = CliRunner().invoke(app, ["fetch", "gpt2-medium"])
    assert said.exit_code == 1 and "stopped; what is finished is kept" in said.output
    assert real.find("gpt2-medium") is None and not (here / "models").exists()
    monkeypatch.setattr(download, "_copy_file", copy)
    assert left(download.fetch("gpt2-medium")) == sorted(model_files())
    assert left(here) == [f"models/gpt2-medium/{name}" for name in sorted(model_files())]


def test_a_run_that_was_killed_while_it_moved_the_result_is_finished(here, server):
    """The damaged folder is away already, and the new one not yet in its place."""
    made = here / ".fetching" / "gpt2-medium" / "made" / "models" / "gpt2-medium"
    made.mkdir(parents=True)
    (here / ".fetching" / "gpt2-medium" / "old").mkdir()
    for name, content in model_files().items():
        (made / name).write_bytes(content)
    assert left(download.fetch("gpt2-medium")) == sorted(model_files())
    assert server.asked == [] and left(here) == [f"models/gpt2-medium/{name}" for name in sorted(model_files())]


# --- this machine -----------------------------------------------------------------------------------------------------


def test_no_space_is_said_before_anything_is_written(here, stick, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert "no space for sms_spam" in refused("sms_spam")
    monkeypatch.delenv("COURSE_MIRROR")
    assert "no space for gpt2" in refused("gpt2")
    assert left(here) == []


def test_space_that_runs_out_meanwhile(here, stick, monkeypatch):
    def copy(source, target, bar):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_copy_file", copy)
    assert "no space for gpt2-medium" in refused("gpt2-medium")
    assert left(here) == []


def test_a_folder_that_cannot_be_written_to(here, stick):
    here.parent.mkdir()
    here.write_text("a file where the folder should be")
    assert "set COURSE_CACHE to another folder" in refused("sms_spam")


def test_a_folder_that_someone_moved_or_harmed_is_made_again(here, stick):
    place = download.fetch("gpt2-medium")
    place.rename(place.with_name("mine"))
    assert real.find("gpt2-medium") is None and real.state("gpt2-medium") == "no"
    assert "Not fetched yet: gpt2-medium (1.5 GB). With a network: course fetch gpt2-medium" == real.missing(
        "gpt2-medium"
    )
    assert download.fetch("gpt2-medium") == place and real.missing("gpt2-medium") == ""
    (place / "tokenizer.json").unlink()
    assert real.find("gpt2-medium") is None and real.state("gpt2-medium") == "begun, not complete"
    download.fetch("gpt2-medium")
    (place / "model.safetensors").write_bytes(b"no weights")
    download.fetch("gpt2-medium")
    assert (place / "model.safetensors").read_bytes() == model_files()["model.safetensors"]
    assert (place.with_name("mine") / "config.json").exists(), "what has another name is left alone"


def test_two_at_once(here, server):
    server.files = model_files()
    server.block, server.wait = 50_000, 0.02
    both = [course_fetch(here, server, "gpt2-medium") for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert [name for name, _ in server.asked].count("model.safetensors") == 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_list_says_sizes_licences_and_sources_and_fetches_nothing(here):
    for arguments in (["fetch"], ["fetch", "--all", "--dry"]):
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 0
        for found in real.ITEMS.values():
            line = next(line for line in said.output.splitlines() if line.startswith(f"{found.name} "))
            assert found.size in line and found.licence in line and found.page in line and line.endswith("no")
    assert not here.exists()


def test_names_are_checked_before_anything_is_fetched(here, stick):
    for arguments, said in (
        (["sms_spam", "gpt9"], "nothing called 'gpt9' can be fetched"),
        (["--lecture", "10"], "lecture 10 needs nothing fetched"),
    ):
        found = CliRunner().invoke(app, ["fetch", *arguments])
        assert found.exit_code == 1 and said in found.output
    assert not here.exists()


def test_a_lecture_s_things(here, stick):
    found = CliRunner().invoke(app, ["fetch", "--lecture", "9", "--lecture", "06"])
    assert found.exit_code == 1 and "1 of 3 could not be fetched" in found.output
    assert real.find("cifar10") and real.find("sms_spam") and not real.find("all-MiniLM-L6-v2")
    assert Path(real.find("cifar10")).name == "cifar10"
