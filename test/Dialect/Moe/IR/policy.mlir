// RUN: moe-opt %s | moe-opt | FileCheck %s

// Defaults are not printed, the score function always is.
// CHECK-LABEL: func.func private @minimal
// CHECK-SAME: #moe.policy<score = softmax, top_k = 1>
func.func private @minimal() attributes {moe.test = #moe.policy<top_k = 1>}

// Clauses come in any order and go in one.
// CHECK-LABEL: func.func private @everything
// CHECK-SAME: #moe.policy<score = sigmoid, groups = 8 keep 4 by top2_sum, top_k = 8, normalize epsilon 9.99999968E-21, scale = 2.5, round_weights = bf16>
func.func private @everything() attributes {moe.test =
  #moe.policy<round_weights = bf16, scale = 2.5, normalize epsilon 1.0e-20,
              top_k = 8, groups = 8 keep 4 by top2_sum, score = sigmoid>}

// CHECK-LABEL: func.func private @softmax_of_chosen
// CHECK-SAME: #moe.policy<score = none, top_k = 2, weights = softmax>
func.func private @softmax_of_chosen() attributes {moe.test =
  #moe.policy<score = none, top_k = 2, weights = softmax>}

// CHECK-LABEL: func.func private @groups_by_max
// CHECK-SAME: groups = 4 keep 1 by max
func.func private @groups_by_max() attributes {moe.test =
  #moe.policy<groups = 4 keep 1 by max, top_k = 2>}

// Numbers are f32 and survive printing whatever their size.
// CHECK-LABEL: func.func private @scales
// CHECK-SAME: scale = 0.1,
// CHECK-SAME: scale = -16.0,
// CHECK-SAME: scale = 1.0E+30,
// CHECK-SAME: scale = 1.4013E-45,
// CHECK-SAME: scale = 3.40282347E+38,
func.func private @scales() attributes {moe.test = [
  #moe.policy<top_k = 1, scale = 0.1, round_weights = f16>,
  #moe.policy<top_k = 1, scale = -16.0, round_weights = f16>,
  #moe.policy<top_k = 1, scale = 1.0e30, round_weights = f16>,
  #moe.policy<top_k = 1, scale = 1.4e-45, round_weights = f16>,
  #moe.policy<top_k = 1, scale = 3.4028235e38, round_weights = f16>]}

// A scale of 1 is none.
// CHECK-LABEL: func.func private @unit_scale
// CHECK-SAME: #moe.policy<score = softmax, top_k = 1, normalize>
func.func private @unit_scale() attributes {moe.test =
  #moe.policy<top_k = 1, scale = 1.0, normalize epsilon 0.0>}

// CHECK-LABEL: func.func private @scores
// CHECK-SAME: #moe.policy<score = sqrt_softplus, round_scores = f16, bias_after_first, top_k = 2>
// CHECK-SAME: #moe.policy<score = softmax, prefer = 0.25 beyond 1, top_k = 2>
// CHECK-SAME: #moe.policy<score = softmax, prefer = 3.0, top_k = 2, null_experts = 4>
func.func private @scores() attributes {moe.test = [
  #moe.policy<top_k = 2, bias_after_first, round_scores = f16,
              score = sqrt_softplus>,
  #moe.policy<top_k = 2, prefer = 0.25 beyond 1>,
  #moe.policy<null_experts = 4, top_k = 2, prefer = 3.0 beyond 0>]}

// CHECK-LABEL: func.func private @weights
// CHECK-SAME: #moe.policy<score = none, top_k = 2, weights = sigmoid>
// CHECK-SAME: #moe.policy<score = none, top_k = 2, weights = sparsemixer jitter 0.125>
// CHECK-SAME: #moe.policy<score = softmax, top_k = 2, weights = constant, scale = 0.5>
// CHECK-SAME: #moe.policy<score = softmax, top_k = 2, normalize by 2 at_least 0.001>
// CHECK-SAME: #moe.policy<score = softmax, top_k = 2, normalize by 1 epsilon 0.5 after_drop, keep = top_p 0.75>
func.func private @weights() attributes {moe.test = [
  #moe.policy<score = none, top_k = 2, weights = sigmoid>,
  #moe.policy<score = none, top_k = 2, weights = sparsemixer jitter 0.125>,
  #moe.policy<top_k = 2, weights = constant, scale = 0.5>,
  #moe.policy<top_k = 2, normalize by 2 at_least 0.001>,
  #moe.policy<top_k = 2, keep = top_p 0.75,
              normalize by 1 epsilon 0.5 after_drop>]}

// CHECK-LABEL: func.func private @pairs_that_stay
// CHECK-SAME: top_k = 2, keep = threshold 0.2>
// CHECK-SAME: top_k = 2, keep = random 0.2>
// CHECK-SAME: top_k = 2, capacity = factor 1.25 by choice>
// CHECK-SAME: top_k = 2, capacity = tokens 0.5 floor min 4 multiple 8 every 1024 by priority>
// CHECK-SAME: top_k = 2, keep = threshold 0.2, capacity = slots 16 every 64 by weight>
func.func private @pairs_that_stay() attributes {moe.test = [
  #moe.policy<top_k = 2, keep = threshold 0.2>,
  #moe.policy<top_k = 2, keep = random 0.2>,
  #moe.policy<top_k = 2, capacity = factor 1.25 by choice>,
  #moe.policy<top_k = 2, capacity = tokens 0.5 floor min 4 multiple 8
              every 1024 by priority>,
  #moe.policy<top_k = 2, capacity = slots 16 every 64 by weight,
              keep = threshold 0.2>]}

// CHECK-LABEL: func.func private @capacities
// CHECK-SAME: #moe.capacity<factor 1.25 floor min 4 multiple 4 every 1024>
// CHECK-SAME: #moe.capacity<tokens 0.125>
// CHECK-SAME: #moe.capacity<slots 3 every 7>
func.func private @capacities() attributes {moe.test = [
  #moe.capacity<factor 1.25 floor min 4 multiple 4 every 1024>,
  #moe.capacity<tokens 0.125 min 1 multiple 1>,
  #moe.capacity<slots 3 every 7>]}
