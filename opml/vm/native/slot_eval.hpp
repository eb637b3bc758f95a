// Any instruction form, evaluated in blocks of lanes: the definition that every fast kernel is tested against.
//
// Lanes are outputs where there are many of them, else the terms of one output; either way each output's fold keeps the
// canonical order of docs/spec.md#34-one-element.
#pragma once

#include "chains.hpp"
#include "lane_eval.hpp"
#include "lanes.hpp"
#include "slot_address.hpp"

OPML_LEVEL_BEGIN

template <Arithmetic A>
class SlotEval : SlotAddress {
 public:
  using Value = typename A::Value;

  // Chains that wait for others. Terms lie in `a` and `b` where they can't be read in place.
  struct Batch {
    Lanes a[kChains], b[kChains];
    Chain chains[kChains];
    int lane[kChains];  // twice the lane, and 1 for the second accumulator
    int n;
  };

  // What one thread needs, too large for a stack frame.
  struct Workspace {
    Lanes registers[kMaxRegisters];
    Address addresses[kMaxRegisters];
    Places places, term_places;
    Value acc[2][kLanes], total[2][kLanes];
    Lanes best, best_index, result;
    // Where each register of the body and of the finish program is: here, or in the tensor that it is read from.
    uint32_t* body[kMaxRegisters];
    uint32_t* finish[kMaxRegisters];
    Batch whole, part;
  };

  SlotEval(const SlotPlan& plan, Workspace& w) : SlotAddress(plan), w_(w) {
    for (int i = 0; i < plan.n_body_operands + plan.n_body; ++i) w_.body[i] = w_.registers[i].v;
    for (int i = 0; i < plan.accumulators + plan.n_finish_operands + plan.n_finish; ++i) w_.finish[i] = w_.registers[i].v;
    w_.whole.n = w_.part.n = 0;
  }

  void run(const Range& range) {
    each_block(range, w_.places, [this](uint64_t first) {
      fold();
      finish(first);
    });
  }

  // One element after the other within a position; the accumulators are given.
  void finish_from(const Range& range, const Accumulators& given) {
    for (uint32_t p = range.first_p; p < range.last_p; ++p) {
      each_block({p, p + 1, range.from, range.to}, w_.places, [&](uint64_t first) {
        const uint64_t element = first - p * plan_.stride;
        for (int j = 0; j < plan_.accumulators; ++j) take(given, j, p - range.first_p, element, range.from);
        finish(first);
      });
    }
  }

 private:
  // Register j of the finish gets its accumulators.
  void take(const Accumulators& given, int j, uint32_t p, uint64_t element, uint64_t from) {
    const uint32_t* raw = given.raw[j] + p * given.stride;
    const uint64_t mask = given.mask[j];
    const auto n = static_cast<uint64_t>(w_.places.n);
    uint32_t* z = w_.registers[j].v;
    w_.finish[j] = z;
    if (mask == 0 && kOnVectors<A> && n % kLaneGrain == 0) {
      w_.finish[j] = const_cast<uint32_t*>(raw + (element - from));  // inputs are not written to
    } else if (mask == 0) {
      std::memcpy(z, raw + (element - from), n * 4);
    } else if (mask == 1 && element % 2 == 0 && n % 2 == 0) {
      const uint32_t* x = raw + (element - from);
      for (uint64_t i = 0; i < n; i += 2) z[i] = x[i + 1], z[i + 1] = x[i];
    } else {
      for (uint64_t i = 0; i < n; ++i) z[i] = raw[((element + i) ^ mask) - from];
    }
  }

  uint32_t t() const { return plan_.chunk->first + w_.places.p; }

  // Reads operand j of a section into `registers`, or has `where` point at it where it lies. `at` says where lanes are; k is
  // the fold index where they are outputs.
  void read(const Source* section, int j, const Places& at, uint32_t k, Lanes* registers, uint32_t** where, bool raw) {
    const Source& s = section[j];
    uint32_t* z = where[j] = registers[j].v;
    switch (s.reads) {
      case Reads::constant: fill(z, at.n, s.base); return;
      case Reads::axis: read_axis(static_cast<Axis>(s.base), at, k, z); return;
      case Reads::token:
        for (int i = 0; i < at.n; ++i) z[i] = plan_.chunk->tokens[at.along == Along::flat ? at.lane_p[i] : at.p];
        return;
      case Reads::tensor:
      case Reads::quantised: break;
    }
    const uint64_t offset = at.along == Along::k ? 0 : k_offset(s, k, t());
    Address& address = w_.addresses[j];
    if (s.index != kNoIndex) {
      locate(s, at, address);
      add_index(s, where[s.index], at.n, address);
    }
    if constexpr (kOnVectors<A>) {
      if (s.reads == Reads::tensor && address.pattern == Pattern::run && at.n % kLaneGrain == 0 &&
          (s.format == Format::i32 || (s.format == Format::f32 && raw))) {
        const uint8_t* from = s.data + 4 * (address.first + offset);
        if (reinterpret_cast<uintptr_t>(from) % alignof(uint32_t) == 0) {
          where[j] = reinterpret_cast<uint32_t*>(const_cast<uint8_t*>(from));  // inputs are not written to
          return;
        }
      }
    }
    gather<A>(s, address, offset, at.n, z);
  }

