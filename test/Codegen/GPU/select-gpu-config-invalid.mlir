// RUN: moe-opt %s -moe-select-gpu-config -verify-diagnostics

// expected-error @below {{unknown GPU architecture "sm_70"}}
module attributes {moe.targets = ["x86-64", "sm_70"]} {
}
