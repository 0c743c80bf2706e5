"""Students of fewer blocks, against transformers' WavLM with blocks picked or averaged by hand."""

import copy
import dataclasses

import pytest
import torch
from sertools.errors import ConfigError
from sertools.models.encoder import SpeechEncoder
from sertools.models.precision import cast_matrices
from sertools.models.presets import build_encoder, preset_config
from sertools.models.thinning import INITIALISATIONS, target_depths, thin, thinned_config
from sertools.models.upstream import load_upstream
from torch import nn

DEPTH = 6
WAYS = [
    ("uniform_extract", 3, None, [[0], [2], [4]]),
    ("uniform_extract", 4, None, [[0], [1], [2], [3]]),
    ("uniform_average", 2, None, [[0, 1, 2], [3, 4, 5]]),
    ("uniform_average", 4, None, [[0], [1, 2], [3], [4, 5]]),
    ("custom_extract", 3, [0, 3, 5], [[0], [3], [5]]),
    ("custom_average", 3, [[0, 1], [2, 2], [1, 5]], [[0, 1], [2], [1, 2, 3, 4, 5]]),
    ("identity_mapping", 3, None, [[0], [1], [2]]),
    ("identity_mapping", 6, None, [[0], [1], [2], [3], [4], [5]]),
]


@pytest.fixture(scope="module")
def wavlm(tmp_path_factory):
    """Return transformers' model in WavLM Large's layout, tiny, and its folder."""
    from transformers import WavLMConfig, WavLMModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": DEPTH, "num_attention_heads": 4,
             "intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8,
             "num_conv_pos_embedding_groups": 4}  # fmt: skip
    config = WavLMConfig(feat_extract_norm="layer", do_stable_layer_norm=True, **sizes)
    model = WavLMModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # no zero biases, no ones: everything must matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("wavlm") / "model"
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def teacher(wavlm):
    return load_upstream(wavlm[1], mask_embedding=True).model


def rebuilt(model, groups):
    """Return a copy of transformers' model whose block i is the mean of its blocks groups[i]."""
    new, layers = copy.deepcopy(model), []
    for number, group in enumerate(groups):
        layer = copy.deepcopy(model.encoder.layers[min(number, 1)])
        for name, parameter in layer.named_parameters():
            if "rel_attn_embed" in name:
                continue  # the table belongs to no block
            total = 0
            for block in group:
                total = total + model.encoder.layers[block].get_parameter(name).data
            parameter.data = total / len(group)
        layers.append(layer)
    new.encoder.layers = nn.ModuleList(layers)
    return new


def raw_states(model, waveforms):
    """Return the input of block 1 and every block's output before the final LayerNorm."""
    seen = []
    handle = model.encoder.layers[-1].register_forward_hook(lambda *call: seen.append(call[2][0]))
    states = model(waveforms, output_hidden_states=True).hidden_states
    handle.remove()
    return [*states[:-1], seen[0]]


