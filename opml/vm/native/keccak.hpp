// keccak256 as Ethereum has it (padding 0x01), of a one-byte tag and data, for many messages at once.
#pragma once

#include <cstdint>

#include "isa_namespace.hpp"

namespace opml {

inline constexpr uint64_t kKeccakRate = 136;

struct HashJob {
  const uint8_t* data;
  uint64_t length;
  uint8_t* digest;  // 32 bytes
  uint8_t tag;
};

// Rate blocks of a tagged message of `length` bytes, padding included.
constexpr uint64_t keccak_blocks(uint64_t length) { return (length + 1) / kKeccakRate + 1; }

}  // namespace opml
