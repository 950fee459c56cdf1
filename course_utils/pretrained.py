"""Trained models, ready to use: the bundled ones, a folder, or a name on the Hugging Face hub, all by the same call.

    gpt, tokenizer = pretrained.load("gpt")          # bundled, no network
    gpt, tokenizer = pretrained.load("gpt2")         # from the hub, kept for the next time
    gpt, tokenizer = pretrained.load("my_folder")    # config.json, model.safetensors, tokenizer.json

    simclr = pretrained.load_encoder("simclr")       # pictures (N, 3, 32, 32) -> features (N, dim), frozen
    vae = pretrained.load_model("vae")               # all of it, with its decoder

A bundled folder has the hub's layout and the hub's names for the weights, so `transformers` reads it too. Beside them
lies `card.json`: what the model was trained on, for how long, by which command, how good it is, and each file's
SHA-256.
"""

# ruff: noqa: F722, F821  (jaxtyping writes shapes as strings)
from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from course_utils import paths
from course_utils.data import real
from course_utils.data.bpe import BPETokenizer
from course_utils.data.text import CharTokenizer
from course_utils.models import weight_files
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig, OnTiles
from course_utils.models.hugging_face import Model, build, check_kind, to_hugging_face
from course_utils.models.rnn import CharRNN
from course_utils.models.transformer import GPT

BUNDLED = Path(__file__).parent / "checkpoints"
FILES = ("config.json", "model.safetensors", "tokenizer.json")
SLOW_TOKENIZERS = (("vocab.txt",), ("vocab.json", "merges.txt"))  # what older folders have instead of tokenizer.json
PICTURE_FILES = FILES[:2]  # a model of pictures has no tokenizer; CLIP's words are in its config

Tokenizer = BPETokenizer | CharTokenizer
PictureModel = ConvNet | OnTiles | DeepAutoencoder | CLIP


def _without_traceback(function: Callable) -> Callable:
    """In a notebook, show only the sentence that says what is wrong with a checkpoint."""

    @functools.wraps(function)
    def told(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (ValueError, OSError, MemoryError) as error:
            said = f"{type(error).__name__}: {error}"
            error._render_traceback_ = lambda: [said]  # IPython asks for it
            raise

    return told


def names() -> list[str]:
    """Return the names of the bundled checkpoints."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/config.json"))


@_without_traceback
def load(name_or_folder: str | os.PathLike, *, device: torch.device | str | None = None) -> tuple[Model, Tokenizer]:
    """Return (model, tokenizer) of a bundled checkpoint ("gpt"), a folder, or a hub name ("openai-community/gpt2").

    The model is in evaluation mode, in float32. Architectures: GPT-2's, BERT's, and this course's character RNN. The
    weights may lie in one file or in parts, as safetensors or as PyTorch's own (see `weight_files`). A BERT without its
    head for masked language modelling, as sentence encoders and classifiers are, has `encode` and no logits.

    Raises:
        ValueError: if files are damaged, changed since they were written, or of another architecture.
        OSError: if files are missing.
        MemoryError: if the model is too large for this machine.
        ConnectionError: for a hub name without a network; the message says what to do.
    """
    folder = _folder(name_or_folder)
    config, tokenizer = folder / "config.json", folder / "tokenizer.json"
    if config.is_file() and not tokenizer.is_file() and _kind(_read_json(config)) in PICTURES:
        raise ValueError(
            f"{folder} is a model of pictures: pretrained.load_encoder gives its features, load_model all of it"
        )
    _check_there(folder, "config.json", config.is_file())
    _check_hashes(folder)
    config = _read_json(config)
    check_kind(config, str(folder))  # before anything else is read: the weights may be large
    _check_there(folder, "tokenizer.json", bool(tokenizers_in(folder)))
    model = build(config, weight_files.read(folder), where=str(folder))
    tokenizer = _read_tokenizer(folder)
    symbols, vocabulary = len(tokenizer), model.config.vocab_size
    if symbols > vocabulary or (symbols < vocabulary and isinstance(model, CharRNN)):
        raise ValueError(
            f"{folder}: the tokenizer has {symbols} symbols and the model {vocabulary}: "
            "the files belong to different checkpoints"
        )
    if isinstance(model, GPT) and (unused := [*getattr(tokenizer, "unused", ()), *range(symbols, vocabulary)]):
        model.unused = torch.zeros(vocabulary, dtype=torch.bool)  # a padded vocabulary: 50,304 for 50,257 symbols
        model.unused[unused] = True
    return model.eval().to(device), tokenizer


def card(name_or_folder: str | os.PathLike) -> dict[str, Any]:
    """Return how a checkpoint was made: data, steps, loss, seed, command, time.

    Raises:
        FileNotFoundError: if it has no card.
    """
    path = _folder(name_or_folder) / "card.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no card.json: only checkpoints of this course have one")
    return _read_json(path)


def save(
    folder: str | os.PathLike,
    model: Model,
    tokenizer: Tokenizer,
    card: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a checkpoint in the hub's layout, and its card: `card` with the SHA-256 of the files added.

    Args:
        dtype: how the weights are stored; float16 takes half the space and keeps three digits.
    """
    from safetensors.torch import save as to_bytes

    config, tensors = to_hugging_face(model)
    if isinstance(tokenizer, BPETokenizer) and tokenizer.end is not None and not isinstance(model, CharRNN):
        config |= {"bos_token_id": tokenizer.end, "eos_token_id": tokenizer.end}
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in tensors.items()}
    files = {
        "config.json": _to_json(config),
        "model.safetensors": to_bytes(tensors, metadata={"format": "pt"}),
        "tokenizer.json": _backend(tokenizer).to_str().encode(),
        "tokenizer_config.json": _to_json(_tokenizer_config(tokenizer, config)),
    }
    _write(folder, files, card)


