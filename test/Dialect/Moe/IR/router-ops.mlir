// RUN: moe-opt %s | moe-opt | FileCheck %s
// RUN: moe-opt %s --mlir-print-op-generic | moe-opt | FileCheck %s
// RUN: moe-opt %s --emit-bytecode | moe-opt | FileCheck %s

// CHECK-LABEL: func.func @moe_router_logits_cosine
func.func @moe_router_logits_cosine(%x: tensor<?x64xf32>, %w: tensor<8x64xf32>,
                                    %b: tensor<8xf32>) {
  // CHECK: moe.router_logits ins(%{{.*}}, %{{.*}}, %{{.*}}) round f16 cosine 9.99999997E-7 : tensor<?x64xf32>, tensor<8x64xf32>, tensor<8xf32> -> tensor<?x8xf32>
  %0 = moe.router_logits ins(%x, %w, %b) round f16 cosine 1.0e-6
      : tensor<?x64xf32>, tensor<8x64xf32>, tensor<8xf32> -> tensor<?x8xf32>
  // CHECK: moe.router_logits ins(%{{.*}}, %{{.*}}) cosine 0.000000e+00 : tensor
  %1 = moe.router_logits ins(%x, %w) cosine 0.0
      : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return
}

// CHECK-LABEL: func.func @moe_route_operands
// CHECK-SAME: (%[[L:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<?x8xf32>, %[[P:.*]]: tensor<8xi32>, %[[U:.*]]: tensor<?x2xf32>)
func.func @moe_route_operands(%l: tensor<?x8xf32>, %b: tensor<?x8xf32>,
                              %p: tensor<8xi32>, %u: tensor<?x2xf32>) {
  // CHECK: moe.route %[[L]] bias(%[[B]]) resident(%[[P]] : tensor<8xi32>) random(%[[U]] : tensor<?x2xf32>) policy<score = softmax, prefer = 0.25 beyond 1, top_k = 2, keep = random 0.2> : tensor<?x8xf32>, tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 2>
  %0 = moe.route %l bias(%b) resident(%p : tensor<8xi32>)
      random(%u : tensor<?x2xf32>)
      policy<top_k = 2, prefer = 0.25 beyond 1, keep = random 0.2>
      : tensor<?x8xf32>, tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 2>
  // Two of the eight do nothing.
  // CHECK: moe.route %[[L]] policy<score = softmax, top_k = 6, null_experts = 2> : tensor<?x8xf32> -> !moe.routing<experts = 6, per_token = 6>
  %1 = moe.route %l policy<top_k = 6, null_experts = 2>
      : tensor<?x8xf32> -> !moe.routing<experts = 6, per_token = 6>
  // CHECK: moe.expert_counts %{{.*}} chosen : !moe.routing<experts = 6, per_token = 6> -> tensor<6xi64>
  %n = moe.expert_counts %1 chosen
      : !moe.routing<experts = 6, per_token = 6> -> tensor<6xi64>
  return
}

// CHECK-LABEL: func.func @moe_dispatch_weighted
func.func @moe_dispatch_weighted(
    %x: tensor<?x64xbf16>, %r: !moe.routing<experts = 8, per_token = 2>) {
  // CHECK: moe.dispatch %{{.*}} by %{{.*}} weighted : tensor<?x64xbf16>
  %xs = moe.dispatch %x by %r weighted
      : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xbf16>
  // CHECK: moe.combine %{{.*}} by %{{.*}} unweighted : tensor<?x64xbf16>
  %y = moe.combine %xs by %r unweighted
      : tensor<?x64xbf16>, !moe.routing<experts = 8, per_token = 2>
      -> tensor<?x64xbf16>
  return
}

// CHECK-LABEL: func.func @moe_choose_tokens
func.func @moe_choose_tokens(%l: tensor<?x8xf32>) {
  // CHECK: moe.choose_tokens %{{.*}} score softmax capacity<factor 2.0> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
  %0 = moe.choose_tokens %l score softmax capacity <factor 2.0>
      : tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
  // CHECK: moe.choose_tokens %{{.*}} score softmax_over_tokens capacity<slots 3> average scale 2.500000e+00 round bf16 : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
  %1 = moe.choose_tokens %l score softmax_over_tokens capacity <slots 3>
      average scale 2.5 round bf16 : tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 8, rows = 0, extra = 24>
  // Whoever competes in groups may be taken by all.
  // CHECK: capacity<tokens 0.125 floor min 2 multiple 4 every 64> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8>
  %2 = moe.choose_tokens %l score none
      capacity <tokens 0.125 floor min 2 multiple 4 every 64>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8>
  // CHECK: capacity<tokens 0.125 min 2 multiple 4> : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 8, rows = 1, extra = 56>
  %3 = moe.choose_tokens %l score none
      capacity <tokens 0.125 min 2 multiple 4> : tensor<?x8xf32>
      -> !moe.routing<experts = 8, per_token = 8, rows = 1, extra = 56>
  return
}

// CHECK-LABEL: func.func @moe_route_products
func.func @moe_route_products(%a: tensor<?x1024xf32>, %b: tensor<?x512xf32>) {
  // CHECK: moe.route_products %{{.*}}, %{{.*}} policy<score = none, top_k = 16, weights = softmax> : tensor<?x1024xf32>, tensor<?x512xf32> -> !moe.routing<experts = 524288, per_token = 16>
  %r = moe.route_products %a, %b
      policy<score = none, top_k = 16, weights = softmax>
      : tensor<?x1024xf32>, tensor<?x512xf32>
      -> !moe.routing<experts = 524288, per_token = 16>
  return
}

