// Attention: dots over windows of positions, and the soft-max between them.
#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {

// Keys of new positions beside those of earlier ones: 16 positions side by side.
void Session::pack_keys(ChunkPlan& p, uint32_t slot) {
  const SlotPlan& plan = p.slots[slot];
  const uint64_t width = format_bytes(plan.out), elements = plan.stride;
  for (uint32_t i = 0; i < p.positions; ++i) {
    const uint64_t t = p.chunk.first + i;
    const uint8_t* from = plan.data + i * elements * width;
    uint8_t* to = keys(slot) + (t / 16 * elements * 16 + t % 16) * width;
    if (width == 2) {
      for (uint64_t e = 0; e < elements; ++e) std::memcpy(to + e * 32, from + e * 2, 2);
    } else {
      for (uint64_t e = 0; e < elements; ++e) std::memcpy(to + e * 64, from + e * 4, 4);
    }
  }
}

std::optional<std::vector<uint8_t>> Session::kept(uint32_t position, uint32_t slot) const {
  const std::lock_guard lock(machine_.running_);
  const uint64_t bytes = machine_.position_bytes(slot), width = format_bytes(machine_.program_.slots[slot].code->out);
  if (machine_.kept_[slot]) {
    const uint8_t* from = stored(slot) + position * bytes;
    return std::vector<uint8_t>(from, from + bytes);
  }
  if (!machine_.keys_packed_[slot]) return {};
  std::vector<uint8_t> z(bytes);
  const uint8_t* from = keys(slot) + position / 16 * 16 * bytes + position % 16 * width;
  for (uint64_t at = 0; at < bytes; at += width) std::memcpy(z.data() + at, from + 16 * at, width);
  return z;
}

// Rows that read the same part of every position, at most kWindowRows together.
const std::vector<WindowSet>& Session::window_sets(uint32_t slot, const SlotPlan& plan, const Source& window) {
  sets_.resize(machine_.program_.slots.size());
  std::vector<WindowSet>& sets = sets_[slot];
  if (!sets.empty()) return sets;
  for (uint32_t r = 0; r < plan.rows.n; ++r) {
    const uint64_t first = start_of(window, 0, r);
    if (sets.empty() || sets.back().first_element != first || sets.back().rows == kWindowRows) sets.push_back({first, 0, {}});
    ++sets.back().rows;
  }
  return sets;
}

// A task is a part of the window for all rows; or for those of one set, where few positions are to be shared out: a thread
// then keeps to its rows, in the soft-max and the values too.
void Session::run_score(ChunkPlan& p, uint32_t slot, const ScoreForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const Source &query = plan.body_operands[form.query], &key = plan.body_operands[form.key];
  const uint64_t elements = p.slots[form.key_slot].stride, width = format_bytes(key.format);
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint32_t length = plan.k.n, rows = plan.rows.n;
  const std::vector<WindowSet>& shared = window_sets(slot, plan, key);
  if (from >= p.positions) return;
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  const uint32_t each = threads > 1 && p.positions - from < 2 * threads ? 1 : static_cast<uint32_t>(shared.size());
  const uint32_t window = plan.cols.at(p.chunk.first + p.positions - 1);
  const uint64_t per_thread = (uint64_t{window} / 16 + 2) * (p.positions - from) / threads + 1;
  const uint64_t wanted = std::min<uint64_t>(per_thread, kScoreWords / (16 * rows));
  const auto part_groups = static_cast<uint32_t>(std::clamp<uint64_t>(wanted, 4, 32)) & ~1u;
  const uint64_t raw_stride = uint64_t{part_groups} * 16;
  struct Part {
    uint32_t i, set, first_row, rows, group;
  };
  std::vector<Part> parts;
  for (uint32_t i = from; i < p.positions; ++i) {
    const uint32_t t = p.chunk.first + i, start = t + 1 - plan.cols.at(t);
    for (uint32_t set = 0, row = 0; set < shared.size(); set += each) {
      uint32_t of_sets = 0;
      for (uint32_t s = set; s < set + each; ++s) of_sets += shared[s].rows;
      for (uint32_t group = start / 16; group <= t / 16; group += part_groups) parts.push_back({i, set, row, of_sets, group});
      row += of_sets;
    }
  }
  machine_.pool_->run(static_cast<uint32_t>(parts.size()), [&](uint32_t number, int thread) {
    const auto [i, first_set, first_row, n_rows, group] = parts[number];
    const uint32_t t = p.chunk.first + i, n = plan.cols.at(t), start = t + 1 - n;
    const uint32_t last = std::min(t / 16 + 1, group + part_groups);
    const uint32_t begin = group * 16 <= start ? 0 : group * 16 - start, end = std::min(n, last * 16 - start);
    uint32_t* const scores = raw(thread, n_rows * (raw_stride + length));
    uint32_t* const queries = scores + n_rows * raw_stride;
    for (uint32_t r = 0; r < n_rows; ++r)
      for (uint32_t k = 0; k < length; k += kLanes)
        machine_.kernels_->load_words(query.format, query.data, start_of(query, i, first_row + r) + k,
                                      std::min<uint32_t>(kLanes, length - k), queries + uint64_t{r} * length + k);
    std::vector<WindowSet>& sets = machine_.sets_[static_cast<size_t>(thread)];
    sets.assign(shared.begin() + first_set, shared.begin() + first_set + each);
    const uint32_t* row = queries;
    for (WindowSet& set : sets)
      for (uint32_t r = 0; r < set.rows; ++r, row += length) set.factors[r] = row;
    machine_.kernels_->score({key.format, keys(form.key_slot) + group * elements * 16 * width, elements, last - group, length,
                              sets.data(), each, scores, raw_stride});
    for (uint32_t r = 0; r < n_rows; ++r) {
      const uint64_t base = uint64_t{first_row + r} * n;
      finish(plan, slot, {i, i + 1, base + begin, base + end},
             {{scores + r * raw_stride + (start + begin - group * 16), nullptr}, {0, 0}, 0}, thread);
    }
  });
}

