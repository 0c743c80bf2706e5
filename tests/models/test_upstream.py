"""Upstreams are frozen when frozen, deaf to padding, and known by what they compute."""

import json
import shutil

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.upstream import load_upstream

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
KINDS = {
    "wavlm": "WavLM",
    "hubert": "Hubert",
    "wav2vec2": "Wav2Vec2",
    "unispeech-sat": "UniSpeechSat",
    "data2vec-audio": "Data2VecAudio",
    "wav2vec2-conformer": "Wav2Vec2Conformer",
}
CASES = [
    (kind, norm)
    for kind in KINDS
    for norm in (["layer"] if kind == "data2vec-audio" else ["layer", "group"])
]


def build(folder, kind="wavlm", norm="layer", seed=0, normalise=None, **changes):
    import transformers

    changes = {**SMALL, "do_stable_layer_norm": norm == "layer", **changes}
    if kind == "data2vec-audio":
        changes |= {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}
    else:
        changes |= {"feat_extract_norm": norm}
    config = getattr(transformers, KINDS[kind] + "Config")(**changes)
    torch.manual_seed(seed)
    getattr(transformers, KINDS[kind] + "Model")(config).save_pretrained(folder)
    if normalise is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalise}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("models"), {}

    def model(kind, norm):
        if (kind, norm) not in made:
            made[kind, norm] = build(root / f"{kind}-{norm}", kind, norm, normalise=True)
        return made[kind, norm]

    return model


def speech(*lengths, seed=1):
    draw = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw) + 0.05
    return batch, torch.tensor(lengths)


