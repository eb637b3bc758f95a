// Sixteen rows at once: the float side of the quantised kernels.
#pragma once

#include <cstring>

#include "float_vector.hpp"
#include "kernels.hpp"
#include "soft_lanes.hpp"

OPML_LEVEL_BEGIN

// A decoded position waits for memory, which gives more to several streams than to one, and more when asked ahead: on Zen 3,
// 22 against 12 GB/s, on Skylake 10 against 7.
#if defined(__AVX2__)
inline constexpr uint32_t kStreams = 4, kBytesAhead = 640;
#else
inline constexpr uint32_t kStreams = 1, kBytesAhead = 0;
#endif

// Any arithmetic, as loops that compilers vectorise.
template <Arithmetic A>
struct Rows16 {
  typename A::Value v[16];

  static Rows16 zero() {
    Rows16 z;
    for (auto& x : z.v) x = A::load(0);
    return z;
  }
  static Rows16 from_f16(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint16_t half;
      std::memcpy(&half, p + 2 * i, 2);
      z.v[i] = A::load(soft::from_f16(half).bits);
    }
    return z;
  }
  static Rows16 from_bf16(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint16_t half;
      std::memcpy(&half, p + 2 * i, 2);
      z.v[i] = A::load(soft::from_bf16(half).bits);
    }
    return z;
  }
  static Rows16 from_f32(const uint8_t* p) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) {
      uint32_t word;
      std::memcpy(&word, p + 4 * i, 4);
      z.v[i] = A::load(word);
    }
    return z;
  }
  static Rows16 from_i32(const int32_t* x) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::from_i32(x[i]);
    return z;
  }
  static Rows16 mul(const Rows16& a, uint32_t b) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::mul(a.v[i], A::load(b));
    return z;
  }
  static Rows16 add(const Rows16& a, const Rows16& b) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::add(a.v[i], b.v[i]);
    return z;
  }
  static Rows16 fma(const Rows16& a, const Rows16& b, const Rows16& c) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::fma(a.v[i], b.v[i], c.v[i]);
    return z;
  }
  static Rows16 fma(const Rows16& a, uint32_t b, const Rows16& c) {
    Rows16 z;
    for (int i = 0; i < 16; ++i) z.v[i] = A::fma(a.v[i], A::load(b), c.v[i]);
    return z;
  }
  // Adds a * b.
  template <class B>
  void add_product(const Rows16& a, const B& b) {
    *this = fma(a, b, *this);
  }
  void add_spread(const Rows16& a, const uint32_t& b) { add_product(a, b); }
  void store(uint32_t* z) const {
    for (int i = 0; i < 16; ++i) z[i] = A::store(v[i]);
  }
};

#if defined(OPML_FLOAT_VECTORS)
// As many vectors as sixteen rows take.
template <>
struct Rows16<HardFloat> {
  using V = FloatVector;
  static constexpr int parts = 16 / V::width;
  V v[parts];

  template <class Each>
  [[gnu::always_inline]] static Rows16 each(Each one) {
    Rows16 z;
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i) z.v[i] = one(i);
    return z;
  }
  static Rows16 zero() {
    return each([](int) { return V::zero(); });
  }
  static Rows16 from_f16(const uint8_t* p) {
    return each([=](int i) { return V::from_f16(p + 2 * V::width * i); });
  }
  static Rows16 from_bf16(const uint8_t* p) {
    return each([=](int i) { return V::from_bf16(p + 2 * V::width * i); });
  }
  static Rows16 from_f32(const uint8_t* p) {
    return each([=](int i) { return V::load(p + 4 * V::width * i); });
  }
  static Rows16 from_i32(const V::Words* x) {
    return each([=](int i) { return V::from_i32(x[i]); });
  }
  static Rows16 mul(const Rows16& a, uint32_t b) {
    const V x = V::spread(b);
    return each([&](int i) { return V::mul(a.v[i], x); });
  }
  static Rows16 add(const Rows16& a, const Rows16& b) {
    return each([&](int i) { return V::add(a.v[i], b.v[i]); });
  }
  static Rows16 fma(const Rows16& a, const Rows16& b, const Rows16& c) {
    return each([&](int i) { return V::fma(a.v[i], b.v[i], c.v[i]); });
  }
  static Rows16 fma(const Rows16& a, uint32_t b, const Rows16& c) {
    const V x = V::spread(b);
    return each([&](int i) { return V::fma(a.v[i], x, c.v[i]); });
  }
  template <class B>
  void add_product(const Rows16& a, const B& b) {
    *this = fma(a, b, *this);
  }
  // Adds a * b where b is another's factor too: with few registers it is read again, since gcc would keep it and spill a sum.
  void add_spread(const Rows16& a, const uint32_t& b) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    V x;
    asm volatile("vbroadcastss %1, %0" : "=x"(x.v) : "m"(b));
    *this = each([&](int i) { return V::fma(a.v[i], x, v[i]); });
