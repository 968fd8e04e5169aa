// What only shows when values are known.

// RUN: bash -c 'moe-interpret %s --function=out_of_range; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: bash -c 'moe-interpret %s --function=repeated; echo exit=$?' 2>&1 | FileCheck %s --check-prefix=REPEATED
// RUN: not moe-interpret %s --function=grouped 2>&1 | FileCheck %s --check-prefix=GROUPED
// RUN: not moe-interpret %s --function=tokens 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not moe-interpret %s --function=extra_row 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not moe-interpret %s --function=index 2>&1 | FileCheck %s --check-prefix=INDEX
// RUN: not moe-interpret %s --function=offsets 2>&1 | FileCheck %s --check-prefix=OFFSETS

!r = !moe.routing<experts = 4, per_token = 2>

// RANGE: error[MOE0014]: token 1 names expert 4, but the experts are 0 to 3
// RANGE-NEXT: --> {{.*}}graph-invalid.mlir:[[@LINE+7]]:8
// RANGE: exit=1
func.func @out_of_range() -> tensor<4xi64> {
  %i = arith.constant dense<[[0, 1], [2, 4]]> : tensor<2x2xi32>
  %w = arith.constant dense<1.0> : tensor<2x2xf32>
  // The location is that of the op.
  //
  %r = moe.assign %i, %w : tensor<2x2xi32>, tensor<2x2xf32> -> !r
  %c = moe.expert_counts %r : !r -> tensor<4xi64>
  return %c : tensor<4xi64>
}

// REPEATED: error[MOE0014]: token 0 names expert 3 twice
// REPEATED: exit=1
func.func @repeated() -> tensor<4xi64> {
  %i = arith.constant dense<[[3, 3]]> : tensor<1x2xi32>
  %w = arith.constant dense<1.0> : tensor<1x2xf32>
  %r = moe.assign %i, %w : tensor<1x2xi32>, tensor<1x2xf32> -> !r
  %c = moe.expert_counts %r : !r -> tensor<4xi64>
  return %c : tensor<4xi64>
}

// GROUPED: error[MOE0014]: token 0 names expert -2, but the experts are 0 to 3
func.func @grouped() -> tensor<5xi32> {
  %i = arith.constant dense<[[3, -2]]> : tensor<1x2xi32>
  %w = arith.constant dense<1.0> : tensor<1x2xf32>
  %eo, %rt, %rw, %to, %tr = moe.group_rows %i, %w given
      : tensor<1x2xi32>, tensor<1x2xf32> -> tensor<5xi32>, tensor<2xi32>,
        tensor<2xf32>, tensor<2xi32>, tensor<2xi32>
  return %eo : tensor<5xi32>
}

// TOKENS: 'moe.dispatch' op dispatches 3 tokens by a routing of 2
func.func @tokens() -> tensor<?x1xf32> {
  %i = arith.constant dense<[[0, 1], [2, 3]]> : tensor<2x2xi32>
  %w = arith.constant dense<1.0> : tensor<2x2xf32>
  %x = arith.constant dense<1.0> : tensor<3x1xf32>
  %r = moe.assign %i, %w : tensor<2x2xi32>, tensor<2x2xf32> -> !r
  %y = moe.dispatch %x by %r : tensor<3x1xf32>, !r -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// ROWS: 'moe.experts' op expert 0 turned 1 rows into 2x1xf32
func.func @extra_row() -> tensor<?x1xf32> {
  %x = arith.constant dense<1.0> : tensor<1x1xf32>
  %r = moe.assign_all %x
      : tensor<1x1xf32> -> !moe.routing<experts = 1, per_token = 1>
  %xd = tensor.cast %x : tensor<1x1xf32> to tensor<?x1xf32>
  %y = moe.experts ins(%xd) by %r
      : (tensor<?x1xf32>), !moe.routing<experts = 1, per_token = 1>
      -> tensor<?x1xf32> {
  ^bb0(%t: tensor<?x1xf32>):
    %two = arith.constant dense<2.0> : tensor<2x1xf32>
    %o = tensor.cast %two : tensor<2x1xf32> to tensor<?x1xf32>
    moe.yield %o : tensor<?x1xf32>
  }
  return %y : tensor<?x1xf32>
}

// INDEX: 'moe.gather_rows' op has index 2 at 1 of a list of indices below 2
func.func @index() -> tensor<2x1xf32> {
  %x = arith.constant dense<1.0> : tensor<2x1xf32>
  %t = arith.constant dense<[0, 2]> : tensor<2xi32>
  %y = moe.gather_rows %x[%t]
      : tensor<2x1xf32>, tensor<2xi32> -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// OFFSETS: 'moe.map_rows' op has offsets that do not ascend from 0 to at most 2
func.func @offsets() -> tensor<2x1xf32> {
  %x = arith.constant dense<1.0> : tensor<2x1xf32>
  %o = arith.constant dense<[0, 3]> : tensor<2xi32>
  %y = moe.map_rows rows(%x : tensor<2x1xf32>) offsets(%o : tensor<2xi32>)
      -> tensor<2x1xf32> {
  ^bb0(%r: tensor<1x1xf32>):
    moe.yield %r : tensor<1x1xf32>
  }
  return %y : tensor<2x1xf32>
}
