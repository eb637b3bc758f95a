// AVX-512 with byte dot products: only the quantised kernels differ. They alone are compiled for VNNI, since gcc 12
// miscompiles some loops over bytes there.
#define OPML_ISA avx512vnni
#define OPML_VNNI
#include "kernels.hpp"
#include "qdot.hpp"

namespace opml {

const Kernels* kernels_avx512(Engine engine);

namespace {

template <class A>
void any_qdot(const QdotTask& task) {
  avx512vnni::with_lost_lanes<A>(task, avx512vnni::qdot<A>, &Kernels::qdot);
}

template <class A>
Kernels with_qdot(const Kernels& base) {
  Kernels z = base;
  z.qdot = any_qdot<A>;
  return z;
}

}  // namespace

const Kernels* kernels_avx512vnni(Engine engine) {
  static const Kernels soft = with_qdot<avx512vnni::SoftFloat>(*kernels_avx512(Engine::soft));
  static const Kernels native = with_qdot<avx512vnni::HardFloat>(*kernels_avx512(Engine::native));
  return engine == Engine::soft ? &soft : &native;
}

}  // namespace opml
