"""Microsoft's WavLM files, made from transformers' weights by a mapping written here."""

import pickle

import pytest
import torch
from microsoft_names import microsoft_name
from sertools.errors import ConfigError
from sertools.models.weights import load_encoder
from sertools.models.weights.microsoft import DEFAULT_CONVS, parse_convs


@pytest.fixture
def make_file(make_relative, tmp_path):
    """Return a function that writes a WavLM-*.pt and returns its path and the model in it."""

    def make(name, **changed):
        model = make_relative(name)
        layer_norm = name == "wavlm large"
        state = {microsoft_name(k, layer_norm): v for k, v in model.state_dict().items()}
        cfg = {
            "extractor_mode": "layer_norm" if layer_norm else "default",
            "encoder_layers": 3,
            "encoder_embed_dim": 32,
            "encoder_ffn_embed_dim": 48,
            "encoder_attention_heads": 4,
            "activation_fn": "gelu",
            "layer_norm_first": layer_norm,
            "conv_feature_layers": DEFAULT_CONVS.replace("512", "24"),
            "conv_bias": False,
            "normalize": layer_norm,
            "conv_pos": 16,
            "conv_pos_groups": 4,
            "relative_position_embedding": True,
            "num_buckets": 320,
            "max_distance": 800,
            "gru_rel_pos": True,
        }
        path = tmp_path / "WavLM.pt"
        torch.save({"cfg": {**cfg, **changed}, "model": state}, path)
        return path, model

    return make


@pytest.mark.parametrize("name", ["wavlm base", "wavlm large"])
def test_every_layer_equals_transformers(name, make_file, assert_same, waves):
    path, model = make_file(name)
    assert load_encoder(path).config.normalise_waveform == (name == "wavlm large")
    encoder = load_encoder(path, normalise_waveform=False)
    assert_same(encoder, model, waves[0])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("encoder_layers", 4, "encoder.layers.3.fc1.weight: missing"),
        ("encoder_embed_dim", 64, "shape (32,)"),
        ("activation_fn", "swish", "only gelu is supported"),
        ("conv_feature_layers", "__import__('os').getcwd()", "cannot be read"),
        ("conv_feature_layers", "[(24,10,5)] + [(16,3,2)]", "different widths"),
    ],
)
def test_misfits_are_told(key, value, said, make_file):
    path, _ = make_file("wavlm large", **{key: value})
    with pytest.raises(ConfigError) as caught:
        load_encoder(path)
    assert said in str(caught.value)


def test_convolutions_are_parsed():
    width, convs = parse_convs(DEFAULT_CONVS, "file")
    assert width == 512
    assert convs == ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
    assert parse_convs("[(8, 4, 2), (8, 3, 1)] * 2", "file")[1] == ((4, 2), (3, 1)) * 2


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"cfg": Payload(tmp_path / "ran"), "model": {}}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(ConfigError, match="refused"):
            load_encoder(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_truncated_and_foreign_files_are_told(make_file, tmp_path):
    path, _ = make_file("wavlm base")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"WavLM\.pt: (cannot be read|refused)"):
        load_encoder(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ConfigError, match="no 'cfg' and 'model'"):
        load_encoder(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_encoder(tmp_path / "absent.pt")
