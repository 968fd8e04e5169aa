#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The families' own modules, loaded from a golden directory and run.

Needs torch and, by family, transformers 5, transformers 4 or deepspeed. An
oracle maps rows [n, H] (torch) to the output, the logits [n, E] and a matrix of
routing weights [n, E] whose zeros are pairs that were not chosen or dropped.
"""

import numpy as np

import catalog_tier_b
import tensorfile


def to_torch(tensor):
    import torch

    if tensor.dtype == "BF16":
        signed = tensor.data.view(np.int16).copy()
        return torch.from_numpy(signed).view(torch.bfloat16)
    return torch.from_numpy(tensor.data.copy())


def _scatter(logits, ids, weights):
    import torch

    matrix = torch.zeros(logits.shape)
    return matrix.scatter_(1, ids, weights.float())


def _router(name):
    """(logits, weights, ids) of the module's router, called with rows."""

    def route(module, rows):
        logits, weights, ids = getattr(module, name)(rows)
        return logits, _scatter(logits, ids, weights)

    return route


def _dbrx(module, rows):
    _, weights, ids = module.router(rows[None])
    logits = module.router.layer(rows)
    return logits, _scatter(logits, ids, weights)


def _deepseek(module, rows):
    import torch

    ids, weights, _ = module.gate(rows[None])
    logits = torch.nn.functional.linear(rows, module.gate.weight)
    return logits, _scatter(logits, ids, weights)


def _llama4(module, rows):
    scores, logits = module.router(rows)
    return logits, scores.float()


def _longcat(module, rows):
    import torch

    ids, weights = module.router(rows[None])
    classifier = module.router.classifier.weight
    logits = torch.nn.functional.linear(rows.float(), classifier.float())
    return logits, _scatter(logits, ids, weights)


def _jetmoe(module, rows):
    import torch

    _, token, gates, sizes, logits = module.router(rows)
    matrix = torch.zeros(logits.shape)
    experts = torch.repeat_interleave(
        torch.arange(len(sizes)), torch.tensor(sizes)
    )
    matrix[token, experts] = gates.float()
    return logits, matrix


def _switch(module, rows):
    mask, probabilities, logits = module.router(rows[None])
    return logits[0], (mask * probabilities)[0].float()


def _nllb(module, rows):
    _, weights = module.router(rows[None])
    logits = module.router.classifier(rows.float())
    return logits, weights.float() * (1 - module.moe_token_dropout)


def _deepspeed(module, rows):
    import torch

    gate = module.deepspeed_moe.gate
    combine = gate(rows)[1]
    logits = torch.nn.functional.linear(rows.float(), gate.wg.weight.float())
    # The block multiplies with weights of the rows' type.
    return logits, combine.sum(-1).to(rows.dtype).float()


ROUTES = {
    "deepseek": _deepseek,
    "deepseek_v2": _router("gate"),
    "qwen3_next": _router("gate"),
    "gpt_oss": _router("router"),
    "phimoe": _router("router"),
    "dbrx": _dbrx,
    "llama4_text": _llama4,
    "llama4": _llama4,
    "jamba": _router("router"),
    "longcat_flash": _longcat,
    "jetmoe": _jetmoe,
    "switch_transformers": _switch,
    "nllb-moe": _nllb,
    "deepspeed_moe": _deepspeed,
}

# NLLB's block takes a padding mask, whose default is no mask at all.
EXTRA = {"nllb-moe": (None,)}


def _transformers(family, path):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    kind = transformers.AutoModelForCausalLM
    if family.model_type in ("switch_transformers", "nllb-moe"):
        kind = transformers.AutoModelForSeq2SeqLM
    if family.model_type == "llama4":
        kind = transformers.Llama4ForConditionalGeneration
    options = {"output_loading_info": True}
    if family.loader == "v5":
        options.update(dtype="auto", experts_implementation="eager")
    else:
        options.update(torch_dtype="auto")
    model, info = kind.from_pretrained(path, **options)
    model.eval()
    found = [
        (name, module)
        for name, module in model.named_modules()
        if type(module).__name__ == family.block_class
    ]
    lost = [
        key
        for key in info["missing_keys"]
        if any(key.startswith(name + ".") for name, _ in found)
    ]
    lost += list(info["unexpected_keys"]) + list(info["mismatched_keys"])
    if lost:
        raise SystemExit(f"{path}: not loaded: {sorted(lost)[:4]}")
    return [module for _, module in found], {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }


