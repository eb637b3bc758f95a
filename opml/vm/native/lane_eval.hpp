// Runs a LaneCode over a block of lanes.
#pragma once

#include "lane_code.hpp"
#include "lane_vector.hpp"
#include "scalar_eval.hpp"

OPML_LEVEL_BEGIN

// Whether a program runs on vectors: then its inputs may be read where they lie.
#if defined(OPML_LANE_VECTORS)
template <Arithmetic A>
inline constexpr bool kOnVectors = A::hardware;
// Lanes that are read and written beyond the last one: up to the next multiple of this.
inline constexpr int kLaneGrain = 4 * LaneVector::width;
#else
template <Arithmetic A>
inline constexpr bool kOnVectors = false;
inline constexpr int kLaneGrain = kLaneStep;
#endif

#if defined(OPML_LANE_VECTORS)
// `n` vectors side by side from lane `first` on. The values handed on stay in `x`.
template <int n>
[[gnu::noinline]] void run_lanes(const LaneCode& code, uint32_t* const* arrays, const uint32_t* pool, int first, uint32_t* out) {
  using V = LaneVector;
  // Variables of their own: an array would lie in memory.
  V x0 = V::all(0), x1 = x0, x2 = x0, x3 = x0, x4 = x0, x5 = x0, x6 = x0, x7 = x0;
  const auto at = [=](uint8_t o) -> const uint32_t* {
    return o < kMaxRegisters ? arrays[o] + first : pool + (o - kMaxRegisters) * kLanes;
  };
  for (int s = 0; s < code.n_steps; ++s) {
    const LaneStep step = code.steps[s];
    const uint32_t *a = at(step.a), *b = at(step.b), *c = at(step.c);
    switch (static_cast<int>(step.op) * kHandings + static_cast<int>(step.handed)) {
#define OPML_EACH(value)                                                    \
  {                                                                        \
    const auto one = [=]([[maybe_unused]] V x, [[maybe_unused]] int u) __attribute__((always_inline)) { return value; }; \
    x0 = one(x0, 0), x1 = one(x1, 1), x2 = one(x2, 2), x3 = one(x3, 3);    \
    if constexpr (n > 4) x4 = one(x4, 4), x5 = one(x5, 5), x6 = one(x6, 6), x7 = one(x7, 7); \
  }                                                                        \
  break;
#define OPML_A V::load(a + V::width * u)
#define OPML_B V::load(b + V::width * u)
#define OPML_C V::load(c + V::width * u)
#define OPML_CASE(op, where) case static_cast<int>(Op::op) * kHandings + where:
#define OPML_UNARY(op)                     \
  OPML_CASE(op, 0) OPML_EACH(V::op(OPML_A)) \
  OPML_CASE(op, 1) OPML_EACH(V::op(x))
#define OPML_BINARY(op)                             \
  OPML_CASE(op, 0) OPML_EACH(V::op(OPML_A, OPML_B)) \
  OPML_CASE(op, 1) OPML_EACH(V::op(x, OPML_B))   \
  OPML_CASE(op, 2) OPML_EACH(V::op(OPML_A, x))      \
  OPML_CASE(op, 4) { const V y = V::load(b); OPML_EACH(V::op(x, y)) }
#define OPML_TERNARY(op)                                    \
  OPML_CASE(op, 0) OPML_EACH(V::op(OPML_A, OPML_B, OPML_C)) \
  OPML_CASE(op, 1) OPML_EACH(V::op(x, OPML_B, OPML_C))   \
  OPML_CASE(op, 2) OPML_EACH(V::op(OPML_A, x, OPML_C))   \
  OPML_CASE(op, 3) OPML_EACH(V::op(OPML_A, OPML_B, x)) \
  OPML_CASE(op, 4) { const V y = V::load(c); OPML_EACH(V::op(x, OPML_B, y)) }
      OPML_BINARY(add)
      OPML_BINARY(sub)
      OPML_BINARY(mul)
      OPML_BINARY(div)
      OPML_UNARY(sqrt)
      OPML_TERNARY(fma)
      OPML_UNARY(neg)
      OPML_UNARY(abs)
      OPML_BINARY(min)
      OPML_BINARY(max)
      OPML_BINARY(lt)
      OPML_BINARY(le)
      OPML_BINARY(eq)
      OPML_UNARY(i2f)
      OPML_UNARY(f2i)
      OPML_BINARY(iadd)
      OPML_BINARY(isub)
      OPML_BINARY(imul)
      OPML_BINARY(imulhi)
      OPML_BINARY(and_)
      OPML_BINARY(or_)
      OPML_BINARY(xor_)
      OPML_BINARY(shl)
      OPML_BINARY(shr)
      OPML_BINARY(sar)
      OPML_TERNARY(sel)
#undef OPML_TERNARY
#undef OPML_BINARY
#undef OPML_UNARY
#undef OPML_CASE
#undef OPML_A
#undef OPML_B
#undef OPML_C
#undef OPML_EACH
      default: break;
    }
    if (step.canonical) {
      x0 = x0.canonical(), x1 = x1.canonical(), x2 = x2.canonical(), x3 = x3.canonical();
      if constexpr (n > 4) x4 = x4.canonical(), x5 = x5.canonical(), x6 = x6.canonical(), x7 = x7.canonical();
    }
    if (step.to == LaneCode::kNowhere) continue;
    uint32_t* to = step.to == LaneCode::kResult ? out + first : arrays[step.to] + first;
    x0.store(to), x1.store(to + V::width), x2.store(to + 2 * V::width), x3.store(to + 3 * V::width);
    if constexpr (n > 4) {
      to += 4 * V::width;
      x4.store(to), x5.store(to + V::width), x6.store(to + 2 * V::width), x7.store(to + 3 * V::width);
    }
  }
}
#endif

// Lanes 0 ... n - 1. `arrays` are the inputs, then registers[n_inputs ...] for temporaries; without vectors all of them
// have to lie in `registers`, which holds one block for each register then. Gives where the last register is, which is
// `out` with vectors.
template <Arithmetic A>
const uint32_t* eval_lanes(const LaneCode& code, const ScalarOp* ops, int n_ops, Lanes* registers,
                           [[maybe_unused]] uint32_t* const* arrays, const uint32_t* pool, int n,
                           [[maybe_unused]] uint32_t* out) {
#if defined(OPML_LANE_VECTORS)
  if constexpr (kOnVectors<A>) {
    constexpr int wide = LaneVector::most * LaneVector::width;
    int first = 0;
    for (; first + wide <= n; first += wide) run_lanes<LaneVector::most>(code, arrays, pool, first, out);
    for (; first < n; first += kLaneGrain) run_lanes<4>(code, arrays, pool, first, out);
    return out;
  }
#endif
  eval_ops<A>(ops, n_ops, code.n_inputs, registers, pool, n);
  return registers[code.n_inputs + n_ops - 1].v;
}

OPML_LEVEL_END
