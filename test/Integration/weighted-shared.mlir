// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Routed experts whose rows are weighted on the way in, and a shared one: one
// GEMM with two segments.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>

moe.weight @llama4.router : tensor<4x24xf32>
    from ["llama4.router"]
moe.weight @llama4.gate : tensor<4x20x24xf32>
    from ["llama4.gate"]
moe.weight @llama4.up : tensor<4x20x24xf32>
    from ["llama4.up"]
moe.weight @llama4.down : tensor<4x24x20xf32>
    from ["llama4.down"]
moe.weight @llama4.shared.gate : tensor<1x36x24xf32>
    from ["llama4.shared.gate"]
moe.weight @llama4.shared.up : tensor<1x36x24xf32>
    from ["llama4.shared.up"]
moe.weight @llama4.shared.down : tensor<1x24x36xf32>
    from ["llama4.shared.down"]

func.func @llama4(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @llama4.router : tensor<4x24xf32>
  %w.gate = moe.get_weight @llama4.gate : tensor<4x20x24xf32>
  %w.up = moe.get_weight @llama4.up : tensor<4x20x24xf32>
  %w.down = moe.get_weight @llama4.down : tensor<4x24x20xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = none, top_k = 1, weights = sigmoid>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 1>
  %xs = moe.dispatch %x by %routing weighted
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<4x20x24xf32>, tensor<4x20x24xf32>,
         tensor<4x24x20xf32>),
        !moe.routing<experts = 4, per_token = 1> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %gate: tensor<20x24xf32>,
       %up: tensor<20x24xf32>,
       %down: tensor<24x20xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x20xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x20xf32>)
        -> tensor<?x20xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x24xf32>, tensor<20x24xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %ei = tensor.empty(%n) : tensor<?x20xf32>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x20xf32>, tensor<?x20xf32>)
        outs(%ei : tensor<?x20xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      linalg.yield %r : f32
    } -> tensor<?x20xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x20xf32>, tensor<24x20xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %c.down : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %routing unweighted
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 1>
      -> tensor<?x24xf32>
  %s.w.gate = moe.get_weight @llama4.shared.gate : tensor<1x36x24xf32>
  %s.w.up = moe.get_weight @llama4.shared.up : tensor<1x36x24xf32>
  %s.w.down = moe.get_weight @llama4.shared.down : tensor<1x24x36xf32>
  %s.routing = moe.assign_all %x : tensor<?x24xf32>
      -> !moe.routing<experts = 1, per_token = 1>
  %s.xs = moe.dispatch %x by %s.routing
      : tensor<?x24xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x24xf32>
  %s.ys = moe.experts ins(%s.xs)
      weights(%s.w.gate, %s.w.up, %s.w.down) by %s.routing
      : (tensor<?x24xf32>, tensor<1x36x24xf32>, tensor<1x36x24xf32>,
         tensor<1x24x36xf32>),
        !moe.routing<experts = 1, per_token = 1> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %gate: tensor<36x24xf32>,
       %up: tensor<36x24xf32>,
       %down: tensor<24x36xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x36xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x36xf32>)
        -> tensor<?x36xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x24xf32>, tensor<36x24xf32>)
        outs(%zf : tensor<?x36xf32>) -> tensor<?x36xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x24xf32>, tensor<36x24xf32>)
        outs(%zf : tensor<?x36xf32>) -> tensor<?x36xf32>
    %ei = tensor.empty(%n) : tensor<?x36xf32>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x36xf32>, tensor<?x36xf32>)
        outs(%ei : tensor<?x36xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      linalg.yield %r : f32
    } -> tensor<?x36xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x36xf32>, tensor<24x36xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %c.down : tensor<?x24xf32>
  }
  %s.y = moe.combine %s.ys by %s.routing
      : tensor<?x24xf32>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x24xf32>
  %sum = arith.addf %y, %s.y : tensor<?x24xf32>
  return %sum : tensor<?x24xf32>
}

moe.weight @biased.router : tensor<3x40xbf16>
    from ["biased.router"]
