#define OPML_ISA baseline
#include "level_kernels.hpp"

namespace opml {
const Kernels* kernels_baseline(Engine engine) {
  return engine == Engine::soft ? &baseline::kKernels<baseline::SoftFloat> : &baseline::kKernels<baseline::HardFloat>;
}
}  // namespace opml
