#include "machine.hpp"

#include <algorithm>
#include <cstring>

namespace opml {

std::string Machine::open(std::span<const uint8_t> program, std::vector<std::span<const uint8_t>> weights,
                          const Kernels& kernels, const Options& options) {
  if (const std::string fault = decode_program(program, program_); !fault.empty()) return "program: " + fault;
  if (weights.size() != program_.weights.size())
    return "weights: the program has " + std::to_string(program_.weights.size()) + ", found " + std::to_string(weights.size());
  for (size_t i = 0; i < weights.size(); ++i)
    if (weights[i].size() != program_.weights[i].bytes())
      return "weight " + std::to_string(i) + ": expected " + std::to_string(program_.weights[i].bytes()) + " bytes, found " +
             std::to_string(weights[i].size());
  weights_ = std::move(weights);
  kernels_ = &kernels;
  pool_ = std::make_unique<ThreadPool>(options.threads);
  workspaces_.resize(static_cast<size_t>(pool_->threads()));
  for (auto& w : workspaces_) w.reset(kernels.workspace_bytes);
  for (auto& w : workspaces_) std::memset(w.data.get(), 0, w.size);
  scratch_.resize(static_cast<size_t>(pool_->threads()));
  constants_.reset(std::max<size_t>(1, program_.pool.size()) * kLanes);
  for (size_t i = 0; i < program_.pool.size(); ++i)
    std::fill_n(constants_.data.get() + i * kLanes, kLanes, program_.pool[i]);
  tensor_padding_.emplace(kernels, Tag::tensor);
  position_padding_.emplace(kernels, Tag::position);
  trace_padding_.emplace(kernels, Tag::trace);

  const size_t slots = program_.slots.size();
  forms_.resize(slots);
  keys_packed_.assign(slots, 0);
  raw_.resize(static_cast<size_t>(pool_->threads()));
  sets_.resize(raw_.size());
  for (auto& raw : raw_) raw.reset(kRawWords);
  for (uint32_t s = 0; s < slots && !options.generic; ++s) {
    if (std::holds_alternative<CoveredForm>(forms_[s])) continue;
    forms_[s] = recognise(program_, s);
    if (std::holds_alternative<SoftmaxForm>(forms_[s])) forms_[s + 1] = forms_[s + 2] = CoveredForm{};
    if (const auto* score = std::get_if<ScoreForm>(&forms_[s])) keys_packed_[score->key_slot] = 1;
  }
  together_.assign(slots, 0);
  for (uint32_t s = 0, end; s < slots; s = end) {
    end = s + 1;
    if (const auto* first = std::get_if<QdotForm>(&forms_[s]))
      for (const QdotForm* next; end < slots && (next = std::get_if<QdotForm>(&forms_[end])) != nullptr; ++end)
        if (!computed_together(program_, s, *first, end, *next)) break;
    together_[s] = end;
  }
  const MappedFiles files;
  for (const auto& weight : weights_) of_file_.push_back(files.hold(weight.data(), weight.size()));
  find_looked_up();
  place_packed();
  own_small_weights();
  if (!pack_weights(options.interrupted)) return "interrupted";
  kept_.assign(slots, 0);
  last_reader_.assign(slots, 0);
  entry_end_.assign(program_.schedule.size(), 0);
  for (uint32_t s = 0; s < slots; ++s) {
    last_reader_[s] = s;
    entry_end_[program_.slots[s].entry] = s;
    for (const auto* section : {&program_.slots[s].code->body_operands, &program_.slots[s].code->finish_operands}) {
      for (const Operand& o : *section) {
        if (o.kind != Kind::slot) continue;
        last_reader_[s - o.ref] = s;
        if (o.window != Window::here && !std::holds_alternative<ScoreForm>(forms_[s])) kept_[s - o.ref] = 1;
      }
    }
  }
  // What a slot reads stays until `last` is written too.
  const auto keep_read = [&](uint32_t slot, uint32_t last) {
    for (const auto* section : {&program_.slots[slot].code->body_operands, &program_.slots[slot].code->finish_operands})
      for (const Operand& o : *section)
        if (o.kind == Kind::slot) last_reader_[slot - o.ref] = std::max(last_reader_[slot - o.ref], last);
  };
  for (uint32_t s = 0; s < slots; ++s) {
    for (uint32_t x = s; x + 1 < together_[s]; ++x) {
      keep_read(x, together_[s] - 1);
      last_reader_[x] = std::max(last_reader_[x], together_[s] - 1);
    }
    if (std::holds_alternative<SoftmaxForm>(forms_[s])) {
      for (const uint32_t early : {s, s + 1}) keep_read(early, s + 2);
    } else if (const auto* greedy = std::get_if<GreedyForm>(&forms_[s])) {  // noise may be computed as late as the sample
      for (const uint32_t late : {greedy->random_slot, greedy->noise_slot}) keep_read(late, s);
    }
  }
  return {};
}

// Tries noise on every word that it can depend on.
bool Machine::noise_is_finite(const GreedyForm& form) {
  if (const auto found = finite_.find(form.noise_slot); found != finite_.end()) return found->second;
  const Instruction& code = *program_.slots[form.noise_slot].code;
  constexpr uint32_t each = 1 << 14;
  std::atomic<bool> finite{true};
  pool_->run(std::max(1u, (1u << (32 - form.shift)) / each), [&](uint32_t task, int) {
    std::vector<uint32_t> words(each), noise(each);
    for (uint32_t i = 0; i < each; ++i) words[i] = (task * each + i) << form.shift;
    const uint32_t* inputs[] = {words.data()};
    kernels_->eval_program(code.finish.data(), static_cast<int>(code.finish.size()), inputs, 1, program_.pool.data(),
                           static_cast<int>(program_.pool.size()), noise.data(), each);
    bool fine = true;
    for (const uint32_t x : noise) fine &= (x & 0x7F800000) != 0x7F800000;
    if (!fine) finite = false;
  });
  return finite_[form.noise_slot] = finite;
}

void Machine::find_looked_up() {
  looked_up_.resize(program_.slots.size());
  for (uint32_t s = 0; s < program_.slots.size(); ++s) {
    const Slot& slot = program_.slots[s];
    if (std::holds_alternative<QdotForm>(forms_[s])) continue;  // reads packed rows
    for (const auto* section : {&slot.code->body_operands, &slot.code->finish_operands})
      for (const Operand& o : *section) {
        if (o.index == kNoIndex || (o.kind != Kind::weight && o.kind != Kind::global)) continue;
        const uint32_t number = o.kind == Kind::global ? o.ref : slot.first_weight + o.ref;
        if (of_file_[number]) looked_up_[s].push_back(number);
      }
  }
}

// A touched page of a file maps its neighbours too, megabytes of them where the system caches files in large pieces: weights
// that are read all the time and small are copied, so that none of the file stays mapped for them.
void Machine::own_small_weights() {
  constexpr uint64_t kSmall = 1 << 18;
  std::vector<uint8_t> copied(weights_.size());
  for (size_t i = 0; i < weights_.size(); ++i) copied[i] = of_file_[i] && packed_at_[i] == kNotPacked && weights_[i].size() <= kSmall;
  for (const auto& numbers : looked_up_)
    for (const uint32_t number : numbers) copied[number] = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < weights_.size(); ++i)
    if (copied[i]) bytes += (weights_[i].size() + 63) & ~uint64_t{63};
  owned_.reset(bytes);
  uint8_t* to = owned_.data();
  for (size_t i = 0; i < weights_.size(); ++i) {
    const std::span<const uint8_t> from = weights_[i];
    if (copied[i]) {
      std::memcpy(to, from.data(), from.size());
      weights_[i] = {to, from.size()};
      let_go(from.data(), from.size());
      of_file_[i] = 0;
      to += (from.size() + 63) & ~uint64_t{63};
    }
  }
  let_go_of_files();  // their neighbours
}

