#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The five families: their config.json, MoE layers and tensor names."""

import math
from dataclasses import dataclass

DTYPES = {"f32": ("float32", "F32"), "bf16": ("bfloat16", "BF16")}


@dataclass(frozen=True)
class Family:
    """What config.json calls the sizes, and what the block computes."""

    architecture: str
    block: str
    experts: str
    width: str
    score: str = "softmax"
    normalize: object = None  # None: read norm_topk_prob
    rounds_logits: bool = True
    rounds_weights: bool = True
    shared: str = ""  # "", "gated" or "plain"


FAMILIES = {
    "mixtral": Family(
        "MixtralForCausalLM",
        "MixtralSparseMoeBlock",
        "num_local_experts",
        "intermediate_size",
        normalize=True,
        rounds_weights=False,
    ),
    "olmoe": Family(
        "OlmoeForCausalLM",
        "OlmoeSparseMoeBlock",
        "num_experts",
        "intermediate_size",
    ),
    "qwen2_moe": Family(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeSparseMoeBlock",
        "num_experts",
        "moe_intermediate_size",
        shared="gated",
    ),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        "Qwen3MoeSparseMoeBlock",
        "num_experts",
        "moe_intermediate_size",
    ),
    "deepseek_v3": Family(
        "DeepseekV3ForCausalLM",
        "DeepseekV3MoE",
        "n_routed_experts",
        "moe_intermediate_size",
        score="sigmoid",
        rounds_logits=False,
        rounds_weights=False,
        shared="plain",
    ),
}


