import os
import pickle

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sertools.errors import ConfigError, DataError
from sertools.models.text import TransformersText, load_text, pool_text, small_text
from torch import nn

SMALL = {"vocab_size": 50, "max_position_embeddings": 40}
KINDS = {
    "distilbert": transformers.DistilBertConfig(**SMALL, dim=16, n_layers=2, n_heads=2,
                                                hidden_dim=32),
    "bert": transformers.BertConfig(**SMALL, hidden_size=16, num_hidden_layers=2,
                                    num_attention_heads=2, intermediate_size=32),
    "roberta": transformers.RobertaConfig(**SMALL, hidden_size=16, num_hidden_layers=2,
                                          num_attention_heads=2, intermediate_size=32),
}  # fmt: skip
TEXTS = [[0, 7, 9, 2], [0, 11, 12, 13, 14, 15, 2], [0, 2]]
"""Token numbers that are special in none of the three kinds, apart from begin and end."""


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(KINDS[request.param])
    for parameter in model.parameters():  # fresh LayerNorms and biases would hide mistakes
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


@pytest.fixture
def distilbert(tmp_path):
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(KINDS["distilbert"])
    model.save_pretrained(tmp_path / "distilbert")
    return tmp_path / "distilbert"


def batch(texts=TEXTS, width=9):
    """Return texts padded with tokens that would change everything if they were read."""
    tokens = torch.full((len(texts), width), 33)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return tokens, torch.tensor([len(text) for text in texts])


@pytest.mark.parametrize("freeze", ["none", "embeddings", "all"])
def test_frames_are_those_of_transformers_on_each_text_alone(folder, freeze):
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    ours = load_text(folder, freeze=freeze).eval()
    frames = ours(*batch())
    assert frames.shape == (3, 9, ours.dim) and ours.vocabulary == 50
    for row, text in zip(frames, TEXTS, strict=True):
        expected = theirs(torch.tensor([text])).last_hidden_state[0]
        torch.testing.assert_close(row[: len(text)], expected, atol=2e-6, rtol=1e-5)
        assert not row[len(text) :].any()


def test_other_kinds_of_attention_are_replaced(folder):
    eager = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    tokens, lengths = batch()
    expected = load_text(folder).eval()(tokens, lengths)
    frames = TransformersText(eager).eval()(tokens, lengths)
    torch.testing.assert_close(frames, expected)


def test_positions_reach_as_far_as_the_model_has_them(folder):
    encoder = load_text(folder).eval()
    assert encoder.max_tokens == (38 if "roberta" in folder.name else 40)
    tokens = torch.full((1, encoder.max_tokens), 7)
    assert encoder(tokens).isfinite().all()
    with pytest.raises(DataError, match="reads 38|reads 40"):
        encoder(torch.full((1, encoder.max_tokens + 1), 7))


def test_autocast_gives_nearly_the_same(folder):
    encoder = load_text(folder).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(*batch())
    whole = encoder(*batch())
    assert (half.float() - whole).abs().max() < 0.05 * whole.abs().max()
    assert not torch.equal(half.float(), whole)


def test_freezing_takes_hold_of_what_it_names(folder):
    parts = {"none": set(), "embeddings": {"embeddings"}, "all": None}
    for freeze, frozen in parts.items():
        encoder = load_text(folder, freeze=freeze).train()
        for name, parameter in encoder.model.named_parameters():
            assert parameter.requires_grad == (frozen is not None and name.split(".")[0]
                                               not in frozen), (freeze, name)
        frames = encoder(*batch())
        assert frames.requires_grad == (freeze != "all")
        assert torch.equal(frames, encoder(*batch())) == (freeze == "all")  # no dropout


def test_dropout_can_be_switched_off(folder):
    encoder = load_text(folder, dropout=0.0).train()
    assert encoder.training and torch.equal(encoder(*batch()), encoder(*batch()))


