// RUN: %python %moe_src_root/test/Pipelines/semantics.py %s

// Two independent chains over several inputs; two shared experts with a
// constant weight; a vector that is the same for all tokens.

moe.weight @scale : tensor<16xf32>
    from ["scale"]
moe.weight @shared.gate : tensor<2x20x16xf32>
    from ["shared.experts.{0..1}.gate"] stack
moe.weight @shared.up : tensor<2x20x16xf32>
    from ["shared.experts.{0..1}.up"] stack
moe.weight @shared.down : tensor<2x16x20xf32>
    from ["shared.experts.{0..1}.down"] stack

#act = affine_map<(m, n, k) -> (m, k)>
#wgt = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>
#col = affine_map<(m, n) -> (n)>

func.func @mlp(%x: tensor<?x16xf32>, %skip: tensor<?x16xf32>,
               %keep: tensor<?xf32>)
    -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  %i0 = arith.constant 0 : index
  %half = arith.constant 0.5 : f32
  %ones = arith.constant dense<1.0> : tensor<16xf32>
  %ws = moe.get_weight @scale : tensor<16xf32>
  %wsg = moe.get_weight @shared.gate : tensor<2x20x16xf32>
  %wsu = moe.get_weight @shared.up : tensor<2x20x16xf32>
  %wsd = moe.get_weight @shared.down : tensor<2x16x20xf32>
  %num = tensor.dim %x, %i0 : tensor<?x16xf32>
  %e2 = tensor.empty(%num) : tensor<?x2xf32>
  %w = linalg.fill ins(%half : f32) outs(%e2 : tensor<?x2xf32>)
      -> tensor<?x2xf32>
  %all = moe.assign_all %x weights(%w)
      : tensor<?x16xf32>, tensor<?x2xf32>
      -> !moe.routing<experts = 2, per_token = 2>
  %xa = moe.dispatch %x by %all
      : tensor<?x16xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x16xf32>
  %ya = moe.experts ins(%xa) weights(%wsg, %wsu, %wsd) by %all
      : (tensor<?x16xf32>, tensor<2x20x16xf32>, tensor<2x20x16xf32>,
         tensor<2x16x20xf32>), !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x16xf32> {
  ^bb0(%t: tensor<?x16xf32>, %g: tensor<20x16xf32>, %u: tensor<20x16xf32>,
       %d: tensor<16x20xf32>):
    %c0 = arith.constant 0 : index
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %n = tensor.dim %t, %c0 : tensor<?x16xf32>
    %ef = tensor.empty(%n) : tensor<?x20xf32>
    %zf = linalg.fill ins(%zero : f32) outs(%ef : tensor<?x20xf32>)
        -> tensor<?x20xf32>
    %gate = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %g : tensor<?x16xf32>, tensor<20x16xf32>)
        outs(%zf : tensor<?x20xf32>) -> tensor<?x20xf32>
    %up = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%t, %u : tensor<?x16xf32>, tensor<20x16xf32>)
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
    %eh = tensor.empty(%n) : tensor<?x16xf32>
    %zh = linalg.fill ins(%zero : f32) outs(%eh : tensor<?x16xf32>)
        -> tensor<?x16xf32>
    %p = linalg.matmul indexing_maps = [#act, #wgt, #out]
        ins(%h, %d : tensor<?x20xf32>, tensor<16x20xf32>)
        outs(%zh : tensor<?x16xf32>) -> tensor<?x16xf32>
    moe.yield %p : tensor<?x16xf32>
  }
  %shared = moe.combine %ya by %all
      : tensor<?x16xf32>, !moe.routing<experts = 2, per_token = 2>
      -> tensor<?x16xf32>
  %first = arith.addf %shared, %skip : tensor<?x16xf32>
  %plus = arith.addf %ws, %ones : tensor<16xf32>
  %eh = tensor.empty(%num) : tensor<?x16xf32>
  %second = linalg.generic {indexing_maps = [#id, #row, #col, #id],
                            iterator_types = ["parallel", "parallel"]}
      ins(%skip, %keep, %plus : tensor<?x16xf32>, tensor<?xf32>, tensor<16xf32>)
      outs(%eh : tensor<?x16xf32>) {
  ^bb0(%a: f32, %k: f32, %s: f32, %o: f32):
    %m = arith.mulf %a, %k : f32
    %v = arith.mulf %m, %s : f32
    linalg.yield %v : f32
  } -> tensor<?x16xf32>
  return %first, %second : tensor<?x16xf32>, tensor<?x16xf32>
}
