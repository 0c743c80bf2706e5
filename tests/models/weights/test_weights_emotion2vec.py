"""Files of emotion2vec, emotion2vec+ and data2vec 2.0, named by a mapping of the tests' own."""

import argparse
import collections
import copy
import pickle
import sys
import types

import numpy
import pytest
import torch
from emotion2vec_files import CFG, A, fine_tuned, pretrained, published, tiny
from sertools.errors import ConfigError
from sertools.models.emotion2vec import Emotion2vec
from sertools.models.presets import build_encoder
from sertools.models.upstream import load_upstream
from sertools.models.weights import load_encoder
from sertools.models.weights.emotion2vec import LABELS, load_classifier, load_start, save_official


def saved(path, tensors, cfg=CFG, **others):
    torch.save({"cfg": cfg, "model": tensors, **others}, path)
    return path


def edited(*keys, value):
    cfg = copy.deepcopy(CFG)
    inner = cfg
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return cfg


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.fixture
def model():
    return tiny()


# ------------------------------------------------------------------------------------ encoders


def test_a_pretraining_file_gives_its_encoder(model, tmp_path):
    moments = {"state": {0: {"exp_avg": torch.zeros(1000)}}}
    path = saved(tmp_path / "emotion2vec_base.pt", pretrained(model), last_optimizer_state=moments)
    encoder = load_encoder(path)
    assert same(encoder, model.student.encoder) and not encoder.training
    assert encoder.config.normalise_waveform and encoder.config.dropout == 0.1
    assert encoder.config.layerdrop == 0.05 and encoder.config.num_layers == 3
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_folders_upstreams_and_old_scales(model, tmp_path):
    tensors = pretrained(model)
    tensors[A + "alibi_scale"] = tensors[A + "alibi_scale"][0]  # 4 axes, as in old files
    path = saved(tmp_path / "emotion2vec_base.pt", tensors)
    (tmp_path / "config.yaml").write_text("model: Emotion2vec\n")
    (tmp_path / "tokens.txt").write_text("x")
    waveforms = torch.randn(2, 6000)
    with torch.no_grad():
        wanted = model.student.encoder(waveforms).last
        assert torch.equal(load_encoder(tmp_path)(waveforms).last, wanted)
        for source in (path, tmp_path):
            upstream = load_upstream(source)
            assert torch.equal(upstream(waveforms).last, wanted)
        assert upstream.frame_rate == 50 and upstream.num_layers == 3


def test_halves_become_single_and_mask_embeddings_are_made(model, tmp_path):
    tensors = {name: value.half() for name, value in published(model.student.encoder).items()}
    encoder = load_encoder(saved(tmp_path / "half.pt", tensors), mask_embedding=True)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert encoder.mask_embedding.shape == (32,)


def test_an_id_is_fetched_from_the_hub(model, tmp_path, monkeypatch):
    import huggingface_hub

    torch.save(fine_tuned(model.student.encoder), tmp_path / "model.pt")
    asked = []

    def download(repository, revision=None, allow_patterns=(), local_files_only=False):
        asked.append((repository, revision, "model.pt" in allow_patterns, local_files_only))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    encoder = load_encoder("emotion2vec/emotion2vec_plus_large@abc")
    assert same(encoder, model.student.encoder)
    assert asked[-1] == ("emotion2vec/emotion2vec_plus_large", "abc", True, False)
    assert load_classifier("emotion2vec/emotion2vec_plus_large")[1] == list(LABELS)
    upstream = load_upstream("emotion2vec/emotion2vec_plus_large")
    assert same(upstream.model, encoder) and asked[-1][2:] == (True, True)


# ------------------------------------------------------------------------------ objects in cfg


def foreign(monkeypatch, module, name):
    """Make a class of a library that is not there, as the file's writer had it."""

    class Foreign:
        def __init__(self, state):
            self.__dict__.update(state)

        def __setstate__(self, state):
            raise AssertionError("code of the class ran while the file was read")

    Foreign.__module__, Foreign.__qualname__, Foreign.__name__ = module, name, name
    for place in (module.partition(".")[0], module):
        monkeypatch.setitem(sys.modules, place, types.ModuleType(place))
    setattr(sys.modules[module], name, Foreign)
    return Foreign


