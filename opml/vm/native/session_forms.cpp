// Slots whose form has a kernel of its own: the fold by the kernel, the finish by the generic path.
#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {

void Session::finish(const SlotPlan& plan, uint32_t slot, const Range& range, const Accumulators& given, int thread) {
  machine_.kernels_->finish_slot(plan, range, machine_.workspaces_[static_cast<size_t>(thread)].data.get(), given);
  if (!faults_.empty()) apply_faults(plan, slot, range);
}

uint32_t* Session::raw(int thread, uint64_t words) {
  AlignedArray<uint32_t>& raw = machine_.raw_[static_cast<size_t>(thread)];
  if (raw.size < words) raw.reset(words);
  return raw.data.get();
}

void Session::prepare_activations(ChunkPlan& p, uint32_t slot, const QdotForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const Source &x = plan.body_operands[form.activations], &d = plan.body_operands[form.scales];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint32_t units = plan.k.n / 32, variants = form.by_row ? plan.rows.n : 1;
  sums_.resize(uint64_t{p.positions} * variants * units);
  products_.resize(sums_.size());
  const auto one = [&](uint32_t i, int) {
    for (uint32_t r = 0; r < variants; ++r) {
      const uint64_t at = (uint64_t{i + from} * variants + r) * units;
      machine_.kernels_->prepare_activations(reinterpret_cast<const int8_t*>(x.data + start_of(x, i + from, r)),
                                             d.data + 4 * start_of(d, i + from, r), units, sums_.data() + at,
                                             products_.data() + at);
    }
  };
  machine_.pool_->run(p.positions - from, one);
}

void Session::prepare_words(ChunkPlan& p, uint32_t slot, const QdotForm& form) {
  const SlotPlan& plan = p.slots[slot];
  const Source& x = plan.body_operands[form.activations];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint32_t length = plan.k.n, variants = form.by_row ? plan.rows.n : 1;
  if (words_.size() < uint64_t{p.positions} * variants * length) words_.resize(uint64_t{p.positions} * variants * length);
  machine_.pool_->run(p.positions - from, [&](uint32_t number, int) {
    const uint32_t i = from + number;
    for (uint32_t r = 0; r < variants; ++r)
      for (uint32_t k = 0; k < length; k += kLanes)
        machine_.kernels_->load_words(x.format, x.data, start_of(x, i, r) + k, std::min<uint32_t>(kLanes, length - k),
                                      words_.data() + (uint64_t{i} * variants + r) * length + k);
  });
}

// Products of whole rows with the same activations: a task is a tile of rows for all positions, finished while it is warm.
void Session::run_products(ChunkPlan& p, uint32_t first, uint32_t end) {
  const auto form_of = [&](uint32_t slot) { return std::get_if<QdotForm>(&machine_.forms_[slot]); };
  const uint32_t from = machine_.program_.slots[first].code->yields ? p.first_yield : 0;
  if (from >= p.positions) return;
  form_of(first)->dense ? prepare_words(p, first, *form_of(first)) : prepare_activations(p, first, *form_of(first));
  const auto threads = static_cast<uint32_t>(machine_.pool_->threads());
  const uint32_t most_rows = p.positions - from == 1 ? kTileRowsOfOne : kTileRows, parts = threads == 1 ? 1 : 2 * threads;
  products_of_run_.clear();
  uint32_t rows = 0, tasks = 0;
  for (uint32_t slot = first; slot < end; ++slot) {
    const SlotPlan& plan = p.slots[slot];
    const bool by_row = form_of(slot)->by_row;
    const uint32_t segment = by_row ? plan.cols.n : plan.rows.n * plan.cols.n;
    products_of_run_.push_back({slot, form_of(slot), segment, by_row ? plan.rows.n : 1, 0, 0, 0});
    rows += segment;
  }
  const uint32_t share = (rows + parts - 1) / parts;
  for (Product& product : products_of_run_) {
    const QdotForm& form = *product.form;
    const uint32_t segment = product.segment;
    uint32_t granule = kGroupRows;
    const int accumulators = p.slots[product.slot].accumulators;
    for (int j = 0; j < accumulators; ++j) granule = std::max(granule, 2 * form.rows[j].mask);
    if (granule > kTileRows) granule = segment;  // partners further apart than a tile: one task
    product.each = std::min(segment, std::max(granule, std::min(most_rows, (share + granule - 1) / granule * granule)));
    product.tiles = (segment + product.each - 1) / product.each;
    // Rows that depend on an index differ from position to position.
    const bool indexed = form.rows[0].index >= 0 || (accumulators == 2 && form.rows[1].index >= 0);
    product.group_positions = indexed ? 1 : static_cast<uint32_t>(std::clamp<uint64_t>(
        kTilePositions * (kTileRows + kGroupRows) / (uint64_t{product.each} + kGroupRows), 1, kTilePositions));
    tasks += product.variants * product.tiles;
  }
  machine_.pool_->run(tasks, [&](uint32_t number, int thread) {
    const Product* product = products_of_run_.data();
    for (; number >= product->variants * product->tiles; ++product) number -= product->variants * product->tiles;
    run_tile(p, *product, number, thread);
  });
}

