// Dots over a window of positions, 16 outputs at once, in the canonical order. Every key and value is read once for all
// queries that share it, in the order in which they lie.
#pragma once

#include "chains.hpp"
#include "rows16.hpp"
#include "window_task.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A, Format F>
inline Rows16<A> load16(const uint8_t* p) {
  if constexpr (F == Format::f16) {
    return Rows16<A>::from_f16(p);
  } else if constexpr (F == Format::bf16) {
    return Rows16<A>::from_bf16(p);
  } else {
    return Rows16<A>::from_f32(p);
  }
}

// `rows` queries against 16 * P positions: lanes are positions.
template <Arithmetic A, Format F, int rows, int P>
inline void score_tile(const ScoreTask& task, const WindowSet& set, const uint8_t* keys, uint32_t* raw) {
  using Lane = Rows16<A>;
  constexpr uint64_t step = 16 * format_bytes(F);
  const uint64_t next = task.row_elements * step;  // from 16 positions to the next 16
  Lane total[rows * P];
  for (Lane& z : total) z = Lane::zero();
  for (uint32_t first = 0; first < task.length; first += kLeafElements) {
    const uint32_t end = task.length - first < kLeafElements ? task.length : first + kLeafElements;
    Lane acc[rows * P];
#pragma GCC unroll 16
    for (Lane& z : acc) z = Lane::zero();
    for (uint32_t k = first; k < end; ++k) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const uint8_t* at = keys + k * step + static_cast<uint64_t>(p) * next;
        const Lane key = load16<A, F>(at);
        __builtin_prefetch(at + P * next, 0, 1);  // the next tile of this set
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) acc[i * P + p].add_spread(key, set.factors[i][k]);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows * P; ++i) total[i] = Lane::add(total[i], acc[i]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) total[i * P + p].store(raw + static_cast<uint64_t>(i) * task.raw_stride + 16 * p);
}

// Vectors of 16 floats of a row that a tile has side by side, at most: what registers hold.
template <Arithmetic A>
#if defined(__AVX512F__)
inline constexpr int kWide = 4;
#elif defined(__AVX2__)
inline constexpr int kWide = A::hardware ? 2 : 4;
#else
inline constexpr int kWide = 1;
#endif
template <Arithmetic A>
inline constexpr bool kHalvesFourRows = kWide<A> == 2;

template <Arithmetic A, Format F, int P>
void score_set(const ScoreTask& task, const WindowSet& set, const uint8_t* keys, uint32_t* raw) {
  if constexpr (kHalvesFourRows<A> && P == 2) {
    if (set.rows > 3) {
      score_set<A, F, 1>(task, set, keys, raw);
      return score_set<A, F, 1>(task, set, keys + task.row_elements * 16 * format_bytes(F), raw + 16);
    }
  }
  switch (set.rows) {
    case 1: return score_tile<A, F, 1, P>(task, set, keys, raw);
    case 2: return score_tile<A, F, 2, P>(task, set, keys, raw);
    case 3: return score_tile<A, F, 3, P>(task, set, keys, raw);
    case 4: return score_tile<A, F, 4, P>(task, set, keys, raw);
    default: return;
  }
}

template <Arithmetic A, Format F>
void score_format(const ScoreTask& task) {
  constexpr uint64_t step = 16 * format_bytes(F);
  for (uint32_t g = 0; g < task.groups;) {
    const bool two = kWide<A> > 1 && g + 2 <= task.groups;
    uint32_t* raw = task.raw + 16 * g;
    for (uint32_t s = 0; s < task.n_sets; ++s) {
      const WindowSet& set = task.sets[s];
      const uint8_t* keys = task.keys + (g * task.row_elements + set.first_element) * step;
      if (!two) {
        score_set<A, F, 1>(task, set, keys, raw);
      } else if constexpr (kWide<A> > 1) {
        score_set<A, F, 2>(task, set, keys, raw);
      }
      raw += set.rows * task.raw_stride;
    }
    g += two ? 2 : 1;
  }
}

template <Arithmetic A>
void score(const ScoreTask& task) {
  return task.format == Format::f16 ? score_format<A, Format::f16>(task) : score_format<A, Format::f32>(task);
}

// What is fetched ahead of a later block while a tile is computed: C * 16 columns for each of its positions, `step` apart.
struct Later {
  const uint8_t* at;
  uint64_t step;
};

