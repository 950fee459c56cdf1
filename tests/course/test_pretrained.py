"""Checkpoints: written and read back, read by transformers too, and every damage told apart."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import transformers as hf
from IPython.core.interactiveshell import InteractiveShell
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from course_utils import pretrained, runtime
from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer
from course_utils.data.text import CharTokenizer
from course_utils.learn import evaluate
from course_utils.models import weight_files
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig, OnTiles
from course_utils.models.hugging_face import build, from_hugging_face, to_hugging_face
from course_utils.models.rnn import CELLS, CharRNN, RNNConfig
from course_utils.models.transformer import BERT, GPT, BERTConfig, Config

TEXT = (
    "the cat sat on the mat, and the other cat sat on the hat.\nThe shape of the array is the shape of the data.\n" * 5
)
CARD = {"data": "a test", "steps": 3, "loss": 1.25, "seed": 0, "command": "none", "seconds": 0.1}


def checkpoint(kind, folder):
    if kind == "gpt":
        tokenizer = BPETokenizer.train(TEXT, vocab_size=290)
        model = GPT(Config(len(tokenizer), context=16, dim=16, layers=2, heads=2), runtime.seed(0))
    elif kind == "bert":
        tokenizer = BPETokenizer.train(TEXT, vocab_size=290, special=BERT_SPECIAL)
        model = BERT(BERTConfig(len(tokenizer), context=16, dim=16, layers=2, heads=2, token_types=1), runtime.seed(0))
    else:
        tokenizer = CharTokenizer.from_text(TEXT + "漢?", unknown="?")
        model = CharRNN(RNNConfig(len(tokenizer), kind, hidden=8), runtime.seed(0))
    pretrained.save(folder, model, tokenizer, CARD)
    return model.eval(), tokenizer


@pytest.mark.parametrize("kind", ["gpt", "bert", *CELLS])
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    model, tokenizer = checkpoint(kind, tmp_path / kind)
    again, same = pretrained.load(tmp_path / kind)
    assert type(again) is type(model) and again.config == model.config and not again.training
    assert same.encode("The cat, the array").equal(tokenizer.encode("The cat, the array")) and len(same) == len(
        tokenizer
    )
    for name, tensor in model.state_dict().items():
        assert again.state_dict()[name].equal(tensor.half().float()), name  # stored as float16
    assert all(p.requires_grad and p.dtype == torch.float32 and p.is_contiguous() for p in again.parameters())
    assert pretrained.card(tmp_path / kind).items() >= CARD.items()
    assert not list((tmp_path / kind).glob(".*"))


def test_characters_outside_the_alphabet_go_on_as_before(tmp_path):
    _, tokenizer = checkpoint("gru", tmp_path)
    again = pretrained.load(tmp_path)[1]
    assert again.alphabet == tokenizer.alphabet and again.unknown == "?"
    assert again.decode(again.encode("the 漢 €\n")) == "the 漢 ?\n"


def test_transformers_reads_the_same_folder(tmp_path):
    model, tokenizer = checkpoint("gpt", tmp_path / "gpt")
    theirs = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "gpt", dtype=torch.float32).eval()
    x = tokenizer.encode("the cat sat on the mat")[None, :16]
    torch.testing.assert_close(theirs(x).logits, pretrained.load(tmp_path / "gpt")[0](x), rtol=1e-4, atol=1e-4)
    assert (
        hf.AutoTokenizer.from_pretrained(tmp_path / "gpt")("the cat").input_ids == tokenizer.encode("the cat").tolist()
    )

    model, tokenizer = checkpoint("bert", tmp_path / "bert")
    theirs = hf.AutoModelForMaskedLM.from_pretrained(tmp_path / "bert", dtype=torch.float32).eval()
    x, mask = tokenizer.encode_batch(["the cat", "the cat sat on the mat"])
    ours = pretrained.load(tmp_path / "bert")[0](x, mask)
    torch.testing.assert_close(theirs(x, attention_mask=mask.long()).logits[mask], ours[mask], rtol=1e-4, atol=1e-4)
    fast = hf.AutoTokenizer.from_pretrained(tmp_path / "bert")
    batch = fast(["the cat", "the cat sat on the mat"], padding=True, return_tensors="pt")
    assert batch.input_ids.equal(x) and batch.attention_mask.bool().equal(mask) and fast.mask_token == "[MASK]"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damage_is_named(file, tmp_path):
    checkpoint("gpt", tmp_path)
    good = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(good[:-50])
    with pytest.raises(ValueError, match=f"{file} is not the file that was written .*cut off or changed"):
        pretrained.load(tmp_path)
    (tmp_path / file).write_bytes(good[:-9] + b"x" + good[-8:])  # one byte
    with pytest.raises(ValueError, match="cut off or changed"):
        pretrained.load(tmp_path)
    (tmp_path / "card.json").unlink()  # a folder without a card: what the files themselves tell
    (tmp_path / file).write_bytes(good[:-50])
    with pytest.raises(ValueError, match=rf"{file} is (not|cut off)"):
        pretrained.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {file}"):
        pretrained.load(tmp_path)


def test_card_that_is_no_json_or_not_there(tmp_path):
    checkpoint("gpt", tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ValueError, match="card.json is not JSON"):
        pretrained.load(tmp_path)
    (tmp_path / "card.json").unlink()
    with pytest.raises(FileNotFoundError, match="has no card.json"):
        pretrained.card(tmp_path)


def test_files_of_two_checkpoints_mixed(tmp_path):
    checkpoint("gpt", tmp_path / "a")
    checkpoint("gru", tmp_path / "b")
    (tmp_path / "a" / "card.json").unlink()
    for file in ("model.safetensors", "config.json"):
        shutil.copy(tmp_path / "b" / file, tmp_path / "a")
        with pytest.raises(ValueError, match="no tensor 'transformer.wte.weight'|different checkpoints"):
            pretrained.load(tmp_path / "a")


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    """The tests have none (tests/conftest.py)."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("gpt2", "google-bert/bert-base-uncased"):
        with pytest.raises(ConnectionError, match=f"cannot fetch '{name}'.*into a folder.*bundled"):
            pretrained.load(name)
    with pytest.raises(FileNotFoundError, match="no folder .*not/there/at_all.* give a bundled name"):
        pretrained.load("not/there/at_all")


