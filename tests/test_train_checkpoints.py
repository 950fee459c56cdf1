"""The recipes of the bundled checkpoints, and the checkpoints themselves."""

import json

import pytest
import torch
from typer.testing import CliRunner

from course_utils import losses, pretrained, runtime
from course_utils.cli import app
from course_utils.data import text
from course_utils.models.autoencoder import DeepAutoencoder
from course_utils.models.clip import CLIP
from course_utils.train_checkpoints import PICTURES, PROBED, RECIPES, make, probes

LANGUAGE = tuple(name for name in RECIPES if name not in PICTURES)


# --- the recipes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_job():
    return RECIPES["bert"]()


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


@pytest.mark.parametrize("name", LANGUAGE)
def test_bundled_checkpoint_loads_and_its_card_is_whole(name):
    model, tokenizer = pretrained.load(name)
    card = pretrained.card(name)
    for key in ("data", "steps", "training_loss", "held_out_loss", "seed", "command", "seconds", "date"):
        assert card[key] is not None, key
    assert card["command"] == f"course train {name}"
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert len(tokenizer) <= model.config.vocab_size


@pytest.mark.parametrize("name", LANGUAGE)
def test_held_out_loss_is_what_the_card_says(name):
    """With the weights as they are bundled (float16), and with this machine's text."""
    model, tokenizer = pretrained.load(name)
    job = RECIPES[name]()
    assert json.loads(tokenizer_text(tokenizer)) == json.loads(tokenizer_text(job.tokenizer))
    with torch.no_grad():
        assert job.held_out(model) == pytest.approx(pretrained.card(name)["held_out_loss"], abs=0.01)


def tokenizer_text(tokenizer) -> str:
    return tokenizer.backend.to_str() if hasattr(tokenizer, "backend") else json.dumps(tokenizer.alphabet)


def test_larger_gpt_is_eight_times_as_large_and_better():
    small, large = pretrained.card("gpt-small"), pretrained.card("gpt")
    assert large["parameters"] >= 8 * small["parameters"]
    assert large["held_out_bits_per_character"] < small["held_out_bits_per_character"] - 0.1


def test_checkpoints_of_the_language_half_stay_small():
    files = [path for name in LANGUAGE for path in (pretrained.BUNDLED / name).iterdir()]
    assert sum(path.stat().st_size for path in files) < 12 * 10**6


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture_jobs():
    """Jobs are made once; each takes a second or two."""
    found = {}

    def job(name):
        if name not in found:
            found[name] = RECIPES[name]()
        return found[name]

    return job


@pytest.mark.parametrize("name", PICTURES)
def test_a_job_of_pictures(name, picture_jobs):
    job = picture_jobs(name)
    first, again = (job.batch(runtime.seed(5)) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again)), "batches depend on the generator alone"
    job.model.train()
    value = job.loss(job.model, *first)
    value.backward()
    assert value.isfinite() and all(p.grad is not None for p in job.kept(job.model).parameters())


def test_a_trial_of_pictures_is_saved_with_its_card(tmp_path):
    done = CliRunner().invoke(app, ["train", "patch", "--steps", "2", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    card = pretrained.card(tmp_path / "patch")
    assert card["command"] == "course train patch --steps 2" and set(card["probes"]) == set(PROBED)
    assert pretrained.load_encoder(tmp_path / "patch").config.dim == 96
    assert [path.name for path in tmp_path.iterdir()] == ["patch"]


@pytest.mark.parametrize("name", PICTURES)
def test_bundled_encoder_keeps_what_its_card_says(name):
    """With the weights as they are bundled (float16), and with the postcards as they are drawn here."""
    encoder, card = pretrained.load_encoder(name), pretrained.card(name)
    for key in ("data", "steps", "training_loss", "held_out_loss", "unit", "seed", "command", "seconds", "date"):
        assert card[key] is not None, key
    assert card["command"] == f"course train {name}" and "postcards" in card["data"]
    assert card["parameters"] == sum(p.numel() for p in pretrained.load_model(name).parameters())
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    for factor, score in probes(encoder).items():
        assert score == pytest.approx(card["probes"][factor], abs=0.01), factor


@pytest.mark.parametrize("name", [n for n in PICTURES if n in ("ae", "dae", "vae", "clip")])
def test_held_out_loss_of_whole_models_of_pictures(name, picture_jobs):
    model, job = pretrained.load_model(name), picture_jobs(name)
    assert isinstance(model, CLIP if name == "clip" else DeepAutoencoder)
    with torch.no_grad():
        assert job.held_out(model) == pytest.approx(pretrained.card(name)["held_out_loss"], rel=0.01)


def test_checkpoints_of_the_vision_half_stay_small():
    files = [path for name in PICTURES for path in (pretrained.BUNDLED / name).iterdir()]
    assert len(files) == 3 * len(PICTURES) and sum(path.stat().st_size for path in files) < 6 * 10**6