  void read_body(int j, const Places& at, uint32_t k) {
    read(plan_.body_operands, j, at, k, w_.registers, w_.body, plan_.fold != Fold::qdot && plan_.body_code->raw_input(j));
  }

  void locate_all(const Source* section, int n, const Places& at) {
    for (int j = 0; j < n; ++j)
      if ((section[j].reads == Reads::tensor || section[j].reads == Reads::quantised) && section[j].index == kNoIndex)
        locate(section[j], at, w_.addresses[j]);
  }

  // Where the fold's j-th result is after the body.
  const uint32_t* result(int j) const {
    const uint8_t x = kOnVectors<A> ? plan_.body_code->results[j] : plan_.result[j];
    return x < kMaxRegisters ? w_.body[x] : plan_.constants + (x - kMaxRegisters) * kLanes;
  }
  bool is_constant(int j) const { return plan_.result[j] >= kMaxRegisters; }
  // Whether the next evaluation of the body leaves it as it is.
  bool stays(int j) const {
    const uint8_t x = plan_.result[j];
    return is_constant(j) || (x < plan_.n_body_operands && w_.body[x] != w_.registers[x].v);
  }

  void body(int n) {
    if (plan_.n_body > 0)
      eval_lanes<A>(*plan_.body_code, plan_.body, plan_.n_body, w_.registers, w_.body, plan_.constants, n, nullptr);
  }

  // Leaves the accumulators of the block in registers 0 and 1.
  void fold() {
    if (plan_.fold == Fold::none) return;
    if (plan_.fold == Fold::qdot) return fold_qdot();
    const uint32_t length = plan_.k.at(t());
    if (lanes_along_k(length)) {
      fold_along_k(length);
    } else {
      fold_over_outputs(length);
    }
    const int n = w_.places.n;
    if (plan_.fold == Fold::dot) {
      for (int j = 0; j < plan_.accumulators; ++j)
        for (int i = 0; i < n; ++i) w_.registers[j].v[i] = A::store(w_.total[j][i]);
    } else {
      const bool arg = plan_.fold == Fold::argmax;
      for (int i = 0; i < n; ++i) {
        w_.registers[0].v[i] = arg ? w_.best_index.v[i] : w_.best.v[i];
        w_.registers[1].v[i] = w_.best.v[i];
      }
    }
  }

  bool lanes_along_k(uint32_t length) const {
    if (w_.places.n < 32 && length >= 64) return true;
    bool along_k = false;
    for (int j = 0; j < plan_.n_body_operands; ++j) {
      const Source& s = plan_.body_operands[j];
      if (s.window == Window::over_k) return false;
      for (int i = 0; i < s.n_terms; ++i) {
        if (s.terms[i].axis == Axis::c && s.terms[i].mul == 1 && s.terms[i].div == 1) return false;
        along_k |= s.terms[i].axis == Axis::k && s.terms[i].mul == 1 && s.terms[i].div == 1;
      }
    }
    return along_k && length >= 64;
  }

  void fold_over_outputs(uint32_t length) {
    const int n = w_.places.n, wide = (n + kLaneStep - 1) & ~(kLaneStep - 1);
    locate_all(plan_.body_operands, plan_.n_body_operands, w_.places);
    for (int j = 0; j < plan_.n_body_operands; ++j)
      if (!plan_.body_operands[j].uses_k) read_body(j, w_.places, 0);
    for (int j = 0; j < 2; ++j)
      for (int i = 0; i < wide; ++i) w_.total[j][i] = A::load(0);
    for (uint32_t block = 0; block < length; block += kLeafElements) {
      const uint32_t end = length - block < kLeafElements ? length : block + kLeafElements;
      for (int j = 0; j < 2; ++j)
        for (int i = 0; i < wide; ++i) w_.acc[j][i] = A::load(0);
      for (uint32_t k = block; k < end; ++k) {
        for (int j = 0; j < plan_.n_body_operands; ++j)
          if (plan_.body_operands[j].uses_k) read_body(j, w_.places, k);
        body(n);
        if (plan_.fold == Fold::dot) {
          for (int j = 0; j < plan_.accumulators; ++j) accumulate(result(2 * j), result(2 * j + 1), w_.acc[j], wide);
        } else {
          compare(result(0), k, wide);
        }
      }
      if (plan_.fold == Fold::dot)
        for (int j = 0; j < plan_.accumulators; ++j)
          for (int i = 0; i < wide; ++i) w_.total[j][i] = A::add(w_.total[j][i], w_.acc[j][i]);
    }
  }