moe.weight @biased.gate : tensor<3x18x40xbf16>
    from ["biased.gate"]
moe.weight @biased.up : tensor<3x18x40xbf16>
    from ["biased.up"]
moe.weight @biased.down : tensor<3x40x18xbf16>
    from ["biased.down"]
moe.weight @biased.gate_bias : tensor<3x18xbf16>
    from ["biased.gate_bias"]
moe.weight @biased.up_bias : tensor<3x18xbf16>
    from ["biased.up_bias"]
moe.weight @biased.down_bias : tensor<3x40xbf16>
    from ["biased.down_bias"]
moe.weight @biased.shared.gate : tensor<1x33x40xbf16>
    from ["biased.shared.gate"]
moe.weight @biased.shared.up : tensor<1x33x40xbf16>
    from ["biased.shared.up"]
moe.weight @biased.shared.down : tensor<1x40x33xbf16>
    from ["biased.shared.down"]
moe.weight @biased.shared.gate_bias : tensor<1x33xbf16>
    from ["biased.shared.gate_bias"]
moe.weight @biased.shared.up_bias : tensor<1x33xbf16>
    from ["biased.shared.up_bias"]
moe.weight @biased.shared.down_bias : tensor<1x40xbf16>
    from ["biased.shared.down_bias"]

