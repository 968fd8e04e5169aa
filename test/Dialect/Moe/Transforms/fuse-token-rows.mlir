// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-fuse-token-rows))' \
// RUN:   -split-input-file -remarks-filter='moe-.*' -verify-diagnostics | FileCheck %s

#id = affine_map<(m, n) -> (m, n)>
#row = affine_map<(m, n) -> (m)>
#col = affine_map<(m, n) -> (n)>

// A norm: a reduction over channels and its use are one kernel; the weight is
// an invariant, sizes are constants, nothing is left outside.
// CHECK-LABEL: func @norm
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>, %[[Y:[^ ,:]+]]: tensor<?x4xf32>) ->
// CHECK-NEXT: %[[G:[^ ,:]+]] = moe.get_weight
// CHECK-NEXT: %[[Z:[^ ,:]+]] = moe.map_rows rows(%[[X]] : tensor<?x4xf32>) invariants(%[[G]] : tensor<4xf32>) -> tensor<?x4xf32> {
// CHECK-NEXT: ^bb0(%[[A:[^ ,:]+]]: tensor<1x4xf32>, %[[W:[^ ,:]+]]: tensor<4xf32>):
// CHECK: tensor.empty() : tensor<1xf32>
// CHECK: %[[S:[^ ,:]+]] = linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]} ins(%[[A]] : tensor<1x4xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[A]], %[[S]], %[[W]] : tensor<1x4xf32>, tensor<1xf32>, tensor<4xf32>)
// CHECK: moe.yield
// CHECK-NEXT: }
// CHECK-NEXT: return %[[Z]]
moe.weight @g : tensor<4xf32> from ["g"]
func.func @norm(%x: tensor<?x4xf32>, %unused: tensor<?x4xf32>)
    -> tensor<?x4xf32> {
  %g = moe.get_weight @g : tensor<4xf32>
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %sum = linalg.generic {indexing_maps = [#id, #row],
                         iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<?x4xf32>) outs(%z : tensor<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %q = arith.mulf %a, %a : f32
    %s = arith.addf %o, %q : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %eh = tensor.empty(%n) : tensor<?x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #row, #col, #id],
                       iterator_types = ["parallel", "parallel"]}
      ins(%x, %sum, %g : tensor<?x4xf32>, tensor<?xf32>, tensor<4xf32>)
      outs(%eh : tensor<?x4xf32>) {
  ^bb0(%a: f32, %s: f32, %w: f32, %o: f32):
    %i = math.rsqrt %s : f32
    %m = arith.mulf %a, %i : f32
    %v = arith.mulf %m, %w : f32
    linalg.yield %v : f32
  } -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Independent chains with the same rows share a kernel; a value that is used in
// several places is one result of it.
// CHECK-LABEL: func @chains
// CHECK: %[[R:[^ ,:]+]]:3 = moe.map_rows rows(%{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x4xf32>
// CHECK-NOT: moe.map_rows
// CHECK: return %[[R]]#0, %[[R]]#2, %[[R]]#1
func.func @chains(%x: tensor<?x4xf32>, %y: tensor<?x2xf32>)
    -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>) {
  %a = arith.addf %x, %x : tensor<?x4xf32>
  %b = math.tanh %y : tensor<?x2xf32>
  %c = arith.mulf %a, %x : tensor<?x4xf32>
  return %a, %c, %b : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>
}

// -----

// Code before, between and after routed ops: as few kernels as the dependences
// allow, here three; %late needs nothing but the input and joins the first.
// CHECK-LABEL: func @levels
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>
// CHECK: %[[A:[^ ,:]+]]:2 = moe.map_rows rows(%[[X]] :
// CHECK: %[[L:[^ ,:]+]] = moe.router_logits ins(%[[A]]#0,
// CHECK: %[[B:[^ ,:]+]] = moe.map_rows rows(%[[L]] :
// CHECK: moe.select_topk %[[B]]
// CHECK: %[[Y:[^ ,:]+]] = moe.combine_rows
// CHECK: %[[C:[^ ,:]+]] = moe.map_rows rows(%[[Y]], %[[A]]#1 :
// CHECK-NOT: moe.map_rows
// CHECK: return %[[C]]
moe.weight @w : tensor<2x4xf32> from ["w"]
func.func @levels(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = moe.get_weight @w : tensor<2x4xf32>
  %a = math.tanh %x : tensor<?x4xf32>
  %l = moe.router_logits ins(%a, %w)
      : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
  %l2 = arith.negf %l : tensor<?x2xf32>
  %i, %p = moe.select_topk %l2 policy<score = softmax, top_k = 1>
      : tensor<?x2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
      : tensor<?x1xi32>, tensor<?x1xf32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %a[%rt]
      : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  %y = moe.combine_rows rows(%xs : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %late = arith.mulf %x, %x : tensor<?x4xf32>
  %z = arith.addf %y, %late : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Rows of pairs make a kernel of their own, which counts rows by the offsets.
// CHECK-LABEL: func @pairs
// CHECK: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %{{.*}} = moe.group_rows
// CHECK: %[[XS:[^ ,:]+]] = moe.gather_rows %{{.*}}[%[[RT]]]
// CHECK: moe.map_rows rows(%[[XS]] : tensor<?x4xf32>) offsets(%[[EO]] : tensor<6xi32>) -> tensor<?x4xf32>
func.func @pairs(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>)
    -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %p
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<6xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %xs = moe.gather_rows %x[%rt]
      : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  %ys = math.absf %xs : tensor<?x4xf32>
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A filled tensor that a routed op reads has a kernel of its own; one that only
// tensor code reads is repeated there.
// CHECK-LABEL: func @filled
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>
// CHECK: %[[W:[^ ,:]+]] = moe.map_rows rows(%[[X]] : {{.*}} -> tensor<?x1xf32> {
// CHECK: linalg.fill {{.*}} -> tensor<1x1xf32>
// CHECK: moe.all_rows %[[X]] weights(%[[W]])
// CHECK: moe.map_rows rows(%[[X]] : {{.*}} -> tensor<?xf32> {
// CHECK: linalg.fill {{.*}} -> tensor<1x1xf32>
// CHECK: linalg.reduce
// CHECK-NOT: linalg.fill
// CHECK: return
func.func @filled(%x: tensor<?x4xf32>) -> (tensor<1xi64>, tensor<?xf32>) {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.5 : f32
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x1xf32>
  %w = linalg.fill ins(%half : f32) outs(%e : tensor<?x1xf32>)
      -> tensor<?x1xf32>
  %eo, %rt, %rw, %to, %tr = moe.all_rows %x weights(%w)
      : tensor<?x4xf32>, tensor<?x1xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %count = moe.count_rows %eo : tensor<2xi32> -> tensor<1xi64>
  %f = tensor.collapse_shape %w [[0, 1]]
      : tensor<?x1xf32> into tensor<?xf32>
  %s = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%f : tensor<?xf32>)
      dimensions = [1] (%a: f32, %b: f32) {
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  return %count, %s : tensor<1xi64>, tensor<?xf32>
}

// -----

// What is the same for all rows is computed in each kernel, with a remark.
// CHECK-LABEL: func @invariant
// CHECK: moe.map_rows rows(%{{.*}} : tensor<?x4xf32>) invariants(%{{.*}} : tensor<4xf32>)
// CHECK: arith.constant dense<1.000000e+00> : tensor<4xf32>
// CHECK: linalg.add
// CHECK: linalg.broadcast
// CHECK: arith.mulf
moe.weight @g : tensor<4xf32> from ["g"]
func.func @invariant(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %g = moe.get_weight @g : tensor<4xf32>
  %one = arith.constant dense<1.0> : tensor<4xf32>
  // expected-remark@below {{'linalg.add' is the same for all rows but computed for each; make it a weight}}
  %s = linalg.add ins(%g, %one : tensor<4xf32>, tensor<4xf32>)
      outs(%g : tensor<4xf32>) -> tensor<4xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %b = linalg.broadcast ins(%s : tensor<4xf32>) outs(%e : tensor<?x4xf32>)
      dimensions = [0]
  %y = arith.mulf %x, %b : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Shapes: columns cut and joined, dimensions of one split and merged, casts.
// CHECK-LABEL: func @shapes
// CHECK: moe.map_rows
// CHECK: tensor.extract_slice %{{.*}}[0, 2] [1, 2] [1, 1] : tensor<1x4xf32> to tensor<1x2xf32>
// CHECK: tensor.expand_shape %{{.*}} {{\[\[}}0], [1, 2]] output_shape [1, 2, 1] : tensor<1x2xf32> into tensor<1x2x1xf32>
// CHECK: tensor.collapse_shape %{{.*}} {{\[\[}}0], [1, 2]] : tensor<1x2x1xf32> into tensor<1x2xf32>
// CHECK: tensor.insert_slice %{{.*}} into %{{.*}}[0, 0] [1, 2] [1, 1] : tensor<1x2xf32> into tensor<1x4xf32>
// CHECK: tensor.concat dim(1) %{{.*}}, %{{.*}} : (tensor<1x4xf32>, tensor<1x2xf32>) -> tensor<1x6xf32>
// CHECK: linalg.softmax dimension(1) {{.*}} -> tensor<1x6xf32>
func.func @shapes(%x: tensor<?x4xf32>) -> tensor<?x6xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %cut = tensor.extract_slice %x[0, 2] [%n, 2] [1, 1]
      : tensor<?x4xf32> to tensor<?x2xf32>
  %split = tensor.expand_shape %cut [[0], [1, 2]] output_shape [%n, 2, 1]
      : tensor<?x2xf32> into tensor<?x2x1xf32>
  %flat = tensor.collapse_shape %split [[0], [1, 2]]
      : tensor<?x2x1xf32> into tensor<?x2xf32>
  %put = tensor.insert_slice %flat into %x[0, 0] [%n, 2] [1, 1]
      : tensor<?x2xf32> into tensor<?x4xf32>
  %cat = tensor.concat dim(1) %put, %cut
      : (tensor<?x4xf32>, tensor<?x2xf32>) -> tensor<?x6xf32>
  %e = tensor.empty(%n) : tensor<?x6xf32>
  %y = linalg.softmax dimension(1) ins(%cat : tensor<?x6xf32>)
      outs(%e : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

// A size of a tensor that is gone; an index that is no size of rows.
// CHECK-LABEL: func @sizes
// CHECK: moe.map_rows
// CHECK-NOT: tensor.dim
func.func @sizes(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = math.tanh %x : tensor<?x4xf32>
  %n = tensor.dim %a, %c0 : tensor<?x4xf32>
  %h = tensor.dim %a, %c1 : tensor<?x4xf32>
  %i = arith.index_cast %h : index to i32
  %f = arith.sitofp %i : i32 to f32
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %z = linalg.fill ins(%f : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = arith.divf %a, %z : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// A tensor is reshaped before it is filled; another is filled that was computed.
// CHECK-LABEL: func @reshaped
// CHECK: %[[R:[^ ,:]+]]:2 = moe.map_rows rows(%{{.*}} : tensor<?x4xf32>) -> tensor<?xf32>, tensor<?x4xf32>
// CHECK: tensor.collapse_shape {{.*}} : tensor<1x1xf32> into tensor<1xf32>
// CHECK: linalg.fill {{.*}} -> tensor<1xf32>
// CHECK: math.tanh
// CHECK: linalg.fill {{.*}} -> tensor<1x4xf32>
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @reshaped(%x: tensor<?x4xf32>) -> (tensor<?xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.5 : f32
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x1xf32>
  %f = tensor.collapse_shape %e [[0, 1]] : tensor<?x1xf32> into tensor<?xf32>
  %z = linalg.fill ins(%half : f32) outs(%f : tensor<?xf32>) -> tensor<?xf32>
  %s = linalg.reduce ins(%x : tensor<?x4xf32>) outs(%z : tensor<?xf32>)
      dimensions = [1] (%a: f32, %b: f32) {
    %c = arith.addf %a, %b : f32
    linalg.yield %c : f32
  }
  %t = math.tanh %x : tensor<?x4xf32>
  %y = linalg.fill ins(%half : f32) outs(%t : tensor<?x4xf32>)
      -> tensor<?x4xf32>
  return %s, %y : tensor<?xf32>, tensor<?x4xf32>
}

// -----

// Dead code is dropped, an input that is returned stays.
// CHECK-LABEL: func @nothing
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @nothing(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = arith.addf %x, %x : tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func private @declaration
func.func private @declaration(tensor<?x4xf32>)

// -----

// What is the same for all tokens but read by a routed op or returned is a fold
// of one row.
// CHECK-LABEL: func @once
// CHECK-SAME: %[[A:[^ ,:]+]]: tensor<1xf32>, %[[B:[^ ,:]+]]: tensor<1xf32>
func.func @once(%x: tensor<?x2xf32>, %a: tensor<1xf32>, %b: tensor<1xf32>)
    -> (tensor<?x1xf32>, tensor<1xf32>) {
  // CHECK: %[[BIAS:[^ ,:]+]] = arith.constant dense<[1.0{{.*}}, 2.0{{.*}}]> : tensor<2xf32>
  // CHECK: moe.select_topk %{{.*}} bias(%[[BIAS]])
  // CHECK: %[[ONE:[^ ,:]+]] = arith.constant dense<0> : tensor<1xi32>
  // CHECK: %[[S:[^ ,:]+]] = moe.fold_rows rows(%[[ONE]] : tensor<1xi32>) invariants({{.*}}%[[A]]{{.*}} inits [0.0{{.*}}] -> tensor<1xf32>
  // CHECK: %[[P:[^ ,:]+]] = arith.addf
  // CHECK-NEXT: moe.yield %[[P]]
  // CHECK: return %{{.*}}, %[[S]]
  %bias = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %i, %p = moe.select_topk %x bias(%bias) policy<score = sigmoid, top_k = 1>
      : tensor<?x2xf32>, tensor<2xf32> -> tensor<?x1xi32>, tensor<?x1xf32>
  %s = arith.addf %a, %b : tensor<1xf32>
  return %p, %s : tensor<?x1xf32>, tensor<1xf32>
}
