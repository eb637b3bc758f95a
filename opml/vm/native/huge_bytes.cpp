#include "huge_bytes.hpp"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#endif

namespace opml {
namespace {

constexpr size_t kPage = 2 << 20, kLeast = 4 << 20, kLine = 64;

}  // namespace

void HugeBytes::Free::operator()(uint8_t* p) const {
#if defined(__linux__)
  if (mapped > 0) {
    munmap(p, mapped);
    return;
  }
#endif
  ::operator delete[](p, std::align_val_t{kLine});
}

// Large memory is mapped and not taken from the heap: that would keep what is given back, and waste most of a page on alignment.
HugeBytes::Data HugeBytes::take(size_t n) {
#if defined(__linux__)
  if (n >= kLeast) {
    const size_t small = static_cast<size_t>(sysconf(_SC_PAGESIZE)), wanted = (n + small - 1) / small * small;
    void* mapped = mmap(nullptr, wanted + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    uint8_t* const from = static_cast<uint8_t*>(mapped);
    const size_t before = (kPage - reinterpret_cast<uintptr_t>(from) % kPage) % kPage;
    if (before > 0) munmap(from, before);
    if (before < kPage) munmap(from + before + wanted, kPage - before);
    madvise(from + before, wanted, MADV_HUGEPAGE);
    return {from + before, Free{wanted}};
  }
#endif
  return {static_cast<uint8_t*>(::operator new[](n, std::align_val_t{kLine})), Free{0}};
}

#if defined(__linux__)
MappedFiles::MappedFiles() {
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return;
  char line[512], flags[5];
  uintptr_t low, high;
  uint64_t inode;
  while (std::fgets(line, sizeof line, maps) != nullptr)
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &low, &high, flags, &inode) == 4 && inode != 0 &&
        flags[0] == 'r' && flags[1] == '-')
      ranges_.emplace_back(low, high);
  std::fclose(maps);
}

void let_go(const uint8_t* data, size_t n) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t from = first / page * page, to = (first + n + page - 1) / page * page;
  madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}
#else
MappedFiles::MappedFiles() {}
void let_go(const uint8_t*, size_t) {}
#endif

bool MappedFiles::hold(const uint8_t* data, size_t n) const {
  const uintptr_t from = reinterpret_cast<uintptr_t>(data);
  for (const auto& [low, high] : ranges_)
    if (low <= from && from + n <= high) return true;
  return false;
}

}  // namespace opml
