"""What is read from a network that a student has trained: labels of pictures that the student's function never sees.

The network comes as its parameters (`plain.pack`), and they are put into one of the judge's own. So what earns points
is what was learned, and no other way to an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import plain
from course_utils.models.clip import CLIP, WordTokenizer, small_clip, zero_shot_classifier
from course_utils.models.convnet import small_encoder


@dataclass(frozen=True)
class Reader:
    """One way to read labels from a trained network.

    Attributes:
        made: gives the network that the parameters belong to; called with the case's truth.
        labels: (network, truth) -> the labels that it gives to `truth["labels"]`'s pictures.
        call: how a student makes such a network.
        says: what it does with these pictures, before the share.
        symptom: (network, truth) -> what went wrong in its training, in a word; "" where nothing tells.
    """

    made: Callable[[dict], nn.Module]
    labels: Callable[[nn.Module, dict], Tensor]
    call: str
    says: str
    symptom: Callable[[nn.Module, dict], str]


def misfit(reader: str, state: Any, truth: dict[str, Any]) -> str | None:
    """Why nothing can be read from what came in the place of a trained network; None where something can.

    Args:
        reader: its name in `READERS`.
        state: name -> tensor.
        truth: of the case; its recipes may be uncooked.
    """
    if not isinstance(state, dict):
        return f"type: expected the network that you trained, made by `{READERS[reader].call}`, got something else"
    own = READERS[reader].made(plain.cook(truth)).state_dict()
    wrong = [f"missing {name}" for name in own if name not in state]
    wrong += [f"unexpected {name}" for name in state if name not in own]
    wrong += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if isinstance(state.get(name), Tensor) and state[name].shape != tensor.shape
    ]
    wrong += [f"{name} is no tensor" for name in own if name in state and not isinstance(state[name], Tensor)]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return f"parameters: not those of `{READERS[reader].call}`: {'; '.join(wrong[:3])}{more}"
    if not all(bool(state[name].isfinite().all()) for name in own):
        return "value: parameters that are nan or infinite: is the learning rate too high?"
    return None


def read(reader: str, state: dict[str, Tensor], truth: dict[str, Any]) -> Tensor:
    """The labels that a trained network gives.

    Args:
        reader, state, truth: as for `misfit`, which has found nothing.

    Returns:
        As many labels as `truth["labels"]` has; −1 for all, where its numbers have grown beyond what can be counted in.
    """
    network, truth = _filled(reader, state, truth)
    try:
        with torch.no_grad():
            return READERS[reader].labels(network, truth)
    except (ValueError, RuntimeError):
        return torch.full_like(truth["labels"], -1)


def symptom(reader: str, state: dict[str, Tensor], truth: dict[str, Any]) -> str:
    """What went wrong in a network's training, in a word by which known mistakes are told; "" where nothing tells.

    Args:
        reader, state, truth: as for `misfit`, which has found nothing.
    """
    network, truth = _filled(reader, state, truth)
    if _untrained(network):
        return "untrained"
    try:
        with torch.no_grad():
            return READERS[reader].symptom(network, truth)
    except (ValueError, RuntimeError):  # as in `read`
        return ""


def _filled(reader: str, state: dict[str, Tensor], truth: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The judge's own network with a student's parameters, in eval mode, and the truth cooked."""
    truth = plain.cook(truth)
    network = READERS[reader].made(truth)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval(), truth


def _untrained(network: nn.Module) -> bool:
    """Whether all weights of convolutions lie where torch draws them: a few steps take some of them beyond."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return all(float(layer.weight.detach().abs().max()) <= layer.weight[0].numel() ** -0.5 + 1e-6 for layer in layers)


def scaled(images: Tensor) -> Tensor:
    """Pictures of bytes, 0 … 255, as the assignments give them to their networks."""
    return images / 255 - 0.5


def _probed(encoder: nn.Module, truth: dict[str, Any]) -> Tensor:
    """A linear probe learns the labels of the first pictures, `known`, and names the others."""
    known = truth["known"]
    x, n = encoder(scaled(truth["images"])).double().nan_to_num(0, 0, 0), len(known)  # a network may give anything
    x = (x - x[:n].mean(0)) / (x[:n].std(0) + 0.01 * x[:n].std() + 1e-12)  # what hardly varies stays small
    wanted = F.one_hot(known).double()
    ridge = 0.1 * x.shape[1] * torch.eye(x.shape[1], dtype=torch.double)
    weight = torch.linalg.solve(x[:n].T @ x[:n] + ridge, x[:n].T @ (wanted - wanted.mean(0)))
    return (x[n:] @ weight + wanted.mean(0)).argmax(1)


def _found(encoder: nn.Module, truth: dict[str, Any]) -> Tensor:
    """For each new picture the row of the gallery whose vector points the most nearly the same way."""
    gallery, new = (F.normalize(encoder(scaled(truth[name])), dim=1) for name in ("gallery", "new"))
    return (new @ gallery.T).argmax(1)


def _named(model: CLIP, truth: dict[str, Any]) -> Tensor:
    """For each picture the class whose sentences fit best."""
    classes = zero_shot_classifier(model, WordTokenizer.fit(truth["captions"]), truth["prompts"])
    return (model.encode_image(scaled(truth["images"])) @ classes.T).argmax(1)


def _not_found(encoder: nn.Module, truth: dict[str, Any]) -> str:
    vectors = encoder(scaled(truth["new"]))
    if _constant(vectors):
        return "dead"
    z = F.normalize(vectors, dim=1)
    return "collapsed" if float((z @ z.T).mean()) > 0.95 else ""


def _not_named(encoder: nn.Module, truth: dict[str, Any]) -> str:
    if _constant(encoder(scaled(truth["images"][:200]))):
        return "dead"
    right = (_probed(encoder, truth) == truth["labels"]).double().mean()
    return "nothing learned" if right < 0.2 else ""


def _not_told_apart(model: CLIP, truth: dict[str, Any]) -> str:
    z = model.encode_image(scaled(truth["images"]))
    if _constant(z):
        return "dead"
    if float((z @ z.T).mean()) > 0.95:
        return "collapsed"
    right = (_named(model, truth) == truth["labels"]).double().mean()
    return "nothing learned" if right < 0.1 else ""


def _constant(vectors: Tensor) -> bool:
    return float(vectors.std(0).max()) <= 1e-6 * float(vectors.abs().max())


READERS = {
    "probe": Reader(
        lambda truth: small_encoder(normed=True),
        _probed,
        "small_encoder(normed=True)",
        "by the features of your encoder a probe names",
        _not_named,
    ),
    "gallery": Reader(
        lambda truth: small_encoder(out=64),
        _found,
        "small_encoder(out=64)",
        "your encoder finds again",
        _not_found,
    ),
    "sentences": Reader(
        lambda truth: small_clip(truth["captions"])[0],
        _named,
        "small_clip(captions)",
        "by its sentences your model names",
        _not_told_apart,
    ),
}