@pytest.mark.parametrize("kind, norm", CASES)
def test_padding_and_neighbours_change_nothing(models, kind, norm):
    upstream = load_upstream(models(kind, norm), implementation="transformers")
    batch, lengths = speech(9000, 5200, 300, 5200)
    batch[1, 5200:] = 7.0  # what stands in the padding must not matter either
    together = upstream(batch, lengths, hidden=True)
    assert len(together.hidden) == upstream.num_layers + 1 == 3
    assert together.last.shape[2] == upstream.dim == 32
    for row, length in enumerate(lengths.tolist()):
        alone = upstream(batch[row : row + 1, :length], hidden=True)
        frames = int(together.lengths[row])
        assert alone.last.shape[1] == frames == int(alone.lengths)
        for one, many in zip(
            [*alone.hidden, alone.last], [*together.hidden, together.last], strict=True
        ):
            torch.testing.assert_close(one[0], many[row, :frames], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind, norm", CASES)
def test_hidden_are_input_and_raw_outputs_of_the_blocks(models, kind, norm):
    upstream = load_upstream(models(kind, norm), implementation="transformers")
    seen = []

    def hook(block, args, kwargs, output):
        inputs = args[0] if args else kwargs["hidden_states"]
        seen.append((inputs, output[0] if isinstance(output, tuple) else output))

    for block in upstream.model.encoder.layers:
        block.register_forward_hook(hook, with_kwargs=True)
    encoded = upstream(speech(4000)[0], hidden=True)
    expected = [seen[0][0], *(output for _, output in seen)]
    assert all(torch.equal(one, other) for one, other in zip(encoded.hidden, expected, strict=True))
    if norm == "layer" and kind != "data2vec-audio":  # pre-norm models normalise at the very end
        normed = upstream.model.encoder.layer_norm(encoded.hidden[-1])
        torch.testing.assert_close(encoded.last, normed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind, norm", [case for case in CASES if case[0] in ("wavlm", "hubert")])
def test_both_implementations_agree(models, kind, norm):
    own, theirs = (
        load_upstream(models(kind, norm), implementation=name)
        for name in ("sertools", "transformers")
    )
    assert (own.dim, own.num_layers, own.frame_rate, own.sample_rate) == (
        theirs.dim, theirs.num_layers, theirs.frame_rate, theirs.sample_rate,
    )  # fmt: skip
    batch, lengths = speech(6000, 4100)
    one, other = (upstream(batch, lengths, hidden=True) for upstream in (own, theirs))
    assert torch.equal(one.lengths, other.lengths)
    for row, frames in enumerate(one.lengths.tolist()):
        for a, b in zip([*one.hidden, one.last], [*other.hidden, other.last], strict=True):
            torch.testing.assert_close(a[row, :frames], b[row, :frames], atol=1e-4, rtol=0)
    assert own.identity != theirs.identity


def test_auto_takes_the_own_encoder_where_it_can(models):
    assert load_upstream(models("wavlm", "group")).identity["class"] == "SpeechEncoder"
    assert (
        load_upstream(models("data2vec-audio", "layer")).identity["class"] == "Data2VecAudioModel"
    )


@pytest.mark.parametrize("implementation", ["sertools", "transformers"])
def test_frozen_is_frozen_under_train(models, implementation):
    upstream = load_upstream(models("wavlm", "layer"), implementation)
    parent = torch.nn.Sequential(upstream, torch.nn.Linear(2, 2)).train()
    assert parent[1].training
    assert not any(module.training for module in upstream.modules())
    batch, lengths = speech(5000, 3000)
    one, two = upstream(batch, lengths).last, upstream(batch, lengths).last
    assert torch.equal(one, two) and not one.requires_grad
    assert not any(parameter.requires_grad for parameter in upstream.parameters())


@pytest.mark.parametrize("implementation", ["sertools", "transformers"])
@pytest.mark.parametrize("freeze_frontend", [True, False])
def test_trainable_gets_gradients_dropout_and_all_layers(tmp_path, implementation, freeze_frontend):
    folder = build(tmp_path, layerdrop=0.9, mask_time_prob=0.9, hidden_dropout=0.3)
    upstream = load_upstream(folder, implementation, True, freeze_frontend)
    upstream.train()
    batch, lengths = speech(5000, 3000)
    encoded = upstream(batch, lengths, hidden=True)
    assert len(encoded.hidden) == 3
    assert any(p.requires_grad for p in upstream.frontend.parameters()) != (
        freeze_frontend and implementation == "transformers"
    )
    encoded.last.sum().backward()
    front = {True: False, False: True}[freeze_frontend]
    for name, parameter in upstream.named_parameters():
        convolution = "feature_extractor" in name or "frontend.layers" in name
        if "mask" not in name:
            assert (parameter.grad is not None) == (front or not convolution), name
    assert not torch.equal(upstream(batch, lengths).last, upstream(batch, lengths).last)
    upstream.eval()
    assert torch.equal(upstream(batch, lengths).last, upstream(batch, lengths).last)


@pytest.mark.parametrize("implementation", ["sertools", "transformers"])
def test_nothing_random_is_left_without_dropout(tmp_path, implementation):
    folder = build(tmp_path, layerdrop=0.9, mask_time_prob=0.9, mask_feature_prob=0.5)
    upstream = load_upstream(folder, implementation, trainable=True, dropout=0.0)
    if implementation == "transformers":
        upstream.model.feature_projection.dropout.p = 0.0
    upstream.train()
    batch, lengths = speech(5000, 3000)
    assert torch.equal(upstream(batch, lengths).last, upstream(batch, lengths).last)


@pytest.mark.parametrize("implementation", ["sertools", "transformers"])
def test_normalisation_follows_the_preprocessor(tmp_path, implementation):
    batch, lengths = speech(5000, 3000)
    results = {}
    for normalise in (True, False):
        folder = build(tmp_path / str(normalise), normalise=normalise)
        upstream = load_upstream(folder, implementation)
        results[normalise] = upstream(batch, lengths).last
        shifted = upstream(batch * 3 + 1, lengths).last
        same = torch.allclose(shifted[0], results[normalise][0], atol=1e-2)
        assert same == normalise
        forced = load_upstream(folder, implementation, normalise=not normalise)
        assert forced.identity != upstream.identity
    assert not torch.allclose(results[True], results[False], atol=1e-2)


@pytest.mark.parametrize("implementation", ["sertools", "transformers"])
def test_identity_is_that_of_the_contents(tmp_path, implementation):
    first = load_upstream(build(tmp_path / "a"), implementation)
    copy = load_upstream(shutil.copytree(tmp_path / "a", tmp_path / "b"), implementation)
    other = load_upstream(build(tmp_path / "c", seed=1), implementation)
    assert copy.identity == first.identity
    assert other.identity["weights"] != first.identity["weights"]
    assert other.identity["config"] == first.identity["config"]
    assert all(isinstance(value, str) for value in first.identity.values())
    assert first.origin == {"source": str(tmp_path / "a")}


def test_missing_weights_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = build(tmp_path, "data2vec-audio")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layers.1.attention.k_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="missing(.|\n)*layers.1.attention.k_proj.weight"):
        load_upstream(folder)


def test_no_source_and_no_file_say_what_to_name(tmp_path):
    with pytest.raises(ConfigError, match="source is null"):
        load_upstream(None)
    with pytest.raises(ConfigError, match=r"nothing: no such file(.|\n)*a model of the hub"):
        load_upstream(tmp_path / "nothing")


def test_unknown_models_and_names(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="bert(.|\n)*known are wavlm, hubert"):
        load_upstream(tmp_path)
    with pytest.raises(ConfigError, match="choose auto, sertools or transformers"):
        load_upstream(tmp_path, implementation="fairseq")
    with pytest.raises(ConfigError, match="nowhere"):
        load_upstream(tmp_path / "nowhere")


@pytest.mark.parametrize("source", ["", " ", "/nowhere", "./a/b", "~/model"])
def test_paths_and_nothing_never_reach_the_hub(source, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(ConfigError):
        load_upstream(source)


def test_id_without_network_says_what_to_do(tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(name, local_files_only=False, **wanted):
        raise OSError("Cannot reach the hub.\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(ConfigError, match="local Hugging Face cache(.|\n)*hf download lab/model"):
        load_upstream("lab/model@abc")


def test_id_in_the_cache_needs_no_network(models, tmp_path, monkeypatch):
    import huggingface_hub

    folder = shutil.copytree(models("wavlm", "layer"), tmp_path / "0123abc")

    def cached(name, local_files_only=False, **wanted):
        assert local_files_only and (name, wanted["revision"]) == ("lab/model", "main")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    upstream = load_upstream("lab/model@main")
    assert upstream.origin == {"source": "lab/model", "revision": "0123abc"}


@pytest.mark.parametrize("kind", ["wavlm", "hubert", "wav2vec2"])
def test_both_implementations_cost_the_same(models, kind):
    ours, theirs = (load_upstream(models(kind, "layer"), implementation=name).size()
                    for name in ("sertools", "transformers"))  # fmt: skip
    assert theirs["macs_per_second"] == pytest.approx(ours["macs_per_second"], rel=1e-2)
    assert theirs["parameters"] - ours["parameters"] == 32  # the vector of masked frames


@pytest.mark.parametrize("kind", ["data2vec-audio", "wav2vec2-conformer"])
def test_other_kinds_are_counted_too(models, kind):
    upstream = load_upstream(models(kind, "layer"))
    size = upstream.size()
    assert size["parameters"] == sum(p.numel() for p in upstream.parameters())
    assert size["macs_per_second"] > 0 and not any(p.is_meta for p in upstream.parameters())


def test_settling_a_frozen_upstream_changes_no_feature(tmp_path):
    """Matrices cast once give what autocast gives that casts them in every pass."""
    import torch
    from sertools.models.presets import build_encoder
    from sertools.models.upstream import OwnUpstream

    encoder = build_encoder("wavlm_base", num_layers=2, dim=64, num_heads=4, ffn_dim=128,
                            conv_dim=32, position_kernel=16)
    upstream = OwnUpstream(encoder)
    waves = torch.randn(2, 8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = upstream(waves).last
        upstream.settle("bf16")
        after = upstream(waves).last
    assert torch.equal(before, after)
    assert torch.bfloat16 in {p.dtype for p in encoder.parameters()}
    trainable = OwnUpstream(build_encoder("small", dim=32, num_heads=2, num_layers=1), True)
    trainable.settle("bf16")
    assert {p.dtype for p in trainable.parameters()} == {torch.float32}
