"""The recipes of the bundled checkpoints, and the checkpoints themselves."""

import json
import subprocess
import sys

import filelock
import pytest
import torch
from effort import some
from typer.testing import CliRunner

from course_utils import pretrained, runtime
from course_utils.cli import app
from course_utils.data import postcards, text
from course_utils.learn import losses, pretext, train
from course_utils.models.autoencoder import DeepAutoencoder
from course_utils.models.clip import CLIP
from course_utils.models.convnet import ConvNet, ConvNetConfig, OnTiles
from course_utils.models.encoders import ENCODERS, FACTORS
from course_utils.recipes import pictures, run
from course_utils.recipes.job import Job, Recipe
from course_utils.recipes.pictures import probes
from course_utils.recipes.run import RECIPES, make

LANGUAGE = tuple(name for name in RECIPES if name not in ENCODERS)


# --- the harness ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a run in the middle."""


def tiny_job(die_at: int | None = None) -> Job:
    """A small encoder that learns how bright noise is; it may be killed when it looks at held-out data."""
    looks = []

    def batch(generator):
        return torch.rand(8, 3, 8, 8, generator=generator)

    def note(model):
        looks.append(None)
        if len(looks) == die_at:
            raise Killed
        return {"look": float(len(looks)), "bright": 0.5}

    def loss(model, images):
        return (model(images).mean(1) - images.mean((1, 2, 3))).pow(2).mean()

    judged = batch(runtime.seed(1))
    model = ConvNet(ConvNetConfig(2), runtime.seed(0))
    measure = lambda folder: {"measured": pretrained.load_encoder(folder).config.dim}  # noqa: E731
    return Job(model, None, batch, loss, lambda model: float(loss(model, judged)), 1e-2, "noise", "squares",
               note=note, measure=measure)  # fmt: skip


@pytest.fixture
def tiny(monkeypatch):
    """Give RECIPES a tiny recipe, and return how to change it."""

    def give(steps=48, version=1, **settings):
        monkeypatch.setitem(RECIPES, "tiny", Recipe(lambda: tiny_job(**settings), steps, hours=0.5, version=version))

    give()
    return give


def weights(folder) -> bytes:
    return (folder / "tiny" / "model.safetensors").read_bytes()


