// The only file that knows Python: checks types, shapes and contiguity, and releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "kernels.hpp"
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
  for (int i = 0; i < 4; ++i)
    if (opml::kernels(static_cast<opml::Level>(i), opml::Engine::soft) != nullptr) names.emplace_back(opml::kLevelNames[i]);
  return names;
}

opml::Level level_of(const std::string& name) {
  if (name == "auto") return opml::best_level();
  for (int i = 0; i < 4; ++i)
    if (name == opml::kLevelNames[i]) return static_cast<opml::Level>(i);
  throw nb::value_error("level: expected auto, baseline, avx2, avx512 or avx512vnni");
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
}
