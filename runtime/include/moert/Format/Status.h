//===- Status.h - Errors as values ----------------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every function of the runtime that can fail returns a Status or a StatusOr.
// An error says what happened, where, why, and how to mend it; callers add
// context on the way up. Nothing throws and nothing aborts.
//
//===----------------------------------------------------------------------===//

#ifndef MOERT_FORMAT_STATUS_H
#define MOERT_FORMAT_STATUS_H

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moert {

/// One row of ErrorCodes.def.
struct ErrorInfo {
  int number;
  int exitCode;
  const char *title;
  const char *explanation;
};

/// The row of `number`; that of 9000 when there is none.
const ErrorInfo &errorInfo(int number);

/// All rows, in ascending order of their numbers.
const std::vector<ErrorInfo> &errorTable();

/// OK, or an error. Thread-compatible; cheap to move, OK costs no allocation.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Status &&) = default;
  Status &operator=(Status &&) = default;
  Status(const Status &other) { *this = other; }
  Status &operator=(const Status &other) {
    payload =
        other.payload ? std::make_unique<Payload>(*other.payload) : nullptr;
    return *this;
  }

  /// An error with a number of ErrorCodes.def and a one-line message.
  static Status error(int number, std::string what) {
    Status status;
    status.payload = std::make_unique<Payload>();
    status.payload->number = number;
    status.payload->what = std::move(what);
    return status;
  }

  bool ok() const { return !payload; }

  /// Number of the error, 0 when OK.
  int number() const { return payload ? payload->number : 0; }
  /// Exit code of a tool that ends with this status (0 when OK).
  int exitCode() const {
    return payload ? errorInfo(payload->number).exitCode : 0;
  }
  const std::string &what() const { return text(&Payload::what); }
  const std::string &where() const { return text(&Payload::where); }
  const std::string &because() const { return text(&Payload::because); }
  const std::string &fix() const { return text(&Payload::fix); }

  /// Sets one part of the message. No effect on OK.
  Status &&at(std::string where) && {
    if (payload && payload->where.empty())
      payload->where = std::move(where);
    return std::move(*this);
  }
  Status &&because(std::string reason) && {
    if (payload)
      payload->because = std::move(reason);
    return std::move(*this);
  }
  Status &&fix(std::string command) && {
    if (payload)
      payload->fix = std::move(command);
    return std::move(*this);
  }
  /// Adds "while ..." from the caller's point of view. No effect on OK.
  Status &&context(std::string note) && {
    if (payload)
      payload->notes.push_back(std::move(note));
    return std::move(*this);
  }

  /// The whole message, several lines, each ended by a newline:
  ///   error[MOE0404]: what
  ///    --> where
  ///   because ...
  ///   note: while ...
  ///   fix: ...
  /// Empty when OK.
  std::string toString() const;

private:
  struct Payload {
    int number = 0;
    std::string what, where, because, fix;
    std::vector<std::string> notes;
  };

  const std::string &text(std::string Payload::*part) const {
    static const std::string empty;
    return payload ? (*payload).*part : empty;
  }

  std::unique_ptr<Payload> payload;
};

/// A value, or the error that there is none.
template <typename T> class [[nodiscard]] StatusOr {
public:
  StatusOr(Status error) : failure(std::move(error)) {
    assert(!failure.ok() && "an OK status carries no value");
  }
  StatusOr(T v) : content(std::move(v)) {}

  bool ok() const { return content.has_value(); }
  const Status &status() const & { return failure; }
  Status &&status() && { return std::move(failure); }

  T &operator*() { return *content; }
  const T &operator*() const { return *content; }
  T *operator->() { return &*content; }
  const T *operator->() const { return &*content; }
  T &&take() { return std::move(*content); }

private:
  Status failure;
  std::optional<T> content;
};

/// Joins the textual forms of its arguments.
inline void appendText(std::string &out, std::string_view text) { out += text; }
inline void appendText(std::string &out, const char *text) { out += text; }
inline void appendText(std::string &out, char c) { out += c; }
template <typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
void appendText(std::string &out, T value) {
  out += std::to_string(value);
}
template <typename... Ts> std::string concat(const Ts &...parts) {
  std::string out;
  (appendText(out, parts), ...);
  return out;
}

/// "[2, 3, 4]".
std::string formatShape(const std::vector<int64_t> &shape);

/// "1.2 GiB", "17 bytes".
std::string formatBytes(uint64_t bytes);

#define MOE_CONCAT_IMPL(a, b) a##b
#define MOE_CONCAT(a, b) MOE_CONCAT_IMPL(a, b)

/// Returns the error of `expr` from the enclosing function.
#define MOE_RETURN_IF_ERROR(expr)                                              \
  do {                                                                         \
    if (::moert::Status moeStatus = (expr); !moeStatus.ok())                   \
      return moeStatus;                                                        \
  } while (false)

/// Declares or assigns `target` from the value of `expr`, or returns its error.
#define MOE_ASSIGN_OR_RETURN(target, expr)                                     \
  MOE_ASSIGN_OR_RETURN_IMPL(MOE_CONCAT(moeResult, __LINE__), target, expr)
#define MOE_ASSIGN_OR_RETURN_IMPL(tmp, target, expr)                           \
  auto tmp = (expr);                                                           \
  if (!tmp.ok())                                                               \
    return std::move(tmp).status();                                            \
  target = tmp.take()

} // namespace moert

#endif // MOERT_FORMAT_STATUS_H