def test_run_that_was_killed_goes_on_and_ends_with_the_same_weights(tmp_path, tiny):
    whole = make("tiny", tmp_path / "whole")
    for look in (5, 7):
        tiny(die_at=look)
        with pytest.raises(Killed):
            make("tiny", tmp_path / "killed")
        assert not (tmp_path / "killed" / "tiny").exists(), "nothing half-made"
    tiny()
    again = make("tiny", tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert again["curve"]["held_out_loss"] == whole["curve"]["held_out_loss"]
    assert again["curve"]["step"] == whole["curve"]["step"] and again["curve"]["look"] != whole["curve"]["look"]
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["tiny"], "the state of the run is gone"


def test_learning_rate_falls_along_a_cosine_to_nothing(tmp_path, tiny, monkeypatch):
    found, fit = [], train.fit
    monkeypatch.setattr(train, "fit", lambda *args, **settings: found.append(fit(*args, **settings)) or found[0])
    make("tiny", tmp_path)
    rates = torch.tensor(found[0].lr)
    assert len(rates) == 48 and rates[-1] == 0 and rates.max() == pytest.approx(1e-2)
    assert (rates[5:].diff() < 0).all() and rates[25] == pytest.approx(5e-3, rel=0.1), "half of it at half time"


def test_learning_curve_stands_in_the_card(tmp_path, tiny):
    make("tiny", tmp_path)
    card = pretrained.card(tmp_path / "tiny")
    assert list(card["curve"]) == ["step", "training_loss", "held_out_loss", "look", "bright"]
    assert card["curve"]["step"] == list(range(2, 49, 2)) and card["curve"]["look"] == list(range(1, 25))
    assert card["curve"]["held_out_loss"][-1] == card["held_out_loss"] < card["curve"]["held_out_loss"][0]
    assert card["measured"] == 8 and card["version"] == 1 and card["budget_hours"] == 0.5
    assert 0 < card["processor_seconds"] + 1
    assert '"look": [1.0, 2.0, 3.0,' in (tmp_path / "tiny" / "card.json").read_text(), "a line for each column"


def test_state_of_another_version_is_refused(tmp_path, tiny):
    tiny(die_at=5)
    with pytest.raises(Killed):
        make("tiny", tmp_path)
    tiny(version=2)
    said = r"\.tiny\.state .*another run: its recipe differs \(tiny, version 1 there, tiny, version 2 here\)\. Delete"
    with pytest.raises(ValueError, match=said):
        make("tiny", tmp_path)


def test_recipe_that_is_being_made_is_left_alone(tmp_path, tiny):
    with filelock.FileLock(tmp_path / ".tiny.lock"), pytest.raises(ValueError, match="is being trained in .* already"):
        make("tiny", tmp_path)


def test_dry_lists_every_recipe_and_trains_none(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(run, "make_all", lambda *_: pytest.fail("trained"))
    (tmp_path / ".clip.state").touch()
    done = CliRunner().invoke(app, ["train", "--all", "--dry", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line for line in done.output.splitlines()}
    for name, recipe in RECIPES.items():
        assert f"{recipe.steps:,}" in rows[name] and f"{recipe.hours:.2f}" in rows[name], name
        assert ("continues" in rows[name]) == (name == "clip")
    assert f"{sum(recipe.hours for recipe in RECIPES.values()):.2f}" in rows["all"]


def test_without_names_nothing_is_trained():
    done = CliRunner().invoke(app, ["train"])
    assert done.exit_code == 1 and "--all" in done.output and "simclr" in done.output


@pytest.mark.soak  # every day one recipe, in this process
def test_two_side_by_side_one_of_which_fails(tmp_path):
    """By the command itself, in processes of their own."""
    (tmp_path / ".char-rnn.state").write_bytes(b"of something else")
    command = [sys.executable, "-m", "course_utils.cli", "train", "char-rnn", "gpt-small", "--steps", "1"]
    done = subprocess.run([*command, "--jobs", "2", "--folder", tmp_path], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "char-rnn: " in done.stdout and "is not a checkpoint" in done.stdout and "1 of 2 recipes" in done.stderr
    assert pretrained.card(tmp_path / "gpt-small")["command"] == "course train gpt-small --steps 1"
    assert not (tmp_path / "char-rnn").exists() and not (tmp_path / ".gpt-small.state").exists()


@pytest.mark.soak  # every day of the cards that are bundled
def test_a_trial_of_an_encoder_is_measured_by_its_probes(tmp_path):
    make("jigsaw", tmp_path, steps=1)
    card = pretrained.card(tmp_path / "jigsaw")
    assert card["command"] == "course train jigsaw --steps 1" and set(card["probes"]) == set(FACTORS)
    assert set(FACTORS) < set(card["curve"])
    assert pretrained.load_encoder(tmp_path / "jigsaw").config.dim == 128


# --- the recipes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_job():
    return RECIPES["bert"].job()


def test_bert_has_never_seen_the_held_out_sentences(bert_job):
    learn, _ = text.load("docs").split(text.HELD_OUT, seed=0)
    seen = set(text.sentences(learn))
    assert not seen & set(text.labelled_sentences("held_out")[0])


def test_bert_batches_hide_ordinary_tokens_alone(bert_job):
    tokenizer, g = bert_job.tokenizer, runtime.seed(0)
    padded = 0
    for _ in range(12):
        hidden, targets, mask = bert_job.batch(g)
        chosen = targets != losses.NOT_A_TARGET
        assert hidden.shape == targets.shape == mask.shape
        assert 0.10 < chosen.sum() / mask.sum() < 0.20
        assert not chosen[~mask].any()
        assert not torch.isin(targets[chosen], torch.tensor([tokenizer.pad, tokenizer.cls, tokenizer.sep])).any()
        assert (hidden[:, 0] == tokenizer.cls).all() and (hidden == tokenizer.sep).sum(1).eq(1).all()
        padded += not mask.all()
    assert 0 < padded < 12, "paragraphs and windows"


def test_batches_depend_on_the_generator_alone(bert_job):
    first, again = (bert_job.batch(runtime.seed(5)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again))


def test_a_trial_is_saved_with_its_card(tmp_path):
    done = CliRunner().invoke(app, ["train", "gpt-small", "--steps", "2", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    model, tokenizer = pretrained.load(tmp_path / "gpt-small")
    card = pretrained.card(tmp_path / "gpt-small")
    assert card["steps"] == 2 and card["command"] == "course train gpt-small --steps 2" and card["seed"] == 0
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert len(tokenizer) == model.config.vocab_size
    assert [path.name for path in tmp_path.iterdir()] == ["gpt-small"], "the state of the run is gone"


def test_unknown_recipe(tmp_path):
    with pytest.raises(ValueError, match="no recipe for 'gpt5': choose from gpt-small"):
        make("gpt5", tmp_path)
    done = CliRunner().invoke(app, ["train", "gpt5"])
    assert done.exit_code == 1 and "no recipe for gpt5" in done.output


# --- what they made ---------------------------------------------------------------------------------------------------


def test_every_recipe_has_its_checkpoint():
    assert set(pretrained.names()) == {*LANGUAGE, *ENCODERS}


def test_every_model_of_pictures_stands_on_the_report_card():
    assert list(ENCODERS) == list(pictures.RECIPES)


@pytest.mark.parametrize("name", LANGUAGE)
def test_bundled_checkpoint_loads_and_its_card_is_whole(name):
    model, tokenizer = pretrained.load(name)
    card = pretrained.card(name)
    for key in ("data", "steps", "training_loss", "held_out_loss", "seed", "command", "seconds", "date"):
        assert card[key] is not None, key
    assert card["command"] == f"course train {name}"
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert len(tokenizer) <= model.config.vocab_size


@pytest.mark.parametrize("name", some(2, LANGUAGE))
def test_held_out_loss_is_what_the_card_says(name):
    """With the weights as they are bundled (float16), and with this machine's text."""
    model, tokenizer = pretrained.load(name)
    job = RECIPES[name].job()
    assert json.loads(tokenizer_text(tokenizer)) == json.loads(tokenizer_text(job.tokenizer))
    with torch.no_grad():
        assert job.held_out(model) == pytest.approx(pretrained.card(name)["held_out_loss"], abs=0.01)


def tokenizer_text(tokenizer) -> str:
    return tokenizer.backend.to_str() if hasattr(tokenizer, "backend") else json.dumps(tokenizer.alphabet)


def test_larger_gpt_is_eight_times_as_large_and_better():
    small, large = pretrained.card("gpt-small"), pretrained.card("gpt")
    assert large["parameters"] >= 8 * small["parameters"]
    assert large["held_out_bits_per_character"] < small["held_out_bits_per_character"] - 0.1


def test_bundled_checkpoints_stay_small():
    files = [path for name in RECIPES for path in (pretrained.BUNDLED / name).iterdir()]
    assert sum(path.stat().st_size for path in files) < 30 * 10**6


@pytest.mark.parametrize("name", RECIPES)
def test_bundled_checkpoints_are_of_the_present_recipes(name):
    card, recipe = pretrained.card(name), RECIPES[name]
    assert (card.get("version", 1), card["steps"]) == (recipe.version, recipe.steps)


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture_jobs():
    """Jobs are made once; each takes a second or two."""
    found = {}

    def job(name):
        if name not in found:
            found[name] = RECIPES[name].job()
        return found[name]

    return job


@pytest.mark.parametrize("name", some(3, list(ENCODERS)))
def test_a_job_of_pictures(name, picture_jobs):
    job = picture_jobs(name)
    first, again = (job.batch(runtime.seed(5)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again)), "batches depend on the generator alone"
    job.model.train()
    value = job.loss(job.model, *first)
    value.backward()
    assert value.isfinite() and all(p.grad is not None for p in job.model.parameters())


@pytest.mark.parametrize("name", ["patch", "jigsaw"])
def test_what_learned_from_tiles_is_asked_about_tiles_in_grey(name, picture_jobs):
    job = picture_jobs(name)
    tiles = job.batch(runtime.seed(0))[0].view(-1, 3, 8, 8)[:5]
    kept = job.kept(job.model.eval())
    assert isinstance(kept, OnTiles) and kept.side == tiles.shape[-1]
    with torch.no_grad():
        grey = pretext.split_colour(tiles)[0].expand(-1, 3, -1, -1)
        torch.testing.assert_close(kept(tiles), job.model.encoder(grey), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["colour"])
def test_what_learned_from_grey_pictures_sees_colour_pictures_as_grey(name, picture_jobs):
    model = picture_jobs(name).model.eval()
    colour = torch.rand(4, 3, 32, 32, generator=runtime.seed(0))
    grey, _ = pretext.split_colour(colour)
    with torch.no_grad():
        expected, before = model.encoder(grey.expand(-1, 3, -1, -1)), model.encoder(colour)
        found = picture_jobs(name).kept(model)(colour)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(before, expected, atol=1e-2), "the trained one itself is left as it was"
        assert model.encoder(colour).equal(before)


def test_jigsaw_keeps_its_rows(picture_jobs):
    """Tiles are only exchanged with those beside them, in every way that there is."""
    orders = picture_jobs("jigsaw").model.head[-1].out_features
    assert orders == 6**3
    first, which = picture_jobs("jigsaw").batch(runtime.seed(0))
    assert first.shape[1:] == (9, 3, 8, 8) and int(which.max()) < orders


def test_clip_never_reads_a_held_out_combination(picture_jobs):
    job = picture_jobs("clip")
    words, colours = job.model.tokenizer, list(postcards.COLOURS)
    unseen = [(postcards.OBJECTS[i], colours[j]) for i, j in postcards.HELD_OUT.nonzero().tolist()]
    assert not words.unknown_words(" ".join([*postcards.OBJECTS, *colours])), "it knows the words themselves"
    kinds = set()
    for seed in range(8):
        images, codes = job.batch(runtime.seed(seed))
        texts = [words.decode(row) for row in codes.tolist()]
        for thing, colour in unseen:
            assert not any(f"{colour} {thing}" in said or f"{thing} is {colour}" in said for said in texts)
        grey = bool((images.std(1) < 1e-3).all())
        kinds.add((grey, max(len(said.split()) for said in texts) > 9))
        named = any(colour in said.split() for said in texts for colour in colours)
        assert named != grey, "grey pictures come with captions that name no colour"
    assert kinds == {(True, False), (False, False), (False, True)}, "the thing alone, thing and colour, whole scenes"


@pytest.mark.parametrize("name", some(4, list(ENCODERS)))
def test_bundled_encoder_keeps_what_its_card_says(name):
    """With the weights as they are bundled (float16), and with the postcards as they are drawn here."""
    encoder, card = pretrained.load_encoder(name), pretrained.card(name)
    for key in ("data", "steps", "training_loss", "held_out_loss", "unit", "seed", "command", "seconds", "date"):
        assert card[key] is not None, key
    assert card["command"] == f"course train {name}" and "postcards" in card["data"]
    assert set(card["probes"]) == set(FACTORS)
    assert card["parameters"] == sum(p.numel() for p in pretrained.load_model(name).parameters())
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    for factor, score in probes(encoder).items():
        assert score == pytest.approx(card["probes"][factor], abs=0.01), factor


@pytest.mark.parametrize("name", some(2, [n for n in ENCODERS if n in ("ae", "dae", "vae", "clip")]))
def test_held_out_loss_of_whole_models_of_pictures(name, picture_jobs):
    model, job = pretrained.load_model(name), picture_jobs(name)
    assert isinstance(model, CLIP if name == "clip" else DeepAutoencoder)
    with torch.no_grad():
        assert job.held_out(model) == pytest.approx(pretrained.card(name)["held_out_loss"], rel=0.01)