def test_a_bundled_name_is_found_before_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path / "bundled")
    monkeypatch.chdir(tmp_path)
    bundled, _ = checkpoint("gpt", tmp_path / "bundled" / "gpt")
    checkpoint("gru", tmp_path / "gpt")
    assert pretrained.names() == ["gpt"]
    assert isinstance(pretrained.load("gpt")[0], GPT)
    assert isinstance(pretrained.load("./gpt")[0], CharRNN)
    assert pretrained.card("gpt")["steps"] == 3


# --- other people's checkpoints ---------------------------------------------------------------------------------------


SMALL = dict(vocab_size=31, n_positions=8, n_embd=12, n_layer=2, n_head=3)
SMALL_BERT = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=8,
)  # fmt: skip


def test_hub_names_round_trip_through_transformers():
    for theirs in (
        hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL)),
        hf.BertForMaskedLM(hf.BertConfig(**SMALL_BERT)),
    ):
        config, tensors = to_hugging_face(from_hugging_face(theirs))
        wanted = {name: t for name, t in theirs.state_dict().items() if name in tensors}
        tied = {"lm_head.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
        assert set(theirs.state_dict()) - set(wanted) <= tied | {n for n in theirs.state_dict() if "position_ids" in n}
        assert all(tensors[name].equal(tensor) for name, tensor in wanted.items())
        assert all(theirs.config.to_dict()[k] == v for k, v in config.items() if k not in ("architectures", "n_inner"))


def test_old_names():
    """The hub's gpt2 leaves out "transformer.", its BERT says gamma and beta; both hold more than we need."""
    gpt = hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL))
    old = {name.removeprefix("transformer."): t for name, t in gpt.state_dict().items() if name != "lm_head.weight"}
    old["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    x = torch.arange(8)[None]
    torch.testing.assert_close(build(gpt.config.to_dict(), old).eval()(x), gpt.eval()(x).logits, rtol=1e-4, atol=1e-4)

    bert = hf.BertForMaskedLM(hf.BertConfig(**SMALL_BERT))
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in bert.state_dict().items()
    }
    old |= {"cls.seq_relationship.weight": torch.ones(2, 12), "bert.pooler.dense.bias": torch.ones(12)}
    torch.testing.assert_close(build(bert.config.to_dict(), old).eval()(x), bert.eval()(x).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "theirs, message",
    [
        (
            lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL, activation_function="relu")),
            "use GELU, but this one uses 'relu'",
        ),
        (
            lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL, scale_attn_by_inverse_layer_idx=True)),
            "scale_attn_by_inverse",
        ),
        (lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL, tie_word_embeddings=False)), "tie_word_embeddings"),
        (lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SMALL_BERT)), "type 'gpt_neox'"),
        (lambda: hf.BertModel(hf.BertConfig(**SMALL_BERT, is_decoder=True)), "is_decoder"),
    ],
)
def test_architectures_that_are_not_ours_are_refused(theirs, message):
    with pytest.raises(ValueError, match=message):
        from_hugging_face(theirs())


