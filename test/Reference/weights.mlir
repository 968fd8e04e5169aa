// Weights from a checkpoint, which the first run writes.

// RUN: rm -rf %t && mkdir %t
// RUN: moe-interpret %s --function=checkpoint --output=@%t/model.safetensors:w.0.x --output=@%t/model.safetensors:w.1.x --output=@%t/model.safetensors:b
// RUN: moe-interpret %s --function=read --weights=%t --print | FileCheck %s
// RUN: moe-interpret %s --function=read --weights=%t/model.safetensors --print | FileCheck %s
// RUN: bash -c 'moe-interpret %s --function=get_missing --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: bash -c 'moe-interpret %s --function=get_shape --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=SHAPE
// RUN: bash -c 'moe-interpret %s --function=get_dtype --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=DTYPE
// RUN: bash -c 'moe-interpret %s --function=get_range --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: bash -c 'moe-interpret %s --function=get_missing; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: bash -c 'moe-interpret %s --function=read --weights=%t/none; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOWHERE

func.func @checkpoint() -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<4xbf16>) {
  %a = arith.constant dense<[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]>
      : tensor<2x3xf32>
  %b = arith.constant dense<[[10.0, 11.0, 12.0], [13.0, 14.0, 15.0]]>
      : tensor<2x3xf32>
  %c = arith.constant dense<[0.5, 1.5, 2.5, 3.5]> : tensor<4xbf16>
  return %a, %b, %c : tensor<2x3xf32>, tensor<2x3xf32>, tensor<4xbf16>
}

moe.weight @stacked : tensor<2x2x3xf32> from ["w.{0..1}.x"] stack
moe.weight @transposed : tensor<2x3x2xf32> from ["w.1.x", "w.0.x"] stack transpose
moe.weight @columns : tensor<2x2xf32> from ["w.0.x"] split [1, 0, 2, 1, 3]
moe.weight @odd : tensor<2xbf16> from ["b"] split [0, 0, 4, 2, 4]
moe.weight @long : tensor<2xbf16> from ["b"] split [0, 1, 5, 2, 5]
moe.weight @tail : tensor<2xbf16> from ["b"] split [0, 2, 4, 1, 4]

// CHECK: y0: 2x2x3xf32 = {{\[\[\[}}0, 1, 2], [3, 4, 5]], {{\[\[}}10, 11, 12], [13, 14, 15]]]
// CHECK: y1: 2x3x2xf32 = {{\[\[\[}}10, 13], [11, 14], [12, 15]], {{\[\[}}0, 3], [1, 4], [2, 5]]]
// CHECK: y2: 2xbf16 = [2.5, 3.5]
// CHECK: y3: 2x2xf32 = {{\[\[}}0, 1], [3, 4]]
// CHECK: y4: 2xbf16 = [0.5, 2.5]
func.func @read() -> (tensor<2x2x3xf32>, tensor<2x3x2xf32>, tensor<2xbf16>,
                      tensor<2x2xf32>, tensor<2xbf16>) {
  %a = moe.get_weight @stacked : tensor<2x2x3xf32>
  %b = moe.get_weight @transposed : tensor<2x3x2xf32>
  %c = moe.get_weight @tail : tensor<2xbf16>
  %d = moe.get_weight @columns : tensor<2x2xf32>
  %e = moe.get_weight @odd : tensor<2xbf16>
  return %a, %b, %c, %d, %e
      : tensor<2x2x3xf32>, tensor<2x3x2xf32>, tensor<2xbf16>, tensor<2x2xf32>,
        tensor<2xbf16>
}

// MISSING: error[MOE0402]: weight @missing: no tensor 'w.2.x' in {{.*}}
// MISSING-NEXT: --> {{.*}}weights.mlir:[[@LINE+3]]:1
// MISSING: exit=4
// NONE: error[MOE0401]: weight @missing is needed, but no weights were given; fix: --weights=DIR
moe.weight @missing : tensor<3x2x3xf32> from ["w.{0..2}.x"] stack
func.func @get_missing() -> tensor<3x2x3xf32> {
  %a = moe.get_weight @missing : tensor<3x2x3xf32>
  return %a : tensor<3x2x3xf32>
}

// SHAPE: error[MOE0402]: weight @shape: tensor 'w.1.x' in {{.*}} is F32 [2, 3], expected F32 [3, 2]
// SHAPE: exit=4
moe.weight @shape : tensor<3x2xf32> from ["w.1.x"]
func.func @get_shape() -> tensor<3x2xf32> {
  %a = moe.get_weight @shape : tensor<3x2xf32>
  return %a : tensor<3x2xf32>
}

// DTYPE: error[MOE0402]: weight @dtype: tensor 'b' in {{.*}} is BF16 [4], expected F32 [4]
// DTYPE: exit=4
moe.weight @dtype : tensor<4xf32> from ["b"]
func.func @get_dtype() -> tensor<4xf32> {
  %a = moe.get_weight @dtype : tensor<4xf32>
  return %a : tensor<4xf32>
}

// RANGE: error[MOE0402]: weight @long: tensor 'b' in {{.*}} is BF16 [4], expected BF16 [5]
// RANGE: exit=4
func.func @get_range() -> tensor<2xbf16> {
  %a = moe.get_weight @long : tensor<2xbf16>
  return %a : tensor<2xbf16>
}

// NOWHERE: error[MOE0401]: no checkpoint at '{{.*}}none'
// NOWHERE: exit=4
