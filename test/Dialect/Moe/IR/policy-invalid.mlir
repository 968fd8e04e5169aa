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

// expected-error @+1 {{C3: 'weights = softmax' contradicts 'score = sqrt_softplus'}}
#moe_policy_c3_sqrt = #moe.policy<score = sqrt_softplus, top_k = 2, weights = softmax>

// -----

// expected-error @+1 {{C3: 'weights = constant' with 'normalize' is a scale; write 'scale'}}
#moe_policy_c3_constant = #moe.policy<top_k = 2, weights = constant, normalize>

// -----

// expected-error @+1 {{C3: 'weights = constant' leaves 'keep' nothing to compare}}
#moe_policy_c3_constant_keep = #moe.policy<top_k = 2, weights = constant, keep = top_p 0.5>

// -----

// expected-error @+1 {{C3: 'weights = sparsemixer' needs 'score = none' and excludes groups and 'prefer'}}
#moe_policy_c3_sparsemixer = #moe.policy<top_k = 2, weights = sparsemixer jitter 0.1>

// -----

// expected-error @+1 {{C4: 'at_least' must be greater than 0}}
#moe_policy_c4_at_least = #moe.policy<top_k = 2, normalize at_least 0.0>

// -----

// expected-error @+1 {{C4: p must be 1 to 8, got 9}}
#moe_policy_c4_by = #moe.policy<top_k = 2, normalize by 9>

// -----

// expected-error @+1 {{C4: p must be 1 to 8, got 0}}
#moe_policy_c4_by_zero = #moe.policy<top_k = 2, normalize by 0>

// -----

// expected-error @+1 {{C5: round_scores must be bf16 or f16, got 'f32'}}
#moe_policy_c5_scores = #moe.policy<top_k = 2, round_scores = f32>

// -----

// expected-error @+1 {{C6: nothing is dropped; 'after_drop' needs 'keep' or 'capacity'}}
#moe_policy_c6 = #moe.policy<top_k = 2, normalize after_drop>

// -----

// expected-error @+1 {{C7: 'bias_after_first' needs top_k >= 2 and excludes groups and 'prefer'}}
#moe_policy_c7 = #moe.policy<top_k = 1, bias_after_first>

// -----

// expected-error @+1 {{C7: 'bias_after_first' needs top_k >= 2 and excludes groups and 'prefer'}}
#moe_policy_c7_prefer = #moe.policy<top_k = 2, bias_after_first, prefer = 0.1>

// -----

// expected-error @+1 {{C8: 'threshold' must be finite and greater than 0, got 0}}
#moe_policy_c8_keep = #moe.policy<top_k = 2, keep = threshold 0.0>

// -----

// expected-error @+1 {{C8: the first choice always stays; 'keep' needs top_k >= 2}}
#moe_policy_c8_keep_one = #moe.policy<top_k = 1, keep = top_p 0.5>

// -----

// expected-error @+1 {{C8: 'prefer' must be finite and not negative, got -1}}
#moe_policy_c8_prefer = #moe.policy<top_k = 2, prefer = -1.0>

// -----

// expected-error @+1 {{C8: 'jitter' must be finite and not negative, got -1}}
#moe_policy_c8_jitter = #moe.policy<score = none, top_k = 2, weights = sparsemixer jitter -1.0>

// -----

// expected-error @+1 {{C8: expected 0 <= J <= top_k in 'beyond J', got 3}}
#moe_policy_c8_beyond = #moe.policy<top_k = 2, prefer = 0.5 beyond 3>

// -----

// expected-error @+1 {{C9: null_experts must not be negative, got -1}}
#moe_policy_c9 = #moe.policy<top_k = 2, null_experts = -1>

// -----

// expected-error @+1 {{C1: 'factor' must be finite and greater than 0, got 0}}
#moe_capacity_c1 = #moe.capacity<factor 0.0>

// -----

// expected-error @+1 {{C1: 'tokens' must be finite and greater than 0, got -1}}
#moe_capacity_c1_negative = #moe.capacity<tokens -1.0>

// -----

// expected-error @+1 {{C3: 2305843009213693953 is not below 2^31}}
#moe_capacity_c3_slots = #moe.capacity<slots 2305843009213693953>

// -----

// expected-error @+1 {{C2: a capacity of 0 slots leaves no slot; expected at least 1}}
#moe_capacity_c2 = #moe.capacity<slots 0>

// -----

// expected-error @+1 {{C2: 'slots' is exact; remove 'floor', 'min' and 'multiple'}}
#moe_capacity_c2_floor = #moe.capacity<slots 4 floor>

// -----

// expected-error @+1 {{C3: 'min' must be at least 1, got 0}}
#moe_capacity_c3 = #moe.capacity<factor 1.0 min 0>

// -----

// expected-error @+1 {{C3: 'every' must be at least 1, got 0}}
#moe_capacity_c3_every = #moe.capacity<factor 1.0 every 0>

// -----

// expected-error @+1 {{unknown capacity 'rows'; expected factor, tokens or slots}}
#moe_capacity_kind = #moe.capacity<rows 4>

// -----

// expected-error @+1 {{unknown order 'age'; expected choice, position, weight or priority}}
#unknown_order = #moe.policy<top_k = 2, capacity = slots 4 by age>

// -----

// expected-error @+1 {{unknown rule 'half'; expected threshold, top_p or random}}
#unknown_rule = #moe.policy<top_k = 2, keep = half 0.5>

// -----

// expected-error @+1 {{a policy needs the clause 'top_k'}}
#missing_top_k = #moe.policy<score = softmax>

// -----

// expected-error @+1 {{clause 'top_k' is given twice}}
#twice = #moe.policy<top_k = 2, top_k = 3>

// -----

// expected-error @+1 {{unknown clause 'jitter'; expected score, round_scores, bias_after_first, prefer, groups, top_k, null_experts, weights, normalize, scale, round_weights, keep or capacity}}
#unknown_clause = #moe.policy<top_k = 2, jitter = 3>

// -----

// expected-error @+1 {{unknown score function 'relu'; expected none, softmax, sigmoid or sqrt_softplus}}
#unknown_score = #moe.policy<score = relu, top_k = 2>

// -----

// expected-error @+1 {{unknown group filter 'mean'; expected max or top2_sum}}
#unknown_filter = #moe.policy<groups = 4 keep 2 by mean, top_k = 2>

// -----

// 'none' would say that the groups do nothing.
// expected-error @+1 {{unknown group filter 'none'; expected max or top2_sum}}
#filter_none = #moe.policy<groups = 4 keep 2 by none, top_k = 2>

// -----

// expected-error @+1 {{unknown weight source 'logits'; expected scores, softmax, sigmoid, sparsemixer or constant}}
#unknown_source = #moe.policy<top_k = 2, weights = logits>
