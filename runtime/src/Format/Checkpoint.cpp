//===- Checkpoint.cpp - The safetensors files of a model ------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/Safetensors.h"

#include <algorithm>
#include <dirent.h>
#include <nlohmann/json.hpp>
#include <set>

using namespace moert;

static Status badIndex(const std::string &path, std::string what) {
  return Status::error(405, std::move(what))
      .at(path)
      .fix("complete the download of the checkpoint");
}

/// True for a plain file name: no folder, no "..", nothing hidden.
static bool isPlainName(const std::string &name) {
  return !name.empty() && name[0] != '.' &&
         name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

static bool endsWith(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() &&
         text.substr(text.size() - suffix.size()) == suffix;
}

Status Checkpoint::add(std::shared_ptr<const SafetensorsFile> shard) {
  for (const TensorEntry &entry : shard->tensors()) {
    auto [it, isNew] = byName.emplace(entry.name, &entry);
    if (!isNew)
      return Status::error(404, concat("tensor '", entry.name, "' is in '",
                                       it->second->file->path(), "' and in '",
                                       shard->path(), "'"))
          .at(root)
          .fix("keep one of the files only");
  }
  shards.push_back(std::move(shard));
  return {};
}

Status Checkpoint::openIndex(const std::string &indexPath) {
  MOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file,
                       MappedFile::open(indexPath));
  if (file->size() > maxSafetensorsHeader)
    return badIndex(indexPath, concat("checkpoint index of ", file->size(),
                                      " bytes is larger than the limit of ",
                                      maxSafetensorsHeader, " bytes"));
  const char *begin = reinterpret_cast<const char *>(file->data());
  nlohmann::json index =
      nlohmann::json::parse(begin, begin + file->size(), nullptr, false);
  if (!index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object())
    return badIndex(indexPath,
                    "checkpoint index is no JSON object with 'weight_map'");
  const nlohmann::json &map = index["weight_map"];
  std::map<std::string, std::shared_ptr<const SafetensorsFile>> opened;
  for (const auto &[tensor, value] : map.items()) {
    if (!value.is_string() || !isPlainName(value.get<std::string>()))
      return badIndex(indexPath, concat("tensor '", tensor,
                                        "' is in a shard whose name is no "
                                        "plain file name: ",
                                        value.dump()));
    std::string name = value.get<std::string>();
    std::shared_ptr<const SafetensorsFile> &shard = opened[name];
    if (!shard) {
      std::string path = concat(root, "/", name);
      if (!isRegularFile(path))
        return badIndex(indexPath, concat("checkpoint index names shard '",
                                          name, "', which is not there"));
      MOE_ASSIGN_OR_RETURN(shard, SafetensorsFile::open(path));
    }
    const TensorEntry *entry = shard->find(tensor);
    if (!entry)
      return badIndex(indexPath, concat("checkpoint index puts tensor '",
                                        tensor, "' into shard '", name,
                                        "', which does not have it"));
    byName.emplace(entry->name, entry);
  }
  for (auto &[name, shard] : opened)
    shards.push_back(std::move(shard));
  return {};
}

StatusOr<std::shared_ptr<const Checkpoint>>
Checkpoint::open(const std::string &path) {
  std::shared_ptr<Checkpoint> result(new Checkpoint());
  result->root = path;
  auto addFile = [&](const std::string &file) -> Status {
    MOE_ASSIGN_OR_RETURN(std::shared_ptr<const SafetensorsFile> shard,
                         SafetensorsFile::open(file));
    return result->add(std::move(shard));
  };
  if (!isDirectory(path)) {
    if (!isRegularFile(path))
      return Status::error(401, concat("no checkpoint at '", path, "'"))
          .because("there is no such file or folder")
          .fix("name the folder of the safetensors files");
    if (endsWith(path, ".index.json")) {
      result->root = parentPath(path);
      MOE_RETURN_IF_ERROR(result->openIndex(path));
    } else {
      MOE_RETURN_IF_ERROR(addFile(path));
    }
    return std::shared_ptr<const Checkpoint>(std::move(result));
  }

  std::string index = concat(path, "/model.safetensors.index.json");
  std::string single = concat(path, "/model.safetensors");
  if (isRegularFile(single)) {
    MOE_RETURN_IF_ERROR(addFile(single));
    return std::shared_ptr<const Checkpoint>(std::move(result));
  }
  if (isRegularFile(index)) {
    MOE_RETURN_IF_ERROR(result->openIndex(index));
    return std::shared_ptr<const Checkpoint>(std::move(result));
  }
  std::set<std::string> found; // Sorted: the order of a folder is arbitrary.
  if (DIR *dir = ::opendir(path.c_str())) {
    while (const dirent *item = ::readdir(dir)) {
      std::string name = item->d_name;
      if (isPlainName(name) && endsWith(name, ".safetensors"))
        found.insert(concat(path, "/", name));
    }
    ::closedir(dir);
  }
  if (found.empty())
    return Status::error(401, concat("no checkpoint in '", path, "'"))
        .because("it has no model.safetensors, no "
                 "model.safetensors.index.json and no other *.safetensors")
        .fix("name the folder of the safetensors files");
  for (const std::string &file : found)
    MOE_RETURN_IF_ERROR(addFile(file));
  return std::shared_ptr<const Checkpoint>(std::move(result));
}

const TensorEntry *Checkpoint::find(std::string_view name) const {
  auto it = byName.find(name);
  return it == byName.end() ? nullptr : it->second;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> all;
  all.reserve(byName.size());
  for (const auto &item : byName)
    all.emplace_back(item.first);
  std::sort(all.begin(), all.end());
  return all;
}