// `rows` rows of factors against positions k ... end - 1: lanes are 16 * C columns.
template <Arithmetic A, Format F, int rows, int C>
inline void value_tile(const ValueTask& task, const WindowSet& set, uint32_t k, uint32_t end, uint32_t column,
                       Later later, uint32_t* raw) {
  using Lane = Rows16<A>;
  constexpr uint64_t width = format_bytes(F);
  const uint64_t stride = task.row_elements * width;
  const uint8_t* at = task.values + k * stride + (set.first_element + column) * width;
  Lane acc[rows * C];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const uint32_t* from = raw + static_cast<uint64_t>(i) * task.raw_stride + 16 * c;
      acc[i * C + c] = k == task.begin ? Lane::zero() : Lane::from_f32(reinterpret_cast<const uint8_t*>(from));
    }
  for (; k < end; ++k, at += stride, later.at += later.step) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      const uint8_t* from = at + static_cast<uint64_t>(c) * 16 * width;
      const Lane value = load16<A, F>(from);
      if (static_cast<uint64_t>(c) * 16 * width % 64 == 0) __builtin_prefetch(later.at + static_cast<uint64_t>(c) * 16 * width, 0, 1);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) acc[i * C + c].add_spread(value, set.factors[i][k]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) acc[i * C + c].store(raw + static_cast<uint64_t>(i) * task.raw_stride + 16 * c);
}

template <Arithmetic A, Format F, int C>
void value_set(const ValueTask& task, const WindowSet& set, uint32_t k, uint32_t end, uint32_t column, Later later,
               uint32_t* raw) {
  if constexpr (kHalvesFourRows<A> && C == 2) {
    if (set.rows > 3) {
      value_set<A, F, 1>(task, set, k, end, column, later, raw);
      return value_set<A, F, 1>(task, set, k, end, column + 16, {later.at + 16 * format_bytes(F), later.step}, raw + 16);
    }
  }
  switch (set.rows) {
    case 1: return value_tile<A, F, 1, C>(task, set, k, end, column, later, raw);
    case 2: return value_tile<A, F, 2, C>(task, set, k, end, column, later, raw);
    case 3: return value_tile<A, F, 3, C>(task, set, k, end, column, later, raw);
    case 4: return value_tile<A, F, 4, C>(task, set, k, end, column, later, raw);
    default: return;
  }
}

template <Arithmetic A, Format F>
void value_format(const ValueTask& task) {
  constexpr uint64_t width = format_bytes(F);
  const uint64_t row = task.row_elements * width;
  const bool whole = task.n_sets * uint64_t{task.last_column - task.first_column} == task.row_elements;
  for (uint32_t k = task.begin; k < task.end; k += kValueBlock) {
    const uint32_t end = task.end - k < kValueBlock ? task.end : k + kValueBlock;
    uint32_t* raw = task.raw;
    // Of whole positions a share with each tile, in the order in which they lie; else the tile's own columns.
    const uint8_t* const block = task.values + (uint64_t{k} + kValuesAhead) * row;
    uint64_t fetched = 0;
    for (uint32_t s = 0; s < task.n_sets; ++s) {
      const WindowSet& set = task.sets[s];
      const auto tile = [&]<int C>(uint32_t c) {
        const uint64_t own = (set.first_element + c) * width;
        value_set<A, F, C>(task, set, k, end, c, whole ? Later{block + fetched, C * 16 * width} : Later{block + own, row}, raw + c);
        fetched += C * 16 * width * (end - k);
      };
      uint32_t c = task.first_column;
      if constexpr (kWide<A> > 2)
        for (; c + 64 <= task.last_column; c += 64) tile.template operator()<4>(c);
      if constexpr (kWide<A> > 1)
        for (; c + 32 <= task.last_column; c += 32) tile.template operator()<2>(c);
      for (; c < task.last_column; c += 16) tile.template operator()<1>(c);
      raw += set.rows * task.raw_stride;
    }
  }
}

// The accumulators of one block of at most 256 positions.
template <Arithmetic A>
void value(const ValueTask& task) {
  switch (task.format) {
    case Format::f16: return value_format<A, Format::f16>(task);
    case Format::bf16: return value_format<A, Format::bf16>(task);
    default: return value_format<A, Format::f32>(task);
  }
}

// Totals of n accumulators (a multiple of 16) over consecutive blocks, in place of those of the first block.
template <Arithmetic A>
void close_blocks(uint32_t* raw, uint32_t blocks, uint64_t n) {
  using Lane = Rows16<A>;
  for (uint64_t i = 0; i < n; i += 16) {
    Lane total = Lane::zero();
    for (uint32_t b = 0; b < blocks; ++b)
      total = Lane::add(total, Lane::from_f32(reinterpret_cast<const uint8_t*>(raw + b * n + i)));
    total.store(raw + i);
  }
}

