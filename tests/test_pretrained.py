"""Checkpoints: written and read back, read by transformers too, and every damage told apart."""

import json
import shutil

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)

from course_utils import evaluate, pretrained, runtime
from course_utils.data.bpe import BERT_SPECIAL, BPETokenizer
from course_utils.data.text import CharTokenizer
from course_utils.models.autoencoder import DeepAutoencoder, VariationalAutoencoder
from course_utils.models.clip import CLIP, CLIPConfig, WordTokenizer
from course_utils.models.convnet import ConvNet, ConvNetConfig
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
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "gpt", dtype=torch.float32).eval()
    x = tokenizer.encode("the cat sat on the mat")[None, :16]
    torch.testing.assert_close(theirs(x).logits, pretrained.load(tmp_path / "gpt")[0](x), rtol=1e-4, atol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "gpt")("the cat").input_ids == tokenizer.encode("the cat").tolist()

    model, tokenizer = checkpoint("bert", tmp_path / "bert")
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "bert", dtype=torch.float32).eval()
    x, mask = tokenizer.encode_batch(["the cat", "the cat sat on the mat"])
    ours = pretrained.load(tmp_path / "bert")[0](x, mask)
    torch.testing.assert_close(theirs(x, attention_mask=mask.long()).logits[mask], ours[mask], rtol=1e-4, atol=1e-4)
    fast = AutoTokenizer.from_pretrained(tmp_path / "bert")
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


# ------------------------------------------------------------------------------------------ other people's checkpoints


SMALL = dict(vocab_size=31, n_positions=8, n_embd=12, n_layer=2, n_head=3)
SMALL_BERT = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=8,
)  # fmt: skip


def test_hub_names_round_trip_through_transformers():
    for theirs in (
        GPT2LMHeadModel(GPT2Config(**SMALL)),
        BertForMaskedLM(BertConfig(**SMALL_BERT)),
    ):
        config, tensors = to_hugging_face(from_hugging_face(theirs))
        wanted = {name: t for name, t in theirs.state_dict().items() if name in tensors}
        tied = {"lm_head.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
        assert set(theirs.state_dict()) - set(wanted) <= tied | {n for n in theirs.state_dict() if "position_ids" in n}
        assert all(tensors[name].equal(tensor) for name, tensor in wanted.items())
        assert all(theirs.config.to_dict()[k] == v for k, v in config.items() if k not in ("architectures", "n_inner"))


def test_old_names():
    """The hub's gpt2 leaves out "transformer.", its BERT says gamma and beta; both hold more than we need."""
    gpt = GPT2LMHeadModel(GPT2Config(**SMALL))
    old = {name.removeprefix("transformer."): t for name, t in gpt.state_dict().items() if name != "lm_head.weight"}
    old["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    x = torch.arange(8)[None]
    torch.testing.assert_close(build(gpt.config.to_dict(), old).eval()(x), gpt.eval()(x).logits, rtol=1e-4, atol=1e-4)

    bert = BertForMaskedLM(BertConfig(**SMALL_BERT))
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
            lambda: GPT2LMHeadModel(GPT2Config(**SMALL, activation_function="relu")),
            "use GELU, and this one uses 'relu'",
        ),
        (lambda: GPT2LMHeadModel(GPT2Config(**SMALL, scale_attn_by_inverse_layer_idx=True)), "scale_attn_by_inverse"),
        (lambda: GPT2LMHeadModel(GPT2Config(**SMALL, tie_word_embeddings=False)), "tie_word_embeddings"),
        (lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL_BERT)), "type 'gpt_neox'"),
        (lambda: BertModel(BertConfig(**SMALL_BERT)), "no tensor 'cls.predictions"),
    ],
)
def test_architectures_that_are_not_ours_are_refused(theirs, message):
    with pytest.raises(ValueError, match=message):
        from_hugging_face(theirs())


def test_tensors_that_do_not_fit_are_refused():
    model = GPT2LMHeadModel(GPT2Config(**SMALL))
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
    if kind == "convnet":
        return ConvNet(small, g).eval()
    if kind == "clip":
        model = CLIP(CLIPConfig(5, context=8, dim=8, image_width=4, text_dim=8, text_layers=1, text_heads=2), g)
        model.tokenizer = WordTokenizer(["a", "boat", "red"])
        return model.eval()
    return {"ae": DeepAutoencoder, "vae": VariationalAutoencoder}[kind](6, small, g).eval()


@pytest.mark.parametrize("kind", ["convnet", "ae", "vae", "clip"])
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
    expected = {"ae": "encode", "vae": "encode", "clip": "image"}.get(kind)
    expected = getattr(model, expected)(images) if expected else model(images)
    torch.testing.assert_close(encoder(images), expected, atol=0.02, rtol=0.02)
    assert not encoder.training and not encoder(images).requires_grad
    assert evaluate.features(encoder, images).shape == (5, getattr(encoder, "dim", None) or encoder.config.dim)


def test_language_and_pictures_are_told_apart(tmp_path):
    pretrained.save_model(tmp_path / "convnet", picture_model("convnet"), CARD)
    with pytest.raises(ValueError, match="is a model of pictures: pretrained.load_encoder"):
        pretrained.load(tmp_path / "convnet")
    checkpoint("gpt", tmp_path / "gpt")
    with pytest.raises(ValueError, match="is a gpt2 and none of pictures .*: use load"):
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
    with pytest.raises(ValueError, match="the weights are not those of its config.json"):
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
