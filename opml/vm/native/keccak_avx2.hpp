// Four keccak states side by side in 256-bit registers.
#pragma once

#include <immintrin.h>

#include "keccak_permutation.hpp"

OPML_LEVEL_BEGIN

struct Avx2Words {
  using Word = __m256i;
  static constexpr int lanes = 4;
  static Word zero() { return _mm256_setzero_si256(); }
  static Word set(uint64_t x) { return _mm256_set1_epi64x(static_cast<int64_t>(x)); }
  static Word xor2(Word a, Word b) { return _mm256_xor_si256(a, b); }
  static Word xor3(Word a, Word b, Word c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  static Word chi(Word a, Word b, Word c) { return _mm256_xor_si256(a, _mm256_andnot_si256(b, c)); }
  template <int n>
  static Word rotate(Word a) {
    if constexpr (n == 0) return a;
    if constexpr (n % 8 == 0) {  // bytes in another order
      constexpr auto at = [](int to) { return static_cast<char>(to / 8 * 8 + (to + 8 - n / 8) % 8); };
      const __m128i order = _mm_setr_epi8(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9), at(10), at(11),
                                          at(12), at(13), at(14), at(15));
      return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(order));
    }
    const Word up = n == 1 ? _mm256_add_epi64(a, a) : _mm256_slli_epi64(a, n);  // shifts have fewer ports than sums
    return _mm256_or_si256(up, _mm256_srli_epi64(a, (64 - n) & 63));
  }
  // Zeros, then the message over them in copies of a fixed length, the last of which overlaps the one before.
  static void pad(uint8_t* out, const uint8_t* data, uint64_t take) {
    if (take < 32) return ScalarWords::pad(out, data, take);
    const auto copy = [&](uint64_t at) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + at)));
    };
#pragma GCC unroll 5
    for (uint64_t at = 0; at < kKeccakRate; at += 32) {
      if (at + 32 <= take) {
        copy(at);
      } else {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), _mm256_setzero_si256());
      }
    }
    copy(take - 32);
  }
  static void load(Word* words, const uint64_t* first, const uint8_t* const* rest) {
    words[0] = _mm256_load_si256(reinterpret_cast<const __m256i*>(first));
    for (int i = 0; i < 16; i += 4) {
      Word r[4];
      for (int lane = 0; lane < 4; ++lane) r[lane] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rest[lane] + 8 * i));
      const Word t0 = _mm256_unpacklo_epi64(r[0], r[1]), t1 = _mm256_unpackhi_epi64(r[0], r[1]);
      const Word t2 = _mm256_unpacklo_epi64(r[2], r[3]), t3 = _mm256_unpackhi_epi64(r[2], r[3]);
      words[i + 1] = _mm256_permute2x128_si256(t0, t2, 0x20);
      words[i + 2] = _mm256_permute2x128_si256(t1, t3, 0x20);
      words[i + 3] = _mm256_permute2x128_si256(t0, t2, 0x31);
      words[i + 4] = _mm256_permute2x128_si256(t1, t3, 0x31);
    }
  }
  static void store(const Word* words, int lane, uint8_t* digest) {
    for (int i = 0; i < 4; ++i) std::memcpy(digest + 8 * i, reinterpret_cast<const uint8_t*>(words + i) + 8 * lane, 8);
  }
};

OPML_LEVEL_END
