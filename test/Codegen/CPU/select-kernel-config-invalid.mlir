// RUN: moe-opt %s --split-input-file --moe-select-kernel-config --verify-diagnostics

// expected-error @+1 {{unknown target "riscv64" in 'moe.targets'; known are "x86-64" (all x86 levels), "x86-64-v3", "x86-64-v4" and "x86-64-amx"}}
module attributes {moe.targets = ["x86-64", "riscv64"]} {
}

// -----

// expected-error @+1 {{unknown target 3 : i64 in 'moe.targets'}}
module attributes {moe.targets = [3]} {
}

// -----

// expected-error @+1 {{module has no attribute 'moe.targets', an array of the targets to generate code for}}
module {
}

// -----

// expected-error @+1 {{module has no attribute 'moe.targets'}}
module attributes {moe.targets = []} {
}
