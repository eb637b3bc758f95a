#include "huge_bytes.hpp"

#if defined(__linux__)
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#endif

namespace opml {

#if defined(__linux__)
void let_go(const uint8_t* data, size_t n) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t from = (first + page - 1) / page * page, to = (first + n) / page * page;
  if (from >= to) return;
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return;
  char line[512], flags[5];
  uintptr_t low, high;
  uint64_t inode;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &low, &high, flags, &inode) != 4) continue;
    if (low > from || high < to) continue;
    if (inode != 0 && flags[0] == 'r' && flags[1] == '-') madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
    break;
  }
  std::fclose(maps);
}
#else
void let_go(const uint8_t*, size_t) {}
#endif

}  // namespace opml
