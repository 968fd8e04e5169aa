// Experts of experts: an outer router sends each token to two of three groups;
// each group has a router of its own, which sends the row to one of its four
// experts. Inner and outer results are weighted and summed level by level.

!routing_2_of_3 = !moe.routing<experts = 3, per_token = 2>
!routing_1_of_4 = !moe.routing<experts = 4, per_token = 1>
!routing_1_of_12 = !moe.routing<experts = 12, per_token = 1>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @outer : tensor<3x24xf32> from ["outer.weight"]
moe.weight @inner : tensor<3x4x24xf32> from ["inner.{0..2}.weight"] stack
moe.weight @w1 : tensor<12x40x24xf32> from ["experts.{0..11}.w1"] stack
moe.weight @w2 : tensor<12x24x40xf32> from ["experts.{0..11}.w2"] stack

func.func @mlp(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wo = moe.get_weight @outer : tensor<3x24xf32>
  %lo = moe.router_logits ins(%x, %wo)
      : tensor<?x24xf32>, tensor<3x24xf32> -> tensor<?x3xf32>
  %ro = moe.route %lo policy<score = softmax, top_k = 2, normalize>
      : tensor<?x3xf32> -> !routing_2_of_3
  %rows = moe.dispatch %x by %ro : tensor<?x24xf32>, !routing_2_of_3
      -> tensor<?x24xf32>
  %wi = moe.get_weight @inner : tensor<3x4x24xf32>
  %li = moe.grouped_logits ins(%rows, %wi) by %ro
      : tensor<?x24xf32>, tensor<3x4x24xf32>,
        !routing_2_of_3 -> tensor<?x4xf32>
  %ri = moe.route %li policy<score = softmax, top_k = 1>
      : tensor<?x4xf32> -> !routing_1_of_4
  %rn = moe.nest %ri in %ro
      : !routing_1_of_4, !routing_2_of_3 -> !routing_1_of_12
  %w1 = moe.get_weight @w1 : tensor<12x40x24xf32>
  %w2 = moe.get_weight @w2 : tensor<12x24x40xf32>
  %xs = moe.dispatch %rows by %rn : tensor<?x24xf32>, !routing_1_of_12
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%w1, %w2) by %rn
      : (tensor<?x24xf32>, tensor<12x40x24xf32>, tensor<12x24x40xf32>),
        !routing_1_of_12 -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %in: tensor<40x24xf32>, %out: tensor<24x40xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %h1 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %in : tensor<?x24xf32>, tensor<40x24xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h2 = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%h1 : tensor<?x40xf32>) outs(%ef : tensor<?x40xf32>) {
    ^bb0(%v: f32, %o: f32):
      %m = arith.maximumf %v, %zero : f32
      linalg.yield %m : f32
    } -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %h3 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h2, %out : tensor<?x40xf32>, tensor<24x40xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %h3 : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %rn : tensor<?x24xf32>, !routing_1_of_12
      -> tensor<?x24xf32>
  %z = moe.combine %y by %ro : tensor<?x24xf32>, !routing_2_of_3
      -> tensor<?x24xf32>
  return %z : tensor<?x24xf32>
}
