// RUN: %python %moe_src_root/test/Pipelines/semantics.py --tokens=5,17,40 %s

// Statistics of a router that drops pairs in every way it can: before capacity,
// by capacity, and at experts that do nothing; the regret of preferring some.

!routing = !moe.routing<experts = 6, per_token = 3>
!plain = !moe.routing<experts = 8, per_token = 2>

moe.weight @router : tensor<8x16xf32> from ["router"]
moe.weight @bias : tensor<8xf32> from ["bias"]

func.func @statistics(%x: tensor<?x16xf32>)
    -> (tensor<6xi64>, tensor<6xi64>, tensor<6xf32>, tensor<8xf32>,
        tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<2xf32>,
        tensor<1xf32>) {
  %w = moe.get_weight @router : tensor<8x16xf32>
  %b = moe.get_weight @bias : tensor<8xf32>
  %l = moe.router_logits ins(%x, %w)
      : tensor<?x16xf32>, tensor<8x16xf32> -> tensor<?x8xf32>
  %r = moe.route %l bias(%b)
      policy<score = sqrt_softplus, bias_after_first, top_k = 3,
             null_experts = 2, normalize, keep = top_p 0.7,
             capacity = factor 1.0 every 8 by priority>
      : tensor<?x8xf32>, tensor<8xf32> -> !routing
  %n = moe.expert_counts %r chosen : !routing -> tensor<6xi64>
  %m = moe.expert_counts %r : !routing -> tensor<6xi64>
  %f = moe.expert_fractions %m : tensor<6xi64> -> tensor<6xf32>
  %p = moe.mean_scores sqrt_softplus %l normalized
      : tensor<?x8xf32> -> tensor<8xf32>
  %a = moe.load_balance_loss softmax %l by %r every 5
      : tensor<?x8xf32>, !routing -> tensor<1xf32>
  %g = moe.load_balance_loss sigmoid %l by %r first_choice per_choice
      : tensor<?x8xf32>, !routing -> tensor<1xf32>
  %i = moe.importance_loss %r : !routing -> tensor<1xf32>
  %resident = arith.constant dense<[0, 1, 0, 0, 1, 0, 0, 1]> : tensor<8xi32>
  %s = moe.route %l resident(%resident : tensor<8xi32>)
      policy<prefer = 0.2 beyond 1, top_k = 2, normalize>
      : tensor<?x8xf32> -> !plain
  %e = moe.routing_regret %s : !plain -> tensor<2xf32>
  %hundredth = arith.constant dense<0.01> : tensor<1xf32>
  %scaled = arith.mulf %a, %hundredth : tensor<1xf32>
  %sum = arith.addf %scaled, %g : tensor<1xf32>
  return %n, %m, %f, %p, %a, %g, %i, %e, %sum
      : tensor<6xi64>, tensor<6xi64>, tensor<6xf32>, tensor<8xf32>,
        tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<2xf32>,
        tensor<1xf32>
}
