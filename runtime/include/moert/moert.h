//===- moert.h - C interface of the MoE runtime ---------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loads a model.moe and runs its functions:
//
//   moert_module *module;
//   moert_session *session;
//   if (moert_module_open("model.moe", &module) ||
//       moert_session_create(module, NULL, &session))
//     fputs(moert_last_error(), stderr);
//   moert_session_call(session, 0, inputs, 1, outputs, 1);
//
// Conventions
// - Functions that can fail return 0, or the number of an error (the nnnn of
//   MOEnnnn); moert_last_error() has its text. Out-parameters are set on
//   success only.
// - Every struct that crosses the border starts with struct_size, which the
//   caller sets to sizeof of the struct it was compiled with. Fields are only
//   appended; a field beyond the caller's struct_size has its default.
// - What a function hands out as const is borrowed from the object it was
//   asked of and lives as long as that object, unless said otherwise.
// - Nothing throws, aborts or prints.
//
// Threads: a module may be used by any number of threads. A session may too,
// but its calls run one after the other. Destroying an object while another
// thread uses it is an error of the caller. moert_last_error is per thread.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_MOERT_H
#define MOERT_MOERT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define MOERT_API
#else
#define MOERT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// Version of this interface: bumped only for binary breaks.
#define MOERT_ABI_VERSION 0

/// An opened artifact: verified, no code of it loaded.
typedef struct moert_module moert_module;
/// A module with its code, weights, threads and workspace.
typedef struct moert_session moert_session;

/// Element types; the values of DType in Plan.fbs.
typedef enum moert_dtype {
  MOERT_F32 = 0,
  MOERT_BF16 = 1,
  MOERT_F16 = 2,
  MOERT_I32 = 3,
  MOERT_I64 = 4,
  MOERT_U8 = 5
} moert_dtype;

//===----------------------------------------------------------------------===//
// Versions and errors
//===----------------------------------------------------------------------===//

/// MOERT_ABI_VERSION of the library.
MOERT_API uint32_t moert_abi_version(void);

/// Release of the library, e.g. "0.1.0".
MOERT_API const char *moert_version(void);

/// The message of the last failure on this thread, several lines ("error[...]:
/// what", " --> where", "because ...", "fix: ..."). Empty before the first.
/// Valid until the next failure on this thread.
MOERT_API const char *moert_last_error(void);

/// The exit code that a tool should end with for an error number, 0 for 0.
MOERT_API int32_t moert_exit_code(int32_t error);

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

/// Opens and verifies an artifact. Runs nothing of it. Errors 10, 301 to 304.
MOERT_API int32_t moert_module_open(const char *path, moert_module **out);

/// Null is allowed. Sessions of the module stay usable.
MOERT_API void moert_module_close(moert_module *module);

/// The artifact's metadata, JSON of schema "moe.meta/1".
MOERT_API const char *moert_module_metadata(const moert_module *module);

MOERT_API uint32_t moert_module_function_count(const moert_module *module);

/// Null when `function` is out of range.
MOERT_API const char *moert_module_function_name(const moert_module *module,
                                                 uint32_t function);

/// Sets *out to the index of the function of this name. Error 2.
MOERT_API int32_t moert_module_find_function(const moert_module *module,
                                             const char *name, uint32_t *out);

/// One dimension of an input or output.
typedef struct moert_dim {
  /// The size, -1 when it depends on the call.
  int64_t size;
  /// Name of the size, null when it is fixed. Dimensions of one name are
  /// equal in a call and lie within min and max.
  const char *symbol;
  int64_t min;
  int64_t max;
} moert_dim;

/// What a function takes or gives.
typedef struct moert_tensor_info {
  size_t struct_size;
  const char *name;
  int32_t dtype;
  uint32_t rank;
  const moert_dim *dims;
} moert_tensor_info;

/// 0 when `function` is out of range.
MOERT_API uint32_t moert_function_input_count(const moert_module *module,
                                              uint32_t function);
MOERT_API uint32_t moert_function_output_count(const moert_module *module,
                                               uint32_t function);

/// Fills *out (struct_size set by the caller). Error 2 when out of range.
MOERT_API int32_t moert_function_input(const moert_module *module,
                                       uint32_t function, uint32_t input,
                                       moert_tensor_info *out);
MOERT_API int32_t moert_function_output(const moert_module *module,
                                        uint32_t function, uint32_t output,
                                        moert_tensor_info *out);

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

/// Runs body(context, i) once for every i in [0, count), in any order and on
/// any threads, all at once or not, and returns after the last has returned.
typedef void (*moert_parallel_fn)(void *user, int32_t count,
                                  void (*body)(void *context, int32_t index),
                                  void *context);

