// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Two layers in one function, each with a norm before and a residual after: the
// tensor code between the blocks becomes kernels of their own.

moe.weight @layers.0.norm : tensor<24xf32>
    from ["0.norm.weight"]
moe.weight @layers.0.router : tensor<4x24xf32>
    from ["0.gate.weight"]
moe.weight @layers.0.gate : tensor<4x20x24xf32>
    from ["layers.0.experts.{0..3}.gate"] stack
moe.weight @layers.0.up : tensor<4x20x24xf32>
    from ["layers.0.experts.{0..3}.up"] stack
moe.weight @layers.0.down : tensor<4x24x20xf32>
    from ["layers.0.experts.{0..3}.down"] stack
moe.weight @layers.1.norm : tensor<24xf32>
    from ["1.norm.weight"]
moe.weight @layers.1.router : tensor<4x24xf32>
    from ["1.gate.weight"]
moe.weight @layers.1.gate : tensor<4x20x24xf32>
    from ["layers.1.experts.{0..3}.gate"] stack
moe.weight @layers.1.up : tensor<4x20x24xf32>
    from ["layers.1.experts.{0..3}.up"] stack
moe.weight @layers.1.down : tensor<4x24x20xf32>
    from ["layers.1.experts.{0..3}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>
#col = affine_map<(m, n) -> (n)>

func.func @layers(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %i0 = arith.constant 0 : index
  %f0 = arith.constant 0.0 : f32
  %tiny = arith.constant 1.0e-6 : f32
  %size = arith.constant 24.0 : f32
  %num = tensor.dim %x, %i0 : tensor<?x24xf32>
  %wn0 = moe.get_weight @layers.0.norm : tensor<24xf32>
  %wr0 = moe.get_weight @layers.0.router : tensor<4x24xf32>
  %w0g = moe.get_weight @layers.0.gate : tensor<4x20x24xf32>
  %w0u = moe.get_weight @layers.0.up : tensor<4x20x24xf32>
  %w0d = moe.get_weight @layers.0.down : tensor<4x24x20xf32>
  %n0e = tensor.empty(%num) : tensor<?xf32>
  %n0z = linalg.fill ins(%f0 : f32) outs(%n0e : tensor<?xf32>)
      -> tensor<?xf32>
  %n0sum = linalg.generic {indexing_maps = [#id, #row],
                         iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<?x24xf32>) outs(%n0z : tensor<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %sq = arith.mulf %a, %a : f32
    %s = arith.addf %o, %sq : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %n0eh = tensor.empty(%num) : tensor<?x24xf32>
  %x0 = linalg.generic {indexing_maps = [#id, #row, #col, #id],
                        iterator_types = ["parallel", "parallel"]}
      ins(%x, %n0sum, %wn0 : tensor<?x24xf32>, tensor<?xf32>, tensor<24xf32>)
      outs(%n0eh : tensor<?x24xf32>) {
  ^bb0(%a: f32, %ss: f32, %g: f32, %o: f32):
    %mean = arith.divf %ss, %size : f32
    %eps = arith.addf %mean, %tiny : f32
    %inv = math.rsqrt %eps : f32
    %m = arith.mulf %a, %inv : f32
    %v = arith.mulf %m, %g : f32
    linalg.yield %v : f32
  } -> tensor<?x24xf32>
  %l0 = moe.router_logits ins(%x0, %wr0)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %r0 = moe.route %l0 policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs0 = moe.dispatch %x0 by %r0
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %ys0 = moe.experts ins(%xs0) weights(%w0g, %w0u, %w0d) by %r0
      : (tensor<?x24xf32>, tensor<4x20x24xf32>, tensor<4x20x24xf32>,
         tensor<4x24x20xf32>), !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %g: tensor<20x24xf32>, %u: tensor<20x24xf32>,
       %d: tensor<24x20xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x20xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x20xf32>)
        -> tensor<?x20xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x20xf32>, tensor<?x20xf32>)
        outs(%ef : tensor<?x20xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x20xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %p : tensor<?x24xf32>
  }
  %m0 = moe.combine %ys0 by %r0
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %y0 = arith.addf %x, %m0 : tensor<?x24xf32>
  %wn1 = moe.get_weight @layers.1.norm : tensor<24xf32>
  %wr1 = moe.get_weight @layers.1.router : tensor<4x24xf32>
  %w1g = moe.get_weight @layers.1.gate : tensor<4x20x24xf32>
  %w1u = moe.get_weight @layers.1.up : tensor<4x20x24xf32>
  %w1d = moe.get_weight @layers.1.down : tensor<4x24x20xf32>
  %n1e = tensor.empty(%num) : tensor<?xf32>
  %n1z = linalg.fill ins(%f0 : f32) outs(%n1e : tensor<?xf32>)
      -> tensor<?xf32>
  %n1sum = linalg.generic {indexing_maps = [#id, #row],
                         iterator_types = ["parallel", "reduction"]}
      ins(%y0 : tensor<?x24xf32>) outs(%n1z : tensor<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %sq = arith.mulf %a, %a : f32
    %s = arith.addf %o, %sq : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %n1eh = tensor.empty(%num) : tensor<?x24xf32>
  %x1 = linalg.generic {indexing_maps = [#id, #row, #col, #id],
                        iterator_types = ["parallel", "parallel"]}
      ins(%y0, %n1sum, %wn1 : tensor<?x24xf32>, tensor<?xf32>, tensor<24xf32>)
      outs(%n1eh : tensor<?x24xf32>) {
  ^bb0(%a: f32, %ss: f32, %g: f32, %o: f32):
    %mean = arith.divf %ss, %size : f32
    %eps = arith.addf %mean, %tiny : f32
    %inv = math.rsqrt %eps : f32
    %m = arith.mulf %a, %inv : f32
    %v = arith.mulf %m, %g : f32
    linalg.yield %v : f32
  } -> tensor<?x24xf32>
  %l1 = moe.router_logits ins(%x1, %wr1)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %r1 = moe.route %l1 policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs1 = moe.dispatch %x1 by %r1
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %ys1 = moe.experts ins(%xs1) weights(%w1g, %w1u, %w1d) by %r1
      : (tensor<?x24xf32>, tensor<4x20x24xf32>, tensor<4x20x24xf32>,
         tensor<4x24x20xf32>), !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>, %g: tensor<20x24xf32>, %u: tensor<20x24xf32>,
       %d: tensor<24x20xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x20xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x20xf32>)
        -> tensor<?x20xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%gate, %up : tensor<?x20xf32>, tensor<?x20xf32>)
        outs(%ef : tensor<?x20xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %neg = arith.negf %a : f32
      %exp = math.exp %neg : f32
      %den = arith.addf %exp, %one : f32
      %silu = arith.divf %a, %den : f32
      %mul = arith.mulf %silu, %b : f32
      linalg.yield %mul : f32
    } -> tensor<?x20xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %p : tensor<?x24xf32>
  }
  %m1 = moe.combine %ys1 by %r1
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %y1 = arith.addf %y0, %m1 : tensor<?x24xf32>
  return %y1 : tensor<?x24xf32>
}
