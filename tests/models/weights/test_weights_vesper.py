"""Vesper's files: every layer as in an independent WavLM, nothing run, everything told."""

import pickle
import sys

import pytest
import torch
from microsoft_names import microsoft_name
from sertools.errors import ConfigError
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.weights import load_encoder, save_encoder
from sertools.models.weights.heard import pretrained_on
from sertools.models.weights.vesper import layout_problems, load_downstream, save_vesper
from torch import nn
from vesper_files import downstream, predictors, pretrained, settings, shapes, yacs


def saved(path, tensors, cfg=None, **others):
    cfg = {"model": settings()} if cfg is None else cfg
    torch.save({"cfg": cfg, "epoch": 3, "iteration": 12, "model": tensors, **others}, path)
    return path


def relative(make_relative, tensors):
    """Return WavLM of transformers with a file's weights and without its last LayerNorm."""
    model = make_relative("wavlm large", num_hidden_layers=3, max_bucket_distance=800)
    model.encoder.layer_norm = nn.Identity()
    state = {name: tensors.get("vesper." + microsoft_name(name, True))
             for name in model.state_dict()}  # fmt: skip
    state["masked_spec_embed"] = torch.zeros(32)
    model.load_state_dict(state)
    return model


def student(layers=3, **changed):
    torch.manual_seed(0)
    settings = {"dim": 32, "num_heads": 4, "ffn_dim": 48, "conv_dim": 24, "position_kernel": 16,
                "position_groups": 4, "final_norm": False, "mask_embedding": True}  # fmt: skip
    encoder = build_encoder("wavlm_large", **{**settings, "num_layers": layers, **changed})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


def heads(dim=32):
    return {name: nn.Sequential(nn.Linear(dim, dim // 2), nn.GELU(), nn.Linear(dim // 2, dim))
            for name in ("acoustic", "semantic", "cross")}  # fmt: skip


# ------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("make", [pretrained, downstream])
def test_every_layer_equals_transformers(
    make, monkeypatch, make_relative, assert_same, waves, tmp_path
):
    tensors, node = make(), yacs(monkeypatch)
    others = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(9)}}}, "best_score": 0.7}
    path = saved(tmp_path / "model_best.pt", tensors, node({"model": settings()}), **others)
    for name in ("yacs.config", "yacs"):
        monkeypatch.delitem(sys.modules, name)
    encoder = load_encoder(path)
    assert encoder.config.normalise_waveform and not encoder.training
    assert encoder.config.num_layers == 3 and encoder.final_norm is None
    assert (encoder.mask_embedding is not None) == (make is pretrained)
    assert encoder.config.dropout == encoder.config.activation_dropout == 0.1
    encoder = load_encoder(path, normalise_waveform=False)
    assert_same(encoder, relative(make_relative, tensors), waves[0])


def test_a_file_without_cfg_tells_its_structure(tmp_path):
    tensors = pretrained(2, heads=8, kernel=12, groups=2, ffn=40)
    torch.save({"model": tensors}, tmp_path / "bare.pt")
    config = load_encoder(tmp_path / "bare.pt").config
    assert (config.num_layers, config.num_heads, config.ffn_dim) == (2, 8, 40)
    assert (config.position_kernel, config.position_groups, config.max_distance) == (12, 2, 800)


def test_upstreams_take_files_and_folders(tmp_path):
    path = saved(tmp_path / "model_best.pt", pretrained())
    folder = save_encoder(load_encoder(path, mask_embedding=False), tmp_path / "encoder")
    waveforms, lengths = torch.randn(2, 6000), torch.tensor([6000, 4000])
    one, other = load_upstream(path), load_upstream(folder)
    assert one.num_layers == 3 and one.frame_rate == 50 and one.dim == 32
    assert one.size() == other.size()
    layers = [upstream(waveforms, lengths, hidden=True).hidden for upstream in (one, other)]
    assert all(torch.equal(*pair) for pair in zip(*layers, strict=True))