def test_objects_of_configuration_libraries_stay_inert(model, tmp_path, monkeypatch):
    leaf = foreign(monkeypatch, "omegaconf.nodes", "AnyNode")
    node = foreign(monkeypatch, "omegaconf.dictconfig", "DictConfig")
    task = argparse.Namespace(normalize=False, ids={"a": numpy.float64(1.0)})
    counts = collections.defaultdict(int, {"x": 1})
    for heads in (4, 8):
        told = node({"_content": {"num_heads": leaf({"_val": heads}), "depth": 2}})
        cfg = {"task": task, "model": told}
        saved(tmp_path / f"{heads}.pt", pretrained(model), cfg, extra_state=counts)
    for module in ("omegaconf.nodes", "omegaconf.dictconfig", "omegaconf"):
        monkeypatch.delitem(sys.modules, module)
    allowed = set(torch.serialization.get_safe_globals())
    encoder = load_encoder(tmp_path / "4.pt")
    assert set(torch.serialization.get_safe_globals()) == allowed  # for this one file only
    assert same(encoder, model.student.encoder)
    assert not encoder.config.normalise_waveform  # told by the namespace
    with pytest.raises(ConfigError, match=r"cfg\.model\.num_heads: 8, but the file holds 4"):
        load_encoder(tmp_path / "8.pt")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("place", ["cfg", "model", "extra_state"])
def test_code_is_refused_and_not_run(place, model, tmp_path):
    content = {"cfg": CFG, "model": pretrained(model), "extra_state": {}}
    content[place] = {**content[place], "payload": Payload(tmp_path / "ran")}
    torch.save(content, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("zip.pt", "plain.pt"):
        for load in (load_encoder, load_classifier, lambda path: load_start(path, model)):
            with pytest.raises(ConfigError, match="refused"):
                load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


# --------------------------------------------------------------------------------- what misfits


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (edited("model", "depth", value=8), "cfg.model.depth: 8, but the file holds 2"),
        (edited("model", "embed_dim", value=768), "embed_dim: 768, but the file holds 32"),
        (edited("model", "layer_norm_first", value=True), "only False can be read"),
        (edited("model", "modalities", "audio", "prenet_depth", value=2), "prenet_depth: 2"),
        (edited("model", "modalities", "audio", "num_extra_tokens", value=10), "tokens: 10"),
        (edited("model", "modalities", "audio", "feature_encoder_spec", value="[(16,10,5)]"),
         "feature_encoder_spec"),
        (None, "'cfg' is missing"),
    ],
)  # fmt: skip
def test_contradictions_of_cfg_are_told(cfg, said, model, tmp_path):
    path = saved(tmp_path / "m.pt", pretrained(model), cfg)
    with pytest.raises(ConfigError) as caught:
        load_encoder(path)
    assert said in str(caught.value)


def test_all_missing_unexpected_and_misshapen_tensors_are_told(model, tmp_path):
    tensors = pretrained(model)
    del tensors["blocks.0.attn.qkv.bias"], tensors[A + "context_encoder.norm.weight"]
    tensors["blocks.1.norm2.weight"] = torch.ones(7)
    tensors["adversarial_proj.weight"] = torch.ones(3)
    with pytest.raises(ConfigError) as caught:
        load_encoder(saved(tmp_path / "m.pt", tensors))
    assert len(caught.value.problems) == 4
    said = str(caught.value)
    assert "blocks.0.attn.qkv.bias: missing" in said and "adversarial_proj.weight: unexp" in said
    assert "blocks.1.norm2.weight: shape (7,)" in said and "context_encoder.norm.w" in said


