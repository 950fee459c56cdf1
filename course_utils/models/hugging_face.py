"""The same weights under two names: this course's models and the files of the Hugging Face hub.

`build` makes a model from a hub's config.json and its tensors; `to_hugging_face` gives both back; `from_hugging_face`
copies a model of `transformers`. A table for each architecture says which tensor is which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.models.rnn import CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config

Model = GPT | BERT | CharRNN

# --- the tables -------------------------------------------------------------------------------------------------------

# A row: (our name, the hub's names). Three names are one tensor of ours, stacked. "*" is the number of the layer.
GPT2 = [
    ("tokens", ["transformer.wte"]),
    ("positions", ["transformer.wpe"]),
    ("norm", ["transformer.ln_f"]),
    ("blocks.*.norm_1", ["transformer.h.*.ln_1"]),
    ("blocks.*.attention.qkv", ["transformer.h.*.attn.c_attn"]),
    ("blocks.*.attention.out", ["transformer.h.*.attn.c_proj"]),
    ("blocks.*.norm_2", ["transformer.h.*.ln_2"]),
    ("blocks.*.mlp.up", ["transformer.h.*.mlp.c_fc"]),
    ("blocks.*.mlp.down", ["transformer.h.*.mlp.c_proj"]),
]
GPT2_TRANSPOSED = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")  # stored as (in, out), unlike torch's
GPT2_KNOWN = (".attn.bias", ".attn.masked_bias")  # causal masks

BERT_ = [
    ("tokens", ["bert.embeddings.word_embeddings"]),
    ("positions", ["bert.embeddings.position_embeddings"]),
    ("types", ["bert.embeddings.token_type_embeddings"]),
    ("norm", ["bert.embeddings.LayerNorm"]),
    ("blocks.*.attention.qkv", [f"bert.encoder.layer.*.attention.self.{part}" for part in ("query", "key", "value")]),
    ("blocks.*.attention.out", ["bert.encoder.layer.*.attention.output.dense"]),
    ("blocks.*.norm_1", ["bert.encoder.layer.*.attention.output.LayerNorm"]),
    ("blocks.*.mlp.up", ["bert.encoder.layer.*.intermediate.dense"]),
    ("blocks.*.mlp.down", ["bert.encoder.layer.*.output.dense"]),
    ("blocks.*.norm_2", ["bert.encoder.layer.*.output.LayerNorm"]),
    ("transform", ["cls.predictions.transform.dense"]),
    ("transform_norm", ["cls.predictions.transform.LayerNorm"]),
    ("bias", ["cls.predictions.bias"]),
]
BERT_KNOWN = (".position_ids", "bert.pooler.dense.weight", "bert.pooler.dense.bias")

# What a model's body is called, what the names of its parts begin with, and the tensor that shows where the body is.
BODY = {
    "gpt2": ("transformer.", ("wte.", "wpe.", "h.", "ln_f."), "wte.weight"),
    "bert": ("bert.", ("embeddings.", "encoder.", "pooler."), "embeddings.word_embeddings.weight"),
}
OLD_NORM = re.compile(r"(?<=LayerNorm\.)(gamma|beta)$")
# What torch.compile, DataParallel and the like put into the names of a model's tensors.
WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

GELUS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}

# The sizes in a config.json. A row: our name, the hub's, and what holds where it is left out (REQUIRED: nothing).
REQUIRED = object()
GPT2_SIZES = [
    ("vocab_size", "vocab_size", REQUIRED),
    ("context", "n_positions", REQUIRED),
    ("dim", "n_embd", REQUIRED),
    ("layers", "n_layer", REQUIRED),
    ("heads", "n_head", REQUIRED),
    ("hidden", "n_inner", None),
    ("activation", "activation_function", "gelu_new"),
    ("norm_eps", "layer_norm_epsilon", 1e-5),
    ("dropout", "resid_pdrop", 0.1),
]
BERT_SIZES = [
    ("vocab_size", "vocab_size", REQUIRED),
    ("context", "max_position_embeddings", REQUIRED),
    ("dim", "hidden_size", REQUIRED),
    ("layers", "num_hidden_layers", REQUIRED),
    ("heads", "num_attention_heads", REQUIRED),
    ("hidden", "intermediate_size", REQUIRED),
    ("token_types", "type_vocab_size", 2),
    ("activation", "hidden_act", "gelu"),
    ("norm_eps", "layer_norm_eps", 1e-12),
    ("dropout", "hidden_dropout_prob", 0.1),
]


def hub_names(name: str, table: list[tuple[str, list[str]]]) -> list[str]:
    """Return the hub's names of one of our tensors: "blocks.3.mlp.up.weight" -> ["transformer.h.3.mlp.c_fc.weight"]."""
    parts = name.split(".")
    layer = parts[1] if parts[0] == "blocks" else ""
    stem, kind = (name, "") if parts[-1] not in ("weight", "bias") or name == "bias" else name.rsplit(".", 1)
    stem = stem.replace(f"blocks.{layer}.", "blocks.*.", 1)
    return [theirs.replace("*", layer) + (kind and f".{kind}") for theirs in dict(table)[stem]]


