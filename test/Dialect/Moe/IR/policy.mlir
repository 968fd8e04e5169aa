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
