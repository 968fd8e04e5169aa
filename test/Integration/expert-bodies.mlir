// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Activations, weights that are not transposed, and rows that are weighted on
// the way in.

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#column = affine_map<(m, n) -> (n)>

// Llama 4 multiplies the rows by the sigmoid of their logit.
moe.weight @llama4.router : tensor<5x40xbf16>
    from ["llama4.router"]
moe.weight @llama4.gate : tensor<5x24x40xbf16>
    from ["llama4.gate"]
moe.weight @llama4.up : tensor<5x24x40xbf16>
    from ["llama4.up"]
moe.weight @llama4.down : tensor<5x40x24xbf16>
    from ["llama4.down"]

func.func @llama4(%x: tensor<?x40xbf16>) -> tensor<?x40xbf16> {
  %wr = moe.get_weight @llama4.router : tensor<5x40xbf16>
  %w.gate = moe.get_weight @llama4.gate : tensor<5x24x40xbf16>
  %w.up = moe.get_weight @llama4.up : tensor<5x24x40xbf16>
  %w.down = moe.get_weight @llama4.down : tensor<5x40x24xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x40xbf16>, tensor<5x40xbf16> -> tensor<?x5xf32>
  %routing = moe.route %l policy<score = sigmoid, top_k = 1>
      : tensor<?x5xf32> -> !moe.routing<experts = 5, per_token = 1>
  %xs = moe.dispatch %x by %routing weighted
      : tensor<?x40xbf16>, !moe.routing<experts = 5, per_token = 1>
      -> tensor<?x40xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x40xbf16>, tensor<5x24x40xbf16>, tensor<5x24x40xbf16>,
         tensor<5x40x24xbf16>),
        !moe.routing<experts = 5, per_token = 1> -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>,
       %gate: tensor<24x40xbf16>,
       %up: tensor<24x40xbf16>,
       %down: tensor<40x24xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x40xbf16>
    %ef = tensor.empty(%n) : tensor<?x24xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %eh = tensor.empty(%n) : tensor<?x40xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x40xbf16>, tensor<24x40xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x40xbf16>, tensor<24x40xbf16>)
        outs(%zf : tensor<?x24xf32>) -> tensor<?x24xf32>
    %ei = tensor.empty(%n) : tensor<?x24xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x24xf32>, tensor<?x24xf32>)
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
        ins(%i, %down : tensor<?x24xbf16>, tensor<40x24xbf16>)
        outs(%zh : tensor<?x40xf32>) -> tensor<?x40xf32>
    %y = arith.truncf %c.down : tensor<?x40xf32> to tensor<?x40xbf16>
    moe.yield %y : tensor<?x40xbf16>
  }
  %y = moe.combine %ys by %routing unweighted
      : tensor<?x40xbf16>, !moe.routing<experts = 5, per_token = 1>
      -> tensor<?x40xbf16>
  return %y : tensor<?x40xbf16>
}

moe.weight @llama4_f32.router : tensor<4x24xf32>
    from ["llama4_f32.router"]
moe.weight @llama4_f32.gate : tensor<4x20x24xf32>
    from ["llama4_f32.gate"]
moe.weight @llama4_f32.up : tensor<4x20x24xf32>
    from ["llama4_f32.up"]
moe.weight @llama4_f32.down : tensor<4x24x20xf32>
    from ["llama4_f32.down"]

