// The scalar operations of docs/spec.md#12-scalar-operations; a test holds this list to opml.ops.table.OPS.
#pragma once

#include <cstdint>

#define OPML_SCALAR_OPS(X)                                                                                        \
  X(add, 2) X(sub, 2) X(mul, 2) X(div, 2) X(sqrt, 1) X(fma, 3) X(neg, 1) X(abs, 1) X(min, 2) X(max, 2) X(lt, 2)    \
  X(le, 2) X(eq, 2) X(i2f, 1) X(f2i, 1) X(iadd, 2) X(isub, 2) X(imul, 2) X(imulhi, 2) X(and_, 2) X(or_, 2)        \
  X(xor_, 2) X(shl, 2) X(shr, 2) X(sar, 2) X(sel, 3)

namespace opml {

enum class Op : uint8_t {
#define OPML_OP(name, arity) name,
  OPML_SCALAR_OPS(OPML_OP)
#undef OPML_OP
};

inline constexpr const char* kOpNames[] = {
#define OPML_OP(name, arity) #name,
    OPML_SCALAR_OPS(OPML_OP)
#undef OPML_OP
};

inline constexpr uint8_t kOpArity[] = {
#define OPML_OP(name, arity) arity,
    OPML_SCALAR_OPS(OPML_OP)
#undef OPML_OP
};

inline constexpr int kOps = sizeof(kOpArity);
inline constexpr int kMaxRegisters = 128;
inline constexpr int kLanes = 256;    // most lanes of a block
inline constexpr int kLaneStep = 16;  // lane counts are rounded up to this, so that loops need no tail

struct ScalarOp {
  Op op;
  uint8_t a, b, c;  // below 128 a register, else pool[n - 128]
};

}  // namespace opml
