// The command line: files in and out, comparison, ranks, routing, errors.

// RUN: rm -rf %t && mkdir %t
// RUN: moe-interpret %s --function=make --output=@%t/a.npy --output=c=@%t/s.safetensors --output=b=@%t/s.safetensors:b
// RUN: moe-interpret %s --function=add --input=@%t/a.npy --input=@%t/s.safetensors:b --print | FileCheck %s --check-prefix=ADD
// RUN: moe-interpret %s --function=add --input=v=@%t/s.safetensors:b --input=u=@%t/a.npy --output=@%t/y.npy
// RUN: moe-interpret %s --function=add --input=@%t/a.npy --input=@%t/s.safetensors:b --expected-output=@%t/y.npy | FileCheck %s --check-prefix=SAME
// RUN: bash -c 'moe-interpret %s --function=add --input=@%t/a.npy --input=@%t/a.npy --expected-output=@%t/y.npy --rel-frobenius=0.1; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=DIFFERENT
// RUN: moe-interpret %s --function=add --input=@%t/a.npy --input=@%t/a.npy --expected-output=@%t/y.npy --atol=29

// ADD: w: 3xf32 = [11, 22, 33]
// SAME: w: matches, relative Frobenius norm 0
// DIFFERENT: error[MOE0501]: output w differs from the expected one
// DIFFERENT-NEXT: --> {{.*}}y.npy
// DIFFERENT-NEXT: because relative Frobenius norm 0.818 (bound 0.1), worst at [2]: 6, expected 33
// DIFFERENT: exit=5

func.func @make() -> (tensor<3xf32> {moe.name = "a"},
                      tensor<3xf32> {moe.name = "b"},
                      tensor<2xbf16> {moe.name = "c"}) {
  %a = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %b = arith.constant dense<[10.0, 20.0, 30.0]> : tensor<3xf32>
  %c = arith.constant dense<[1.0, 2.0]> : tensor<2xbf16>
  return %a, %b, %c : tensor<3xf32>, tensor<3xf32>, tensor<2xbf16>
}

func.func @add(%u: tensor<?xf32> {moe.name = "u"},
               %v: tensor<?xf32> {moe.name = "v"})
    -> (tensor<?xf32> {moe.name = "w"}) {
  %s = arith.addf %u, %v : tensor<?xf32>
  return %s : tensor<?xf32>
}

// bf16 comes from safetensors, or from f32 when asked to be rounded.
// RUN: moe-interpret %s --function=brain --input=@%t/s.safetensors:c --output=@%t/c.npy --print | FileCheck %s --check-prefix=BRAIN
// RUN: moe-interpret %s --function=brain --input=@%t/c.npy --print | FileCheck %s --check-prefix=BRAIN
// RUN: moe-interpret %s --function=brain --input=@%t/a.npy --convert-inputs --print | FileCheck %s --check-prefix=CONVERTED
// RUN: bash -c 'moe-interpret %s --function=brain --input=@%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=TYPE
// BRAIN: y: 2xbf16 = [1, 2]
// CONVERTED: y: 3xbf16 = [1, 2, 3]
// TYPE: error[MOE0013]: the elements of {{.*}}a.npy are F32, expected bf16
// TYPE-NEXT: fix: --convert-inputs rounds them
// TYPE: exit=1
func.func @brain(%x: tensor<?xbf16>) -> tensor<?xbf16> {
  return %x : tensor<?xbf16>
}

// Every rank has its own files.
// RUN: moe-interpret %s --function=make --output=@%t/r0.npy
// RUN: moe-interpret %s --function=brain --input=@%t/r0.npy --convert-inputs --output=@%t/r1.safetensors
// RUN: moe-interpret %s --function=make --output=b=@%t/r1.npy
// RUN: moe-interpret %s --ranks=2 --function=add --input=@%t/r{rank}.npy --input=@%t/a.npy --output=@%t/o{rank}.npy --print | FileCheck %s --check-prefix=RANKS
// RUN: moe-interpret %s --function=add --input=@%t/o1.npy --input=@%t/o0.npy --print | FileCheck %s --check-prefix=RANKSUM
// RUN: bash -c 'moe-interpret %s --ranks=3 --function=add --input=@%t/r{rank}.npy --input=@%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NORANK
// RANKS: w of rank 0: 3xf32 = [2, 4, 6]
// RANKS: w of rank 1: 3xf32 = [11, 22, 33]
// RANKSUM: w: 3xf32 = [13, 26, 39]
// NORANK: error[MOE0010]: {{.*}}r2.npy
// NORANK: exit=1

