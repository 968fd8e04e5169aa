// RUN: moe-opt %s --moe-expand-math | FileCheck %s

// docs/Numerics.md, exp: the reduction, six coefficients, p r^2 + r, + 1, and
// the power of two in two factors.
// CHECK-LABEL: func.func @exp(
// CHECK-SAME: %[[X:.*]]: vector<16xf32>
// CHECK-DAG: arith.constant dense<1.44269502> : vector<16xf32>
// CHECK-DAG: arith.constant dense<-0.693145751> : vector<16xf32>
// CHECK-DAG: arith.constant dense<-1.42860677E-6> : vector<16xf32>
// CHECK-DAG: arith.constant dense<1.98756912E-4> : vector<16xf32>
// CHECK-DAG: arith.constant dense<0x7F800000> : vector<16xf32>
// CHECK: math.roundeven
// CHECK-COUNT-8: math.fma
// CHECK: arith.addf
// CHECK: arith.fptosi
// CHECK: arith.shrsi
// CHECK-COUNT-2: arith.bitcast {{.*}} : vector<16xi32> to vector<16xf32>
// CHECK-NOT: math.exp
// CHECK: %[[NAN:.*]] = arith.cmpf uno, %[[X]], %[[X]]
// CHECK: return
func.func @exp(%x: vector<16xf32>) -> vector<16xf32> {
  %y = math.exp %x : vector<16xf32>
  return %y : vector<16xf32>
}

// docs/Numerics.md, log: subnormal numbers are scaled, the exponent is read from
// the bits, nine coefficients, and the logarithm of two in two parts.
// CHECK-LABEL: func.func @log(
// CHECK-SAME: %[[X:.*]]: vector<16xf32>
// CHECK-DAG: arith.constant dense<0.707106769> : vector<16xf32>
// CHECK-DAG: arith.constant dense<-2.12194442E-4> : vector<16xf32>
// CHECK-DAG: arith.constant dense<0.693359375> : vector<16xf32>
// CHECK: arith.mulf %[[X]], %{{.*}} : vector<16xf32>
// CHECK: arith.shrui
// CHECK-COUNT-8: math.fma
// CHECK: arith.sitofp
// CHECK-COUNT-3: math.fma
// CHECK-NOT: math.log
// CHECK: arith.cmpf ult, %[[X]], %{{.*}}
// CHECK: return
func.func @log(%x: vector<16xf32>) -> vector<16xf32> {
  %y = math.log %x : vector<16xf32>
  return %y : vector<16xf32>
}

// bf16 is the upper half of f32.
// CHECK-LABEL: func.func @widen(
// CHECK: %[[BITS:.*]] = arith.bitcast %{{.*}} : vector<16xbf16> to vector<16xi16>
// CHECK: %[[WIDE:.*]] = arith.extui %[[BITS]]
// CHECK: %[[UP:.*]] = arith.shli %[[WIDE]], %{{.*}} : vector<16xi32>
// CHECK: arith.bitcast %[[UP]] : vector<16xi32> to vector<16xf32>
func.func @widen(%x: vector<16xbf16>) -> vector<16xf32> {
  %y = arith.extf %x : vector<16xbf16> to vector<16xf32>
  return %y : vector<16xf32>
}

// u + 0x7fff + lowest kept bit; a NaN becomes quiet instead.
// CHECK-LABEL: func.func @round(
// CHECK-DAG: arith.constant 32767 : i32
// CHECK-DAG: arith.constant 64 : i32
// CHECK-NOT: arith.truncf
// CHECK: arith.cmpf uno
// CHECK: arith.select
// CHECK: arith.trunci %{{.*}} : i32 to i16
// CHECK: arith.bitcast %{{.*}} : i16 to bf16
func.func @round(%x: f32) -> bf16 {
  %y = arith.truncf %x : f32 to bf16
  return %y : bf16
}

// f16 conversions are instructions of the lowest level.
// CHECK-LABEL: func.func @half(
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xf16>
func.func @half(%x: vector<16xf32>) -> vector<16xf16> {
  %y = arith.truncf %x : vector<16xf32> to vector<16xf16>
  return %y : vector<16xf16>
}

