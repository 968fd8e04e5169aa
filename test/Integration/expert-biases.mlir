// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Experts whose products have biases, in several ways of writing them; no size
// divides by a vector.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>

// The clamped SwiGLU of gpt-oss.
moe.weight @gpt_oss.router : tensor<6x40xbf16>
    from ["gpt_oss.router"]
moe.weight @gpt_oss.gate : tensor<6x56x40xbf16>
    from ["gpt_oss.gate"]
moe.weight @gpt_oss.up : tensor<6x56x40xbf16>
    from ["gpt_oss.up"]
moe.weight @gpt_oss.down : tensor<6x40x56xbf16>
    from ["gpt_oss.down"]
moe.weight @gpt_oss.gate_bias : tensor<6x56xbf16>
    from ["gpt_oss.gate_bias"]
moe.weight @gpt_oss.up_bias : tensor<6x56xbf16>
    from ["gpt_oss.up_bias"]
moe.weight @gpt_oss.down_bias : tensor<6x40xbf16>
    from ["gpt_oss.down_bias"]

func.func @gpt_oss(%x: tensor<?x40xbf16>) -> tensor<?x40xbf16> {
  %wr = moe.get_weight @gpt_oss.router : tensor<6x40xbf16>
  %w.gate = moe.get_weight @gpt_oss.gate : tensor<6x56x40xbf16>
  %w.up = moe.get_weight @gpt_oss.up : tensor<6x56x40xbf16>
  %w.down = moe.get_weight @gpt_oss.down : tensor<6x40x56xbf16>
  %w.gate_bias = moe.get_weight @gpt_oss.gate_bias : tensor<6x56xbf16>
  %w.up_bias = moe.get_weight @gpt_oss.up_bias : tensor<6x56xbf16>
  %w.down_bias = moe.get_weight @gpt_oss.down_bias : tensor<6x40xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x40xbf16>, tensor<6x40xbf16> -> tensor<?x6xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 4>
      : tensor<?x6xf32> -> !moe.routing<experts = 6, per_token = 4>
  %xs = moe.dispatch %x by %routing
      : tensor<?x40xbf16>, !moe.routing<experts = 6, per_token = 4>
      -> tensor<?x40xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x40xbf16>, tensor<6x56x40xbf16>, tensor<6x56x40xbf16>,
         tensor<6x40x56xbf16>, tensor<6x56xbf16>, tensor<6x56xbf16>,
         tensor<6x40xbf16>),
        !moe.routing<experts = 6, per_token = 4> -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>,
       %gate: tensor<56x40xbf16>,
       %up: tensor<56x40xbf16>,
       %down: tensor<40x56xbf16>,
       %gate_bias: tensor<56xbf16>,
       %up_bias: tensor<56xbf16>,
       %down_bias: tensor<40xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x56xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x56xf32>)
        -> tensor<?x56xf32>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x40xbf16>, tensor<56x40xbf16>)
        outs(%zf : tensor<?x56xf32>) -> tensor<?x56xf32>
    %d.gate = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %gate_bias : tensor<?x56xf32>, tensor<56xbf16>)
        outs(%ef : tensor<?x56xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x56xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x40xbf16>, tensor<56x40xbf16>)
        outs(%zf : tensor<?x56xf32>) -> tensor<?x56xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x56xf32>, tensor<56xbf16>)
        outs(%ef : tensor<?x56xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x56xf32>
    %ei = tensor.empty(%n) : tensor<?x56xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x56xf32>, tensor<?x56xf32>)
        outs(%ei : tensor<?x56xbf16>) {
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
    } -> tensor<?x56xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x56xbf16>, tensor<40x56xbf16>)
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
    %y = arith.truncf %d.down : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %y : tensor<?x40xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x40xbf16>, !moe.routing<experts = 6, per_token = 4>
      -> tensor<?x40xbf16>
  return %y : tensor<?x40xbf16>
}

// The same in f32, with biases that are broadcast first.
moe.weight @gpt_oss_f32.router : tensor<5x24xf32>
    from ["gpt_oss_f32.router"]
moe.weight @gpt_oss_f32.gate : tensor<5x33x24xf32>
    from ["gpt_oss_f32.gate"]
moe.weight @gpt_oss_f32.up : tensor<5x33x24xf32>
    from ["gpt_oss_f32.up"]
moe.weight @gpt_oss_f32.down : tensor<5x24x33xf32>
    from ["gpt_oss_f32.down"]
moe.weight @gpt_oss_f32.gate_bias : tensor<5x33xf32>
    from ["gpt_oss_f32.gate_bias"]
moe.weight @gpt_oss_f32.up_bias : tensor<5x33xf32>
    from ["gpt_oss_f32.up_bias"]
moe.weight @gpt_oss_f32.down_bias : tensor<5x24xf32>
    from ["gpt_oss_f32.down_bias"]

