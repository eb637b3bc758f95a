// A scalar program over a block of lanes: each operation is one vector loop over arrays of register bits.
#pragma once

#include "arithmetic.hpp"
#include "float_vector.hpp"
#include "scalar_ops.hpp"
#include "soft_lanes.hpp"

OPML_LEVEL_BEGIN

struct alignas(64) Lanes {
  uint32_t v[kLanes];
};

template <Arithmetic A, class F>
inline void map1(uint32_t* __restrict z, const uint32_t* a, int n, F f) {
  for (int i = 0; i < n; ++i) z[i] = f(a[i]);
}
template <Arithmetic A, class F>
inline void map2(uint32_t* __restrict z, const uint32_t* a, const uint32_t* b, int n, F f) {
  for (int i = 0; i < n; ++i) z[i] = f(a[i], b[i]);
}
template <Arithmetic A, class F>
inline void map3(uint32_t* __restrict z, const uint32_t* a, const uint32_t* b, const uint32_t* c, int n, F f) {
  for (int i = 0; i < n; ++i) z[i] = f(a[i], b[i], c[i]);
}

#if defined(OPML_SOFT_LANES)
// The soft operations that have vector code of their own; false for others.
inline bool eval_soft_words(Op op, uint32_t* __restrict z, const uint32_t* a, const uint32_t* b, const uint32_t* c, int n) {
  const auto each = [=](const auto& f) {
    for (int i = 0; i < n; i += LaneVector::width) f(i).store(z + i);
    return true;
  };
  const auto at = [](const uint32_t* x, int i) { return LaneVector::load(x + i); };
  switch (op) {
    case Op::add: return each([=](int i) { return soft_words::add(at(a, i), at(b, i)); });
    case Op::sub: return each([=](int i) { return soft_words::sub(at(a, i), at(b, i)); });
    case Op::mul: return each([=](int i) { return soft_words::mul(at(a, i), at(b, i)); });
    case Op::fma: return each([=](int i) { return soft_words::fma(at(a, i), at(b, i), at(c, i)); });
    case Op::i2f: return each([=](int i) { return soft_words::from_i32(at(a, i)); });
    default: return false;
  }
}
static_assert(kLaneStep % LaneVector::width == 0);
#endif

// z = op(a, b, c) in lanes 0 ... n - 1, n rounded up to kLaneStep. z is none of the operands.
template <Arithmetic A>
void eval_op(Op op, uint32_t* __restrict z, const uint32_t* a, const uint32_t* b, const uint32_t* c, int n) {
  n = (n + kLaneStep - 1) & ~(kLaneStep - 1);
#if defined(OPML_SOFT_LANES)
  if constexpr (!A::hardware)
    if (eval_soft_words(op, z, a, b, c, n)) return;
#endif
#if defined(OPML_FLOAT_VECTORS) && !defined(OPML_LANE_VECTORS)
  if constexpr (A::hardware) {
    if (op == Op::fma) {
      using V = FloatVector;
      for (int i = 0; i < n; i += V::width) V::fma(V::load(a + i), V::load(b + i), V::load(c + i)).store(z + i);
      return;
    }
  }
#endif
  using U = uint32_t;
  const auto L = [](U x) { return A::load(x); };
  switch (op) {
    case Op::add: map2<A>(z, a, b, n, [=](U x, U y) { return A::store(A::add(L(x), L(y))); }); break;
    case Op::sub: map2<A>(z, a, b, n, [=](U x, U y) { return A::store(A::sub(L(x), L(y))); }); break;
    case Op::mul: map2<A>(z, a, b, n, [=](U x, U y) { return A::store(A::mul(L(x), L(y))); }); break;
    case Op::div: map2<A>(z, a, b, n, [=](U x, U y) { return A::store(A::div(L(x), L(y))); }); break;
    case Op::sqrt: map1<A>(z, a, n, [=](U x) { return A::store(A::sqrt(L(x))); }); break;
    case Op::fma: map3<A>(z, a, b, c, n, [=](U x, U y, U w) { return A::store(A::fma(L(x), L(y), L(w))); }); break;
    case Op::neg: map1<A>(z, a, n, [](U x) { return soft::neg({x}).bits; }); break;
    case Op::abs: map1<A>(z, a, n, [](U x) { return soft::abs({x}).bits; }); break;
    case Op::min: map2<A>(z, a, b, n, [](U x, U y) { return soft::min({x}, {y}).bits; }); break;
    case Op::max: map2<A>(z, a, b, n, [](U x, U y) { return soft::max({x}, {y}).bits; }); break;
    case Op::lt: map2<A>(z, a, b, n, [=](U x, U y) { return static_cast<U>(A::lt(L(x), L(y))); }); break;
    case Op::le: map2<A>(z, a, b, n, [=](U x, U y) { return static_cast<U>(A::le(L(x), L(y))); }); break;
    case Op::eq: map2<A>(z, a, b, n, [=](U x, U y) { return static_cast<U>(A::eq(L(x), L(y))); }); break;
    case Op::i2f: map1<A>(z, a, n, [](U x) { return A::store(A::from_i32(static_cast<int32_t>(x))); }); break;
    case Op::f2i: map1<A>(z, a, n, [=](U x) { return static_cast<U>(A::to_i32(L(x))); }); break;
    case Op::iadd: map2<A>(z, a, b, n, [](U x, U y) { return x + y; }); break;
    case Op::isub: map2<A>(z, a, b, n, [](U x, U y) { return x - y; }); break;
    case Op::imul: map2<A>(z, a, b, n, [](U x, U y) { return x * y; }); break;
    case Op::imulhi: map2<A>(z, a, b, n, [](U x, U y) { return static_cast<U>((uint64_t{x} * y) >> 32); }); break;
    case Op::and_: map2<A>(z, a, b, n, [](U x, U y) { return x & y; }); break;
    case Op::or_: map2<A>(z, a, b, n, [](U x, U y) { return x | y; }); break;
    case Op::xor_: map2<A>(z, a, b, n, [](U x, U y) { return x ^ y; }); break;
    case Op::shl: map2<A>(z, a, b, n, [](U x, U y) { return x << (y & 31); }); break;
    case Op::shr: map2<A>(z, a, b, n, [](U x, U y) { return x >> (y & 31); }); break;
    case Op::sar:
      map2<A>(z, a, b, n, [](U x, U y) { return static_cast<U>(static_cast<int32_t>(x) >> (y & 31)); });
      break;
    case Op::sel: map3<A>(z, a, b, c, n, [](U x, U y, U w) { return x != 0 ? y : w; }); break;
  }
}

// Runs ops on n lanes. Registers 0 ... inputs - 1 are filled; each op appends one. `pool` holds each constant spread over
// kLanes words, so that every operand is an array.
template <Arithmetic A>
void eval_ops(const ScalarOp* ops, int n_ops, int inputs, Lanes* registers, const uint32_t* pool, int n) {
  const auto operand = [=](uint8_t x) -> const uint32_t* {
    return x < kMaxRegisters ? registers[x].v : pool + (x - kMaxRegisters) * kLanes;
  };
  for (int i = 0; i < n_ops; ++i) {
    const ScalarOp& o = ops[i];
    eval_op<A>(o.op, registers[inputs + i].v, operand(o.a), operand(o.b), operand(o.c), n);
  }
}

OPML_LEVEL_END
