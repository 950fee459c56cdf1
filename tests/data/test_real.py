"""benchmarks/real.py on models and data of the same form as the real ones, made up and tiny."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from course_utils import pretrained, runtime
from course_utils.data import real
from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config

ROOT = Path(__file__).parents[2]
SAID = "the red one chases you through the maze and the pink one waits at the corner, is that not nice? " * 20


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """A module of benchmarks/; nothing is fetched, and no size is asked of what a test puts there."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name, item in list(real.ITEMS.items()):
        files = tuple(real.File(file.path) for file in item.files)
        monkeypatch.setitem(real.ITEMS, name, dataclasses.replace(item, files=files))
    return __import__


def test_it_says_what_must_be_fetched(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "real.py", "gpt2"],
        env={"COURSE_CACHE": str(tmp_path), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Not fetched yet: gpt2 (549 MB) and gpt2-medium (1.5 GB). With a network: course fetch gpt2 gpt2-medium"
    )


def test_a_result_is_stored_with_what_made_it(benchmark, tmp_path, monkeypatch):
    main = benchmark("real")
    monkeypatch.setattr(sys, "argv", ["real.py", "spam"])
    main.store("spam", {"chance": 0.5, "curves": {"a": [{"mean": 1 / 3}]}}, 61.2, tmp_path)
    monkeypatch.setattr(real, "RESULTS", tmp_path)
    found = real.result("spam")
    assert found["command"] == "python benchmarks/real.py spam" and found["processor_seconds"] == 61
    assert "torch" in found["machine"] and found["date"].count("-") == 2 and found["chance"] == 0.5
    assert found["curves"] == {"a": [{"mean": 0.33333}]}


def test_curves_of_a_result_are_what_plots_take(tmp_path, monkeypatch):
    from course_utils.show import plots

    monkeypatch.setattr(real, "RESULTS", tmp_path)
    curves = {"a": [{"mean": 0.5, "error": 0.1}, {"mean": 0.6, "error": 0.2}], "b": [{"mean": 0.1}, {"mean": 0.2}]}
    (tmp_path / "x.json").write_text(json.dumps({"x": {"labels": [5, 10]}, "curves": curves}))
    means, errors = real.curves("x")
    assert means == {"a": {5: 0.5, 10: 0.6}, "b": {5: 0.1, 10: 0.2}}
    assert errors == {"a": {5: 0.1, 10: 0.2}, "b": {5: 0.0, 10: 0.0}}
    plots.curve(means, errors=errors, x="labels", y="right", title="it draws")
    (tmp_path / "y.json").write_text("{}")
    with pytest.raises(ValueError, match="the result 'y' has no curves"):
        real.curves("y")


def test_the_results_that_are_in_the_course_can_be_read():
    for path in real.RESULTS.glob("*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        assert {"date", "machine", "command", "processor_seconds", "what"} <= set(found)
        assert found["command"] == f"python benchmarks/real.py {path.stem}"
        assert found["processor_seconds"] <= 15 * 60


# --- gpt2 -------------------------------------------------------------------------------------------------------------


def test_two_gpts_write_and_recite(benchmark, tmp_path, capsys):
    models = benchmark("real_models")
    tokenizer = BPETokenizer.train(SAID, vocab_size=300)
    for name, dim in (("gpt2", 16), ("gpt2-medium", 32)):
        model = GPT(Config(len(tokenizer), 64, dim, 2, 2), runtime.seed(0))
        pretrained.save(tmp_path / "real" / "models" / name, model, tokenizer, {})
    found = models.gpt2(0.1)
    assert json.loads(json.dumps(found)) == found
    for name in ("gpt2", "gpt2-medium"):
        assert [len(texts) for texts in found["written"][name]] == [1] * 4
        assert set(found["recitals"][name]) == set(models.famous())
    assert "| Declaration of Independence | 0 | 0 |" in capsys.readouterr().out


def test_what_is_known_by_heart_is_marked(benchmark):
    """A stand-in that says the truth for five words, and then something else."""
    models = benchmark("real_models")
    tokenizer = BPETokenizer.train(models.DECLARATION, vocab_size=400)
    words = models.DECLARATION.split()
    true = words[models.KNOWN : models.KNOWN + models.RECITED]

    class Parrot:
        def generate(self, codes, length, temperature):
            assert temperature == 0
            assert tokenizer.decode(codes[0]) == " ".join(words[: models.KNOWN])
            return tokenizer.encode(" " + " ".join([*true[:5], "bananas", *true[6:9]]))[None]

    found = models.recite(Parrot(), tokenizer, models.DECLARATION)
    assert found["verbatim"] == 5
    assert found["words"] == [[w, w != "bananas"] for w in [*true[:5], "bananas", *true[6:9]]]
    assert models.repeated("a b c d a b c".split()) == pytest.approx(2 / 5)
    assert models.famous()["MIT licence"].startswith("Permission is hereby granted, free of charge")


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cifar(tmp_path):
    """A part of CIFAR-10 whose classes are brightnesses."""
    for number, kind in enumerate(real.CIFAR10):
        for part, count in (("train", 21), ("test", 4)):
            folder = tmp_path / "real" / "cifar10" / part / kind
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (25 * number, 255 - 25 * number, i)).save(folder / f"{i:02}.png")