// The routing is written in order of execution.
// RUN: moe-interpret %s --function=route --routing=@%t/r.safetensors
// RUN: moe-interpret %s --function=ids --input=@%t/r.safetensors:1.ids --input=@%t/r.safetensors:0.weights --print | FileCheck %s --check-prefix=ROUTING
// RUN: bash -c 'moe-interpret %s --function=make --routing=@%t/n.safetensors; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOROUTE
// ROUTING: y0: 1x1xi32 = {{\[\[}}1]]
// ROUTING: y1: 1x2xf32 = {{\[\[}}0.5, 0.5]]
// NOROUTE: error[MOE0002]: --routing: the function decides no routing
func.func @route() {
  %l = arith.constant dense<[[1.0, 2.0, 0.5, 2.0]]> : tensor<1x4xf32>
  %r = moe.route %l policy<score = softmax, top_k = 2, normalize>
      : tensor<1x4xf32> -> !moe.routing<experts = 4, per_token = 2>
  %s = moe.route %l policy<score = softmax, top_k = 1>
      : tensor<1x4xf32> -> !moe.routing<experts = 4, per_token = 1>
  return
}
func.func @ids(%i: tensor<?x1xi32>, %w: tensor<?x2xf32>)
    -> (tensor<?x1xi32>, tensor<?x2xf32>) {
  return %i, %w : tensor<?x1xi32>, tensor<?x2xf32>
}

// RUN: moe-interpret %s --function=make --timing 2>&1 | FileCheck %s --check-prefix=TIMING
// TIMING: s 3 x arith.constant

// Mistakes of usage.
// RUN: bash -c 'moe-interpret %s; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=WHICH
// RUN: bash -c 'moe-interpret %s --function=none; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOFUNC
// RUN: bash -c 'moe-interpret %s --function=add --input=@%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOINPUT
// RUN: bash -c 'moe-interpret %s --function=add --input=z=@%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NONAME
// RUN: bash -c 'moe-interpret %s --function=brain --input=%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOAT
// RUN: bash -c 'moe-interpret %s --function=brain --input=@%t/s.safetensors; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOTENSOR
// RUN: bash -c 'moe-interpret %s --function=brain --input=@%t/a.txt; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: bash -c 'moe-interpret %s --nonsense; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NONSENSE
// RUN: bash -c 'moe-interpret %t/none.mlir; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NOFILE
// RUN: bash -c 'moe-interpret %s --function=make --output=@%t/no/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=NODIR
// RUN: bash -c 'moe-interpret %s --function=make --output=@%t/d.npy --output=@%t/d.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: bash -c 'moe-interpret %s --function=matrix --input=@%t/a.npy; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=MATRIX
// WHICH: error[MOE0002]: --function=NAME must say which to run
// WHICH-NEXT: because the module has: make, add, brain, route, ids, matrix
// WHICH: exit=2
// NOFUNC: error[MOE0002]: no function @none in
// NOFUNC: exit=2
// NOINPUT: error[MOE0002]: no --input for 'v'
// NOINPUT-NEXT: because @add takes: u, v
// NOINPUT: exit=2
// NONAME: error[MOE0002]: --input names 'z', which does not exist
// NONAME: exit=2
// NOAT: error[MOE0001]: --input={{.*}}a.npy does not name a file
// NOAT: exit=2
// NOTENSOR: error[MOE0002]: a tensor of {{.*}}s.safetensors must be named
// NOTENSOR-NEXT: because the file holds: b, c
// NOTENSOR: exit=2
// KIND: error[MOE0001]: '{{.*}}a.txt' is neither a .npy nor a .safetensors file
// NONSENSE: Unknown command line argument '--nonsense'
// NONSENSE: exit=2
// NOFILE: error[MOE0010]: {{.*}}none.mlir
// NOFILE: exit=1
// NODIR: error[MOE0011]:
// NODIR: exit=1
// TWICE: error[MOE0002]: two outputs go to {{.*}}d.npy
// TWICE: exit=2
// MATRIX: error[MOE0013]: input 0 of @matrix is 3xf32, but the function takes 'tensor<?x3xf32>'
// MATRIX: exit=1
func.func @matrix(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  return %x : tensor<?x3xf32>
}
