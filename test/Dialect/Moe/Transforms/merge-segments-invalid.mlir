// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-merge-segments))' \
// RUN:   -split-input-file | FileCheck %s

// The pass never fails. These are the cases that it must leave alone.

// Different activations.
// CHECK-LABEL: func @activation
// CHECK-COUNT-2: moe.grouped_ffn
// CHECK-COUNT-1: moe.combine_rows
func.func @activation(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>) -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %ya = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xf32>, tensor<1x4x10xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.minimumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %sum = arith.addf %y, %z : tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}

// -----

// Different tokens: the sums join, the products do not.
// CHECK-LABEL: func @tokens
// CHECK-COUNT-2: moe.grouped_ffn
// CHECK: moe.combine_rows rows(%{{.*}}, %{{.*}} :
func.func @tokens(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>,
    %x2: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %ya = moe.grouped_ffn ins(%x2 : tensor<?x4xf32>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xf32>, tensor<1x4x10xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %sum = arith.addf %y, %z : tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}

// -----

// One of the sums is wanted by itself.
// CHECK-LABEL: func @two_uses
// CHECK: %[[Y:[^ ,:]+]]:2 = moe.grouped_ffn
// CHECK-COUNT-2: moe.combine_rows rows(%[[Y]]#{{[01]}} :
// CHECK: arith.addf
func.func @two_uses(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %ya = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xf32>, tensor<1x4x10xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %sum = arith.addf %y, %z : tensor<?x4xf32>
  return %sum, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// The second set of experts depends on what the first one yields.
// CHECK-LABEL: func @dependent
// CHECK: %[[A:[^ ,:]+]] = moe.grouped_ffn
// CHECK: %[[B:[^ ,:]+]] = moe.combine_rows rows(%[[A]] :
// CHECK: moe.all_rows %{{.*}} weights(%{{.*}})
// CHECK: moe.grouped_ffn
func.func @dependent(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>) -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %c0 = arith.constant 0 : index
  %num = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e1 = tensor.extract_slice %y[0, 0] [%num, 1] [1, 1]
      : tensor<?x4xf32> to tensor<?x1xf32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x weights(%e1)
      : tensor<?x4xf32>, tensor<?x1xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ya = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xf32>, tensor<1x4x10xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// A residual is no combine.
// CHECK-LABEL: func @residual
// CHECK: %[[Y:[^ ,:]+]] = moe.combine_rows
// CHECK: arith.addf %{{[^ ,]+}}, %[[Y]]
func.func @residual(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>) -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %sum = arith.addf %x, %y : tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}

// -----

#id = affine_map<(m, n) -> (m, n)>

// A sum that is scaled on the way, a difference, a sum with itself.
// CHECK-LABEL: func @other_sums
// CHECK-COUNT-2: moe.combine_rows
// CHECK: arith.mulf
// CHECK: arith.subf
// CHECK: arith.addf %[[S:[^ ,:]+]], %[[S]]
func.func @other_sums(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>,
    %su: tensor<1x10x4xf32>, %sd: tensor<1x4x10xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>,
        tensor<?x4xf32>) {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %ya = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xf32>, tensor<1x4x10xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
      ins(%y, %z : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%e : tensor<?x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    %t = arith.mulf %s, %q : f32
    linalg.yield %t : f32
  } -> tensor<?x4xf32>
  %dif = arith.subf %y, %z : tensor<?x4xf32>
  %two = arith.addf %y, %y : tensor<?x4xf32>
  return %sum, %dif, %two
      : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A declaration.
// CHECK-LABEL: func private @declaration
func.func private @declaration(tensor<?x4xf32>)
