// One warp; value k of lane l goes to out[32 k + l]. Lane l holds in[l].

gpu.module @warp attributes {moe.arch = "sm_80"} {
  llvm.func @put(%out: !llvm.ptr<1>, %k: i32, %value: i32) {
    %c32 = llvm.mlir.constant(32 : i32) : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %row = llvm.mul %k, %c32 : i32
    %at = llvm.add %row, %lane : i32
    %address = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    llvm.store %value, %address : i32, !llvm.ptr<1>
    llvm.return
  }

  llvm.func @collectives(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {gpu.kernel, nvvm.kernel, nvvm.maxntid = array<i32: 32, 1, 1>} {
    %c0 = llvm.mlir.constant(0 : i32) : i32
    %c1 = llvm.mlir.constant(1 : i32) : i32
    %c2 = llvm.mlir.constant(2 : i32) : i32
    %c3 = llvm.mlir.constant(3 : i32) : i32
    %c4 = llvm.mlir.constant(4 : i32) : i32
    %c5 = llvm.mlir.constant(5 : i32) : i32
    %c6 = llvm.mlir.constant(6 : i32) : i32
    %c7 = llvm.mlir.constant(7 : i32) : i32
    %c8 = llvm.mlir.constant(8 : i32) : i32
    %c9 = llvm.mlir.constant(9 : i32) : i32
    %c10 = llvm.mlir.constant(10 : i32) : i32
    %c11 = llvm.mlir.constant(11 : i32) : i32
    %c12 = llvm.mlir.constant(12 : i32) : i32
    %c13 = llvm.mlir.constant(13 : i32) : i32
    %c14 = llvm.mlir.constant(14 : i32) : i32
    %c15 = llvm.mlir.constant(15 : i32) : i32
    %c16 = llvm.mlir.constant(16 : i32) : i32
    %c17 = llvm.mlir.constant(17 : i32) : i32
    %c18 = llvm.mlir.constant(18 : i32) : i32
    %c19 = llvm.mlir.constant(19 : i32) : i32
    %c20 = llvm.mlir.constant(20 : i32) : i32
    %c21 = llvm.mlir.constant(21 : i32) : i32
    %all = llvm.mlir.constant(-1 : i32) : i32
    %clamp = llvm.mlir.constant(31 : i32) : i32
    // Segments of eight lanes.
    %segments = llvm.mlir.constant(6175 : i32) : i32
    %lane = nvvm.read.ptx.sreg.laneid : i32
    %from = llvm.getelementptr %in[%lane] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
    %x = llvm.load %from : !llvm.ptr<1> -> i32

    %bfly = nvvm.shfl.sync bfly %all, %x, %c1, %clamp : i32 -> i32
    llvm.call @put(%out, %c0, %bfly) : (!llvm.ptr<1>, i32, i32) -> ()
    %up = nvvm.shfl.sync up %all, %x, %c3, %c0 : i32 -> i32
    llvm.call @put(%out, %c1, %up) : (!llvm.ptr<1>, i32, i32) -> ()
    %down = nvvm.shfl.sync down %all, %x, %c5, %segments : i32 -> i32
    llvm.call @put(%out, %c2, %down) : (!llvm.ptr<1>, i32, i32) -> ()
    %idx = nvvm.shfl.sync idx %all, %x, %x, %clamp : i32 -> i32
    llvm.call @put(%out, %c3, %idx) : (!llvm.ptr<1>, i32, i32) -> ()
    %f = llvm.bitcast %x : i32 to f32
    %pair = nvvm.shfl.sync down %all, %f, %c4, %clamp {return_value_and_is_valid} : f32 -> !llvm.struct<(f32, i1)>
    %pf = llvm.extractvalue %pair[0] : !llvm.struct<(f32, i1)>
    %pi = llvm.bitcast %pf : f32 to i32
    %pv = llvm.extractvalue %pair[1] : !llvm.struct<(f32, i1)>
    %pvi = llvm.zext %pv : i1 to i32
    llvm.call @put(%out, %c4, %pi) : (!llvm.ptr<1>, i32, i32) -> ()
    llvm.call @put(%out, %c5, %pvi) : (!llvm.ptr<1>, i32, i32) -> ()

    %bit = llvm.and %x, %c1 : i32
    %odd = llvm.icmp "ne" %bit, %c0 : i32
    %ballot = nvvm.vote.sync ballot %all, %odd -> i32
    llvm.call @put(%out, %c6, %ballot) : (!llvm.ptr<1>, i32, i32) -> ()
    %any = nvvm.vote.sync any %all, %odd -> i1
    %anyi = llvm.zext %any : i1 to i32
    llvm.call @put(%out, %c7, %anyi) : (!llvm.ptr<1>, i32, i32) -> ()
    %every = nvvm.vote.sync all %all, %odd -> i1
    %everyi = llvm.zext %every : i1 to i32
    llvm.call @put(%out, %c8, %everyi) : (!llvm.ptr<1>, i32, i32) -> ()
    %uni = nvvm.vote.sync uni %all, %odd -> i1
    %unii = llvm.zext %uni : i1 to i32
    llvm.call @put(%out, %c9, %unii) : (!llvm.ptr<1>, i32, i32) -> ()

    %low = llvm.and %x, %c7 : i32
    %matches = nvvm.match.sync any %all, %low : i32 -> i32
    llvm.call @put(%out, %c10, %matches) : (!llvm.ptr<1>, i32, i32) -> ()
    %same = nvvm.match.sync all %all, %c7 : i32 -> !llvm.struct<(i32, i1)>
    %samem = llvm.extractvalue %same[0] : !llvm.struct<(i32, i1)>
    llvm.call @put(%out, %c11, %samem) : (!llvm.ptr<1>, i32, i32) -> ()
    %wide = llvm.zext %low : i32 to i64
    %differ = nvvm.match.sync all %all, %wide : i64 -> !llvm.struct<(i32, i1)>
    %differm = llvm.extractvalue %differ[0] : !llvm.struct<(i32, i1)>
    llvm.call @put(%out, %c12, %differm) : (!llvm.ptr<1>, i32, i32) -> ()

    %add = nvvm.redux.sync add %x, %all : i32 -> i32
    llvm.call @put(%out, %c13, %add) : (!llvm.ptr<1>, i32, i32) -> ()
    %min = nvvm.redux.sync min %x, %all : i32 -> i32
    llvm.call @put(%out, %c14, %min) : (!llvm.ptr<1>, i32, i32) -> ()
    %umax = nvvm.redux.sync umax %x, %all : i32 -> i32
    llvm.call @put(%out, %c15, %umax) : (!llvm.ptr<1>, i32, i32) -> ()
    %and = nvvm.redux.sync and %x, %all : i32 -> i32
    llvm.call @put(%out, %c16, %and) : (!llvm.ptr<1>, i32, i32) -> ()
    %xor = nvvm.redux.sync xor %x, %all : i32 -> i32
    llvm.call @put(%out, %c17, %xor) : (!llvm.ptr<1>, i32, i32) -> ()

    // Half a warp at a time.
    %upper = llvm.icmp "uge" %lane, %c16 : i32
    llvm.cond_br %upper, ^second, ^first
  ^first:
    %lower_lanes = llvm.mlir.constant(65535 : i32) : i32
    %or = nvvm.redux.sync or %x, %lower_lanes : i32 -> i32
    llvm.call @put(%out, %c18, %or) : (!llvm.ptr<1>, i32, i32) -> ()
    llvm.br ^both
  ^second:
    %upper_lanes = llvm.mlir.constant(-65536 : i32) : i32
    %max = nvvm.redux.sync max %x, %upper_lanes : i32 -> i32
    llvm.call @put(%out, %c18, %max) : (!llvm.ptr<1>, i32, i32) -> ()
    llvm.br ^both
  ^both:
    nvvm.bar.warp.sync %all : i32
    %lt = nvvm.read.ptx.sreg.lanemask.lt : i32
    llvm.call @put(%out, %c19, %lt) : (!llvm.ptr<1>, i32, i32) -> ()
    %ge = nvvm.read.ptx.sreg.lanemask.ge : i32
    llvm.call @put(%out, %c20, %ge) : (!llvm.ptr<1>, i32, i32) -> ()
    %below = llvm.and %ballot, %lt : i32
    %rank = llvm.intr.ctpop(%below) : (i32) -> i32
    llvm.call @put(%out, %c21, %rank) : (!llvm.ptr<1>, i32, i32) -> ()
    llvm.return
  }
}
