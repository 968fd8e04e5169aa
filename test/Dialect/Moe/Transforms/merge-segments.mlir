// RUN: moe-opt %s -pass-pipeline='builtin.module(func.func(moe-merge-segments))' \
// RUN:   -split-input-file | FileCheck %s

// Routed and shared experts: one op of two segments, one sum; widths differ.
// CHECK-LABEL: func @shared
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>, %[[I:[^ ,:]+]]: tensor<?x2xi32>, %{{.*}}, %[[U:[^ ,:]+]]: tensor<8x6x4xf32>, %[[D:[^ ,:]+]]: tensor<8x4x6xf32>, %[[SU:[^ ,:]+]]: tensor<1x10x4xf32>, %[[SD:[^ ,:]+]]: tensor<1x4x10xf32>)
// CHECK: %[[EO:[^ ,:]+]], %[[RT:[^ ,:]+]], %[[RW:[^ ,:]+]], %[[TO:[^ ,:]+]], %[[TR:[^ ,:]+]] = moe.group_rows
// CHECK: %[[SEO:[^ ,:]+]], %[[SRT:[^ ,:]+]], %[[SRW:[^ ,:]+]], %[[STO:[^ ,:]+]], %[[STR:[^ ,:]+]] = moe.all_rows
// CHECK: %[[Y:[^ ,:]+]]:2 = moe.grouped_ffn ins(%[[X]]
// CHECK-SAME: offsets(%[[EO]], %[[SEO]] : {{.*}} tokens(%[[RT]], %[[SRT]] : {{.*}} weights(%[[U]], %[[D]], %[[SU]], %[[SD]] :
// CHECK: %[[S:[^ ,:]+]] = moe.combine_rows rows(%[[Y]]#0, %[[Y]]#1 : {{.*}} offsets(%[[TO]], %[[STO]] : {{.*}} indices(%[[TR]], %[[STR]] : {{.*}} weights(%[[RW]], %[[SRW]] :
// CHECK-NEXT: return %[[S]]
func.func @shared(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
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

#id = affine_map<(m, n) -> (m, n)>

// The sum in bf16 as models write it, shared experts first in text and sum: the
// routed ones still come first, because experts are added in ascending id.
// CHECK-LABEL: func @bf16_swapped
// CHECK: %{{[^ ,]+}}, %[[RT:[^ ,:]+]], %{{[^ ,]+}}, %[[TO:[^ ,:]+]], %{{.*}} = moe.group_rows
// CHECK: %{{.*}}, %{{.*}}, %{{[^ ,]+}}, %[[STO:[^ ,:]+]], %{{.*}} = moe.all_rows
// CHECK: %[[Y:[^ ,:]+]]:2 = moe.grouped_ffn
// CHECK: moe.combine_rows rows(%[[Y]]#1, %[[Y]]#0 : {{.*}} offsets(%[[TO]], %[[STO]] :
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @bf16_swapped(%x: tensor<?x4xbf16>, %i: tensor<?x2xi32>,
    %w: tensor<?x2xf32>, %u: tensor<8x6x4xbf16>, %d: tensor<8x4x6xbf16>,
    %su: tensor<1x10x4xbf16>, %sd: tensor<1x4x10xbf16>) -> tensor<?x4xbf16> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32>
      -> tensor<9xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xbf16>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ya = moe.grouped_ffn ins(%x : tensor<?x4xbf16>)
      offsets(%seo : tensor<2xi32>) tokens(%srt : tensor<?xi32>)
      weights(%su, %sd : tensor<1x10x4xbf16>, tensor<1x4x10xbf16>) parts 1
      -> tensor<?x4xbf16> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xbf16>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xbf16>
  %ys = moe.grouped_ffn ins(%x : tensor<?x4xbf16>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xbf16>, tensor<8x4x6xbf16>) parts 1
      -> tensor<?x4xbf16> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %y = moe.combine_rows rows(%ys : tensor<?x4xbf16>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xbf16>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xbf16>
  %e = tensor.empty(%n) : tensor<?x4xbf16>
  %sum = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
      ins(%z, %y : tensor<?x4xbf16>, tensor<?x4xbf16>)
      outs(%e : tensor<?x4xbf16>) {
  ^bb0(%p: bf16, %q: bf16, %o: bf16):
    %p32 = arith.extf %p : bf16 to f32
    %q32 = arith.extf %q : bf16 to f32
    %s = arith.addf %p32, %q32 : f32
    %s16 = arith.truncf %s : f32 to bf16
    linalg.yield %s16 : bf16
  } -> tensor<?x4xbf16>
  return %sum : tensor<?x4xbf16>
}

// -----

#id = affine_map<(m, n) -> (m, n)>

// A size of one of the sums is a size of the input.
// CHECK-LABEL: func @size_of_sum
// CHECK-SAME: %[[X:[^ ,:]+]]: tensor<?x4xf32>
// CHECK: tensor.dim %[[X]]
// CHECK: moe.combine_rows rows(%{{.*}}#0, %{{.*}}#1
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @size_of_sum(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
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
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %y, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id, #id],
                         iterator_types = ["parallel", "parallel"]}
      ins(%y, %z : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%e : tensor<?x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %q, %p : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %sum : tensor<?x4xf32>
}

// -----

// Three sums: the shared one stays last wherever it stood.
// CHECK-LABEL: func @three
// CHECK: %[[EO:[^ ,:]+]], %{{.*}} = moe.group_rows
// CHECK: %[[SEO:[^ ,:]+]], %{{.*}} = moe.all_rows
// CHECK: %[[Y:[^ ,:]+]]:3 = moe.grouped_ffn {{.*}} offsets(%[[EO]], %[[SEO]], %[[EO]] :
// CHECK: moe.combine_rows rows(%[[Y]]#0, %[[Y]]#2, %[[Y]]#1 :
// CHECK-NOT: arith.addf
func.func @three(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>,
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
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %z = moe.combine_rows rows(%ya : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %yc = moe.grouped_ffn ins(%x : tensor<?x4xf32>)
      offsets(%eo : tensor<9xi32>) tokens(%rt : tensor<?xi32>)
      weights(%u, %d : tensor<8x6x4xf32>, tensor<8x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%a: f32):
    %s = arith.maximumf %a, %a : f32
    moe.yield %s : f32
  }
  %v = moe.combine_rows rows(%yc : tensor<?x4xf32>)
      offsets(%to : tensor<?xi32>) indices(%tr : tensor<?xi32>)
      weights(%rw : tensor<?xf32>) -> tensor<?x4xf32>
  %sum = arith.addf %y, %z : tensor<?x4xf32>
  %all = linalg.add ins(%sum, %v : tensor<?x4xf32>, tensor<?x4xf32>)
      outs(%x : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %all : tensor<?x4xf32>
}

// -----

// Parts of one routing are added in ascending order of expert, whoever was
// combined first; the weights of a part that its input was multiplied by count
// as 1. A shared expert has a list of ones to scale its rows by.
// CHECK-LABEL: func @parts
// CHECK: %[[HEO:[^ ,:]+]], %[[HRT:[^ ,:]+]], %[[HRW:[^ ,:]+]], %[[HTO:[^ ,:]+]], %{{.*}} = moe.slice_rows {{.*}}[2, 3]
// CHECK: %[[LEO:[^ ,:]+]], %[[LRT:[^ ,:]+]], %[[LRW:[^ ,:]+]], %[[LTO:[^ ,:]+]], %{{.*}} = moe.slice_rows {{.*}}[0, 2]
// CHECK: %[[SEO:[^ ,:]+]], %[[SRT:[^ ,:]+]], %[[SRW:[^ ,:]+]], %[[STO:[^ ,:]+]], %{{.*}} = moe.all_rows
// CHECK: %[[Y:[^ ,:]+]]:2 = moe.grouped_ffn {{.*}} scales(%[[LRW]], %[[SRW]] :
// CHECK: moe.combine_rows rows(%[[Y]]#0, %{{.*}}, %[[Y]]#1 : {{.*}}) offsets(%[[LTO]], %[[HTO]], %[[STO]] :
// CHECK-SAME: unweighted [true, false, false]
func.func @parts(%x: tensor<?x4xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>,
                 %a: tensor<2x6x4xf32>, %b: tensor<2x4x6xf32>,
                 %c: tensor<1x6x4xf32>, %d: tensor<1x4x6xf32>)
    -> tensor<?x4xf32> {
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w
      : tensor<?x2xi32>, tensor<?x2xf32> -> tensor<4xi32>, tensor<?xi32>,
        tensor<?xf32>, tensor<?xi32>, tensor<?xi32>
  %heo, %hrt, %hrw, %hto, %htr = moe.slice_rows %eo, %rt, %rw, %to, %tr [2, 3]
      : tensor<4xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
        tensor<?xi32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %hx = moe.gather_rows %x[%hrt]
      : tensor<?x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  %hy = moe.combine_rows rows(%hx : tensor<?x4xf32>)
      offsets(%hto : tensor<?xi32>) indices(%htr : tensor<?xi32>)
      weights(%hrw : tensor<?xf32>) -> tensor<?x4xf32>
  %leo, %lrt, %lrw, %lto, %ltr = moe.slice_rows %eo, %rt, %rw, %to, %tr [0, 2]
      : tensor<4xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
        tensor<?xi32>
      -> tensor<3xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ls = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%leo : tensor<3xi32>)
      tokens(%lrt : tensor<?xi32>) scales(%lrw : tensor<?xf32>)
      weights(%a, %b : tensor<2x6x4xf32>, tensor<2x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%p: f32):
    moe.yield %p : f32
  }
  %ly = moe.combine_rows rows(%ls : tensor<?x4xf32>)
      offsets(%lto : tensor<?xi32>) indices(%ltr : tensor<?xi32>)
      weights(%lrw : tensor<?xf32>) unweighted [true] -> tensor<?x4xf32>
  %seo, %srt, %srw, %sto, %str = moe.all_rows %x : tensor<?x4xf32>
      -> tensor<2xi32>, tensor<?xi32>, tensor<?xf32>, tensor<?xi32>,
         tensor<?xi32>
  %ss = moe.grouped_ffn ins(%x : tensor<?x4xf32>) offsets(%seo : tensor<2xi32>)
      tokens(%srt : tensor<?xi32>)
      weights(%c, %d : tensor<1x6x4xf32>, tensor<1x4x6xf32>) parts 1
      -> tensor<?x4xf32> {
  ^bb0(%p: f32):
    moe.yield %p : f32
  }
  %sy = moe.combine_rows rows(%ss : tensor<?x4xf32>)
      offsets(%sto : tensor<?xi32>) indices(%str : tensor<?xi32>)
      weights(%srw : tensor<?xf32>) -> tensor<?x4xf32>
  %s = arith.addf %hy, %sy : tensor<?x4xf32>
  %y = arith.addf %s, %ly : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
