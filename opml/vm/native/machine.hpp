// A program with its weights, ready to run; and the state of one run.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "forms.hpp"
#include "huge_bytes.hpp"
#include "kernels.hpp"
#include "merkle.hpp"
#include "plan.hpp"
#include "program.hpp"
#include "thread_pool.hpp"

namespace opml {

// A chunk of few positions keeps all of its slots, and is hashed at its end.
inline constexpr uint32_t kFewPositions = 8;
// Rows and positions of a product that one thread works on at a time.
inline constexpr uint32_t kTileRows = 256, kTilePositions = 64;
inline constexpr uint32_t kTileRowsOfOne = 2048;  // of a single position: its sums are few, and long streams of weights are read faster
inline constexpr uint32_t kScoreWords = 8192;  // scores that one thread works on at a time, for all rows
inline constexpr uint64_t kSliceBytes = 8 << 20;  // of a file that are packed before they are let go
inline constexpr uint64_t kRawWords = 2 * kTilePositions * (kTileRows + kGroupRows);

template <class T>
struct AlignedArray {
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<T[], Free> data;
  size_t size = 0;
  void reset(size_t n) {
    data.reset(static_cast<T*>(::operator new[](n * sizeof(T), std::align_val_t{64})));
    size = n;
  }
};

// Everything that runs share: decoded program, weights, kernels, threads. One session runs at a time.
class Machine {
 public:
  struct Options {
    int threads;
    bool generic;  // no recognised forms (for tests)
    std::function<bool()> interrupted;
  };
  // What is wrong, or nothing. Weights stay where they are and must outlive the machine, which is of no use once interrupted.
  std::string open(std::span<const uint8_t> program, std::vector<std::span<const uint8_t>> weights, const Kernels& kernels,
                   const Options& options);

  const Program& program() const { return program_; }
  const std::vector<std::span<const uint8_t>>& weights() const { return weights_; }

 private:
  friend class Session;
  static constexpr uint64_t kNotPacked = ~uint64_t{0};
  void place_packed();
  bool pack_weights(const std::function<bool()>& interrupted);
  bool noise_is_finite(const GreedyForm& form);
  void find_looked_up();
  void own_small_weights();
  void let_go_of_files() const;
  uint64_t position_bytes(uint32_t slot) const {  // of a slot that windows read
    const Instruction& code = *program_.slots[slot].code;
    return uint64_t{code.rows.n} * code.cols.n * format_bytes(code.out);
  }

  Program program_;
  std::vector<std::span<const uint8_t>> weights_;
  const Kernels* kernels_ = nullptr;
  std::unique_ptr<ThreadPool> pool_;
  std::vector<AlignedArray<uint8_t>> workspaces_;  // one a thread
  std::vector<HashScratch> scratch_;               // one a thread
  AlignedArray<uint32_t> constants_;
  std::optional<Padding> tensor_padding_, position_padding_, trace_padding_;
  std::vector<Form> forms_;            // by slot
  std::vector<uint32_t> together_;     // by slot: the end of the slots that are computed together with it, if it is the first
  std::vector<uint8_t> keys_packed_;   // by slot: scores are computed from it
  HugeBytes packed_;                   // weights that fast products read
  std::vector<std::vector<uint32_t>> looked_up_;  // by slot: weights of mapped files of which an index picks rows
  std::vector<uint8_t> of_file_;       // by weight: it lies in a mapped file
  HugeBytes owned_;                    // copies of small weights
  std::vector<uint64_t> packed_at_;    // by weight: where it lies in packed_, or kNotPacked
  std::vector<AlignedArray<uint32_t>> raw_;          // one a thread: accumulators of a tile of rows and positions
  std::vector<std::vector<WindowSet>> sets_;         // one a thread: those of its task
  std::vector<uint8_t> kept_;          // by slot: a window reads it as stored, so that every position's tensor stays
  std::map<uint32_t, bool> finite_;    // by slot of noise, once it was tried
  std::vector<uint32_t> last_reader_;  // by slot: the last slot that reads it here
  std::vector<uint32_t> entry_end_;    // by entry: its last slot
  std::mutex running_;
};

// Falsifies one stored element as soon as it is computed: all later readers see it.
struct Fault {
  uint32_t position, slot;
  uint64_t element;
  uint32_t mask;
};

// Where an operand that is addressed by r (and k) starts at chunk position p.
inline uint64_t start_of(const Source& s, uint32_t p, uint32_t r) {
  uint64_t at = s.base + p * s.stride;
  for (int i = 0; i < s.n_terms; ++i)
    if (s.terms[i].axis == Axis::r) at += uint64_t{s.terms[i].mul == kRow ? s.row.n : s.terms[i].mul} * (r / s.terms[i].div);
  return at;
}

// Slots of a chunk of positions with their memory. Rebuilt only when sizes change.
struct ChunkPlan {
  uint32_t positions = 0, first_yield = 0;  // chunk positions from first_yield on yield
  uint64_t extent_limit = 0;                // sizes are enough for t below this
  uint64_t store_version = 0;               // of the memory of kept slots
  Chunk chunk{};
  std::vector<SlotPlan> slots;
  std::vector<Source> sources;
  std::vector<std::pair<size_t, uint32_t>> kept_sources;  // sources that read a kept slot here: they move with the chunk
  HugeBytes arena;
};

class Session {
 public:
  Session(Machine& machine, std::vector<uint32_t> params, std::vector<Fault> faults);

