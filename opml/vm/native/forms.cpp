#include "forms.hpp"

#include <utility>

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

std::optional<QdotForm> qdot_form(const Program& program, uint32_t number) {
  const Slot& slot = program.slots[number];
  const Instruction& code = *slot.code;
  if (code.cols.varies) return {};
  QdotForm z{{}, code.result[1], code.result[2], false};
  const Operand& x = code.body_operands[code.result[1]];
  const Operand& d = code.body_operands[code.result[2]];
  if (!along_r_and_k(x) || !along_r_and_k(d) || d.term(Axis::k) == nullptr) return {};
  const Instruction &scales = *program.slots[number - d.ref].code, &activations = *program.slots[number - x.ref].code;
  if (scales.out != Format::f32 || scales.cols.varies || activations.cols.varies) return {};
  z.by_row = x.term(Axis::r) != nullptr || d.term(Axis::r) != nullptr;
  for (int j = 0; j < code.accumulators(); ++j) {
    const auto rows = rows_form(program, slot, code.result[j == 0 ? 0 : 3]);
    if (!rows) return {};
    z.rows[j] = *rows;
    z.by_row |= rows->index >= 0 || (code.rows.n > 1 && rows->per_r != code.cols.n);
  }
  return z;
}

// The two factors of a plain dot without a body: (operand here, operand over the window).
std::optional<std::pair<int, int>> plain_window_dot(const Instruction& code, Window window) {
  if (code.fold != Fold::dot || code.two || !code.body.empty() || code.body_operands.size() != 2) return {};
  if (code.result[0] > 1 || code.result[1] > 1 || code.result[0] == code.result[1]) return {};
  for (const Operand& o : code.body_operands)
    if (o.kind != Kind::slot || o.term(Axis::i) != nullptr || o.term(Axis::t) != nullptr) return {};
  for (int j = 0; j < 2; ++j)
    if (code.body_operands[static_cast<size_t>(j)].window == Window::here &&
        code.body_operands[static_cast<size_t>(1 - j)].window == window)
      return std::pair{j, 1 - j};
  return {};
}

bool is_plain(const Term* t) { return t != nullptr && t->mul == 1 && t->div == 1 && t->mask == 0; }

bool no_mask_on_r(const Operand& o) {
  const Term* r = o.term(Axis::r);
  return r == nullptr || r->mask == 0;
}

std::optional<ScoreForm> score_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  const auto found = plain_window_dot(code, Window::over_c);
  if (!found || code.k.varies) return {};
  const Operand& query = code.body_operands[static_cast<size_t>(found->first)];
  const Operand& key = code.body_operands[static_cast<size_t>(found->second)];
  if (query.term(Axis::c) != nullptr || key.term(Axis::c) != nullptr) return {};
  if (!is_plain(query.term(Axis::k)) || !is_plain(key.term(Axis::k)) || !no_mask_on_r(query) || !no_mask_on_r(key)) return {};
  if (program.slots[number - query.ref].code->cols.varies) return {};
  const Format format = program.slots[number - key.ref].code->out;
  if (format != Format::f32 && format != Format::f16) return {};
  return ScoreForm{found->first, found->second, number - key.ref};
}

std::optional<ValueForm> value_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  const auto found = plain_window_dot(code, Window::over_k);
  if (!found || code.cols.varies || code.cols.n % 16 != 0) return {};
  const Operand& factor = code.body_operands[static_cast<size_t>(found->first)];
  const Operand& value = code.body_operands[static_cast<size_t>(found->second)];
  const Instruction& writer = *program.slots[number - factor.ref].code;
  if (factor.term(Axis::c) != nullptr || !is_plain(factor.term(Axis::k)) || !no_mask_on_r(factor)) return {};
  if (value.term(Axis::k) != nullptr || !is_plain(value.term(Axis::c)) || !no_mask_on_r(value)) return {};
  const Format format = program.slots[number - value.ref].code->out;
  if (writer.out != Format::f32 || !writer.cols.varies || format == Format::i8 || format == Format::i32) return {};
  return ValueForm{found->first, found->second};
}

std::optional<MaxForm> max_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  if (code.fold != Fold::max || code.k.varies || code.cols.varies || code.k.n > kLeafElements) return {};
  if (code.body_operands.size() != 1 || code.body.size() > 1) return {};
  const Operand& x = code.body_operands[0];
  if (x.kind != Kind::slot || x.window != Window::here || x.term(Axis::t) != nullptr || x.term(Axis::i) != nullptr) return {};
  const Instruction& writer = *program.slots[number - x.ref].code;
  const Term* c = x.term(Axis::c);
  if (!is_plain(x.term(Axis::k)) || !no_mask_on_r(x) || writer.cols.varies || writer.out == Format::i8 || writer.out == Format::i32)
    return {};
  if (code.cols.n > 1 && (c == nullptr || c->mul != code.k.n || c->div != 1 || c->mask != 0)) return {};
  if (code.cols.n == 1 && c != nullptr) return {};
  const bool absolute = code.body.size() == 1;
  if (absolute && (code.body[0].op != Op::abs || code.body[0].a != 0)) return {};
  if (code.result[0] != (absolute ? 1 : 0)) return {};
  return MaxForm{absolute};
}

}  // namespace

Form recognise(const Program& program, uint32_t slot) {
  switch (program.slots[slot].code->fold) {
    case Fold::qdot:
      if (const auto form = qdot_form(program, slot)) return *form;
      break;
    case Fold::dot:
      if (const auto form = score_form(program, slot)) return *form;
      if (const auto form = value_form(program, slot)) return *form;
      break;
    case Fold::max:
      if (const auto form = max_form(program, slot)) return *form;
      break;
    default: break;
  }
  return {};
}

}  // namespace opml