@pytest.mark.parametrize("kind", [*KINDS, "own"])
def test_a_device_is_never_asked_for_a_value(kind):
    """Tensors without storage have none to give."""
    with torch.device("meta"):
        if kind == "own":
            encoder = small_text(50, dim=32, num_layers=1)
        else:
            encoder = TransformersText(transformers.AutoModel.from_config(KINDS[kind]))
        tokens, lengths = (tensor.to("meta") for tensor in batch())
    frames = encoder(tokens, lengths)
    assert pool_text(frames, lengths).shape == (3, encoder.dim)


@pytest.mark.parametrize(("config", "total", "embeddings"), [
    (transformers.DistilBertConfig(), 66_362_880, 23_835_648),
    (transformers.RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
                                layer_norm_eps=1e-5), 124_055_040, 39_000_576),
])  # fmt: skip
def test_parameters_of_the_published_models(config, total, embeddings):
    extra = {} if config.model_type == "distilbert" else {"add_pooling_layer": False}
    counts = {}
    for freeze in ("none", "embeddings", "all"):
        with torch.device("meta"):
            model = transformers.AutoModel.from_config(config, **extra)
        encoder = TransformersText(model, freeze)
        assert sum(p.numel() for p in encoder.parameters()) == total
        counts[freeze] = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
        assert encoder.max_tokens == 512
    assert counts == {"none": total, "embeddings": total - embeddings, "all": 0}


def test_identity_is_that_of_weights_and_structure(distilbert, tmp_path):
    first = load_text(distilbert).identity
    assert first == load_text(distilbert, freeze="all").identity
    tensors = load_file(distilbert / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5, 0] += 1
    save_file(tensors, distilbert / "model.safetensors", {"format": "pt"})
    assert load_text(distilbert).identity["weights"] != first["weights"]


def test_a_model_with_a_head_gives_its_encoder(tmp_path):
    torch.manual_seed(3)
    whole = transformers.AutoModelForMaskedLM.from_config(KINDS["bert"]).eval()
    whole.save_pretrained(tmp_path)
    tokens = torch.tensor([TEXTS[1]])
    torch.testing.assert_close(load_text(tmp_path).eval()(tokens),
                               whole.bert(tokens).last_hidden_state)


def test_older_names_of_layer_norms_are_read(tmp_path):
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(KINDS["bert"], add_pooling_layer=False)
    nn.init.normal_(model.embeddings.LayerNorm.weight)
    model.save_pretrained(tmp_path)
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias",
                                                                    "LayerNorm.beta"): tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    assert any(name.endswith("gamma") for name in tensors)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = load_text(tmp_path).model.embeddings.LayerNorm.weight
    torch.testing.assert_close(loaded, model.embeddings.LayerNorm.weight)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickled_weights_are_tensors_or_refused(distilbert, tmp_path):
    expected = load_text(distilbert).eval()(*batch())
    tensors = load_file(distilbert / "model.safetensors")
    (distilbert / "model.safetensors").unlink()
    torch.save(tensors, distilbert / "pytorch_model.bin")
    assert torch.equal(load_text(distilbert).eval()(*batch()), expected)
    torch.save({**tensors, "trap": Trap(tmp_path / "sprung")}, distilbert / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_text(distilbert)
    (distilbert / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_text(distilbert)
    assert not (tmp_path / "sprung").exists()


def break_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.layer.1.ffn.lin2.bias"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


BROKEN = {
    "weights are missing.*\n.*lin2.bias": break_weights,
    "the weights cannot be loaded": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:-100]),
    "model.safetensors or pytorch_model.bin is missing": lambda folder: (
        folder / "model.safetensors").unlink(),
    "config.json is missing": lambda folder: (folder / "config.json").unlink(),
    "config.json: cannot be read": lambda folder: (folder / "config.json").write_text("{"),
    "no text encoder that is known here": lambda folder: (folder / "config.json").write_text(
        '{"model_type": "gpt2"}'),
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_what_cannot_be_loaded_is_said(distilbert, message):
    BROKEN[message](distilbert)
    with pytest.raises(ConfigError, match=message):
        load_text(distilbert)


def test_wrong_choices_are_named(distilbert, tmp_path):
    with pytest.raises(ConfigError, match="choose embeddings, none, all"):
        load_text(distilbert, freeze="most")
    for source in ("", "/no/such/folder", "a/b/c", str(distilbert / "config.json")):
        with pytest.raises(ConfigError, match="not a folder"):
            load_text(source)
    encoder = load_text(distilbert)
    encoder.check(50, 40)
    with pytest.raises(ConfigError) as caught:
        encoder.check(51, 41)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_small_text_does_not_see_padding(position):
    torch.manual_seed(2)
    encoder = small_text(50, dim=32, position=position).eval()
    frames = encoder(*batch())
    for row, text in zip(frames, TEXTS, strict=True):
        alone = encoder(torch.tensor([text]))[0]
        torch.testing.assert_close(row[: len(text)], alone, atol=1e-6, rtol=1e-5)
        assert not row[len(text) :].any()


def test_small_text_in_half_precision():
    torch.manual_seed(2)
    encoder = small_text(50, dim=32, dropout=0.0)
    whole = encoder(*batch())
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(*batch())
    half.float().square().sum().backward()
    assert (half.float() - whole).abs().max() < 0.05 * whole.abs().max()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())
    assert not encoder.embedding.weight.grad[33].any()  # the token that stands for padding here


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_small_text_knows_the_order(position):
    torch.manual_seed(2)
    encoder = small_text(50, dim=32, position=position).eval()
    frames = encoder(torch.tensor([[0, 7, 9, 2], [0, 9, 7, 2]]))
    assert (frames[0, [0, 2, 1, 3]] - frames[1]).abs().max() > 1e-3


