#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""GShard's block as Mesh TensorFlow runs it: see requirements-mesh.txt."""

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.framework import ops, tensor_conversion_registry

import tensorfile

# Mesh TensorFlow 0.1.21 expects it where older TensorFlow had it.
ops.register_tensor_conversion_function = (
    tensor_conversion_registry.register_tensor_conversion_function
)

import mesh_tensorflow as mtf  # noqa: E402
from mesh_tensorflow.transformer import moe  # noqa: E402

tf.disable_v2_behavior()
tf.logging.set_verbosity(tf.logging.ERROR)


def versions():
    return {
        "mesh-tensorflow": "0.1.21",
        "tensorflow": tf.__version__,
    }


def _settings(config, n):
    factor = config["capacity_factor"]
    policy = config["second_expert_policy"]
    return moe.HParams(
        moe_gating="top_2",
        moe_num_experts=config["num_experts"],
        moe_hidden_size=config["intermediate_size"],
        moe_group_size=n,
        moe_capacity_factor_train=factor,
        moe_capacity_factor_eval=factor,
        moe_min_expert_capacity=config["min_capacity"],
        moe_use_second_place_loss=False,
        moe_second_policy_train=policy,
        moe_second_policy_eval=policy,
        moe_second_threshold_train=0.0,
        moe_second_threshold_eval=0.0,
        moe_dropout_rate=0.0,
        moe_loss_coef=0.0,
        moe_word_embed_mode=None,
        moe_use_experts_attention=False,
        moe_z_loss=None,
    )


def oracle(config, tensors, site):
    """Runs transformer_moe_layer_v1 on rows, with this block's weights."""

    def get(name):
        return tensorfile.to_f32(tensors[site.prefix + name])

    experts = range(config["num_experts"])
    values = {
        "top_2_gating/kernel": get("gate.weight").T,
        "wi/kernel": np.stack(
            [get(f"experts.{e}.wi.weight").T for e in experts]
        ),
        "wo/kernel": np.stack(
            [get(f"experts.{e}.wo.weight").T for e in experts]
        ),
    }

    def run(x):
        rows = tensorfile.to_f32(x)
        n, hidden = rows.shape
        kind = tf.bfloat16 if x.dtype == "BF16" else tf.float32
        tf.reset_default_graph()
        graph = mtf.Graph()
        mesh = mtf.Mesh(graph, "mesh")
        depth = mtf.Dimension("d_model", hidden)
        shape = mtf.Shape(
            [mtf.Dimension("batch", 1), mtf.Dimension("length", n), depth]
        )
        given = tf.cast(tf.constant(rows[None]), kind)
        gating = moe._top_2_gating
        seen = []

        def watched(*arguments, **options):
            result = gating(*arguments, **options)
            seen.append(result[1])
            return result

        moe._top_2_gating = watched
        try:
            output, _ = moe.transformer_moe_layer_v1(
                mtf.import_tf_tensor(mesh, given, shape),
                depth,
                _settings(config, n),
                False,
                mtf.VariableDType(tf.float32, tf.float32, kind),
                layout=mtf.convert_to_layout_rules([]),
                mesh_shape=mtf.convert_to_shape([]),
            )
        finally:
            moe._top_2_gating = gating
        combine = seen[0]
        combine = mtf.reduce_sum(
            combine, reduced_dim=combine.shape.dims[-1]
        )
        implementation = mtf.placement_mesh_impl.PlacementMeshImpl(
            shape=[], layout={}, devices=[""]
        )
        lowering = mtf.Lowering(graph, {mesh: implementation})
        wanted = [
            tf.cast(lowering.export_to_tf_tensor(t), tf.float32)
            for t in (output, combine)
        ]
        with tf.Session() as session:
            for variable in tf.global_variables():
                name = variable.name.split(":")[0]
                variable.load(values[name], session)
            session.run(lowering.copy_masters_to_slices())
            output, weights = session.run(wanted)
        logits = rows @ values["top_2_gating/kernel"]
        shape = (n, config["num_experts"])
        return output.reshape(rows.shape), logits, weights.reshape(shape)

    return run