def test_tensors_that_do_not_fit_are_refused():
    model = hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL))
    config, tensors = model.config.to_dict(), model.state_dict()
    with pytest.raises(
        ValueError, match="'transformer.wte.weight' does not fit config.json: it is .31, 12., not .30, 12."
    ):
        build({**config, "vocab_size": 30}, tensors)
    with pytest.raises(ValueError, match="1 tensors that .* does not know, such as 'transformer.h.0.extra.weight'"):
        build(config, {**tensors, "transformer.h.0.extra.weight": torch.ones(2)})
    with pytest.raises(ValueError, match="output vectors of its own"):
        build(config, {**tensors, "lm_head.weight": torch.ones(31, 12)})
    with pytest.raises(ValueError, match="config.json"):
        build({"model_type": "gpt2"}, tensors)


# --- folders as they lie on the hub -----------------------------------------------------------------------------------

MESSAGES = ["The cat sat on the mat.", "NAÏVE cats, the hat!", "Sat?", "the " * 12]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"acehimnostv.,!?",
    "##s",
    "##t",
    "##e",
    "the",
    "cat",
    "sat",
    "mat",
]


def encoder(folder, kind="BertModel", **sizes):
    """A small BERT and its WordPiece tokenizer, saved by `transformers`. Returns both, as it has them."""
    torch.manual_seed(0)
    sizes = {**SMALL_BERT, "vocab_size": len(PIECES), "max_position_embeddings": 32, **sizes}
    model = getattr(hf, kind)(hf.BertConfig(**sizes)).eval()
    for parameter in model.parameters():  # far from what is drawn at first, so that a swapped tensor shows
        parameter.data += 0.3 * torch.randn_like(parameter)
    tokenizer = hf.BertTokenizerFast({piece: code for code, piece in enumerate(PIECES)}, model_max_length=32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def assert_same_features(folder, theirs, tokenizer):
    ours, own = pretrained.load(folder)
    codes, mask = own.encode_batch(MESSAGES)
    batch = tokenizer(MESSAGES, padding=True, return_tensors="pt")
    assert codes.equal(batch.input_ids) and mask.equal(batch.attention_mask.bool())
    with torch.no_grad():
        hidden = getattr(theirs, "bert", theirs)(**batch).last_hidden_state
        torch.testing.assert_close(ours.encode(codes, mask)[mask], hidden[mask], rtol=1e-4, atol=1e-4)
    return ours, codes, mask


def rewritten(folder, change):
    """The folder's weights, by changed names, in the layout that they had."""
    tensors = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForPreTraining"]
)
def test_encoders_with_and_without_heads(kind, tmp_path):
    theirs, tokenizer = encoder(tmp_path, kind)
    ours, codes, mask = assert_same_features(tmp_path, theirs, tokenizer)
    has_head = kind in ("BertForMaskedLM", "BertForPreTraining")
    assert ours.config.head is has_head
    if has_head:
        ours(codes, mask)
    else:
        for call in (lambda: ours(codes, mask), lambda: ours.logits(ours.encode(codes, mask))):
            with pytest.raises(
                ValueError, match="without its masked-language-modelling head.*encode gives its features"
            ):
                call()


