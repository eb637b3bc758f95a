#include "merkle.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace opml {
namespace {

HashJob node_job(const uint8_t* children, Tag tag, uint8_t* out) { return {children, 64, out, static_cast<uint8_t>(tag)}; }

// Jobs of equal length side by side: a group of lanes takes as long as its longest message.
void run_sorted(const Kernels& k, std::vector<HashJob>& jobs, std::vector<HashJob>& sorted) {
  uint64_t most = 0;
  for (const HashJob& job : jobs) most = std::max(most, keccak_blocks(job.length));
  std::vector<size_t> start(most + 1, 0);
  for (const HashJob& job : jobs) ++start[keccak_blocks(job.length) - 1];
  size_t sum = 0;
  for (size_t& x : start) sum += std::exchange(x, sum);
  sorted.resize(jobs.size());
  for (const HashJob& job : jobs) sorted[start[keccak_blocks(job.length) - 1]++] = job;
  k.keccak(sorted.data(), sorted.size());
}

}  // namespace

Padding::Padding(const Kernels& k, Tag tag) {
  const HashJob empty{hashes_[1].data(), 0, hashes_[0].data(), static_cast<uint8_t>(Tag::empty)};
  k.keccak(&empty, 1);
  for (size_t i = 1; i < hashes_.size(); ++i) {
    uint8_t children[64];
    std::memcpy(children, hashes_[i - 1].data(), 32);
    std::memcpy(children + 32, hashes_[i - 1].data(), 32);
    const HashJob job = node_job(children, tag, hashes_[i].data());
    k.keccak(&job, 1);
  }
}

void tensor_roots(const Kernels& k, const Cut* cuts, size_t n, Tag leaf, Tag node, const Padding& padding, HashScratch& s) {
  // Hashes of a tensor lie together, with room for one of padding.
  uint64_t total = 0;
  for (size_t i = 0; i < n; ++i) total += cuts[i].leaves() + 1;
  s.hashes.resize(total);
  s.above.resize(total);
  s.jobs.clear();
  uint64_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    const Cut& c = cuts[i];
    uint64_t number = at;
    for (uint64_t row = 0; row < c.rows; ++row)
      for (uint64_t b = 0; b < c.row_bytes; b += c.leaf_bytes)
        s.jobs.push_back({c.data + row * c.row_bytes + b, std::min(c.leaf_bytes, c.row_bytes - b), s.hashes[number++].data(),
                          static_cast<uint8_t>(leaf)});
    at += c.leaves() + 1;
  }
  run_sorted(k, s.jobs, s.sorted);
  for (uint32_t height = 0;; ++height) {
    s.jobs.clear();
    at = 0;
    for (size_t i = 0; i < n; ++i) {
      const uint64_t leaves = cuts[i].leaves(), depth = clog2(leaves);
      if (height < depth) {
        const uint64_t count = ((leaves - 1) >> height) + 1;
        if (count & 1) s.hashes[at + count] = padding.at(height);
        for (uint64_t j = 0; j < count; j += 2)
          s.jobs.push_back(node_job(s.hashes[at + j].data(), node, s.above[at + j / 2].data()));
      } else if (height == depth) {
        std::memcpy(cuts[i].root, s.hashes[at].data(), 32);
      }
      at += leaves + 1;
    }
    if (s.jobs.empty()) return;
    k.keccak(s.jobs.data(), s.jobs.size());
    std::swap(s.hashes, s.above);
  }
}

Digest tree_root(const Kernels& k, const Digest* hashes, uint64_t count, uint32_t depth, Tag node, const Padding& padding,
                 HashScratch& s) {
  s.hashes.assign(hashes, hashes + count);
  for (uint32_t height = 0; height < depth; ++height) {
    if (count & 1) s.hashes.resize(count), s.hashes.push_back(padding.at(height));
    s.above.resize((count + 1) / 2);
    s.jobs.clear();
    for (uint64_t j = 0; j < count; j += 2) s.jobs.push_back(node_job(s.hashes[j].data(), node, s.above[j / 2].data()));
    k.keccak(s.jobs.data(), s.jobs.size());
    std::swap(s.hashes, s.above);
    count = (count + 1) / 2;
  }
  return s.hashes[0];
}

}  // namespace opml
