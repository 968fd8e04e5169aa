// Encoded weights: numbers by hand, and what does not fit.

// RUN: rm -rf %t && mkdir %t && %python %S/Inputs/make_int8.py %t/model.safetensors
// RUN: moe-interpret %s --function=read --weights=%t --print | FileCheck %s
// RUN: bash -c 'moe-interpret %s --function=get_missing --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: bash -c 'moe-interpret %s --function=get_thirds --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=THIRDS
// RUN: bash -c 'moe-interpret %s --function=get_flat --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=FLAT
// RUN: bash -c 'moe-interpret %s --function=get_type --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: bash -c 'moe-interpret %s --function=get_fp8 --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=FP8
// RUN: bash -c 'moe-interpret %s --function=get_stored --weights=%t; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=STORED

// CHECK: y0: 4x6xf32 = {{\[\[}}-12, -11, -10, -9, -8, -7], [-12, -10, -8, -6, -4, -2], [0, 0.5, 1, 1.5, 2, 2.5], [-6, -7, -8, -9, -10, -11]]
// CHECK: y1: 4x6xf32 = {{\[\[}}-12, -11, -20, -18, -8, -7], [-6, -5, -8, -6, -2, -1], [0, 2, 2, 3, 8, 10], [12, 14, 8, 9, 20, 22]]
// CHECK: y2: 6x2x2xf32 = {{\[\[\[}}-12, -11], [-10, -9]], {{\[\[}}-8, -7], [-12, -10]], {{\[\[}}-8, -6], [-4, -2]], {{\[\[}}0, 0.5], [1, 1.5]], {{\[\[}}2, 2.5], [-6, -7]], {{\[\[}}-8, -9], [-10, -11]]]
moe.weight @rows : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["rows"]
moe.weight @halves : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["halves"]
moe.weight @cube : tensor<6x2x2xf32> from ["codes"]
    encoding int8_scaled scales ["rows"] stored [4, 6]
func.func @read() -> (tensor<4x6xf32>, tensor<4x6xf32>, tensor<6x2x2xf32>) {
  %a = moe.get_weight @rows : tensor<4x6xf32>
  %b = moe.get_weight @halves : tensor<4x6xf32>
  %c = moe.get_weight @cube : tensor<6x2x2xf32>
  return %a, %b, %c : tensor<4x6xf32>, tensor<4x6xf32>, tensor<6x2x2xf32>
}

// MISSING: error[MOE0402]: weight @missing: no tensor 'none' in
// MISSING: exit=4
moe.weight @missing : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["none"]
func.func @get_missing() -> tensor<4x6xf32> {
  %a = moe.get_weight @missing : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}

// THIRDS: error[MOE0402]: weight @thirds: tensor 'thirds' in {{.*}} has shape [3, 1], whose extents must divide those of [4, 6]
// THIRDS: exit=4
moe.weight @thirds : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["thirds"]
func.func @get_thirds() -> tensor<4x6xf32> {
  %a = moe.get_weight @thirds : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}

// FLAT: error[MOE0402]: weight @flat: tensor 'flat' in {{.*}} has shape [4], whose extents must divide those of [4, 6]
// FLAT: exit=4
moe.weight @flat : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["flat"]
func.func @get_flat() -> tensor<4x6xf32> {
  %a = moe.get_weight @flat : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}

// TYPE: error[MOE0402]: weight @type: tensor 'codes' in {{.*}} is I8 [4, 6], expected F32 [4, 6]
// TYPE: exit=4
moe.weight @type : tensor<4x6xf32> from ["codes"]
func.func @get_type() -> tensor<4x6xf32> {
  %a = moe.get_weight @type : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}

// FP8: error[MOE0402]: weight @fp8: tensor 'codes' in {{.*}} is I8 [4, 6], expected F8_E4M3 [4, 6]
// FP8: exit=4
moe.weight @fp8 : tensor<4x6xf32> from ["codes"]
    encoding fp8_block scales ["rows"] block [2, 2]
func.func @get_fp8() -> tensor<4x6xf32> {
  %a = moe.get_weight @fp8 : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}

// STORED: error[MOE0402]: weight @stored: tensor 'codes' in {{.*}} is I8 [4, 6], expected I8 [24]
// STORED: exit=4
moe.weight @stored : tensor<4x6xf32> from ["codes"]
    encoding int8_scaled scales ["rows"] stored [24]
func.func @get_stored() -> tensor<4x6xf32> {
  %a = moe.get_weight @stored : tensor<4x6xf32>
  return %a : tensor<4x6xf32>
}