  struct Options {
    uint32_t yields_from;  // positions t >= yields_from yield
    bool commit;           // compute position roots
    std::optional<uint32_t> capture;  // a slot whose stored bytes at every position are kept in captured()
    std::function<bool()> interrupted;
  };
  // Computes the next positions. False when interrupted; the positions that were completed stay.
  bool feed(std::span<const uint32_t> tokens, const Options& options);

  // Computes one position that was fed before once more and keeps every slot. `slots` gets the stored bytes by slot
  // number, empty where the position lacks it; `roots` the tensor roots of the committed slots.
  void recompute(uint32_t position, std::vector<std::vector<uint8_t>>* slots, std::vector<Digest>* roots);

  // Stored bytes of a slot at a position that was fed, where windows read the slot; else nothing.
  std::optional<std::vector<uint8_t>> kept(uint32_t position, uint32_t slot) const;

  uint32_t length() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t yields_from() const { return yields_from_; }
  std::optional<uint32_t> sample(uint32_t position) const;
  const std::vector<Digest>& position_roots() const { return roots_; }
  // Nanoseconds by slot since this was first called, those of slots computed together at the first of them; then of hashing.
  const std::vector<uint64_t>& profile() {
    times_.resize(machine_.program_.slots.size() + 1);
    return times_;
  }
  const std::vector<uint8_t>& captured() const { return captured_; }
  Digest trace_root(uint32_t positions);
  const std::vector<uint32_t>& tokens() const { return tokens_; }

  // Room for all slots of a chunk, beyond which it is cut; at least one position runs.
  static constexpr uint64_t kArenaBytes = 16 << 20;
  static constexpr uint32_t kMostPositions = 64;
  // Positions after which pages of looked-up rows are let go. After each it takes 25 microseconds, of 4,500.
  static constexpr uint32_t kLetGoEvery = 4;

