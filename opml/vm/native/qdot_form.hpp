// Which qdot instructions are products of whole rows of a packed weight, and which rows.
#pragma once

#include <optional>

#include "program.hpp"

namespace opml {

// Element (r, c) takes the row first + r * per_r + index * per_index + (c ^ mask) of the weight.
struct RowsForm {
  uint32_t weight;  // number
  uint64_t first, per_r, per_index;
  uint32_t mask;
  int index;  // body operand, or -1
};

struct QdotForm {
  RowsForm rows[2];
  int activations, scales;  // body operands
  bool by_row;              // each r is a product of its own; else rows follow each other through r
};

std::optional<QdotForm> qdot_form(const Program& program, const Slot& slot);

}  // namespace opml
