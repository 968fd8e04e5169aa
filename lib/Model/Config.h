//===- Config.h - Reading config.json -------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_MODEL_CONFIG_H
#define MOE_LIB_MODEL_CONFIG_H

#include "Family.h"
#include "moert/Format/Status.h"

#include "llvm/Support/JSON.h"

namespace mlir::moe::model {

using moert::Status;
using moert::StatusOr;

/// The top-level object of a config.json, which may say anything: every access
/// checks that the key is there and has the type asked for. A key `a.b` is the
/// key b of the object under a.
class Config {
public:
  /// MOE0010 without such a directory, MOE0202 when its config.json is missing,
  /// unreadable, or no JSON object.
  static StatusOr<Config> read(StringRef directory);

  /// From now on keys are those of the object under `key`; nothing when empty.
  /// MOE0203 when the key is missing, MOE0204 when it is no object.
  Status enter(StringRef key);

  /// The value of a setting. MOE0203 when its key is missing, MOE0204 when it
  /// has another type, MOE0205 when an integer is outside [min, max] or two
  /// spellings contradict each other.
  StatusOr<int64_t> get(const Int &setting, int64_t min, int64_t max) const;
  StatusOr<double> get(const Number &setting) const;
  StatusOr<bool> get(const Flag &setting) const;
  StatusOr<std::string> get(const Text &setting) const;
  /// A list of integers; empty when the key is absent, null or empty.
  StatusOr<std::vector<int64_t>> getList(StringRef key) const;
  /// A string, number or truth value as text; "null" for null, `fallback` when
  /// the key is absent. MOE0204 for anything else.
  StatusOr<std::string> getWord(StringRef key, StringRef fallback) const;

  /// The value of a key, null when it is absent or null.
  const llvm::json::Value *find(StringRef key) const;
  /// The first of these names that is there; the first name when none is.
  StringRef nameOf(ArrayRef<StringRef> names) const;
  /// "DIR/config.json:7", the line of a key; without a line when it has none.
  std::string where(StringRef key) const;
  /// A key as messages show it: from the outermost object on.
  std::string show(StringRef key) const;
  const std::string &getPath() const { return path; }

private:
  template <typename T>
  StatusOr<T> getAs(const Setting<T> &setting, const char *type,
                    std::optional<T> (*convert)(const llvm::json::Value &),
                    std::string (*print)(const T &)) const;

  /// The value of a key, null when it is absent.
  const llvm::json::Value *findAny(StringRef key) const;

  std::string path;
  llvm::json::Object object;
  /// What `enter` was called with.
  std::string root;
  /// Line of each key that is not in a list.
  llvm::StringMap<int64_t> lines;
};

} // namespace mlir::moe::model

#endif // MOE_LIB_MODEL_CONFIG_H
