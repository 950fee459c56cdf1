"""The benchmarks that store what they measure, or run where nobody here can: in miniature."""

import importlib
import json
import math
import sys
from pathlib import Path

import numpy
import pytest
import torch

from course_utils import pretrained, results, runtime
from course_utils.data import tales
from course_utils.models.transformer import GPT, Config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    """Return a function that imports benchmarks/NAME.py; the scripts lie beside each other, as when they are run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in ("results", "ladder", "facts", "labels", "race", "gpu", "floors_language", "floors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in ("results", "ladder", "facts", "labels", "race", "gpu", "floors_language", "floors"):
        sys.modules.pop(name, None)


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{module.__name__}.py", *map(str, arguments)])
    return module.main()


# --- the ladder -------------------------------------------------------------------------------------------------------


def made_runs(noise, alpha=0.3, beta=0.45, e=2.0):
    g = numpy.random.default_rng(3)
    return [
        {
            "parameters": n, "tokens": d, "standard_error": 0.01,
            "loss": e + ((40_000 / n) ** (alpha / beta) + 50_000 / d) ** beta + noise * g.normal(),
        }
        for n in (3_000, 13_000, 60_000, 150_000, 600_000, 1_500_000)
        for d in (60_000, 240_000, 960_000)
    ]  # fmt: skip


def test_the_exponents_of_a_known_law_are_found(benchmark):
    fitted = benchmark("ladder").scaling(made_runs(0))
    assert fitted["alpha"]["value"] == pytest.approx(0.3, abs=1e-4)
    assert fitted["beta"]["value"] == pytest.approx(0.45, abs=1e-4) and fitted["E"] == pytest.approx(2, abs=1e-3)


def test_the_exponents_errors_are_about_right(benchmark):
    """Both kinds of standard error, against the truth, with noise of a hundredth of a nat."""
    fitted = benchmark("ladder").scaling(made_runs(0.01))
    for name, truth in (("alpha", 0.3), ("beta", 0.45)):
        exponent = fitted[name]
        assert abs(exponent["value"] - truth) < 4 * exponent["standard_error"]
        assert 0.5 < exponent["bootstrap"] / exponent["standard_error"] < 2
    assert 0.005 < fitted["residual"] < 0.015


def test_the_ladder_goes_on_where_it_was(benchmark, monkeypatch, tmp_path, capsys):
    ladder = benchmark("ladder")
    monkeypatch.setattr(ladder, "SIZES", ((16, 1), (32, 1)))
    monkeypatch.setattr(ladder, "TOKENS", (300, 600, 1200))
    codes = torch.randint(64, (1200,), generator=runtime.seed(0))
    monkeypatch.setattr(ladder, "texts", lambda amounts: (range(64), codes, codes[:200]))
    trained, climb = [], ladder.climb

    def some(width, layers, *more):
        trained.append((width, len(more[1])))
        if len(trained) == 4:
            raise KeyboardInterrupt
        return climb(width, layers, *more)

    monkeypatch.setattr(ladder, "climb", some)
    monkeypatch.setattr(ladder, "scaling", lambda runs: {"runs": len(runs)})
    monkeypatch.setattr(ladder, "table", lambda runs, fitted: f"{len(runs)} runs")
    out = tmp_path / "ladder.json"
    with pytest.raises(KeyboardInterrupt):
        run(ladder, monkeypatch, "--steps", 2, "--out", out)
    first = json.loads(out.read_text())
    assert len(first["runs"]) == 3 and first["law"] is None
    run(ladder, monkeypatch, "--steps", 2, "--out", out)
    found = json.loads(out.read_text())
    assert found["runs"][:3] == first["runs"] and found["law"] == {"runs": 6}
    assert len(set(trained)) == 6 and len(trained) == 7, "only what was cut off is trained twice"
    assert found["command"] == f"python benchmarks/ladder.py --steps 2 --out {out}" and found["date"]
    assert capsys.readouterr().out.strip().endswith("6 runs")


def test_the_ladders_table_has_every_run(benchmark):
    ladder = benchmark("ladder")
    runs = made_runs(0.001)
    said = ladder.table(runs, ladder.scaling(runs))
    assert said.count("±") == len(runs) + 4 and "| 1,500,000 |" in said and "alpha (with parameters): 0.3" in said


def test_what_was_stored_can_be_loaded(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks/ladder.py"])
    benchmark("results").store(tmp_path / "ladder.json", {"law": {"E": 2 / 3}, "runs": [1 / 3]}, 7.4)
    found = results.load("ladder")
    assert (found["law"], found["runs"]) == ({"E": 0.66667}, [0.33333]) and found["processor_seconds"] == 7
    with pytest.raises(FileNotFoundError, match="nothing was measured for 'tales': there are ladder"):
        results.load("tales")


# --- tales ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tellers(monkeypatch, tmp_path):
    """Three untrained models where the checkpoints lie, and a chain of three hundred tales."""
    from course_utils.recipes import tales as recipes

    tokenizer = tales.tokenizer()
    for i, name in enumerate(("tales-rnn", "tales-gpt-small", "tales-gpt")):
        model = GPT(Config(len(tokenizer), recipes.LONGEST, 8, 1, 1), runtime.seed(i))
        pretrained.save(tmp_path / name, model, tokenizer, {"parameters": 100 * (i + 1), "curve": {"step": [1]}})
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    rows = recipes.learned(300)
    monkeypatch.setattr(recipes, "learned", lambda: rows)


def test_what_models_of_tales_keep(benchmark, monkeypatch, tmp_path, tellers, capsys):
    module = benchmark("facts")
    real = [tale.text for tale in tales.write(12, runtime.seed(4))]
    told_by = module.told_by
    monkeypatch.setattr(  # the larger one tells as the teller does
        module, "told_by", lambda model, *more: real if larger(model) else told_by(model, *more)
    )

    def larger(model):
        return isinstance(model, GPT) and model.tokens.weight[0, 0] == wanted.tokens.weight[0, 0]

    wanted, _ = pretrained.load("tales-gpt")
    run(module, monkeypatch, "--texts", 12, "--samples", tmp_path / "samples.txt", "--out", tmp_path / "tales.json")
    found = json.loads((tmp_path / "tales.json").read_text())["models"]
    assert list(found) == ["chain", "tales-rnn", "tales-gpt-small", "tales-gpt"]
    assert found["tales-gpt"]["well formed"]["share"] == 1 == found["tales-gpt"]["grades"]["1"]["share"]
    assert found["tales-gpt"]["whole tales that hold"] == {"share": 1.0, "error": 0.0, "count": 12}
    assert found["tales-rnn"]["well formed"]["share"] < 0.1 and found["tales-rnn"]["parameters"] == 100
    assert found["chain"]["well formed"]["share"] > 0.1
    assert (tmp_path / "samples.txt").read_text().count(real[9]) == 1
    assert real[10] not in (tmp_path / "samples.txt").read_text(), "the first ten"
    assert "| tales-gpt | 300 | 1.000 ± 0.000 | 1.000 ± 0.000 |" in capsys.readouterr().out


def test_how_far_ahead(benchmark):
    module = benchmark("facts")
    share = {"error": 0.03, "count": 100}
    models = {
        "a": {"grades": {"1": share | {"share": 0.9}, "2": share | {"share": 0.5}}},
        "b": {"grades": {"1": share | {"share": 0.4, "error": 0.04}}},
    }
    assert module.ahead({"models": models}, "a", "b") == {"1": pytest.approx(10)}


def test_chance_is_a_share_of_the_fitting_words(benchmark):
    found = benchmark("facts").chance(20)
    assert set(found) <= {"1", "2", "3", "4"} and all(0.1 < share < 1 for share in found.values())


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_kinds_by_labels(benchmark, monkeypatch, tmp_path):
    """With word vectors that know the kinds, frozen features win; the table says by how much."""
    from course_utils.data.tales import kinds
    from course_utils.models.transformer import BERT, BERTConfig

    module, tokenizer = benchmark("labels"), kinds.tokenizer()
    model = BERT(BERTConfig(len(tokenizer), 17, 16, 1, 2, token_types=1), runtime.seed(0))
    with torch.no_grad():
        for i, kind in enumerate(kinds.KINDS):
            codes = torch.cat([tokenizer.encode(noun) for noun in kinds.NOUNS[kind]])
            model.tokens.weight[codes, i] += 1
    card = {"entropy": 1.8, "plateau": 2.1, "held_out_loss": 1.9, "neighbours": 1.0, "curve": {}}
    pretrained.save(tmp_path / "kinds-bert", model, tokenizer, card)
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    monkeypatch.setattr(module, "LABELS", (2, 5))
    monkeypatch.setattr(module, "JUDGED", 40)
    run(module, monkeypatch, "--draws", 3, "--out", tmp_path / "kinds.json")
    found = json.loads((tmp_path / "kinds.json").read_text())
    for n in ("2", "5"):
        frozen, counted = (found["accuracy"][name][n] for name in ("BERT, frozen", "word counts"))
        assert frozen["mean"] > 0.7 > 0.5 > counted["mean"] and len(frozen["draws"]) == 3
        gap = (frozen["mean"] - counted["mean"]) / math.hypot(frozen["error"], counted["error"])
        assert found["ahead"]["word counts"][n] == pytest.approx(gap, rel=1e-3) and gap > 3
    assert found["pre-training"]["plateau"] == 2.1


# --- their floors -----------------------------------------------------------------------------------------------------


def test_floors_of_the_models_of_language(benchmark, monkeypatch, capsys):
    floors, language = benchmark("floors"), benchmark("floors_language")

    def kept(first, rest):
        return {"grades": {str(g): {"share": first if g == 1 else rest, "error": 0.01} for g in (1, 2, 3, 4)}}

    models = {"tales-gpt": kept(0.91, 0.8), "tales-gpt-small": kept(0.5, 0.3), "tales-rnn": kept(0.4, 0.75)}
    monkeypatch.setattr(language.facts, "report", lambda texts: ({"models": models}, {}))
    found = [floors.Row(*row) for row in language.tales()]
    assert len(found) == 9 and found[0].met
    assert [row.met for row in found[1:]] == [True] * 4 + [True] + [False] * 3  # 0.05 are 3.5 standard errors
    models["tales-gpt"] = kept(0.89, 0.8)
    assert not floors.Row(*next(language.tales())).met
    gains = {"BERT, frozen": 0.9, "word counts": 0.5, "from scratch": 0.89}
    scores = {name: {n: [mean - 0.01, mean + 0.01] for n in (5, 20)} for name, mean in gains.items()}
    monkeypatch.setattr(language.labels, "scores", lambda draws: scores)
    monkeypatch.setattr(pretrained, "card", lambda name: dict.fromkeys(
        ("entropy", "plateau", "held_out_loss", "neighbours", "curve")))  # fmt: skip
    found = [floors.Row(*row) for row in language.kinds()]
    assert [row.met for row in found] == [True, True, False, False]
    assert "accuracy with 5 labels per kind, gain over word counts" in str(found[0])


def test_a_checkpoint_that_is_missing_is_a_floor_that_is_missed(benchmark, monkeypatch, capsys):
    floors = benchmark("floors")

    def missing():
        raise FileNotFoundError("no checkpoint 'tales-gpt'")

    monkeypatch.setitem(floors.PARTS, "tales", missing)
    monkeypatch.setattr(sys, "argv", ["benchmarks/floors.py", "tales"])
    with pytest.raises(SystemExit) as ended:
        floors.main()
    assert ended.value.code == 1 and "| tales | | | no checkpoint 'tales-gpt' | **no** |" in capsys.readouterr().out


# --- what a GPU must show ---------------------------------------------------------------------------------------------


@pytest.mark.soak
def test_the_gpus_table_in_miniature(benchmark, monkeypatch, tmp_path, capsys):
    module = benchmark("gpu")
    (tmp_path / "text.txt").write_text("the cat sat on the mat, and the rat sat on the hat. " * 30)
    parts = [part for part in module.PARTS if part != "tests"]
    assert run(module, monkeypatch, "--dry", "--text", tmp_path / "text.txt", "--parts", *parts) == 0
    said = capsys.readouterr().out
    for what in ("nanoGPT's GPU settings", "bfloat16, compiled", "postcards, 64 × 64", "batch 4", "recipe gpt-small"):
        assert what in said, what
    assert "failed" not in said


def test_a_part_that_fails_is_a_row(benchmark, monkeypatch, capsys):
    module = benchmark("gpu")

    def broken(options, device, seconds):
        yield "first", "fine"
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setitem(module.PARTS, "simclr", broken)
    assert run(module, monkeypatch, "--dry", "--parts", "simclr", "sampling") == 1
    said = capsys.readouterr().out
    assert "| first | fine |" in said and "| simclr | failed: no kernel image |" in said and "sampling, batch 4" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_without_a_gpu_it_says_so(benchmark, monkeypatch, capsys):
    assert run(benchmark("gpu"), monkeypatch) == 2 and "try --dry" in capsys.readouterr().err


# --- the race of lecture 02 -------------------------------------------------------------------------------------------


def test_the_race_has_scores_of_each_network_from_each_seed(benchmark, monkeypatch, tmp_path):
    race = benchmark("race")
    monkeypatch.setattr(race, "FOLDER", tmp_path)
    monkeypatch.setattr(race, "STEPS", 2)
    monkeypatch.setattr(race, "JUDGED", 200)
    run(race, monkeypatch, "--seeds", 2)
    found, stored = json.loads((tmp_path / "race.json").read_text()), results.load("race")
    assert set(found) == set(stored) and set(found["networks"]) == set(stored["networks"]) == set(race.SIZES)
    for network in found["networks"].values():
        one, other = network["scores"]
        assert one != other and network["mean"] == pytest.approx((one + other) / 2, abs=1e-5)
        assert network["error"] == pytest.approx(abs(one - other) / 2, abs=1e-5)
