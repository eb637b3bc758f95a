// A decoded program (docs/spec.md#32-encoding). Everything that memory safety depends on is checked here again, whatever
// the Python validator said: references, extents, addresses for every position, registers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lane_code.hpp"
#include "scalar_ops.hpp"

namespace opml {

enum class Fold : uint8_t { none, dot, qdot, max, argmax };
enum class Format : uint8_t { f32, f16, bf16, i32, i8 };
enum class WeightFormat : uint8_t { f32, f16, bf16, i32, q4_0, q4_1, q5_0, q5_1, q8_0 };
enum class Kind : uint8_t { slot, weight, global, token, param, axis };
enum class Window : uint8_t { here, over_k, over_c };
enum class Axis : uint8_t { r, c, k, t, i };

inline constexpr uint32_t kRow = 0xFFFFFFFF;
inline constexpr uint8_t kNoIndex = 0xFF;
inline constexpr int kMaxTerms = 5;
inline constexpr uint32_t kLeafElements = 256;
inline constexpr uint32_t kMaxLimit = 1u << 20;

constexpr uint32_t format_bytes(Format f) { return f == Format::i8 ? 1 : f == Format::f16 || f == Format::bf16 ? 2 : 4; }
constexpr bool is_quantised(WeightFormat f) { return f >= WeightFormat::q4_0; }
constexpr uint32_t unit_elements(WeightFormat f) { return is_quantised(f) ? 32 : 1; }
constexpr uint32_t unit_bytes(WeightFormat f) {
  constexpr uint32_t bytes[] = {4, 2, 2, 4, 18, 20, 22, 24, 34};
  return bytes[static_cast<int>(f)];
}

struct Extent {
  uint32_t n;
  bool varies;  // min(t + 1, n)
  [[gnu::always_inline]] constexpr uint32_t at(uint32_t t) const { return varies && t + 1 < n ? t + 1 : n; }
};

struct Term {  // mul * ((axis ^ mask) / div)
  Axis axis;
  uint32_t mask, div, mul;
};

struct Operand {
  Kind kind;
  Window window;
  uint8_t index, n_terms;
  uint32_t ref, base;
  Term terms[kMaxTerms];
  const Term* term(Axis axis) const {
    for (int i = 0; i < n_terms; ++i)
      if (terms[i].axis == axis) return &terms[i];
    return nullptr;
  }
};

struct Instruction {
  Fold fold;
  Format out;
  bool two, yields, is_virtual;
  uint8_t result[4];  // a0 b0 a1 b1
  uint8_t terms;
  Extent rows, cols, k;
  std::vector<Operand> body_operands, finish_operands;
  std::vector<ScalarOp> body, finish;
  LaneCode body_code, finish_code;
  LaneCode flat_code;  // of a max: the body by itself, its last register being the result
  int accumulators() const { return fold == Fold::none ? 0 : two || fold == Fold::argmax ? 2 : 1; }
};

struct WeightShape {
  uint32_t rows, cols;
  WeightFormat format;
  uint64_t row_bytes() const { return uint64_t{cols} / unit_elements(format) * unit_bytes(format); }
  uint64_t bytes() const { return row_bytes() * rows; }
};

struct Block {
  std::vector<Instruction> code;
  std::vector<WeightShape> weights;  // the formats are those of the schedule's first use
};

// One instruction of one schedule entry.
struct Slot {
  const Instruction* code;
  uint32_t entry;
  int32_t ordinal;  // among the committed slots; -1: virtual
  uint32_t first_weight;  // number of the entry's first weight in Program::weights
};

struct Program {
  std::vector<Block> blocks;
  std::vector<uint8_t> schedule;
  std::vector<uint32_t> pool;
  std::vector<WeightShape> weights;  // globals, then those of each entry: the order of the weights tree
  std::vector<Slot> slots;
  uint32_t globals = 0, params = 0, limit = 0, committed = 0;
};

// Decodes and checks. On failure returns what is wrong, and the program must not be used.
std::string decode_program(std::span<const uint8_t> bytes, Program& program);

}  // namespace opml
