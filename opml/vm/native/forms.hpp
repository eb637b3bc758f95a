// Instruction forms that have kernels of their own; anything else takes the generic path.
#pragma once

#include <optional>
#include <variant>

#include "program.hpp"

namespace opml {

// qdot: products of whole rows of a packed weight. Element (r, c) takes the row
// first + r * per_r + index * per_index + (c ^ mask).
struct RowsForm {
  uint32_t weight;  // number
  uint64_t first, per_r, per_index;
  uint32_t mask;
  int index;  // body operand, or -1
  bool same_rows(const RowsForm& o) const {
    return weight == o.weight && first == o.first && per_r == o.per_r && per_index == o.per_index && index == o.index;
  }
};
struct QdotForm {
  RowsForm rows[2];
  int activations, scales;  // body operands
  bool by_row;              // each r is a product of its own; else rows follow each other through r
};

// dot of a tensor here with a window over c, along k: attention scores.
struct ScoreForm {
  int query, key;  // body operands
  uint32_t key_slot;
};

// dot of a varying row here with a window over k: attention values.
struct ValueForm {
  int factor, value;  // body operands
};

// max of k consecutive elements, maybe of their absolute values.
struct MaxForm {
  bool absolute;
};

using Form = std::variant<std::monostate, QdotForm, ScoreForm, ValueForm, MaxForm>;

Form recognise(const Program& program, uint32_t slot);

}  // namespace opml