func.func @gpt_oss_f32(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @gpt_oss_f32.router : tensor<5x24xf32>
  %w.gate = moe.get_weight @gpt_oss_f32.gate : tensor<5x33x24xf32>
  %w.up = moe.get_weight @gpt_oss_f32.up : tensor<5x33x24xf32>
  %w.down = moe.get_weight @gpt_oss_f32.down : tensor<5x24x33xf32>
  %w.gate_bias = moe.get_weight @gpt_oss_f32.gate_bias : tensor<5x33xf32>
  %w.up_bias = moe.get_weight @gpt_oss_f32.up_bias : tensor<5x33xf32>
  %w.down_bias = moe.get_weight @gpt_oss_f32.down_bias : tensor<5x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<5x24xf32> -> tensor<?x5xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x5xf32> -> !moe.routing<experts = 5, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x24xf32>, tensor<5x33x24xf32>, tensor<5x33x24xf32>,
         tensor<5x24x33xf32>, tensor<5x33xf32>, tensor<5x33xf32>,
         tensor<5x24xf32>),
        !moe.routing<experts = 5, per_token = 2> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %gate: tensor<33x24xf32>,
       %up: tensor<33x24xf32>,
       %down: tensor<24x33xf32>,
       %gate_bias: tensor<33xf32>,
       %up_bias: tensor<33xf32>,
       %down_bias: tensor<24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x33xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x33xf32>)
        -> tensor<?x33xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x24xf32>, tensor<33x24xf32>)
        outs(%zf : tensor<?x33xf32>) -> tensor<?x33xf32>
    %gate_biasall = linalg.broadcast ins(%gate_bias : tensor<33xf32>)
        outs(%ef : tensor<?x33xf32>) dimensions = [0]
    %d.gate = arith.addf %gate_biasall, %c.gate : tensor<?x33xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x24xf32>, tensor<33x24xf32>)
        outs(%zf : tensor<?x33xf32>) -> tensor<?x33xf32>
    %up_biasall = linalg.broadcast ins(%up_bias : tensor<33xf32>)
        outs(%ef : tensor<?x33xf32>) dimensions = [0]
    %d.up = arith.addf %up_biasall, %c.up : tensor<?x33xf32>
    %ei = tensor.empty(%n) : tensor<?x33xf32>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x33xf32>, tensor<?x33xf32>)
        outs(%ei : tensor<?x33xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
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
      linalg.yield %r : f32
    } -> tensor<?x33xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x33xf32>, tensor<24x33xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    %down_biasall = linalg.broadcast ins(%down_bias : tensor<24xf32>)
        outs(%eh : tensor<?x24xf32>) dimensions = [0]
    %d.down = arith.addf %down_biasall, %c.down : tensor<?x24xf32>
    moe.yield %d.down : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 5, per_token = 2>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// A classic MLP.
moe.weight @gelu_mlp.router : tensor<3x17xf32>
    from ["gelu_mlp.router"]
moe.weight @gelu_mlp.up : tensor<3x39x17xf32>
    from ["gelu_mlp.up"]
moe.weight @gelu_mlp.down : tensor<3x17x39xf32>
    from ["gelu_mlp.down"]
moe.weight @gelu_mlp.up_bias : tensor<3x39xf32>
    from ["gelu_mlp.up_bias"]
moe.weight @gelu_mlp.down_bias : tensor<3x17xf32>
    from ["gelu_mlp.down_bias"]

func.func @gelu_mlp(%x: tensor<?x17xf32>) -> tensor<?x17xf32> {
  %wr = moe.get_weight @gelu_mlp.router : tensor<3x17xf32>
  %w.up = moe.get_weight @gelu_mlp.up : tensor<3x39x17xf32>
  %w.down = moe.get_weight @gelu_mlp.down : tensor<3x17x39xf32>
  %w.up_bias = moe.get_weight @gelu_mlp.up_bias : tensor<3x39xf32>
  %w.down_bias = moe.get_weight @gelu_mlp.down_bias : tensor<3x17xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x17xf32>, tensor<3x17xf32> -> tensor<?x3xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 1>
  %xs = moe.dispatch %x by %routing
      : tensor<?x17xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x17xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.up, %w.down, %w.up_bias, %w.down_bias) by %routing
      : (tensor<?x17xf32>, tensor<3x39x17xf32>, tensor<3x17x39xf32>,
         tensor<3x39xf32>, tensor<3x17xf32>),
        !moe.routing<experts = 3, per_token = 1> -> tensor<?x17xf32> {
  ^bb0(%t: tensor<?x17xf32>,
       %up: tensor<39x17xf32>,
       %down: tensor<17x39xf32>,
       %up_bias: tensor<39xf32>,
       %down_bias: tensor<17xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x17xf32>
    %ef = tensor.empty(%n) : tensor<?x39xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x39xf32>)
        -> tensor<?x39xf32>
    %eh = tensor.empty(%n) : tensor<?x17xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x17xf32>)
        -> tensor<?x17xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x17xf32>, tensor<39x17xf32>)
        outs(%zf : tensor<?x39xf32>) -> tensor<?x39xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x39xf32>, tensor<39xf32>)
        outs(%ef : tensor<?x39xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<?x39xf32>
    %ei = tensor.empty(%n) : tensor<?x39xf32>
    %i = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.up : tensor<?x39xf32>)
        outs(%ei : tensor<?x39xf32>) {
    ^bb0(%a: f32, %o: f32):
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %root = arith.constant 0.707106769 : f32
      %m = arith.mulf %a, %root : f32
      %p = math.erf %m : f32
      %q = arith.addf %p, %one : f32
      %h = arith.mulf %a, %half : f32
      %r = arith.mulf %h, %q : f32
      linalg.yield %r : f32
    } -> tensor<?x39xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x39xf32>, tensor<17x39xf32>)
        outs(%zh : tensor<?x17xf32>) -> tensor<?x17xf32>
    %d.down = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.down, %down_bias : tensor<?x17xf32>, tensor<17xf32>)
        outs(%eh : tensor<?x17xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<?x17xf32>
    moe.yield %d.down : tensor<?x17xf32>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x17xf32>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x17xf32>
  return %y : tensor<?x17xf32>
}