func.func @llama4_f32(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @llama4_f32.router : tensor<4x24xf32>
  %w.gate = moe.get_weight @llama4_f32.gate : tensor<4x20x24xf32>
  %w.up = moe.get_weight @llama4_f32.up : tensor<4x20x24xf32>
  %w.down = moe.get_weight @llama4_f32.down : tensor<4x24x20xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = sigmoid, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing weighted
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<4x20x24xf32>, tensor<4x20x24xf32>,
         tensor<4x24x20xf32>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x24xf32> {
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
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

moe.weight @weighted_biased.router : tensor<3x33xbf16>
    from ["weighted_biased.router"]
moe.weight @weighted_biased.gate : tensor<3x40x33xbf16>
    from ["weighted_biased.gate"]
moe.weight @weighted_biased.up : tensor<3x40x33xbf16>
    from ["weighted_biased.up"]
moe.weight @weighted_biased.down : tensor<3x33x40xbf16>
    from ["weighted_biased.down"]
moe.weight @weighted_biased.gate_bias : tensor<3x40xbf16>
    from ["weighted_biased.gate_bias"]
moe.weight @weighted_biased.up_bias : tensor<3x40xbf16>
    from ["weighted_biased.up_bias"]
moe.weight @weighted_biased.down_bias : tensor<3x33xbf16>
    from ["weighted_biased.down_bias"]

func.func @weighted_biased(%x: tensor<?x33xbf16>) -> tensor<?x33xbf16> {
  %wr = moe.get_weight @weighted_biased.router : tensor<3x33xbf16>
  %w.gate = moe.get_weight @weighted_biased.gate : tensor<3x40x33xbf16>
  %w.up = moe.get_weight @weighted_biased.up : tensor<3x40x33xbf16>
  %w.down = moe.get_weight @weighted_biased.down : tensor<3x33x40xbf16>
  %w.gate_bias = moe.get_weight @weighted_biased.gate_bias : tensor<3x40xbf16>
  %w.up_bias = moe.get_weight @weighted_biased.up_bias : tensor<3x40xbf16>
  %w.down_bias = moe.get_weight @weighted_biased.down_bias : tensor<3x33xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x33xbf16>, tensor<3x33xbf16> -> tensor<?x3xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 2>
  %xs = moe.dispatch %x by %routing weighted
      : tensor<?x33xbf16>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x33xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x33xbf16>, tensor<3x40x33xbf16>, tensor<3x40x33xbf16>,
         tensor<3x33x40xbf16>, tensor<3x40xbf16>, tensor<3x40xbf16>,
         tensor<3x33xbf16>),
        !moe.routing<experts = 3, per_token = 2> -> tensor<?x33xbf16> {
  ^bb0(%t: tensor<?x33xbf16>,
       %gate: tensor<40x33xbf16>,
       %up: tensor<40x33xbf16>,
       %down: tensor<33x40xbf16>,
       %gate_bias: tensor<40xbf16>,
       %up_bias: tensor<40xbf16>,
       %down_bias: tensor<33xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x33xbf16>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x33xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x33xf32>)
        -> tensor<?x33xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x33xbf16>, tensor<40x33xbf16>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %d.gate = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %gate_bias : tensor<?x40xf32>, tensor<40xbf16>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x40xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x33xbf16>, tensor<40x33xbf16>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %d.up = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.up, %up_bias : tensor<?x40xf32>, tensor<40xbf16>)
        outs(%ef : tensor<?x40xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x40xf32>
    %ei = tensor.empty(%n) : tensor<?x40xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%d.gate, %d.up : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ei : tensor<?x40xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x40xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x40xbf16>, tensor<33x40xbf16>)
        outs(%zh : tensor<?x33xf32>) -> tensor<?x33xf32>
    %d.down = linalg.generic {indexing_maps = [#id, #column, #id],
                               iterator_types = ["parallel", "parallel"]}
        ins(%c.down, %down_bias : tensor<?x33xf32>, tensor<33xbf16>)
        outs(%eh : tensor<?x33xf32>) {
    ^bb0(%p: f32, %q: bf16, %o: f32):
      %qw = arith.extf %q : bf16 to f32
      %s = arith.addf %p, %qw : f32
      linalg.yield %s : f32
    } -> tensor<?x33xf32>
    %y = arith.truncf %d.down : tensor<?x33xf32> to tensor<?x33xbf16>
    moe.yield %y : tensor<?x33xbf16>
  }
  %y = moe.combine %ys by %routing unweighted
      : tensor<?x33xbf16>, !moe.routing<experts = 3, per_token = 2>
      -> tensor<?x33xbf16>
  return %y : tensor<?x33xbf16>
}

// Grok, Gemma: GeGLU with either approximation.
moe.weight @geglu_erf.router : tensor<4x24xf32>
    from ["geglu_erf.router"]
moe.weight @geglu_erf.gate : tensor<4x31x24xf32>
    from ["geglu_erf.gate"]
moe.weight @geglu_erf.up : tensor<4x31x24xf32>
    from ["geglu_erf.up"]
moe.weight @geglu_erf.down : tensor<4x24x31xf32>
    from ["geglu_erf.down"]

func.func @geglu_erf(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @geglu_erf.router : tensor<4x24xf32>
  %w.gate = moe.get_weight @geglu_erf.gate : tensor<4x31x24xf32>
  %w.up = moe.get_weight @geglu_erf.up : tensor<4x31x24xf32>
  %w.down = moe.get_weight @geglu_erf.down : tensor<4x24x31xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<4x31x24xf32>, tensor<4x31x24xf32>,
         tensor<4x24x31xf32>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %gate: tensor<31x24xf32>,
       %up: tensor<31x24xf32>,
       %down: tensor<24x31xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x31xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x31xf32>)
        -> tensor<?x31xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x24xf32>, tensor<31x24xf32>)
        outs(%zf : tensor<?x31xf32>) -> tensor<?x31xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x24xf32>, tensor<31x24xf32>)
        outs(%zf : tensor<?x31xf32>) -> tensor<?x31xf32>
    %ei = tensor.empty(%n) : tensor<?x31xf32>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x31xf32>, tensor<?x31xf32>)
        outs(%ei : tensor<?x31xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %half = arith.constant 0.5 : f32
      %one = arith.constant 1.0 : f32
      %root = arith.constant 0.707106769 : f32
      %m = arith.mulf %a, %root : f32
      %p = math.erf %m : f32
      %q = arith.addf %p, %one : f32
      %h = arith.mulf %a, %half : f32
      %g = arith.mulf %h, %q : f32
      %r = arith.mulf %g, %b : f32
      linalg.yield %r : f32
    } -> tensor<?x31xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x31xf32>, tensor<24x31xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %c.down : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

