// Folds of fma over a few stretches of terms, side by side: each is a chain of its own, in order.
#pragma once

#include "hardfloat.hpp"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

OPML_LEVEL_BEGIN

struct Chain {
  const uint32_t* a;
  const uint32_t* b;
  int length;
  bool constant;  // b is one value, b[0]
};

inline constexpr int kChains = 16;

template <Arithmetic A>
void fold_apart(const Chain* chains, int n, typename A::Value* acc) {
  constexpr int side = 8;
  for (int first = 0; first < n; first += side) {
    const int count = n - first < side ? n - first : side;
    const Chain* some = chains + first;
    typename A::Value sums[side];
    int common = some[0].length;
    for (int j = 0; j < side; ++j) sums[j] = A::load(0);
    for (int j = 0; j < count; ++j) common = some[j].length < common ? some[j].length : common;
    const auto term = [&](int j, int k) {
      sums[j] = A::fma(A::load(some[j].a[k]), A::load(some[j].b[some[j].constant ? 0 : k]), sums[j]);
    };
    if (count == side) {
      for (int k = 0; k < common; ++k)
        for (int j = 0; j < side; ++j) term(j, k);
    } else {
      for (int k = 0; k < common; ++k)
        for (int j = 0; j < count; ++j) term(j, k);
    }
    for (int j = 0; j < count; ++j) {
      for (int k = common; k < some[j].length; ++k) term(j, k);
      acc[first + j] = sums[j];
    }
  }
}

#if defined(__AVX512F__)
// Sixteen vectors of sixteen: element i of vector j goes to element j of vector i.
inline void transpose16(__m512* v) {
  __m512 p[16], q[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    p[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    p[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      q[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(p[i + j]), _mm512_castps_pd(p[i + j + 2])));
      q[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(p[i + j]), _mm512_castps_pd(p[i + j + 2])));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    p[i] = _mm512_shuffle_f32x4(q[i], q[i + 4], 0x88);           // columns i, i + 8 of rows 0-7
    p[i + 4] = _mm512_shuffle_f32x4(q[i], q[i + 4], 0xDD);       // columns i + 4, i + 12
    p[i + 8] = _mm512_shuffle_f32x4(q[i + 8], q[i + 12], 0x88);  // the same of rows 8-15
    p[i + 12] = _mm512_shuffle_f32x4(q[i + 8], q[i + 12], 0xDD);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    v[i] = _mm512_shuffle_f32x4(p[i], p[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_f32x4(p[i], p[i + 8], 0xDD);
  }
}

// Lanes are chains.
inline bool fold_transposed(const Chain* chains, int n, float* acc) {
  int common = chains[0].length, longest = 0;
  bool constant = true, square = true;
  for (int j = 0; j < n; ++j) {
    common = chains[j].length < common ? chains[j].length : common;
    longest = chains[j].length > longest ? chains[j].length : longest;
    constant &= chains[j].constant && chains[j].b[0] == chains[0].b[0];
    square &= !chains[j].constant && chains[j].a == chains[j].b;
  }
  if (n < 5 || (!constant && !square)) return false;  // with few chains, transposing costs more than it saves
  alignas(64) int32_t lengths[kChains] = {};
  for (int j = 0; j < n; ++j) lengths[j] = chains[j].length;
  const __m512i length = _mm512_load_si512(lengths);
  const __m512 b = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(chains[0].b[0])));
  __m512 sum = _mm512_setzero_ps();
  for (int k = 0; k < longest; k += 16) {
    __m512 v[16];
    if (k + 16 <= common) {
#pragma GCC unroll 16
      for (int j = 0; j < kChains; ++j) v[j] = _mm512_loadu_ps(chains[j < n ? j : 0].a + k);
      transpose16(v);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) sum = _mm512_fmadd_ps(v[i], constant ? b : v[i], sum);
      continue;
    }
    for (int j = 0; j < kChains; ++j) {
      const int left = lengths[j] - k;
      v[j] = _mm512_maskz_loadu_ps(static_cast<__mmask16>(left >= 16 ? 0xFFFF : left <= 0 ? 0 : (1 << left) - 1), chains[j < n ? j : 0].a + k);
    }
    transpose16(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
      sum = _mm512_mask3_fmadd_ps(v[i], constant ? b : v[i], sum, _mm512_cmpgt_epi32_mask(length, _mm512_set1_epi32(k + i)));
  }
  alignas(64) float sums[kChains];
  _mm512_store_ps(sums, sum);
  for (int j = 0; j < n; ++j) acc[j] = sums[j];
  return true;
}
#endif

// At most kChains of them.
template <Arithmetic A>
void fold_chains(const Chain* chains, int n, typename A::Value* acc) {
#if defined(__AVX512F__)
  if constexpr (A::hardware) {
    if (fold_transposed(chains, n, acc)) return;
  }
#endif
  fold_apart<A>(chains, n, acc);
}

OPML_LEVEL_END
