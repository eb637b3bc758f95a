// Block-quantised products of many positions by AMX: exact integers of 16 positions x 16 rows x one unit a tile, then their
// floats in the canonical order, as qdot.hpp has it.
#pragma once

#include <cstring>

#include "float_vector.hpp"
#include "packed.hpp"

OPML_LEVEL_BEGIN

inline constexpr uint32_t kAmxSide = 16, kAmxTiles = 4;      // positions of a tile, and tiles that share a group's weights
inline constexpr uint32_t kBlockUnits = kLeafElements / 32;  // summed before they are added to the total
inline constexpr uint32_t kAmxUnits = kBlockUnits + 4;       // taken together: a block, and what little may be left after it
inline constexpr uint32_t kUnitBytes = 32 * kAmxSide;

// Tiles 0 ... 3 are sums, 4 and 5 activations, 6 and 7 weights. The layout is Intel's (Software Developer's Manual, volume 1, 18.3).
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 32, 32, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 8, 8};
};
static_assert(sizeof(TileConfig) == 64);

// gcc 12's own intrinsics do not say what memory they read, and take no template parameter for a tile's number.
[[gnu::always_inline]] inline void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
[[gnu::always_inline]] inline void release_tiles() { asm volatile("tilerelease"); }
template <int N>
[[gnu::always_inline]] inline void load_tile(const int8_t* rows, int64_t apart) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(apart), "i"(N) : "memory");
}
template <int N>
[[gnu::always_inline]] inline void store_tile(int32_t* rows) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(int64_t{4 * kAmxSide}), "i"(N) : "memory");
}
// Tile Z: the products of tile A's rows with tile B's columns, both of signed bytes.
template <int Z, int A, int B>
[[gnu::always_inline]] inline void multiply_tiles() {
  asm volatile("tilezero %%tmm%c0\n\ttdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Z), "i"(A), "i"(B));
}

// The weights of a group with their offset taken off: vector j, row, byte.
template <WeightFormat F>
[[gnu::always_inline]] inline void signed_weights(const uint8_t* group, int8_t* values) {
  constexpr PackedFormat p = packed_format(F);
  if constexpr (F == WeightFormat::q8_0) {
    const __m512i flip = _mm512_set1_epi8(-128);
    for (int j = 0; j < 8; ++j) _mm512_store_si512(values + 64 * j, _mm512_xor_si512(_mm512_loadu_si512(group + 64 * j), flip));
  } else {
    const __m512i nibble = _mm512_set1_epi8(15), fifth = _mm512_set1_epi8(16), offset = _mm512_set1_epi8(p.offset);
    for (int j = 0; j < 4; ++j) {
      const __m512i both = _mm512_loadu_si512(group + 64 * j);
      __m512i low = _mm512_and_si512(both, nibble), high = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
      if constexpr (p.high_bits != 0) {
        uint64_t masks[2];
        std::memcpy(masks, group + p.high_bits + 8 * j, 8);
        std::memcpy(masks + 1, group + p.high_bits + 32 + 8 * j, 8);
        low = _mm512_mask_add_epi8(low, masks[0], low, fifth);
        high = _mm512_mask_add_epi8(high, masks[1], high, fifth);
      }
      _mm512_store_si512(values + 64 * j, _mm512_sub_epi8(low, offset));
      _mm512_store_si512(values + 256 + 64 * j, _mm512_sub_epi8(high, offset));
    }
  }
}

// Up to 64 positions against the rows of a task, block after block. While tiles are at work, and for some 50 cycles after, Emerald
// Rapids takes one vector of floats a cycle instead of two: hence all tiles of a block, then its floats.
template <WeightFormat F>
class AmxProducts {
 public:
  AmxProducts(const QdotTask& task, uint32_t first, uint32_t positions)
      : task_(task), positions_(task.positions + first), n_(positions), raw_(task.raw + first * task.raw_stride) {}

  void run() {
    const uint64_t group_bytes = uint64_t{task_.units} * p.bytes;
    for (first_ = 0; first_ < task_.units; first_ += units_) {
      units_ = task_.units - first_ <= kAmxUnits ? task_.units - first_ : kBlockUnits;
      take_activations();
      const uint8_t* group = task_.packed + uint64_t{first_} * p.bytes;
      for (uint32_t g = 0; g < task_.groups; ++g, group += group_bytes) {
        if (g + 1 < task_.groups)
          for (uint32_t line = 0; line < units_ * p.bytes; line += 64) __builtin_prefetch(group + group_bytes + line, 0, 2);
        for (uint32_t u = 0; u < units_; ++u) signed_weights<F>(group + u * p.bytes, weights_ + u * kUnitBytes);
        for (uint32_t tile = 0; tile * kAmxSide < n_; ++tile) {
          find_dots(activations_[tile]);
          for (uint32_t block = 0; block < units_; block += kBlockUnits)
            add_floats(group, tile, block, raw_ + uint64_t{tile} * kAmxSide * task_.raw_stride + uint64_t{g} * kGroupRows);
        }
      }
    }
  }

 private:
  static constexpr PackedFormat p = packed_format(F);

  // Side by side: unit, position. Those of a tile's end are zero.
  void take_activations() {
    for (uint32_t i = 0; i < (n_ + kAmxSide - 1) / kAmxSide * kAmxSide; ++i)
      for (uint32_t u = 0; u < units_; ++u) {
        int8_t* const q = activations_[i / kAmxSide] + u * kUnitBytes + i % kAmxSide * 32;
        const uint32_t at = u * kAmxSide + i % kAmxSide;
        if (i < n_) {
          std::memcpy(q, positions_[i].q + 32 * uint64_t{first_ + u}, 32);
          std::memcpy(scales_[i / kAmxSide] + at, positions_[i].scales + 4 * uint64_t{first_ + u}, 4);
          if constexpr (p.minima != 0) std::memcpy(products_[i / kAmxSide] + at, positions_[i].products + first_ + u, 4);
        } else {
          std::memset(q, 0, 32);
          scales_[i / kAmxSide][at] = products_[i / kAmxSide][at] = 0;
        }
      }
  }

  // A sum is stored when three more are under way.
  void find_dots(const int8_t* activations) {
    const auto one = [&]<int N>(uint32_t u) {
      if (u >= 4 && u < units_ + 4) store_tile<N>(dots_ + (u - 4) * kAmxSide * kGroupRows);
      if (u >= units_) return;
      load_tile<4 + N % 2>(activations + u * kUnitBytes, 32);
      load_tile<6 + N % 2>(weights_ + u * kUnitBytes, 64);
      multiply_tiles<N, 4 + N % 2, 6 + N % 2>();
    };
    for (uint32_t u = 0; u < units_ + 4; u += 4) {
      one.template operator()<0>(u);
      one.template operator()<1>(u + 1);
      one.template operator()<2>(u + 2);
      one.template operator()<3>(u + 3);
    }
  }

  void add_floats(const uint8_t* group, uint32_t tile, uint32_t block, uint32_t* raw) const {
    FloatVector acc[kAmxSide];
#pragma GCC unroll 16
    for (uint32_t t = 0; t < kAmxSide; ++t) acc[t] = FloatVector::zero();
    const uint32_t end = units_ - block < kBlockUnits ? units_ : block + kBlockUnits;
    for (uint32_t u = block; u < end; ++u) {
      const uint8_t* const floats = group + u * p.bytes;
      const uint32_t *const scales = scales_[tile] + u * kAmxSide, *const products = products_[tile] + u * kAmxSide;
      const int32_t* const dots = dots_ + u * kAmxSide * kGroupRows;
      const FloatVector scale = FloatVector::from_f16(floats + p.scales);
      const FloatVector minimum = p.minima != 0 ? FloatVector::from_f16(floats + p.minima) : FloatVector::zero();
#pragma GCC unroll 16
      for (uint32_t t = 0; t < kAmxSide; ++t) {
        const FloatVector dot = FloatVector::from_i32(_mm512_load_si512(dots + t * kGroupRows));
        acc[t] = FloatVector::fma(dot, FloatVector::mul(scale, FloatVector::spread(scales[t])), acc[t]);
        if constexpr (p.minima != 0) acc[t] = FloatVector::fma(minimum, FloatVector::spread(products[t]), acc[t]);
      }
    }
    const uint32_t n = n_ - tile * kAmxSide;
#pragma GCC unroll 16
    for (uint32_t t = 0; t < kAmxSide; ++t) {
      if (t >= n) continue;
      uint32_t* const to = raw + t * task_.raw_stride;
      FloatVector::add(first_ + block == 0 ? FloatVector::zero() : FloatVector::load(to), acc[t]).store(to);
    }
  }

  const QdotTask& task_;
  const Activations* const positions_;
  const uint32_t n_;
  uint32_t* const raw_;
  uint32_t first_ = 0, units_ = 0;
  alignas(64) int8_t weights_[kAmxUnits * kUnitBytes];
  alignas(64) int8_t activations_[kAmxTiles][kAmxUnits * kUnitBytes];
  uint32_t scales_[kAmxTiles][kAmxUnits * kAmxSide], products_[kAmxTiles][kAmxUnits * kAmxSide];
  alignas(64) int32_t dots_[kAmxUnits * kAmxSide * kGroupRows];
};

OPML_LEVEL_END
