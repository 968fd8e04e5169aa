//===- Operations.h - What retargeted GPU code calls ----------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One function per operation of a GPU thread that the host has no instruction
// for; the emulator's runtime defines them. The retarget pass replaces nvvm
// ops by calls to these. Rules common to all:
//
//  - `thread` is the first argument of the emulated function.
//  - `site` names the op in findings; it may be empty, not null. Its address
//    tells ops apart: every op has a string of its own, even if two ops have
//    the same text (so the strings must not be `unnamed_addr`). An `.aligned`
//    op that lanes of a warp reach at different sites is a divergent
//    collective.
//  - Pointers to shared memory are plain host pointers derived from
//    `thread->shared`; those of another block of the cluster come from
//    `moe_emu_mapa`.
//  - Fragments and other aggregates go in and out through pointers to memory
//    of the calling thread (its stack), which the runtime may use until the
//    function returns. In and out may be the same.
//  - Declare them `convergent nounwind` in LLVM IR; none may be hoisted,
//    merged or duplicated across control flow.
//  - A function does not return when its thread cannot go on: the runtime
//    then ends the grid.
//
// The ops setmaxnreg, prefetch, griddepcontrol, fence.mbarrier_init and cache
// hints have no effect and need no call. Atomics on global memory are LLVM
// atomics, preceded by `moe_emu_check`.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CODEGEN_GPU_EMULATION_OPERATIONS_H
#define MOE_CODEGEN_GPU_EMULATION_OPERATIONS_H

#include "moe/Codegen/GPU/Emulation/EmulatedModule.h"

