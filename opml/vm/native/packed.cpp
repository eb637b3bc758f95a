#include "packed.hpp"

#include <algorithm>
#include <cstring>

namespace opml {
namespace {

// Where a unit's parts lie in the file's layout.
struct FileUnit {
  uint32_t minimum, high_bits, values;
};
constexpr FileUnit file_unit(WeightFormat f) {
  switch (f) {
    case WeightFormat::q4_0: return {0, 0, 2};
    case WeightFormat::q4_1: return {2, 0, 4};
    case WeightFormat::q5_0: return {0, 2, 6};
    case WeightFormat::q5_1: return {2, 4, 8};
    default: return {0, 0, 2};
  }
}

template <class T>
void pack_plain(const WeightShape& w, const uint8_t* data, uint32_t from_group, uint32_t to_group, uint8_t* packed) {
  constexpr uint32_t block = 64;  // elements: a few lines of each row at a time
  for (uint32_t g = from_group; g < to_group; ++g) {
    uint8_t* group = packed + g * packed_group_bytes(w.format, w.cols);
    const uint32_t rows = std::min(kGroupRows, w.rows - g * kGroupRows);
    if (rows < kGroupRows) std::memset(group, 0, packed_group_bytes(w.format, w.cols));
    for (uint32_t first = 0; first < w.cols; first += block) {
      for (uint32_t i = 0; i < rows; ++i) {
        const uint8_t* row = data + (uint64_t{g} * kGroupRows + i) * w.row_bytes();
        for (uint32_t k = first; k < std::min(w.cols, first + block); ++k)
          std::memcpy(group + (uint64_t{k} * kGroupRows + i) * sizeof(T), row + k * sizeof(T), sizeof(T));
      }
    }
  }
}

template <WeightFormat F>
void pack_units(const WeightShape& w, const uint8_t* data, uint32_t from_group, uint32_t to_group, uint8_t* packed) {
  constexpr PackedFormat p = packed_format(F);
  constexpr FileUnit u = file_unit(F);
  constexpr uint32_t words = F == WeightFormat::q8_0 ? 8 : 4, flip = F == WeightFormat::q8_0 ? 0x80808080 : 0;
  const uint32_t units = w.cols / 32;
  for (uint32_t g = from_group; g < to_group; ++g) {
    const uint32_t rows = std::min(kGroupRows, w.rows - g * kGroupRows);
    for (uint32_t k = 0; k < units; ++k) {
      uint8_t* group = packed + (uint64_t{g} * units + k) * p.bytes;
      if (rows < kGroupRows) std::memset(group, 0, p.bytes);
      uint64_t masks[8] = {};
      for (uint32_t i = 0; i < rows; ++i) {
        const uint8_t* unit = data + (uint64_t{g} * kGroupRows + i) * w.row_bytes() + uint64_t{k} * unit_bytes(F);
        for (uint32_t j = 0; j < words; ++j) {
          uint32_t word;
          std::memcpy(&word, unit + u.values + 4 * j, 4);
          word ^= flip;
          std::memcpy(group + 64 * j + 4 * i, &word, 4);
        }
        std::memcpy(group + p.scales + 2 * i, unit, 2);
        if constexpr (p.minima != 0) std::memcpy(group + p.minima + 2 * i, unit + u.minimum, 2);
        if constexpr (p.high_bits != 0) {
          uint32_t bits;
          std::memcpy(&bits, unit + u.high_bits, 4);
          for (uint32_t n = 0; n < 32; ++n) masks[n / 4] |= uint64_t{bits >> n & 1} << (4 * i + n % 4);
        }
      }
      if constexpr (p.high_bits != 0) std::memcpy(group + p.high_bits, masks, sizeof masks);
    }
  }
}

}  // namespace

void pack_rows(const WeightShape& w, const uint8_t* data, uint32_t from_group, uint32_t to_group, uint8_t* packed) {
  switch (w.format) {
    case WeightFormat::f32: return pack_plain<uint32_t>(w, data, from_group, to_group, packed);
    case WeightFormat::f16:
    case WeightFormat::bf16: return pack_plain<uint16_t>(w, data, from_group, to_group, packed);
    case WeightFormat::q4_0: return pack_units<WeightFormat::q4_0>(w, data, from_group, to_group, packed);
    case WeightFormat::q4_1: return pack_units<WeightFormat::q4_1>(w, data, from_group, to_group, packed);
    case WeightFormat::q5_0: return pack_units<WeightFormat::q5_0>(w, data, from_group, to_group, packed);
    case WeightFormat::q5_1: return pack_units<WeightFormat::q5_1>(w, data, from_group, to_group, packed);
    case WeightFormat::q8_0: return pack_units<WeightFormat::q8_0>(w, data, from_group, to_group, packed);
    case WeightFormat::i32: return;  // no product reads it
  }
}

}  // namespace opml