// The first values of a decoded position's window: `value` fetches later ones itself.
Session::Fetch Session::first_values(const ChunkPlan& p, uint32_t slot) const {
  const ValueForm* form = p.positions == 1 && slot < p.slots.size() ? std::get_if<ValueForm>(&machine_.forms_[slot]) : nullptr;
  if (form == nullptr) return {};
  const SlotPlan& plan = p.slots[slot];
  const Source& value = plan.body_operands[form->value];
  const uint64_t bytes = value.stride * format_bytes(value.format);
  const uint32_t t = p.chunk.first, n = plan.k.at(t);
  return {value.data + (t + 1 - n) * bytes, bytes, std::min(n, kValuesAhead)};
}

// Max, exponentials and sum of rows while they are warm. A task is a position, or some of its rows.
void Session::run_softmax(ChunkPlan& p, uint32_t slot, const SoftmaxForm& form) {
  const SlotPlan &max = p.slots[slot], &exp = p.slots[slot + 1], &sum = p.slots[slot + 2];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0, rows = max.rows.n;
  if (from >= p.positions) return;
  const Source& score = max.body_operands[0];
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  const uint32_t each = p.positions - from >= 2 * threads ? rows : (rows + threads - 1) / threads;
  const uint32_t parts = (rows + each - 1) / each;
  const Fetch values = first_values(p, slot + 3);
  machine_.pool_->run((p.positions - from) * parts, [&](uint32_t number, int thread) {
    const uint32_t i = from + number / parts, t = p.chunk.first + i, n = exp.cols.at(t);
    const uint32_t first = number % parts * each, last = std::min(rows, first + each);
    const auto* in = reinterpret_cast<const uint32_t*>(score.data) + i * score.stride;
    auto* out = reinterpret_cast<uint32_t*>(exp.data) + i * exp.stride;
    const auto* most = reinterpret_cast<const uint32_t*>(max.data) + i * max.stride;
    const uint64_t begin = uint64_t{first} * n, end = uint64_t{last} * n;
    uint32_t* const words = raw(thread, last - first);
    for (uint32_t r = first; r < last; ++r) words[r - first] = machine_.kernels_->row_max(in + uint64_t{r} * n, n);
    finish(max, slot, {i, i + 1, first, last}, {{words, nullptr}, {0, 0}, 0}, thread);
    // Exponentials wait for no memory: with each row of them a share of the values comes, of those columns that are this part's.
    const uint8_t* ahead = values.at + number % parts * values.bytes / parts;
    uint32_t fetched = 0;
    for (uint32_t r = first; r < last; ++r) {
      for (const uint32_t until = values.count * (r + 1 - first) / (last - first); fetched < until; ++fetched, ahead += values.bytes)
        for (uint64_t byte = 0; byte < values.bytes / parts; byte += 64) __builtin_prefetch(ahead + byte, 0, 2);
      machine_.kernels_->exp_rows({in + uint64_t{r} * n, out + uint64_t{r} * n, n, most[r], form.constants});
    }
    if (!faults_.empty()) apply_faults(exp, slot + 1, {i, i + 1, begin, end});
    machine_.kernels_->row_sums(out + begin, last - first, n, form.factor, words);
    finish(sum, slot + 2, {i, i + 1, first, last}, {{words, nullptr}, {0, 0}, 0}, thread);
  });
}

