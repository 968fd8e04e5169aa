// arith, math, tensor and scf, on scalars and element by element.

// RUN: moe-interpret %s --function=integers --print | FileCheck %s --check-prefix=INTEGERS
// RUN: moe-interpret %s --function=floats --print | FileCheck %s --check-prefix=FLOATS
// RUN: moe-interpret %s --function=roundings --print | FileCheck %s --check-prefix=ROUNDINGS
// RUN: moe-interpret %s --function=functions --print | FileCheck %s --check-prefix=FUNCTIONS
// RUN: moe-interpret %s --function=tensors --print | FileCheck %s --check-prefix=TENSORS
// RUN: moe-interpret %s --function=control --print | FileCheck %s --check-prefix=CONTROL

// Eight bits wrap around; unsigned ops read them without a sign.
// INTEGERS: y0: 5xi8 = [-56, 72, -128, 1, -1]
// INTEGERS: y1: 5xi8 = [2, -56, -128, 1, -1]
// INTEGERS: y2: 5xi8 = [50, 100, 64, 0, 127]
// INTEGERS: y3: 5xi1 = [0, 0, -1, 0, -1]
// INTEGERS: y4: 5xi1 = [0, -1, -1, -1, -1]
// INTEGERS: y5: 5xi32 = [100, 200, 128, 1, 255]
func.func @integers() -> (tensor<5xi8>, tensor<5xi8>, tensor<5xi8>,
                          tensor<5xi1>, tensor<5xi1>, tensor<5xi32>) {
  %a = arith.constant dense<[100, -56, -128, 1, -1]> : tensor<5xi8>
  %b = arith.constant dense<[100, -128, 127, 0, 0]> : tensor<5xi8>
  %c = arith.constant dense<[100, -128, 0, 0, 0]> : tensor<5xi8>
  %two = arith.constant dense<2> : tensor<5xi8>
  %s = arith.addi %a, %c : tensor<5xi8>
  %d = arith.minsi %a, %two : tensor<5xi8>
  %h = arith.divui %a, %two : tensor<5xi8>
  %l = arith.cmpi slt, %a, %b : tensor<5xi8>
  %g = arith.cmpi ugt, %a, %b : tensor<5xi8>
  %u = arith.extui %a : tensor<5xi8> to tensor<5xi32>
  return %s, %d, %h, %l, %g, %u
      : tensor<5xi8>, tensor<5xi8>, tensor<5xi8>, tensor<5xi1>, tensor<5xi1>,
        tensor<5xi32>
}

// Minima and maxima know NaNs and the sign of zero.
// FLOATS: y0: 3xf32 = [nan, -0, 1]
// FLOATS: y1: 3xf32 = [2, 0, 2]
// FLOATS: y2: 3xi1 = [0, 0, -1]
// FLOATS: y3: 3xf32 = [2, -0, 1]
// FLOATS: y4: 3xi32 = [-2, 0, 1]
func.func @floats() -> (tensor<3xf32>, tensor<3xf32>, tensor<3xi1>,
                        tensor<3xf32>, tensor<3xi32>) {
  %a = arith.constant dense<[0x7FC00000, -0.0, 1.0]> : tensor<3xf32>
  %b = arith.constant dense<[2.0, 0.0, 2.0]> : tensor<3xf32>
  %min = arith.minimumf %a, %b : tensor<3xf32>
  %max = arith.maxnumf %a, %b : tensor<3xf32>
  %lt = arith.cmpf olt, %a, %b : tensor<3xf32>
  %c = arith.constant dense<[false, true, true]> : tensor<3xi1>
  %sel = arith.select %c, %a, %b : tensor<3xi1>, tensor<3xf32>
  %d = arith.constant dense<[-2.9, 0.9, 1.5]> : tensor<3xf32>
  %i = arith.fptosi %d : tensor<3xf32> to tensor<3xi32>
  return %min, %max, %lt, %sel, %i
      : tensor<3xf32>, tensor<3xf32>, tensor<3xi1>, tensor<3xf32>,
        tensor<3xi32>
}

