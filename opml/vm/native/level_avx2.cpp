#define OPML_ISA avx2
#include "level_kernels.hpp"

namespace opml {
const Kernels* kernels_avx2(Engine engine) {
  return engine == Engine::soft ? &avx2::kKernels<avx2::SoftFloat> : &avx2::kKernels<avx2::HardFloat>;
}
}  // namespace opml
