// RUN: moe-opt %s --moe-target -o %t.1
// RUN: FileCheck %s < %t.1
// RUN: %python -c "import re, sys; text = sys.stdin.read(); data = re.search(r'\[(-?\d+(?:, -?\d+)*)\]\s*$', text, re.M).group(1); open(sys.argv[1], 'wb').write(bytes(int(b) & 255 for b in data.split(',')))" %t.o < %t.1
// RUN: llvm-objdump -d --no-show-raw-insn %t.o | FileCheck %s --check-prefix=CODE

// A kernel whose AMX code needs no AMX says so; code for it uses nothing above
// the lowest level.
module attributes {moe.emulate_amx} {
  // CHECK: rows = {accumulation = ["", "", "amx-bf16-k32"], args = 4 : i64, emulated, levels = 4 : i64,
  // CODE-LABEL: <rows.amx>:
  // CODE-NOT: {{tdpbf16ps|tileload|zmm}}
  // CODE: vfmadd{{[0-9]+}}ps {{.*}}%ymm
  // CODE-NOT: {{tdpbf16ps|tileload|zmm}}
  plan.kernel @rows(%p: memref<?xi8>, %w: memref<?xi8>, %o: memref<?xi32>, %r: memref<?xbf16>) variants [#moe.cpu<isa = amx, mr = 2, nr = 2, kc = 64, prefetch = 0, accumulation = "amx-bf16-k32">] {
    moe.kernel.grouped_gemm ins(%p, %w, %o : memref<?xi8>, memref<?xi8>, memref<?xi32>) outs(%r : memref<?xbf16>)
      attributes {experts = 3 : i64, n = 40 : i64, k = 96 : i64, parts = 1 : i64, weight_type = bf16, row_type = bf16} {
    }
  }
}
