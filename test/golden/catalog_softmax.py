#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Families that choose by the softmax over all experts, as the first five."""

from catalog_base import PROJ, Family, base, gated, gated_specs, weight
from catalog_reference import Block


class Grok1(Family):
    name = "grok_1"
    model_type = "grok-1"
    dtypes = ("bf16",)
    source = "xai-org/grok-1@7050ed2 model.py MoELayer"
    loader = "grok"
    prefix = "transformer.decoder_layer.{}."
    NAMES = ("linear", "linear_v", "linear_1")

    def config(self):
        config = base(
            self.model_type,
            "Grok1ForCausalLM",
            hidden_size=35,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=5,
            num_key_value_heads=5,
            num_experts=8,
            num_experts_per_tok=2,
            attn_output_multiplier=0.08838834764831845,
            embedding_multiplier_scale=78.38367176906169,
            output_multiplier_scale=0.5773502691896257,
            max_attn_value=30.0,
            router_aux_loss_coef=0.001,
        )
        # The activation is part of the code.
        del config["hidden_act"]
        return config

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_experts"]
        yield weight(site.prefix + "router.weight", count, hidden)
        for e in range(count):
            yield from gated_specs(
                f"{site.prefix}moe.{e}.", hidden, width, self.NAMES
            )

    def block(self, config, dtype, get, site):
        experts = [
            gated(get, f"{site.prefix}moe.{e}.", self.NAMES, "gelu_tanh")
            for e in range(config["num_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.weight"),
            config["num_experts_per_tok"],
            experts,
            round_weights=True,
        )


class Grok1Wide(Grok1):
    dtypes = ("f32",)
    tier = "B"
    source = "catalog_tier_b.py, written from the model's description"
    reason = "xAI's code rounds its output to bf16 always"


class DeepSeek(Family):
    """Router `mlp.gate`, per-expert SwiGLU, ungated shared experts."""

    def moe_layers(self, config):
        first = config["first_k_dense_replace"]
        step = config["moe_layer_freq"]
        layers = range(config["num_hidden_layers"])
        return [i for i in layers if i >= first and i % step == 0]

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["moe_intermediate_size"]
        count = config["n_routed_experts"]
        yield weight(site.prefix + "gate.weight", count, hidden)
        for e in range(count):
            yield from gated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, PROJ
            )
        yield from gated_specs(
            site.prefix + "shared_experts.",
            hidden,
            width * config["n_shared_experts"],
            PROJ,
        )

    def dense_specs(self, config):
        moe = set(self.moe_layers(config))
        for layer in range(config["num_hidden_layers"]):
            if layer not in moe:
                yield from gated_specs(
                    self.prefix.format(layer),
                    config["hidden_size"],
                    config["intermediate_size"],
                    PROJ,
                )

    def block(self, config, dtype, get, site):
        experts = [
            gated(get, f"{site.prefix}experts.{e}.")
            for e in range(config["n_routed_experts"])
        ]
        v1 = self.model_type == "deepseek"
        return Block(
            dtype,
            get(site.prefix + "gate.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=v1,
            round_scores=v1,
            round_weights=v1,
            groups=config.get("n_group") or 1,
            kept_groups=config.get("topk_group") or 1,
            scale=config.get("routed_scaling_factor", 1.0),
            shared=gated(get, site.prefix + "shared_experts."),
        )


class DeepSeek1(DeepSeek):
    name = model_type = "deepseek"
    source = "modeling_deepseek.py DeepseekMoE, the code beside the weights"
    loader = "deepseek"

    def config(self):
        return base(
            self.model_type,
            "DeepseekForCausalLM",
            hidden_size=36,
            intermediate_size=30,
            moe_intermediate_size=13,
            num_hidden_layers=5,
            num_attention_heads=6,
            num_key_value_heads=6,
            n_routed_experts=9,
            n_shared_experts=2,
            num_experts_per_tok=4,
            first_k_dense_replace=1,
            moe_layer_freq=2,
            norm_topk_prob=False,
            scoring_func="softmax",
            aux_loss_alpha=0.001,
            seq_aux=True,
            rope_theta=10000.0,
        )


class DeepSeek2(DeepSeek):
    name = model_type = "deepseek_v2"
    source = "transformers DeepseekV2Moe"
    block_class = "DeepseekV2Moe"
    sizes = dict(
        hidden_size=36,
        moe_intermediate_size=14,
        n_routed_experts=12,
        num_experts_per_tok=3,
        q_lora_rank=8,
        topk_method="group_limited_greedy",
        n_group=4,
        topk_group=2,
        routed_scaling_factor=16.0,
    )

    def config(self):
        return base(
            self.model_type,
            "DeepseekV2ForCausalLM",
            intermediate_size=22,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=2,
            n_shared_experts=2,
            first_k_dense_replace=1,
            moe_layer_freq=1,
            norm_topk_prob=False,
            scoring_func="softmax",
            aux_loss_alpha=0.001,
            seq_aux=True,
            kv_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            rope_theta=10000.0,
            **self.sizes,
        )


class DeepSeek2Lite(DeepSeek2):
    variant = "lite"
    sizes = dict(
        hidden_size=28,
        moe_intermediate_size=11,
        n_routed_experts=10,
        num_experts_per_tok=4,
        q_lora_rank=None,
        topk_method="greedy",
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.0,
    )


class Qwen3Next(Family):
    name = model_type = "qwen3_next"
    source = "transformers Qwen3NextSparseMoeBlock"
    block_class = "Qwen3NextSparseMoeBlock"

    def config(self):
        return base(
            self.model_type,
            "Qwen3NextForCausalLM",
            hidden_size=34,
            intermediate_size=38,
            moe_intermediate_size=11,
            shared_expert_intermediate_size=19,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            num_experts=11,
            num_experts_per_tok=4,
            norm_topk_prob=True,
            decoder_sparse_step=1,
            mlp_only_layers=[0, 2],
            full_attention_interval=4,
            linear_conv_kernel_dim=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            partial_rotary_factor=0.25,
            rope_theta=10000000.0,
        )

    def moe_layers(self, config):
        layers = range(config["num_hidden_layers"])
        return [i for i in layers if i not in config["mlp_only_layers"]]

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["moe_intermediate_size"]
        count = config["num_experts"]
        yield weight(site.prefix + "gate.weight", count, hidden)
        for e in range(count):
            yield from gated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, PROJ
            )
        yield from gated_specs(
            site.prefix + "shared_expert.",
            hidden,
            config["shared_expert_intermediate_size"],
            PROJ,
        )
        yield weight(site.prefix + "shared_expert_gate.weight", 1, hidden)

    def block(self, config, dtype, get, site):
        experts = [
            gated(get, f"{site.prefix}experts.{e}.")
            for e in range(config["num_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "gate.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=True,
            round_weights=True,
            normalize="before_drop",
            shared=gated(get, site.prefix + "shared_expert."),
            shared_gate=get(site.prefix + "shared_expert_gate.weight"),
        )


FAMILIES = [
    cls()
    for cls in (
        Grok1, Grok1Wide, DeepSeek1, DeepSeek2, DeepSeek2Lite, Qwen3Next
    )
]
