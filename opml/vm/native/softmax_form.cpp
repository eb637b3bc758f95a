// Recognises the soft-max of attention: its three slots, operation by operation.
#include "forms.hpp"

namespace opml {
namespace {

// e^(x - m) over registers 0 (x) and 1 (m): constants are written kMaxRegisters + their number.
constexpr uint8_t constant(int number) { return static_cast<uint8_t>(kMaxRegisters + number); }
constexpr ScalarOp kExp[] = {
    {Op::sub, 0, 1, 0},
    {Op::max, 2, constant(0), 0},
    {Op::min, 3, constant(1), 0},
    {Op::fma, 4, constant(2), constant(3)},
    {Op::sub, 5, constant(3), 0},
    {Op::fma, 6, constant(5), 4},
    {Op::fma, 6, constant(4), 7},
    {Op::fma, constant(6), 8, constant(7)},
    {Op::fma, 9, 8, constant(8)},
    {Op::fma, 10, 8, constant(9)},
    {Op::fma, 11, 8, constant(10)},
    {Op::fma, 12, 8, constant(11)},
    {Op::fma, 13, 8, constant(12)},
    {Op::sar, 5, constant(13), 0},
    {Op::isub, 5, 15, 0},
    {Op::shl, 16, constant(14), 0},
    {Op::iadd, 14, 17, 0},
    {Op::shl, 15, constant(14), 0},
    {Op::mul, 18, 19, 0},
};

// True if the operations are those of kExp with some constants, which it gives.
bool match_exp(const Program& program, const std::vector<ScalarOp>& ops, uint32_t* constants) {
  if (ops.size() != std::size(kExp)) return false;
  bool known[kExpConstants] = {};
  const auto same = [&](uint8_t found, uint8_t wanted) {
    if (wanted < kMaxRegisters || found < kMaxRegisters) return found == wanted;
    const int number = wanted - kMaxRegisters;
    const uint32_t word = program.pool[static_cast<size_t>(found - kMaxRegisters)];
    if (known[number]) return constants[number] == word;
    known[number] = true;
    constants[number] = word;
    return true;
  };
  for (size_t i = 0; i < ops.size(); ++i) {
    const int arity = kOpArity[static_cast<size_t>(kExp[i].op)];
    if (ops[i].op != kExp[i].op || !same(ops[i].a, kExp[i].a)) return false;
    if (arity > 1 && !same(ops[i].b, kExp[i].b)) return false;
    if (arity > 2 && !same(ops[i].c, kExp[i].c)) return false;
  }
  return true;
}

// True if the operand reads element (r, axis) of a slot here that has rows of f32 of `length`.
bool reads_rows(const Program& program, uint32_t number, const Operand& o, Axis axis, Extent length) {
  if (o.kind != Kind::slot || o.window != Window::here || o.base != 0 || o.n_terms != 2) return false;
  const Term *r = o.term(Axis::r), *along = o.term(axis);
  if (r == nullptr || r->mul != kRow || r->div != 1 || r->mask != 0) return false;
  if (along == nullptr || along->mul != 1 || along->div != 1 || along->mask != 0) return false;
  const Instruction& writer = *program.slots[number - o.ref].code;
  return writer.out == Format::f32 && writer.cols.varies && writer.cols.n == length.n && length.varies;
}

// A fold of whole rows of a slot into one column of f32.
bool folds_rows(const Program& program, uint32_t number, Fold fold) {
  const Instruction& code = *program.slots[number].code;
  return code.fold == fold && !code.two && code.body.empty() && code.body_operands.size() == 1 && code.cols.n == 1 &&
         !code.cols.varies && code.out == Format::f32 && reads_rows(program, number, code.body_operands[0], Axis::k, code.k);
}

}  // namespace

std::optional<SoftmaxForm> softmax_form(const Program& program, uint32_t slot) {
  if (slot + 2 >= program.slots.size()) return {};
  const Instruction &max = *program.slots[slot].code, &exp = *program.slots[slot + 1].code, &sum = *program.slots[slot + 2].code;
  if (!folds_rows(program, slot, Fold::max) || !folds_rows(program, slot + 2, Fold::dot) || max.result[0] != 0) return {};
  SoftmaxForm z{};
  z.score_slot = slot - max.body_operands[0].ref;
  const uint8_t factor = sum.result[0] == 0 ? sum.result[1] : sum.result[0];
  if ((sum.result[0] != 0 && sum.result[1] != 0) || factor < kMaxRegisters) return {};
  z.factor = program.pool[static_cast<size_t>(factor - kMaxRegisters)];

  const Extent rows = max.rows, cols = exp.cols;
  if (exp.fold != Fold::none || exp.out != Format::f32 || exp.finish_operands.size() != 2 || exp.rows.n != rows.n ||
      sum.rows.n != rows.n || program.slots[z.score_slot].code->rows.n < rows.n)
    return {};
  if (max.yields != exp.yields || max.yields != sum.yields) return {};
  const Operand &x = exp.finish_operands[0], &m = exp.finish_operands[1];
  if (x.ref != slot + 1 - z.score_slot || !reads_rows(program, slot + 1, x, Axis::c, cols)) return {};
  const Term* r = m.term(Axis::r);
  if (m.kind != Kind::slot || m.window != Window::here || m.ref != 1 || m.base != 0 || m.n_terms != 1 || r == nullptr ||
      (r->mul != 1 && r->mul != kRow) || r->div != 1 || r->mask != 0)
    return {};
  if (sum.body_operands[0].ref != 1 || !match_exp(program, exp.finish, z.constants)) return {};
  for (const int bound : {0, 1})  // NaNs would win over every x
    if ((z.constants[bound] & 0x7FFFFFFF) > 0x7F800000) return {};
  if (program.slots[slot].entry != program.slots[slot + 2].entry) return {};
  // Finishes of the folds read nothing that is written together with them.
  for (const uint32_t s : {slot, slot + 2})
    for (const Operand& o : program.slots[s].code->finish_operands)
      if (o.kind == Kind::slot && s - o.ref >= slot) return {};
  return z;
}

}  // namespace opml
