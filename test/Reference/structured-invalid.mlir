// RUN: not moe-interpret %s --function=unwritten 2>&1 | FileCheck %s --check-prefix=UNWRITTEN
// RUN: not moe-interpret %s --function=accumulates 2>&1 | FileCheck %s --check-prefix=ACCUMULATES
// RUN: not moe-interpret %s --function=partly 2>&1 | FileCheck %s --check-prefix=PARTLY
// RUN: not moe-interpret %s --function=returned 2>&1 | FileCheck %s --check-prefix=RETURNED
// RUN: not moe-interpret %s --function=extents 2>&1 | FileCheck %s --check-prefix=EXTENTS
// RUN: not moe-interpret %s --function=outside 2>&1 | FileCheck %s --check-prefix=OUTSIDE
// RUN: not moe-interpret %s --function=unknown 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not moe-interpret %s --function=unknown_scalar 2>&1 | FileCheck %s --check-prefix=SCALAR
// RUN: not moe-interpret %s --function=buffers 2>&1 | FileCheck %s --check-prefix=BUFFERS
// RUN: not moe-interpret %s --function=divides 2>&1 | FileCheck %s --check-prefix=DIVIDES
// RUN: not moe-interpret %s --function=slice 2>&1 | FileCheck %s --check-prefix=SLICE
// RUN: not moe-interpret %s --function=type 2>&1 | FileCheck %s --check-prefix=TYPE

// UNWRITTEN: structured-invalid.mlir:[[@LINE+4]]:8: error: 'arith.addf' op reads a tensor of 2xf32 with elements that were never written
func.func @unwritten() -> tensor<2xf32> {
  %a = tensor.empty() : tensor<2xf32>
  //
  %b = arith.addf %a, %a : tensor<2xf32>
  return %b : tensor<2xf32>
}

// ACCUMULATES: 'linalg.matmul' op reads a tensor of 1x1xf32 with elements that were never written
func.func @accumulates() -> tensor<1x1xf32> {
  %a = arith.constant dense<1.0> : tensor<1x1xf32>
  %e = tensor.empty() : tensor<1x1xf32>
  %b = linalg.matmul ins(%a, %a : tensor<1x1xf32>, tensor<1x1xf32>)
      outs(%e : tensor<1x1xf32>) -> tensor<1x1xf32>
  return %b : tensor<1x1xf32>
}

// PARTLY: 'tensor.extract' op reads an element that was never written
func.func @partly() -> f32 {
  %a = arith.constant dense<1.0> : tensor<1xf32>
  %e = tensor.empty() : tensor<3xf32>
  %b = tensor.insert_slice %a into %e[1] [1] [1]
      : tensor<1xf32> into tensor<3xf32>
  %one = arith.constant 1 : index
  %two = arith.constant 2 : index
  %x = tensor.extract %b[%one] : tensor<3xf32>
  %y = tensor.extract %b[%two] : tensor<3xf32>
  return %y : f32
}

// RETURNED: 'func.func' op returns result 0 with elements that were never written
func.func @returned() -> tensor<2xf32> {
  %a = tensor.empty() : tensor<2xf32>
  return %a : tensor<2xf32>
}

// EXTENTS: 'linalg.generic' op operand 1 has extent 2 in dimension 0, but its loop runs to 3
func.func @extents() -> tensor<?xf32> {
  %a = arith.constant dense<1.0> : tensor<3xf32>
  %b = arith.constant dense<1.0> : tensor<2xf32>
  %c = tensor.cast %a : tensor<3xf32> to tensor<?xf32>
  %d = tensor.cast %b : tensor<2xf32> to tensor<?xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>,
                                        affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}
      ins(%c : tensor<?xf32>) outs(%d : tensor<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    linalg.yield %x : f32
  } -> tensor<?xf32>
  return %e : tensor<?xf32>
}

// OUTSIDE: 'linalg.generic' op accesses operand 0 outside its shape
func.func @outside() -> tensor<?xf32> {
  %a = arith.constant dense<1.0> : tensor<3xf32>
  %c = tensor.cast %a : tensor<3xf32> to tensor<?xf32>
  %three = arith.constant 3 : index
  %e = tensor.empty(%three) : tensor<?xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i + 1)>,
                                        affine_map<(i) -> (i)>],
                       iterator_types = ["parallel"]}
      ins(%c : tensor<?xf32>) outs(%e : tensor<?xf32>) {
  ^bb0(%x: f32, %y: f32):
    linalg.yield %x : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// UNKNOWN: structured-invalid.mlir:[[@LINE+4]]:8: error: 'tensor.gather' op is not known to the interpreter
func.func @unknown() -> tensor<1x1xf32> {
  %x = arith.constant dense<1.0> : tensor<2xf32>
  %i = arith.constant dense<0> : tensor<1x1xindex>
  %y = tensor.gather %x[%i] gather_dims([0])
      : (tensor<2xf32>, tensor<1x1xindex>) -> tensor<1x1xf32>
  return %y : tensor<1x1xf32>
}

// SCALAR: 'scf.if' op is not known to the interpreter
func.func @unknown_scalar() -> tensor<1xf32> {
  %a = arith.constant dense<1.0> : tensor<1xf32>
  %c = arith.constant true
  %r = linalg.map ins(%a : tensor<1xf32>) outs(%a : tensor<1xf32>)
    (%x: f32, %o: f32) {
      %y = scf.if %c -> f32 {
        scf.yield %x : f32
      } else {
        scf.yield %o : f32
      }
      linalg.yield %y : f32
    }
  return %r : tensor<1xf32>
}

// BUFFERS: 'memref.alloc' op is not known to the interpreter
func.func @buffers() {
  %a = memref.alloc() : memref<2xf32>
  return
}

// DIVIDES: 'arith.divsi' op divides by zero
func.func @divides() -> i32 {
  %z = arith.constant 0 : i32
  %q = arith.divsi %z, %z : i32
  return %q : i32
}

// SLICE: 'tensor.extract_slice' op takes [2, +2 step 1] of dimension 0, which has extent 3
func.func @slice() -> tensor<?xf32> {
  %a = arith.constant dense<1.0> : tensor<3xf32>
  %two = arith.constant 2 : index
  %s = tensor.extract_slice %a[%two] [%two] [1]
      : tensor<3xf32> to tensor<?xf32>
  return %s : tensor<?xf32>
}

// TYPE: 'tensor.cast' op gives a tensor of 3xf32 where its type is 'tensor<2xf32>'
func.func @type() -> tensor<2xf32> {
  %a = arith.constant dense<1.0> : tensor<3xf32>
  %b = tensor.cast %a : tensor<3xf32> to tensor<?xf32>
  %c = tensor.cast %b : tensor<?xf32> to tensor<2xf32>
  return %c : tensor<2xf32>
}
