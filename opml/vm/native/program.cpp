#include "program.hpp"

#include <algorithm>

namespace opml {
namespace {

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t take(int n) {
    if (bytes_.size() - at_ < static_cast<size_t>(n)) {
      short_ = true;
      return 0;
    }
    uint64_t x = 0;
    for (int i = 0; i < n; ++i) x = x << 8 | bytes_[at_++];
    return x;
  }
  uint8_t u8() { return static_cast<uint8_t>(take(1)); }
  uint16_t u16() { return static_cast<uint16_t>(take(2)); }
  uint32_t u32() { return static_cast<uint32_t>(take(4)); }
  size_t at() const { return at_; }
  void skip_to(size_t at) { short_ |= at < at_ || at > bytes_.size(), at_ = short_ ? at_ : at; }
  bool ran_out() const { return short_; }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool short_ = false;
};

Extent extent(uint32_t word) { return {word & 0x7FFFFFFF, word >> 31 != 0}; }

const char* read_operands(Reader& in, int n, std::vector<Operand>& operands) {
  for (int j = 0; j < n; ++j) {
    const uint8_t head = in.u8();
    Operand o{};
    if (head >> 5 > 5) return "operand: unknown kind";
    if ((head >> 3 & 3) > 2) return "operand: unknown window";
    if ((head & 7) > kMaxTerms) return "operand: more terms than axes";
    o.kind = static_cast<Kind>(head >> 5);
    o.window = static_cast<Window>(head >> 3 & 3);
    o.n_terms = head & 7;
    o.index = in.u8();
    o.ref = in.u16();
    o.base = in.u32();
    for (int i = 0; i < o.n_terms; ++i) {
      const uint8_t axis = in.u8(), mask = in.u8();
      if (axis > 4) return "term: unknown axis";
      if (mask > 31) return "term: xor mask too large";
      o.terms[i] = {static_cast<Axis>(axis), mask == 0 ? 0 : 1u << (mask - 1), in.u16(), in.u32()};
      if (o.terms[i].div == 0 || o.terms[i].mul == 0) return "term: div and mul must be at least 1";
      for (int h = 0; h < i; ++h)
        if (o.terms[h].axis == o.terms[i].axis) return "operand: an axis twice";
    }
    operands.push_back(o);
  }
  return nullptr;
}

const char* read_ops(Reader& in, int n, size_t inputs, size_t pool, std::vector<ScalarOp>& ops) {
  if (inputs + static_cast<size_t>(n) > kMaxRegisters) return "scalar program: more than 128 registers";
  for (int j = 0; j < n; ++j) {
    const uint8_t op = in.u8(), a = in.u8(), b = in.u8(), c = in.u8();
    if (op >= kOps) return "scalar program: unknown operation";
    const uint8_t operands[] = {a, b, c};
    for (int i = 0; i < 3; ++i) {
      const uint8_t x = operands[i];
      const bool used = i < kOpArity[op];
      const bool known = x < kMaxRegisters ? x < inputs + static_cast<size_t>(j) : x - 128u < pool;
      if (used ? !known : x != 0) return "scalar program: an operand names no register or constant";
    }
    ops.push_back({static_cast<Op>(op), a, b, c});
  }
  return nullptr;
}

const char* read_instruction(Reader& in, size_t pool, Instruction& z) {
  const uint16_t flags = in.u16();
  const int operands = in.u8(), body_operands = in.u8(), body_ops = in.u8(), finish_ops = in.u8();
  for (uint8_t& x : z.result) x = in.u8();
  z.terms = in.u8();
  in.u8();
  if ((flags & 7) > 4 || (flags >> 3 & 7) > 4) return "instruction: unknown fold or storage format";
  z.fold = static_cast<Fold>(flags & 7);
  z.out = static_cast<Format>(flags >> 3 & 7);
  z.two = (flags >> 6 & 1) != 0;
  z.yields = (flags >> 7 & 1) != 0;
  z.is_virtual = (flags >> 8 & 1) != 0;
  z.rows = extent(in.u32());
  z.cols = extent(in.u32());
  z.k = extent(in.u32());
  if (body_operands > operands) return "instruction: more body operands than operands";
  if (z.rows.varies || z.rows.n == 0 || z.cols.n == 0) return "instruction: bad extent";
  if ((z.k.n == 0) != (z.fold == Fold::none)) return "instruction: k and fold disagree";
  if (uint64_t{z.rows.n} * z.cols.n >= 1u << 31) return "instruction: too many elements";
  if (z.fold == Fold::none && (body_operands != 0 || body_ops != 0)) return "instruction: a body without a fold";
  if (finish_ops == 0) return "instruction: an empty finish";
  if (const char* e = read_operands(in, body_operands, z.body_operands)) return e;
  if (const char* e = read_operands(in, operands - body_operands, z.finish_operands)) return e;
  if (const char* e = read_ops(in, body_ops, z.body_operands.size(), pool, z.body)) return e;
  const size_t inputs = static_cast<size_t>(z.accumulators()) + z.finish_operands.size();
  if (const char* e = read_ops(in, finish_ops, inputs, pool, z.finish)) return e;
  const size_t registers = z.body_operands.size() + z.body.size();
  const int results = z.fold == Fold::dot ? (z.two ? 4 : 2) : z.fold == Fold::max || z.fold == Fold::argmax ? 1 : 0;
  for (int i = 0; i < results; ++i) {
    const uint8_t x = z.result[i];
    if (x < kMaxRegisters ? x >= registers : x - 128u >= pool) return "instruction: the fold's result names no register";
  }
  if (z.fold == Fold::qdot) {
    if (!z.body.empty()) return "qdot: body operations";
    for (int i = 0; i < (z.two ? 4 : 3); ++i)
      if (z.result[i] >= z.body_operands.size()) return "qdot: a result names no operand";
  }
  z.body_code = lane_code(z.body.data(), static_cast<int>(z.body.size()), static_cast<int>(z.body_operands.size()), z.result, results);
  if (z.fold == Fold::max)
    z.flat_code = lane_code(z.body.data(), static_cast<int>(z.body.size()), static_cast<int>(z.body_operands.size()), nullptr, 0);
  z.finish_code = lane_code(z.finish.data(), static_cast<int>(z.finish.size()), static_cast<int>(inputs), nullptr, 0);
  return nullptr;
}

// What one operand may address, for every position below the limit.
class OperandCheck {
 public:
  OperandCheck(const Program& p, uint32_t slot) : p_(p), slot_(slot), code_(*p.slots[slot].code) {}

