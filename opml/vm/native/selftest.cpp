#include "selftest.hpp"

#include <cstring>
#include <vector>

namespace opml {
namespace {

struct Probe {
  Op op;
  uint32_t a, b, c, expected;
  const char* fault;
};

constexpr Probe kProbes[] = {
    {Op::add, 0x3F800000, 0x33800000, 0, 0x3F800000, "rounding is not to nearest, ties to even (1 + 2^-24)"},
    {Op::add, 0x3F800001, 0x33800000, 0, 0x3F800002, "rounding is not to nearest, ties to even (1 + 2^-23 + 2^-24)"},
    {Op::sub, 0xBF800000, 0x33800001, 0, 0xBF800001, "rounding is not to nearest (-1 - 2^-24 - 2^-47)"},
    {Op::mul, 0x00800000, 0x3F000000, 0, 0x00400000, "subnormal results are flushed to zero (FTZ)"},
    {Op::mul, 0x00400000, 0x40000000, 0, 0x00800000, "subnormal operands are read as zero (DAZ)"},
    {Op::add, 0x00000001, 0x00000001, 0, 0x00000002, "subnormal sums are flushed to zero"},
    {Op::div, 0x00800000, 0x40000000, 0, 0x00400000, "subnormal quotients are flushed to zero"},
    {Op::fma, 0x3F800001, 0x3F800001, 0xBF800002, 0x28800000, "fma rounds twice"},
    {Op::fma, 0x00000001, 0x3F000000, 0x00000001, 0x00000002, "fma flushes subnormals or rounds twice"},
    {Op::fma, 0x7F7FFFFF, 0x40000000, 0xFF7FFFFF, 0x7F7FFFFF, "fma overflows before it adds"},
    {Op::sqrt, 0x40000000, 0, 0, 0x3FB504F3, "sqrt is not correctly rounded"},
    {Op::div, 0x3F800000, 0x40400000, 0, 0x3EAAAAAB, "division is not correctly rounded"},
    {Op::sub, 0x7F800000, 0x7F800000, 0, 0x7FC00000, "NaNs are not canonical"},
    {Op::max, 0x80000000, 0x00000000, 0, 0x00000000, "maximum does not order zeros"},
    {Op::f2i, 0x40200000, 0, 0, 2, "conversion to an integer does not round to even"},
    {Op::i2f, 0x01000001, 0, 0, 0x4B800000, "conversion from an integer does not round to even"},
};

// a * b + c where contraction would give the answer of a fused operation: mul then add must round twice.
constexpr ScalarOp kMulThenAdd[] = {{Op::mul, 0, 1, 0}, {Op::add, 3, 2, 0}};

// Exact integers of bytes, 16 positions against 16 rows, as the baseline has them: what a processor may do with other units.
bool same_products(const Kernels& native) {
  constexpr uint32_t positions = 16, units = 1, length = 32 * units;
  constexpr PackedFormat format = packed_format(WeightFormat::q8_0);
  std::vector<uint8_t> packed(format.bytes);
  for (uint32_t i = 0; i < format.scales; ++i) packed[i] = static_cast<uint8_t>(i * 37 + 5);
  for (uint32_t i = 0; i < kGroupRows; ++i) packed[format.scales + 2 * i + 1] = 0x3C;  // scales of 1
  std::vector<int8_t> q(positions * length);
  for (uint32_t i = 0; i < q.size(); ++i) q[i] = static_cast<int8_t>(i * 91 + 17);
  const uint32_t one = 0x3F800000;
  uint8_t scale[4];
  std::memcpy(scale, &one, sizeof scale);
  int32_t sums[positions * units];
  uint32_t products[positions * units];
  Activations x[positions];
  for (uint32_t i = 0; i < positions; ++i) {
    native.prepare_activations(q.data() + i * length, scale, units, sums + i, products + i);
    x[i] = {q.data() + i * length, scale, sums + i, products + i};
  }
  uint32_t found[positions * kGroupRows] = {}, expected[positions * kGroupRows];
  native.qdot({WeightFormat::q8_0, packed.data(), 1, units, x, positions, found, kGroupRows});
  kernels_baseline(Engine::native)->qdot({WeightFormat::q8_0, packed.data(), 1, units, x, positions, expected, kGroupRows});
  return std::memcmp(found, expected, sizeof found) == 0;
}

}  // namespace

const char* hardware_fault(const Kernels& native) {
  for (const Probe& probe : kProbes) {
    const ScalarOp op{probe.op, 0, static_cast<uint8_t>(kOpArity[static_cast<int>(probe.op)] > 1 ? 1 : 0),
                      static_cast<uint8_t>(kOpArity[static_cast<int>(probe.op)] > 2 ? 2 : 0)};
    const uint32_t* inputs[] = {&probe.a, &probe.b, &probe.c};
    uint32_t result = 0;
    native.eval_program(&op, 1, inputs, 3, nullptr, 0, &result, 1);
    if (result != probe.expected) return probe.fault;
  }
  const uint32_t a = 0x3F800001, b = 0x3F800001, c = 0xBF800002;
  const uint32_t* inputs[] = {&a, &b, &c};
  uint32_t result = 1;
  native.eval_program(kMulThenAdd, 2, inputs, 3, nullptr, 0, &result, 1);
  if (result != 0) return "a multiplication and an addition were contracted into one operation";
  return same_products(native) ? nullptr : "sums of products of bytes are wrong";
}

}  // namespace opml
