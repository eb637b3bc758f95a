// Folds of fma over a few stretches of terms, side by side: each is a chain of its own, in order.
#pragma once

#include "float_vector.hpp"

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

#if defined(OPML_FLOAT_VECTORS)
// As many vectors as each has lanes: lane i of vector j goes to lane j of vector i.
#if defined(__AVX512F__)
inline void transpose(FloatVector* x) {
  __m512 v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = x[i].v;
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
    x[i].v = _mm512_shuffle_f32x4(p[i], p[i + 8], 0x88);
    x[i + 8].v = _mm512_shuffle_f32x4(p[i], p[i + 8], 0xDD);
  }
}
#elif defined(__AVX2__)
inline void transpose(FloatVector* x) {
  __m256 p[8];
  __m256d q[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    p[i] = _mm256_unpacklo_ps(x[i].v, x[i + 1].v);
    p[i + 1] = _mm256_unpackhi_ps(x[i].v, x[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      q[i + 2 * j] = _mm256_unpacklo_pd(_mm256_castps_pd(p[i + j]), _mm256_castps_pd(p[i + j + 2]));
      q[i + 2 * j + 1] = _mm256_unpackhi_pd(_mm256_castps_pd(p[i + j]), _mm256_castps_pd(p[i + j + 2]));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i].v = _mm256_castpd_ps(_mm256_permute2f128_pd(q[i], q[i + 4], 0x20));
    x[i + 4].v = _mm256_castpd_ps(_mm256_permute2f128_pd(q[i], q[i + 4], 0x31));
  }
}
#else
inline void transpose(FloatVector* x) { _MM_TRANSPOSE4_PS(x[0].v, x[1].v, x[2].v, x[3].v); }
#endif

// Lanes are chains.
inline bool fold_transposed(const Chain* chains, int n, float* acc) {
  using V = FloatVector;
  constexpr int W = V::width, groups = kChains / W;
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
  const V b = V::spread(chains[0].b[0]);
  V sum[groups];
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) sum[g] = V::zero();
  for (int k = 0; k < longest; k += W) {
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      if (g * W >= n) break;
      V v[W];
      if (k + W <= common) {
#pragma GCC unroll 16
        for (int j = 0; j < W; ++j) v[j] = V::load(chains[g * W + j < n ? g * W + j : 0].a + k);
        transpose(v);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) sum[g] = V::fma(v[i], constant ? b : v[i], sum[g]);
        continue;
      }
      for (int j = 0; j < W; ++j) v[j] = V::load_first(chains[g * W + j < n ? g * W + j : 0].a + k, lengths[g * W + j] - k);
      transpose(v);
#pragma GCC unroll 16
      for (int i = 0; i < W; ++i) sum[g] = V::fma_below(v[i], constant ? b : v[i], sum[g], lengths + g * W, k + i);
    }
  }
  alignas(64) float sums[kChains];
#pragma GCC unroll 4
  for (int g = 0; g < groups; ++g) sum[g].store_raw(sums + g * W);
  for (int j = 0; j < n; ++j) acc[j] = sums[j];
  return true;
}
#endif

// At most kChains of them.
template <Arithmetic A>
void fold_chains(const Chain* chains, int n, typename A::Value* acc) {
#if defined(OPML_FLOAT_VECTORS)
  if constexpr (A::hardware) {
    if (fold_transposed(chains, n, acc)) return;
  }
#endif
  fold_apart<A>(chains, n, acc);
}

OPML_LEVEL_END