def test_an_encoder_without_a_head_is_saved_and_read_by_transformers(tmp_path):
    theirs, tokenizer = encoder(tmp_path / "theirs")
    ours, own = pretrained.load(tmp_path / "theirs")
    pretrained.save(tmp_path / "ours", ours, own, CARD, dtype=torch.float32)
    assert_same_features(tmp_path / "ours", theirs, hf.AutoTokenizer.from_pretrained(tmp_path / "ours"))
    assert_same_features(tmp_path / "theirs", hf.AutoModel.from_pretrained(tmp_path / "ours").eval(), tokenizer)


@pytest.mark.parametrize("kind", ["BertModel", "BertForMaskedLM"])
@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.model.", "0.auto_model.", "encoder."],
)
def test_what_a_model_was_wrapped_in_does_not_matter(kind, prefix, tmp_path):
    theirs, tokenizer = encoder(tmp_path, kind)
    rewritten(tmp_path, lambda name: prefix + name)
    assert assert_same_features(tmp_path, theirs, tokenizer)[0].config.head is (kind == "BertForMaskedLM")


@pytest.mark.parametrize("prefix", ["", "transformer.", "_orig_mod.transformer.", "model.transformer.", "module."])
def test_the_same_of_a_gpt(prefix):
    gpt = hf.GPT2LMHeadModel(hf.GPT2Config(**SMALL)).eval()
    tensors = {
        prefix + name.removeprefix("transformer."): t for name, t in gpt.state_dict().items() if "lm_head" not in name
    }
    tensors[f"{prefix.removesuffix('transformer.')}lm_head.weight"] = gpt.lm_head.weight
    x = torch.arange(8)[None]
    torch.testing.assert_close(build(gpt.config.to_dict(), tensors).eval()(x), gpt(x).logits, rtol=1e-4, atol=1e-4)
    blocks = {name.replace("h.1.", "h.1._orig_mod."): tensor for name, tensor in tensors.items()}  # each block compiled
    torch.testing.assert_close(build(gpt.config.to_dict(), blocks).eval()(x), gpt(x).logits, rtol=1e-4, atol=1e-4)


def as_parts(folder, model):
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4kB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def as_torch(folder, model, wrap=lambda tensors: tensors):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(wrap(tensors), folder / "pytorch_model.bin")