void Session::run_tile(ChunkPlan& p, const Product& product, uint32_t number, int thread) {
  const SlotPlan& plan = p.slots[product.slot];
  const QdotForm& form = *product.form;
  const uint32_t from = machine_.program_.slots[product.slot].code->yields ? p.first_yield : 0;
  const Source &x = plan.body_operands[form.activations], &d = plan.body_operands[form.scales];
  const uint32_t units = plan.k.n / 32, variants = product.variants, group_positions = product.group_positions;
  const uint32_t r = number / product.tiles, begin = number % product.tiles * product.each;
  const uint32_t end = std::min(product.segment, begin + product.each);
  const uint64_t raw_rows = product.each + kGroupRows;
  uint32_t* const scratch = raw(thread, 2 * group_positions * raw_rows);
  Activations activations[kTilePositions];
  const uint32_t* words[kTilePositions];
  for (uint32_t i = from; i < p.positions; i += group_positions) {
    const uint32_t n = std::min(group_positions, p.positions - i);
    for (uint32_t q = 0; q < n; ++q) {
      if (form.dense) {
        words[q] = words_.data() + (uint64_t{i + q} * variants + r) * plan.k.n;
        continue;
      }
      const uint64_t at = (uint64_t{i + q} * variants + r) * units;
      activations[q] = {reinterpret_cast<const int8_t*>(x.data + start_of(x, i + q, r)), d.data + 4 * start_of(d, i + q, r),
                        sums_.data() + at, products_.data() + at};
    }
    Accumulators given{{nullptr, nullptr}, {0, 0}, raw_rows};
    for (int j = 0; j < plan.accumulators; ++j) {
      const RowsForm& rows = form.rows[j];
      if (j == 1 && rows.same_rows(form.rows[0])) {  // a pair within the rows: computed once
        given.raw[1] = given.raw[0];
        given.mask[1] = rows.mask;
        continue;
      }
      const WeightShape& w = machine_.program_.weights[rows.weight];
      uint64_t row = rows.first + begin + (form.by_row ? r * rows.per_r : 0);
      if (rows.index >= 0) {
        const Source& index = plan.body_operands[rows.index];
        uint32_t word = p.chunk.tokens[i];
        if (index.reads == Reads::tensor) std::memcpy(&word, index.data + 4 * start_of(index, i, r), 4);
        const int64_t most = static_cast<int64_t>(w.rows / rows.per_index) - 1, value = static_cast<int32_t>(word);
        row += static_cast<uint64_t>(std::clamp<int64_t>(value, 0, most)) * rows.per_index;
      }
      const uint64_t group = row / kGroupRows, last = (row + (end - begin) - 1) / kGroupRows;
      uint32_t* out = scratch + static_cast<uint64_t>(j) * group_positions * raw_rows;
      const uint8_t* packed =
          machine_.packed_.data() + machine_.packed_at_[rows.weight] + group * packed_group_bytes(w.format, w.cols);
      const auto groups = static_cast<uint32_t>(last - group + 1);
      if (form.dense) {
        machine_.kernels_->dense({w.format, packed, groups, plan.k.n, words, n, out, raw_rows});
      } else {
        machine_.kernels_->qdot({w.format, packed, groups, units, activations, n, out, raw_rows});
      }
      given.raw[j] = out + row % kGroupRows;
      given.mask[j] = rows.mask;
    }
    const uint64_t first = form.by_row ? uint64_t{r} * plan.cols.n : 0;
    finish(plan, product.slot, {i, i + n, first + begin, first + end}, given, thread);
  }
}