// Sums of rows of f32 words, a * w in the canonical order: out[r] of rows of `length` words. Rows and their blocks of 256
// are independent chains, several of which advance side by side.
template <Arithmetic A>
void row_sums(const uint32_t* words, uint32_t rows, uint64_t length, uint32_t factor, uint32_t* out) {
  Chain chains[kChains];
  uint32_t row_of[kChains];
  int n = 0;
  const auto close = [&] {
    typename A::Value acc[kChains];
    if (n > 0) fold_chains<A>(chains, n, acc);
    for (int j = 0; j < n; ++j) out[row_of[j]] = A::store(A::add(A::load(out[row_of[j]]), acc[j]));
    n = 0;
  };
  const auto add = [&](uint32_t row, uint64_t first, uint64_t count) {
    chains[n] = {words + row * length + first, &factor, static_cast<int>(count), true};
    row_of[n++] = row;
    if (n == kChains) close();
  };
  const uint64_t whole = length / kLeafElements * kLeafElements;
  for (uint32_t r = 0; r < rows; ++r) {
    out[r] = 0;
    for (uint64_t first = 0; first < whole; first += kLeafElements) add(r, first, kLeafElements);
  }
  close();
  for (uint32_t r = 0; r < rows && whole < length; ++r) add(r, whole, length - whole);
  close();
}

// The largest of n > 0 words by the order key.
template <Arithmetic A>
uint32_t row_max(const uint32_t* words, uint64_t n) {
  int32_t most = INT32_MIN;
  for (uint64_t i = 0; i < n; ++i) {
    const int32_t key = soft::order_key(soft::canonical({words[i]}));
    most = key > most ? key : most;
  }
  const auto word = static_cast<uint32_t>(most);
  return word ^ (most < 0 ? soft::kMagnitude : 0);
}

#if defined(OPML_SOFT_LANES)
inline void soft_exp_rows(const ExpTask& task) {
  namespace w = soft_words;
  using V = LaneVector;
  const auto c = [&](int i) { return V::all(task.constants[i]); };
  const V most = V::all(task.most), low_key = c(0).key(), high_key = c(1).key();
  for (uint64_t i = 0; i < task.n; i += V::width) {
    alignas(64) uint32_t words[V::width] = {};
    const uint64_t count = task.n - i < V::width ? task.n - i : V::width;
    std::memcpy(words, task.in + i, count * sizeof(uint32_t));
    const V difference = w::sub(V::load(words), most);
    V x = V::sel(V::above(low_key, difference.key()), c(0), difference);
    x = V::sel(V::above(x.key(), high_key), c(1), x);
    x = V::sel(V::above(V::abs(difference), V::all(soft::kInf)), V::all(soft::kNan), x);
    const V shifted = w::fma(x, c(2), c(3)), n = w::sub(shifted, c(3));
    const V y = w::fma(n, c(4), w::fma(n, c(5), x));
    V p = c(6);
    for (int j = 7; j <= 12; ++j) p = w::fma(p, y, c(j));
    const V half = V::sar(shifted, c(13));
    p = V::iadd(p, V::shl(V::isub(shifted, half), c(14)));
    w::mul(p, V::shl(half, c(14))).store(words);
    std::memcpy(task.out + i, words, count * sizeof(uint32_t));
  }
}
#endif

// e^(x - m) as the program writes it (SoftmaxForm): every operation rounds as it does there. NaNs are made canonical where
// integers are made of floats, and at the end. The bounds that x is clamped to are no NaNs.
template <Arithmetic A>
void exp_rows(const ExpTask& task) {
#if defined(OPML_SOFT_LANES)
  if constexpr (!A::hardware) return soft_exp_rows(task);
#endif
  const auto c = [&](int i) { return A::load(task.constants[i]); };
  const uint32_t low = task.constants[0], high = task.constants[1];
  const auto to_power = c(2), magic = c(3), ln2_lo = c(4), ln2_hi = c(5);
  const auto p0 = c(6), p1 = c(7), p2 = c(8), p3 = c(9), p4 = c(10), p5 = c(11), p6 = c(12);
  const uint32_t halve = task.constants[13] & 31, shift = task.constants[14] & 31;
  const auto most = A::load(task.most);
  const uint32_t* __restrict in = task.in;
  uint32_t* __restrict out = task.out;
  for (uint64_t i = 0; i < task.n; ++i) {
    const uint32_t difference = A::bits(A::sub(A::load(in[i]), most));
    const uint32_t raised = soft::order_key({low}) > soft::order_key({difference}) ? low : difference;
    const uint32_t clamped = soft::order_key({high}) < soft::order_key({raised}) ? high : raised;
    const auto x = A::load(soft::is_nan({difference}) ? soft::kNan : clamped);
    const auto shifted = A::fma(x, to_power, magic);
    const auto n = A::sub(shifted, magic);
    const auto y = A::fma(n, ln2_lo, A::fma(n, ln2_hi, x));
    auto p = A::fma(p0, y, p1);
    p = A::fma(p, y, p2);
    p = A::fma(p, y, p3);
    p = A::fma(p, y, p4);
    p = A::fma(p, y, p5);
    p = A::fma(p, y, p6);
    const uint32_t bits = A::store(shifted), half = static_cast<uint32_t>(static_cast<int32_t>(bits) >> halve);
    const uint32_t scaled = A::store(p) + ((bits - half) << shift);
    out[i] = A::store(A::mul(A::load(scaled), A::load(half << shift)));
  }
}

OPML_LEVEL_END