moe.weight @geglu_tanh.router : tensor<4x32xbf16>
    from ["geglu_tanh.router"]
moe.weight @geglu_tanh.gate : tensor<4x48x32xbf16>
    from ["geglu_tanh.gate"]
moe.weight @geglu_tanh.up : tensor<4x48x32xbf16>
    from ["geglu_tanh.up"]
moe.weight @geglu_tanh.down : tensor<4x32x48xbf16>
    from ["geglu_tanh.down"]

func.func @geglu_tanh(%x: tensor<?x32xbf16>) -> tensor<?x32xbf16> {
  %wr = moe.get_weight @geglu_tanh.router : tensor<4x32xbf16>
  %w.gate = moe.get_weight @geglu_tanh.gate : tensor<4x48x32xbf16>
  %w.up = moe.get_weight @geglu_tanh.up : tensor<4x48x32xbf16>
  %w.down = moe.get_weight @geglu_tanh.down : tensor<4x32x48xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x32xbf16>, tensor<4x32xbf16> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x32xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x32xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x32xbf16>, tensor<4x48x32xbf16>, tensor<4x48x32xbf16>,
         tensor<4x32x48xbf16>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x32xbf16> {
  ^bb0(%t: tensor<?x32xbf16>,
       %gate: tensor<48x32xbf16>,
       %up: tensor<48x32xbf16>,
       %down: tensor<32x48xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x32xbf16>
    %ef = tensor.empty(%n) : tensor<?x48xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x48xf32>)
        -> tensor<?x48xf32>
    %eh = tensor.empty(%n) : tensor<?x32xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x32xf32>)
        -> tensor<?x32xf32>
    %c.gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %gate : tensor<?x32xbf16>, tensor<48x32xbf16>)
        outs(%zf : tensor<?x48xf32>) -> tensor<?x48xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x32xbf16>, tensor<48x32xbf16>)
        outs(%zf : tensor<?x48xf32>) -> tensor<?x48xf32>
    %ei = tensor.empty(%n) : tensor<?x48xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x48xf32>, tensor<?x48xf32>)
        outs(%ei : tensor<?x48xbf16>) {
    ^bb0(%a: f32, %b: f32, %o: bf16):
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
      %g = arith.mulf %h, %q : f32
      %r = arith.mulf %g, %b : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x48xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x48xbf16>, tensor<32x48xbf16>)
        outs(%zh : tensor<?x32xf32>) -> tensor<?x32xf32>
    %y = arith.truncf %c.down : tensor<?x32xf32> to tensor<?x32xbf16>
    moe.yield %y : tensor<?x32xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x32xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x32xbf16>
  return %y : tensor<?x32xbf16>
}

