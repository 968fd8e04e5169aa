#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The families with a capacity, and those of encoders and vision models."""

import math

from catalog_base import Family, Site, Spec, base, turned, weight
from catalog_reference import Block, Expert


def ungated(get, prefix, names, activation, biases=False):
    """An expert of two matrices [out, in] at `prefix`."""
    first, second = names
    return Expert(
        get(f"{prefix}{first}.weight"),
        get(f"{prefix}{second}.weight"),
        gate_bias=get(f"{prefix}{first}.bias") if biases else None,
        down_bias=get(f"{prefix}{second}.bias") if biases else None,
        activation=activation,
    )


def ungated_specs(prefix, hidden, width, names, biases=False):
    first, second = names
    yield weight(f"{prefix}{first}.weight", width, hidden)
    if biases:
        yield Spec(f"{prefix}{first}.bias", (width,), kind="bias")
    yield weight(f"{prefix}{second}.weight", hidden, width)
    if biases:
        yield Spec(f"{prefix}{second}.bias", (hidden,), kind="bias")


class Switch(Family):
    name = model_type = "switch_transformers"
    source = "transformers SwitchTransformersSparseMLP"
    block_class = "SwitchTransformersSparseMLP"
    skew = 0.8
    wants_drops = True

    def config(self):
        return {
            "architectures": ["SwitchTransformersForConditionalGeneration"],
            "model_type": self.model_type,
            "add_router_probs": False,
            "d_ff": 22,
            "d_kv": 8,
            "d_model": 30,
            "decoder_sparse_step": 2,
            "decoder_start_token_id": 0,
            "dense_act_fn": "relu",
            "encoder_sparse_step": 2,
            "eos_token_id": 1,
            "expert_capacity": 4,
            "feed_forward_proj": "relu",
            "is_encoder_decoder": True,
            "is_gated_act": False,
            "layer_norm_epsilon": 1e-06,
            "num_decoder_layers": 2,
            "num_experts": 6,
            "num_heads": 3,
            "num_layers": 4,
            "num_selected_experts": 1,
            "num_sparse_decoder_layers": 1,
            "num_sparse_encoder_layers": 2,
            "pad_token_id": 0,
            "router_aux_loss_coef": 0.001,
            "router_bias": False,
            "router_dtype": "float32",
            "router_ignore_padding_tokens": False,
            "router_jitter_noise": 0.01,
            "router_type": "tokens_masked",
            "router_z_loss_coef": 0.001,
            "vocab_size": 64,
        }

    def sites(self, config):
        found = []
        for stack, count, ffn in (
            ("encoder", config["num_layers"], 1),
            ("decoder", config["num_decoder_layers"], 2),
        ):
            step = config[f"{stack}_sparse_step"]
            for i in range(count):
                if i % step == 1 or step == 1:
                    prefix = f"{stack}.block.{i}.layer.{ffn}.mlp."
                    found.append(
                        Site(f"{stack}.layers.{i}", prefix, len(found))
                    )
        return found

    def block_specs(self, config, site):
        hidden, width = config["d_model"], config["d_ff"]
        count = config["num_experts"]
        yield weight(site.prefix + "router.classifier.weight", count, hidden)
        for e in range(count):
            yield from ungated_specs(
                f"{site.prefix}experts.expert_{e}.", hidden, width, ("wi", "wo")
            )

    def dense_specs(self, config):
        yield from ungated_specs(
            "encoder.block.0.layer.1.mlp.",
            config["d_model"],
            config["d_ff"],
            ("wi", "wo"),
        )

    def block(self, config, dtype, get, site):
        experts = [
            ungated(
                get, f"{site.prefix}experts.expert_{e}.", ("wi", "wo"), "relu"
            )
            for e in range(config["num_experts"])
        ]
        return Block(
            dtype,
            get(site.prefix + "router.classifier.weight"),
            1,
            experts,
            round_scores=True,
            round_weights=True,
            capacity=lambda n: config["expert_capacity"],
        )