def test_files_that_cannot_tell_their_structure_are_refused(model, tmp_path):
    tensors = pretrained(model)
    tensors[A + "alibi_scale"] = torch.ones(12, 1, 4, 1, 1)  # one scale per layer: another model
    del tensors[A + "project_features.2.weight"]
    with pytest.raises(ConfigError) as caught:
        load_encoder(saved(tmp_path / "m.pt", tensors))
    assert "alibi_scale: shape (12, 1, 4, 1, 1)" in str(caught.value)
    assert "project_features.2.weight: missing" in str(caught.value)


def test_truncated_absent_and_foreign_files_are_told(model, tmp_path):
    path = saved(tmp_path / "m.pt", pretrained(model))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"m\.pt: (cannot be read|refused)"):
        load_start(path, model)
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"m\.pt: cannot be read\.\n.*ends too early"):
        load_start(path, model)
    for words in ("these are words", "hello\n", "# A title", "{}", "version https://git-lfs"):
        path.write_text(words)
        with pytest.raises(ConfigError, match=r"m\.pt: (cannot be read|refused)") as caught:
            load_start(path, model)
        assert any(len(problem.split()) > 2 for problem in caught.value.problems)  # not "101"
        assert "weights_only" not in str(caught.value)  # PyTorch advises to read it unsafely
    torch.save({"cfg": CFG}, path)
    for load in (load_encoder, load_classifier):
        with pytest.raises(ConfigError, match="no 'cfg' and 'model'"):
            load(path)
    saved(path, {"encoder.weight": torch.ones(1)})
    with pytest.raises(ConfigError, match="no name in it begins with"):
        load_classifier(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_start(tmp_path / "absent.pt", model)
    with pytest.raises(ConfigError, match="is in this folder"):
        load_start(tmp_path, model)


# ---------------------------------------------------------------------------------- classifiers


def test_classifiers_score_the_mean_of_valid_frames(model, tmp_path):
    tensors = fine_tuned(model.student.encoder)
    torch.save({"model": tensors}, tmp_path / "model.pt")
    classifier, labels = load_classifier(tmp_path)
    assert labels == list(LABELS) and labels[3] == "happy" and not classifier.training
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        got = classifier(waveforms, torch.tensor([8000, 5000]))
        for row, length in ((0, 8000), (1, 5000)):
            frames = model.student.encoder(waveforms[row : row + 1, :length]).last[0]
            wanted = tensors["proj.weight"] @ frames.mean(0) + tensors["proj.bias"]
            torch.testing.assert_close(got[row], wanted, atol=1e-4, rtol=1e-4)
    assert same(load_encoder(tmp_path), model.student.encoder)


def test_labels_are_those_of_tokens_txt(model, tmp_path):
    torch.save(fine_tuned(model.student.encoder, 3), tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="3 outputs, but there are 9 labels"):
        load_classifier(tmp_path / "model.pt")
    (tmp_path / "tokens.txt").write_text("生气/angry\nunuse_0\n<unk>\n", encoding="utf-8")
    assert load_classifier(tmp_path / "model.pt")[1] == ["angry", "unuse_0", "<unk>"]
    saved(tmp_path / "model.pt", pretrained(model))
    with pytest.raises(ConfigError, match="no classifier in it"):
        load_classifier(tmp_path)


# --------------------------------------------------------------------------------------- starts


def test_a_start_from_emotion2vec_takes_everything(model, tmp_path):
    path, other = saved(tmp_path / "m.pt", pretrained(model)), tiny(seed=7)
    parameters = list(other.parameters())
    load_start(path, other)
    assert same(other, model) and list(other.parameters())[0] is parameters[0]
    assert not any(parameter.requires_grad for parameter in other.teacher.parameters())
    saved(path, pretrained(model, teacher=False))
    load_start(path, other)
    assert same(other.student, model.student)
    copied = model.student.encoder.state_dict()
    for name, tensor in other.teacher.encoder.state_dict().items():
        assert torch.equal(tensor, copied[name])


def test_a_start_from_data2vec2_keeps_fresh_tokens(tmp_path):
    source, model = tiny(tokens=0), tiny(seed=7)
    fresh = model.student.encoder.tokens.detach().clone()
    cfg = edited("model", "modalities", "audio", "num_extra_tokens", value=0)
    path = saved(tmp_path / "base_libri.pt", pretrained(source), cfg)
    load_start(path, model)
    assert torch.equal(model.student.encoder.tokens, fresh)
    assert torch.equal(model.teacher.encoder.tokens, fresh)
    for mine, theirs in ((model.student, source.student), (model.teacher, source.teacher)):
        mine = mine.state_dict()
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(mine[name], tensor), name
        assert set(mine) - set(theirs.state_dict()) == {"encoder.tokens"}
    saved(path, pretrained(source, teacher=False), cfg)
    with pytest.raises(ConfigError, match="_ema: missing"):
        load_start(path, model)


def test_starts_that_do_not_fit_leave_the_model_alone(model, tmp_path):
    path, before = tmp_path / "m.pt", copy.deepcopy(model)
    save_official(tiny(num_layers=2, dim=16), path)
    with pytest.raises(ConfigError) as caught:
        load_start(path, model)
    assert "num_layers: 2 in the file, 3 in the model" in str(caught.value)
    assert "dim: 16 in the file, 32 in the model" in str(caught.value)
    tensors = pretrained(model)
    del tensors["blocks.0.norm2.weight"], tensors["_ema"][A + "extra_tokens"]
    tensors["_ema"]["blocks.7.norm1.weight"] = tensors["shared"] = torch.ones(32)
    with pytest.raises(ConfigError) as caught:
        load_start(saved(path, tensors), model)
    assert len(caught.value.problems) == 4
    assert f"_ema: {A}extra_tokens: missing" in caught.value.problems
    torch.save(fine_tuned(model.student.encoder), path)
    with pytest.raises(ConfigError, match="decoder: none in the file, one in the model"):
        load_start(path, model)
    tensors = pretrained(model)
    tensors["blocks.0.norm2.weight"] = torch.full((32,), float("nan"))
    with pytest.raises(ConfigError, match=r"broken weights(.|\n)*blocks\.0\.norm2\.weight: NaN"):
        load_start(saved(path, tensors), model)
    assert same(before, model)


def test_no_tokens_means_data2vec2_only(tmp_path):
    """A file with tokens does not start a model without, nor with another number of them."""
    path = saved(tmp_path / "m.pt", pretrained(tiny()))
    for tokens in (0, 2):
        with pytest.raises(ConfigError, match=f"extra_tokens: 3 in the file, {tokens} in"):
            load_start(path, tiny(tokens=tokens))


# --------------------------------------------------------------------------------------- saving


def test_saved_files_hold_the_published_names_and_values(model, tmp_path):
    save_official(model, tmp_path / "m.pt", teacher=True)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    wanted = pretrained(model)
    assert set(content["model"]) == set(wanted) and set(content["model"]["_ema"]) == set(
        wanted["_ema"]
    )
    for name, tensor in wanted.pop("_ema").items():
        assert torch.equal(content["model"]["_ema"][name], tensor), name
    for name, tensor in wanted.items():
        assert torch.equal(content["model"][name], tensor), name
    other = tiny(seed=7)
    load_start(tmp_path / "m.pt", other)
    assert same(other, model) and same(load_encoder(tmp_path / "m.pt"), model.student.encoder)
    save_official(model, tmp_path / "m.pt")
    assert "_ema" not in torch.load(tmp_path / "m.pt", weights_only=True)["model"]


def test_what_the_layout_cannot_hold_is_refused(model, tmp_path):
    mel = build_encoder("emotion2vec_small", dim=16, num_heads=2, num_layers=2)
    with pytest.raises(ConfigError, match="frontend: 'mel', the layout holds 'conv' only"):
        save_official(Emotion2vec(mel, model.student.decoder.config, 1), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="teacher: the model has none"):
        save_official(model.student, tmp_path / "m.pt", teacher=True)
    assert not list(tmp_path.iterdir())