// Nemotron: the square of ReLU.
moe.weight @relu2.router : tensor<4x24xbf16>
    from ["relu2.router"]
moe.weight @relu2.up : tensor<4x30x24xbf16>
    from ["relu2.up"]
moe.weight @relu2.down : tensor<4x24x30xbf16>
    from ["relu2.down"]

func.func @relu2(%x: tensor<?x24xbf16>) -> tensor<?x24xbf16> {
  %wr = moe.get_weight @relu2.router : tensor<4x24xbf16>
  %w.up = moe.get_weight @relu2.up : tensor<4x30x24xbf16>
  %w.down = moe.get_weight @relu2.down : tensor<4x24x30xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xbf16>, tensor<4x24xbf16> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.up, %w.down) by %routing
      : (tensor<?x24xbf16>, tensor<4x30x24xbf16>, tensor<4x24x30xbf16>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x24xbf16> {
  ^bb0(%t: tensor<?x24xbf16>,
       %up: tensor<30x24xbf16>,
       %down: tensor<24x30xbf16>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xbf16>
    %ef = tensor.empty(%n) : tensor<?x30xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x30xf32>)
        -> tensor<?x30xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x24xbf16>, tensor<30x24xbf16>)
        outs(%zf : tensor<?x30xf32>) -> tensor<?x30xf32>
    %ei = tensor.empty(%n) : tensor<?x30xbf16>
    %i = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.up : tensor<?x30xf32>)
        outs(%ei : tensor<?x30xbf16>) {
    ^bb0(%a: f32, %o: bf16):
      %none = arith.constant 0.0 : f32
      %m = arith.maximumf %a, %none : f32
      %r = arith.mulf %m, %m : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x30xbf16>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x30xbf16>, tensor<24x30xbf16>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    %y = arith.truncf %c.down : tensor<?x24xf32> to tensor<?x24xbf16>
    moe.yield %y : tensor<?x24xbf16>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x24xbf16>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xbf16>
  return %y : tensor<?x24xbf16>
}

moe.weight @relu2_f32.router : tensor<8x1xf32>
    from ["relu2_f32.router"]
moe.weight @relu2_f32.up : tensor<8x3x1xf32>
    from ["relu2_f32.up"]
moe.weight @relu2_f32.down : tensor<8x1x3xf32>
    from ["relu2_f32.down"]