// A max over a body: the body over c * k + k as one axis into memory, then runs of it.
void Session::run_flat_max(ChunkPlan& p, uint32_t slot) {
  const SlotPlan& plan = p.slots[slot];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0, length = plan.k.n;
  std::vector<Source> sources(plan.body_operands, plan.body_operands + plan.n_body_operands);
  for (Source& s : sources) {
    bool along_k = false;
    for (int i = 0; i < s.n_terms; ++i) along_k |= s.terms[i].axis == Axis::k;
    uint8_t n = 0;
    for (int i = 0; i < s.n_terms; ++i) {
      const PlanTerm t = s.terms[i];
      if (t.axis == Axis::k) continue;
      s.terms[n++] = t.axis != Axis::c ? t : along_k ? plan_term({Axis::c, 0, 1, 1}) : plan_term({Axis::c, 0, t.div * length, t.mul});
    }
    s.n_terms = n;
    s.uses_k = false;
  }
  SlotPlan flat = plan;
  flat.fold = Fold::none;
  flat.out = Format::f32;
  flat.two = false;
  flat.cols = {plan.cols.n * length, false};
  flat.k = {0, false};
  flat.accumulators = 0;
  flat.body_operands = nullptr;
  flat.n_body_operands = flat.n_body = 0;
  flat.finish = plan.body;
  flat.n_finish = plan.n_body;
  flat.finish_code = &machine_.program_.slots[slot].code->flat_code;
  flat.finish_operands = sources.data();
  flat.n_finish_operands = plan.n_body_operands;
  flat.stride = plan.stride * length;
  const uint64_t elements = plan.stride;
  const auto each = static_cast<uint32_t>(std::max<uint64_t>(1, 4096 / flat.stride));
  machine_.pool_->run((p.positions - from + each - 1) / each, [&](uint32_t number, int thread) {
    for (uint32_t i = from + number * each; i < std::min(p.positions, from + (number + 1) * each); ++i) {
      uint32_t* tops = raw(thread, elements + flat.stride);
      SlotPlan one = flat;
      one.data = reinterpret_cast<uint8_t*>(tops + elements) - i * flat.stride * 4;
      machine_.kernels_->run_slot(one, {i, i + 1, 0, flat.stride}, machine_.workspaces_[static_cast<size_t>(thread)].data.get());
      machine_.kernels_->max_runs({Format::f32, reinterpret_cast<const uint8_t*>(tops + elements), 0,
                                   static_cast<uint32_t>(elements), length, false, tops});
      finish(plan, slot, {i, i + 1, 0, elements}, {{tops, nullptr}, {0, 0}, 0}, thread);
    }
  });
}

void Session::run_max(ChunkPlan& p, uint32_t slot, const MaxForm& form) {
  if (form.flat) return run_flat_max(p, slot);
  const SlotPlan& plan = p.slots[slot];
  const Source& x = plan.body_operands[0];
  const uint32_t from = machine_.program_.slots[slot].code->yields ? p.first_yield : 0;
  const uint64_t elements = plan.stride;
  const auto each = static_cast<uint32_t>(std::max<uint64_t>(1, 4096 / (elements * plan.k.n + 1)));
  machine_.pool_->run((p.positions - from + each - 1) / each, [&](uint32_t number, int thread) {
    for (uint32_t i = from + number * each; i < std::min(p.positions, from + (number + 1) * each); ++i) {
      uint32_t* tops = raw(thread, elements);
      for (uint32_t r = 0; r < plan.rows.n; ++r)
        machine_.kernels_->max_runs({x.format, x.data, start_of(x, i, r), plan.cols.n, plan.k.n, form.absolute, tops + r * plan.cols.n});
      finish(plan, slot, {i, i + 1, 0, elements}, {{tops, nullptr}, {0, 0}, 0}, thread);
    }
  });
}

}  // namespace opml
