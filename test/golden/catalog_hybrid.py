#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Families of other architectures than a plain transformer decoder."""

from catalog_base import (
    PROJ,
    Family,
    Spec,
    base,
    gated,
    gated_specs,
    weight,
)
from catalog_reference import Block, Expert


class Jamba(Family):
    name = model_type = "jamba"
    source = "transformers JambaSparseMoeBlock"
    block_class = "JambaSparseMoeBlock"
    prefix = "model.layers.{}.feed_forward."

    def config(self):
        config = base(
            self.model_type,
            "JambaForCausalLM",
            hidden_size=26,
            intermediate_size=18,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            num_experts=7,
            num_experts_per_tok=2,
            expert_layer_period=2,
            expert_layer_offset=1,
            attn_layer_period=8,
            attn_layer_offset=4,
            mamba_d_conv=4,
            mamba_d_state=4,
            mamba_dt_rank=3,
            mamba_expand=2,
            mamba_conv_bias=True,
            mamba_proj_bias=False,
            use_mamba_kernels=False,
            router_aux_loss_coef=0.001,
        )
        config["rms_norm_eps"] = 1e-6
        return config

    def moe_layers(self, config):
        period, offset = (
            config[f"expert_layer_{word}"] for word in ("period", "offset")
        )
        layers = range(config["num_hidden_layers"])
        return [i for i in layers if i % period == offset]

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_experts"]
        yield weight(site.prefix + "router.weight", count, hidden)
        for e in range(count):
            yield from gated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, PROJ
            )

    def dense_specs(self, config):
        moe = self.moe_layers(config)
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
            for e in range(config["num_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=True,
            round_weights=True,
        )


class LongCat(Family):
    name = model_type = "longcat_flash"
    source = "transformers LongcatFlashMoE"
    reason = "version 4: version 5 does not load fewer matrices than slots"
    loader = "v4"
    block_class = "LongcatFlashMoE"

    def config(self):
        return base(
            self.model_type,
            "LongcatFlashForCausalLM",
            hidden_size=32,
            ffn_hidden_size=20,
            expert_ffn_hidden_size=13,
            num_layers=2,
            num_attention_heads=2,
            n_routed_experts=6,
            zero_expert_num=3,
            zero_expert_type="identity",
            moe_topk=4,
            routed_scaling_factor=6.0,
            router_bias=False,
            q_lora_rank=8,
            kv_lora_rank=8,
            qk_nope_head_dim=8,
            qk_rope_head_dim=4,
            v_head_dim=8,
            rope_theta=10000000.0,
        )

    def moe_layers(self, config):
        return range(config["num_layers"])

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["expert_ffn_hidden_size"]
        total = config["n_routed_experts"] + config["zero_expert_num"]
        yield weight(site.prefix + "router.classifier.weight", total, hidden)
        name = site.prefix + "router.e_score_correction_bias"
        yield Spec(name, (total,), kind="bias", dtype="F32", gain=0.1)
        for e in range(config["n_routed_experts"]):
            yield from gated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, PROJ
            )

    def block(self, config, dtype, get, site):
        experts = [
            gated(get, f"{site.prefix}experts.{e}.")
            for e in range(config["n_routed_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.classifier.weight"),
            config["moe_topk"],
            experts + [None] * config["zero_expert_num"],
            selection_bias=get(site.prefix + "router.e_score_correction_bias"),
            scale=config["routed_scaling_factor"],
        )


class JetMoe(Family):
    name = model_type = "jetmoe"
    source = "transformers JetMoeMoE"
    block_class = "JetMoeMoE"

    def config(self):
        config = base(
            self.model_type,
            "JetMoeForCausalLM",
            hidden_size=30,
            intermediate_size=17,
            num_hidden_layers=2,
            num_key_value_heads=2,
            kv_channels=8,
            num_local_experts=5,
            num_experts_per_tok=2,
            activation_function="silu",
            rope_theta=10000.0,
        )
        del config["hidden_act"]
        return config

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_local_experts"]
        yield weight(site.prefix + "router.layer.weight", count, hidden)
        yield weight(
            site.prefix + "input_linear.weight", count, 2 * width, hidden
        )
        yield weight(site.prefix + "output_linear.weight", count, hidden, width)
        yield Spec(site.prefix + "bias", (hidden,), kind="bias")

    def block(self, config, dtype, get, site):
        width = config["intermediate_size"]
        both = get(site.prefix + "input_linear.weight")
        down = get(site.prefix + "output_linear.weight")
        experts = [
            Expert(both[e, :width], down[e], both[e, width:])
            for e in range(config["num_local_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.layer.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=True,
            round_weights=True,
            score="none",
            weight="softmax_chosen",
            output_bias=get(site.prefix + "bias"),
        )


FAMILIES = [cls() for cls in (Jamba, LongCat, JetMoe)]