def _write(folder: str | os.PathLike, files: dict[str, bytes], card: Mapping[str, Any]) -> None:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files["card.json"] = _to_json({**card, "sha256": hashes})
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        paths.write(folder / name, content)


# --- models of pictures -----------------------------------------------------------------------------------------------


class Code(nn.Module):
    """The features of an autoencoder: its `encode` as a module. `model` is the whole autoencoder."""

    def __init__(self, model: DeepAutoencoder):
        super().__init__()
        self.model = model

    @property
    def dim(self) -> int:
        return self.model.latent

    def forward(self, images: Float[Tensor, "batch channels 32 32"]) -> Float[Tensor, "batch latent"]:
        return self.model.encode(images)


@_without_traceback
def load_encoder(name_or_folder: str | os.PathLike, *, device: torch.device | str | None = None) -> nn.Module:
    """Return a frozen encoder of pictures: called with (N, 3, 32, 32), it returns features (N, dim).

    It is a ConvNet for "colour", "simclr", "supcon" and "clip" (the picture encoder, before the projection); an
    `OnTiles` for "patch" and "jigsaw"; and a `Code` for "ae", "dae" and "vae" (for the VAE, the mean). It is in
    evaluation mode, in float32, and no parameter requires a gradient.

    Raises:
        ValueError, OSError, MemoryError, ConnectionError: as `load` does.
    """
    return encoder_of(load_model(name_or_folder, device=device))


def encoder_of(model: PictureModel) -> nn.Module:
    """Return the part of a model of pictures that makes features, in the mode the model is in."""
    if isinstance(model, CLIP):
        return model.image
    return Code(model).train(model.training) if isinstance(model, DeepAutoencoder) else model


