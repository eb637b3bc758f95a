// Chooses the kernels by what the processor reports.
#include <initializer_list>

#include "kernels.hpp"

namespace opml {

#if defined(OPML_X86_LEVELS)
const Kernels* kernels_avx2(Engine engine);
const Kernels* kernels_avx512(Engine engine);
const Kernels* kernels_avx512vnni(Engine engine);

namespace {
bool has(Level level) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  switch (level) {
    case Level::baseline: return true;
    case Level::avx2: return avx2;
    case Level::avx512: return avx512;
    case Level::avx512vnni: return avx512 && __builtin_cpu_supports("avx512vnni");
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
  }
  return nullptr;
}

Level best_level() {
  for (const Level level : {Level::avx512vnni, Level::avx512, Level::avx2})
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