 private:
  struct Memory {
    std::vector<uint64_t> offset;
    uint64_t bytes;
  };
  Memory lay_out(uint32_t sized_for, uint32_t positions, uint32_t yielding) const;
  uint32_t chunk_size(uint32_t first, size_t wanted) const;
  uint32_t first_yield(uint32_t first, uint32_t positions) const;
  void plan(ChunkPlan& p, uint32_t first, uint32_t positions);
  void place_kept(ChunkPlan& p);
  void reserve(uint32_t positions);
  uint8_t* stored(uint32_t slot) const { return window_.data() + stored_at_[slot] * capacity_; }
  uint8_t* keys(uint32_t slot) const { return window_.data() + keys_at_[slot] * capacity_; }
  void run(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, std::optional<uint32_t> capture);
  void run_slots(ChunkPlan& p, uint32_t first, uint32_t end);
  bool is_left_out(uint32_t slot) const { return !all_slots_ && needless_[slot]; }
  void keep_captured(const ChunkPlan& p, uint32_t slot);
  void run_generic(ChunkPlan& p, uint32_t slot);
  void run_positions(ChunkPlan& p, uint32_t slot, uint32_t from, uint32_t to);
  void find_needless();
  void run_greedy(ChunkPlan& p, uint32_t slot, const GreedyForm& form);
  // Products of a slot: tiles of `each` rows of a segment. Rows follow each other through r, or each r is a segment.
  struct Product {
    uint32_t slot;
    const QdotForm* form;
    uint32_t segment, variants, each, tiles, group_positions;
  };
  void run_products(ChunkPlan& p, uint32_t first, uint32_t end);
  void run_tile(ChunkPlan& p, const Product& product, uint32_t number, int thread);
  void prepare_words(ChunkPlan& p, uint32_t slot, const QdotForm& form);
  void prepare_activations(ChunkPlan& p, uint32_t slot, const QdotForm& form);
  void pack_keys(ChunkPlan& p, uint32_t slot);
  void run_score(ChunkPlan& p, uint32_t slot, const ScoreForm& form);
  void run_value(ChunkPlan& p, uint32_t slot, const ValueForm& form);
  struct Fetch {  // `count` rows of `bytes`, one after the other
    const uint8_t* at;
    uint64_t bytes;
    uint32_t count;
  };
  Fetch first_values(const ChunkPlan& p, uint32_t slot) const;
  void run_softmax(ChunkPlan& p, uint32_t slot, const SoftmaxForm& form);
  void run_max(ChunkPlan& p, uint32_t slot, const MaxForm& form);
  void run_flat_max(ChunkPlan& p, uint32_t slot);
  const std::vector<WindowSet>& window_sets(uint32_t slot, const SlotPlan& plan, const Source& window);
  void finish(const SlotPlan& plan, uint32_t slot, const Range& range, const Accumulators& given, int thread);
  uint32_t* raw(int thread, uint64_t words);
  void apply_faults(const SlotPlan& plan, uint32_t slot, const Range& range) const;
  void timed_commit(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, Digest* slot_roots);
  void commit(ChunkPlan& p, uint32_t slot_from, uint32_t slot_to, Digest* slot_roots);
  void close_positions(const Digest* slot_roots, uint32_t positions, Digest* roots);
  bool exists(uint32_t slot, uint32_t t) const {
    return !machine_.program_.slots[slot].code->yields || t >= yields_from_;
  }

  Machine& machine_;
  std::vector<uint32_t> params_;
  std::multimap<uint32_t, Fault> faults_;  // by slot
  std::vector<uint32_t> tokens_, samples_;
  uint32_t yields_from_ = 0xFFFFFFFF;
  std::vector<Digest> roots_;
  HugeBytes window_;                 // what windows read, with room for capacity_ positions of each slot
  uint32_t capacity_ = 0;
  std::vector<uint64_t> stored_at_, keys_at_;  // by slot: bytes of a position of what lies before it
  uint64_t window_bytes_ = 0;                  // of a position
  std::vector<uint8_t> captured_;
  std::map<uint32_t, uint32_t> held_;  // by slot: positions whose looked-up rows may still be mapped
  std::vector<uint8_t> needless_;  // by slot: noise that a temperature of 0 makes needless; empty until looked for
  bool all_slots_ = false;         // compute needless slots too
  std::vector<uint64_t> times_;
  std::vector<std::vector<WindowSet>> sets_;  // by slot, made when first needed
  std::vector<Product> products_of_run_;     // those computed together
  std::vector<int32_t> sums_;                // of the activations of the last qdot: [position][r][unit]
  std::vector<uint32_t> products_;
  std::vector<uint32_t> words_;              // activations of the last dense product: [position][r][k]
  uint64_t store_version_ = 1;                 // counts reallocations
  ChunkPlan batch_, single_;
};

}  // namespace opml
