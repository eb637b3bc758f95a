// The one template parameter of the interpreter: how binary32 is computed.
//
// `Value` is what a fold keeps between operations; `load` and `store` turn it from and to register bits. `store`, not `bits`, makes
// NaNs canonical, so that payloads which hardware propagates inside a fold are never seen.
#pragma once

#include <concepts>

#include "softfloat.hpp"

OPML_LEVEL_BEGIN

template <class A>
concept Arithmetic = requires(typename A::Value x, uint32_t bits, int32_t i) {
  { A::load(bits) } -> std::same_as<typename A::Value>;
  { A::bits(x) } -> std::same_as<uint32_t>;
  { A::store(x) } -> std::same_as<uint32_t>;
  { A::add(x, x) } -> std::same_as<typename A::Value>;
  { A::sub(x, x) } -> std::same_as<typename A::Value>;
  { A::mul(x, x) } -> std::same_as<typename A::Value>;
  { A::div(x, x) } -> std::same_as<typename A::Value>;
  { A::sqrt(x) } -> std::same_as<typename A::Value>;
  { A::fma(x, x, x) } -> std::same_as<typename A::Value>;
  { A::min(x, x) } -> std::same_as<typename A::Value>;
  { A::max(x, x) } -> std::same_as<typename A::Value>;
  { A::lt(x, x) } -> std::same_as<bool>;
  { A::le(x, x) } -> std::same_as<bool>;
  { A::eq(x, x) } -> std::same_as<bool>;
  { A::from_i32(i) } -> std::same_as<typename A::Value>;
  { A::to_i32(x) } -> std::same_as<int32_t>;
};

struct SoftFloat {
  using Value = F32;
  static constexpr bool hardware = false;
  static constexpr Value load(uint32_t bits) { return {bits}; }
  static constexpr uint32_t bits(Value x) { return x.bits; }
  static constexpr uint32_t store(Value x) { return soft::canonical(x).bits; }
  static constexpr Value add(Value a, Value b) { return soft::add(a, b); }
  static constexpr Value sub(Value a, Value b) { return soft::sub(a, b); }
  static constexpr Value mul(Value a, Value b) { return soft::mul(a, b); }
  static constexpr Value div(Value a, Value b) { return soft::div(a, b); }
  static constexpr Value sqrt(Value a) { return soft::sqrt(a); }
  static constexpr Value fma(Value a, Value b, Value c) { return soft::fma(a, b, c); }
  static constexpr Value min(Value a, Value b) { return soft::min(a, b); }
  static constexpr Value max(Value a, Value b) { return soft::max(a, b); }
  static constexpr bool lt(Value a, Value b) { return soft::lt(a, b); }
  static constexpr bool le(Value a, Value b) { return soft::le(a, b); }
  static constexpr bool eq(Value a, Value b) { return soft::eq(a, b); }
  static constexpr Value from_i32(int32_t x) { return soft::from_i32(x); }
  static constexpr int32_t to_i32(Value a) { return soft::to_i32(a); }
};
static_assert(Arithmetic<SoftFloat>);

OPML_LEVEL_END
