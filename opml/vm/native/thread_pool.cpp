#include "thread_pool.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace opml {
namespace {

constexpr int kSpins = 4000;  // about 100 microseconds
constexpr uint64_t kField = 0xFFFF, kEpoch = 0xFFFFFFFF;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

constexpr uint64_t range_word(uint64_t epoch, uint64_t next, uint64_t end) { return (epoch & kEpoch) << 32 | end << 16 | next; }

}  // namespace

ThreadPool::ThreadPool(int threads) : ranges_(static_cast<size_t>(threads < 1 ? 1 : threads)) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Takes the first or the last task that is left of a thread's range; false when none is, or when the epoch is over.
bool ThreadPool::take(uint64_t epoch, uint32_t count, int of, bool last, uint32_t* number) {
  std::atomic<uint64_t>& word = ranges_[static_cast<size_t>(of)].word;
  const auto share = [&](uint64_t i) { return count * i / ranges_.size(); };
  uint64_t found = word.load(std::memory_order_acquire);
  while (true) {
    const uint64_t age = (epoch - (found >> 32)) & kEpoch;
    if (age > kEpoch / 2) return false;  // a later epoch; that a thread sleeps through half of all numbers is ruled out
    uint64_t next = found & kField, end = found >> 16 & kField;
    if (age != 0) next = share(static_cast<uint64_t>(of)), end = share(static_cast<uint64_t>(of) + 1);
    if (next >= end) return false;
    *number = static_cast<uint32_t>(last ? end - 1 : next);
    const uint64_t left = last ? range_word(epoch, next, end - 1) : range_word(epoch, next + 1, end);
    if (word.compare_exchange_weak(found, left, std::memory_order_acq_rel)) return true;
  }
}

void ThreadPool::work_on(uint64_t epoch, uint32_t count, int thread) {
  // Of this epoch, or of a later one if this one is over: then no task is left to take.
  const void* task = task_.load(std::memory_order_acquire);
  const Call call = call_.load(std::memory_order_acquire);
  const auto all = static_cast<int>(ranges_.size());
  for (int i = 0; i < all; ++i) {
    uint32_t number, done = 0;
    while (take(epoch, count, (thread + i) % all, i > 0, &number)) {
      call(task, number, thread);
      ++done;
    }
    if (done > 0) done_.fetch_add(done, std::memory_order_acq_rel);
  }
}

void ThreadPool::start(uint32_t count, const void* task, Call call) {
  task_.store(task, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  done_.store(0, std::memory_order_release);
  const uint64_t epoch = (state_.load(std::memory_order_relaxed) >> 16) + 1;
  if (epoch % (kEpoch / 4) == 0)  // no word may get so old that it looks young
    for (Range& range : ranges_) range.word.store(range_word(epoch - 1, 0, 0), std::memory_order_release);
  state_.store(epoch << 16 | count, std::memory_order_seq_cst);
  wake_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
  work_on(epoch, count, 0);
  for (int spins = 0; done_.load(std::memory_order_acquire) != count; ++spins) {
    if (spins < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (true) {
    for (int spins = 0; wake_.load(std::memory_order_acquire) == seen && spins < kSpins; ++spins) relax();
    if (wake_.load(std::memory_order_acquire) == seen) {
      sleepers_.fetch_add(1, std::memory_order_seq_cst);
      wake_.wait(seen, std::memory_order_seq_cst);
      sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    }
    seen = wake_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) return;
    const uint64_t state = state_.load(std::memory_order_acquire);
    work_on(state >> 16, static_cast<uint32_t>(state & kField), thread);
  }
}

}  // namespace opml
