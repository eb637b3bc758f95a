// Large memory that is read as a stream, on huge pages where the system has them: small pages halve what one core can read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace opml {

class HugeBytes {
 public:
  uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }
  void reset(size_t n) {
    data_.reset();
    size_ = n;
    if (n == 0) return;
    const size_t alignment = n < kLeast ? 64 : kPage;
    data_ = {static_cast<uint8_t*>(::operator new[](n, std::align_val_t{alignment})), Free{alignment}};
#if defined(__linux__)
    if (n >= kLeast) madvise(data_.get(), n, MADV_HUGEPAGE);
#endif
  }

 private:
  static constexpr size_t kPage = 2 << 20, kLeast = 4 << 20;
  struct Free {
    size_t alignment;
    void operator()(uint8_t* p) const { ::operator delete[](p, std::align_val_t{alignment}); }
  };
  std::unique_ptr<uint8_t[], Free> data_{nullptr, Free{64}};
  size_t size_ = 0;
};

// Lets go of the pages of a part of a file that is mapped read-only; it is read again when it is touched. Other memory is
// left alone. Whether it is such a mapping is asked of the system.
void let_go(const uint8_t* data, size_t n);

}  // namespace opml
