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
  QdotForm z{{}, code.result[1], code.result[2], false, false};
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

bool is_plain(const Term* t) { return t != nullptr && t->mul == 1 && t->div == 1 && t->mask == 0; }

bool same_tensor_and_address(const Operand& a, const Operand& b) {
  if (a.kind != b.kind || a.ref != b.ref || a.base != b.base || a.n_terms != b.n_terms) return false;
  for (int i = 0; i < a.n_terms; ++i) {
    const Term &x = a.terms[i], &y = b.terms[i];
    if (x.axis != y.axis || x.mask != y.mask || x.div != y.div || x.mul != y.mul) return false;
  }
  return true;
}

// A dot of rows of a float weight with a tensor here.
std::optional<QdotForm> dense_form(const Program& program, uint32_t number) {
  const Slot& slot = program.slots[number];
  const Instruction& code = *slot.code;
  if (!code.body.empty() || code.cols.varies || code.k.varies) return {};
  QdotForm z{{}, 0, 0, true, false};
  for (int j = 0; j < code.accumulators(); ++j) {
    uint8_t w = code.result[2 * j], x = code.result[2 * j + 1];
    if (w >= code.body_operands.size() || x >= code.body_operands.size()) return {};
    if (code.body_operands[w].kind == Kind::slot) std::swap(w, x);
    const Operand &row = code.body_operands[w], &along = code.body_operands[x];
    if ((row.kind != Kind::weight && row.kind != Kind::global) || !along_r_and_k(along) || !is_plain(along.term(Axis::k))) return {};
    const WeightFormat format = program.weights[row.kind == Kind::global ? row.ref : slot.first_weight + row.ref].format;
    if (is_quantised(format) || format == WeightFormat::i32 || !is_plain(row.term(Axis::k))) return {};
    const Instruction& writer = *program.slots[number - along.ref].code;
    if (writer.cols.varies || writer.out == Format::i8 || writer.out == Format::i32) return {};
    if (j == 1 && !same_tensor_and_address(along, code.body_operands[static_cast<size_t>(z.activations)])) return {};
    const auto rows = rows_form(program, slot, w);
    if (!rows) return {};
    z.activations = x;
    z.rows[j] = *rows;
    z.by_row |= along.term(Axis::r) != nullptr || rows->index >= 0 || (code.rows.n > 1 && rows->per_r != code.cols.n);
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

// True if c * length + k can be taken as one axis.
bool is_flat(const Operand& o, uint32_t length) {
  if (o.kind == Kind::axis) return o.ref != 1 && o.ref != 2;
  if (o.window != Window::here) return false;
  const Term *c = o.term(Axis::c), *k = o.term(Axis::k);
  if (o.term(Axis::i) != nullptr || (c != nullptr && c->mask != 0)) return false;
  if (k != nullptr) return is_plain(k) && c != nullptr && c->mul == length && c->div == 1;
  return c == nullptr || c->mul != kRow;
}

constexpr uint64_t kMostFlat = 1 << 22;  // words of the body that a thread keeps in memory

std::optional<MaxForm> flat_max_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  if (code.body.empty() || code.result[0] != code.body_operands.size() + code.body.size() - 1) return {};
  if (uint64_t{code.rows.n} * code.cols.n * code.k.n > kMostFlat) return {};
  for (const Operand& o : code.body_operands) {
    if (!is_flat(o, code.k.n)) return {};
    if (o.kind == Kind::slot && program.slots[number - o.ref].code->cols.varies) return {};
  }
  return MaxForm{false, true};
}

int uses(const std::vector<ScalarOp>& ops, size_t x) {
  int n = 0;
  for (const ScalarOp& o : ops) {
    const uint8_t operands[] = {o.a, o.b, o.c};
    for (int i = 0; i < kOpArity[static_cast<size_t>(o.op)]; ++i) n += operands[i] == x;
  }
  return n;
}

// The only slot that reads `slot`, and it does once.
bool read_once(const Program& program, uint32_t slot) {
  int n = 0;
  for (uint32_t s = slot + 1; s < program.slots.size(); ++s)
    for (const auto* section : {&program.slots[s].code->body_operands, &program.slots[s].code->finish_operands})
      for (const Operand& o : *section) n += o.kind == Kind::slot && s - o.ref == slot;
  return n == 1;
}

bool is_virtual_elementwise(const Instruction& code) { return code.fold == Fold::none && code.is_virtual; }

std::optional<GreedyForm> greedy_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  const size_t operands = code.body_operands.size(), last = operands + code.body.size() - 1;
  if (code.k.varies || code.cols.varies || code.rows.n != 1 || code.cols.n != 1 || code.body.empty() || code.result[0] != last)
    return {};
  for (const Operand& o : code.body_operands) {
    const Term* k = o.term(Axis::k);
    if (o.window != Window::here || o.term(Axis::i) != nullptr || (o.kind == Kind::axis && o.ref == 2)) return {};
    if (k != nullptr && (k->div != 1 || k->mask != 0 || k->mul == kRow)) return {};
  }
  for (size_t f = 0; f < code.body.size(); ++f) {
    const ScalarOp& o = code.body[f];
    if (o.op != Op::fma || o.a >= operands || o.b >= operands) continue;
    const bool first = code.body_operands[o.a].kind == Kind::param;
    const size_t factor = first ? o.a : o.b, noise = first ? o.b : o.a, sum = operands + f;
    const Operand &t = code.body_operands[factor], &g = code.body_operands[noise];
    if (t.kind != Kind::param || g.kind != Kind::slot || uses(code.body, noise) != 1) continue;
    const ScalarOp& chosen = code.body.back();
    const bool is_last = sum == last && uses(code.body, sum) == 0;
    if (!is_last && (chosen.op != Op::sel || chosen.a == sum || uses(code.body, sum) != 1 || (chosen.b != sum && chosen.c != sum)))
      continue;
    const uint32_t noise_slot = number - g.ref;
    const Instruction& noisy = *program.slots[noise_slot].code;
    if (!is_virtual_elementwise(noisy) || noisy.out != Format::f32 || noisy.finish_operands.size() != 1) continue;
    const Operand& word = noisy.finish_operands[0];
    if (word.kind != Kind::slot || word.window != Window::here || uses(noisy.finish, 0) != 1) continue;
    const uint32_t random_slot = noise_slot - word.ref;
    const Instruction& random = *program.slots[random_slot].code;
    if (!is_virtual_elementwise(random) || random.out != Format::i32) continue;
    if (!read_once(program, noise_slot) || !read_once(program, random_slot)) continue;
    for (const ScalarOp& s : noisy.finish) {
      if (s.op != Op::shr || s.a != 0 || s.b < kMaxRegisters) continue;
      const uint32_t shift = program.pool[s.b - kMaxRegisters] & 31;
      if (shift >= 8) return GreedyForm{t.ref, noise_slot, random_slot, static_cast<int>(noise), shift};
    }
  }
  return {};
}