class NllbMoe(Family):
    name = "nllb_moe"
    model_type = "nllb-moe"
    source = "transformers NllbMoeSparseMLP"
    reason = "version 4: version 5 uses only experts 0 and 1"
    loader = "v4"
    block_class = "NllbMoeSparseMLP"
    more = {}

    def config(self):
        config = {
            "architectures": ["NllbMoeForConditionalGeneration"],
            "model_type": self.model_type,
            "activation_function": "relu",
            "batch_prioritized_routing": False,
            "d_model": 28,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 19,
            "decoder_layers": 2,
            "decoder_sparse_step": 2,
            "decoder_start_token_id": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 19,
            "encoder_layers": 4,
            "encoder_sparse_step": 4,
            "eos_token_id": 2,
            "expert_capacity": 64,
            "is_encoder_decoder": True,
            "max_position_embeddings": 64,
            "moe_eval_capacity_token_fraction": 1.0,
            "moe_token_dropout": 0.2,
            "normalize_router_prob_before_dropping": False,
            "num_experts": 6,
            "num_hidden_layers": 4,
            "pad_token_id": 1,
            "router_bias": False,
            "router_dtype": "float32",
            "router_ignore_padding_tokens": False,
            "scale_embedding": True,
            "second_expert_policy": "all",
            "vocab_size": 64,
        }
        config.update(self.more)
        return config

    def sites(self, config):
        found = []
        for stack in ("encoder", "decoder"):
            step = config[f"{stack}_sparse_step"]
            for i in range(config[f"{stack}_layers"]):
                if (i + 1) % step == 0:
                    function = f"{stack}.layers.{i}"
                    found.append(
                        Site(function, f"model.{function}.ffn.", len(found))
                    )
        return found

    def block_specs(self, config, site):
        hidden, width = config["d_model"], config["encoder_ffn_dim"]
        count = config["num_experts"]
        yield weight(site.prefix + "router.classifier.weight", count, hidden)
        for e in range(count):
            yield from ungated_specs(
                f"{site.prefix}experts.expert_{e}.",
                hidden,
                width,
                ("fc1", "fc2"),
                biases=True,
            )

    def dense_specs(self, config):
        yield from ungated_specs(
            "model.decoder.layers.0.ffn.",
            config["d_model"],
            config["decoder_ffn_dim"],
            ("fc1", "fc2"),
            biases=True,
        )

    def block(self, config, dtype, get, site):
        experts = [
            ungated(
                get,
                f"{site.prefix}experts.expert_{e}.",
                ("fc1", "fc2"),
                "relu",
                biases=True,
            )
            for e in range(config["num_experts"])
        ]
        fraction = config["moe_eval_capacity_token_fraction"]
        before = config["normalize_router_prob_before_dropping"]
        return Block(
            dtype,
            get(site.prefix + "router.classifier.weight"),
            2,
            experts,
            round_scores=True,
            round_weights=True,
            normalize="before_drop" if before else "after_drop",
            scale=1 - config["moe_token_dropout"],
            capacity=lambda n: math.ceil(fraction * n),
            by_probability=config["batch_prioritized_routing"],
        )


class NllbMoeCapacity(NllbMoe):
    variant = "capacity"
    skew = 0.8
    wants_drops = True
    more = dict(
        moe_eval_capacity_token_fraction=0.3,
        batch_prioritized_routing=True,
    )