def _deepspeed_modules(family, path, config, tensors, sites):
    import deepspeed
    import torch
    from deepspeed.moe.layer import MoE

    torch.set_num_threads(1)
    hidden, width = config["hidden_size"], config["ffn_hidden_size"]

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.dense_h_to_4h = torch.nn.Linear(hidden, width)
            self.dense_4h_to_h = torch.nn.Linear(width, hidden)

        def forward(self, x):
            h = torch.nn.functional.gelu(self.dense_h_to_4h(x))
            return self.dense_4h_to_h(h)

    modules = []
    for site in sites:
        module = MoE(
            hidden,
            Mlp(),
            num_experts=family.experts(config, site),
            k=config["topk"],
            eval_capacity_factor=config["moe_eval_capacity_factor"],
            min_capacity=config["moe_min_capacity"],
            use_residual=config["mlp_type"] == "residual",
            drop_tokens=config["moe_token_dropping"],
            use_rts=False,
            top2_2nd_expert_sampling=False,
        )
        state = _state(tensors, site)
        module.load_state_dict(state)
        module.to(next(iter(state.values())).dtype).eval()
        modules.append(module)
    return modules, {
        "torch": torch.__version__.split("+")[0],
        "deepspeed": deepspeed.__version__,
    }


def _deepseek_modules(config, tensors, sites):
    """DeepSeek's modeling_deepseek.py lies in package deepseek_moe."""
    import torch
    import transformers
    from deepseek_moe import modeling_deepseek

    torch.set_num_threads(1)
    settings = transformers.PretrainedConfig(**config)
    settings.pretraining_tp = 1
    modules = []
    for site in sites:
        module = modeling_deepseek.DeepseekMoE(settings)
        state = _state(tensors, site)
        module.load_state_dict(state)
        module.to(next(iter(state.values())).dtype).eval()
        modules.append(module)
    return modules, {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }


def _state(tensors, site):
    """The block's tensors as torch's, by their names in the module."""
    return {
        name[len(site.prefix) :]: to_torch(tensor)
        for name, tensor in tensors.items()
        if name.startswith(site.prefix)
    }


def _vmoe_oracle(config, tensors, site):
    """The authors' block; vmoe and vit_jax are checkouts on PYTHONPATH."""
    import jax
    import jax.numpy as jnp
    from vmoe.nn import vit_moe

    moe = config["encoder"]["moe"]
    params = {}
    for name, tensor in tensors.items():
        if not name.startswith(site.prefix):
            continue
        room = params
        *path, last = name[len(site.prefix) :].split("/")
        for step in path:
            room = room.setdefault(step, {})
        room[last] = jnp.asarray(tensorfile.to_f32(tensor))

    def run(x):
        kind = jnp.bfloat16 if x.dtype == "BF16" else jnp.float32
        rows = jnp.asarray(tensorfile.to_f32(x)).astype(kind)
        block = vit_moe.MlpMoeBlock(
            mlp_dim=config["encoder"]["mlp_dim"],
            num_experts=moe["num_experts"],
            group_size=len(rows),
            deterministic=True,
            router=moe["router"],
            dtype=kind,
        )
        with jax.default_matmul_precision("highest"):
            output, _ = block.apply({"params": params}, rows[None])
            router = block.create_router()
            room = {"params": params["Router"]}
            dispatcher, _ = router.apply(room, rows[None])
            kernel = params["Router"]["dense"]["kernel"].astype(kind)
            logits = rows @ kernel
        weights = dispatcher.combine_weights[0].sum(axis=-1)
        return tuple(
            np.asarray(v.astype(jnp.float32))
            for v in (output[0], logits, weights)
        )

    return run


