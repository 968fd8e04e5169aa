//===- File.cpp - Mapped input files and atomic output files --------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moert/Format/File.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moert;

namespace {

Status cannotRead(const std::string &path, int error) {
  Status status = Status::error(10, concat("cannot read '", path, "'"))
                      .because(std::strerror(error));
  if (error == ENOENT)
    return std::move(status).fix("check the path");
  return std::move(status).fix("check the permissions of the file");
}

/// Widens a range to whole pages inside [0, length).
void pageRange(uint64_t &offset, uint64_t &size, uint64_t length) {
  const uint64_t page = 4096;
  if (offset >= length) {
    size = 0;
    return;
  }
  uint64_t end = size > length - offset ? length : offset + size;
  offset &= ~(page - 1);
  size = end - offset;
}

} // namespace

StatusOr<std::shared_ptr<const MappedFile>>
MappedFile::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return cannotRead(path, errno);
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    int error = errno;
    ::close(fd);
    return cannotRead(path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return Status::error(10, concat("cannot read '", path, "'"))
        .because("it is not a regular file")
        .fix("check the path");
  }
  std::shared_ptr<MappedFile> file(new MappedFile());
  file->filePath = path;
  file->length = info.st_size;
  if (info.st_size > 0) {
    void *map = ::mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      int error = errno;
      ::close(fd);
      return cannotRead(path, error);
    }
    file->bytes = static_cast<const uint8_t *>(map);
  }
  ::close(fd);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (bytes)
    ::munmap(const_cast<uint8_t *>(bytes), length);
}

void MappedFile::dropPages(uint64_t offset, uint64_t size) const {
  pageRange(offset, size, length);
  if (size)
    ::madvise(const_cast<uint8_t *>(bytes) + offset, size, MADV_DONTNEED);
}

void MappedFile::prefault(uint64_t offset, uint64_t size) const {
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
  pageRange(offset, size, length);
  if (!size)
    return;
  void *start = const_cast<uint8_t *>(bytes) + offset;
  if (::madvise(start, size, MADV_POPULATE_READ) != 0)
    ::madvise(start, size, MADV_WILLNEED);
}

std::string moert::parentPath(const std::string &path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool moert::isDirectory(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool moert::isRegularFile(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

Status OutputFile::failure(const char *action, int error) const {
  Status status = Status::error(11, concat("cannot ", action, " '", path, "'"))
                      .because(std::strerror(error));
  if (error == ENOSPC || error == EDQUOT)
    return std::move(status).fix("make room on the disk, or choose a path on "
                                 "another one");
  return std::move(status).fix("choose an existing folder that you may write");
}

static bool isSpecialFile(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) &&
         !S_ISDIR(info.st_mode);
}

/// A name beside `path` that no other process or thread uses.
static std::string temporaryName(const std::string &path) {
  static std::atomic<unsigned> counter{0};
  return concat(path, ".tmp.", ::getpid(), ".", counter.fetch_add(1));
}

StatusOr<OutputFile> OutputFile::create(const std::string &path) {
  OutputFile file;
  file.path = path;
  if (isDirectory(path))
    return file.failure("write", EISDIR);
  if (isSpecialFile(path)) {
    // A device or a pipe is written in place: a rename would replace it.
    file.descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    file.inPlace = true;
    if (file.descriptor < 0)
      return file.failure("write", errno);
    return StatusOr<OutputFile>(std::move(file));
  }
#ifdef O_TMPFILE
  file.descriptor =
      ::open(parentPath(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (file.descriptor >= 0)
    return StatusOr<OutputFile>(std::move(file));
#endif
  std::string temporary = temporaryName(path);
  file.descriptor =
      ::open(temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
  if (file.descriptor < 0)
    return file.failure("write", errno);
  file.temporary = std::move(temporary);
  return StatusOr<OutputFile>(std::move(file));
}

OutputFile &OutputFile::operator=(OutputFile &&other) noexcept {
  std::swap(path, other.path);
  std::swap(temporary, other.temporary);
  std::swap(descriptor, other.descriptor);
  std::swap(inPlace, other.inPlace);
  return *this;
}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  if (!temporary.empty())
    ::unlink(temporary.c_str());
}

Status OutputFile::write(const void *data, uint64_t size) {
  const char *next = static_cast<const char *>(data);
  while (size > 0) {
    size_t chunk = size > (1u << 30) ? (1u << 30) : size;
    ssize_t written = ::write(descriptor, next, chunk);
    if (written < 0) {
      if (errno == EINTR)
        continue;
      return failure("write", errno);
    }
    next += written;
    size -= written;
  }
  return {};
}

Status OutputFile::commit() {
  if (temporary.empty() && !inPlace) {
    std::string name = temporaryName(path);
    std::string self = concat("/proc/self/fd/", descriptor);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(),
                 AT_SYMLINK_FOLLOW) != 0)
      return failure("write", errno);
    temporary = std::move(name);
  }
  int fd = std::exchange(descriptor, -1);
  if (::close(fd) != 0 && errno != EINTR)
    return failure("write", errno);
  if (inPlace)
    return {};
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return failure("write", errno);
  temporary.clear();
  return {};
}

Status moert::writeFile(const std::string &path, const void *data,
                        uint64_t size) {
  MOE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  MOE_RETURN_IF_ERROR(file.write(data, size));
  return file.commit();
}
