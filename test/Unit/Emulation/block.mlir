// Barriers, shared and global atomics, variables, calls, arithmetic.

gpu.module @block attributes {moe.arch = "sm_80"} {
  llvm.mlir.global external @dynamic() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
  llvm.mlir.global internal @counter() {addr_space = 3 : i32, alignment = 4 : i64} : i32
  llvm.mlir.global internal @ticket(0 : i32) {addr_space = 1 : i32, alignment = 4 : i64} : i32

  // Threads reverse the values of their block; two static counters and a
  // dynamic buffer. out[i] = in[reversed i] + threads of the block.
  llvm.func @reverse(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %ntid = nvvm.read.ptx.sreg.ntid.x : i32
    %cta = nvvm.read.ptx.sreg.ctaid.x : i32
    %dynamic = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %counter = llvm.mlir.addressof @counter : !llvm.ptr<3>
    %first = llvm.icmp "eq" %tid, %c0 : i32
    llvm.cond_br %first, ^init, ^go
  ^init:
    llvm.store %c0, %counter : i32, !llvm.ptr<3>
    llvm.br ^go
  ^go:
    %base = llvm.mul %cta, %ntid : i32
    %i = llvm.add %base, %tid : i32
    %from = llvm.getelementptr %in[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    %x = llvm.load %from : !llvm.ptr<1> -> i32
    %slot = llvm.getelementptr %dynamic[%tid] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    llvm.store %x, %slot : i32, !llvm.ptr<3>
    nvvm.barrier0
    %old = llvm.atomicrmw add %counter, %c1 syncscope("block") monotonic : !llvm.ptr<3>, i32
    nvvm.barrier
    %last = llvm.sub %ntid, %c1 : i32
    %mirror = llvm.sub %last, %tid : i32
    %other = llvm.getelementptr %dynamic[%mirror] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %y = llvm.load %other : !llvm.ptr<3> -> i32
    %count = llvm.load %counter : !llvm.ptr<3> -> i32
    %sum = llvm.add %y, %count : i32
    %to = llvm.getelementptr %out[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %sum, %to : i32, !llvm.ptr<1>
    llvm.return
  }

  // Warp 0 produces, warp 1 consumes, through named barriers of 64 threads;
  // warp 2 does not take part. out[l] = sum over rounds of in[32 round + l];
  // then all threads count the odd sums.
  llvm.func @named(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>, %rounds: i32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 96, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %c64 = llvm.mlir.constant(64 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %warp = llvm.udiv %tid, %c32 : i32
    %dynamic = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    %slot = llvm.getelementptr %dynamic[%lane] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
    %produces = llvm.icmp "eq" %warp, %c0 : i32
    llvm.cond_br %produces, ^produce(%c0 : i32), ^other
  ^produce(%r: i32):
    %more = llvm.icmp "ult" %r, %rounds : i32
    llvm.cond_br %more, ^fill, ^done(%c0 : i32)
  ^fill:
    // 2: the slot is free. 1: it is full.
    nvvm.barrier id = %c2 number_of_threads = %c64
    %row = llvm.mul %r, %c32 : i32
    %at = llvm.add %row, %lane : i32
    %from = llvm.getelementptr %in[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    %x = llvm.load %from : !llvm.ptr<1> -> i32
    llvm.store %x, %slot : i32, !llvm.ptr<3>
    nvvm.barrier.arrive id = %c1 number_of_threads = %c64
    %next = llvm.add %r, %c1 : i32
    llvm.br ^produce(%next : i32)
  ^other:
    %consumes = llvm.icmp "eq" %warp, %c1 : i32
    llvm.cond_br %consumes, ^consume(%c0, %c0 : i32, i32), ^done(%c0 : i32)
  ^consume(%q: i32, %sum: i32):
    %left = llvm.icmp "ult" %q, %rounds : i32
    llvm.cond_br %left, ^take, ^store
  ^take:
    nvvm.barrier.arrive id = %c2 number_of_threads = %c64
    nvvm.barrier id = %c1 number_of_threads = %c64
    %y = llvm.load %slot : !llvm.ptr<3> -> i32
    %total = llvm.add %sum, %y : i32
    %after = llvm.add %q, %c1 : i32
    llvm.br ^consume(%after, %total : i32, i32)
  ^store:
    %to = llvm.getelementptr %out[%lane] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %sum, %to : i32, !llvm.ptr<1>
    %odd = llvm.and %sum, %c1 : i32
    llvm.br ^done(%odd : i32)
  ^done(%predicate: i32):
    %odds = nvvm.barrier #nvvm.reduction<popc> %predicate -> i32
    %index = llvm.add %c32, %tid : i32
    %all = llvm.getelementptr %out[%index] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %odds, %all : i32, !llvm.ptr<1>
    llvm.return
  }

  // Blocks draw tickets until none is left, and leave the counter at zero:
  // out[ticket] = ticket squared. The last of `grid` blocks resets.
  llvm.func @worklist(%out: !llvm.ptr<1>, %n: i32, %finished: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c31 = llvm.mlir.constant(31 : i32) : i32
    %all = llvm.mlir.constant(-1 : i32) : i32
    %ticket = llvm.mlir.addressof @ticket : !llvm.ptr<1>
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %grid = nvvm.read.ptx.sreg.nctaid.x : i32
    %first = llvm.icmp "eq" %lane, %c0 : i32
    llvm.br ^draw
  ^draw:
    llvm.cond_br %first, ^take, ^share(%c0 : i32)
  ^take:
    %drawn = llvm.atomicrmw add %ticket, %c1 syncscope("device") monotonic : !llvm.ptr<1>, i32
    llvm.br ^share(%drawn : i32)
  ^share(%mine: i32):
    %t = nvvm.shfl.sync idx %all, %mine, %c0, %c31 : i32 -> i32
    %work = llvm.icmp "ult" %t, %n : i32
    llvm.cond_br %work, ^do, ^end
  ^do:
    llvm.cond_br %first, ^put, ^draw
  ^put:
    %square = llvm.mul %t, %t : i32
    %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %square, %to : i32, !llvm.ptr<1>
    llvm.br ^draw
  ^end:
    llvm.cond_br %first, ^finish, ^exit
  ^finish:
    llvm.fence syncscope("device") acq_rel
    %before = llvm.atomicrmw add %finished, %c1 syncscope("device") acq_rel : !llvm.ptr<1>, i32
    %after = llvm.add %before, %c1 : i32
    %last = llvm.icmp "eq" %after, %grid : i32
    llvm.cond_br %last, ^reset, ^exit
  ^reset:
    llvm.store %c0, %ticket : i32, !llvm.ptr<1>
    llvm.br ^exit
  ^exit:
    llvm.return
  }

  llvm.func @scale(%x: f32, %factor: f32) -> f32 {
    %0 = llvm.intr.fma(%x, %factor, %factor) : (f32, f32, f32) -> f32
    llvm.return %0 : f32
  }

  // Per thread: in[i] (f32) to bf16, f16 and back, rounding, the stack.
  llvm.func @arithmetic(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>, %factor: f32) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c6 = llvm.mlir.constant(6 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %zero = llvm.mlir.constant(0.0 : f32) : f32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %stack = llvm.alloca %c6 x f32 {alignment = 4 : i64} : (i32) -> !llvm.ptr
    %from = llvm.getelementptr %in[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    %x = llvm.load %from : !llvm.ptr<1> -> f32
    %bf = llvm.fptrunc %x : f32 to bf16
    %fromBf = llvm.fpext %bf : bf16 to f32
    %at0 = llvm.getelementptr %stack[0] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %fromBf, %at0 : f32, !llvm.ptr
    %h = llvm.fptrunc %x : f32 to f16
    %fromH = llvm.fpext %h : f16 to f32
    %at1 = llvm.getelementptr %stack[1] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %fromH, %at1 : f32, !llvm.ptr
    %even = llvm.intr.roundeven(%x) : (f32) -> f32
    %at2 = llvm.getelementptr %stack[2] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %even, %at2 : f32, !llvm.ptr
    %positive = llvm.intr.maximum(%x, %zero) : (f32, f32) -> f32
    %at3 = llvm.getelementptr %stack[3] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %positive, %at3 : f32, !llvm.ptr
    %scaled = llvm.call @scale(%x, %factor) : (f32, f32) -> f32
    %at4 = llvm.getelementptr %stack[4] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %scaled, %at4 : f32, !llvm.ptr
    // The high half holds x, the low half twice x.
    %twice = llvm.fadd %x, %x : f32
    %pair = nvvm.convert.f32x2.to.bf16x2 %x, %twice {rnd = #nvvm.fp_rnd_mode<rn>} : vector<2xbf16>
    %bits = llvm.bitcast %pair : vector<2xbf16> to i32
    %high = llvm.shl %bits, %c16 : i32
    %lowf = llvm.bitcast %high : i32 to f32
    %at5 = llvm.getelementptr %stack[5] : (!llvm.ptr) -> !llvm.ptr, f32
    llvm.store %lowf, %at5 : f32, !llvm.ptr
    %row = llvm.mul %tid, %c6 : i32
    llvm.br ^copy(%c0 : i32)
  ^copy(%k: i32):
    %source = llvm.getelementptr %stack[%k] : (!llvm.ptr, i32) -> !llvm.ptr, f32
    %value = llvm.load %source : !llvm.ptr -> f32
    %index = llvm.add %row, %k : i32
    %to = llvm.getelementptr %out[%index] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
    llvm.store %value, %to : f32, !llvm.ptr<1>
    %next = llvm.add %k, %c1 : i32
    %more = llvm.icmp "ult" %next, %c6 : i32
    llvm.cond_br %more, ^copy(%next : i32), ^done
  ^done:
    llvm.return
  }

  // A lock made of cmpxchg: threads of many blocks add to a plain variable.
  llvm.func @lock(%lock: !llvm.ptr<1>, %sum: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 1, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %cta = nvvm.read.ptx.sreg.ctaid.x : i32
    llvm.br ^try
  ^try:
    %pair = llvm.cmpxchg %lock, %c0, %c1 syncscope("device") acquire monotonic : !llvm.ptr<1>, i32
    %got = llvm.extractvalue %pair[1] : !llvm.struct<(i32, i1)>
    llvm.cond_br %got, ^inside, ^try
  ^inside:
    %old = llvm.load %sum : !llvm.ptr<1> -> i32
    %new = llvm.add %old, %cta : i32
    llvm.store %new, %sum : i32, !llvm.ptr<1>
    nvvm.memory.barrier #nvvm.mem_scope<gpu>
    llvm.store %c0, %lock atomic syncscope("device") release {alignment = 4 : i64} : i32, !llvm.ptr<1>
    llvm.return
  }

  // Shared memory by memset and memcpy, one thread. A copy of the value at 12.
  llvm.func @bytes(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 1, 1, 1>} {
    %seven = llvm.mlir.constant(7 : i8) : i8
    %c64 = llvm.mlir.constant(64 : i64) : i64
    %c16 = llvm.mlir.constant(16 : i64) : i64
    %dynamic = llvm.mlir.addressof @dynamic : !llvm.ptr<3>
    "llvm.intr.memset"(%dynamic, %seven, %c64) <{isVolatile = false}> : (!llvm.ptr<3>, i8, i64) -> ()
    "llvm.intr.memcpy"(%dynamic, %in, %c16) <{isVolatile = false}> : (!llvm.ptr<3>, !llvm.ptr<1>, i64) -> ()
    "llvm.intr.memcpy"(%out, %dynamic, %c64) <{isVolatile = false}> : (!llvm.ptr<1>, !llvm.ptr<3>, i64) -> ()
    llvm.return
  }

  // Gives up at a negative value. Else out[0] and out[1]: whether all, or any,
  // of the values are odd.
  llvm.func @judge(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 64, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %tid = nvvm.read.ptx.sreg.tid.x : i32
    %from = llvm.getelementptr %in[%tid] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    %x = llvm.load %from : !llvm.ptr<1> -> i32
    %negative = llvm.icmp "slt" %x, %c0 : i32
    llvm.cond_br %negative, ^trap, ^go
  ^trap:
    "llvm.intr.trap"() : () -> ()
    llvm.unreachable
  ^go:
    %odd = llvm.and %x, %c1 : i32
    %all = nvvm.barrier #nvvm.reduction<and> %odd -> i32
    %any = nvvm.barrier #nvvm.reduction<or> %odd -> i32
    %first = llvm.icmp "eq" %tid, %c0 : i32
    llvm.cond_br %first, ^store, ^end
  ^store:
    llvm.store %all, %out : i32, !llvm.ptr<1>
    %second = llvm.getelementptr %out[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
    llvm.store %any, %second : i32, !llvm.ptr<1>
    llvm.br ^end
  ^end:
    llvm.return
  }
}
