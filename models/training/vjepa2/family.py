# SPDX-License-Identifier: Apache-2.0
"""Our classifier in the published family's terms: its names for our parameters, its shape."""

from graph import Family


def family(cfg):
    return Family(
        frames=cfg.frames, size=cfg.size, tubelet=cfg.tubelet, patch=cfg.patch, width=cfg.width, depth=cfg.depth,
        heads=cfg.heads, pooler_depth=cfg.pooler_depth, classes=cfg.classes, eps=1e-6,
    )


def translated(state, width):
    """Our names and fused projections -> transformers' names."""
    out = {"pooler.query_tokens": state["query"]}

    def linear(ours, theirs):
        out[f"{theirs}.weight"], out[f"{theirs}.bias"] = state[f"{ours}.weight"], state[f"{ours}.bias"]

    def split(ours, *theirs):
        for i, name in enumerate(theirs):
            rows = slice(i * width, (i + 1) * width)
            out[f"{name}.weight"], out[f"{name}.bias"] = state[f"{ours}.weight"][rows], state[f"{ours}.bias"][rows]

    linear("embed", "vjepa2.encoder.embeddings.patch_embeddings.proj")
    linear("norm", "vjepa2.encoder.layernorm")
    linear("head", "classifier")
    for ours, theirs, norm, attention, names, last in [
        ("layers", "vjepa2.encoder.layer", "norm", "attention", ("query", "key", "value"), "proj"),
        ("pool", "pooler.self_attention_layers", "layer_norm", "self_attn", ("q_proj", "k_proj", "v_proj"), "out_proj"),
    ]:
        for i in range(len({k.split(".")[1] for k in state if k.startswith(f"{ours}.")})):
            a, b = f"{ours}.{i}", f"{theirs}.{i}"
            split(f"{a}.attention.qkv", *(f"{b}.{attention}.{name}" for name in names))
            linear(f"{a}.attention.proj", f"{b}.{attention}.{last}")
            for n in (1, 2):
                linear(f"{a}.norm{n}", f"{b}.{norm}{n}")
                linear(f"{a}.mlp.fc{n}", f"{b}.mlp.fc{n}")
    b = "pooler.cross_attention_layer"
    linear("cross.q", f"{b}.cross_attn.q_proj")
    split("cross.kv", f"{b}.cross_attn.k_proj", f"{b}.cross_attn.v_proj")
    for n in (1, 2):
        linear(f"cross.norm{n}", f"{b}.layer_norm{n}")
        linear(f"cross.mlp.fc{n}", f"{b}.mlp.fc{n}")
    return out
