"""Names of WavLM's tensors in Microsoft's files, from those of the transformers library."""

RENAMED = (
    (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_g",
    ),
    (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.pos_conv.0.weight_v",
    ),
    ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
    ("feature_projection.layer_norm", "layer_norm"),
    ("feature_projection.projection", "post_extract_proj"),
    (".attention.rel_attn_embed", ".self_attn.relative_attention_bias"),
    (".attention.gru_rel_pos_const", ".self_attn.grep_a"),
    (".attention.gru_rel_pos_linear", ".self_attn.grep_linear"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense", ".fc1"),
    (".feed_forward.output_dense", ".fc2"),
    ("masked_spec_embed", "mask_emb"),
)


def microsoft_name(name, layer_norm):
    for old, new in RENAMED:
        name = name.replace(old, new)
    if ".layers." in name and name.split(".")[3] == "layer_norm":
        name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
    if name.startswith("feature_extractor"):
        name = name.replace(".conv.", ".0.")
        name = name.replace(".layer_norm.", ".2.1." if layer_norm else ".2.")
    return name
