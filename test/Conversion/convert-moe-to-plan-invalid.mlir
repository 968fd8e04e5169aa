// RUN: moe-opt %s -convert-moe-to-plan -split-input-file -verify-diagnostics

// What moe-verify-routed refuses is refused here as well, with its words.

// expected-error@below {{function 'declaration' has no body to compile}}
func.func private @declaration(tensor<?x8xf32>) -> tensor<?x8xf32>

// -----

func.func @tensor_code(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error@below {{'arith.addf' stands outside a kernel region after the phase 'routed'}}
  %y = arith.addf %x, %x : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Two inputs cannot have one name.
// expected-error@below {{'plan.func' op C6: }}
func.func @names(%x: tensor<?x8xf32> {moe.name = "x"},
                 %y: tensor<?x8xf32> {moe.name = "x"}) -> tensor<?x8xf32> {
  return %x : tensor<?x8xf32>
}

// -----

// expected-error@below {{attribute 'moe.max_tokens' must be a positive i64, got "many"}}
module attributes {moe.max_tokens = "many"} {
  func.func @bounded(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
    return %x : tensor<?x8xf32>
  }
}

// -----

// expected-error@below {{attribute 'moe.max_tokens' must be a positive i64, got 0 : i64}}
module attributes {moe.max_tokens = 0 : i64} {
  func.func @bounded(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
    return %x : tensor<?x8xf32>
  }
}