void Machine::let_go_of_files() const {
  for (size_t i = 0; i < weights_.size(); ++i)
    if (of_file_[i]) let_go(weights_[i].data(), weights_[i].size());
}

void Machine::place_packed() {
  packed_at_.assign(weights_.size(), kNotPacked);
  uint64_t bytes = 0;
  for (size_t s = 0; s < forms_.size(); ++s) {
    const auto* qdot = std::get_if<QdotForm>(&forms_[s]);
    for (int j = 0; qdot != nullptr && j < program_.slots[s].code->accumulators(); ++j) {
      const uint32_t number = qdot->rows[j].weight;
      if (packed_at_[number] != kNotPacked) continue;
      packed_at_[number] = bytes;
      bytes += (packed_bytes(program_.weights[number]) + 63) & ~uint64_t{63};
    }
  }
  packed_.reset(bytes);
}

// What is read of a file is let go slice by slice, with what was mapped as a neighbour. False when interrupted.
bool Machine::pack_weights(const std::function<bool()>& interrupted) {
  uint64_t mapped = 0;
  for (size_t number = 0; number < weights_.size(); ++number) {
    if (packed_at_[number] == kNotPacked) continue;
    const WeightShape& w = program_.weights[number];
    const uint8_t* const data = weights_[number].data();
    const uint64_t group_bytes = uint64_t{kGroupRows} * w.row_bytes();
    const uint32_t groups = (w.rows + kGroupRows - 1) / kGroupRows, parts = 4 * static_cast<uint32_t>(pool_->threads());
    const auto slice = static_cast<uint32_t>(std::clamp<uint64_t>(kSliceBytes / group_bytes, 1, groups));
    for (uint32_t first = 0; first < groups; first += slice) {
      const uint32_t end = std::min(groups, first + slice), each = std::clamp((end - first + parts - 1) / parts, 1u, 64u);
      pool_->run((end - first + each - 1) / each, [&](uint32_t i, int) {
        pack_rows(w, data, first + i * each, std::min(end, first + (i + 1) * each), packed_.data() + packed_at_[number]);
      });
      mapped += (end - first) * group_bytes;
      if (mapped >= kSliceBytes) let_go_of_files(), mapped = 0;
      if (interrupted && interrupted()) return false;
    }
  }
  let_go_of_files();
  return true;
}

}  // namespace opml
