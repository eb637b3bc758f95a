// Large memory that is read as a stream, on huge pages where the system has them: small pages halve what one core can read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace opml {

class HugeBytes {
 public:
  uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }
  void reset(size_t n) {
    data_.reset();
    size_ = n;
    if (n > 0) data_ = take(n);
  }

 private:
  struct Free {
    size_t mapped;  // 0: of the heap
    void operator()(uint8_t* p) const;
  };
  using Data = std::unique_ptr<uint8_t[], Free>;
  static Data take(size_t n);

  Data data_{nullptr, Free{0}};
  size_t size_ = 0;
};

// The files that are mapped read-only, as the system tells when this is made.
class MappedFiles {
 public:
  MappedFiles();
  bool hold(const uint8_t* data, size_t n) const;

 private:
  std::vector<std::pair<uintptr_t, uintptr_t>> ranges_;
};
// Lets go of every page of such memory, those at its ends too; they are read again when they are touched.
void let_go(const uint8_t* data, size_t n);

}  // namespace opml