def as_torch_parts(folder, model):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for file, part in parts.items():
        torch.save({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def as_a_trainers_file(folder, model):
    as_torch(folder, model, lambda tensors: {"epoch": 3, "state_dict": {f"model.{n}": t for n, t in tensors.items()}})


LAYOUTS = [as_parts, as_torch, as_torch_parts, as_a_trainers_file]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["BertModel", "BertForSequenceClassification"])
def test_layouts_of_the_weights(layout, kind, tmp_path):
    theirs, tokenizer = encoder(tmp_path, kind)
    layout(tmp_path, theirs)
    assert_same_features(tmp_path, theirs, tokenizer)


def test_tokenizers_of_older_folders_and_of_sentence_encoders(tmp_path):
    theirs, tokenizer = encoder(tmp_path)
    fixed = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    fixed.enable_padding(length=24)
    fixed.enable_truncation(6)
    fixed.save(str(tmp_path / "tokenizer.json"))
    assert_same_features(tmp_path, theirs, tokenizer)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    assert_same_features(tmp_path, theirs, tokenizer)


@pytest.mark.parametrize("kind", [GPT, BERT, CharRNN])
def test_words_as_symbols(kind, tmp_path):
    from course_utils.data import tales

    tokenizer = tales.tokenizer()
    config = {
        GPT: Config(len(tokenizer), 8, 8, 1, 2), BERT: BERTConfig(len(tokenizer), 8, 8, 1, 2),
        CharRNN: RNNConfig(len(tokenizer), "lstm", 8, embedding=4),
    }[kind]  # fmt: skip
    model = kind(config, runtime.seed(0)).eval()
    pretrained.save(tmp_path, model, tokenizer, {}, dtype=torch.float32)
    again, words = pretrained.load(tmp_path, device="cpu")
    codes = words.encode("“The goat has the key,” said Anna.")
    assert codes.tolist() == tokenizer.encode("“The goat has the key,” said Anna.").tolist()
    assert words.decode(codes) == "“The goat has the key,” said Anna."
    assert (words.end, words.pad, words.mask) == (tokenizer.end, tokenizer.pad, tokenizer.mask)
    first = [model.encode(codes[None, :8]) for model in (model, again)]
    first = [found[0] if isinstance(found, tuple) else found for found in first]
    assert first[0].equal(first[1])


def test_capitals_count_where_the_tokenizer_says_so(tmp_path):
    theirs, _ = encoder(tmp_path)
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**about, "do_lower_case": False}))
    cased = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert cased("The cat").input_ids[1] == PIECES.index("[UNK]")
    assert_same_features(tmp_path, theirs, cased)


def test_a_tokenizer_that_does_not_say_how_a_text_begins_and_ends(tmp_path):
    theirs, tokenizer = encoder(tmp_path)
    said = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps({**said, "post_processor": None}))
    assert_same_features(tmp_path, theirs, tokenizer)


def test_a_config_that_was_edited_on_windows(tmp_path):
    theirs, tokenizer = encoder(tmp_path)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text(), "utf-8-sig")
    assert_same_features(tmp_path, theirs, tokenizer)


@pytest.mark.parametrize("layout", [lambda folder, model: None, *LAYOUTS])
def test_from_the_hub_come_the_files_that_are_needed(layout, tmp_path, monkeypatch):
    hub, kept, asked = tmp_path / "hub", tmp_path / "kept", []
    theirs, tokenizer = encoder(hub)
    layout(hub, theirs)
    (hub / "tf_model.h5").write_bytes(b"large")

    def snapshot(name, allow_patterns, local_files_only=False):
        asked.append(local_files_only)
        kept.mkdir(exist_ok=True)
        for file in hub.iterdir() if not local_files_only else ():
            if any(file.match(pattern) for pattern in allow_patterns):
                shutil.copy(file, kept)
        return str(kept)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    model, own = pretrained.load("someone/a-model")
    assert own.encode("the cat").tolist() == tokenizer("the cat", add_special_tokens=False).input_ids
    assert not (kept / "tf_model.h5").exists()
    asked.clear()
    pretrained.load("someone/a-model")
    assert asked == [True], "the second time, nothing is fetched"


def test_special_tokens_of_another_name(tmp_path):
    encoder(tmp_path)
    said = (tmp_path / "tokenizer.json").read_text().replace("[PAD]", "<pad>").replace("[SEP]", "</s>")
    (tmp_path / "tokenizer.json").write_text(said)
    about = {"pad_token": {"content": "<pad>"}, "sep_token": "</s>", "cls_token": "[CLS]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    tokenizer = pretrained.load(tmp_path)[1]
    assert (tokenizer.pad, tokenizer.sep, tokenizer.cls) == (0, 3, 2)


def test_a_padded_vocabulary_is_never_written(tmp_path):
    tokenizer = BPETokenizer.train(TEXT, vocab_size=290)
    padded = hf.GPT2Config(**{**SMALL, "vocab_size": 320})
    theirs = hf.GPT2LMHeadModel(padded).eval()
    theirs.transformer.wte.weight.data[290:] *= 50  # each of them likelier, half of the time, than all real ones
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    ours, own = pretrained.load(tmp_path)
    x = own.encode("the cat sat")[None]
    torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-4, atol=1e-4)
    for how in ({}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.5}, {"use_cache": False}):
        for prompt in (x.expand(50, -1), [x[0, :1], x[0]]):
            for row in ours.generate(prompt, 20, generator=runtime.seed(0), **how):
                own.decode(row)
    ours.unused = None
    assert ours.generate(x.expand(50, -1), 20, generator=runtime.seed(0)).max() >= 290, "the test must be able to fail"