def _grok_oracle(config, tensors, site):
    """xAI's block; model.py lies on PYTHONPATH in package grok_1."""
    import haiku
    import jax
    import jax.numpy as jnp
    from grok_1 import model

    count, hidden = config["num_experts"], config["hidden_size"]
    mesh = jax.sharding.Mesh(
        np.array(jax.devices()[:1]).reshape(1, 1), ("data", "model")
    )

    def dense(h):
        return model.DenseBlock(
            num_q_heads=1,
            num_kv_heads=1,
            key_size=1,
            # The width is two thirds of this times H.
            widening_factor=(1.5 * config["intermediate_size"] + 0.5) / hidden,
            mesh=mesh,
        )(h)

    def block(x):
        chosen = config["num_experts_per_tok"]
        router = model.Router(num_selected_experts=chosen, mesh=mesh)
        layer = model.MoELayer(
            num_experts=count, layer_fn=dense, router=router, mesh=mesh
        )
        output = layer._inference_call(x)
        return output, router.compute_routing_prob(x, None, count)

    def matrix(name, kind):
        return jnp.asarray(tensorfile.to_f32(tensors[name]).T).astype(kind)

    params = {
        "router": {"w": matrix(site.prefix + "router.weight", jnp.float32)}
    }
    for part in ("linear", "linear_v", "linear_1"):
        stack = jnp.stack(
            [
                matrix(f"{site.prefix}moe.{e}.{part}.weight", jnp.bfloat16)
                for e in range(count)
            ]
        )
        # Weights are 8-bit numbers and scales there; scales of 1 keep ours.
        params[part] = {
            "w": model.QuantizedWeight8bit(stack, jnp.ones_like(stack))
        }
    transformed = haiku.transform(block)

    def run(x):
        rows = jnp.asarray(tensorfile.to_f32(x)).astype(jnp.bfloat16)
        with mesh:
            output, routing = transformed.apply(params, None, rows[None])
        scores, logits = routing[0][0], routing[1][0]
        gates, ids = jax.lax.top_k(scores, config["num_experts_per_tok"])
        weights = np.zeros(scores.shape, np.float32)
        gates = np.asarray(gates.astype(jnp.bfloat16).astype(jnp.float32))
        np.put_along_axis(weights, np.asarray(ids), gates, axis=-1)
        output = output[0].astype(jnp.float32)
        return np.asarray(output), np.asarray(logits), weights

    return run


def _torch_oracle(family, module):
    import torch

    def run(x):
        with torch.no_grad():
            rows = to_torch(x)
            output = module(rows[None], *EXTRA.get(family.model_type, ()))
            if isinstance(output, tuple):
                output = output[0]
            logits, weights = ROUTES[family.model_type](module, rows)
        return (
            output.reshape(rows.shape).float().numpy(),
            logits.float().numpy(),
            weights.float().numpy(),
        )

    return run


def _numpy_oracle(family, config, tensors, site):
    values = {name: tensorfile.to_f32(t) for name, t in tensors.items()}

    def run(x):
        output, pairs, logits = catalog_tier_b.FUNCTIONS[family.model_type](
            config,
            values,
            site.prefix,
            tensorfile.to_f32(x),
            x.dtype == "BF16",
        )
        weights = np.zeros(logits.shape)
        for token, mine in enumerate(pairs):
            for expert, weight in mine:
                weights[token, expert] = weight
        return output, logits, weights

    return run


def load(family, path, config, tensors, sites):
    """An oracle per site, and the versions of what they run."""
    if family.tier == "B":
        oracles = [_numpy_oracle(family, config, tensors, s) for s in sites]
        return oracles, {}
    if family.loader == "vmoe":
        import flax
        import jax

        oracles = [_vmoe_oracle(config, tensors, site) for site in sites]
        return oracles, {"flax": flax.__version__, "jax": jax.__version__}
    if family.loader == "mesh":
        import catalog_mesh

        oracles = [catalog_mesh.oracle(config, tensors, s) for s in sites]
        return oracles, catalog_mesh.versions()
    if family.loader == "grok":
        import haiku
        import jax

        oracles = [_grok_oracle(config, tensors, site) for site in sites]
        return oracles, {"haiku": haiku.__version__, "jax": jax.__version__}
    if family.loader == "deepseek":
        modules, versions = _deepseek_modules(config, tensors, sites)
    elif family.loader == "deepspeed":
        modules, versions = _deepspeed_modules(
            family, path, config, tensors, sites
        )
    else:
        modules, versions = _transformers(family, path)
    if len(modules) != len(sites):
        raise SystemExit(f"{path}: {len(modules)} blocks, not {len(sites)}")
    return [_torch_oracle(family, module) for module in modules], versions
