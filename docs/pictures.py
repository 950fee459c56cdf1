"""The pictures of the README, made anew: `python docs/pictures.py NAME`.

NAME: postcards, report_card, kinds, tales, lecture or class. Kinds and tales show what benchmarks have stored. The last
two are photographs: of JupyterLab and of a class's report, in the Chromium that the tests use.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torchvision.utils import make_grid, save_image

from course_utils import pretrained, results, runtime
from course_utils.data import postcards
from course_utils.learn import evaluate
from course_utils.models.convnet import ConvNet, ConvNetConfig
from course_utils.models.encoders import ENCODERS, FACTORS
from course_utils.paths import ROOT
from course_utils.show import plots

HERE = Path(__file__).parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browser")]  # how a browser is started, a class that is made
CLASS = "ada alan grace first_half forgot_the_empty_row nothing_done prints_and_warns equals_everything exits json_cut"


def make_postcards() -> Path:
    """A sheet of 64 cards: the upper half as the lectures' models see them (32 × 32), the lower half drawn larger."""
    factors = postcards.sample(64, runtime.seed(12), "all")
    small, _ = postcards.render({name: value[:32] for name, value in factors.items()}, 32)
    large, _ = postcards.render({name: value[32:] for name, value in factors.items()}, 96)
    sheet = torch.cat([F.interpolate(small, scale_factor=3), large])
    save_image(make_grid(sheet, nrow=8, padding=4, pad_value=1), HERE / "postcards.png")
    return HERE / "postcards.png"


def make_report_card() -> Path:
    """Every encoder of the course by every factor, as in lecture 12."""

    def small(cards: postcards.Postcards) -> torch.Tensor:
        return F.avg_pool2d(cards.images, 2).flatten(1)  # (N, 768)

    cards, learned = postcards.draw(3000, runtime.seed(3)), small(postcards.draw(3000, runtime.seed(0)))
    mean = learned.mean(0)
    _, vectors = torch.linalg.eigh((learned - mean).T @ (learned - mean))
    random = ConvNet(ConvNetConfig(32), runtime.seed(0))
    features = {
        "pixels": small(cards),
        "PCA": (small(cards) - mean) @ vectors[:, -64:],
        "random": evaluate.features(random, cards.images),
    }
    for name, title in ENCODERS.items():
        features[title] = evaluate.features(pretrained.load_encoder(name), cards.images)
    card = evaluate.report_card(features, {f: cards.factors[f] for f in FACTORS}, share=2 / 3, l2=1e-3)
    print(card)
    figure = Figure(figsize=(9.6, 5.9), dpi=110, layout="constrained", facecolor="white")
    title = "Which encoder kept which factor (linear probes of frozen features; the best in bold)"
    plots.report_card(card, title=title, ax=figure.add_subplot())
    figure.savefig(HERE / "report_card.png")
    return few_colours(HERE / "report_card.png")


def make_kinds() -> Path:
    """A BERT's loss, which falls late, and what its features are worth then, by labels (benchmarks/labels.py)."""
    found = results.load("kinds")
    world, accuracy = found["pre-training"], found["accuracy"]
    figure = Figure(figsize=(9.6, 3.9), dpi=110, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    curve, levels = world["curve"], {"sees no tie": world["plateau"], "the world's entropy": world["entropy"]}
    loss = dict(zip(curve["step"][1:], curve["held_out_loss"][1:]))
    plots.curve(loss, x="step", y="nats per hidden word", title="Pre-training: it falls late", levels=levels, ax=left)
    named = {name: {int(n): v["mean"] for n, v in row.items()} for name, row in accuracy.items()}
    errors = {name: {int(n): v["error"] for n, v in row.items()} for name, row in accuracy.items()}
    title = "Which kind of thing? What it is worth"
    plots.curve(named, x="labels per kind", y="accuracy", title=title, errors=errors, log="x", ax=right)
    figure.savefig(HERE / "kinds.png")
    return few_colours(HERE / "kinds.png")


def make_tales() -> Path:
    """What models of tales keep, by how far a reader must look for it (benchmarks/facts.py)."""
    models = results.load("tales")["models"]
    names = {"chain": "chain of words", "tales-rnn": "LSTM", "tales-gpt-small": "small GPT", "tales-gpt": "larger GPT"}
    kept = {names[name]: {int(g): v["share"] for g, v in row["grades"].items()} for name, row in models.items()}
    errors = {names[name]: {int(g): v["error"] for g, v in row["grades"].items()} for name, row in models.items()}
    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained", facecolor="white")
    title = "They write alike and keep facts differently"
    grade = "grade of the fact (1: said just before, 4: three facts to join)"
    plots.curve(kept, x=grade, y="facts kept", title=title, errors=errors, ax=figure.add_subplot())
    figure.savefig(HERE / "tales.png")
    return few_colours(HERE / "tales.png")


def make_lecture() -> Path:
    """Lecture 09 in JupyterLab, at the gallery of augmentations; its cells up to there have run."""
    from pages import Notebook, chromium, running_lab

    with tempfile.TemporaryDirectory() as root, running_lab(Path(root)) as lab, chromium() as browser:
        lecture = Notebook(browser, lab, "lectures/09_contrastive.ipynb")
        lecture.page.set_viewport_size({"width": 1200, "height": 980})
        lecture.theme("Light")
        lecture.command("application:toggle-left-area")
        lecture.show("gallery-widget")
        lecture.command("notebook:run-all-above")
        lecture.command("notebook:run-cell")
        lecture.page.locator(".course-explorer img").first.wait_for(timeout=600_000)
        lecture.show("gallery-widget")
        lecture.page.wait_for_timeout(3000)
        lecture.page.screenshot(path=HERE / "lecture.png")
        lecture.close()
    return few_colours(HERE / "lecture.png")


def make_class() -> Path:
    """The report of a made class that handed in assignment 1: right, half done, wrong, hostile and broken."""
    from class_of_a1 import NAME, hand_in_all
    from pages import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        for part in ("solutions", "assignments"):
            shutil.copytree(ROOT / part / NAME, root / part / NAME)
        shutil.copy(ROOT / "nbgrader_config.py", root)
        hand_in_all(root, CLASS.split())
        subprocess.run([str(Path(sys.executable).with_name("course")), "grade", NAME], cwd=root, check=True)
        page = browser.new_page(viewport={"width": 1000, "height": 1080})
        page.goto((root / "report.html").as_uri())
        page.screenshot(path=HERE / "class.png")
    return few_colours(HERE / "class.png")


def few_colours(path: Path) -> Path:
    """The picture with 128 colours: a third of the bytes, and nobody sees it."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path


MAKE = {
    "postcards": make_postcards, "report_card": make_report_card, "kinds": make_kinds, "tales": make_tales,
    "lecture": make_lecture, "class": make_class,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=MAKE)
    print(MAKE[parser.parse_args().picture]())


if __name__ == "__main__":
    main()
