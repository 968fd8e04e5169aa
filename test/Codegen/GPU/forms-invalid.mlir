// RUN: moe-opt %s -moe-select-gpu-config -split-input-file -verify-diagnostics

// Every form without GPU code is refused by its name, before any code is made.

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'capacity'}}
  moe.kernel.select_topk ins(%l : memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<top_k = 2, capacity = factor 1.25 by choice>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index,
    %r: memref<?xi32>) on cuda {
  // expected-error @below {{GPUs do not have 'prefer'}}
  moe.kernel.select_topk ins(%l : memref<?xf32>)
      resident(%r : memref<?xi32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<top_k = 2, prefer = 1.0 beyond 1>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index,
    %b: memref<?xf32>) on cuda {
  // expected-error @below {{GPUs do not have 'bias_after_first'}}
  moe.kernel.select_topk ins(%l, %b : memref<?xf32>, memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<top_k = 2, bias_after_first>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'weights = sparsemixer'}}
  moe.kernel.select_topk ins(%l : memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<score = none, top_k = 2,
          weights = sparsemixer jitter 0.01>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index,
    %r: memref<?xf32>) on cuda {
  // expected-error @below {{GPUs do not have 'keep = random'}}
  moe.kernel.select_topk ins(%l : memref<?xf32>)
      random(%r : memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<top_k = 2, keep = random 0.2>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %eo: memref<?xi32>,
    %rt: memref<?xi32>,
    %rw: memref<?xf32>,
    %to: memref<?xi32>,
    %tr: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'null_experts'}}
  moe.kernel.route_rows ins(%l : memref<?xf32>)
      outs(%i, %w, %eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xf32>,
           memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<top_k = 2, null_experts = 2>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %eo: memref<?xi32>,
    %rt: memref<?xi32>,
    %rw: memref<?xf32>,
    %to: memref<?xi32>,
    %tr: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'weights = sparsemixer'}}
  moe.kernel.route_rows ins(%l : memref<?xf32>)
      outs(%i, %w, %eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xf32>,
           memref<?xi32>, memref<?xi32>, memref<?xf32>, memref<?xi32>, memref<?xi32>) tokens(%n)
      {experts = 8 : i64, policy = #moe.policy<score = none, top_k = 2,
                                     weights = sparsemixer jitter 0.01>}
}

// -----

plan.kernel @k(%i: memref<?xi32>,
    %w: memref<?xf32>,
    %j: memref<?xi32>,
    %v: memref<?xf32>,
    %d: memref<?xi32>,
    %o: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'capacity'}}
  moe.kernel.apply_capacity ins(%i, %w : memref<?xi32>, memref<?xf32>)
      outs(%j, %v, %d : memref<?xi32>, memref<?xf32>, memref<?xi32>)
      scratch(%o : memref<?xi32>) tokens(%n)
      {experts = 8 : i64,
       policy = #moe.policy<top_k = 2, capacity = slots 4 by position>}
}

// -----

