// Does this processor, in this thread, now, compute what softfloat.hpp defines? Run before hardware floats are used.
#pragma once

#include "kernels.hpp"

namespace opml {

// Null when all is well, else what is wrong.
const char* hardware_fault(const Kernels& native);

}  // namespace opml
