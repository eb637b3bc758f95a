// Where the lanes of a slot's blocks are, and which elements of its operands they read.
#pragma once

#include "lanes.hpp"

OPML_LEVEL_BEGIN

class SlotAddress {
 protected:
  explicit SlotAddress(const SlotPlan& plan) : plan_(plan) {}

  // Cuts a range into blocks; `each` gets the flat number of the block's first element in the chunk's storage, with `at` at it.
  template <class Each>
  void each_block(const Range& range, Places& at, Each each) const {
    const uint32_t cols = plan_.cols.at(plan_.chunk->first + range.first_p);
    const bool rowwise = cols >= 64 || (!plan_.uniform && plan_.cols.varies);
    const uint64_t elements = plan_.elements(plan_.chunk->first + range.first_p);
    if (rowwise) {
      at.along = Along::c;
      for (uint32_t p = range.first_p; p < range.last_p; ++p) {
        for (uint64_t e = range.from; e < range.to;) {
          at.p = p;
          at.r = static_cast<uint32_t>(e / cols);
          at.c = static_cast<uint32_t>(e % cols);
          const uint64_t row_end = (at.r + uint64_t{1}) * cols, end = row_end < range.to ? row_end : range.to;
          at.n = static_cast<int>(end - e < kLanes ? end - e : kLanes);
          each(p * plan_.stride + e);
          e += static_cast<uint64_t>(at.n);
        }
      }
      return;
    }
    at.along = Along::flat;
    // Blocks may run from one position into the next.
    const bool whole = plan_.uniform && range.from == 0 && range.to == elements;
    for (uint32_t p = range.first_p; p < range.last_p;) {
      const uint64_t end = whole ? (range.last_p - p) * elements : range.to;
      for (uint64_t f = whole ? 0 : range.from; f < end; f += kLanes) {
        at.n = static_cast<int>(end - f < kLanes ? end - f : kLanes);
        at.p = p + static_cast<uint32_t>(f / elements);
        at.r = static_cast<uint32_t>(f % elements / cols);
        at.c = static_cast<uint32_t>(f % cols);
        uint32_t lane_p = at.p, r = at.r, c = at.c;
        for (int i = 0; i < at.n; ++i) {
          at.lane_p[i] = lane_p;
          at.lane_r[i] = r;
          at.lane_c[i] = c;
          if (++c == cols) {
            c = 0;
            if (++r == plan_.rows.n) r = 0, ++lane_p;
          }
        }
        each(p * plan_.stride + f);
      }
      p = whole ? range.last_p : p + 1;
    }
  }

  static uint64_t mul_of(const PlanTerm& term, const Source& s, uint32_t position_t) {
    return term.mul == kRow ? s.row.at(position_t) : term.mul;
  }

  // The address without the terms of k (lanes along c, or flat) or with them (lanes along k), and without axis i.
  void locate(const Source& s, const Places& at, Address& z) const {
    const uint32_t first_t = plan_.chunk->first + at.p;
    uint64_t first = s.base;
    if (s.window == Window::here) {
      first += at.along == Along::flat ? 0 : at.p * s.stride;
    } else {
      const Extent along = s.window == Window::over_k ? plan_.k : plan_.cols;
      first += (first_t + 1 - along.at(first_t)) * s.stride;
    }
    if (at.along == Along::flat) return locate_flat(s, at, first, z);
    const Axis lane_axis = at.along == Along::c ? Axis::c : Axis::k;
    const uint32_t lane_first = at.along == Along::c ? at.c : at.k;
    const bool window_moves = s.window == (at.along == Along::c ? Window::over_c : Window::over_k);
    if (s.window == Window::over_c && at.along == Along::k) first += at.c * s.stride;
    const PlanTerm* moving = nullptr;
    for (int i = 0; i < s.n_terms; ++i) {
      const PlanTerm& term = s.terms[i];
      if (term.axis == lane_axis) {
        moving = &term;
      } else if (term.axis == Axis::r || term.axis == Axis::c || term.axis == Axis::t) {
        const uint32_t x = term.axis == Axis::r ? at.r : term.axis == Axis::c ? at.c : first_t;
        first += mul_of(term, s, first_t) * divide(x ^ term.mask, term);
      }
    }
    z.pattern = Pattern::same;
    z.first = first;
    if (moving == nullptr && !window_moves) return;
    const uint64_t mul = moving == nullptr ? 0 : mul_of(*moving, s, first_t);
    if (!window_moves && mul == 1 && moving->div == 1 && moving->mask == 0) {
      z.pattern = Pattern::run;
      z.first += lane_first;
      return;
    }
    const uint64_t step = window_moves ? s.stride : 0;
    z.pattern = Pattern::scattered;
    z.first = 0;
    if (moving == nullptr) {
      for (int i = 0; i < at.n; ++i) z.at[i] = first + (lane_first + static_cast<uint32_t>(i)) * step;
      return;
    }
    const PlanTerm term = *moving;
    if (!window_moves && term.mask == 0 && term.div % kLaneStep == 0 && lane_first % kLaneStep == 0) {
      z.pattern = Pattern::steps;
      for (int i = 0; i < at.n; i += kLaneStep)
        z.at[i / kLaneStep] = first + mul * divide(lane_first + static_cast<uint32_t>(i), term);
      return;
    }
    for (int i = 0; i < at.n; ++i) {
      const uint32_t x = lane_first + static_cast<uint32_t>(i);
      z.at[i] = first + mul * divide(x ^ term.mask, term) + x * step;
    }
  }

