// RUN: moe-opt %s --moe-target | FileCheck %s
// The last pass of that phase alone, on what the others leave.
// RUN: moe-opt %s --moe-expand-kernels --moe-emit-ukernels --test-lower-amx-to-loops=always=false --moe-expand-math --moe-lower-kernel-abi -o %t.kernels
// RUN: moe-opt %t.kernels --moe-serialize-kernels | FileCheck %s
// RUN: moe-opt %s --moe-target -o %t.1
// RUN: moe-opt %s --moe-target -o %t.2
// RUN: cmp %t.1 %t.2
// RUN: not grep -F %S %t.1

// RUN: %python -c "import re, sys; text = sys.stdin.read(); data = re.search(r'\[(-?\d+(?:, -?\d+)*)\]\s*$', text, re.M).group(1); open(sys.argv[1], 'wb').write(bytes(int(b) & 255 for b in data.split(',')))" %t.o < %t.1
// RUN: llvm-readobj -h %t.o | FileCheck %s --check-prefix=ELF
// RUN: llvm-nm %t.o | FileCheck %s --check-prefix=SYMBOLS
// RUN: llvm-objdump -d --no-show-raw-insn %t.o | FileCheck %s --check-prefix=CODE

#avx2 = #moe.cpu<isa = avx2, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx2">
#avx512 = #moe.cpu<isa = avx512, mr = 4, nr = 2, kc = 64, prefetch = 0, accumulation = "fma-avx512">
#amx = #moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "amx-bf16-k32">

// The dictionary says what the table has; kernels and functions are gone.
// CHECK-NOT: plan.kernel
// CHECK-NOT: llvm.func
// CHECK: plan.binary @host "elf-x86_64-object"
// CHECK-SAME: {count = {accumulation = ["fma-avx2", "", ""], args = 2 : i64, levels = 1 : i64, scratch = [0, 0, 0]},
// CHECK-SAME: rows = {accumulation = ["", "fma-avx512", "amx-bf16-k32"], args = 4 : i64, levels = 6 : i64, scratch = [0, 16384, 16384]}}
// CHECK-SAME: [127, 69, 76, 70,

// ELF: Type: Relocatable
// ELF: Machine: EM_X86_64

// Nothing is undefined but what memory needs; one function is exported.
// SYMBOLS-NOT: {{ U (mem(cpy|set|move))@}}
// SYMBOLS-DAG: t count.avx2
// SYMBOLS-DAG: T moe_module_query
// SYMBOLS-DAG: t rows.amx
// SYMBOLS-DAG: t rows.avx512

// CODE-LABEL: <rows.avx512>:
// CODE-NOT: tdpbf16ps
// CODE: vfmadd{{[0-9]+}}ps {{.*}}%zmm
// CODE-LABEL: <rows.amx>:
// CODE: tdpbf16ps

plan.kernel @rows(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %r: memref<?xbf16>) variants [#avx512, #amx] {
  moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%r : memref<?xbf16>)
    attributes {experts = 3 : i64, n = 40 : i64, k = 96 : i64, parts = 1 : i64, weight_type = bf16, row_type = bf16} {
  }
}
plan.kernel @count(%o: memref<?xi32>, %c: memref<?xi64>) variants [#avx2] {
  moe.kernel.count_rows ins(%o : memref<?xi32>) outs(%c : memref<?xi64>) {experts = 3 : i64}
}
