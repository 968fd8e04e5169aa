#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""What the further families have in common: see catalog.py."""

from dataclasses import dataclass

from catalog_reference import Expert

DTYPES = {"F32": "float32", "BF16": "bfloat16"}


@dataclass(frozen=True)
class Site:
    """One MoE block: the function `<function>.mlp`, tensors at `prefix`."""

    function: str
    prefix: str
    index: int = 0  # among the MoE blocks of the model


@dataclass(frozen=True)
class Spec:
    """A tensor of the checkpoint. `fan` is what it is a sum over.

    kind: weight (normal / sqrt(fan)), bias, codes and exponents (MXFP4).
    """

    name: str
    shape: tuple
    fan: int = 1
    kind: str = "weight"
    dtype: str = ""  # of the model when empty
    gain: float = 1.0


class Family:
    """Defaults of a family; `variant` is what follows the dtype in a name."""

    name = ""
    model_type = ""
    variant = ""
    dtypes = ("f32", "bf16")
    tier = "A"
    source = ""
    reason = ""
    loader = "v5"
    block_class = ""
    skew = 0.0  # of the rows towards a common direction
    wants_drops = False
    prefix = "model.layers.{}.mlp."

    def config(self):
        raise NotImplementedError

    def moe_layers(self, config):
        return range(config["num_hidden_layers"])

    def sites(self, config):
        return [
            Site(f"layers.{layer}", self.prefix.format(layer), index)
            for index, layer in enumerate(self.moe_layers(config))
        ]

    def specs(self, config):
        """Tensors of all MoE blocks, and of dense layers where stored."""
        for site in self.sites(config):
            yield from self.block_specs(config, site)
        yield from self.dense_specs(config)

    def dense_specs(self, config):
        return ()

    def directory(self, dtype):
        """`dtype` as in a name (f32) or as safetensors spells it (F32)."""
        return "-".join(filter(None, (self.name, dtype.lower(), self.variant)))


def base(model_type, architecture, **more):
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "vocab_size": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config.update(more)
    return config


def weight(name, *shape, gain=1.0):
    """[out, in]."""
    return Spec(name, shape, shape[-1], gain=gain)


def turned(name, *shape, gain=1.0):
    """[.., in, out]."""
    return Spec(name, shape, shape[-2], gain=gain)


def gated_specs(prefix, hidden, width, names=("gate", "up", "down")):
    gate, up, down = names
    yield weight(f"{prefix}{gate}.weight", width, hidden)
    yield weight(f"{prefix}{up}.weight", width, hidden)
    yield weight(f"{prefix}{down}.weight", hidden, width)


PROJ = ("gate_proj", "up_proj", "down_proj")


def gated(get, prefix, names=PROJ, activation="silu"):
    gate, up, down = (get(f"{prefix}{name}.weight") for name in names)
    return Expert(gate, down, up, activation=activation)
