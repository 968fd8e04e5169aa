//===- Config.cpp - Reading config.json -----------------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Config.h"

#include "moert/Format/File.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::model;
using moert::concat;

/// A real config.json has a few dozen keys; the parser recurses once per level.
static constexpr uint64_t maxConfigBytes = 16 << 20;
static constexpr size_t maxConfigDepth = 64;

/// Deeper keys, and those below longer names, get no line: no family has them,
/// and names could grow with the square of the file.
static constexpr size_t maxKeyDepth = 6, maxKeyBytes = 512;

/// Finds the line of each key; false when the text is nested too deeply. Relies
/// on nothing: the text need not be JSON.
static bool scanKeys(StringRef text, llvm::StringMap<int64_t> &lines) {
  // For each open bracket the name of what it holds, with a dot at the end;
  // nothing where keys get no line.
  std::vector<std::optional<std::string>> open;
  std::optional<std::string> key;
  int64_t line = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\n') {
      ++line;
    } else if (c == '{' || c == '[') {
      if (open.size() == maxConfigDepth)
        return false;
      if (c == '{' && open.empty())
        open.push_back("");
      else if (c == '{' && key && open.size() < maxKeyDepth)
        open.push_back(*key + ".");
      else
        open.push_back(std::nullopt);
      key.reset();
    } else if (c == '}' || c == ']') {
      if (!open.empty())
        open.pop_back();
      key.reset();
    } else if (c == ',') {
      key.reset();
    } else if (c == '"') {
      size_t begin = ++i;
      while (i < text.size() && text[i] != '"' && text[i] != '\n')
        i += text[i] == '\\' ? 2 : 1;
      StringRef name = text.slice(begin, i);
      if (open.empty() || !open.back() || name.size() > maxKeyBytes ||
          open.back()->size() > maxKeyBytes ||
          !text.substr(i + 1).ltrim().starts_with(":"))
        continue;
      key = *open.back() + name.str();
      lines.try_emplace(*key, line);
    }
  }
  return true;
}

static Status notJson(const std::string &path, std::string what,
                      std::string reason) {
  return Status::error(202, std::move(what))
      .at(path)
      .because(std::move(reason))
      .fix("restore config.json as the model was published with");
}

StatusOr<Config> Config::read(StringRef directory) {
  std::string dir = directory.str();
  if (!llvm::sys::fs::is_directory(directory))
    return Status::error(10, concat("no directory '", dir, "'"))
        .at(dir)
        .fix("name the directory of a model with config.json and safetensors "
             "files");
  Config config;
  config.path = concat(dir, "/config.json");
  if (!llvm::sys::fs::exists(config.path))
    return Status::error(202, "the model directory has no config.json")
        .at(dir)
        .because("config.json tells the family and the sizes of the model")
        .fix("name a directory that Hugging Face tools can load");
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const moert::MappedFile> file,
                       moert::MappedFile::open(config.path));
  if (file->size() > maxConfigBytes)
    return notJson(config.path, "config.json is too large",
                   concat("it has ", file->size(), " bytes; the limit is ",
                          maxConfigBytes));
  StringRef text(reinterpret_cast<const char *>(file->data()), file->size());
  if (!scanKeys(text, config.lines))
    return notJson(config.path, "config.json is nested too deeply",
                   concat("the limit is ", maxConfigDepth, " levels"));
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return notJson(config.path, "config.json is not valid JSON",
                   llvm::toString(value.takeError()));
  if (!value->getAsObject())
    return notJson(config.path, "config.json is not a JSON object",
                   "the outermost value must be { ... }");
  config.object = std::move(*value->getAsObject());
  return config;
}

/// The value of `a.b` in an object, null when absent.
static const llvm::json::Value *findIn(const llvm::json::Object &object,
                                       StringRef key) {
  const llvm::json::Object *in = &object;
  while (in) {
    auto [name, rest] = key.split('.');
    const llvm::json::Value *value = in->get(name);
    if (rest.empty() || !value)
      return value;
    in = value->getAsObject();
    key = rest;
  }
  return nullptr;
}

const llvm::json::Value *Config::findAny(StringRef key) const {
  return findIn(object, show(key));
}

const llvm::json::Value *Config::find(StringRef key) const {
  const llvm::json::Value *value = findAny(key);
  return value && value->kind() != llvm::json::Value::Null ? value : nullptr;
}

StringRef Config::nameOf(ArrayRef<StringRef> names) const {
  for (StringRef name : names)
    if (find(name))
      return name;
  return names.empty() ? StringRef() : names.front();
}

std::string Config::show(StringRef key) const {
  return root.empty() ? key.str() : concat(root, ".", key.str());
}

std::string Config::where(StringRef key) const {
  auto it = lines.find(show(key));
  return it == lines.end() ? path : concat(path, ":", it->second);
}

