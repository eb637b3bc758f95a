// The only file that knows Python: checks types, shapes and contiguity, and releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "kernels.hpp"
#include "machine.hpp"
#include "selftest.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Words = nb::ndarray<const uint32_t, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::c_contig, nb::device::cpu>;

opml::Engine engine_of(const std::string& name) {
  if (name == "soft") return opml::Engine::soft;
  if (name == "native") return opml::Engine::native;
  throw nb::value_error("engine: expected soft or native");
}

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  for (int i = 0; i < opml::kLevels; ++i)
    if (opml::kernels(static_cast<opml::Level>(i), opml::Engine::soft) != nullptr) names.emplace_back(opml::kLevelNames[i]);
  return names;
}

opml::Level level_of(const std::string& name) {
  if (name == "auto") return opml::best_level();
  for (int i = 0; i < opml::kLevels; ++i)
    if (name == opml::kLevelNames[i]) return static_cast<opml::Level>(i);
  std::string expected = "level: expected auto";
  for (const char* known : opml::kLevelNames) expected += std::string(", ") + known;
  throw nb::value_error(expected.c_str());
}

// Kernels that may be used: the level exists, and hardware floats passed the self-test.
const opml::Kernels& kernels_for(const std::string& engine, const std::string& level) {
  const opml::Engine chosen = engine_of(engine);
  const opml::Kernels* found = opml::kernels(level_of(level), chosen);
  if (found == nullptr) throw std::runtime_error("level " + level + ": this processor or build does not have it");
  if (chosen == opml::Engine::native) {
    const char* fault = opml::hardware_fault(*found);
    if (fault != nullptr) throw std::runtime_error(std::string("hardware floats failed the self-test: ") + fault);
  }
  return *found;
}

template <class T>
nb::ndarray<nb::numpy, T> new_array(std::initializer_list<size_t> shape) {
  size_t n = 1;
  for (const size_t x : shape) n *= x;
  T* data = new T[n == 0 ? 1 : n];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape, owner);
}

std::vector<opml::ScalarOp> decode_ops(nb::bytes code, size_t inputs, size_t pool) {
  const auto* bytes = static_cast<const uint8_t*>(code.data());
  if (code.size() % 4 != 0 || code.size() == 0) throw nb::value_error("code: expected 4 bytes an operation, at least one");
  std::vector<opml::ScalarOp> ops;
  for (size_t i = 0; i < code.size(); i += 4) {
    const size_t known = inputs + i / 4;
    if (known >= opml::kMaxRegisters) throw nb::value_error("code: more than 128 registers");
    if (bytes[i] >= opml::kOps) throw nb::value_error("code: unknown operation");
    for (size_t j = 1; j <= 3; ++j) {
      const uint8_t x = bytes[i + j];
      const bool used = j <= opml::kOpArity[bytes[i]];
      const bool fine = used ? (x < 128 ? x < known : x - 128u < pool) : x == 0;
      if (!fine) throw nb::value_error("code: an operand names no register or constant");
    }
    ops.push_back({static_cast<opml::Op>(bytes[i]), bytes[i + 1], bytes[i + 2], bytes[i + 3]});
  }
  return ops;
}

nb::ndarray<nb::numpy, uint32_t> eval_program(const std::string& engine, nb::bytes code, Words inputs, Words pool,
                                              const std::string& level) {
  if (inputs.ndim() != 2) throw nb::value_error("inputs: expected uint32 [n_inputs, N]");
  if (pool.ndim() != 1 || pool.shape(0) > 128) throw nb::value_error("pool: expected at most 128 words");
  if (inputs.shape(0) > 128) throw nb::value_error("inputs: more than 128 registers");
  const auto ops = decode_ops(code, inputs.shape(0), pool.shape(0));
  const opml::Kernels& k = kernels_for(engine, level);
  const size_t n = inputs.shape(1);
  auto out = new_array<uint32_t>({n});
  std::vector<const uint32_t*> rows;
  for (size_t i = 0; i < inputs.shape(0); ++i) rows.push_back(inputs.data() + i * n);
  {
    nb::gil_scoped_release release;
    k.eval_program(ops.data(), static_cast<int>(ops.size()), rows.data(), static_cast<int>(rows.size()), pool.data(),
                   static_cast<int>(pool.shape(0)), out.data(), n);
  }
  return out;
}

