#define OPML_ISA avx512
#include "level_kernels.hpp"

namespace opml {
const Kernels* kernels_avx512(Engine engine) {
  return engine == Engine::soft ? &avx512::kKernels<avx512::SoftFloat> : &avx512::kKernels<avx512::HardFloat>;
}
}  // namespace opml
