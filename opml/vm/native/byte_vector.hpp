// Integers of 8, 16 and 32 bits side by side, as wide as the level has them; `kParts` vectors are 16 rows of 4 bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "isa_namespace.hpp"
#if defined(__SSE2__)
#include <immintrin.h>
#define OPML_BYTE_VECTORS

OPML_LEVEL_BEGIN

#if defined(__AVX512BW__)
#define OPML_INTEGERS(name) _mm512_##name
using ByteVector = __m512i;
inline ByteVector load_bytes(const void* p) { return _mm512_loadu_si512(p); }
inline void store_bytes(void* p, ByteVector x) { _mm512_storeu_si512(p, x); }
inline ByteVector and_bytes(ByteVector a, ByteVector b) { return _mm512_and_si512(a, b); }
#elif defined(__AVX2__)
#define OPML_INTEGERS(name) _mm256_##name
using ByteVector = __m256i;
inline ByteVector load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store_bytes(void* p, ByteVector x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
inline ByteVector and_bytes(ByteVector a, ByteVector b) { return _mm256_and_si256(a, b); }
#else
#define OPML_INTEGERS(name) _mm_##name
using ByteVector = __m128i;
inline ByteVector load_bytes(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline void store_bytes(void* p, ByteVector x) { _mm_storeu_si128(static_cast<__m128i*>(p), x); }
inline ByteVector and_bytes(ByteVector a, ByteVector b) { return _mm_and_si128(a, b); }
#endif

inline constexpr int kBytes = sizeof(ByteVector), kParts = 64 / kBytes;

inline ByteVector spread8(int x) { return OPML_INTEGERS(set1_epi8)(static_cast<char>(x)); }
inline ByteVector spread16(int x) { return OPML_INTEGERS(set1_epi16)(static_cast<short>(x)); }
inline ByteVector spread32(int32_t x) { return OPML_INTEGERS(set1_epi32)(x); }
// The four bytes at p in every 32-bit lane.
inline ByteVector spread_four(const void* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return spread32(four);
}
inline ByteVector add16(ByteVector a, ByteVector b) { return OPML_INTEGERS(add_epi16)(a, b); }
inline ByteVector add32(ByteVector a, ByteVector b) { return OPML_INTEGERS(add_epi32)(a, b); }
template <int n>
inline ByteVector shift_right16(ByteVector a) {
  return OPML_INTEGERS(srli_epi16)(a, n);
}
// Sums of two products of signed 16 bits.
inline ByteVector pairs32(ByteVector a, ByteVector b) { return OPML_INTEGERS(madd_epi16)(a, b); }
#if defined(__AVX2__)
// Sums of two products of unsigned with signed bytes, which have to fit 16 bits.
#define OPML_BYTE_PAIRS
inline ByteVector pairs16(ByteVector a, ByteVector b) { return OPML_INTEGERS(maddubs_epi16)(a, b); }
#endif
#undef OPML_INTEGERS
// Keeps gcc from adding as a tree, for which there are too few registers.
[[gnu::always_inline]] inline void in_order(ByteVector& x) { asm("" : "+v"(x)); }

OPML_LEVEL_END
#endif