class GShard(Family):
    name = model_type = "gshard"
    source = "mesh-tensorflow transformer_moe_layer_v1"
    reason = "no checkpoint: config.json and names are this project's"
    loader = "mesh"
    prefix = "layers.{}.moe."
    skew = 0.8
    wants_drops = True

    def config(self):
        return {
            "architectures": ["GShardTransformer"],
            "model_type": self.model_type,
            "hidden_act": "relu",
            "hidden_size": 29,
            "intermediate_size": 18,
            "num_hidden_layers": 4,
            "num_experts": 7,
            "num_experts_per_tok": 2,
            "moe_layer_step": 2,
            "capacity_factor": 1.5,
            "min_capacity": 4,
            "capacity_multiple": 4,
            "second_expert_policy": "all",
            "normalize_before_dropping": True,
            "vocab_size": 64,
        }

    def moe_layers(self, config):
        step = config["moe_layer_step"]
        return range(step - 1, config["num_hidden_layers"], step)

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["intermediate_size"]
        yield weight(
            site.prefix + "gate.weight", config["num_experts"], hidden
        )
        for e in range(config["num_experts"]):
            yield from ungated_specs(
                f"{site.prefix}experts.{e}.", hidden, width, ("wi", "wo")
            )

    def block(self, config, dtype, get, site):
        count = config["num_experts"]
        experts = [
            ungated(get, f"{site.prefix}experts.{e}.", ("wi", "wo"), "relu")
            for e in range(count)
        ]

        def capacity(n):
            slots = int(n * config["capacity_factor"] / count)
            slots = max(slots, config["min_capacity"])
            multiple = config["capacity_multiple"]
            return -(-slots // multiple) * multiple

        return Block(
            dtype,
            get(site.prefix + "gate.weight"),
            2,
            experts,
            round_weights=True,
            normalize="before_drop",
            epsilon=1e-9,
            capacity=capacity,
        )


class VMoe(Family):
    name = model_type = "vmoe"
    source = "google-research/vmoe@942a78b vmoe.nn.vit_moe.MlpMoeBlock"
    loader = "vmoe"
    prefix = "Encoder/encoderblock_{}/Moe/"
    skew = 0.8
    wants_drops = True
    architecture = "VisionTransformerMoe"
    sizes = dict(experts=6, chosen=2, factor=1.05, layers=[1, 3])

    def config(self):
        sizes = self.sizes
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "hidden_size": 30,
            "patch_size": 16,
            "encoder": {
                "num_layers": 4,
                "mlp_dim": 23,
                "num_heads": 3,
                "moe": {
                    "layers": sizes["layers"],
                    "num_experts": sizes["experts"],
                    "router": {
                        "num_selected_experts": sizes["chosen"],
                        "noise_std": 1.0,
                        "dispatcher": {
                            "name": "einsum",
                            "batch_priority": True,
                            "capacity_factor": sizes["factor"],
                        },
                    },
                },
            },
        }

    def moe_layers(self, config):
        return config["encoder"]["moe"]["layers"]

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["encoder"]["mlp_dim"]
        count = config["encoder"]["moe"]["num_experts"]
        yield turned(site.prefix + "Router/dense/kernel", hidden, count)
        for name, rows, columns in (
            ("Dense_0", hidden, width),
            ("Dense_1", width, hidden),
        ):
            room = f"{site.prefix}Mlp/{name}/"
            yield turned(room + "kernel", count, rows, columns)
            yield Spec(room + "bias", (count, columns), kind="bias")

    def dense_specs(self, config):
        hidden, width = config["hidden_size"], config["encoder"]["mlp_dim"]
        for name, rows, columns in (
            ("Dense_0", hidden, width),
            ("Dense_1", width, hidden),
        ):
            room = f"Encoder/encoderblock_0/Mlp/{name}/"
            yield turned(room + "kernel", rows, columns)
            yield Spec(room + "bias", (columns,), kind="bias")

    def block(self, config, dtype, get, site):
        moe = config["encoder"]["moe"]
        count, router = moe["num_experts"], moe["router"]
        room = site.prefix + "Mlp/"
        first, second = (get(f"{room}Dense_{i}/kernel") for i in (0, 1))
        biases = [get(f"{room}Dense_{i}/bias") for i in (0, 1)]
        experts = [
            Expert(
                first[e].T,
                second[e].T,
                gate_bias=biases[0][e],
                down_bias=biases[1][e],
                activation="gelu_tanh",
            )
            for e in range(count)
        ]
        chosen = router["num_selected_experts"]
        dispatcher = router["dispatcher"]

        def capacity(n):
            slots = n * chosen * dispatcher["capacity_factor"] / count
            return math.ceil(math.ceil(slots) / 4) * 4

        return Block(
            dtype,
            get(site.prefix + "Router/dense/kernel").T,
            chosen,
            experts,
            round_logits=True,
            round_scores=True,
            round_weights=True,
            capacity=capacity,
            by_probability=dispatcher["batch_priority"],
        )