# --- reading a model --------------------------------------------------------------------------------------------------


def from_hugging_face(model: nn.Module) -> GPT | BERT:
    """Return this course's copy of a `transformers` model (GPT2LMHeadModel, BertModel …), in evaluation mode.

    It gives the same logits, or the same hidden states if the model has no head.

    Raises:
        ValueError: if the architecture is another one, or has parts that this course's model lacks.
    """
    return build(model.config.to_dict(), model.state_dict()).eval()


def build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str = "the checkpoint") -> Model:
    """Return the model that a hub's config.json describes, with these tensors as float32 weights.

    A BERT whose tensors have no masked-language-modelling head is built without one. Heads for other tasks (classifiers
    and the like) are left out.

    Raises:
        ValueError: naming `where`, if the architecture is another one, or tensors are missing, left over or misshapen.
    """
    check_kind(config, where)
    kind = config["model_type"]
    if kind in BODY:
        tensors = _plain_names(tensors, kind, where)
    sizes, table, known = {
        "gpt2": (gpt2_sizes, GPT2, GPT2_KNOWN),
        "bert": (bert_sizes, BERT_, BERT_KNOWN),
        "char_rnn": (lambda config: RNNConfig(**{k: config[k] for k in config if k != "model_type"}), None, ()),
    }[kind]
    try:
        sizes = sizes(config)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where}: config.json lacks an entry or has one too many: {error}") from None
    if kind == "bert":
        sizes.head = any(name.startswith("cls.predictions.transform.") for name in tensors)
    if getattr(sizes, "head", kind == "gpt2"):
        _refuse(config, tie_word_embeddings=True)
    with torch.device("meta"):  # shapes without memory, so that no weights are drawn in vain
        model = {"gpt2": GPT, "bert": BERT, "char_rnn": CharRNN}[kind](sizes)
    state, used = {}, set()
    for name, wanted in model.state_dict().items():
        theirs = [name] if table is None else hub_names(name, table)
        missing = [each for each in theirs if each not in tensors]
        if missing:
            raise ValueError(f"{where} has no tensor {missing[0]!r}: it is incomplete, or of another kind")
        if whole := [each for each in theirs if not tensors[each].is_floating_point()]:
            raise ValueError(f"{where} holds whole numbers in {whole[0]!r}: it is quantized. Load one that is not")
        parts = [tensors[each].float() for each in theirs]
        tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
        if kind == "gpt2" and theirs[0].endswith(GPT2_TRANSPOSED):
            tensor = tensor.T
        if tensor.shape != wanted.shape:
            found, expected = tuple(tensor.shape), tuple(wanted.shape)
            raise ValueError(f"{where}: {theirs[0]!r} does not fit config.json: it is {found}, not {expected}")
        state[name] = tensor.clone(memory_format=torch.contiguous_format)
        used.update(theirs)
    body = BODY[kind][0] if kind in BODY else ""
    rest = sorted(name for name in tensors if name not in used and name.startswith(body) and not name.endswith(known))
    if rest:
        raise ValueError(
            f"{where} has {len(rest)} tensors that this course's {kind} does not know, such as {rest[0]!r}"
        )
    if "lm_head.bias" in tensors:
        raise ValueError(f"{where} has an output bias (lm_head.bias), but this course's GPT has none")
    for tied in ("lm_head.weight", "cls.predictions.decoder.weight"):
        if tied in tensors and not torch.equal(tensors[tied].float(), state["tokens.weight"]):
            raise ValueError(f"{where} has output vectors of its own ({tied}), but this course's models tie them")
    model.load_state_dict(state, assign=True)
    return model


def check_kind(config: Mapping[str, Any], where: str = "the checkpoint") -> None:
    """Check that this course builds the kind of model that a config.json describes.

    Raises:
        ValueError: naming `where`, if it does not.
    """
    kind = config.get("model_type")
    what = f"is a model of type {kind!r}" if kind else "has a config.json that names no model_type"
    if config.get("quantization_config"):
        what, kind = f"is a quantized {kind}", None
    if kind not in ("gpt2", "bert", "char_rnn"):
        raise ValueError(
            f"{where} {what}; this course builds gpt2, bert and char_rnn. "
            f"For others, use transformers: AutoModel.from_pretrained({where!r})"
        )


