// Chooses the kernels by what the processor reports.
#include <initializer_list>

#include "kernels.hpp"
#if defined(OPML_X86_LEVELS) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace opml {

#if defined(OPML_X86_LEVELS)
const Kernels* kernels_avx2(Engine engine);
const Kernels* kernels_avx512(Engine engine);
const Kernels* kernels_avx512vnni(Engine engine);
const Kernels* kernels_amx(Engine engine);

namespace {

// Linux gives a process the tiles' registers when it asks (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned tiles_of_bytes = 1u << 24 | 1u << 25;  // AMX-TILE, AMX-INT8
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & tiles_of_bytes) != tiles_of_bytes) return false;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

bool has(Level level) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  switch (level) {
    case Level::baseline: return true;
    case Level::avx2: return avx2;
    case Level::avx512: return avx512;
    case Level::avx512vnni: return vnni;
    case Level::amx: {
      static const bool tiles = vnni && may_use_tiles();
      return tiles;
    }
  }
  return false;
}
}  // namespace

const Kernels* kernels(Level level, Engine engine) {
  if (!has(level)) return nullptr;
  switch (level) {
    case Level::baseline: return kernels_baseline(engine);
    case Level::avx2: return kernels_avx2(engine);
    case Level::avx512: return kernels_avx512(engine);
    case Level::avx512vnni: return kernels_avx512vnni(engine);
    case Level::amx: return kernels_amx(engine);
  }
  return nullptr;
}

Level best_level() {
  for (const Level level : {Level::amx, Level::avx512vnni, Level::avx512, Level::avx2})
    if (has(level)) return level;
  return Level::baseline;
}
#else
const Kernels* kernels(Level level, Engine engine) {
  return level == Level::baseline ? kernels_baseline(engine) : nullptr;
}
Level best_level() { return Level::baseline; }
#endif

}  // namespace opml
