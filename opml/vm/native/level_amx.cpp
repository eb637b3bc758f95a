// AVX-512 with VNNI and AMX: only quantised products of many positions differ.
#define OPML_ISA amx
#include "kernels.hpp"
#include "qdot_amx.hpp"

namespace opml {

const Kernels* kernels_avx512vnni(Engine engine);

namespace {

// From so many positions on, a tile of 16 is faster than VNNI.
constexpr uint32_t kFewest = 9;

template <WeightFormat F>
void tiles(const QdotTask& task, uint32_t positions) {
  constexpr uint32_t most = amx::kAmxTiles * amx::kAmxSide;
  amx::configure({});
  for (uint32_t first = 0; first < positions; first += most)
    amx::AmxProducts<F>(task, first, positions - first < most ? positions - first : most).run();
  amx::release_tiles();
}

void qdot(const QdotTask& task) {
  const uint32_t over = task.n_positions % amx::kAmxSide, by_tiles = over < kFewest ? task.n_positions - over : task.n_positions;
  if (by_tiles > 0) {
    switch (task.format) {
      case WeightFormat::q4_0: tiles<WeightFormat::q4_0>(task, by_tiles); break;
      case WeightFormat::q4_1: tiles<WeightFormat::q4_1>(task, by_tiles); break;
      case WeightFormat::q5_0: tiles<WeightFormat::q5_0>(task, by_tiles); break;
      case WeightFormat::q5_1: tiles<WeightFormat::q5_1>(task, by_tiles); break;
      case WeightFormat::q8_0: tiles<WeightFormat::q8_0>(task, by_tiles); break;
      default: return;
    }
  }
  if (by_tiles == task.n_positions) return;
  QdotTask rest = task;
  rest.positions += by_tiles;
  rest.n_positions -= by_tiles;
  rest.raw += by_tiles * task.raw_stride;
  kernels_avx512vnni(Engine::native)->qdot(rest);
}

}  // namespace

const Kernels* kernels_amx(Engine engine) {
  static const Kernels native = [] {
    Kernels z = *kernels_avx512vnni(Engine::native);
    z.qdot = qdot;
    return z;
  }();
  return engine == Engine::soft ? kernels_avx512vnni(engine) : &native;
}

}  // namespace opml
