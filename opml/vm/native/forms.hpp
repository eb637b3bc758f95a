// Instruction forms that have kernels of their own; anything else takes the generic path.
#pragma once

#include <optional>
#include <variant>

#include "program.hpp"

namespace opml {

// qdot, or a plain dot (`dense`): products of whole rows of a packed weight. Element (r, c) takes the row
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
  bool dense;               // activations are floats, without scales
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

// max of k consecutive elements, maybe of their absolute values; or of a body over operands that are addressed by
// c * k + k, by c or by neither: `flat`, the body is evaluated over c * k + k as one axis.
struct MaxForm {
  bool absolute, flat;
};

// argmax of what adds temperature times noise, fma(param, noise, z), alone or chosen by a `sel`. Where the temperature is
// 0 and all noise is finite, fma gives z, unless z is -0, whose sign the noise then decides (session_greedy.cpp).
struct GreedyForm {
  uint32_t param, noise_slot, random_slot;
  int noise;       // body operand
  uint32_t shift;  // noise depends on a word shifted right by this
};

// The soft-max of whole rows of scores: a max over rows of varying length, then e^(score - max) as `opml.ops.functions.exp`
// writes it, then its sums times a constant. The three slots follow each other, and are computed row by row.
inline constexpr int kExpConstants = 15;
struct SoftmaxForm {
  uint32_t score_slot;
  uint32_t factor;  // word
  uint32_t constants[kExpConstants];
};

// Computed together with an earlier slot.
struct CoveredForm {};

using Form = std::variant<std::monostate, QdotForm, ScoreForm, ValueForm, MaxForm, GreedyForm, SoftmaxForm, CoveredForm>;

std::optional<SoftmaxForm> softmax_form(const Program& program, uint32_t slot);

Form recognise(const Program& program, uint32_t slot);

// Whether two slots with such forms are products with the same activations, so that `slot`, which lies after `first`, may be
// computed together with it and those between: it reads none of them.
bool computed_together(const Program& program, uint32_t first, const QdotForm& a, uint32_t slot, const QdotForm& b);

}  // namespace opml