#ifdef __cplusplus
extern "C" {
#endif

//===----------------------------------------------------------------------===//
// Ordinary memory
//===----------------------------------------------------------------------===//

enum {
  MOE_EMU_READ = 0,
  MOE_EMU_WRITE = 1,
  /// Read-modify-write that is atomic, also a CAS.
  MOE_EMU_ATOMIC = 2,
};

/// To be called before a load, store or atomic of `bytes` at `address`, which
/// the code claims to be aligned to `align` (a power of two). Finds races,
/// uninitialised reads, accesses out of bounds, writes to read-only memory and
/// misalignment. Not needed when modules are compiled without checks.
void moe_emu_check(moe_emu_thread *thread, const void *address, uint32_t bytes,
                   uint32_t align, uint32_t kind, const char *site);

/// membar, fence.acq_rel, fence.sc: the host's memory is stronger anyway.
void moe_emu_fence(moe_emu_thread *thread, const char *site);

/// fence.proxy.async: generic writes before it are seen by TMA and wgmma.
void moe_emu_fence_proxy_async(moe_emu_thread *thread, const char *site);

/// nanosleep, and each turn of a loop that polls memory: lets others run.
void moe_emu_yield(moe_emu_thread *thread, const char *site);

/// trap: a finding that ends the grid.
void moe_emu_trap(moe_emu_thread *thread, const char *site);

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//
// `mask`: lanes that take part, the caller's among them. Lanes that have
// exited are not waited for.

/// bar.warp.sync. The only one of this group that orders memory.
void moe_emu_warp_sync(moe_emu_thread *thread, uint32_t mask, const char *site);

enum {
  MOE_EMU_SHFL_IDX = 0,
  MOE_EMU_SHFL_BFLY = 1,
  MOE_EMU_SHFL_UP = 2,
  MOE_EMU_SHFL_DOWN = 3,
};

/// shfl.sync.{idx,bfly,up,down}.b32; `clamp` as in PTX: bits 0-4 the clamp
/// value, bits 8-12 the segment mask. `in_range`, if not null, receives 0 or
/// 1.
uint32_t moe_emu_shfl(moe_emu_thread *thread, uint32_t kind, uint32_t mask,
                      uint32_t value, uint32_t offset, uint32_t clamp,
                      uint32_t *in_range, const char *site);

enum {
  MOE_EMU_VOTE_ALL = 0,
  MOE_EMU_VOTE_ANY = 1,
  MOE_EMU_VOTE_UNI = 2,
  MOE_EMU_VOTE_BALLOT = 3,
};

/// vote.sync: 0 or 1, for ballot the mask of lanes whose `predicate` is not 0.
uint32_t moe_emu_vote(moe_emu_thread *thread, uint32_t kind, uint32_t mask,
                      uint32_t predicate, const char *site);

/// match.any.sync: lanes with the caller's value. For .b32, zero-extend.
uint32_t moe_emu_match_any(moe_emu_thread *thread, uint32_t mask,
                           uint64_t value, const char *site);

/// match.all.sync: `mask` and *all = 1 if all lanes have one value, else 0 and
/// 0. `all` may be null.
uint32_t moe_emu_match_all(moe_emu_thread *thread, uint32_t mask,
                           uint64_t value, uint32_t *all, const char *site);

enum {
  MOE_EMU_REDUX_ADD = 0,
  MOE_EMU_REDUX_MIN_S32 = 1,
  MOE_EMU_REDUX_MAX_S32 = 2,
  MOE_EMU_REDUX_MIN_U32 = 3,
  MOE_EMU_REDUX_MAX_U32 = 4,
  MOE_EMU_REDUX_AND = 5,
  MOE_EMU_REDUX_OR = 6,
  MOE_EMU_REDUX_XOR = 7,
};

/// redux.sync.
uint32_t moe_emu_redux(moe_emu_thread *thread, uint32_t op, uint32_t mask,
                       uint32_t value, const char *site);

/// elect.sync: 1 for one lane of `mask` (the lowest), 0 for the others.
uint32_t moe_emu_elect(moe_emu_thread *thread, uint32_t mask, const char *site);

/// ldmatrix.sync.aligned.m8n8.x{1,2,4}[.trans].shared.b16. `row`: address of
/// 16 bytes, used of lanes < 8 * count; `out`: `count` registers.
void moe_emu_ldmatrix(moe_emu_thread *thread, const void *row, uint32_t count,
                      uint32_t transpose, uint32_t *out, const char *site);

/// stmatrix.sync.aligned.m8n8.x{1,2,4}[.trans].shared.b16, its inverse.
void moe_emu_stmatrix(moe_emu_thread *thread, void *row, uint32_t count,
                      uint32_t transpose, const uint32_t *in, const char *site);

/// Element types of matrix operations and reductions.
enum {
  MOE_EMU_BF16 = 0,
  MOE_EMU_F16 = 1,
  MOE_EMU_F32 = 2,
  MOE_EMU_S32 = 3,
};

/// mma.sync.aligned.m16n8k{8,16}.row.col.f32.{bf16,f16}.{bf16,f16}.f32 with
/// the fragments of the PTX ISA: k / 4 registers of A, k / 8 of B, four floats
/// of C and D. `type`: MOE_EMU_BF16 or MOE_EMU_F16.
void moe_emu_mma(moe_emu_thread *thread, uint32_t type, uint32_t k,
                 const uint32_t *a, const uint32_t *b, const float *c, float *d,
                 const char *site);

//===----------------------------------------------------------------------===//
// Barriers of a block and of a cluster
//===----------------------------------------------------------------------===//
// `id`: 0 to 15. `count`: threads that the barrier waits for, a multiple of
// 32, or 0 for all threads of the block. All are `.aligned`.

void moe_emu_barrier_sync(moe_emu_thread *thread, uint32_t id, uint32_t count,
                          const char *site);
void moe_emu_barrier_arrive(moe_emu_thread *thread, uint32_t id, uint32_t count,
                            const char *site);

enum {
  MOE_EMU_BARRIER_POPC = 0,
  MOE_EMU_BARRIER_AND = 1,
  MOE_EMU_BARRIER_OR = 2,
};

/// barrier.red: the number of non-zero predicates, or 0 or 1.
uint32_t moe_emu_barrier_reduce(moe_emu_thread *thread, uint32_t id,
                                uint32_t count, uint32_t op, uint32_t predicate,
                                const char *site);

void moe_emu_cluster_arrive(moe_emu_thread *thread, const char *site);
void moe_emu_cluster_wait(moe_emu_thread *thread, const char *site);

/// mapa: the address in block `rank` of the cluster that corresponds to
/// `address` in the caller's shared memory.
void *moe_emu_mapa(moe_emu_thread *thread, const void *address, uint32_t rank,
                   const char *site);

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

/// Copies `source_bytes` (at most `bytes`) and fills the rest with zeros;
/// `bytes`: 4, 8 or 16, both addresses aligned to it. With `source_bytes` 0
/// `global` is not accessed.
void moe_emu_cp_async(moe_emu_thread *thread, void *shared, const void *global,
                      uint32_t bytes, uint32_t source_bytes, const char *site);
void moe_emu_cp_async_commit(moe_emu_thread *thread, const char *site);
/// Waits until at most the `pending` latest groups of the thread are in
/// flight.
void moe_emu_cp_async_wait_group(moe_emu_thread *thread, uint32_t pending,
                                 const char *site);
void moe_emu_cp_async_wait_all(moe_emu_thread *thread, const char *site);
/// cp.async.mbarrier.arrive[.noinc]: an arrival once all copies of the thread
/// that were issued before are done.
void moe_emu_cp_async_mbarrier_arrive(moe_emu_thread *thread, void *mbarrier,
                                      uint32_t noinc, const char *site);

//===----------------------------------------------------------------------===//
// mbarriers: 8 aligned bytes in shared memory
//===----------------------------------------------------------------------===//

void moe_emu_mbarrier_init(moe_emu_thread *thread, void *mbarrier,
                           uint32_t count, const char *site);
void moe_emu_mbarrier_inval(moe_emu_thread *thread, void *mbarrier,
                            const char *site);
/// Returns the state for `test_wait` and `try_wait`. The mbarrier may lie in
/// another block of the cluster.
uint64_t moe_emu_mbarrier_arrive(moe_emu_thread *thread, void *mbarrier,
                                 uint32_t count, const char *site);
uint64_t moe_emu_mbarrier_arrive_expect_tx(moe_emu_thread *thread,
                                           void *mbarrier, uint32_t bytes,
                                           const char *site);
void moe_emu_mbarrier_expect_tx(moe_emu_thread *thread, void *mbarrier,
                                uint32_t bytes, const char *site);
/// try_wait.parity and try_wait: return 1, once the phase is complete.
uint32_t moe_emu_mbarrier_try_wait_parity(moe_emu_thread *thread,
                                          void *mbarrier, uint32_t parity,
                                          const char *site);
uint32_t moe_emu_mbarrier_try_wait(moe_emu_thread *thread, void *mbarrier,
                                   uint64_t state, const char *site);
/// test_wait.parity and test_wait: 1 if the phase is complete, else 0 after
/// others had a turn.
uint32_t moe_emu_mbarrier_test_wait_parity(moe_emu_thread *thread,
                                           void *mbarrier, uint32_t parity,
                                           const char *site);
uint32_t moe_emu_mbarrier_test_wait(moe_emu_thread *thread, void *mbarrier,
                                    uint64_t state, const char *site);

//===----------------------------------------------------------------------===//
// TMA: tensor maps come from moe::emu::encodeTensorMap
//===----------------------------------------------------------------------===//
// `coordinates`: `rank` values, innermost first. Shared addresses are aligned
// to 128 bytes for tensors, to 16 for plain bulk copies.

/// cp.async.bulk.tensor.{1-5}d.shared::cluster.global.mbarrier. `blocks`: bit
/// mask of blocks of the cluster that receive the box (.multicast::cluster),
/// or 0 for the block that `shared` lies in.
void moe_emu_tma_load(moe_emu_thread *thread, void *shared, const void *map,
                      void *mbarrier, uint32_t rank, const int32_t *coordinates,
                      uint32_t blocks, const char *site);
/// cp.async.bulk.tensor.{1-5}d.global.shared::cta.bulk_group.
void moe_emu_tma_store(moe_emu_thread *thread, const void *map,
                       const void *shared, uint32_t rank,
                       const int32_t *coordinates, const char *site);
/// cp.reduce.async.bulk.tensor with .add; `type`: element type of the tensor.
void moe_emu_tma_reduce_add(moe_emu_thread *thread, const void *map,
                            const void *shared, uint32_t rank,
                            const int32_t *coordinates, uint32_t type,
                            const char *site);
/// cp.async.bulk.shared::cluster.global.mbarrier; `bytes`: multiple of 16.
void moe_emu_bulk_load(moe_emu_thread *thread, void *shared, const void *global,
                       uint32_t bytes, void *mbarrier, uint32_t blocks,
                       const char *site);
/// cp.async.bulk.global.shared::cta.bulk_group.
void moe_emu_bulk_store(moe_emu_thread *thread, void *global,
                        const void *shared, uint32_t bytes, const char *site);
void moe_emu_bulk_commit(moe_emu_thread *thread, const char *site);
/// cp.async.bulk.wait_group[.read].
void moe_emu_bulk_wait(moe_emu_thread *thread, uint32_t pending, uint32_t read,
                       const char *site);

//===----------------------------------------------------------------------===//
// wgmma: warpgroups are threads 128 i to 128 i + 127 of a block
//===----------------------------------------------------------------------===//

enum {
  /// The operand in shared memory is MN-major (transposed), not K-major.
  MOE_EMU_WGMMA_A_MN = 1,
  MOE_EMU_WGMMA_B_MN = 2,
  /// scale-d is 0: the accumulators are not added.
  MOE_EMU_WGMMA_ZERO = 4,
  MOE_EMU_WGMMA_NEGATE_A = 8,
  MOE_EMU_WGMMA_NEGATE_B = 16,
};

void moe_emu_wgmma_fence(moe_emu_thread *thread, const char *site);
/// wgmma.mma_async.sync.aligned.m64n<n>k16.f32.{bf16,f16}.{bf16,f16}. A comes
/// from `descriptor_a`, or if `a` is not null from these four registers. `in`
/// and `out`: n / 2 floats. The result is in `out` at once; that it is not
/// used before the wait is for a static check to see.
void moe_emu_wgmma(moe_emu_thread *thread, uint32_t type, uint32_t n,
                   uint32_t flags, uint64_t descriptor_a, const uint32_t *a,
                   uint64_t descriptor_b, const float *in, float *out,
                   const char *site);
void moe_emu_wgmma_commit(moe_emu_thread *thread, const char *site);
void moe_emu_wgmma_wait(moe_emu_thread *thread, uint32_t pending,
                        const char *site);

#ifdef __cplusplus
}
#endif

#endif // MOE_CODEGEN_GPU_EMULATION_OPERATIONS_H