class LiMoe(VMoe):
    name = model_type = "limoe"
    tier = "B"
    source = "catalog_tier_b.py, written from the model's description"
    reason = "never released; the block is V-MoE's"
    architecture = "LanguageImageMoe"
    sizes = dict(experts=5, chosen=1, factor=1.05, layers=[2, 3])


class DeepSpeed(Family):
    """PR-MoE: residual blocks, another number of experts in each."""

    name = model_type = "deepspeed_moe"
    source = "deepspeed deepspeed.moe.layer.MoE"
    reason = ""
    loader = "deepspeed"
    prefix = "language_model.encoder.layers.{}.mlp."
    NAMES = ("dense_h_to_4h", "dense_4h_to_h")
    # The gate refuses fewer tokens than the least capacity even when it drops
    # none.
    more = dict(
        num_experts=[4, 7],
        mlp_type="residual",
        topk=1,
        moe_token_dropping=False,
        moe_min_capacity=0,
    )

    def config(self):
        return {
            "architectures": ["GPTModel"],
            "model_type": self.model_type,
            "activation_function": "gelu",
            "hidden_size": 28,
            "ffn_hidden_size": 17,
            "num_layers": 4,
            "num_attention_heads": 2,
            "expert_interval": 2,
            "moe_eval_capacity_factor": 1.0,
            "moe_min_capacity": 4,
            # Both are true where they are not named.
            "moe_top2_2nd_expert_sampling": False,
            "use_rts": False,
            "vocab_size": 64,
            **self.more,
        }

    def moe_layers(self, config):
        step = config["expert_interval"]
        return range(step - 1, config["num_layers"], step)

    def experts(self, config, site):
        return config["num_experts"][site.index % len(config["num_experts"])]

    def block_specs(self, config, site):
        hidden, width = config["hidden_size"], config["ffn_hidden_size"]
        count = self.experts(config, site)
        room = site.prefix + "deepspeed_moe."
        yield weight(room + "gate.wg.weight", count, hidden)
        for e in range(count):
            yield from ungated_specs(
                f"{room}experts.deepspeed_experts.{e}.",
                hidden,
                width,
                self.NAMES,
                biases=True,
            )
        if config["mlp_type"] == "residual":
            yield from ungated_specs(
                site.prefix + "mlp.", hidden, width, self.NAMES, biases=True
            )
            yield weight(site.prefix + "coefficient.weight", 2, hidden)
            yield Spec(site.prefix + "coefficient.bias", (2,), kind="bias")

    def dense_specs(self, config):
        yield from ungated_specs(
            self.prefix.format(0),
            config["hidden_size"],
            config["ffn_hidden_size"],
            self.NAMES,
            biases=True,
        )

    def block(self, config, dtype, get, site):
        room = site.prefix + "deepspeed_moe."
        count = self.experts(config, site)

        def mlp(prefix):
            return ungated(get, prefix, self.NAMES, "gelu", biases=True)

        def capacity(n):
            slots = n / count * config["moe_eval_capacity_factor"]
            slots = math.ceil(slots * config["topk"])
            return max(slots, config["moe_min_capacity"])

        residual = config["mlp_type"] == "residual"
        bias = "coefficient.bias"
        return Block(
            dtype,
            get(room + "gate.wg.weight"),
            config["topk"],
            [
                mlp(f"{room}experts.deepspeed_experts.{e}.")
                for e in range(count)
            ],
            round_weights=True,
            normalize="after_drop" if config["topk"] == 2 else "",
            capacity=capacity if config["moe_token_dropping"] else None,
            residual=mlp(site.prefix + "mlp.") if residual else None,
            coefficient=(
                get(site.prefix + "coefficient.weight") if residual else None
            ),
            coefficient_bias=get(site.prefix + bias) if residual else None,
        )


class DeepSpeedTop2(DeepSpeed):
    variant = "top2"
    skew = 0.8
    wants_drops = True
    more = dict(
        num_experts=[6], mlp_type="standard", topk=2, moe_token_dropping=True
    )


FAMILIES = [
    cls()
    for cls in (
        Switch, NllbMoe, NllbMoeCapacity, GShard, VMoe, LiMoe, DeepSpeed,
        DeepSpeedTop2,
    )
]