nb::ndarray<nb::numpy, uint8_t> keccak256_many(Bytes messages, int tag, const std::string& level) {
  if (messages.ndim() != 2) throw nb::value_error("messages: expected uint8 [N, length]");
  if (tag < 0 || tag > 255) throw nb::value_error("tag: expected 0 ... 255");
  const size_t n = messages.shape(0), length = messages.shape(1);
  const opml::Kernels& k = kernels_for("soft", level);
  auto out = new_array<uint8_t>({n, 32});
  {
    nb::gil_scoped_release release;
    std::vector<opml::HashJob> jobs(n);
    for (size_t i = 0; i < n; ++i)
      jobs[i] = {messages.data() + i * length, length, out.data() + 32 * i, static_cast<uint8_t>(tag)};
    k.keccak(jobs.data(), n);
  }
  return out;
}

nb::bytes keccak256(nb::bytes data) {
  if (data.size() == 0) throw nb::value_error("data: expected at least one byte");
  const auto* bytes = static_cast<const uint8_t*>(data.data());
  uint8_t digest[32];
  const opml::HashJob job{bytes + 1, data.size() - 1, digest, bytes[0]};
  opml::kernels(opml::Level::baseline, opml::Engine::soft)->keccak(&job, 1);
  return nb::bytes(digest, 32);
}


// Python buffers that stay locked in place.
class Buffers {
 public:
  Buffers() = default;
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    for (Py_buffer& b : held_) PyBuffer_Release(&b);
  }
  std::span<const uint8_t> add(nb::handle object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_SIMPLE) != 0) throw nb::python_error();
    held_.push_back(view);
    return {static_cast<const uint8_t*>(view.buf), static_cast<size_t>(view.len)};
  }

 private:
  std::vector<Py_buffer> held_;
};

// Asks Python every now and then whether a signal has raised an exception; false until it has.
class SignalCheck {
 public:
  bool operator()() {
    if (std::chrono::steady_clock::now() < next_) return false;
    next_ = std::chrono::steady_clock::now() + kEvery;
    nb::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  }

 private:
  static constexpr std::chrono::milliseconds kEvery{50};
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + kEvery;
};

class PyMachine {
 public:
  PyMachine(nb::bytes program, nb::sequence weights, const std::string& engine, int threads, const std::string& level,
            bool generic) {
    if (threads < 1 || threads > 256) throw nb::value_error("threads: expected 1 ... 256");
    const opml::Kernels& k = kernels_for(engine, level);
    std::vector<std::span<const uint8_t>> spans;
    for (nb::handle weight : weights) spans.push_back(buffers.add(weight));
    const std::span<const uint8_t> code{static_cast<const uint8_t*>(program.data()), program.size()};
    std::string fault;
    {
      nb::gil_scoped_release release;
      fault = machine.open(code, std::move(spans), k, {threads, generic, SignalCheck{}});
    }
    if (PyErr_Occurred() != nullptr) throw nb::python_error();
    if (!fault.empty()) throw nb::value_error(fault.c_str());
  }
  Buffers buffers;
  opml::Machine machine;
};

nb::bytes bytes_of(const opml::Digest& d) { return nb::bytes(d.data(), d.size()); }

class PySession {
 public:
  PySession(PyMachine& owner, std::vector<uint32_t> params, const std::vector<std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>>& faults)
      : machine_(owner.machine), session_(owner.machine, check(owner, params), faults_of(owner, faults)) {}

  std::vector<uint32_t> feed(const std::vector<uint32_t>& tokens, uint32_t yields_from, bool commit,
                             std::optional<uint32_t> capture = {}) {
    if (capture && *capture >= machine_.program().slots.size()) throw nb::value_error("capture: no such slot");
    const uint32_t first = session_.length();
    if (tokens.size() > machine_.program().limit - first) throw nb::value_error("feed: more positions than the program's limit");
    if (commit && session_.position_roots().size() != first) throw nb::value_error("feed: earlier positions were not committed");
    if (first > 0 && std::max(yields_from, session_.yields_from()) > first && yields_from != session_.yields_from())
      throw nb::value_error("feed: yields_from differs from before");
    const opml::Session::Options options{yields_from, commit, capture, SignalCheck{}};
    bool complete;
    {
      nb::gil_scoped_release release;
      complete = session_.feed(tokens, options);
    }
    if (!complete) throw nb::python_error();
    std::vector<uint32_t> samples;
    for (uint32_t t = first; t < session_.length(); ++t)
      if (const auto sample = session_.sample(t)) samples.push_back(*sample);
    return samples;
  }

