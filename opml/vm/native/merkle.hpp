// Trees of docs/spec.md#42-trees over many tensors at once, level by level, so that the lanes of keccak stay full.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels.hpp"

namespace opml {

using Digest = std::array<uint8_t, 32>;

enum class Tag : uint8_t {
  empty = 0x00,
  tensor_leaf = 0x01,
  weight_leaf = 0x02,
  tensor = 0x11,
  position = 0x12,
  trace = 0x13,
  weight = 0x14,
};

constexpr uint32_t clog2(uint64_t n) {
  uint32_t depth = 0;
  while ((uint64_t{1} << depth) < n) ++depth;
  return depth;
}

// E(i) of one tree's tag.
class Padding {
 public:
  Padding(const Kernels& k, Tag tag);
  const Digest& at(uint32_t height) const { return hashes_[height]; }

 private:
  std::array<Digest, 33> hashes_;
};

// A tensor to commit to: rows of `row_bytes`, each cut into leaves of `leaf_bytes`, the row's last one shorter.
struct Cut {
  const uint8_t* data;
  uint64_t rows, row_bytes, leaf_bytes;
  uint8_t* root;  // 32 bytes, written
  uint64_t leaves() const { return rows * ((row_bytes + leaf_bytes - 1) / leaf_bytes); }
};

// Buffers that are kept from call to call.
struct HashScratch {
  std::vector<HashJob> jobs, sorted;
  std::vector<Digest> hashes, above;
};

// Roots of tensors; a thread may run it on its own scratch.
void tensor_roots(const Kernels& k, const Cut* cuts, size_t n, Tag leaf, Tag node, const Padding& padding, HashScratch& s);

// The root over `count` >= 1 hashes that lie one after the other, in a tree of `depth` levels.
Digest tree_root(const Kernels& k, const Digest* hashes, uint64_t count, uint32_t depth, Tag node, const Padding& padding,
                 HashScratch& s);

}  // namespace opml