@pytest.mark.parametrize(("way", "layers", "blocks", "groups"), WAYS)
def test_copied_blocks_compute_what_transformers_does(wavlm, teacher, way, layers, blocks, groups):
    waveforms = torch.randn(2, 6000)
    normal = nn.functional.layer_norm(waveforms, waveforms.shape[-1:])
    student = thin(teacher, layers, way, blocks).eval()
    with torch.no_grad():
        wanted = raw_states(rebuilt(wavlm[0], groups), normal)
        ours = student(waveforms, hidden=True)
    assert len(wanted) == len(ours.hidden) == layers + 1
    for one, other in zip(ours.hidden, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert student.final_norm is None and torch.equal(ours.last, ours.hidden[-1])


def test_the_published_choices():
    """24 blocks: 0, 6, 12, 18 and every second one, as the released code takes them."""
    with torch.no_grad():
        sizes = {"dim": 8, "num_heads": 2, "ffn_dim": 8, "conv_dim": 4, "position_groups": 2}
        teacher = build_encoder("wavlm_large", **sizes)
        for number, block in enumerate(teacher.blocks):
            block.ffn[0].bias.fill_(number)
    told = lambda student: [int(block.ffn[0].bias[0]) for block in student.blocks]  # noqa: E731
    assert told(thin(teacher, 4)) == [0, 6, 12, 18]
    assert told(thin(teacher, 12)) == list(range(0, 24, 2))
    assert told(thin(teacher, 5)) == [0, 4, 8, 12, 16]
    means = thin(teacher, 4, "custom_average", [(0, 1), (2, 5), (6, 13), (14, 23)])
    assert [block.ffn[0].bias[0].item() for block in means.blocks] == [0.5, 3.5, 9.5, 18.5]


def test_the_mask_embedding_is_the_teachers_and_changes_no_identity(wavlm):
    model, folder = wavlm
    kept, plain = load_upstream(folder, mask_embedding=True), load_upstream(folder)
    assert kept.identity == plain.identity
    assert torch.equal(thin(kept.model, 2).mask_embedding, model.masked_spec_embed)
    fresh = thin(plain.model, 2).mask_embedding
    assert fresh.min() >= 0 and fresh.max() < 1 and fresh.std() > 0.1


def test_every_kind_of_encoder(a_tiny_encoder):
    """All outside the blocks is the teacher's, whatever it is; nothing is shared with it."""
    torch.manual_seed(2)
    a_tiny_encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in a_tiny_encoder.state_dict().items()}
    students = {way: thin(a_tiny_encoder, 1, way) for way in
                ("uniform_extract", "uniform_average", "identity_mapping")}  # fmt: skip
    for student in students.values():
        for name, value in student.state_dict().items():
            if not name.startswith(("blocks.", "mask_embedding")):
                assert torch.equal(value, before[name]), name
        assert all(parameter.requires_grad for parameter in student.parameters())
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.zero_()
    assert all(torch.equal(value, before[name])
               for name, value in a_tiny_encoder.state_dict().items())  # fmt: skip
    waveforms = torch.randn(1, 4000)
    student = thin(a_tiny_encoder, 1, "identity_mapping").eval()
    with torch.no_grad():
        ours, whole = student(waveforms), a_tiny_encoder(waveforms, hidden=True)
    torch.testing.assert_close(ours.last, whole.hidden[1])


def test_emotion2vec_keeps_its_tokens():
    teacher = build_encoder("emotion2vec_small", dim=24, num_heads=2, ffn_dim=16)
    student = thin(teacher, 4, "uniform_average")
    assert torch.equal(student.tokens, teacher.tokens)
    assert torch.equal(student.bias.by_distance.scale, teacher.bias.by_distance.scale)
    first = [teacher.blocks[number].ffn[0].weight for number in (1, 2)]
    torch.testing.assert_close(student.blocks[1].ffn[0].weight, (first[0] + first[1]) / 2)


def test_random_students_are_drawn_as_released():
    sizes = {"dim": 64, "num_heads": 4, "ffn_dim": 128, "conv_dim": 64, "num_layers": 2}
    teacher = build_encoder("wavlm_large", **sizes)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.fill_(7.0)
    torch.manual_seed(3)
    student = thin(teacher, 4, "random", dim=32, num_heads=2, ffn_dim=None)
    config = student.config
    assert (config.dim, config.num_heads, config.ffn_dim, config.num_layers) == (32, 2, 128, 4)
    assert all((parameter != 7).all() for parameter in student.parameters())

    def spread(tensor, std):
        assert tensor.std().item() == pytest.approx(std, rel=0.15), tuple(tensor.shape)
        assert abs(tensor.mean().item()) < std / 5

    layers = student.frontend.layers
    spread(layers[0].weight, (2 / 10) ** 0.5)
    spread(layers[1].weight, (2 / (3 * 64)) ** 0.5)
    spread(student.bias.by_distance.table.weight, 0.02)
    spread(student.position.direction, (4 / (128 * 32)) ** 0.5)
    for block in student.blocks:
        for linear in (m for m in block.modules() if isinstance(m, nn.Linear)):
            spread(linear.weight, 0.02) if linear.weight.numel() > 500 else None
            assert not linear.bias.any()
        assert (block.attention.gate.scale == 1).all()
        assert (block.ffn_norm.weight == 1).all() and not block.ffn_norm.bias.any()
    assert student.frontend.linear.bias.any()  # PyTorch's own, not zero
    assert 0 <= student.mask_embedding.min() and student.mask_embedding.max() < 1