  const char* run() const {
    if (const char* e = section(code_.body_operands, true)) return e;
    if (const char* e = section(code_.finish_operands, false)) return e;
    return code_.fold == Fold::qdot ? qdot() : nullptr;
  }

 private:
  struct Shape {
    uint32_t rows;
    Extent cols;
  };

  uint32_t weight_number(const Operand& o) const {
    return o.kind == Kind::global ? o.ref : p_.slots[slot_].first_weight + o.ref;
  }

  const char* section(const std::vector<Operand>& operands, bool body) const {
    for (size_t j = 0; j < operands.size(); ++j)
      if (const char* e = one(operands, j, body)) return e;
    return nullptr;
  }

  const char* one(const std::vector<Operand>& operands, size_t j, bool body) const {
    const Operand& o = operands[j];
    if (o.kind != Kind::slot && o.window != Window::here) return "operand: only a slot has a window";
    if (!body && o.term(Axis::k) != nullptr) return "operand: k is not readable in finish";
    switch (o.kind) {
      case Kind::token: return o.n_terms != 0 ? "operand: a token has no address" : nullptr;
      case Kind::param: return o.ref >= p_.params || o.n_terms != 0 ? "operand: no such parameter" : nullptr;
      case Kind::axis:
        return o.ref > 3 || o.n_terms != 0 || (!body && o.ref == 2) ? "operand: no such axis here" : nullptr;
      case Kind::global:
        if (o.ref >= p_.globals) return "operand: no such global weight";
        break;
      case Kind::weight:
        if (o.ref >= p_.blocks[p_.schedule[p_.slots[slot_].entry]].weights.size()) return "operand: no such weight";
        break;
      case Kind::slot:
        if (o.ref == 0 || o.ref > slot_) return "operand: not an earlier slot";
        break;
    }
    if (o.kind != Kind::slot) {
      const WeightShape& w = p_.weights[weight_number(o)];
      return address(operands, j, {w.rows, {w.cols, false}});
    }
    const Instruction& source = *p_.slots[slot_ - o.ref].code;
    if (source.yields && !code_.yields) return "operand: reads a slot that not every position has";
    if (o.window != Window::here) {
      const Extent along = o.window == Window::over_k ? code_.k : code_.cols;
      if (!along.varies || (o.window == Window::over_k && !body)) return "operand: a window over an extent that does not vary";
      if (source.cols.varies || source.yields || source.is_virtual) return "operand: a window over such a slot";
    }
    return address(operands, j, {source.rows.n, source.cols});
  }

  static constexpr const char* kOutside = "operand: an address outside its tensor";

