// A scalar program made ready for blocks of lanes: the value that one operation hands to the next stays in vector
// registers, others lie in as few arrays as are alive at once, and NaNs are made canonical only where bits are looked at.
#pragma once

#include "scalar_ops.hpp"

namespace opml {

// Which operand is the value of the operation before; a_constant: a, and the last operand is a constant.
enum class Handed : uint8_t { none, a, b, c, a_constant };
inline constexpr int kHandings = 5;

// Operands below 128 number arrays: the inputs, then temporaries; others are pool[n - 128].
struct LaneStep {
  Op op;
  Handed handed;
  uint8_t a, b, c;
  uint8_t to;       // the array that gets the value, or kNowhere
  bool canonical;   // a NaN is made canonical
};

struct LaneCode {
  static constexpr uint8_t kNowhere = 0xFF, kResult = 0xFE;  // kResult: the array of results
  LaneStep steps[kMaxRegisters];
  uint8_t n_steps, n_inputs;
  uint8_t results[4];                   // arrays, or constants, of the registers that were asked for
  bool result_canonical;                // the last register is never another NaN than the canonical one
  uint64_t raw_inputs[2];               // bit j: NaNs of input j need not be canonical
  bool raw_input(int j) const { return (raw_inputs[j / 64] >> (j % 64) & 1) != 0; }
};

// `asked` are registers or constants that must be found in results[] afterwards; without any, the last register goes to
// kResult. NaNs of registers asked for may be any, since folds make them canonical.
LaneCode lane_code(const ScalarOp* ops, int n_ops, int n_inputs, const uint8_t* asked, int n_asked);

}  // namespace opml
