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
    return n == 0 ? a : _mm256_or_si256(_mm256_slli_epi64(a, n), _mm256_srli_epi64(a, (64 - n) & 63));
  }
  static void pad(uint8_t* out, const uint8_t* data, uint64_t take) { ScalarWords::pad(out, data, take); }
  static void load(Word* words, const uint8_t* const* blocks) {
    for (int i = 0; i < 16; i += 4) {
      Word r[4];
      for (int lane = 0; lane < 4; ++lane)
        r[lane] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(blocks[lane] + 8 * i));
      const Word t0 = _mm256_unpacklo_epi64(r[0], r[1]), t1 = _mm256_unpackhi_epi64(r[0], r[1]);
      const Word t2 = _mm256_unpacklo_epi64(r[2], r[3]), t3 = _mm256_unpackhi_epi64(r[2], r[3]);
      words[i] = _mm256_permute2x128_si256(t0, t2, 0x20);
      words[i + 1] = _mm256_permute2x128_si256(t1, t3, 0x20);
      words[i + 2] = _mm256_permute2x128_si256(t0, t2, 0x31);
      words[i + 3] = _mm256_permute2x128_si256(t1, t3, 0x31);
    }
    int64_t last[4];
    for (int lane = 0; lane < 4; ++lane) std::memcpy(&last[lane], blocks[lane] + 128, 8);
    words[16] = _mm256_set_epi64x(last[3], last[2], last[1], last[0]);
  }
  static void store(const Word* words, int lane, uint8_t* digest) {
    for (int i = 0; i < 4; ++i) std::memcpy(digest + 8 * i, reinterpret_cast<const uint8_t*>(words + i) + 8 * lane, 8);
  }
};

OPML_LEVEL_END