// CHECK-LABEL: func.func @moe_restrict
func.func @moe_restrict(
    %r: !moe.routing<experts = 768, per_token = 12>,
    %s: !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>) {
  // CHECK: moe.restrict %{{.*}}[0, 512] : !moe.routing<experts = 768, per_token = 12> -> !moe.routing<experts = 512, per_token = 12>
  %0 = moe.restrict %r[0, 512] : !moe.routing<experts = 768, per_token = 12>
      -> !moe.routing<experts = 512, per_token = 12>
  // CHECK: moe.restrict %{{.*}}[764, 768] : !moe.routing<experts = 768, per_token = 12> -> !moe.routing<experts = 4, per_token = 4>
  %1 = moe.restrict %r[764, 768] : !moe.routing<experts = 768, per_token = 12>
      -> !moe.routing<experts = 4, per_token = 4>
  // CHECK: -> !moe.routing<experts = 4, per_token = 4, rows = 2, extra = 24>
  %2 = moe.restrict %s[2, 6]
      : !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
      -> !moe.routing<experts = 4, per_token = 4, rows = 2, extra = 24>
  // Two experts have at most two rows of a token.
  // CHECK: -> !moe.routing<experts = 2, per_token = 2>
  %3 = moe.restrict %s[2, 4]
      : !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
      -> !moe.routing<experts = 2, per_token = 2>
  // The bound of the whole is allowed as well.
  // CHECK: -> !moe.routing<experts = 2, per_token = 2, rows = 2, extra = 24>
  %4 = moe.restrict %s[2, 4]
      : !moe.routing<experts = 8, per_token = 8, rows = 2, extra = 24>
      -> !moe.routing<experts = 2, per_token = 2, rows = 2, extra = 24>
  return
}

// CHECK-LABEL: func.func @moe_hierarchy
func.func @moe_hierarchy(
    %x: tensor<?x64xbf16>, %w: tensor<4x8x64xf32>,
    %outer: !moe.routing<experts = 4, per_token = 2>) {
  %xs = moe.dispatch %x by %outer
      : tensor<?x64xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x64xbf16>
  // CHECK: moe.grouped_logits ins(%{{.*}}, %{{.*}}) by %{{.*}} : tensor<?x64xbf16>, tensor<4x8x64xf32>, !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
  %l = moe.grouped_logits ins(%xs, %w) by %outer
      : tensor<?x64xbf16>, tensor<4x8x64xf32>,
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x8xf32>
  %inner = moe.route %l policy<top_k = 1>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 1>
  // CHECK: moe.nest %{{.*}} in %{{.*}} : !moe.routing<experts = 8, per_token = 1>, !moe.routing<experts = 4, per_token = 2> -> !moe.routing<experts = 32, per_token = 1>
  %n = moe.nest %inner in %outer
      : !moe.routing<experts = 8, per_token = 1>,
        !moe.routing<experts = 4, per_token = 2>
      -> !moe.routing<experts = 32, per_token = 1>
  return
}

// CHECK-LABEL: func.func @moe_random
func.func @moe_random(%s: tensor<1xi64>, %l: tensor<?x8xf32>) {
  // CHECK: moe.random uniform seed(%{{.*}}) like %{{.*}} stream 1 : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x2xf32>
  %u = moe.random uniform seed(%s) like %l stream 1
      : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x2xf32>
  // CHECK: moe.random normal seed(%{{.*}}) like %{{.*}} : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  %n = moe.random normal seed(%s) like %l stream 0
      : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK: moe.random gumbel seed
  %g = moe.random gumbel seed(%s) like %l stream 65535
      : tensor<1xi64>, tensor<?x8xf32> -> tensor<?x8xf32>
  return
}

// CHECK-LABEL: func.func @moe_lookup
func.func @moe_lookup(%t: tensor<50000x2xi32>, %f: tensor<3x8xbf16>,
                      %i: tensor<?xi32>) {
  // CHECK: moe.lookup %{{.*}}[%{{.*}}] : tensor<50000x2xi32>, tensor<?xi32> -> tensor<?x2xi32>
  %0 = moe.lookup %t[%i] : tensor<50000x2xi32>, tensor<?xi32>
      -> tensor<?x2xi32>
  // CHECK: moe.lookup %{{.*}}[%{{.*}}] : tensor<3x8xbf16>, tensor<?xi32> -> tensor<?x8xbf16>
  %1 = moe.lookup %f[%i] : tensor<3x8xbf16>, tensor<?xi32> -> tensor<?x8xbf16>
  return
}

// CHECK-LABEL: func.func @moe_soft
func.func @moe_soft(%x: tensor<?x64xbf16>, %l: tensor<?x16xf32>) {
  // CHECK: moe.soft_dispatch %{{.*}} by %{{.*}} : tensor<?x64xbf16>, tensor<?x16xf32> -> tensor<16x64xbf16>
  %s = moe.soft_dispatch %x by %l
      : tensor<?x64xbf16>, tensor<?x16xf32> -> tensor<16x64xbf16>
  // CHECK: moe.soft_combine %{{.*}} by %{{.*}} : tensor<16x64xbf16>, tensor<?x16xf32> -> tensor<?x64xbf16>
  %y = moe.soft_combine %s by %l
      : tensor<16x64xbf16>, tensor<?x16xf32> -> tensor<?x64xbf16>
  return
}
