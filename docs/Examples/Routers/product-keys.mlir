// PEER: each token retrieves 4 of 144 tiny experts by product keys. The query
// has two halves, each compared with 12 sub-keys; expert (i, j) has the sum of
// their scores. An expert is one hidden unit: a vector in, GELU, a vector out.

!routing = !moe.routing<experts = 144, per_token = 4>

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>

moe.weight @keys1 : tensor<12x24xf32> from ["keys.0"]
moe.weight @keys2 : tensor<12x24xf32> from ["keys.1"]
moe.weight @down : tensor<144x1x24xf32> from ["down"]
moe.weight @up : tensor<144x24x1xf32> from ["up"]

func.func @peer(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %k1 = moe.get_weight @keys1 : tensor<12x24xf32>
  %k2 = moe.get_weight @keys2 : tensor<12x24xf32>
  %s1 = moe.router_logits ins(%x, %k1)
      : tensor<?x24xf32>, tensor<12x24xf32> -> tensor<?x12xf32>
  %s2 = moe.router_logits ins(%x, %k2)
      : tensor<?x24xf32>, tensor<12x24xf32> -> tensor<?x12xf32>
  %r = moe.route_products %s1, %s2
      policy<score = none, top_k = 4, weights = softmax>
      : tensor<?x12xf32>, tensor<?x12xf32>
      -> !routing
  %w1 = moe.get_weight @down : tensor<144x1x24xf32>
  %w2 = moe.get_weight @up : tensor<144x24x1xf32>
  %xs = moe.dispatch %x by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs) weights(%w1, %w2) by %r
      : (tensor<?x24xf32>, tensor<144x1x24xf32>, tensor<144x24x1xf32>),
        !routing -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %in: tensor<1x24xf32>, %out: tensor<24x1xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x1xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x1xf32>)
        -> tensor<?x1xf32>
    %h1 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %in : tensor<?x24xf32>, tensor<1x24xf32>)
        outs(%zf : tensor<?x1xf32>) -> tensor<?x1xf32>
    %h2 = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%h1 : tensor<?x1xf32>) outs(%ef : tensor<?x1xf32>) {
    ^bb0(%v: f32, %o: f32):
      %h = arith.constant 0.70710678 : f32
      %q = arith.constant 0.5 : f32
      %s = arith.mulf %v, %h : f32
      %e = math.erf %s : f32
      %p = arith.addf %e, %one : f32
      %g = arith.mulf %v, %p : f32
      %m = arith.mulf %g, %q : f32
      linalg.yield %m : f32
    } -> tensor<?x1xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %h3 = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h2, %out : tensor<?x1xf32>, tensor<24x1xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %h3 : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %r : tensor<?x24xf32>, !routing -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