func.func @relu2_f32(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %wr = moe.get_weight @relu2_f32.router : tensor<8x1xf32>
  %w.up = moe.get_weight @relu2_f32.up : tensor<8x3x1xf32>
  %w.down = moe.get_weight @relu2_f32.down : tensor<8x1x3xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x1xf32>, tensor<8x1xf32> -> tensor<?x8xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x8xf32> -> !moe.routing<experts = 8, per_token = 1>
  %xs = moe.dispatch %x by %routing
      : tensor<?x1xf32>, !moe.routing<experts = 8, per_token = 1>
      -> tensor<?x1xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.up, %w.down) by %routing
      : (tensor<?x1xf32>, tensor<8x3x1xf32>, tensor<8x1x3xf32>),
        !moe.routing<experts = 8, per_token = 1> -> tensor<?x1xf32> {
  ^bb0(%t: tensor<?x1xf32>,
       %up: tensor<3x1xf32>,
       %down: tensor<1x3xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x1xf32>
    %ef = tensor.empty(%n) : tensor<?x3xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x3xf32>)
        -> tensor<?x3xf32>
    %eh = tensor.empty(%n) : tensor<?x1xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x1xf32>)
        -> tensor<?x1xf32>
    %c.up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %up : tensor<?x1xf32>, tensor<3x1xf32>)
        outs(%zf : tensor<?x3xf32>) -> tensor<?x3xf32>
    %ei = tensor.empty(%n) : tensor<?x3xf32>
    %i = linalg.generic {indexing_maps = [#id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.up : tensor<?x3xf32>)
        outs(%ei : tensor<?x3xf32>) {
    ^bb0(%a: f32, %o: f32):
      %none = arith.constant 0.0 : f32
      %m = arith.maximumf %a, %none : f32
      %r = arith.mulf %m, %m : f32
      linalg.yield %r : f32
    } -> tensor<?x3xf32>
    %c.down = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%i, %down : tensor<?x3xf32>, tensor<1x3xf32>)
        outs(%zh : tensor<?x1xf32>) -> tensor<?x1xf32>
    moe.yield %c.down : tensor<?x1xf32>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x1xf32>, !moe.routing<experts = 8, per_token = 1>
      -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Weights as [experts, inputs, outputs].
moe.weight @plain.router : tensor<4x24xf32>
    from ["plain.router"]
moe.weight @plain.gate : tensor<4x24x40xf32>
    from ["plain.gate"]
moe.weight @plain.up : tensor<4x24x40xf32>
    from ["plain.up"]
moe.weight @plain.down : tensor<4x40x24xf32>
    from ["plain.down"]

func.func @plain(%x: tensor<?x24xf32>) -> tensor<?x24xf32> {
  %wr = moe.get_weight @plain.router : tensor<4x24xf32>
  %w.gate = moe.get_weight @plain.gate : tensor<4x24x40xf32>
  %w.up = moe.get_weight @plain.up : tensor<4x24x40xf32>
  %w.down = moe.get_weight @plain.down : tensor<4x40x24xf32>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x24xf32>, tensor<4x24xf32> -> tensor<?x4xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 2>
      : tensor<?x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %xs = moe.dispatch %x by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down) by %routing
      : (tensor<?x24xf32>, tensor<4x24x40xf32>, tensor<4x24x40xf32>,
         tensor<4x40x24xf32>),
        !moe.routing<experts = 4, per_token = 2> -> tensor<?x24xf32> {
  ^bb0(%t: tensor<?x24xf32>,
       %gate: tensor<24x40xf32>,
       %up: tensor<24x40xf32>,
       %down: tensor<40x24xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x24xf32>
    %ef = tensor.empty(%n) : tensor<?x40xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x40xf32>)
        -> tensor<?x40xf32>
    %eh = tensor.empty(%n) : tensor<?x24xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x24xf32>)
        -> tensor<?x24xf32>
    %c.gate = linalg.matmul ins(%t, %gate : tensor<?x24xf32>, tensor<24x40xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %c.up = linalg.matmul ins(%t, %up : tensor<?x24xf32>, tensor<24x40xf32>)
        outs(%zf : tensor<?x40xf32>) -> tensor<?x40xf32>
    %ei = tensor.empty(%n) : tensor<?x40xf32>
    %i = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
        ins(%c.gate, %c.up : tensor<?x40xf32>, tensor<?x40xf32>)
        outs(%ei : tensor<?x40xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      linalg.yield %r : f32
    } -> tensor<?x40xf32>
    %c.down = linalg.matmul ins(%i, %down : tensor<?x40xf32>, tensor<40x24xf32>)
        outs(%zh : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %c.down : tensor<?x24xf32>
  }
  %y = moe.combine %ys by %routing
      : tensor<?x24xf32>, !moe.routing<experts = 4, per_token = 2>
      -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

moe.weight @plain_biased.router : tensor<3x40xbf16>
    from ["plain_biased.router"]
moe.weight @plain_biased.gate : tensor<3x40x18xbf16>
    from ["plain_biased.gate"]
moe.weight @plain_biased.up : tensor<3x40x18xbf16>
    from ["plain_biased.up"]
moe.weight @plain_biased.down : tensor<3x18x40xbf16>
    from ["plain_biased.down"]
moe.weight @plain_biased.gate_bias : tensor<3x18xbf16>
    from ["plain_biased.gate_bias"]
moe.weight @plain_biased.up_bias : tensor<3x18xbf16>
    from ["plain_biased.up_bias"]
moe.weight @plain_biased.down_bias : tensor<3x40xbf16>
    from ["plain_biased.down_bias"]

func.func @plain_biased(%x: tensor<?x40xbf16>) -> tensor<?x40xbf16> {
  %wr = moe.get_weight @plain_biased.router : tensor<3x40xbf16>
  %w.gate = moe.get_weight @plain_biased.gate : tensor<3x40x18xbf16>
  %w.up = moe.get_weight @plain_biased.up : tensor<3x40x18xbf16>
  %w.down = moe.get_weight @plain_biased.down : tensor<3x18x40xbf16>
  %w.gate_bias = moe.get_weight @plain_biased.gate_bias : tensor<3x18xbf16>
  %w.up_bias = moe.get_weight @plain_biased.up_bias : tensor<3x18xbf16>
  %w.down_bias = moe.get_weight @plain_biased.down_bias : tensor<3x40xbf16>
  %l = moe.router_logits ins(%x, %wr)
      : tensor<?x40xbf16>, tensor<3x40xbf16> -> tensor<?x3xf32>
  %routing = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<?x3xf32> -> !moe.routing<experts = 3, per_token = 1>
  %xs = moe.dispatch %x by %routing
      : tensor<?x40xbf16>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x40xbf16>
  %ys = moe.experts ins(%xs)
      weights(%w.gate, %w.up, %w.down, %w.gate_bias, %w.up_bias,
         %w.down_bias) by %routing
      : (tensor<?x40xbf16>, tensor<3x40x18xbf16>, tensor<3x40x18xbf16>,
         tensor<3x18x40xbf16>, tensor<3x18xbf16>, tensor<3x18xbf16>,
         tensor<3x40xbf16>),
        !moe.routing<experts = 3, per_token = 1> -> tensor<?x40xbf16> {
  ^bb0(%t: tensor<?x40xbf16>,
       %gate: tensor<40x18xbf16>,
       %up: tensor<40x18xbf16>,
       %down: tensor<18x40xbf16>,
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
    %c.gate = linalg.matmul ins(%t, %gate : tensor<?x40xbf16>,
       tensor<40x18xbf16>)
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
    %c.up = linalg.matmul ins(%t, %up : tensor<?x40xbf16>, tensor<40x18xbf16>)
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
      %one = arith.constant 1.0 : f32
      %neg = arith.negf %a : f32
      %p = math.exp %neg : f32
      %d = arith.addf %one, %p : f32
      %s = arith.divf %a, %d : f32
      %r = arith.mulf %s, %b : f32
      %rr = arith.truncf %r : f32 to bf16
      linalg.yield %rr : bf16
    } -> tensor<?x18xbf16>
    %c.down = linalg.matmul ins(%i, %down : tensor<?x18xbf16>,
       tensor<18x40xbf16>)
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
      : tensor<?x40xbf16>, !moe.routing<experts = 3, per_token = 1>
      -> tensor<?x40xbf16>
  return %y : tensor<?x40xbf16>
}