  const char* address(const std::vector<Operand>& operands, size_t j, Shape shape) const {
    const Operand& o = operands[j];
    const bool varies = shape.cols.varies;
    uint64_t most = o.base, row = 0;
    int along = 0;
    for (int i = 0; i < o.n_terms; ++i) {
      const Term& t = o.terms[i];
      uint64_t last = 0;
      if (t.axis == Axis::i) {
        if (varies || t.mul == kRow) return "operand: an index into rows that vary";
        const uint64_t size = uint64_t{shape.rows} * shape.cols.n;
        if (t.div != 1 || t.mask != 0 || size % t.mul != 0) return "operand: an index with a divisor";
        if (o.index >= j) return "operand: the index is not an earlier operand";
        const Operand& index = operands[o.index];
        const bool token = index.kind == Kind::token;
        if (!token && !(index.kind == Kind::slot && p_.slots[slot_ - index.ref].code->out == Format::i32))
          return "operand: the index is neither a token nor an i32 slot";
        most += size - t.mul;
        if (most >= size) return kOutside;
        continue;
      }
      const Extent n = t.axis == Axis::r ? code_.rows : t.axis == Axis::c ? code_.cols
                       : t.axis == Axis::k ? code_.k : Extent{p_.limit, false};
      if (n.n == 0) return "operand: reads an axis that does not exist";
      if (t.mask != 0 && (n.varies || t.axis == Axis::t || n.n % (2 * uint64_t{t.mask}) != 0))
        return "operand: xor leaves the axis";
      last = (n.n - 1) / t.div;
      if (varies) {
        if (t.mul == kRow) {
          row += last;
        } else {
          if ((t.axis != Axis::c && t.axis != Axis::k) || t.mul != 1 || t.div != 1 || !n.varies || n.n != shape.cols.n)
            return "operand: a varying row read otherwise than along it";
          ++along;
        }
      } else {
        most += last * (t.mul == kRow ? shape.cols.n : t.mul);
        if (most >= uint64_t{shape.rows} * shape.cols.n) return kOutside;  // after each term: the sum of all may wrap
      }
    }
    if (varies) return along != 1 || o.base != 0 || row >= shape.rows ? "operand: a varying row read otherwise than along it" : nullptr;
    return most >= uint64_t{shape.rows} * shape.cols.n ? kOutside : nullptr;
  }

  const char* qdot() const {
    const auto& operands = code_.body_operands;
    if (code_.k.varies || code_.k.n % 32 != 0) return "qdot: k is not a constant multiple of 32";
    for (const int which : {0, 3}) {
      if (which == 3 && !code_.two) break;
      const Operand& w = operands[code_.result[which]];
      if (w.kind != Kind::weight && w.kind != Kind::global) return "qdot: not a weight";
      const WeightShape& shape = p_.weights[weight_number(w)];
      if (!is_quantised(shape.format) || shape.cols % 32 != 0 || w.base % 32 != 0) return "qdot: not a row of units";
      if (const char* e = along_k(w)) return e;
    }
    const Operand &x = operands[code_.result[1]], &d = operands[code_.result[2]];
    if (x.kind != Kind::slot || x.window != Window::here || p_.slots[slot_ - x.ref].code->out != Format::i8)
      return "qdot: activations are not an i8 slot";
    if (const char* e = along_k(x)) return e;
    const Term* scale = d.term(Axis::k);
    if (scale != nullptr && (scale->mul != 1 || scale->div != 32 || scale->mask != 0)) return "qdot: scales are not one a unit";
    return nullptr;
  }

  static const char* along_k(const Operand& o) {
    const Term* k = o.term(Axis::k);
    if (k == nullptr || k->mul != 1 || k->div != 1 || k->mask != 0) return "qdot: an operand does not run along k";
    if (o.kind != Kind::slot)
      for (int i = 0; i < o.n_terms; ++i)
        if (o.terms[i].axis != Axis::k && o.terms[i].mul != kRow && o.terms[i].mul % 32 != 0) return "qdot: not a row of units";
    return nullptr;
  }

  const Program& p_;
  const uint32_t slot_;
  const Instruction& code_;
};

std::string at(const char* what, const char* unit, size_t number) {
  return std::string(what) + " (" + unit + " " + std::to_string(number) + ")";
}

}  // namespace