  uint32_t decode(uint32_t token, bool commit) {
    const uint32_t from = std::min(session_.yields_from(), session_.length());
    return feed({token}, from, commit).back();
  }

  std::vector<uint64_t> profile() { return session_.profile(); }
  nb::bytes captured() const { return nb::bytes(session_.captured().data(), session_.captured().size()); }

  uint32_t sample(uint32_t position) const {
    const auto found = session_.sample(position);
    if (!found) throw nb::index_error("sample: the position yields no token");
    return *found;
  }

  nb::list position_roots() const {
    nb::list z;
    for (const opml::Digest& d : session_.position_roots()) z.append(bytes_of(d));
    return z;
  }

  nb::bytes trace_root(std::optional<uint32_t> positions) {
    const auto known = static_cast<uint32_t>(session_.position_roots().size());
    if (positions.value_or(known) > known) throw nb::value_error("trace_root: not that many positions were committed");
    return bytes_of(session_.trace_root(positions.value_or(known)));
  }

  nb::dict recompute(uint32_t position) {
    check_position(position);
    std::vector<std::vector<uint8_t>> slots;
    {
      nb::gil_scoped_release release;
      session_.recompute(position, &slots, nullptr);
    }
    nb::dict z;
    for (size_t s = 0; s < slots.size(); ++s)
      if (!slots[s].empty()) z[nb::int_(s)] = nb::bytes(slots[s].data(), slots[s].size());
    return z;
  }

  std::optional<nb::bytes> kept(uint32_t position, uint32_t slot) const {
    check_position(position);
    if (slot >= machine_.program().slots.size()) throw nb::index_error("no such slot");
    const auto found = session_.kept(position, slot);
    if (!found) return {};
    return nb::bytes(found->data(), found->size());
  }

  nb::list slot_roots(uint32_t position) {
    check_position(position);
    std::vector<opml::Digest> roots;
    {
      nb::gil_scoped_release release;
      session_.recompute(position, nullptr, &roots);
    }
    nb::list z;
    for (const opml::Digest& d : roots) z.append(bytes_of(d));
    return z;
  }

  uint32_t length() const { return session_.length(); }
  const std::vector<uint32_t>& tokens() const { return session_.tokens(); }

 private:
  static std::vector<uint32_t> check(const PyMachine& owner, const std::vector<uint32_t>& params) {
    if (params.size() > 8) throw nb::value_error("params: expected at most 8 words");
    (void)owner;
    return params;
  }
  static std::vector<opml::Fault> faults_of(const PyMachine& owner,
                                            const std::vector<std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>>& faults) {
    std::vector<opml::Fault> z;
    for (const auto& [position, slot, element, mask] : faults) {
      const auto& slots = owner.machine.program().slots;
      if (slot >= slots.size()) throw nb::value_error("faults: no such slot");
      if (element >= uint64_t{slots[slot].code->rows.n} * slots[slot].code->cols.at(position))
        throw nb::value_error("faults: no such element");
      z.push_back({position, slot, element, mask});
    }
    return z;
  }
  void check_position(uint32_t position) const {
    if (position >= session_.length()) throw nb::index_error("the position was not fed");
  }

  opml::Machine& machine_;
  opml::Session session_;
};

nb::bytes tensor_root(nb::handle data, uint64_t rows, uint64_t row_bytes, uint64_t leaf_bytes, int leaf_tag, int node_tag) {
  Buffers buffers;
  const auto bytes = buffers.add(data);
  if (rows == 0 || row_bytes == 0 || leaf_bytes == 0 || rows > bytes.size() || row_bytes > bytes.size() ||
      rows * row_bytes != bytes.size())
    throw nb::value_error("data: expected rows * row_bytes bytes");
  const opml::Kernels& k = kernels_for("soft", "auto");
  opml::Digest root;
  {
    nb::gil_scoped_release release;
    const opml::Cut cut{bytes.data(), rows, row_bytes, leaf_bytes, root.data()};
    const auto node = static_cast<opml::Tag>(node_tag);
    opml::HashScratch scratch;
    opml::tensor_roots(k, &cut, 1, static_cast<opml::Tag>(leaf_tag), node, opml::Padding(k, node), scratch);
  }
  return bytes_of(root);
}

}  // namespace