/// A value as it stands in the file, cut when it is long.
static std::string quote(const llvm::json::Value &value) {
  std::string text;
  llvm::raw_string_ostream(text) << value;
  if (text.size() > 60)
    text = text.substr(0, 57) + "...";
  return text;
}

static Status wrongType(const Config &config, StringRef key,
                        const llvm::json::Value &value, const char *type) {
  return Status::error(204, concat("'", config.show(key), "' must be ", type,
                                   ", but is ", quote(value)))
      .at(config.where(key))
      .fix("restore the value that the model was published with");
}

static Status missing(const std::string &path, const std::string &names) {
  return Status::error(203, concat("config.json has no key ", names))
      .at(path)
      .because("models of this family cannot be read without it")
      .fix("restore config.json as the model was published with");
}

Status Config::enter(StringRef key) {
  if (key.empty())
    return {};
  const llvm::json::Value *value = find(key);
  if (!value)
    return missing(path, concat("'", show(key), "'"));
  if (!value->getAsObject())
    return wrongType(*this, key, *value, "an object");
  root = show(key);
  return {};
}

template <typename T>
StatusOr<T>
Config::getAs(const Setting<T> &setting, const char *type,
              std::optional<T> (*convert)(const llvm::json::Value &),
              std::string (*print)(const T &)) const {
  std::optional<T> result;
  StringRef first;
  for (StringRef name : setting.names) {
    const llvm::json::Value *value = find(name);
    if (!value)
      continue;
    std::optional<T> converted = convert(*value);
    if (!converted)
      return wrongType(*this, name, *value, type);
    if (result && *result != *converted)
      return Status::error(205, concat("'", show(name), "' is ",
                                       print(*converted), ", but '",
                                       show(first), "' is ", print(*result)))
          .at(where(name))
          .because("both are names of the same value")
          .fix("remove the wrong one");
    if (!result)
      first = name;
    result = converted;
  }
  if (result)
    return *result;
  if (setting.fallback)
    return *setting.fallback;
  std::string names = concat("'", show(setting.names.front()), "'");
  for (StringRef name : ArrayRef<StringRef>(setting.names).drop_front())
    names += concat(" or '", show(name), "'");
  return missing(path, names);
}

StatusOr<int64_t> Config::get(const Int &setting, int64_t min,
                              int64_t max) const {
  MOE_ASSIGN_OR_RETURN(
      int64_t value,
      getAs<int64_t>(
          setting, "an integer",
          [](const llvm::json::Value &v) { return v.getAsInteger(); },
          [](const int64_t &v) { return std::to_string(v); }));
  if (value >= min && value <= max)
    return value;
  StringRef key = nameOf(setting.names);
  return Status::error(205, concat("'", show(key), "' is ", value))
      .at(where(key))
      .because(concat("it must be at least ", min, " and at most ", max))
      .fix("restore the value that the model was published with");
}

StatusOr<double> Config::get(const Number &setting) const {
  return getAs<double>(
      setting, "a number",
      [](const llvm::json::Value &v) { return v.getAsNumber(); },
      [](const double &v) { return std::to_string(v); });
}

StatusOr<bool> Config::get(const Flag &setting) const {
  return getAs<bool>(
      setting, "true or false",
      [](const llvm::json::Value &v) { return v.getAsBoolean(); },
      [](const bool &v) { return std::string(v ? "true" : "false"); });
}

StatusOr<std::string> Config::get(const Text &setting) const {
  return getAs<std::string>(
      setting, "a plain string",
      [](const llvm::json::Value &v) -> std::optional<std::string> {
        // What goes into messages must not move the cursor.
        if (std::optional<StringRef> text = v.getAsString())
          if (llvm::all_of(*text, llvm::isPrint))
            return text->str();
        return std::nullopt;
      },
      [](const std::string &v) { return concat("\"", v, "\""); });
}

StatusOr<std::vector<int64_t>> Config::getList(StringRef key) const {
  std::vector<int64_t> result;
  const llvm::json::Value *value = key.empty() ? nullptr : find(key);
  if (!value)
    return result;
  const llvm::json::Array *list = value->getAsArray();
  if (!list)
    return wrongType(*this, key, *value, "a list of integers");
  for (const llvm::json::Value &item : *list) {
    std::optional<int64_t> integer = item.getAsInteger();
    if (!integer)
      return wrongType(*this, key, *value, "a list of integers");
    result.push_back(*integer);
  }
  return result;
}

StatusOr<std::string> Config::getWord(StringRef key, StringRef fallback) const {
  const llvm::json::Value *value = findAny(key);
  if (!value)
    return fallback.str();
  std::string text;
  if (std::optional<StringRef> string = value->getAsString()) {
    if (llvm::all_of(*string, llvm::isPrint))
      return string->str();
  } else if (!value->getAsObject() && !value->getAsArray()) {
    llvm::raw_string_ostream(text) << *value;
    return text;
  }
  return wrongType(*this, key, *value, "a plain string or a number");
}
