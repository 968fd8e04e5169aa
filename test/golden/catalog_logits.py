#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Families that choose by logits, or whose experts are fused matrices."""

import numpy as np

from catalog_base import (
    PROJ,
    Family,
    Spec,
    base,
    gated,
    gated_specs,
    turned,
    weight,
)
from catalog_reference import Block, Expert


class GptOss(Family):
    name = model_type = "gpt_oss"
    source = "transformers GptOssMLP"
    block_class = "GptOssMLP"
    sizes = (36, 22)

    def config(self):
        hidden, width = self.sizes
        config = base(
            self.model_type,
            "GptOssForCausalLM",
            hidden_size=hidden,
            intermediate_size=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            num_local_experts=5,
            num_experts_per_tok=3,
            experts_per_token=3,
            layer_types=["sliding_attention", "full_attention"],
            sliding_window=128,
            swiglu_limit=7.0,
            attention_bias=True,
            rope_theta=150000,
            router_aux_loss_coef=0.9,
        )
        return config

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_local_experts"]
        yield weight(site.prefix + "router.weight", count, hidden)
        yield Spec(site.prefix + "router.bias", (count,), kind="bias")
        room = site.prefix + "experts."
        yield from self.expert_specs(room, count, hidden, width)
        # Wide enough that both clamps act.
        yield Spec(
            room + "gate_up_proj_bias", (count, 2 * width), kind="bias", gain=4
        )
        yield Spec(room + "down_proj_bias", (count, hidden), kind="bias")

    def expert_specs(self, room, count, hidden, width):
        yield turned(room + "gate_up_proj", count, hidden, 2 * width, gain=3)
        yield turned(room + "down_proj", count, width, hidden)

    def matrices(self, get, room):
        """gate_up [E, 2F, H] (interleaved) and down [E, H, F]."""
        return (
            get(room + "gate_up_proj").transpose(0, 2, 1),
            get(room + "down_proj").transpose(0, 2, 1),
        )

    def block(self, config, dtype, get, site):
        room = site.prefix + "experts."
        both, down = self.matrices(get, room)
        both_bias = get(room + "gate_up_proj_bias")
        down_bias = get(room + "down_proj_bias")
        experts = [
            Expert(
                both[e, 0::2],
                down[e],
                both[e, 1::2],
                both_bias[e, 0::2],
                both_bias[e, 1::2],
                down_bias[e],
                limit=config["swiglu_limit"],
            )
            for e in range(config["num_local_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.weight"),
            config["num_experts_per_tok"],
            experts,
            router_bias=get(site.prefix + "router.bias"),
            round_logits=True,
            round_weights=True,
            score="none",
            weight="softmax_chosen",
        )


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def mxfp4(blocks, scales):
    """[.., N, 32 * blocks] from [.., N, blocks, 16] and [.., N, blocks]."""
    table = np.concatenate([E2M1, -E2M1])
    pairs = np.stack([table[blocks & 15], table[blocks >> 4]], axis=-1)
    values = pairs.reshape(blocks.shape[:-1] + (32,))
    values = np.ldexp(values, scales[..., None].astype(np.int32) - 127)
    return values.reshape(scales.shape[:-1] + (-1,)).astype(np.float32)


class GptOssMxfp4(GptOss):
    variant = "mxfp4"
    sizes = (64, 32)

    def config(self):
        config = super().config()
        config["quantization_config"] = {
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
            "quant_method": "mxfp4",
        }
        return config

    def expert_specs(self, room, count, hidden, width):
        for part, rows, inner in (
            ("gate_up_proj", 2 * width, hidden),
            ("down_proj", hidden, width),
        ):
            shape = (count, rows, inner // 32, 16)
            yield Spec(f"{room}{part}_blocks", shape, 1, "codes", "U8")
            yield Spec(f"{room}{part}_scales", shape[:-1], 1, "exponents", "U8")

    def matrices(self, get, room):
        return tuple(
            mxfp4(get(f"{room}{part}_blocks"), get(f"{room}{part}_scales"))
            for part in ("gate_up_proj", "down_proj")
        )


class PhiMoe(Family):
    name = model_type = "phimoe"
    source = "transformers PhimoeSparseMoeBlock"
    block_class = "PhimoeSparseMoeBlock"
    prefix = "model.layers.{}.block_sparse_moe."
    NAMES = ("w1", "w3", "w2")

    def config(self):
        return base(
            self.model_type,
            "PhiMoEForCausalLM",
            hidden_size=32,
            intermediate_size=11,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=16,
            num_experts_per_tok=2,
            router_jitter_noise=0.01,
            input_jitter_noise=0.01,
            attention_bias=True,
            lm_head_bias=True,
            rope_theta=10000.0,
        )

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_local_experts"]
        yield weight(site.prefix + "gate.weight", count, hidden)
        for e in range(count):
            yield from gated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, self.NAMES
            )

    def block(self, config, dtype, get, site):
        experts = [
            gated(get, f"{site.prefix}experts.{e}.", self.NAMES)
            for e in range(config["num_local_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "gate.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=True,
            round_weights=True,
            score="none",
            weight="sparsemixer",
            threshold=2 * config["router_jitter_noise"],
        )


class Dbrx(Family):
    name = model_type = "dbrx"
    source = "transformers DbrxFFN (databricks' code)"
    reason = "version 4: version 5 builds the router on the wrong width"
    loader = "v4"
    block_class = "DbrxFFN"
    prefix = "transformer.blocks.{}.ffn."

    def config(self):
        return {
            "architectures": ["DbrxForCausalLM"],
            "model_type": self.model_type,
            "d_model": 36,
            "n_heads": 6,
            "n_layers": 2,
            "max_seq_len": 4096,
            "vocab_size": 64,
            "tie_word_embeddings": False,
            "attn_config": {
                "clip_qkv": 8,
                "kv_n_heads": 2,
                "model_type": "",
                "rope_theta": 500000,
            },
            "ffn_config": {
                "ffn_hidden_size": 17,
                "model_type": "",
                "moe_jitter_eps": 0.01,
                "moe_loss_weight": 0.05,
                "moe_num_experts": 6,
                "moe_top_k": 4,
            },
        }

    def moe_layers(self, config):
        return range(config["n_layers"])

    def block_specs(self, config, site):
        ffn, hidden = config["ffn_config"], config["d_model"]
        count, width = ffn["moe_num_experts"], ffn["ffn_hidden_size"]
        yield weight(site.prefix + "router.layer.weight", count, hidden)
        for part in ("w1", "v1", "w2"):
            fan = width if part == "w2" else hidden
            yield Spec(
                f"{site.prefix}experts.mlp.{part}", (count * width, hidden), fan
            )

    def block(self, config, dtype, get, site):
        ffn = config["ffn_config"]
        count, width = ffn["moe_num_experts"], ffn["ffn_hidden_size"]
        w1, v1, w2 = (
            get(f"{site.prefix}experts.mlp.{part}").reshape(count, width, -1)
            for part in ("w1", "v1", "w2")
        )
        return Block(
            dtype,
            get(site.prefix + "router.layer.weight"),
            ffn["moe_top_k"],
            [Expert(w1[e], w2[e].T, v1[e]) for e in range(count)],
            round_logits=True,
            round_weights=True,
            normalize="before_drop",
        )


class Llama4(Family):
    name = model_type = "llama4_text"
    source = "transformers Llama4TextMoe"
    block_class = "Llama4TextMoe"
    prefix = "model.layers.{}.feed_forward."

    def config(self):
        return base(
            self.model_type,
            "Llama4ForCausalLM",
            hidden_size=36,
            intermediate_size=14,
            intermediate_size_mlp=26,
            num_hidden_layers=4,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=12,
            num_local_experts=6,
            num_experts_per_tok=1,
            interleave_moe_layer_step=2,
            router_aux_loss_coef=0.001,
            router_jitter_noise=0.0,
            use_qk_norm=False,
            attention_chunk_size=8192,
            rope_theta=500000.0,
        )

    def text(self, config):
        return config

    def moe_layers(self, config):
        config = self.text(config)
        step = config["interleave_moe_layer_step"]
        return range(step - 1, config["num_hidden_layers"], step)

    def block_specs(self, config, site):
        config = self.text(config)
        hidden, width = config["hidden_size"], config["intermediate_size"]
        count = config["num_local_experts"]
        yield weight(site.prefix + "router.weight", count, hidden)
        yield turned(
            site.prefix + "experts.gate_up_proj", count, hidden, 2 * width
        )
        yield turned(site.prefix + "experts.down_proj", count, width, hidden)
        yield from gated_specs(
            site.prefix + "shared_expert.", hidden, width, PROJ
        )

    def dense_specs(self, config):
        text = self.text(config)
        for layer in set(range(text["num_hidden_layers"])) - set(
            self.moe_layers(config)
        ):
            yield from gated_specs(
                self.prefix.format(layer),
                text["hidden_size"],
                text["intermediate_size_mlp"],
                PROJ,
            )

    def block(self, config, dtype, get, site):
        config = self.text(config)
        width = config["intermediate_size"]
        both = get(site.prefix + "experts.gate_up_proj").transpose(0, 2, 1)
        down = get(site.prefix + "experts.down_proj").transpose(0, 2, 1)
        experts = [
            Expert(both[e, :width], down[e], both[e, width:])
            for e in range(config["num_local_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.weight"),
            config["num_experts_per_tok"],
            experts,
            round_logits=True,
            round_weights=True,
            score="none",
            weight="sigmoid",
            scale_input=True,
            shared=gated(get, site.prefix + "shared_expert."),
        )


class Llama4Wrapper(Llama4):
    name = model_type = "llama4"
    prefix = "language_model.model.layers.{}.feed_forward."
    reason = "the same module below Llama4ForConditionalGeneration"

    def text(self, config):
        return config["text_config"]

    def config(self):
        text = super().config()
        text["model_type"] = "llama4_text"
        del text["architectures"]
        return {
            "architectures": ["Llama4ForConditionalGeneration"],
            "model_type": "llama4",
            "text_config": text,
            "tie_word_embeddings": False,
            "vision_config": {
                "model_type": "llama4_vision_model",
                "hidden_size": 16,
                "image_size": 8,
                "intermediate_size": 64,
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "patch_size": 4,
                "pixel_shuffle_ratio": 0.5,
                "projector_input_dim": 16,
                "projector_output_dim": 16,
                "vision_output_dim": 16,
            },
        }


FAMILIES = [
    cls()
    for cls in (GptOss, GptOssMxfp4, PhiMoe, Dbrx, Llama4, Llama4Wrapper)
]
