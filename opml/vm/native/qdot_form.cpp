#include "qdot_form.hpp"

namespace opml {
namespace {

// True if the operand is a tensor here, addressed by r and k alone.
bool along_r_and_k(const Operand& o) {
  if (o.kind != Kind::slot || o.window != Window::here) return false;
  for (int i = 0; i < o.n_terms; ++i)
    if ((o.terms[i].axis != Axis::r && o.terms[i].axis != Axis::k) || o.terms[i].mask != 0) return false;
  return true;
}

std::optional<RowsForm> rows_form(const Program& program, const Slot& slot, int number) {
  const auto& operands = slot.code->body_operands;
  const Operand& o = operands[static_cast<size_t>(number)];
  RowsForm z{o.kind == Kind::global ? o.ref : slot.first_weight + o.ref, 0, 0, 0, 0, -1};
  const uint32_t cols = program.weights[z.weight].cols;
  if (slot.code->k.n != cols || o.base % cols != 0) return {};
  z.first = o.base / cols;
  for (int i = 0; i < o.n_terms; ++i) {
    const Term& t = o.terms[i];
    const uint64_t mul = t.mul == kRow ? cols : t.mul;
    if (t.axis == Axis::k) continue;
    if (mul % cols != 0 || t.div != 1) return {};
    switch (t.axis) {
      case Axis::r:
        if (t.mask != 0) return {};
        z.per_r = mul / cols;
        break;
      case Axis::c:
        if (mul != cols) return {};
        z.mask = t.mask;
        break;
      case Axis::i: {
        const Operand& index = operands[o.index];
        const bool fixed = index.kind == Kind::token || (along_r_and_k(index) && index.term(Axis::k) == nullptr);
        if (!fixed) return {};
        z.per_index = mul / cols;
        z.index = o.index;
        break;
      }
      default: return {};
    }
  }
  if (slot.code->cols.n > 1 && o.term(Axis::c) == nullptr) return {};
  return z;
}

}  // namespace

std::optional<QdotForm> qdot_form(const Program& program, const Slot& slot) {
  const Instruction& code = *slot.code;
  if (code.fold != Fold::qdot || code.cols.varies) return {};
  QdotForm z{{}, code.result[1], code.result[2], false};
  const Operand& x = code.body_operands[code.result[1]];
  const Operand& d = code.body_operands[code.result[2]];
  if (!along_r_and_k(x) || !along_r_and_k(d) || d.term(Axis::k) == nullptr) return {};
  const uint32_t slot_number = static_cast<uint32_t>(&slot - program.slots.data());
  if (program.slots[slot_number - d.ref].code->out != Format::f32) return {};
  if (program.slots[slot_number - x.ref].code->cols.varies || program.slots[slot_number - d.ref].code->cols.varies) return {};
  z.by_row = x.term(Axis::r) != nullptr || d.term(Axis::r) != nullptr;
  for (int j = 0; j < code.accumulators(); ++j) {
    const auto rows = rows_form(program, slot, code.result[j == 0 ? 0 : 3]);
    if (!rows) return {};
    z.rows[j] = *rows;
    z.by_row |= rows->index >= 0 || (code.rows.n > 1 && rows->per_r != code.cols.n);
  }
  return z;
}

}  // namespace opml