  static void accumulate(const uint32_t* a, const uint32_t* b, Value* __restrict acc, int n) {
    for (int i = 0; i < n; ++i) acc[i] = A::fma(A::load(a[i]), A::load(b[i]), acc[i]);
  }

  void compare(const uint32_t* x, uint32_t k, int n) {
    uint32_t* __restrict best = w_.best.v;
    uint32_t* __restrict index = w_.best_index.v;
    for (int i = 0; i < n; ++i) {
      const F32 v = soft::canonical({x[i]});
      const bool better = k == 0 || soft::order_key(v) > soft::order_key({best[i]});
      best[i] = better ? v.bits : best[i];
      index[i] = better ? k : index[i];
    }
  }

  // Lanes are 256 consecutive k of one output. Outputs and their blocks of 256 are independent chains of fma: several
  // are folded side by side, and closed in order.
  void fold_along_k(uint32_t length) {
    Places& at = w_.term_places;
    at.along = Along::k;
    for (int lane = 0; lane < w_.places.n; ++lane) {
      const bool flat = w_.places.along == Along::flat;
      at.p = flat ? w_.places.lane_p[lane] : w_.places.p;
      at.r = flat ? w_.places.lane_r[lane] : w_.places.r;
      at.c = flat ? w_.places.lane_c[lane] : w_.places.c + static_cast<uint32_t>(lane);
      w_.total[0][lane] = w_.total[1][lane] = A::load(0);
      for (uint32_t block = 0; block < length; block += kLeafElements) {
        at.k = block;
        at.n = static_cast<int>(length - block < kLeafElements ? length - block : kLeafElements);
        locate_all(plan_.body_operands, plan_.n_body_operands, at);
        for (int j = 0; j < plan_.n_body_operands; ++j) read_body(j, at, 0);
        body(at.n);
        if (plan_.fold != Fold::dot) {
          best_of_block(result(0), at, lane);
          continue;
        }
        for (int j = 0; j < plan_.accumulators; ++j) add_chain(at.n, j, lane);
      }
    }
    close_chains(w_.whole);
    close_chains(w_.part);
  }

  // Chains of 256 and the last, shorter ones wait apart from each other, so that those side by side are about as long.
  void add_chain(int n, int j, int lane) {
    Batch& batch = n == kLanes ? w_.whole : w_.part;
    const int number = batch.n++;
    Chain& chain = batch.chains[number];
    const auto terms = [&](int result_number, Lanes& copy) {
      const uint32_t* x = result(result_number);
      if (stays(result_number)) return x;
      std::memcpy(copy.v, x, static_cast<size_t>(n) * 4);
      return static_cast<const uint32_t*>(copy.v);
    };
    chain.a = terms(2 * j, batch.a[number]);
    chain.b = result(2 * j) == result(2 * j + 1) ? chain.a : terms(2 * j + 1, batch.b[number]);
    chain.constant = is_constant(2 * j + 1);
    chain.length = n;
    batch.lane[number] = 2 * lane + j;
    if (batch.n < kChains) return;
    if (&batch == &w_.part) close_chains(w_.whole);
    close_chains(batch);
  }

  void close_chains(Batch& batch) {
    if (batch.n == 0) return;
    Value acc[kChains];
    fold_chains<A>(batch.chains, batch.n, acc);
    for (int j = 0; j < batch.n; ++j) {
      Value& total = w_.total[batch.lane[j] & 1][batch.lane[j] >> 1];
      total = A::add(total, acc[j]);
    }
    batch.n = 0;
  }