def _new_norm(found: re.Match) -> str:
    return {"gamma": "weight", "beta": "bias"}[found[0]]


def _plain_names(tensors: Mapping[str, Tensor], kind: str, where: str) -> dict[str, Tensor]:
    """The tensors by the names in the tables, whatever a model was wrapped in when it was saved.

    "_orig_mod.model.bert.pooler.dense.bias", "0.auto_model.pooler.dense.bias" and "pooler.dense.bias" become
    "bert.pooler.dense.bias". In older files a norm's weights are called gamma and beta.
    """
    first, parts, anchor = BODY[kind]
    tensors = {OLD_NORM.sub(_new_norm, WRAPPERS.sub("", name)): tensor for name, tensor in tensors.items()}
    anchors = [name.removesuffix(anchor) for name in tensors if f".{name}".endswith(f".{anchor}")]
    if len(anchors) > 1:
        raise ValueError(f"{where} holds {len(anchors)} models ({', '.join(anchors)}): save the one you want")
    body = anchors[0] if anchors else first  # "model.bert.", or "" for the bare body
    around = body.removesuffix(first)  # "model.": heads have it too
    found = {}
    for name, tensor in tensors.items():
        inner = name.removeprefix(body)
        inside = name.startswith(body) and inner.startswith(parts)
        found[first + inner if inside else name.removeprefix(around)] = tensor
    if "cls.predictions.decoder.bias" in found:
        found.setdefault("cls.predictions.bias", found["cls.predictions.decoder.bias"])  # one tensor, two names
    return found


def gpt2_sizes(config: Mapping[str, Any]) -> Config:
    """Return the sizes in a GPT-2's config.json.

    Raises:
        ValueError: if it asks for something this course's GPT does not do.
    """
    _refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    return Config(**_sizes(config, GPT2_SIZES))


def bert_sizes(config: Mapping[str, Any]) -> BERTConfig:
    """Return the sizes in a BERT's config.json.

    Raises:
        ValueError: if it asks for something this course's BERT does not do.
    """
    _refuse(config, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    return BERTConfig(**_sizes(config, BERT_SIZES))


def _sizes(config: Mapping[str, Any], table: list[tuple[str, str, Any]]) -> dict[str, Any]:
    found = {ours: config[hub] if usual is REQUIRED else config.get(hub, usual) for ours, hub, usual in table}
    return found | {"activation": _gelu(found["activation"])}


def _gelu(name: str) -> str:
    if name not in GELUS:
        raise ValueError(
            f"this course's transformers use GELU, but this one uses {name!r}: use transformers' own class"
        )
    return GELUS[name]


def _refuse(config: Mapping[str, Any], **wanted: Any) -> None:
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise ValueError(f"this course's model has {name}={value}, not {config[name]}: use transformers' own class")


# --- writing a model --------------------------------------------------------------------------------------------------


def to_hugging_face(model: Model) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a model's config.json and its tensors in the hub's format, for `transformers` to read.

    Raises:
        ValueError: for any other kind of model.
    """
    sizes = model.config
    if isinstance(model, CharRNN):
        return {"model_type": "char_rnn", **asdict(sizes)}, dict(model.state_dict())
    if isinstance(model, GPT):
        kind, architecture, table, known = "gpt2", "GPT2LMHeadModel", GPT2, GPT2_SIZES
        dropouts = ("embd_pdrop", "attn_pdrop")
    elif isinstance(model, BERT):
        kind, architecture, table, known = "bert", "BertForMaskedLM" if sizes.head else "BertModel", BERT_, BERT_SIZES
        dropouts = ("attention_probs_dropout_prob",)
    else:
        raise ValueError(f"the hub's names are known for GPT, BERT and CharRNN, got {type(model).__name__}")
    said = asdict(sizes) | {"activation": {"gelu": "gelu", "gelu_tanh": "gelu_new"}[sizes.activation]}
    config = {"model_type": kind, "architectures": [architecture], **{hub: said[ours] for ours, hub, _ in known}}
    config |= dict.fromkeys(dropouts, sizes.dropout)
    tensors = {}
    for name, tensor in model.state_dict().items():
        theirs = hub_names(name, table)
        for each, part in zip(theirs, tensor.chunk(len(theirs))):
            tensors[each] = part.T if isinstance(model, GPT) and each.endswith(GPT2_TRANSPOSED) else part
    return config, tensors