func.func @biased(%x: tensor<?x40xbf16>) -> tensor<?x40xbf16> {
  %wr = moe.get_weight @biased.router : tensor<3x40xbf16>
  %w.gate = moe.get_weight @biased.gate : tensor<3x18x40xbf16>
  %w.up = moe.get_weight @biased.up : tensor<3x18x40xbf16>
  %w.down = moe.get_weight @biased.down : tensor<3x40x18xbf16>
  %w.gate_bias = moe.get_weight @biased.gate_bias : tensor<3x18xbf16>
  %w.up_bias = moe.get_weight @biased.up_bias : tensor<3x18xbf16>
  %w.down_bias = moe.get_weight @biased.down_bias : tensor<3x40xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x40xbf16>, tensor<3x40xbf16> -> tensor<?x3xf32>
  %routing = moe.route %l policy<score = sigmoid, top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %routing weighted
      : tensor<?x40xbf16>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x40xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x40xbf16>, tensor<3x18x40xbf16>, tensor<3x18x40xbf16>,
         tensor<3x40x18xbf16>, tensor<3x18xbf16>, tensor<3x18xbf16>,
         tensor<3x40xbf16>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>,
       %gate: tensor<18x40xbf16>,
       %up: tensor<18x40xbf16>,
       %down: tensor<40x18xbf16>,
       %gate_bias: tensor<18xbf16>,
       %up_bias: tensor<18xbf16>,
       %down_bias: tensor<40xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x18xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x18xf32>)
        -> tensor<?x18xf32>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x40xbf16>, tensor<18x40xbf16>)
        outs(%zf : tensor<?x18xf32>) -> tensor<?x18xf32>
    %d.gate = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %gate_bias : tensor<?x18xf32>, tensor<18xbf16>)
        outs(%ef : tensor<?x18xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x18xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x40xbf16>, tensor<18x40xbf16>)
        outs(%zf : tensor<?x18xf32>) -> tensor<?x18xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x18xf32>, tensor<18xbf16>)
        outs(%ef : tensor<?x18xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x18xf32>
    %ei = tensor.empty(%n) : tensor<?x18xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x18xf32>, tensor<?x18xf32>)
        outs(%ei : tensor<?x18xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %limit = arith.constant 7.0 : f32
      %lower = arith.constant -7.0 : f32
      %alpha = arith.constant 1.702 : f32
      %one = arith.constant 1.0 : f32
      %g = arith.minimumf %a, %limit : f32
      %u0 = arith.minimumf %b, %limit : f32
      %u = arith.maximumf %u0, %lower : f32
      %m = arith.mulf %g, %alpha : f32
      %neg = arith.negf %m : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %glu = arith.divf %g, %d : f32
      %u1 = arith.addf %u, %one : f32
      %r = arith.mulf %u1, %glu : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x18xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x18xbf16>, tensor<40x18xbf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %d.down = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.down, %down_bias : tensor<?x40xf32>, tensor<40xbf16>)
        outs(%eh : tensor<?x40xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x40xf32>
    %yt = arith.truncf %d.down : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %yt : tensor<?x40xbf16>
  }
  %y = moe.combine %ys by %routing unweighted
      : tensor<?x40xbf16>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x40xbf16>
  %s.w.gate = moe.get_weight @biased.shared.gate : tensor<1x33x40xbf16>
  %s.w.up = moe.get_weight @biased.shared.up : tensor<1x33x40xbf16>
  %s.w.down = moe.get_weight @biased.shared.down : tensor<1x40x33xbf16>
  %s.w.gate_bias = moe.get_weight @biased.shared.gate_bias : tensor<1x33xbf16>
  %s.w.up_bias = moe.get_weight @biased.shared.up_bias : tensor<1x33xbf16>
  %s.w.down_bias = moe.get_weight @biased.shared.down_bias : tensor<1x40xbf16>
  %s.routing = moe.assign_all %x : tensor<?x40xbf16>
      -> !moe.routing<experts = 1, per_token = 1>
  %s.xs = moe.dispatch %x by %s.routing
      : tensor<?x40xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x40xbf16>
  %s.ys = moe.experts ins(%s.xs)
      weights(%s.w.gate, %s.w.up, %s.w.down, %s.w.gate_bias, %s.w.up_bias,
         %s.w.down_bias) by %s.routing
      : (tensor<?x40xbf16>, tensor<1x33x40xbf16>, tensor<1x33x40xbf16>,
         tensor<1x40x33xbf16>, tensor<1x33xbf16>, tensor<1x33xbf16>,
         tensor<1x40xbf16>),
        !moe.routing<experts = 1, per_token = 1> -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>,
       %gate: tensor<33x40xbf16>,
       %up: tensor<33x40xbf16>,
       %down: tensor<40x33xbf16>,
       %gate_bias: tensor<33xbf16>,
       %up_bias: tensor<33xbf16>,
       %down_bias: tensor<40xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x33xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x33xf32>)
        -> tensor<?x33xf32>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x40xbf16>, tensor<33x40xbf16>)
        outs(%zf : tensor<?x33xf32>) -> tensor<?x33xf32>
    %d.gate = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %gate_bias : tensor<?x33xf32>, tensor<33xbf16>)
        outs(%ef : tensor<?x33xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x33xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x40xbf16>, tensor<33x40xbf16>)
        outs(%zf : tensor<?x33xf32>) -> tensor<?x33xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x33xf32>, tensor<33xbf16>)
        outs(%ef : tensor<?x33xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x33xf32>
    %ei = tensor.empty(%n) : tensor<?x33xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x33xf32>, tensor<?x33xf32>)
        outs(%ei : tensor<?x33xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %limit = arith.constant 7.0 : f32
      %lower = arith.constant -7.0 : f32
      %alpha = arith.constant 1.702 : f32
      %one = arith.constant 1.0 : f32
      %g = arith.minimumf %a, %limit : f32
      %u0 = arith.minimumf %b, %limit : f32
      %u = arith.maximumf %u0, %lower : f32
      %m = arith.mulf %g, %alpha : f32
      %neg = arith.negf %m : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %glu = arith.divf %g, %d : f32
      %u1 = arith.addf %u, %one : f32
      %r = arith.mulf %u1, %glu : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x33xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x33xbf16>, tensor<40x33xbf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %d.down = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.down, %down_bias : tensor<?x40xf32>, tensor<40xbf16>)
        outs(%eh : tensor<?x40xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x40xf32>
    %yt = arith.truncf %d.down : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %yt : tensor<?x40xbf16>
  }
  %s.y = moe.combine %s.ys by %s.routing
      : tensor<?x40xbf16>, !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x40xbf16>
  %sum = arith.addf %y, %s.y : tensor<?x40xbf16>
  return %sum : tensor<?x40xbf16>
}
