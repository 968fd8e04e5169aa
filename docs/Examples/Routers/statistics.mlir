// Load statistics and training quantities as further results: counts,
// fractions, mean scores, the load-balance losses of Hugging Face, Switch and
// DeepSeek (sequence-wise), the z-loss, the importance loss, and one step of
// the bias that balances without a loss.

!routing = !moe.routing<experts = 8, per_token = 2>

moe.weight @router : tensor<8x24xf32> from ["gate.weight"]
moe.weight @bias : tensor<8xf32> from ["gate.bias"]

func.func @statistics(%x: tensor<?x24xf32>)
      -> (tensor<8xi64>, tensor<8xf32>, tensor<8xf32>, tensor<1xf32>,
        tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>,
        tensor<8xf32>) {
  %wr = moe.get_weight @router : tensor<8x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %b = moe.get_weight @bias : tensor<8xf32>
  %r = moe.route %l bias(%b) policy<score = softmax, top_k = 2>
      : tensor<?x8xf32>, tensor<8xf32>
      -> !routing
  %n = moe.expert_counts %r : !routing -> tensor<8xi64>
  %f = moe.expert_fractions %n : tensor<8xi64> -> tensor<8xf32>
  %p = moe.mean_scores softmax %l : tensor<?x8xf32> -> tensor<8xf32>
  %hf = moe.load_balance_loss softmax %l by %r
      : tensor<?x8xf32>, !routing -> tensor<1xf32>
  %sw = moe.load_balance_loss softmax %l by %r first_choice
      : tensor<?x8xf32>, !routing -> tensor<1xf32>
  %ds = moe.load_balance_loss sigmoid %l by %r normalized per_choice every 16
      : tensor<?x8xf32>, !routing -> tensor<1xf32>
  %z = moe.router_z_loss %l : tensor<?x8xf32> -> tensor<1xf32>
  %i = moe.importance_loss %r : !routing -> tensor<1xf32>
  %b2 = moe.update_bias %b by %n rate 1.0e-3
      : tensor<8xf32>, tensor<8xi64> -> tensor<8xf32>
  return %n, %f, %p, %hf, %sw, %ds, %z, %i, %b2
      : tensor<8xi64>, tensor<8xf32>, tensor<8xf32>, tensor<1xf32>,
        tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>,
        tensor<8xf32>
}