moe.weight @gelu_mlp_bf16.router : tensor<4x64xbf16>
    from ["gelu_mlp_bf16.router"]
moe.weight @gelu_mlp_bf16.up : tensor<4x64x64xbf16>
    from ["gelu_mlp_bf16.up"]
moe.weight @gelu_mlp_bf16.down : tensor<4x64x64xbf16>
    from ["gelu_mlp_bf16.down"]
moe.weight @gelu_mlp_bf16.up_bias : tensor<4x64xbf16>
    from ["gelu_mlp_bf16.up_bias"]
moe.weight @gelu_mlp_bf16.down_bias : tensor<4x64xbf16>
    from ["gelu_mlp_bf16.down_bias"]

func.func @gelu_mlp_bf16(%x: tensor<?x64xbf16>) -> tensor<?x64xbf16> {
  %wr = moe.get_weight @gelu_mlp_bf16.router : tensor<4x64xbf16>
  %w.up = moe.get_weight @gelu_mlp_bf16.up : tensor<4x64x64xbf16>
  %w.down = moe.get_weight @gelu_mlp_bf16.down : tensor<4x64x64xbf16>
  %w.up_bias = moe.get_weight @gelu_mlp_bf16.up_bias : tensor<4x64xbf16>
  %w.down_bias = moe.get_weight @gelu_mlp_bf16.down_bias : tensor<4x64xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x64xbf16>, tensor<4x64xbf16> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x64xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x64xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.up, %w.down, %w.up_bias, %w.down_bias) by %routing
      : (tensor<?x64xbf16>, tensor<4x64x64xbf16>, tensor<4x64x64xbf16>,
         tensor<4x64xbf16>, tensor<4x64xbf16>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x64xbf16> {
  ^bb0(%t: tensor<?x64xbf16>,
       %up: tensor<64x64xbf16>,
       %down: tensor<64x64xbf16>,
       %up_bias: tensor<64xbf16>,
       %down_bias: tensor<64xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x64xbf16>
    %ef = tensor.empty(%n) : tensor<?x64xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x64xf32>)
        -> tensor<?x64xf32>
    %eh = tensor.empty(%n) : tensor<?x64xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x64xf32>)
        -> tensor<?x64xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x64xbf16>, tensor<64x64xbf16>)
        outs(%zf : tensor<?x64xf32>) -> tensor<?x64xf32>
    %up_bias32 = arith.extf %up_bias : tensor<64xbf16> to tensor<64xf32>
    %up_biasall = linalg.broadcast ins(%up_bias32 : tensor<64xf32>)
        outs(%ef : tensor<?x64xf32>) dimensions = [0]
    %d.up = arith.addf %up_biasall, %c.up : tensor<?x64xf32>
    %ei = tensor.empty(%n) : tensor<?x64xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.up : tensor<?x64xf32>)
        outs(%ei : tensor<?x64xbf16>) {
    ^bb0(%a: f32, %o: bf16):
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %cube = arith.constant 0.044715 : f32
      %root = arith.constant 0.797884583 : f32
      %a2 = arith.mulf %a, %a : f32
      %a3 = arith.mulf %a2, %a : f32
      %s = arith.mulf %a3, %cube : f32
      %i = arith.addf %a, %s : f32
      %m = arith.mulf %i, %root : f32
      %p = math.tanh %m : f32
      %q = arith.addf %p, %one : f32
      %h = arith.mulf %a, %half : f32
      %r = arith.mulf %h, %q : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x64xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x64xbf16>, tensor<64x64xbf16>)
        outs(%zh : tensor<?x64xf32>) -> tensor<?x64xf32>
    %down_bias32 = arith.extf %down_bias : tensor<64xbf16> to tensor<64xf32>
    %down_biasall = linalg.broadcast ins(%down_bias32 : tensor<64xf32>)
        outs(%eh : tensor<?x64xf32>) dimensions = [0]
    %d.down = arith.addf %down_biasall, %c.down : tensor<?x64xf32>
    %y = arith.truncf %d.down : tensor<?x64xf32> to tensor<?x64xbf16>
    moe.yield %y : tensor<?x64xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x64xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x64xbf16>
  return %y : tensor<?x64xbf16>
}