#else
    add_product(a, b);
#endif
  }
  void store(uint32_t* z) const {
#pragma GCC unroll 4
    for (int i = 0; i < parts; ++i) v[i].store(z + V::width * i);
  }
};
#endif

#if defined(OPML_SOFT_LANES)
// Set where a stored lane was lost: the task is then done again, floats one by one.
inline thread_local bool lanes_lost = false;

template <>
struct Rows16<SoftFloat> {
  static constexpr int parts = 16 / Longs::lanes;
  SoftLanes v[parts];

  template <class Each>
  [[gnu::always_inline]] static Rows16 each(Each one) {
    Rows16 z;
#pragma GCC unroll 2
    for (int i = 0; i < parts; ++i) z.v[i] = one(i);
    return z;
  }
  static Rows16 zero() {
    return each([](int) { return SoftLanes::zero(); });
  }
  static Rows16 from_f16(const uint8_t* p) {
    return each([=](int i) { return SoftLanes::from_half(Longs::of_u16(p + 2 * Longs::lanes * i)); });
  }
  static Rows16 from_bf16(const uint8_t* p) {
    return each([=](int i) { return SoftLanes::from_bits(Longs::of_u16(p + 2 * Longs::lanes * i).template up<16>()); });
  }
  static Rows16 from_f32(const uint8_t* p) {
    return each([=](int i) { return SoftLanes::from_bits(Longs::of_u32(p + 4 * Longs::lanes * i)); });
  }
  static Rows16 from_i32(const int32_t* x) {  // at most 2^24
    return each([=](int i) { return SoftLanes::from_integers(Longs::of_i32(x + Longs::lanes * i)); });
  }
  static Rows16 mul(const Rows16& a, uint32_t b) {
    const SoftLanes x = SoftLanes::spread(b);
    return each([&](int i) { return SoftLanes::mul(a.v[i], x); });
  }
  static Rows16 add(const Rows16& a, const Rows16& b) {
    return each([&](int i) { return SoftLanes::add(a.v[i], b.v[i]); });
  }
  void add_product(const Rows16& a, const Rows16& b) {
#pragma GCC unroll 2
    for (int i = 0; i < parts; ++i) v[i] = SoftLanes::fma(a.v[i], b.v[i], v[i]);  // in place: a copy takes long
  }
  void add_product(const Rows16& a, uint32_t b) {
    const SoftLanes x = SoftLanes::spread(b);
#pragma GCC unroll 2
    for (int i = 0; i < parts; ++i) v[i] = SoftLanes::fma(a.v[i], x, v[i]);
  }
  void add_spread(const Rows16& a, const uint32_t& b) { add_product(a, b); }
  void store(uint32_t* z) const {
    int lost = 0;
#pragma GCC unroll 2
    for (int i = 0; i < parts; ++i) {
      lost |= v[i].lost();
      v[i].bits().store_low(z + Longs::lanes * i);
    }
    if (lost != 0) lanes_lost = true;
  }
};
#endif

// A task of sums of products. Signs of zeros need no care there: a total starts from +0, and is -0 never after.
template <Arithmetic A, class Task>
inline void with_lost_lanes(const Task& task, void (*fast)(const Task&), [[maybe_unused]] void (*Kernels::*plain)(const Task&)) {
  fast(task);
#if defined(OPML_SOFT_LANES)
  if constexpr (!A::hardware) {
    if (!lanes_lost) return;
    lanes_lost = false;
    (kernels_baseline(Engine::soft)->*plain)(task);
  }
#endif
}

OPML_LEVEL_END