@pytest.mark.parametrize("weights", [True, False])
def test_downstream_files_score_as_their_code_does(weights, make_relative, tmp_path):
    tensors = downstream(weights=weights)
    model = load_downstream(saved(tmp_path / "best.pt", tensors), normalise_waveform=False)
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        layers = relative(make_relative, tensors)(waveforms, output_hidden_states=True)
        frames = layers.hidden_states[-1]
        if weights:
            share = tensors["weights"].exp() / tensors["weights"].exp().sum()
            frames = sum(w * x for w, x in zip(share, layers.hidden_states, strict=True))
        pooled = (frames @ tensors["projector.weight"].t() + tensors["projector.bias"]).mean(1)
        wanted = pooled @ tensors["classifier.weight"].t() + tensors["classifier.bias"]
        torch.testing.assert_close(model(waveforms), wanted, atol=1e-4, rtol=0)
    assert not model.training


# ------------------------------------------------------------------------------------- misfits


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["cfg", "optimizer", "model"])
def test_code_is_refused_and_not_run(place, monkeypatch, tmp_path):
    content = {"cfg": {"model": settings()}, "optimizer": {}, "model": pretrained()}
    content[place] = {**content[place], "payload": Payload(tmp_path / "ran")}
    content["cfg"] = yacs(monkeypatch)(content["cfg"])
    torch.save(content, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("zip.pt", "plain.pt"):
        for load in (load_encoder, load_downstream):
            with pytest.raises(ConfigError, match="refused"):
                load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_functions_of_yacs_are_no_nodes(monkeypatch, tmp_path):
    yacs(monkeypatch)

    def load_cfg(path):
        open(path, "w").close()

    load_cfg.__module__, load_cfg.__qualname__ = "yacs.config", "load_cfg"
    sys.modules["yacs.config"].load_cfg = load_cfg

    class Caller:
        def __reduce__(self):
            return (load_cfg, (str(tmp_path / "ran"),))

    with pytest.raises(ConfigError, match=r"refused(.|\n)*yacs\.config\.load_cfg"):
        load_encoder(saved(tmp_path / "m.pt", pretrained(), {"model": Caller()}))
    assert not (tmp_path / "ran").exists()


def test_all_missing_unexpected_and_misshapen_tensors_are_told(tmp_path):
    tensors = pretrained()
    block = "vesper.encoder.layers.1."
    del tensors[block + "fc2.bias"], tensors["vesper.layer_norm.weight"]
    tensors[block + "final_layer_norm.weight"] = torch.ones(7)
    tensors[block + "self_attn.q_norm.weight"] = tensors["layer_norm.bias"] = torch.ones(8)
    tensors["vesper.encoder.layer_norm.weight"] = torch.ones(32)
    with pytest.raises(ConfigError) as caught:
        load_encoder(saved(tmp_path / "m.pt", tensors))
    said = str(caught.value)
    assert len(caught.value.problems) == 6
    for text in (f"{block}fc2.bias: missing", "vesper.layer_norm.weight: missing",
                 f"{block}final_layer_norm.weight: shape (7,)",
                 f"{block}self_attn.q_norm.weight: unexpected", "layer_norm.bias: unexpected",
                 "vesper.encoder.layer_norm.weight: unexpected"):  # fmt: skip
        assert text in said
    del tensors["vesper.encoder.layers.0.self_attn.grep_a"]
    tensors["vesper.post_extract_proj.weight"] = torch.ones(8)
    with pytest.raises(ConfigError) as caught:
        load_encoder(saved(tmp_path / "m.pt", tensors))
    assert len(caught.value.problems) == 2 and "grep_a: missing" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoder_layers": 4}, "cfg.model.encoder_layers: 4, but the file holds 3"),
        ({"num_heads": 8, "conv_pos": 8}, "cfg.model.conv_pos: 8, but the file holds 16"),
        ({"qk_norm": True}, "cfg.model.qk_norm: True; only False can be read"),
        ({"conv_feature_layers": "[(16,10,5)]"}, "conv_feature_layers: width 16"),
        ({"conv_feature_layers": "__import__('os').getcwd()"}, "cannot be read"),
    ],
)
def test_contradictions_of_cfg_are_told(changed, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_encoder(saved(tmp_path / "m.pt", pretrained(), {"model": settings(**changed)}))
    assert said in str(caught.value)


def test_classifiers_that_are_absent_or_misfit_are_told(tmp_path):
    with pytest.raises(ConfigError, match="no classifier in it") as caught:
        load_downstream(saved(tmp_path / "m.pt", pretrained()))
    assert len(caught.value.problems) == 4
    tensors = downstream()
    tensors["weights"] = torch.zeros(3)
    with pytest.raises(ConfigError, match=r"weights: shape \(3,\), expected \(4,\)"):
        load_downstream(saved(tmp_path / "m.pt", tensors))
    with pytest.raises(ConfigError, match="not a Vesper file"):
        load_downstream(saved(tmp_path / "m.pt", {"encoder.weight": torch.ones(1)}))


# ------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize(("layers", "count"), [(4, 118), (12, 270)])
def test_written_files_hold_the_published_names(layers, count, tmp_path):
    path = save_vesper(student(layers), tmp_path / "vesper.pt", heads())
    model = torch.load(path, weights_only=True)["model"]
    wanted = {f"vesper.{name}": size for name, size in shapes(layers).items()} | predictors()
    assert {name: tuple(value.shape) for name, value in model.items()} == wanted
    assert len(model) == count


def test_written_and_read_are_equal(tmp_path):
    encoder, others = student(max_distance=500, dropout=0.1, attention_dropout=0.1,
                              activation_dropout=0.1), heads()  # fmt: skip
    path = save_vesper(encoder, tmp_path / "vesper.pt", {"acoustic": others["acoustic"]})
    loaded = load_encoder(path)
    assert loaded.config == encoder.config
    for (name, one), other in zip(loaded.state_dict().items(), encoder.state_dict().values(),
                                  strict=True):  # fmt: skip
        assert torch.equal(one, other), name
    content = torch.load(path, weights_only=True)
    assert content["cfg"]["model"]["enable_l_predictor"] is True
    assert content["cfg"]["model"]["enable_x_predictor"] is False
    written = content["model"]
    assert torch.equal(written["l_predictor.simple_ffn.0.weight"], others["acoustic"][0].weight)
    assert torch.equal(written["l_predictor.simple_ffn.2.bias"], others["acoustic"][2].bias)
    assert not any(name.startswith(("h_", "x_")) for name in written)
    bare = save_vesper(student(mask_embedding=False), tmp_path / "bare.pt")
    assert load_encoder(bare).mask_embedding is None


def test_what_the_layout_cannot_hold_is_told_and_not_written(tiny_encoder, tmp_path):
    assert layout_problems(student().config) == []
    others = {
        "mel": "frontend: 'mel'",
        "group norm, gated": "block_norm: 'post'",
        "alibi, tokens": "bias: 'alibi'",
        "layer norm, biased": "conv_bias: True",
    }
    for name, said in others.items():
        encoder = tiny_encoder(name)
        assert any(problem.startswith(said) for problem in layout_problems(encoder.config))
        with pytest.raises(ConfigError, match="cannot be saved in Vesper's layout"):
            save_vesper(encoder, tmp_path / "vesper.pt")
    bare = student(projection_norm=False)
    assert layout_problems(bare.config) == [
        "projection_norm: False, the layout holds True only"]
    with pytest.raises(ConfigError, match="predictor prosodic: there is no such one"):
        save_vesper(student(), tmp_path / "vesper.pt", {"prosodic": nn.Linear(1, 1)})
    assert not (tmp_path / "vesper.pt").exists()


def test_a_file_beside_its_pretraining_tells_what_it_heard(tmp_path):
    (tmp_path / "audio.json").write_text('{"corpora": ["lssed", "iemocap"]}')
    path = save_vesper(student(), tmp_path / "best" / "vesper.pt")
    assert pretrained_on(path) == {"lssed": None, "iemocap": None}
    assert pretrained_on(tmp_path / "elsewhere" / "best" / "model_best.pt") == {}