plan.kernel @k(%a: memref<?xf32>,
    %b: memref<?xf32>,
    %i: memref<?xi32>,
    %w: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.route_products'}}
  moe.kernel.select_products ins(%a, %b : memref<?xf32>, memref<?xf32>)
      outs(%i, %w : memref<?xi32>, memref<?xf32>) tokens(%n)
      {first_size = 8 : i64, second_size = 8 : i64,
       policy = #moe.policy<score = none, top_k = 2>}
}

// -----

plan.kernel @k(%l: memref<?xf32>,
    %eo: memref<?xi32>,
    %rt: memref<?xi32>,
    %rw: memref<?xf32>,
    %to: memref<?xi32>,
    %tr: memref<?xi32>,
    %k: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.choose_tokens (expert choice)'}}
  moe.kernel.choose_rows ins(%l : memref<?xf32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
          memref<?xf32>, memref<?xi32>, memref<?xi32>)
      scratch(%k : memref<?xi32>) tokens(%n)
      {experts = 8 : i64, score = #moe<token_score softmax>,
       capacity = #moe.capacity<factor 2.0>}
}

// -----

plan.kernel @k(%a: memref<?xi32>,
    %b: memref<?xi32>,
    %c: memref<?xf32>,
    %d: memref<?xi32>,
    %e: memref<?xi32>,
    %eo: memref<?xi32>,
    %rt: memref<?xi32>,
    %rw: memref<?xf32>,
    %to: memref<?xi32>,
    %tr: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.restrict'}}
  moe.kernel.slice_rows ins(%a, %b, %c, %d, %e : memref<?xi32>, memref<?xi32>,
      memref<?xf32>, memref<?xi32>, memref<?xi32>)
      outs(%eo, %rt, %rw, %to, %tr : memref<?xi32>, memref<?xi32>,
          memref<?xf32>, memref<?xi32>, memref<?xi32>)
      tokens(%n) {begin = 1 : i64, end = 3 : i64}
}

// -----

plan.kernel @k(%x: memref<?xf32>,
    %w: memref<?xf32>,
    %eo: memref<?xi32>,
    %l: memref<?xf32>) on cuda {
  // expected-error @below {{GPUs do not have 'moe.grouped_logits'}}
  moe.kernel.row_logits ins(%x, %w, %eo : memref<?xf32>, memref<?xf32>, memref<?xi32>)
      outs(%l : memref<?xf32>)
      {experts = 4 : i64, inner_experts = 4 : i64, hidden = 8 : i64}
}

// -----

plan.kernel @k(%i: memref<?xi32>,
    %eo: memref<?xi32>,
    %j: memref<?xi32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.nest'}}
  moe.kernel.nest_ids ins(%i, %eo : memref<?xi32>, memref<?xi32>)
      outs(%j : memref<?xi32>) tokens(%n)
      {experts = 4 : i64, inner_experts = 4 : i64, per_token = 2 : i64}
}

// -----

plan.kernel @k(%i: memref<?xi32>,
    %c: memref<?xi64>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.expert_counts ... chosen'}}
  moe.kernel.count_ids ins(%i : memref<?xi32>) outs(%c : memref<?xi64>)
      tokens(%n) {experts = 4 : i64, per_token = 2 : i64}
}

// -----

plan.kernel @k(%s: memref<?xi64>,
    %o: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.random'}}
  moe.kernel.random ins(%s : memref<?xi64>) outs(%o : memref<?xf32>)
      tokens(%n) {columns = 4 : i64, stream = 0 : i64,
                  distribution = #moe<distribution gumbel>}
}

// -----

plan.kernel @k(%t: memref<?xf32>,
    %i: memref<?xi32>,
    %o: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'moe.lookup'}}
  moe.kernel.lookup_rows ins(%t, %i : memref<?xf32>, memref<?xi32>)
      outs(%o : memref<?xf32>) tokens(%n) {size = 9 : i64, columns = 4 : i64}
}

// -----

plan.kernel @k(%a: memref<?xf32>,
    %o: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'statistics of a router, or soft dispatch'}}
  moe.kernel.fold_rows rows(%a : memref<?xf32>) outs(%o : memref<?xf32>) inits [0.0]
      tokens(%n) {
  ^bb0(%i: index, %r: tensor<1x8xf32>, %s: tensor<1x8xf32>):
    %t = arith.addf %s, %r : tensor<1x8xf32>
    moe.yield %t : tensor<1x8xf32>
  }
}

// -----

plan.kernel @k(%x: memref<?xf32>,
    %w: memref<?xf32>,
    %o: memref<?xf32>,
    %n: index) on cuda {
  // expected-error @below {{GPUs do not have 'cosine' logits}}
  moe.kernel.router_logits ins(%x, %w : memref<?xf32>, memref<?xf32>)
      outs(%o : memref<?xf32>) tokens(%n)
      {experts = 4 : i64, hidden = 8 : i64, cosine = 1.0e-6 : f32}
}

// -----

plan.kernel @k(%ys: memref<?xf32>,
    %to: memref<?xi32>,
    %rw: memref<?xf32>,
    %o: memref<?xf32>,
    %eo: memref<?xi32>) on cuda {
  // expected-error @below {{GPUs do not have rows other than tokens (constant tensors, slots, experts within experts)}}
  %c4 = arith.constant 4 : index
  %p = memref.load %eo[%c4] : memref<?xi32>
  %n = arith.index_cast %p : i32 to index
  moe.kernel.combine_rows rows(%ys : memref<?xf32>)
      offsets(%to : memref<?xi32>) indices(%to : memref<?xi32>)
      weights(%rw : memref<?xf32>) outs(%o : memref<?xf32>) tokens(%n)
      {hidden = 8 : i64}
}