std::string decode_program(std::span<const uint8_t> bytes, Program& p) {
  Reader in(bytes);
  if (in.u32() != 0x6F706D6C || in.u8() != 1) return "not an opml program of version 1";
  const size_t blocks = in.u8(), entries = in.u16(), pool = in.u8(), globals = in.u8();
  p.params = in.u8();
  in.u8();
  p.limit = in.u32();
  const uint32_t length = in.u32();
  if (in.ran_out() || length != bytes.size()) return "the length differs from the header's";
  if (blocks == 0 || blocks > 64 || entries == 0 || entries > 1024 || pool > 128 || globals > 64 || p.params > 8 ||
      p.limit == 0 || p.limit > kMaxLimit)
    return "a count is out of range";

  struct Entry {
    uint32_t offset;
    uint16_t code;
    uint8_t weights;
  };
  std::vector<Entry> table;
  for (size_t i = 0; i < blocks; ++i) {
    Entry e{in.u32(), in.u16(), 0};
    in.u16();
    e.weights = in.u8();
    in.u8();
    if (e.code == 0 || e.weights > 64) return at("a count is out of range", "block", i);
    table.push_back(e);
  }
  for (size_t i = 0; i < pool; ++i) p.pool.push_back(in.u32());
  p.globals = static_cast<uint32_t>(globals);
  const auto weight = [&p](uint32_t rows, uint32_t cols, uint8_t format) -> bool {
    if (format > 8 || rows == 0 || cols == 0 || uint64_t{rows} * cols >= 1u << 31) return false;
    const auto f = static_cast<WeightFormat>(format);
    if (cols % unit_elements(f) != 0) return false;
    p.weights.push_back({rows, cols, f});
    return true;
  };
  for (size_t i = 0; i < globals; ++i) {
    const uint32_t rows = in.u32(), cols = in.u32();
    if (!weight(rows, cols, in.u8())) return at("bad shape or format", "global weight", i);
  }
  for (size_t i = 0; i < entries; ++i) {
    p.schedule.push_back(in.u8());
    if (p.schedule.back() >= blocks) return at("no such block", "schedule entry", i);
  }
  std::vector<std::vector<uint8_t>> formats(entries);
  for (size_t i = 0; i < entries; ++i)
    for (int j = 0; j < table[p.schedule[i]].weights; ++j) formats[i].push_back(in.u8());

  p.blocks.resize(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    if (in.at() != table[i].offset) return at("the body is not where the table says", "block", i);
    // A block without an entry is not run, and has to keep no rule but that of the encoding (docs/spec.md#36-validation).
    if (std::find(p.schedule.begin(), p.schedule.end(), i) == p.schedule.end()) {
      in.skip_to(i + 1 < blocks ? table[i + 1].offset : bytes.size());
      continue;
    }
    for (int j = 0; j < table[i].weights; ++j) {
      const uint32_t rows = in.u32();
      p.blocks[i].weights.push_back({rows, in.u32(), WeightFormat::f32});
    }
    std::vector<uint16_t> offsets;
    for (int j = 0; j < table[i].code; ++j) {
      offsets.push_back(in.u16());
      in.u16();
    }
    for (int j = 0; j < table[i].code; ++j) {
      if (in.ran_out()) return "the program ends early";
      if (in.at() - table[i].offset != offsets[static_cast<size_t>(j)])
        return at("an instruction is not where the table says", "block", i);
      if (const char* e = read_instruction(in, pool, p.blocks[i].code.emplace_back())) return at(e, "block", i);
    }
  }
  if (in.ran_out() || in.at() != bytes.size()) return "the program does not end where it says";

  for (size_t i = 0; i < entries; ++i) {
    const Block& block = p.blocks[p.schedule[i]];
    const auto first = static_cast<uint32_t>(p.weights.size());
    for (size_t j = 0; j < block.weights.size(); ++j)
      if (!weight(block.weights[j].rows, block.weights[j].cols, formats[i][j]))
        return at("bad shape or format of a weight", "schedule entry", i);
    for (const Instruction& code : block.code) {
      if (code.cols.varies && code.cols.n > p.limit) return "a varying extent is above the limit";
      if (code.k.varies && code.k.n > p.limit) return "a varying extent is above the limit";
      p.slots.push_back({&code, static_cast<uint32_t>(i), code.is_virtual ? -1 : static_cast<int32_t>(p.committed), first});
      if (!code.is_virtual) ++p.committed;
    }
  }
  for (uint32_t s = 0; s < p.slots.size(); ++s)
    if (const char* e = OperandCheck(p, s).run()) return at(e, "slot", s);
  const Instruction& last = *p.slots.back().code;
  if (last.is_virtual || !last.yields || last.out != Format::i32 || last.rows.n != 1 || last.cols.n != 1 || last.cols.varies)
    return "the last slot is not a sample";
  return {};
}

}  // namespace opml
