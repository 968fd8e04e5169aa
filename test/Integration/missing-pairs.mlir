// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Policies with which a token has fewer pairs than top_k, or none.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>

// LongCat-Flash: some of the experts do nothing.
moe.weight @null_experts.router : tensor<9x24xf32>
    from ["null_experts.router"]
moe.weight @null_experts.gate : tensor<5x20x24xf32>
    from ["null_experts.gate"]
moe.weight @null_experts.up : tensor<5x20x24xf32>
    from ["null_experts.up"]
moe.weight @null_experts.down : tensor<5x24x20xf32>
    from ["null_experts.down"]

func.func @null_experts(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @null_experts.router : tensor<9x24xf32>
  %w.gate = moe.get_weight @null_experts.gate : tensor<5x20x24xf32>
  %w.up = moe.get_weight @null_experts.up : tensor<5x20x24xf32>
  %w.down = moe.get_weight @null_experts.down : tensor<5x24x20xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<9x24xf32> -> tensor<?x9xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 3, scale = 6.0,
      null_experts = 4>
      : tensor<?x9xf32> -> !moe.routing<experts = 5, per_token = 3>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<5x20x24xf32>, tensor<5x20x24xf32>,
         tensor<5x24x20xf32>),
        !moe.routing<experts = 5, per_token = 3> -> tensor<?x24xf32> {
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
  %y = moe.combine %ys by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

moe.weight @threshold.router : tensor<6x24xf32>
    from ["threshold.router"]
moe.weight @threshold.gate : tensor<6x20x24xf32>
    from ["threshold.gate"]
moe.weight @threshold.up : tensor<6x20x24xf32>
    from ["threshold.up"]
moe.weight @threshold.down : tensor<6x24x20xf32>
    from ["threshold.down"]

func.func @threshold(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @threshold.router : tensor<6x24xf32>
  %w.gate = moe.get_weight @threshold.gate : tensor<6x20x24xf32>
  %w.up = moe.get_weight @threshold.up : tensor<6x20x24xf32>
  %w.down = moe.get_weight @threshold.down : tensor<6x24x20xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<6x24xf32> -> tensor<?x6xf32>
  %routing = moe.route %l policy<score = sigmoid, top_k = 4,
     normalize after_drop,
      keep = threshold 0.5>
      : tensor<?x6xf32> -> !moe.routing<experts = 6, per_token = 4>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 6, per_token = 4>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<6x20x24xf32>, tensor<6x20x24xf32>,
         tensor<6x24x20xf32>),
        !moe.routing<experts = 6, per_token = 4> -> tensor<?x24xf32> {
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
  %y = moe.combine %ys by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 6, per_token = 4>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

moe.weight @top_p.router : tensor<9x32xbf16>
    from ["top_p.router"]
moe.weight @top_p.gate : tensor<9x24x32xbf16>
    from ["top_p.gate"]
moe.weight @top_p.up : tensor<9x24x32xbf16>
    from ["top_p.up"]
moe.weight @top_p.down : tensor<9x32x24xbf16>
    from ["top_p.down"]
moe.weight @top_p.gate_bias : tensor<9x24xbf16>
    from ["top_p.gate_bias"]
moe.weight @top_p.up_bias : tensor<9x24xbf16>
    from ["top_p.up_bias"]
moe.weight @top_p.down_bias : tensor<9x32xbf16>
    from ["top_p.down_bias"]

func.func @top_p(%x: tensor<?x32xbf16>) -> tensor<?x32xbf16> {
  %wr = moe.get_weight @top_p.router : tensor<9x32xbf16>
  %w.gate = moe.get_weight @top_p.gate : tensor<9x24x32xbf16>
  %w.up = moe.get_weight @top_p.up : tensor<9x24x32xbf16>
  %w.down = moe.get_weight @top_p.down : tensor<9x32x24xbf16>
  %w.gate_bias = moe.get_weight @top_p.gate_bias : tensor<9x24xbf16>
  %w.up_bias = moe.get_weight @top_p.up_bias : tensor<9x24xbf16>
  %w.down_bias = moe.get_weight @top_p.down_bias : tensor<9x32xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x32xbf16>, tensor<9x32xbf16> -> tensor<?x9xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 5, keep = top_p 0.5>
      : tensor<?x9xf32> -> !moe.routing<experts = 9, per_token = 5>
  %xs = moe.dispatch %x by %routing
      : tensor<?x32xbf16>, !moe.routing<experts = 9, per_token = 5>
      -> tensor<?x32xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x32xbf16>, tensor<9x24x32xbf16>, tensor<9x24x32xbf16>,
         tensor<9x32x24xbf16>, tensor<9x24xbf16>, tensor<9x24xbf16>,
         tensor<9x32xbf16>),
        !moe.routing<experts = 9, per_token = 5> -> tensor<?x32xbf16> {
  ^bb0(%t: tensor<?x32xbf16>,
       %gate: tensor<24x32xbf16>,
       %up: tensor<24x32xbf16>,
       %down: tensor<32x24xbf16>,
       %gate_bias: tensor<24xbf16>,
       %up_bias: tensor<24xbf16>,
       %down_bias: tensor<32xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x32xbf16>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %eh = tensor.empty(%n) : tensor<?x32xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x32xf32>)
        -> tensor<?x32xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x32xbf16>, tensor<24x32xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %d.gate = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %gate_bias : tensor<?x24xf32>, tensor<24xbf16>)
        outs(%ef : tensor<?x24xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x24xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x32xbf16>, tensor<24x32xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x24xf32>, tensor<24xbf16>)
        outs(%ef : tensor<?x24xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x24xf32>
    %ei = tensor.empty(%n) : tensor<?x24xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x24xf32>, tensor<?x24xf32>)
        outs(%ei : tensor<?x24xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x24xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x24xbf16>, tensor<32x24xbf16>)
        outs(%zh : tensor<?x32xf32>) -> tensor<?x32xf32>
    %d.down = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.down, %down_bias : tensor<?x32xf32>, tensor<32xbf16>)
        outs(%eh : tensor<?x32xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x32xf32>
    %y = arith.truncf %d.down : tensor<?x32xf32> to tensor<?x32xbf16>
    moe.yield %y : tensor<?x32xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x32xbf16>, !moe.routing<experts = 9, per_token = 5>
      -> tensor<?x32xbf16>
  return %y : tensor<?x32xbf16>
}

moe.weight @both.router : tensor<7x17xbf16>
    from ["both.router"]
moe.weight @both.up : tensor<5x16x17xbf16>
    from ["both.up"]
moe.weight @both.down : tensor<5x17x16xbf16>
    from ["both.down"]

func.func @both(%x: tensor<?x17xbf16>) -> tensor<?x17xbf16> {
  %wr = moe.get_weight @both.router : tensor<7x17xbf16>
  %w.up = moe.get_weight @both.up : tensor<5x16x17xbf16>
  %w.down = moe.get_weight @both.down : tensor<5x17x16xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x17xbf16>, tensor<7x17xbf16> -> tensor<?x7xf32>
  %routing = moe.route %l policy<score = sqrt_softplus, top_k = 3,
     normalize by 2,
      keep = threshold 0.5, null_experts = 2>
      : tensor<?x7xf32> -> !moe.routing<experts = 5, per_token = 3>
  %xs = moe.dispatch %x by %routing
      : tensor<?x17xbf16>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x17xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.up, %w.down) by %routing
      : (tensor<?x17xbf16>, tensor<5x16x17xbf16>, tensor<5x17x16xbf16>),
        !moe.routing<experts = 5, per_token = 3> -> tensor<?x17xbf16> {
  ^bb0(%t: tensor<?x17xbf16>,
       %up: tensor<16x17xbf16>,
       %down: tensor<17x16xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x17xbf16>
    %ef = tensor.empty(%n) : tensor<?x16xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %eh = tensor.empty(%n) : tensor<?x17xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x17xf32>)
        -> tensor<?x17xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x17xbf16>, tensor<16x17xbf16>)
        outs(%zf : tensor<?x16xf32>) -> tensor<?x16xf32>
    %ei = tensor.empty(%n) : tensor<?x16xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.up : tensor<?x16xf32>)
        outs(%ei : tensor<?x16xbf16>) {
    ^bb0(%a: f32, %o: bf16):
      %none = arith.constant 0.0 : f32
      %m = arith.maximumf %a, %none : f32
      %r = arith.mulf %m, %m : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x16xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x16xbf16>, tensor<17x16xbf16>)
        outs(%zh : tensor<?x17xf32>) -> tensor<?x17xf32>
    %y = arith.truncf %c.down : tensor<?x17xf32> to tensor<?x17xbf16>
    moe.yield %y : tensor<?x17xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x17xbf16>, !moe.routing<experts = 5, per_token = 3>
      -> tensor<?x17xbf16>
  return %y : tensor<?x17xbf16>
}