std::optional<MaxForm> max_form(const Program& program, uint32_t number) {
  const Instruction& code = *program.slots[number].code;
  if (code.fold != Fold::max || code.k.varies || code.cols.varies || code.k.n > kLeafElements) return {};
  if (const auto flat = flat_max_form(program, number); flat && (code.body.size() > 1 || code.body_operands.size() > 1))
    return flat;
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
  return MaxForm{absolute, false};
}

}  // namespace

Form recognise(const Program& program, uint32_t slot) {
  switch (program.slots[slot].code->fold) {
    case Fold::qdot:
      if (const auto form = qdot_form(program, slot)) return *form;
      break;
    case Fold::dot:
      if (const auto form = dense_form(program, slot)) return *form;
      if (const auto form = score_form(program, slot)) return *form;
      if (const auto form = value_form(program, slot)) return *form;
      break;
    case Fold::max:
      if (const auto form = softmax_form(program, slot)) return *form;
      if (const auto form = max_form(program, slot)) return *form;
      break;
    case Fold::argmax:
      if (const auto form = greedy_form(program, slot)) return *form;
      break;
    default: break;
  }
  return {};
}

bool computed_together(const Program& program, uint32_t first, const QdotForm& a, uint32_t slot, const QdotForm& b) {
  const Slot &x = program.slots[first], &y = program.slots[slot];
  if (x.entry != y.entry || x.code->yields != y.code->yields || x.code->k.n != y.code->k.n) return false;
  if (a.dense != b.dense || a.by_row || b.by_row) return false;
  const auto same = [&](int i, int j) {
    Operand o = x.code->body_operands[static_cast<size_t>(i)];
    o.ref += slot - first;
    return same_tensor_and_address(o, y.code->body_operands[static_cast<size_t>(j)]);
  };
  if (!same(a.activations, b.activations) || (!a.dense && !same(a.scales, b.scales))) return false;
  for (const auto* section : {&y.code->body_operands, &y.code->finish_operands})
    for (const Operand& o : *section)
      if (o.kind == Kind::slot && o.ref <= slot - first) return false;
  return true;
}

}  // namespace opml
