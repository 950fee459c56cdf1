"""From a trained network labels are read, whatever came in its place; and what went wrong in its training."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from autograder.author.exercise import accuracy
from course_utils import readers
from course_utils.compare import difference
from course_utils.data import captioned
from course_utils.models.clip import small_clip
from course_utils.models.convnet import small_encoder
from course_utils.plain import Recipe, pack, unpack

DRAWN = {"n": 4, "seed": 0, "new": 48}
CARDS = {"n": 4, "seed": 0}
WORDS = ["a red car", "a blue house", "a red house"]


def truth_of(reader):
    match reader:
        case "probe":
            labels = captioned.objects_alone(**DRAWN)[2]
            return {
                "images": Recipe("captioned.objects_alone", DRAWN, 1),
                "known": labels[:24] % 3,
                "labels": labels[24:] % 3,
            }
        case "gallery":
            gallery, new = (Recipe("captioned.in_two_places", CARDS, i) for i in (2, 3))
            return {"gallery": gallery, "new": new, "labels": captioned.in_two_places(**CARDS)[4]}
    images = torch.randint(256, (5, 3, 24, 24), dtype=torch.uint8)
    prompts = [["a red car"], ["a blue house", "the blue house"]]
    return {"captions": WORDS, "prompts": prompts, "images": images, "labels": torch.tensor([0, 1, 0, 1, 1])}


def network(reader):
    torch.manual_seed(0)
    match reader:
        case "probe":
            return small_encoder(normed=True)
        case "gallery":
            return small_encoder(out=64)
    return small_clip(WORDS)[0]


def came(module):
    return unpack(pack(module))


EACH = pytest.mark.parametrize("reader", readers.READERS)


@EACH
def test_each_reader_gives_each_thing_a_label(reader):
    state, truth = came(network(reader)), truth_of(reader)
    assert readers.misfit(reader, state, truth) is None
    said = readers.read(reader, state, truth)
    assert said.shape == truth["labels"].shape and not said.is_floating_point()
    assert said.equal(readers.read(reader, state, truth))


def test_a_gallery_is_asked_by_cosines():
    state, truth = came(network("gallery")), truth_of("gallery")
    encoder = network("gallery").eval()
    _, _, gallery, new, _ = captioned.in_two_places(**CARDS)
    with torch.no_grad():
        g, x = encoder(gallery / 255 - 0.5), encoder(new / 255 - 0.5)
    wanted = torch.stack([F.cosine_similarity(row[None], g).argmax() for row in x])
    assert readers.read("gallery", state, truth).equal(wanted)


def test_a_probe_learns_from_the_first_half_and_is_asked_for_the_second():
    truth = {
        "images": torch.zeros(200, 3, 8, 8),
        "known": torch.arange(4).repeat(25),
        "labels": torch.arange(4).repeat(25),
    }
    clear = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    noise = clear.clone()
    clear[:, :4] += 9 * F.one_hot(torch.arange(4).repeat(50), 4)
    first = torch.arange(200)[:, None] < 100

    def right(features):
        said = readers._probed(lambda images: features, truth)
        return float((said == truth["labels"]).float().mean())

    assert right(clear) > 0.95 and right(1e6 * clear - 5) > 0.95, "neither place nor scale matters"
    assert max(map(right, (noise, torch.where(first, clear, noise), torch.where(first, noise, clear)))) < 0.7
    assert right(torch.full((200, 6), torch.nan)) < 0.7 and right(torch.full((200, 6), torch.inf)) < 0.7


def test_sentences_decide_among_classes():
    model = network("sentences").eval()
    truth = truth_of("sentences")
    with torch.no_grad():
        x = model.encode_image(truth["images"] / 255 - 0.5)
        codes = small_clip(WORDS)[1].encode_batch
        classes = torch.stack([model.encode_text(*codes(group)).mean(0) for group in truth["prompts"]])
    assert readers.read("sentences", came(model), truth).equal((x @ F.normalize(classes, dim=1).T).argmax(1))


@EACH
def test_what_is_no_such_network_is_told_with_what_is_wrong(reader):
    truth, compare, call = truth_of(reader), accuracy(0.9, reader=reader), readers.READERS[reader].call

    def say(value):
        return difference(compare, {"value": came(value)}, {"value": truth["labels"], "read": True}, truth)

    wrapped = torch.nn.Sequential(network(reader), torch.nn.Linear(64, 4))
    assert "parameters: not those of" in say(wrapped) and call in say(wrapped)
    assert "expected the network that you trained" in say(torch.zeros(3, 64)) and call in say([1, 2])
    own = network(reader).state_dict()
    assert "missing" in say(dict(list(own.items())[1:]))
    name, tensor = next(iter(own.items()))
    assert "has shape" in say(own | {name: torch.zeros(7)}) and "no tensor" in say(own | {name: 3.0})
    assert "nan or infinite" in say(own | {name: torch.full_like(tensor, torch.nan)})


@EACH
def test_odd_numbers_in_the_right_places_never_raise(reader):
    truth, own = truth_of(reader), network(reader).state_dict()
    for odd in (1e30, -1e30, 0.0):
        state = came({name: torch.full(tensor.shape, odd) for name, tensor in own.items()})
        assert readers.misfit(reader, state, truth) is None
        assert len(readers.read(reader, state, truth)) == len(truth["labels"])
        assert isinstance(readers.symptom(reader, state, truth), str)


@EACH
def test_what_was_never_trained_is_told_by_its_weights(reader):
    truth, module = truth_of(reader), network(reader)
    assert readers.symptom(reader, came(module), truth) == "untrained"
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    sum(p.square().sum() for p in module.parameters()).neg().backward()
    optimizer.step()
    assert readers.symptom(reader, came(module), truth) != "untrained"


def test_a_reader_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="reader must be one of probe, gallery, sentences"):
        accuracy(0.5, reader="crystal ball")


def test_networks_are_asked_in_eval_mode_however_they_came(monkeypatch):
    asked = []
    blind = dataclasses.replace(readers.READERS["probe"], labels=lambda network, truth: asked.append(network.training))
    monkeypatch.setitem(readers.READERS, "probe", blind)
    readers.read("probe", came(network("probe").train()), truth_of("probe"))
    assert asked == [False]