@_without_traceback
def load_model(name_or_folder: str | os.PathLike, *, device: torch.device | str | None = None) -> PictureModel:
    """Return all of a frozen model of pictures: a ConvNet, an autoencoder with its decoder, or a CLIP.

    CLIP has its tokenizer as `clip.tokenizer`.

    Raises:
        ValueError, OSError, MemoryError, ConnectionError: as `load` does.
    """
    folder = _folder(name_or_folder, PICTURE_FILES)
    for name in PICTURE_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: a checkpoint is {', '.join(PICTURE_FILES)} in one folder")
    _check_hashes(folder)
    config = _read_json(folder / "config.json")
    if (kind := _kind(config)) not in PICTURES:
        raise ValueError(f"{folder} is a {kind or 'model'}, not a model of pictures ({', '.join(PICTURES)}): use load")
    try:
        model = PICTURES[kind]({key: value for key, value in config.items() if key not in _ABOUT})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} does not describe a {kind}: {error}") from None
    tensors = {name: tensor.float() for name, tensor in weight_files.read(folder).items()}
    counts = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("num_batches_tracked")}
    try:
        model.load_state_dict({**counts, **tensors})
    except RuntimeError as error:
        raise ValueError(f"{folder}: the weights do not match its config.json: {error}") from None
    return model.eval().requires_grad_(False).to(device)