NB_MODULE(_native, m) {
  m.doc() = "Native engines of opml (docs/spec.md): scalar programs, keccak256, the interpreter.";
  m.def("levels", &available_levels, "Instruction-set levels of this processor, slowest first.");
  m.def(
      "hardware_fault",
      [](const std::string& level) -> std::optional<std::string> {
        const opml::Kernels* found = opml::kernels(level_of(level), opml::Engine::native);
        if (found == nullptr) return "level " + level + ": this processor or build does not have it";
        const char* fault = opml::hardware_fault(*found);
        return fault == nullptr ? std::nullopt : std::optional<std::string>(fault);
      },
      "level"_a = "auto", "None, or why hardware floats must not be used on this machine.");
  m.def(
      "op_names",
      [] {
        std::vector<std::string> names;
        for (const char* name : opml::kOpNames) {
          names.emplace_back(name);
          if (names.back().back() == '_') names.back().pop_back();
        }
        return names;
      },
      "Names of the scalar operations in the order of their codes.");
  m.def("eval_program", &eval_program, "engine"_a, "code"_a, "inputs"_a, "pool"_a, "level"_a = "auto",
        "Runs a scalar program (4 bytes an operation) over inputs uint32 [n_inputs, N]; the last register, uint32 [N].");
  m.def("keccak256_many", &keccak256_many, "messages"_a, "tag"_a, "level"_a = "auto",
        "keccak256(tag || message) of each row of uint8 [N, length]; uint8 [N, 32].");
  m.def("keccak256", &keccak256, "data"_a, "keccak256 of at least one byte.");

  m.def("tensor_root", &tensor_root, "data"_a, "rows"_a, "row_bytes"_a, "leaf_bytes"_a, "leaf_tag"_a, "node_tag"_a,
        "Root of a tensor cut row by row into leaves of leaf_bytes (docs/spec.md#42-trees).");
  nb::class_<PyMachine>(m, "Machine", "A program with its weights, ready to run; weights are used in place.")
      .def(nb::init<nb::bytes, nb::sequence, const std::string&, int, const std::string&, bool>(), "program"_a, "weights"_a,
           "engine"_a = "native", "threads"_a = 1, "level"_a = "auto", "generic"_a = false,
           "program: encoded. weights: buffers in the order of the weights tree. generic: no\n"
           "recognised fast kernels (for tests). Raises ValueError for a bad program or\n"
           "weights, RuntimeError where the engine can't run here.")
      .def(
          "new_session",
          [](PyMachine& machine, std::vector<uint32_t> params,
             const std::vector<std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>>& faults) {
            return new PySession(machine, std::move(params), faults);
          },
          "params"_a = std::vector<uint32_t>{}, "faults"_a = std::vector<std::tuple<uint32_t, uint32_t, uint64_t, uint32_t>>{},
          nb::keep_alive<0, 1>(), nb::rv_policy::take_ownership,
          "params: request words. faults: (position, slot, element, xor) applied to stored values as they are computed.");
  nb::class_<PySession>(m, "Session", "One run: tokens go in, samples and position roots come out.")
      .def("feed", &PySession::feed, "tokens"_a, "yields_from"_a, "commit"_a = true,
           "capture"_a = nb::none(), "Computes the next positions as one batch; the samples of those positions t >= yields_from.\n"
           "capture: number of a slot whose stored bytes, position after position, `captured` then has.")
      .def("profile", &PySession::profile, "Nanoseconds by slot since the first call, then those of hashing.")
      .def_prop_ro("captured", &PySession::captured, "Stored bytes of the slot that the last feed captured.")
      .def("decode", &PySession::decode, "token"_a, "commit"_a = true, "Computes one yielding position; its sample.")
      .def("sample", &PySession::sample, "position"_a, "The token that a position yielded.")
      .def("position_roots", &PySession::position_roots, "Roots of all committed positions, 32 bytes each.")
      .def("trace_root", &PySession::trace_root, "positions"_a = nb::none(), "Root over the first positions (default: all).")
      .def("recompute", &PySession::recompute, "position"_a, "Stored bytes of every slot of one position, by slot number.")
      .def("kept", &PySession::kept, "position"_a, "slot"_a,
           "Stored bytes of a slot of one position, without computing them, or None where they were not kept.")
      .def("slot_roots", &PySession::slot_roots, "position"_a, "Tensor roots of one position, by ordinal.")
      .def_prop_ro("length", &PySession::length, "Positions computed.")
      .def_prop_ro("tokens", &PySession::tokens, "Tokens fed.");
}