// Every op rounds: 2^24 + 1 is 2^24 in f32, 256 + 1 is 256 in bf16.
// ROUNDINGS: y0: f32 = 0
// ROUNDINGS: y1: bf16 = 0
// ROUNDINGS: y2: i32 = 1065353216
// ROUNDINGS: y3: bf16 = -2
func.func @roundings() -> (f32, bf16, i32, bf16) {
  %big = arith.constant 16777216.0 : f32
  %one = arith.constant 1.0 : f32
  %s = arith.addf %big, %one : f32
  %d = arith.subf %s, %big : f32
  %nb = arith.constant 256.0 : bf16
  %n1 = arith.constant 1.0 : bf16
  %ns = arith.addf %nb, %n1 : bf16
  %nd = arith.subf %ns, %nb : bf16
  %bits = arith.bitcast %one : f32 to i32
  %i = arith.constant 0xC000 : i16
  %v = arith.bitcast %i : i16 to bf16
  return %d, %nd, %bits, %v : f32, bf16, i32, bf16
}

// FUNCTIONS: y0: f32 = 7.389056
// FUNCTIONS: y1: f32 = 0.9640276
// FUNCTIONS: y2: f32 = 0.9953223
// FUNCTIONS: y3: f32 = 0.7071068
// FUNCTIONS: y4: f32 = 8
// FUNCTIONS: y5: f32 = 7
func.func @functions() -> (f32, f32, f32, f32, f32, f32) {
  %two = arith.constant 2.0 : f32
  %three = arith.constant 3.0 : f32
  %e = math.exp %two : f32
  %t = math.tanh %two : f32
  %f = math.erf %two : f32
  %r = math.rsqrt %two : f32
  %p = math.powf %two, %three : f32
  %m = math.fma %two, %two, %three : f32
  return %e, %t, %f, %r, %p, %m : f32, f32, f32, f32, f32, f32
}

// TENSORS: y0: 2xf32 = [2, 6]
// TENSORS: y1: 3x3xf32 = {{\[\[}}9, 9, 9], [9, 1, 2], [9, 3, 4]]
// TENSORS: y2: 2x3xf32 = {{\[\[}}1, 7, 3], [4, 8, 6]]
// TENSORS: y3: 6xf32 = [1, 2, 3, 4, 5, 6]
// TENSORS: y4: 2xindex = [2, 3]
func.func @tensors() -> (tensor<2xf32>, tensor<3x3xf32>, tensor<2x3xf32>,
                         tensor<6xf32>, tensor<2xindex>) {
  %a = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]>
      : tensor<2x3xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %d0 = tensor.dim %a, %c0 : tensor<2x3xf32>
  %d1 = tensor.dim %a, %c1 : tensor<2x3xf32>
  %dims = tensor.from_elements %d0, %d1 : tensor<2xindex>
  %flat = tensor.collapse_shape %a [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
  %e = tensor.extract_slice %flat[1] [2] [4] : tensor<6xf32> to tensor<2xf32>
  %sq = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %nine = arith.constant 9.0 : f32
  %p = tensor.pad %sq low[1, 1] high[0, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %nine : f32
  } : tensor<2x2xf32> to tensor<3x3xf32>
  %col = arith.constant dense<[7.0, 8.0]> : tensor<2xf32>
  %ins = tensor.insert_slice %col into %a[0, 1] [2, 1] [1, 1]
      : tensor<2xf32> into tensor<2x3xf32>
  return %e, %p, %ins, %flat, %dims
      : tensor<2xf32>, tensor<3x3xf32>, tensor<2x3xf32>, tensor<6xf32>,
        tensor<2xindex>
}

// Writes i * i where i is odd; adds up what is written.
// CONTROL: y0: 4xf32 = [0, 1, 0, 9]
// CONTROL: y1: f32 = 10
func.func @control() -> (tensor<4xf32>, f32) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0.0 : f32
  %init = tensor.splat %zero : tensor<4xf32>
  %r:2 = scf.for %i = %c0 to %c4 step %c1 iter_args(%t = %init, %s = %zero)
      -> (tensor<4xf32>, f32) {
    %m = arith.remui %i, %c2 : index
    %odd = arith.cmpi eq, %m, %c1 : index
    %n:2 = scf.if %odd -> (tensor<4xf32>, f32) {
      %q = arith.muli %i, %i : index
      %w = arith.index_cast %q : index to i32
      %v = arith.sitofp %w : i32 to f32
      %u = tensor.insert %v into %t[%i] : tensor<4xf32>
      %x = arith.addf %s, %v : f32
      scf.yield %u, %x : tensor<4xf32>, f32
    } else {
      scf.yield %t, %s : tensor<4xf32>, f32
    }
    scf.yield %n#0, %n#1 : tensor<4xf32>, f32
  }
  return %r#0, %r#1 : tensor<4xf32>, f32
}