def test_what_cannot_be_read_is_a_sentence(tmp_path):
    theirs, tokenizer = encoder(tmp_path / "whole")

    def refused(change, message, error=ValueError):
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        change(folder)
        with pytest.raises(error, match=message):
            pretrained.load(folder)

    def write(name, content):
        return lambda folder: (folder / name).write_bytes(content)

    def cut(pattern):
        def change(folder):
            file = sorted(folder.glob(pattern))[0]
            file.write_bytes(file.read_bytes()[:-40])

        return change

    def then(*changes):
        return lambda folder: [change(folder) for change in changes]

    def parts(folder):
        as_parts(folder, theirs)

    def binary(folder):
        as_torch(folder, theirs)

    def without(pattern):
        return lambda folder: [file.unlink() for file in sorted(folder.glob(pattern))[:1]]

    def config(**changes):
        return lambda folder: (folder / "config.json").write_text(
            json.dumps({**json.loads((folder / "config.json").read_text()), **changes})
        )

    refused(then(parts, without("model-*")), "lacks 1 of the .* parts of its weights, such as model-00001", OSError)
    refused(then(parts, cut("model-*")), "model-00001-of-.* is cut off or damaged")
    refused(then(parts, write("model.safetensors.index.json", b"{}")), "is not a list of a model's parts")
    outside = json.dumps({"weight_map": {"a": "../whole/model.safetensors"}}).encode()
    refused(then(parts, write("model.safetensors.index.json", outside)), "which is not a file beside it")
    refused(cut("model.safetensors"), "model.safetensors is cut off or damaged")
    refused(write("model.safetensors", b""), "model.safetensors is cut off or damaged")
    refused(write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid"), "run `git lfs pull`")
    refused(then(binary, cut("pytorch_model.bin")), "pytorch_model.bin is cut off or damaged")
    refused(then(binary, write("pytorch_model.bin", b"junk")), "pytorch_model.bin is cut off or damaged")
    refused(then(binary, write("pytorch_model.bin", b"")), "pytorch_model.bin is cut off or damaged")
    refused(lambda folder: as_torch(folder, theirs, lambda tensors: [1, 2]), "holds no named tensors but list")
    refused(lambda folder: as_torch(folder, theirs, lambda tensors: theirs), "would run code .* model.safetensors")
    for name in ("tf_model.h5", "model.onnx", "adapter_model.safetensors"):
        refused(then(without("model.safetensors"), write(name, b"")), f"no model.safetensors.*; {name} is", OSError)
    refused(without("tokenizer.json"), "has no tokenizer.json", OSError)
    refused(config(model_type="llama"), "model of type 'llama'; this course builds .* AutoModel.from_pretrained")
    refused(config(model_type=None), "names no model_type; this course builds")
    refused(config(quantization_config={"bits": 4}), "is a quantized bert; this course builds")
    refused(lambda folder: rewritten(folder, lambda name: f"a.{name}" if "1" in name else name), "no tensor 'bert.enc")
    refused(
        lambda folder: save_file(
            {f"{who}.{n}": t.clone() for n, t in theirs.state_dict().items() for who in ("query", "passage")},
            folder / "model.safetensors",
        ),
        "holds 2 models",
    )
    whole_numbers = {name: tensor.to(torch.int8) for name, tensor in theirs.state_dict().items()}
    refused(lambda folder: save_file(whole_numbers, folder / "model.safetensors"), "holds whole numbers .* quantized")


def test_a_pickle_s_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    encoder(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"state_dict": {}, "more": Evil()}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="would run code from it, so it is not read"):
        pretrained.load(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    encoder(tmp_path)
    monkeypatch.setattr(weight_files, "free_memory", lambda: 1000)
    monkeypatch.setattr("safetensors.torch.load_file", lambda file: pytest.fail("read"))
    with pytest.raises(MemoryError, match="weights: as float32 they need .* a smaller model"):
        pretrained.load(tmp_path)
    monkeypatch.undo()
    assert weight_files.free_memory() > 2**20


def test_an_unknown_architecture_is_refused_before_anything_else_is_read(tmp_path, monkeypatch):
    hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SMALL_BERT)).save_pretrained(tmp_path)  # it has no tokenizer either
    monkeypatch.setattr(weight_files, "read", lambda folder: pytest.fail("read"))
    with pytest.raises(
        ValueError, match="type 'gpt_neox'; this course builds gpt2, bert and char_rnn. For others, use"
    ):
        pretrained.load(tmp_path)


