"""Real models of others: GPT-2, small and larger, and CLIP. See real.py."""

import importlib.metadata
import math
import warnings
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import pretrained, runtime
from course_utils.data import images, real
from course_utils.learn import privacy

# --- gpt2 -------------------------------------------------------------------------------------------------------------

SIZES = ("gpt2", "gpt2-medium")
PROMPTS = (
    "Four ghosts hunt Pac-Man through the maze, and each has a character of its own. The red one, called Blinky,",
    "The baker broke the loaf in two, and a letter fell out. She read it aloud to the whole shop:",
    "How to plant a tree. First, dig a hole that is twice as wide as the roots. Then",
    "Scientists have found that octopuses recognize the people who feed them. In the experiment,",
)
LENGTH, SAMPLES = 60, 3
KNOWN, RECITED = 24, 40  # words that the model is given, and that it must go on with

DECLARATION = (  # 1776, public domain
    "When in the Course of human events, it becomes necessary for one people to dissolve the political bands which "
    "have connected them with another, and to assume among the powers of the earth, the separate and equal station to "
    "which the Laws of Nature and of Nature's God entitle them, a decent respect to the opinions of mankind requires "
    "that they should declare the causes which impel them to the separation. We hold these truths to be self-evident, "
    "that all men are created equal, that they are endowed by their Creator with certain unalienable Rights, that "
    "among these are Life, Liberty and the pursuit of Happiness."
)


def famous() -> dict[str, str]:
    """Texts that stand in many places: licences, as packages of this course bring them, and the Declaration."""
    return {
        "MIT licence": licence("rich", "Permission is hereby granted"),
        "Apache licence": licence("requests", '"License" shall mean'),
        "BSD licence": licence("scikit-learn", "Redistribution and use"),
        "Declaration of Independence": DECLARATION,
    }


def licence(package: str, start: str) -> str:
    """Return a package's licence from the words `start` on."""
    files = [f for f in importlib.metadata.files(package) or () if f.name.upper().startswith(("LICENSE", "COPYING"))]
    text = " ".join(files[0].locate().read_text(encoding="utf-8").split())
    return text[text.index(start) :]


def gpt2(share: float) -> dict:
    """What two sizes write after the same prompts, and which famous texts they recite, greedily, word by word."""
    samples, length = max(1, round(SAMPLES * share)), max(4, round(LENGTH * share))
    written, recitals = {}, {}
    for name in SIZES:
        model, tokenizer = pretrained.load(name)
        written[name] = [write(model, tokenizer, prompt, samples, length) for prompt in PROMPTS]
        recitals[name] = {title: recite(model, tokenizer, text) for title, text in famous().items()}
        for prompt, texts in zip(PROMPTS, written[name]):
            print(f"\n{name}, after “{prompt}”", *(f"  – {one['text']}" for one in texts), sep="\n")
    print("\n| words recited before the first that differs | " + " | ".join(SIZES) + " |\n|---|" + "---:|" * len(SIZES))
    for title in famous():
        print(f"| {title} | " + " | ".join(str(recitals[name][title]["verbatim"]) for name in SIZES) + " |")
    return {
        "what": f"{samples} texts of {length} tokens, nucleus sampling (0.9); greedy recitals of {RECITED} words",
        "prompts": list(PROMPTS),
        "written": written,
        "recitals": recitals,
    }


def write(model, tokenizer, prompt: str, samples: int, length: int) -> list[dict]:
    """Go on with a prompt; beside each text the share of its three-word runs that it says more than once."""
    codes = tokenizer.encode(prompt).expand(samples, -1)
    rows = model.generate(codes, length, top_p=0.9, generator=runtime.seed(0))
    return [{"text": text, "repeated": repeated(text.split())} for text in map(tokenizer.decode, rows)]


def repeated(words: list[str]) -> float:
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return sum(n for n in runs.values() if n > 1) / max(1, sum(runs.values()))


def recite(model, tokenizer, text: str) -> dict:
    """Give the beginning, and mark which words of what follows are the true ones."""
    words = text.split()
    begin, truth = words[:KNOWN], words[KNOWN : KNOWN + RECITED]
    codes = tokenizer.encode(" ".join(begin))
    rest = len(tokenizer.encode(" " + " ".join(truth)))
    said = tokenizer.decode(model.generate(codes[None], rest, temperature=0)[0]).split()
    marks, _ = privacy.common_runs(said, truth)
    return {
        "begin": " ".join(begin),
        "words": [[word, mark] for word, mark in zip(said, marks)],
        "truth": " ".join(truth),
        "verbatim": privacy.verbatim(said, truth),
    }


# --- clip -------------------------------------------------------------------------------------------------------------

PICTURES = 100  # of each class
TEMPLATES = (
    "a photo of a {}.",
    "a small, blurred photo of a {}.",
    "a close-up of a {}.",
    "a picture of one {} outdoors.",
    "a bright photo of the {}.",
)


def clip(share: float) -> dict:
    """The share of CIFAR-10's pictures that CLIP names rightly, without one training picture: one prompt, and five."""
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    folder = real.find("clip-vit-base-patch32")
    model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    prepare = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a part of CIFAR-10
        data = images.torchvision("CIFAR10", part="test", limit=max(2, round(PICTURES * share)))

    pictures = []
    with torch.no_grad():
        for some in data.images.split(50):
            pixels = prepare(list(some), do_rescale=False, return_tensors="pt")["pixel_values"]
            pictures.append(F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=1))
        classes = [name_vectors(model, tokenizer, name) for name in data.classes]  # each (templates, D)
    found = {}
    for name, used in (("one prompt", 1), (f"{len(TEMPLATES)} prompts", len(TEMPLATES))):
        means = F.normalize(torch.stack([vectors[:used].mean(0) for vectors in classes]), dim=1)
        right = ((torch.cat(pictures) @ means.T).argmax(1) == data.labels).float()
        found[name] = {"mean": float(right.mean()), "error": float(right.std()) / math.sqrt(len(right))}
        print(f"{name}: {found[name]['mean']:.3f} ± {found[name]['error']:.3f} (chance 0.1)")
    return {
        "what": f"share of {len(data):,} test pictures named rightly; no picture was trained on",
        "templates": list(TEMPLATES),
        "zero_shot": found,
        "chance": 0.1,
    }


def name_vectors(model, tokenizer, name: str) -> Tensor:
    """Return a vector of length 1 for each template with the class's name."""
    codes = tokenizer([template.format(name) for template in TEMPLATES], padding=True, return_tensors="pt")
    return F.normalize(model.get_text_features(**codes).pooler_output, dim=1)