def test_clip_names_pictures(benchmark, tmp_path, cifar, monkeypatch):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

    folder = tmp_path / "real" / "models" / "clip-vit-base-patch32"
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [",", ".", "-"]
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            vocab_size=len(vocabulary), max_position_embeddings=77, eos_token_id=len(vocabulary) - 1, **sizes
        ).to_dict(),
        vision_config=CLIPVisionConfig(image_size=32, patch_size=16, **sizes).to_dict(),
        projection_dim=8,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    item = real.ITEMS["clip-vit-base-patch32"]
    files = (real.File("models/clip-vit-base-patch32/model.safetensors"),)
    monkeypatch.setitem(real.ITEMS, item.name, dataclasses.replace(item, files=files))
    found = benchmark("real_models").clip(0.04)
    assert set(found["zero_shot"]) == {"one prompt", "5 prompts"}
    assert all(0 <= one["mean"] <= 1 for one in found["zero_shot"].values())
    assert "share of 40 test pictures" in found["what"]


@pytest.mark.soak
def test_cifar_s_curves(benchmark, cifar):
    found = benchmark("real_pictures").cifar(0.002)
    assert set(found["curves"]) == {*found["all_labels"], "supervised from scratch"} and len(found["curves"]) == 8
    assert all(len(curve) == 1 for curve in found["curves"].values())
    assert found["all_labels"]["pixels"]["mean"] > 0.9, "brightness says it"
    assert found["part"] and found["pictures"] == 200


def test_pca_in_fashion_is_the_best_linear_one(benchmark):
    pictures = benchmark("real_pictures")
    x = torch.randn(200, 1, 32, 32, generator=runtime.seed(0)) @ torch.diag(torch.linspace(0, 2, 32))
    encode, decode = pictures.pca(x)
    centred = x.flatten(1) - x.flatten(1).mean(0)
    left = torch.linalg.svdvals(centred)[pictures.CODE :].square().sum()
    assert torch.allclose((decode(encode(x)) - x.flatten(1)).square().sum(), left, rtol=1e-3)
    for options in ({}, {"sigma": 0.3}, {"variational": True}):
        encode, decode = pictures.autoencoder(x.sigmoid(), 2, **options)
        with torch.no_grad():
            assert decode(encode(x)).shape == x.shape


# --- texts ------------------------------------------------------------------------------------------------------------


def test_spam_s_curves(benchmark, tmp_path):
    """Messages whose label is a word: word counts learn it from five of each."""
    texts = benchmark("real_text")
    folder = tmp_path / "real" / "sms_spam"
    folder.mkdir(parents=True)
    said = (("ham", "hi"), ("spam", "win"))
    lines = [f"{kind}\t{word} number {i} {'x' * (i % 7)}" for i in range(60) for kind, word in said]
    (folder / "SMSSpamCollection").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = BPETokenizer.train(SAID, vocab_size=300, special=BERT_SPECIAL)
    model = BERT(BERTConfig(len(tokenizer), context=128, dim=16, layers=1, heads=2, token_types=2), runtime.seed(0))
    pretrained.save(tmp_path / "real" / "models" / "all-MiniLM-L6-v2", model, tokenizer, {})
    item = real.ITEMS["sms_spam"]
    real.ITEMS["sms_spam"] = dataclasses.replace(item, check=lambda folder: "")  # the fixture puts it back
    found = texts.spam(0.1)
    assert found["messages"] == 120 and found["spam"] == 60
    assert found["x"] == {"labels per class": [5, 10, 20]}
    assert set(found["curves"]) == {
        "MiniLM, frozen", "this course's BERT, frozen", "word counts (tf-idf)", "a transformer from scratch"
    }  # fmt: skip
    assert found["curves"]["word counts (tf-idf)"][-1]["mean"] > 0.95


def test_draws_are_of_each_class_and_never_judged(benchmark):
    texts = benchmark("real_text")
    y = torch.tensor([0] * 70 + [1] * 30)
    few, judged = texts.drawn(y, 3, seed=1)
    more, again = texts.drawn(y, 8, seed=1)
    assert judged.equal(again) and not set(more.tolist()) & set(judged.tolist())
    assert set(few.tolist()) < set(more.tolist()) and y[few].tolist() == [0] * 3 + [1] * 3
    assert (y[judged] == 0).sum() == 14 and (y[judged] == 1).sum() == 6


@pytest.mark.soak
def test_shakespeare_s_curves(benchmark, tmp_path, monkeypatch):
    texts = benchmark("real_text")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "tiny_shakespeare.txt").write_text(SAID * 20, encoding="utf-8")
    monkeypatch.setattr(texts, "MINUTES", (1,))
    monkeypatch.setattr(texts, "JUDGED", 2000)
    found = texts.shakespeare(0.01)
    assert set(found["curves"]) == {"5-gram", "LSTM", "GPT"}
    assert all(len(curve) == 1 and curve[0]["mean"] > 0 for curve in found["curves"].values())