// Arithmetic on bf16 rounds once, from f32.
// CHECK-LABEL: func.func @narrow_add(
// CHECK-NOT: bf16 {{.*}}addf
// CHECK: arith.addf %{{.*}}, %{{.*}} : f32
// CHECK-NOT: arith.truncf
// CHECK: return
func.func @narrow_add(%x: bf16, %y: bf16) -> bf16 {
  %z = arith.addf %x, %y : bf16
  return %z : bf16
}

// vector.fma would lower to an intrinsic that need not fuse.
// CHECK-LABEL: func.func @fuse(
// CHECK: math.fma
func.func @fuse(%x: vector<16xf32>) -> vector<16xf32> {
  %y = vector.fma %x, %x, %x : vector<16xf32>
  return %y : vector<16xf32>
}

// Everything else that upstream knows ends in arithmetic.
// CHECK-LABEL: func.func @library(
// CHECK-NOT: math.{{(tanh|erf|erfc|rsqrt|log|log2|log1p|log10|expm1|exp2|sin|cos|tan|sinh|cosh|atan|powf|cbrt|exp|asin|acos|asinh|acosh|atanh|atan2|clampf) }}
// CHECK: return
func.func @library(%x: f32, %y: f32) -> f32 {
  %0 = math.tanh %x : f32
  %1 = math.erf %0 : f32
  %2 = math.rsqrt %1 : f32
  %3 = math.log %2 : f32
  %4 = math.log2 %3 : f32
  %5 = math.log1p %4 : f32
  %6 = math.log10 %5 : f32
  %7 = math.expm1 %6 : f32
  %8 = math.exp2 %7 : f32
  %9 = math.sin %8 : f32
  %10 = math.cos %9 : f32
  %11 = math.tan %10 : f32
  %12 = math.sinh %11 : f32
  %13 = math.cosh %12 : f32
  %14 = math.atan %13 : f32
  %15 = math.powf %14, %y : f32
  %16 = math.cbrt %15 : f32
  %17 = math.erfc %16 : f32
  %18 = math.asin %17 : f32
  %19 = math.acos %18 : f32
  %20 = math.asinh %19 : f32
  %21 = math.acosh %20 : f32
  %22 = math.atanh %21 : f32
  %23 = math.atan2 %22, %y : f32
  return %23 : f32
}

// Halves go away from zero, also the number below one half.
// CHECK-LABEL: func.func @round_away(
// CHECK-SAME: %[[X:.*]]: f32
// CHECK: %[[WHOLE:.*]] = math.trunc %[[X]]
// CHECK: %[[REST:.*]] = arith.subf %[[X]], %[[WHOLE]]
// CHECK: %[[SIZE:.*]] = math.absf %[[REST]]
// CHECK: %[[ONE:.*]] = math.copysign %{{.*}}, %[[X]]
// CHECK: %[[AWAY:.*]] = arith.addf %[[WHOLE]], %[[ONE]]
// CHECK: %[[HALF:.*]] = arith.cmpf oge, %[[SIZE]], %{{.*}}
// CHECK: arith.select %[[HALF]], %[[AWAY]], %[[WHOLE]]
// CHECK-NOT: math.round
func.func @round_away(%x: f32) -> f32 {
  %r = math.round %x : f32
  return %r : f32
}

// A narrow number is normal by the limits of its own type.
// CHECK-LABEL: func.func @kinds(
// CHECK-DAG: %[[LEAST:.*]] = arith.constant 6.10351563E-5 : f32
// CHECK-DAG: %[[INF:.*]] = arith.constant 0x7F800000 : f32
// CHECK: arith.cmpf olt, %[[SIZE:[^,]*]], %[[INF]]
// CHECK: arith.cmpf oge, %[[SIZE]], %[[LEAST]]
// CHECK: arith.cmpf uno
// CHECK: arith.cmpf oeq, %{{.*}}, %[[INF]]
// CHECK: arith.cmpf olt, %{{.*}}, %[[INF]]
// CHECK-NOT: math.is
func.func @kinds(%x: f16, %y: f32) -> (i1, i1, i1, i1) {
  %a = math.isnormal %x : f16
  %b = math.isnan %y : f32
  %c = math.isinf %y : f32
  %d = math.isfinite %y : f32
  return %a, %b, %c, %d : i1, i1, i1, i1
}
