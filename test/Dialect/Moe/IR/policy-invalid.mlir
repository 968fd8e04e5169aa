// RUN: moe-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{C1: top_k must be at least 1, got 0}}
#moe_policy_c1 = #moe.policy<top_k = 0>

// -----

// expected-error @+1 {{C2: expected 1 <= keep < groups, got groups = 4 keep 4}}
#moe_policy_c2_all = #moe.policy<groups = 4 keep 4 by max, top_k = 2>

// -----

// expected-error @+1 {{C2: expected 1 <= keep < groups, got groups = 4 keep 0}}
#moe_policy_c2_none = #moe.policy<groups = 4 keep 0 by max, top_k = 2>

// -----

// expected-error @+1 {{C2: expected 1 <= keep < groups, got groups = 1 keep 1}}
#moe_policy_c2_one = #moe.policy<groups = 1 keep 1 by top2_sum, top_k = 2>

// -----

// expected-error @+1 {{C3: 'weights = softmax' contradicts 'score = sigmoid'}}
#moe_policy_c3_sigmoid = #moe.policy<score = sigmoid, top_k = 2, weights = softmax>

// -----

// expected-error @+1 {{C3: 'weights = softmax' sums to one already; remove 'normalize'}}
#moe_policy_c3_normalize = #moe.policy<top_k = 2, weights = softmax, normalize>

// -----

// expected-error @+1 {{C4: scale must be finite and not zero, got 0}}
#moe_policy_c4_zero = #moe.policy<top_k = 2, scale = 0.0>

// -----

// A scale that f32 cannot hold.
// expected-error @+1 {{C4: scale must be finite and not zero, got INF}}
#moe_policy_c4_infinite = #moe.policy<top_k = 2, scale = 1.0e60>

// -----

// expected-error @+1 {{C4: epsilon must be finite and not negative, got -1}}
#moe_policy_c4_negative = #moe.policy<top_k = 2, normalize epsilon -1.0>

// -----

// expected-error @+1 {{C5: round_weights must be bf16 or f16, got 'f32'}}
#moe_policy_c5 = #moe.policy<top_k = 2, round_weights = f32>

// -----

// expected-error @+1 {{a policy needs the clause 'top_k'}}
#missing_top_k = #moe.policy<score = softmax>

// -----

// expected-error @+1 {{clause 'top_k' is given twice}}
#twice = #moe.policy<top_k = 2, top_k = 3>

// -----

// expected-error @+1 {{unknown clause 'capacity'; expected score, groups, top_k, weights, normalize, scale or round_weights}}
#unknown_clause = #moe.policy<top_k = 2, capacity = 3>

// -----

// expected-error @+1 {{unknown score function 'relu'; expected none, softmax or sigmoid}}
#unknown_score = #moe.policy<score = relu, top_k = 2>

// -----

// expected-error @+1 {{unknown group filter 'mean'; expected max or top2_sum}}
#unknown_filter = #moe.policy<groups = 4 keep 2 by mean, top_k = 2>

// -----

// 'none' would say that the groups do nothing.
// expected-error @+1 {{unknown group filter 'none'; expected max or top2_sum}}
#filter_none = #moe.policy<groups = 4 keep 2 by none, top_k = 2>

// -----

// expected-error @+1 {{unknown weight source 'logits'; expected scores or softmax}}
#unknown_source = #moe.policy<top_k = 2, weights = logits>