def test_a_file_or_the_folder_above_is_answered_with_the_right_one(tmp_path):
    encoder(tmp_path / "0_Transformer")
    with pytest.raises(FileNotFoundError, match="no config.json.*Its sub-folder 0_Transformer has a config.json: load"):
        pretrained.load(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file: give the folder it lies in"):
        pretrained.load(tmp_path / "0_Transformer" / "model.safetensors")


def real_folder():
    found = os.environ.get("COURSE_MIRROR")
    return Path(found) if found and (Path(found) / "models" / "all-MiniLM-L6-v2").is_dir() else None


@pytest.mark.skipif(real_folder() is None, reason="COURSE_MIRROR names no folder with models/all-MiniLM-L6-v2")
def test_a_real_sentence_encoder_agrees_with_transformers_on_500_messages():
    folder = real_folder() / "models" / "all-MiniLM-L6-v2"
    lines = (real_folder() / "sms_spam" / "SMSSpamCollection").read_text("utf-8").split("\n")[:500]
    messages = [line.split("\t", 1)[1] for line in lines]
    ours, tokenizer = pretrained.load(folder)
    theirs, their_tokenizer = (
        hf.AutoModel.from_pretrained(folder, dtype=torch.float32).eval(),
        hf.AutoTokenizer.from_pretrained(folder),
    )
    with torch.inference_mode():
        for start in range(0, 500, 50):
            codes, mask = tokenizer.encode_batch(messages[start : start + 50])
            batch = their_tokenizer(messages[start : start + 50], padding=True, return_tensors="pt")
            assert codes.equal(batch.input_ids) and mask.equal(batch.attention_mask.bool())
            hidden = theirs(**batch).last_hidden_state
            torch.testing.assert_close(ours.encode(codes, mask)[mask], hidden[mask], rtol=0, atol=1e-4)


def test_card_lists_every_file(tmp_path):
    checkpoint("bert", tmp_path)
    hashes = json.loads((tmp_path / "card.json").read_text())["sha256"]
    assert set(hashes) == {path.name for path in tmp_path.iterdir()} - {"card.json"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_loads_onto_a_gpu(tmp_path):
    checkpoint("gpt", tmp_path)
    assert pretrained.load(tmp_path, device="cuda")[0].tokens.weight.is_cuda


# --- models of pictures -----------------------------------------------------------------------------------------------


def picture_model(kind):
    g, small = runtime.seed(0), ConvNetConfig(width=4)
    if kind in ("convnet", "tiles"):
        encoder = ConvNet(small, g).eval()
        return encoder if kind == "convnet" else OnTiles(encoder, 8, 6).eval()
    if kind == "clip":
        model = CLIP(CLIPConfig(5, context=8, dim=8, image_width=4, text_dim=8, text_layers=1, text_heads=2), g)
        model.tokenizer = WordTokenizer(["a", "boat", "red"])
        return model.eval()
    made = DeepAutoencoder if kind.startswith("ae") else VariationalAutoencoder
    return made(6, small, g, linear=kind.endswith("linear")).eval()


@pytest.mark.parametrize("kind", ["convnet", "tiles", "ae", "vae", "ae, linear", "vae, linear", "clip"])
def test_model_of_pictures_saved_and_loaded_is_the_same(kind, tmp_path):
    model, images = picture_model(kind), torch.rand(5, 3, 32, 32, generator=runtime.seed(1))
    model.train()(images, torch.randint(5, (5, 8))) if kind == "clip" else model.train()(images)  # batch norms move
    pretrained.save_model(tmp_path / kind, model.eval(), CARD)
    again = pretrained.load_model(tmp_path / kind)
    assert type(again) is type(model) and again.config == model.config and not again.training
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert again.state_dict()[name].equal(tensor.half().float()), name
    assert not any(p.requires_grad for p in again.parameters())
    assert pretrained.card(tmp_path / kind).items() >= CARD.items()
    if kind == "clip":
        assert again.tokenizer.words == ("a", "boat", "red")

    encoder = pretrained.load_encoder(tmp_path / kind)
    expected = {"ae": "encode", "vae": "encode", "clip": "image"}.get(kind.split(",")[0])
    expected = getattr(model, expected)(images) if expected else model(images)
    torch.testing.assert_close(encoder(images), expected, atol=0.02, rtol=0.02)
    assert not encoder.training and not encoder(images).requires_grad
    assert evaluate.features(encoder, images).shape == (5, getattr(encoder, "dim", None) or encoder.config.dim)


def test_language_and_pictures_are_told_apart(tmp_path):
    pretrained.save_model(tmp_path / "convnet", picture_model("convnet"), CARD)
    with pytest.raises(ValueError, match="is a model of pictures: pretrained.load_encoder"):
        pretrained.load(tmp_path / "convnet")
    checkpoint("gpt", tmp_path / "gpt")
    with pytest.raises(ValueError, match="is a gpt2, not a model of pictures .*: use load"):
        pretrained.load_encoder(tmp_path / "gpt")


def test_damaged_models_of_pictures(tmp_path):
    folder = tmp_path / "convnet"
    pretrained.save_model(folder, picture_model("convnet"), CARD)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def put_back(*, without=()):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in whole.items():
            if name not in without:
                (folder / name).write_bytes(content)

    (folder / "model.safetensors").write_bytes(whole["model.safetensors"][:-7])
    with pytest.raises(ValueError, match="model.safetensors is not the file that was written"):
        pretrained.load_encoder(folder)
    put_back(without=["model.safetensors"])
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        pretrained.load_encoder(folder)
    config = json.loads(whole["config.json"])
    put_back(without=["card.json"])
    (folder / "config.json").write_text(json.dumps({**config, "width": 5}))
    with pytest.raises(ValueError, match="the weights do not match its config.json"):
        pretrained.load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**config, "depth": 5}))
    with pytest.raises(ValueError, match="does not describe a course_convnet: .*depth"):
        pretrained.load_encoder(folder)
    with pytest.raises(FileNotFoundError, match="no folder"):
        pretrained.load_encoder(tmp_path / "no where")


def test_models_that_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="not a Linear"):
        pretrained.save_model(tmp_path, torch.nn.Linear(2, 2), CARD)
    clip = picture_model("clip")
    del clip.tokenizer
    with pytest.raises(ValueError, match="give the CLIP its tokenizer first"):
        pretrained.save_model(tmp_path, clip, CARD)
    large = picture_model("convnet")
    large.layers[0][0].weight.data[0] = 1e6
    with pytest.raises(ValueError, match="layers.0.0.weight has numbers that are not finite as torch.float16"):
        pretrained.save_model(tmp_path, large, CARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("load", [pretrained.load, pretrained.load_encoder, pretrained.load_model])
def test_in_a_notebook_a_missing_checkpoint_is_a_sentence(load, tmp_path, capsys):
    shell = InteractiveShell()
    shell.user_ns |= {"load": load, "place": tmp_path}
    shell.run_cell("load(place)")
    said = capsys.readouterr().out + capsys.readouterr().err
    assert f"{tmp_path} has no config.json" in said and "Traceback" not in said and "pretrained.py" not in said