def save_model(
    folder: str | os.PathLike, model: PictureModel, card: Mapping[str, Any], *, dtype: torch.dtype = torch.float16
) -> None:
    """Write a model of pictures, and its card: `card` with the SHA-256 of the files added.

    Raises:
        ValueError: if it is another kind of model, or a weight is too large for `dtype`.
    """
    from safetensors.torch import save as to_bytes

    if isinstance(model, CLIP):
        if not hasattr(model, "tokenizer"):
            raise ValueError("give the CLIP its tokenizer first: clip.tokenizer = tokenizer")
        kind, config = "course_clip", {**asdict(model.config), "words": list(model.tokenizer.words)}
    elif isinstance(model, DeepAutoencoder):
        kind = "course_vae" if isinstance(model, VariationalAutoencoder) else "course_autoencoder"
        config = {"latent": model.latent, "linear": model.linear, **asdict(model.config)}
    elif isinstance(model, OnTiles):
        kind, config = "course_tiles", {"side": model.side, "step": model.step, **asdict(model.config)}
    elif isinstance(model, ConvNet):
        kind, config = "course_convnet", asdict(model.config)
    else:
        raise ValueError(f"only a ConvNet, an autoencoder or a CLIP can be saved, not a {type(model).__name__}")
    tensors = {
        name: tensor.detach().cpu().to(dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    if large := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{', '.join(large)} has numbers that are not finite as {dtype}")
    files = {
        "config.json": _to_json({"model_type": kind, "architectures": [type(model).__name__], **config}),
        "model.safetensors": to_bytes(tensors, metadata={"format": "pt"}),
    }
    _write(folder, files, card)


def _kind(config: Mapping[str, Any]) -> str:
    return str(config.get("model_type", ""))


def _clip(config: dict[str, Any]) -> CLIP:
    tokenizer = WordTokenizer(config.pop("words"))
    model = CLIP(CLIPConfig(**config))
    model.tokenizer = tokenizer
    return model


def _tiles(config: dict[str, Any]) -> OnTiles:
    side, step = config.pop("side"), config.pop("step")
    return OnTiles(ConvNet(ConvNetConfig(**config)), side, step)


def _autoencoder(made: type[DeepAutoencoder]) -> Callable[[dict[str, Any]], DeepAutoencoder]:
    def make(config: dict[str, Any]) -> DeepAutoencoder:
        latent, linear = config.pop("latent", 32), config.pop("linear", False)
        return made(latent, ConvNetConfig(**config), linear=linear)

    return make


_ABOUT = ("model_type", "architectures")
PICTURES: dict[str, Callable[[dict[str, Any]], PictureModel]] = {
    "course_convnet": lambda config: ConvNet(ConvNetConfig(**config)),
    "course_tiles": _tiles,
    "course_autoencoder": _autoencoder(DeepAutoencoder),
    "course_vae": _autoencoder(VariationalAutoencoder),
    "course_clip": _clip,
}


# --- where the files are ----------------------------------------------------------------------------------------------


def _folder(name_or_folder: str | os.PathLike, files: tuple[str, ...] = FILES) -> Path:
    if isinstance(name_or_folder, str) and name_or_folder in names():
        return BUNDLED / name_or_folder
    if (fetched := real.find_model(name_or_folder)) is not None:
        return fetched
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file: give the folder it lies in, with {', '.join(FILES)}")
    name = os.fspath(name_or_folder)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise FileNotFoundError(f"no folder {folder.absolute()}: {_choices()}")
    return _from_hub(name, files)


def _choices() -> str:
    bundled = ", ".join(names()) or "none yet, see `course train --dry`"
    return f"give a bundled name ({bundled}), a folder with {', '.join(FILES)}, or a name on the Hugging Face hub"


def _check_there(folder: Path, name: str, there: bool) -> None:
    if not there:
        inner = next((path.parent for path in sorted(folder.glob("**/config.json")) if path.parent != folder), None)
        hint = f". Its sub-folder {inner.relative_to(folder)} has a config.json: load that" if inner else ""
        raise FileNotFoundError(f"{folder} has no {name}: a checkpoint is {', '.join(FILES)} in one folder{hint}")


HUB_FILES = (*FILES[::2], "tokenizer_config.json", *dict.fromkeys(sum(SLOW_TOKENIZERS, ())), *weight_files.PATTERNS)


def _is_whole(folder: Path, files: tuple[str, ...]) -> bool:
    """Whether a folder has everything that `load` reads (or, for PICTURE_FILES, `load_model`)."""
    if files != FILES:
        return all((folder / file).exists() for file in files)
    try:
        return (folder / "config.json").is_file() and bool(tokenizers_in(folder)) and bool(weight_files.find(folder))
    except (OSError, ValueError):
        return False


def _from_hub(name: str, files: tuple[str, ...] = FILES) -> Path:
    """Fetch a repository from the hub, or find what an earlier call fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = list(HUB_FILES if files == FILES else files)
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
        if _is_whole(folder, files):
            return folder
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass  # not here yet
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
        if files == FILES and not _is_whole(folder, files):
            folder = Path(snapshot_download(name, allow_patterns=[*patterns, *weight_files.TORCH_PATTERNS]))
        return folder
    except RepositoryNotFoundError:
        raise ValueError(f"the Hugging Face hub has no (public) model {name!r}: {_choices()}") from None
    except Exception as error:  # its network errors have no common class
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConnectionError(
            f"cannot fetch {name!r} from the Hugging Face hub ({reason}), and there is no such folder here. With a "
            f"network, this call fetches it once and keeps it. Without one, copy {', '.join(files)} from another "
            f"machine into a folder and load that, or use a bundled checkpoint: {', '.join(names()) or 'none yet'}."
        ) from None


# --- what is in them --------------------------------------------------------------------------------------------------


def _check_hashes(folder: Path) -> None:
    """Compare the files with their card, if there is one.

    Raises:
        ValueError: if a file is not as it was written.
    """
    if not (folder / "card.json").is_file():
        return
    for name, expected in _read_json(folder / "card.json").get("sha256", {}).items():
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(
                f"{path} is not the file that was written ({path.stat().st_size:,} bytes; its SHA-256 differs from "
                "card.json): it was cut off or changed. Fetch or make the checkpoint again"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))  # an editor on Windows may begin it with a mark
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch or make the checkpoint again") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: fetch or make the checkpoint again")
    return content


# --- tokenizers -------------------------------------------------------------------------------------------------------


def _backend(tokenizer: Tokenizer) -> Backend:
    """Return what is written as tokenizer.json. Characters are "words" of length one, cut apart everywhere."""
    if isinstance(tokenizer, BPETokenizer):
        return tokenizer.backend
    codes = {character: code for code, character in enumerate(tokenizer.alphabet)}
    backend = Backend(models.WordLevel(codes, unk_token=tokenizer.unknown or "\0"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return backend


def tokenizers_in(folder: Path) -> list[tuple[str, ...]]:
    """Return the sets of files in a folder that make a tokenizer, the best first."""
    kinds = (("tokenizer.json",), *SLOW_TOKENIZERS)
    return [names for names in kinds if all((folder / name).is_file() for name in names)]


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    about = _read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    if not path.is_file():
        return BPETokenizer(_converted(folder), _special(about))
    tokenizer = BPETokenizer(BPETokenizer.load(path).backend, _special(about))
    codes = tokenizer.backend.get_vocab()
    characters = isinstance(tokenizer.backend.model, models.WordLevel) and all(len(symbol) == 1 for symbol in codes)
    if not characters:
        _as_bert(tokenizer, about)
        return tokenizer
    if sorted(codes.values()) != list(range(len(codes))):
        raise ValueError(f"{path} has {len(codes)} characters, whose codes are not 0 … {len(codes) - 1}: make it again")
    unknown = tokenizer.backend.model.unk_token
    return CharTokenizer("".join(sorted(codes, key=codes.get)), unknown if unknown in codes else None)


def _converted(folder: Path) -> Backend:
    """The tokenizer of a folder with vocab.txt (BERT), or vocab.json and merges.txt (GPT-2)."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # it may fail in any way
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the tokenizer in {folder} cannot be read ({type(error).__name__}: {said}): fetch its tokenizer.json too"
        ) from None


def _special(about: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of a tokenizer_config.json, under the names of BPETokenizer's attributes."""
    called = {ours: about.get(f"{theirs}_token") for ours, theirs in SPECIAL_TOKENS.items()}
    called = {ours: said.get("content") if isinstance(said, dict) else said for ours, said in called.items()}
    if called["unknown"] == called["end"]:
        del called["unknown"]  # GPT-2 says so, but knows every byte
    return {ours: said for ours, said in called.items() if isinstance(said, str)}


def _as_bert(tokenizer: BPETokenizer, about: Mapping[str, Any]) -> None:
    """Read WordPiece as `transformers` does: tokenizer_config.json decides on capitals, [CLS] and [SEP] are added."""
    backend = tokenizer.backend
    if not isinstance(backend.model, models.WordPiece):
        return
    normalizer = backend.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        normalizer.lowercase = about.get("do_lower_case", normalizer.lowercase)
        normalizer.strip_accents = about.get("strip_accents", normalizer.strip_accents)
        backend.normalizer = normalizer
    if backend.post_processor is None and tokenizer.cls is not None and tokenizer.sep is not None:
        ends = [(backend.id_to_token(code), code) for code in (tokenizer.sep, tokenizer.cls)]
        backend.post_processor = processors.BertProcessing(*ends)


SPECIAL_TOKENS = {"end": "eos", "pad": "pad", "unknown": "unk", "cls": "cls", "sep": "sep", "mask": "mask"}


def _tokenizer_config(tokenizer: Tokenizer, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `transformers.AutoTokenizer` needs besides tokenizer.json."""
    found: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if "n_positions" in config or "max_position_embeddings" in config:
        found["model_max_length"] = config.get("n_positions") or config["max_position_embeddings"]
    for ours, theirs in SPECIAL_TOKENS.items():
        code = getattr(tokenizer, ours, None)
        if isinstance(tokenizer, BPETokenizer) and code is not None:
            found[f"{theirs}_token"] = tokenizer.backend.id_to_token(code)
    return found


def _to_json(content: Mapping[str, Any]) -> bytes:
    """Return the content with a line for each key, and each list of plain values on one line, easy to read."""
    lines = json.dumps(content, indent=2, ensure_ascii=False)
    lines = re.sub(r"\[\n([^\[\]{}]*)\n\s*\]", lambda found: f"[{' '.join(found[1].split())}]", lines)
    return (lines + "\n").encode()