def test_sinusoids_are_those_of_the_formula():
    waves = small_text(9, dim=6, num_heads=2, position="sinusoidal", max_tokens=5).waves
    scale = 0.02 * 2**0.5
    for step in range(5):
        for half in range(3):
            angle = torch.tensor(step / 10000 ** (2 * half / 6))
            assert waves[step, 2 * half] == pytest.approx(scale * float(angle.sin()), abs=1e-7)
            assert waves[step, 2 * half + 1] == pytest.approx(scale * float(angle.cos()), abs=1e-7)


def test_small_text_is_small_and_its_size_is_known():
    parameters = sum(p.numel() for p in small_text(1000).parameters())
    block = 4 * 128 * 128 + 4 * 128 + 2 * 128 * 256 + 256 + 128 + 4 * 128
    assert parameters == 1000 * 128 + 128 * 128 + 2 * block + 4 * 128 == 409_856


def test_small_text_learns_from_scratch():
    """Does a text hold token 7? Half of them do."""
    torch.manual_seed(4)
    encoder, head = small_text(20, dim=32), nn.Linear(32, 1)
    tokens = torch.randint(8, 20, (64, 6))
    wanted = (torch.arange(64) % 2).float()
    tokens[1::2, 3] = 7
    lengths = torch.full((64,), 6)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    for _ in range(40):
        logits = head(pool_text(encoder(tokens, lengths), lengths))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    assert all(p.grad is not None for p in parameters)


def test_small_text_refuses_impossible_sizes():
    for settings in ({"vocabulary": 0}, {"vocabulary": 9, "dim": 30}, {"vocabulary": 9,
                     "max_tokens": 0}, {"vocabulary": 9, "position": "alibi"},
                     {"vocabulary": 9, "dim": 7, "num_heads": 1, "position": "sinusoidal"}):
        with pytest.raises(ConfigError):
            small_text(**settings)


def test_pooling_against_a_loop():
    torch.manual_seed(5)
    frames, lengths = torch.randn(3, 5, 4), torch.tensor([5, 2, 1])
    frames[1, 2:] = float("nan")
    mean, cls = pool_text(frames, lengths), pool_text(frames, lengths, "cls")
    for row in range(3):
        own = [frames[row, step] for step in range(int(lengths[row]))]
        torch.testing.assert_close(mean[row], sum(own) / len(own))
        assert torch.equal(cls[row], frames[row, 0])
    assert pool_text(frames.bfloat16(), lengths, "cls").dtype == torch.float32
    with pytest.raises(ConfigError, match="mean, cls"):
        pool_text(frames, lengths, "max")