typedef struct moert_session_options {
  size_t struct_size;
  /// Folder or file of the weights; null searches beside the artifact and in
  /// the places recorded in it.
  const char *weights;
  /// Instruction set level: "avx2", "avx512" or "amx"; null takes the
  /// environment variable MOE_ISA, or the best of this machine.
  const char *isa;
  /// Workers; 0 means one per CPU that this process may use.
  int32_t threads;
  /// Compare the contents of the weights with the recorded hashes.
  int32_t verify_weights;
  /// Record a time line for moert_session_trace.
  int32_t trace;
  /// Number of names in `functions`; 0 means every function.
  uint32_t function_count;
  /// Only these functions can be called, and only their weights are loaded.
  const char *const *functions;
  /// Replaces the runtime's threads by the embedder's when not null.
  moert_parallel_fn parallel;
  void *parallel_user;
  /// Seconds that one dispatch may take, on a GPU one call; 0 means an hour.
  double dispatch_timeout;
  /// "cpu", "cuda", "cuda:N", or "auto": GPU 0 when there is one and the
  /// functions have code for it, else the CPU. Null means "auto".
  const char *device;
  /// Record each function for given sizes once and run the recording after
  /// that, where the device can.
  int32_t graphs;
  int32_t reserved;
  /// Gets lines that a user may want to know, such as that a GPU could not be
  /// used, without a newline; during moert_session_create and calls. May be
  /// null.
  void (*log)(void *user, const char *line);
  void *log_user;
  /// Gets the bytes of the weights that are loaded and of all; during
  /// moert_session_create. May be null.
  void (*progress)(void *user, uint64_t done, uint64_t total);
  void *progress_user;
} moert_session_options;

/// Loads code and weights. `options` may be null. Errors 1, 2, 301, 305, 310
/// to 314, 320, 321, 401 to 406, 601, 602. The session keeps what it needs of
/// the module.
MOERT_API int32_t moert_session_create(const moert_module *module,
                                       const moert_session_options *options,
                                       moert_session **out);

/// Null is allowed.
MOERT_API void moert_session_destroy(moert_session *session);

/// An array in the caller's memory: C order, no gaps, aligned to its element
/// type, borrowed for the call. `data` may be null when a dimension is 0.
typedef struct moert_tensor {
  size_t struct_size;
  int32_t dtype;
  uint32_t rank;
  const int64_t *shape;
  void *data;
} moert_tensor;

/// Shapes of the outputs for the given inputs (`data` is not looked at).
/// `shapes` gets the dimensions of all outputs one after the other and has
/// room for `capacity` of them. Errors 2, 13, 601.
MOERT_API int32_t moert_session_output_shapes(
    const moert_session *session, uint32_t function, const moert_tensor *inputs,
    uint32_t input_count, int64_t *shapes, uint32_t capacity);

/// Runs a function. Inputs are read in place and not changed; outputs are
/// written in place and must have the shapes that
/// moert_session_output_shapes gives. No output overlaps an input or another
/// output. For a GPU they are copied instead. Errors 2, 13, 14, 15, 16, 17,
/// 311, 320, 321, 601, 602; after an error the contents of the outputs are
/// undefined, and after 15 and 320 the session is of no use any more.
MOERT_API int32_t moert_session_call(moert_session *session, uint32_t function,
                                     const moert_tensor *inputs,
                                     uint32_t input_count,
                                     const moert_tensor *outputs,
                                     uint32_t output_count);

/// The level in use: "avx2", "avx512" or "amx", or of a GPU its architecture,
/// such as "sm_90".
MOERT_API const char *moert_session_isa(const moert_session *session);

/// The device in use: "cpu", "cuda:0", ...
MOERT_API const char *moert_session_device(const moert_session *session);

/// Number of workers of a dispatch; of a GPU its multiprocessors.
MOERT_API int32_t moert_session_threads(const moert_session *session);

/// How often each expert was chosen since the session was created or reset,
/// JSON of schema "moe.expert_stats/1":
///   {"schema": ..., "model": name, "fingerprint": ..., "layers": [names],
///    "num_experts": E, "top_k": k, "tokens": [one per layer],
///    "counts": [[one per expert], ...], "dropped": [[one per expert], ...]}
/// "top_k" is absent when unknown, "dropped" (pairs of a token and an expert
/// that a limit of capacity left out) when no layer has such a limit. Valid
/// until the next call of this function on this session.
MOERT_API const char *moert_session_expert_stats(moert_session *session);
MOERT_API void moert_session_reset_expert_stats(moert_session *session);

/// Records from now on (`enabled` not 0), or no more, what the routers of each
/// call choose, for moert_session_write_routes. Results are the same bits.
/// Error 2.
MOERT_API int32_t moert_session_record_routes(moert_session *session,
                                              int32_t enabled);

/// Writes the routes of the last call since recording began to a safetensors
/// file: for each layer "<layer>.ids", I32 [tokens, experts per token] (-1 for
/// none), and "<layer>.weights", F32. Errors 2 when there was no call, 11, 16
/// when the function has no routes.
MOERT_API int32_t moert_session_write_routes(moert_session *session,
                                             const char *path);

/// Lets calls take the routes of such a file instead of those that their
/// routers choose; null ends that. Errors 2, 10, 14, 16; calls report 16
/// when they are of another function or number of tokens than the routes.
MOERT_API int32_t moert_session_replay_routes(moert_session *session,
                                              const char *path);

/// The time line as a Chrome trace (JSON); without spans unless asked for in
/// the options. Valid until the next call of this function on this session.
MOERT_API const char *moert_session_trace(moert_session *session);

#ifdef __cplusplus
}
#endif

#endif // MOERT_MOERT_H