def make_config(family, hidden, width, experts, top_k, layers, dtype, **more):
    """config.json of a model of the given sizes, in released spelling.

    `more` overrides or adds keys; the rest is chosen so that the reference
    implementation can build the whole model.
    """
    # The fewest heads whose dimension is even and at most 128: attention is
    # not part of these models, but its sizes must be legal.
    heads = next(
        (
            h
            for h in range(max(1, hidden // 128), hidden + 1)
            if hidden % h == 0 and hidden // h % 2 == 0
        ),
        1,
    )
    config = {
        "architectures": [FAMILIES[family].architecture],
        "model_type": family,
        "torch_dtype": DTYPES[dtype][0],
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": width,
        FAMILIES[family].experts: experts,
        "num_experts_per_tok": top_k,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "vocab_size": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    if family == "olmoe":
        config["norm_topk_prob"] = False
    if FAMILIES[family].width == "moe_intermediate_size":
        config["moe_intermediate_size"] = width
        config["intermediate_size"] = 2 * width
    if family in ("qwen2_moe", "qwen3_moe"):
        config["decoder_sparse_step"] = 1
        config["mlp_only_layers"] = []
        config["norm_topk_prob"] = family == "qwen3_moe"
    if family == "qwen2_moe":
        config["shared_expert_intermediate_size"] = 4 * width
    if family == "qwen3_moe":
        config["head_dim"] = 128 if hidden >= 1024 else 8
    if family == "deepseek_v3":
        config.update(
            first_k_dense_replace=0,
            moe_layer_freq=1,
            n_group=1,
            topk_group=1,
            n_shared_experts=1,
            norm_topk_prob=True,
            routed_scaling_factor=2.5,
            scoring_func="sigmoid",
            topk_method="noaux_tc",
            kv_lora_rank=8,
            q_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
        )
    config.update(more)
    return config


def modern_spelling(config):
    """The same config.json as transformers 5 would save it."""
    config = dict(config)
    config["dtype"] = config.pop("torch_dtype")
    if config["model_type"] == "qwen3_moe":
        config["num_local_experts"] = config.pop("num_experts")
    config["rope_parameters"] = {
        "rope_theta": config.pop("rope_theta"),
        "rope_type": "default",
    }
    return config


@dataclass(frozen=True)
class Block:
    """One MoE block as config.json describes it."""

    family: str
    dtype: str  # of the model, as safetensors spells it
    hidden: int
    width: int
    experts: int
    top_k: int
    score: str
    normalize: bool
    epsilon: float
    scale: float
    groups: int
    kept_groups: int
    round_logits: bool
    round_weights: bool
    shared: str
    shared_width: int
    dense_width: int
    moe_layers: tuple
    dense_layers: tuple

    @staticmethod
    def read(config):
        family = config["model_type"]
        facts = FAMILIES[family]
        sigmoid = facts.score == "sigmoid"
        experts = config.get(facts.experts, config.get("num_local_experts"))
        layers = range(config["num_hidden_layers"])
        moe = tuple(
            i
            for i in layers
            if i >= config.get("first_k_dense_replace", 0)
            and i not in config.get("mlp_only_layers", [])
            and (i + 1) % config.get("decoder_sparse_step", 1) == 0
        )
        shared_width = config.get("shared_expert_intermediate_size", 0)
        if facts.shared == "plain":
            shared_width = (
                config["n_shared_experts"] * config["moe_intermediate_size"]
            )
        name = config.get("torch_dtype", config.get("dtype"))
        return Block(
            family=family,
            dtype=dict(DTYPES.values())[name],
            hidden=config["hidden_size"],
            width=config[facts.width],
            experts=experts,
            top_k=config["num_experts_per_tok"],
            score=facts.score,
            normalize=facts.normalize or config["norm_topk_prob"],
            epsilon=1e-20 if sigmoid else 0.0,
            scale=config.get("routed_scaling_factor", 1.0),
            groups=config.get("n_group", 1),
            kept_groups=config.get("topk_group", 1),
            round_logits=facts.rounds_logits,
            round_weights=facts.rounds_weights,
            shared=facts.shared,
            shared_width=shared_width,
            dense_width=config["intermediate_size"],
            moe_layers=moe,
            dense_layers=tuple(i for i in layers if i not in moe),
        )


@dataclass(frozen=True)
class Spec:
    """A tensor of the checkpoint: normal of deviation `std`, plus `mean`."""

    name: str
    dtype: str
    shape: tuple
    std: float
    mean: float = 0.0


def expert_name(family, layer, expert, part):
    """The released name of one expert's weight; part is gate, up or down."""
    prefix = f"model.layers.{layer}."
    if family == "mixtral":
        letter = {"gate": "w1", "up": "w3", "down": "w2"}[part]
        return f"{prefix}block_sparse_moe.experts.{expert}.{letter}.weight"
    return f"{prefix}mlp.experts.{expert}.{part}_proj.weight"


def router_name(family, layer, fused=False):
    room = "block_sparse_moe" if family == "mixtral" and not fused else "mlp"
    return f"model.layers.{layer}.{room}.gate.weight"


def tensors(block, fused=False, dense=False, bias=(0.0, 0.2)):
    """The tensors of all MoE layers, in checkpoint order.

    `fused` takes the names transformers 5 has in memory; `dense` adds the MLPs
    of dense layers; `bias` is mean and deviation of the selection bias.
    """
    hidden, width, count = block.hidden, block.width, block.experts

    def weight(name, *shape):
        # Divided by the root of the fan-in, so that activations are O(1).
        return Spec(name, block.dtype, shape, 1 / math.sqrt(shape[-1]))

    def mlp(prefix, inner):
        yield weight(prefix + "gate_proj.weight", inner, hidden)
        yield weight(prefix + "up_proj.weight", inner, hidden)
        yield weight(prefix + "down_proj.weight", hidden, inner)

    for layer in sorted(block.moe_layers + block.dense_layers):
        prefix = f"model.layers.{layer}.mlp."
        if layer in block.dense_layers:
            if dense:
                yield from mlp(prefix, block.dense_width)
            continue
        yield weight(router_name(block.family, layer, fused), count, hidden)
        if block.score == "sigmoid":
            name = prefix + "gate.e_score_correction_bias"
            yield Spec(name, "F32", (count,), bias[1], bias[0])
        if fused:
            yield weight(
                prefix + "experts.gate_up_proj", count, 2 * width, hidden
            )
            yield weight(prefix + "experts.down_proj", count, hidden, width)
        else:
            for e in range(count):
                for part in ("gate", "up", "down"):
                    shape = (width, hidden)
                    if part == "down":
                        shape = (hidden, width)
                    name = expert_name(block.family, layer, e, part)
                    yield weight(name, *shape)
        if block.shared == "gated":
            yield from mlp(prefix + "shared_expert.", block.shared_width)
            yield weight(prefix + "shared_expert_gate.weight", 1, hidden)
        elif block.shared == "plain":
            yield from mlp(prefix + "shared_experts.", block.shared_width)