  void locate_flat(const Source& s, const Places& at, uint64_t first, Address& z) const {
    const uint64_t stride = s.window == Window::here ? s.stride : 0;  // `first` is the window's start
    for (int i = 0; i < at.n; ++i) z.at[i] = first + at.lane_p[i] * stride;
    for (int j = 0; j < s.n_terms; ++j) {
      const PlanTerm term = s.terms[j];
      if (term.axis == Axis::k || term.axis == Axis::i) continue;
      const uint64_t mul = mul_of(term, s, plan_.chunk->first + at.p);
      const uint32_t* lanes = term.axis == Axis::r ? at.lane_r : term.axis == Axis::c ? at.lane_c : at.lane_p;
      const uint32_t add = term.axis == Axis::t ? plan_.chunk->first : 0;
      for (int i = 0; i < at.n; ++i) z.at[i] += mul * divide((lanes[i] + add) ^ term.mask, term);
    }
    uint64_t differs_same = 0, differs_run = 0;
    for (int i = 0; i < at.n; ++i) {
      differs_same |= z.at[i] ^ z.at[0];
      differs_run |= z.at[i] ^ (z.at[0] + static_cast<uint64_t>(i));
    }
    z.first = z.at[0];
    z.pattern = differs_same == 0 ? Pattern::same : differs_run == 0 ? Pattern::run : Pattern::scattered;
    if (z.pattern == Pattern::scattered) z.first = 0;
  }

  // Adds mul * clamp(index) to each lane's address.
  static void add_index(const Source& s, const uint32_t* index, int n, Address& z) {
    const PlanTerm* term = nullptr;
    for (int i = 0; i < s.n_terms; ++i)
      if (s.terms[i].axis == Axis::i) term = &s.terms[i];
    if (term == nullptr) return;
    const auto most = static_cast<int64_t>(s.size / term->mul) - 1;
    bool same = true;
    for (int i = 1; i < n; ++i) same &= index[i] == index[0];
    const auto shift = [&](uint32_t word) {
      const int64_t x = static_cast<int32_t>(word);
      return static_cast<uint64_t>(x < 0 ? 0 : x > most ? most : x) * term->mul;
    };
    if (same && (z.pattern == Pattern::same || z.pattern == Pattern::run)) {
      z.first += shift(index[0]);
      return;
    }
    if (z.pattern == Pattern::steps) {
      for (int i = n - 1; i >= 0; --i) z.at[i] = z.at[i / kLaneStep];
    } else if (z.pattern != Pattern::scattered)
      for (int i = 0; i < n; ++i) z.at[i] = z.first + (z.pattern == Pattern::run ? static_cast<uint64_t>(i) : 0);
    z.pattern = Pattern::scattered;
    z.first = 0;
    for (int i = 0; i < n; ++i) z.at[i] += shift(index[i]);
  }

  // What the address gains at fold index k, where lanes are outputs.
  uint64_t k_offset(const Source& s, uint32_t k, uint32_t position_t) const {
    uint64_t z = s.window == Window::over_k ? k * s.stride : 0;
    for (int i = 0; i < s.n_terms; ++i)
      if (s.terms[i].axis == Axis::k) z += mul_of(s.terms[i], s, position_t) * divide(k ^ s.terms[i].mask, s.terms[i]);
    return z;
  }

  void read_axis(Axis axis, const Places& at, uint32_t k, uint32_t* z) const {
    const uint32_t first_t = plan_.chunk->first + at.p;
    if (at.along == Along::flat && axis != Axis::k) {
      const uint32_t* lanes = axis == Axis::r ? at.lane_r : axis == Axis::c ? at.lane_c : at.lane_p;
      const uint32_t add = axis == Axis::t ? plan_.chunk->first : 0;
      for (int i = 0; i < at.n; ++i) z[i] = lanes[i] + add;
      return;
    }
    const bool moves = (axis == Axis::c && at.along == Along::c) || (axis == Axis::k && at.along == Along::k);
    const uint32_t first = axis == Axis::r ? at.r : axis == Axis::c ? at.c : axis == Axis::t ? first_t
                           : at.along == Along::k ? at.k : k;
    for (int i = 0; i < at.n; ++i) z[i] = first + (moves ? static_cast<uint32_t>(i) : 0);
  }

  const SlotPlan& plan_;
};

OPML_LEVEL_END
