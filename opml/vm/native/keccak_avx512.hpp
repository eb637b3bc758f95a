// Eight keccak states side by side in 512-bit registers.
#pragma once

#include <immintrin.h>

#include "keccak_permutation.hpp"

OPML_LEVEL_BEGIN

struct Avx512Words {
  using Word = __m512i;
  static constexpr int lanes = 8;
  static Word zero() { return _mm512_setzero_si512(); }
  static Word set(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }
  static Word xor2(Word a, Word b) { return _mm512_xor_si512(a, b); }
  static Word xor3(Word a, Word b, Word c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static Word chi(Word a, Word b, Word c) { return _mm512_ternarylogic_epi64(a, b, c, 0xD2); }
  template <int n>
  static Word rotate(Word a) {
    return _mm512_rol_epi64(a, n);
  }
  static void transpose(Word* words, const uint8_t* const* blocks, int offset) {
    Word r[8], p[8], q[8];
    for (int lane = 0; lane < 8; ++lane) r[lane] = _mm512_loadu_si512(blocks[lane] + offset);
    for (int i = 0; i < 8; i += 2) {
      p[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);      // words 0 2 4 6 of lanes i, i + 1
      p[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);  // words 1 3 5 7
    }
    for (int i = 0; i < 2; ++i) {
      q[i] = _mm512_shuffle_i64x2(p[i], p[i + 2], 0x88);          // words i, i + 4 of lanes 0-3
      q[i + 2] = _mm512_shuffle_i64x2(p[i], p[i + 2], 0xDD);      // words i + 2, i + 6
      q[i + 4] = _mm512_shuffle_i64x2(p[i + 4], p[i + 6], 0x88);  // the same of lanes 4-7
      q[i + 6] = _mm512_shuffle_i64x2(p[i + 4], p[i + 6], 0xDD);
    }
    for (int i = 0; i < 4; ++i) {
      words[i] = _mm512_shuffle_i64x2(q[i], q[i + 4], 0x88);
      words[i + 4] = _mm512_shuffle_i64x2(q[i], q[i + 4], 0xDD);
    }
  }
  static void pad(uint8_t* out, const uint8_t* data, uint64_t take) {
    for (uint64_t first = 0; first < kKeccakRate; first += 64) {
      const uint64_t left = take > first ? take - first : 0;
      const __mmask64 mask = left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
      _mm512_storeu_si512(out + first, _mm512_maskz_loadu_epi8(mask, data + first));
    }
  }
  static void load(Word* words, const uint64_t* first, const uint8_t* const* rest) {
    words[0] = _mm512_load_si512(first);
    transpose(words + 1, rest, 0);
    transpose(words + 9, rest, 64);
  }
  static void store(const Word* words, int lane, uint8_t* digest) {
    for (int i = 0; i < 4; ++i) std::memcpy(digest + 8 * i, reinterpret_cast<const uint8_t*>(words + i) + 8 * lane, 8);
  }
};

OPML_LEVEL_END
