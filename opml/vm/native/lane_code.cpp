#include "lane_code.hpp"

#include <algorithm>

namespace opml {
namespace {

bool computes_float(Op op) { return op <= Op::fma || op == Op::neg || op == Op::abs; }
// Their value is never a NaN, or only the canonical one.
bool always_canonical(Op op) { return op >= Op::min && op <= Op::i2f; }
bool reads_numbers(Op op) { return (op <= Op::eq) || op == Op::f2i; }

}  // namespace

LaneCode lane_code(const ScalarOp* ops, int n_ops, int n_inputs, const uint8_t* asked, int n_asked) {
  LaneCode z{};
  z.n_steps = static_cast<uint8_t>(n_ops);
  z.n_inputs = static_cast<uint8_t>(n_inputs);
  bool bits[kMaxRegisters] = {}, kept[kMaxRegisters] = {};  // its bits are looked at; asked for
  int last_reader[kMaxRegisters] = {}, readers_in_memory[kMaxRegisters] = {};
  for (int j = 0; j < n_asked; ++j)
    if (asked[j] < kMaxRegisters) kept[asked[j]] = true;
  if (n_asked == 0 && n_ops > 0) bits[n_inputs + n_ops - 1] = true;
  for (int i = n_ops - 1; i >= 0; --i) {
    const ScalarOp& o = ops[i];
    const uint8_t operands[] = {o.a, o.b, o.c};
    for (int j = 0; j < kOpArity[static_cast<int>(o.op)]; ++j) {
      if (operands[j] >= kMaxRegisters || reads_numbers(o.op)) continue;
      if (o.op == Op::sel && (j == 0 || !bits[n_inputs + i])) continue;
      bits[operands[j]] = true;
    }
  }
  for (int i = 0; i < n_ops; ++i) {
    const ScalarOp& o = ops[i];
    LaneStep& step = z.steps[i];
    step = {o.op, Handed::none, o.a, o.b, o.c, LaneCode::kNowhere, computes_float(o.op) && bits[n_inputs + i]};
    const uint8_t operands[] = {o.a, o.b, o.c};
    for (int j = 0; j < kOpArity[static_cast<int>(o.op)]; ++j) {
      if (operands[j] >= kMaxRegisters) continue;
      if (i > 0 && operands[j] == n_inputs + i - 1 && step.handed == Handed::none) {
        step.handed = static_cast<Handed>(j + 1);
        continue;
      }
      last_reader[operands[j]] = i;
      ++readers_in_memory[operands[j]];
    }
    const int arity = kOpArity[static_cast<int>(o.op)];
    if (step.handed == Handed::a && arity > 1 && operands[arity - 1] >= kMaxRegisters) step.handed = Handed::a_constant;
  }
  // Arrays are lent again after their last reader; what is asked for keeps its own.
  uint8_t array_of[kMaxRegisters];
  bool taken[kMaxRegisters] = {};
  for (int j = 0; j < n_inputs; ++j) array_of[j] = static_cast<uint8_t>(j), taken[j] = true;
  for (int i = 0; i < n_ops; ++i) {
    LaneStep& step = z.steps[i];
    const uint8_t operands[] = {step.a, step.b, step.c};
    uint8_t* const to[] = {&step.a, &step.b, &step.c};
    const int arity = kOpArity[static_cast<int>(step.op)];
    const int handed = step.handed == Handed::a_constant ? 1 : static_cast<int>(step.handed);
    for (int j = 0; j < 3; ++j) {
      if (j >= arity) {
        *to[j] = 0;
      } else if (operands[j] < kMaxRegisters && handed != j + 1) {
        *to[j] = array_of[operands[j]];
      }
    }
    for (int j = 0; j < arity; ++j) {
      const uint8_t x = operands[j];
      if (x < kMaxRegisters && x >= n_inputs && !kept[x] && handed != j + 1 && last_reader[x] == i)
        taken[array_of[x]] = false;
    }
    const int x = n_inputs + i;
    if (readers_in_memory[x] > 0 || kept[x]) {
      const auto free = static_cast<int>(std::find(taken + n_inputs, taken + kMaxRegisters, false) - taken);
      taken[free] = true;
      array_of[x] = step.to = static_cast<uint8_t>(free);
    }
  }
  for (int j = 0; j < n_asked; ++j) z.results[j] = asked[j] < kMaxRegisters ? array_of[asked[j]] : asked[j];
  if (n_asked == 0 && n_ops > 0) z.steps[n_ops - 1].to = LaneCode::kResult;
  const Op op = ops[n_ops > 0 ? n_ops - 1 : 0].op;
  z.result_canonical = n_ops > 0 && (z.steps[n_ops - 1].canonical || always_canonical(op));
  for (int j = 0; j < n_inputs; ++j)
    if (!bits[j]) z.raw_inputs[j / 64] |= uint64_t{1} << (j % 64);
  return z;
}

}  // namespace opml