  void best_of_block(const uint32_t* x, const Places& at, int lane) {
    int32_t most = INT32_MIN;
    for (int i = 0; i < at.n; ++i) {
      const int32_t key = soft::order_key(soft::canonical({x[i]}));
      most = key > most ? key : most;
    }
    if (at.k != 0 && most <= soft::order_key({w_.best.v[lane]})) return;
    if (plan_.fold == Fold::max) {
      w_.best.v[lane] = static_cast<uint32_t>(most) ^ (most < 0 ? soft::kMagnitude : 0);  // the key is its own inverse
      return;
    }
    for (int i = 0; i < at.n; ++i) {
      const F32 v = soft::canonical({x[i]});
      if (soft::order_key(v) != most) continue;
      w_.best.v[lane] = v.bits;
      w_.best_index.v[lane] = at.k + static_cast<uint32_t>(i);
      return;
    }
  }

  // One output after the other, one unit after the other.
  void fold_qdot() {
    const Places outer = w_.places;
    Places& at = w_.term_places;
    for (int lane = 0; lane < outer.n; ++lane) {
      const bool flat = outer.along == Along::flat;
      at = {};
      at.along = Along::k;
      at.p = flat ? outer.lane_p[lane] : outer.p;
      at.r = flat ? outer.lane_r[lane] : outer.r;
      at.c = flat ? outer.lane_c[lane] : outer.c + static_cast<uint32_t>(lane);
      Value acc[2] = {A::load(0), A::load(0)}, total[2] = {A::load(0), A::load(0)};
      for (uint32_t k = 0; k < plan_.k.n; k += 32) {
        at.k = k;
        at.n = 32;
        locate_all(plan_.body_operands, plan_.n_body_operands, at);
        for (int j = 0; j < plan_.n_body_operands; ++j) {
          const bool weight = j == plan_.result[0] || (plan_.two && j == plan_.result[3]);
          if (!weight) {
            read_body(j, at, 0);
          } else if (plan_.body_operands[j].index != kNoIndex) {
            locate(plan_.body_operands[j], at, w_.addresses[j]);
            add_index(plan_.body_operands[j], w_.body[plan_.body_operands[j].index], at.n, w_.addresses[j]);
          }
        }
        const uint32_t* x = w_.body[plan_.result[1]];
        const Value scale = A::load(w_.body[plan_.result[2]][0]);
        for (int j = 0; j < plan_.accumulators; ++j) {
          const int number = j == 0 ? plan_.result[0] : plan_.result[3];
          const Source& s = plan_.body_operands[number];
          const uint8_t* unit = s.data + w_.addresses[number].first / 32 * unit_bytes(s.units);
          const UnitScale weights = unit_scale(s.units, unit);
          int32_t dot = 0, sum = 0;
          for (uint32_t i = 0; i < 32; ++i) {
            dot += unit_value(s.units, unit, i) * static_cast<int32_t>(x[i]);
            sum += static_cast<int32_t>(x[i]);
          }
          acc[j] = A::fma(A::from_i32(dot), A::mul(A::load(weights.d), scale), acc[j]);
          if (s.units == WeightFormat::q4_1 || s.units == WeightFormat::q5_1)
            acc[j] = A::fma(A::load(weights.m), A::mul(scale, A::from_i32(sum)), acc[j]);
          if ((k + 32) % kLeafElements == 0 || k + 32 == plan_.k.n) {
            total[j] = A::add(total[j], acc[j]);
            acc[j] = A::load(0);
          }
        }
      }
      w_.total[0][lane] = total[0];
      w_.total[1][lane] = total[1];
    }
    w_.places = outer;
    for (int j = 0; j < plan_.accumulators; ++j)
      for (int i = 0; i < outer.n; ++i) w_.registers[j].v[i] = A::store(w_.total[j][i]);
  }

  void finish(uint64_t first) {
    const LaneCode& code = *plan_.finish_code;
    const int accumulators = plan_.accumulators, n = w_.places.n;
    locate_all(plan_.finish_operands, plan_.n_finish_operands, w_.places);
    for (int j = 0; j < plan_.n_finish_operands; ++j)
      read(plan_.finish_operands, j, w_.places, 0, w_.registers + accumulators, w_.finish + accumulators,
           code.raw_input(accumulators + j));
    const bool as_it_is = plan_.out == Format::i32 || (plan_.out == Format::f32 && code.result_canonical);
    const bool in_place = kOnVectors<A> && as_it_is && n % kLaneGrain == 0;
    uint32_t* out = in_place ? reinterpret_cast<uint32_t*>(plan_.data + 4 * first) : w_.result.v;
    const uint32_t* found =
        eval_lanes<A>(code, plan_.finish, plan_.n_finish, w_.registers, w_.finish, plan_.constants, n, out);
    if (!in_place) store_run<A>(plan_.out, plan_.data, first, n, found);
  }

  Workspace& w_;
};

OPML_LEVEL_END