def test_dropouts_may_be_chosen_and_layer_drop_is_off(tiny_encoder):
    teacher = tiny_encoder("layer norm, gated", dropout=0.2, layerdrop=0.3)
    student = thin(teacher, 2, attention_dropout=0.1)
    config = student.config
    assert (config.dropout, config.attention_dropout, config.layerdrop) == (0.2, 0.1, 0.0)
    assert student.blocks[0].attention.dropout == 0.1 and student.training


def test_all_faults_are_told_at_once():
    teacher = preset_config("small", num_layers=4)
    with pytest.raises(ConfigError) as caught:
        thinned_config(teacher, 5, "uniform", [1], dim=128, num_mels=40, dropout=2)
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6, told
    for word in ("uniform", "layers: 5", "blocks: [1]", "dim: 128", "num_mels", "dropout: 2"):
        assert word in told


@pytest.mark.parametrize(
    ("way", "layers", "blocks", "word"),
    [
        ("uniform_extract", 0, None, "at least 1"),
        ("uniform_extract", 2.0, None, "whole number"),
        ("identity_mapping", 5, None, "4 blocks"),
        ("custom_extract", 2, None, "needs a list"),
        ("custom_extract", 2, [0], "1 of them for 2"),
        ("custom_extract", 2, [0, 4], "0 to 3"),
        ("custom_average", 2, [[0, 1], [3, 2]], "[3, 2]"),
        ("custom_average", 2, [0, 1], "blocks: 0"),
        ("random", 2, [0, 1], "only custom"),
    ],
)
def test_impossible_wishes_are_refused(way, layers, blocks, word):
    with pytest.raises(ConfigError) as caught:
        thinned_config(preset_config("small", num_layers=4), layers, way, blocks)
    assert word in str(caught.value)


def test_only_random_makes_more_blocks_than_the_teacher_has(tiny_encoder):
    teacher = tiny_encoder("mel")
    assert thin(teacher, 3, "random").num_layers == 3
    with pytest.raises(AssertionError):  # half precision would stay in the student's weights
        thin(cast_matrices(tiny_encoder("mel"), torch.bfloat16), 1)


@pytest.mark.parametrize("way", INITIALISATIONS)
def test_structure_without_weights_is_that_of_the_student(tiny_encoder, way):
    teacher = tiny_encoder("group norm, gated")
    blocks = {"custom_extract": [1], "custom_average": [[0, 1]]}.get(way)
    config = thinned_config(teacher.config, 1, way, blocks)
    assert config == thin(teacher, 1, way, blocks).config
    wanted = {"num_layers": 1, "final_norm": False, "mask_embedding": True}
    assert config == dataclasses.replace(teacher.config, **wanted)
    with torch.device("meta"):
        SpeechEncoder(config)


@pytest.mark.parametrize(
    ("wishes", "layers", "depths"),
    [
        ([0.5, 1.0], 24, [12, 24]),
        ([0.5, 1.0], 7, [4, 7]),
        ([0.25, 1], 12, [3, 12]),
        ([6, 9.0], 12, [6, 9]),
        ([0.0, 0.1], 12, [0, 1]),
        ([1, 2], 4, [1, 2]),  # whole numbers, so 1 is no share
        ([0, 1.0, 12], 12, [0, 1, 12]),
        ([1, 1.0], 12, [12, 12]),
        ([0.5, 1, 9], 12, [6, 12, 9]),
    ],
)
def test_depths_of_targets(wishes, layers, depths):
    assert target_depths(wishes, layers) == depths


def test_depths_that_are_not_there_are_told():
    with pytest.raises(ConfigError) as caught:
        target_depths([0.5, -0.5, 13, 2.5, "last", True], 12)
    assert len(caught.value.problems) == 5
