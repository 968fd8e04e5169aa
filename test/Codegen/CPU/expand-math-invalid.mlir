// RUN: moe-opt %s --split-input-file --moe-expand-math --verify-diagnostics

func.func @exp_f64(%x: f64) -> f64 {
  // expected-error @+1 {{no expansion of 'math.exp' on 'f64': it would call a math library}}
  %y = math.exp %x : f64
  return %y : f64
}

// -----

func.func @sincos(%x: f32) -> f32 {
  // expected-error @+1 {{no expansion of 'math.sincos' on 'f32': it would call a math library}}
  %s, %c = math.sincos %x : f32
  return %s : f32
}

// -----

func.func @remainder(%x: f32) -> f32 {
  // expected-error @+1 {{no expansion of 'arith.remf': it would call a math library}}
  %y = arith.remf %x, %x : f32
  return %y : f32
}

// -----

func.func @double_to_half(%x: f64) -> f16 {
  // expected-error @+1 {{no expansion of 'arith.truncf' from 'f64' to 'f16': it would call a math library}}
  %y = arith.truncf %x : f64 to f16
  return %y : f16
}