// A task is a block of 256 positions for all rows, or for a part of them where few blocks are to be shared out.
void Session::run_value(ChunkPlan& p, uint32_t slot, const ValueForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const Source &factor = plan.body_operands[form.factor], &value = plan.body_operands[form.value];
  const uint64_t width = format_bytes(value.format);
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint32_t cols = plan.cols.n, rows = plan.rows.n, words = rows * cols;
  if (from >= p.positions) return;
  const std::vector<WindowSet>& shared = window_sets(slot, plan, value);
  const auto n_sets = static_cast<uint32_t>(shared.size()), threads = static_cast<uint32_t>(machine_.pool_->threads());
  const auto blocks_at = [&](uint32_t i) { return (plan.k.at(p.chunk.first + i) + kLeafElements - 1) / kLeafElements; };

  // `sums` has the rows of all sets; columns first ... last - 1 of sets `set` ... `set_end` - 1 are computed.
  const auto block = [&](uint32_t i, uint32_t b, uint32_t set, uint32_t set_end, uint32_t first, uint32_t last, uint32_t* sums,
                         int thread) {
    const uint32_t t = p.chunk.first + i, n = plan.k.at(t), start = t + 1 - n;
    std::vector<WindowSet>& sets = machine_.sets_[static_cast<size_t>(thread)];
    sets.assign(shared.begin() + set, shared.begin() + set_end);
    uint32_t row = 0;
    for (uint32_t s = 0; s < set; ++s) row += shared[s].rows;
    sums += uint64_t{row} * cols;
    for (WindowSet& s : sets) {
      for (uint32_t j = 0; j < s.rows; ++j, ++row) {
        uint64_t at = factor.base + i * factor.stride;
        for (int k = 0; k < factor.n_terms; ++k)
          if (factor.terms[k].axis == Axis::r)  // a row of the factors has as many elements as the window
            at += uint64_t{factor.terms[k].mul == kRow ? factor.row.at(t) : factor.terms[k].mul} * (row / factor.terms[k].div);
        s.factors[j] = reinterpret_cast<const uint32_t*>(factor.data) + at;
      }
    }
    machine_.kernels_->value({value.format, value.data + start * value.stride * width, value.stride, b * kLeafElements,
                              std::min(n, (b + 1) * kLeafElements), first, last, sets.data(), set_end - set, sums, cols});
  };
  const auto close = [&](uint32_t i, uint32_t* sums, int thread) {
    machine_.kernels_->close_blocks(sums, blocks_at(i), words);
    finish(plan, slot, {i, i + 1, 0, words}, {{sums, nullptr}, {0, 0}, 0}, thread);
  };

  if (threads == 1 || p.positions - from >= 2 * threads) {
    machine_.pool_->run(p.positions - from, [&](uint32_t number, int thread) {
      const uint32_t i = from + number, blocks = blocks_at(i);
      uint32_t* const sums = raw(thread, uint64_t{blocks} * words);
      for (uint32_t b = 0; b < blocks; ++b) block(i, b, 0, n_sets, 0, cols, sums + uint64_t{b} * words, thread);
      close(i, sums, thread);
    });
    return;
  }
  for (uint32_t i = from; i < p.positions; ++i) {
    const uint32_t blocks = blocks_at(i);
    uint32_t parts = 1;  // of the sets, then of their columns
    while (blocks * parts < 3 * threads && parts < n_sets) parts = std::min(n_sets, 2 * parts);
    const uint32_t halves = blocks * parts < 3 * threads && cols % 32 == 0 ? 2 : 1;
    uint32_t* const sums = raw(0, uint64_t{blocks} * words);
    machine_.pool_->run(blocks * parts * halves, [&](uint32_t number, int thread) {
      const uint32_t b = number / (parts * halves), part = number / halves % parts, half = number % halves;
      block(i, b, part * n_sets / parts, (part + 1) * n_sets / parts, half * cols / halves, (half + 1) * cols / halves,
            sums + uint64_t{b} * words, thread);
    });
    close(i, sums, 0);
  }
}

}  // namespace opml
