#include "thread_pool.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace opml {
namespace {

constexpr int kSpins = 4000;  // about 100 microseconds
constexpr uint64_t kField = (1 << 20) - 1;

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// Takes one task of the epoch and runs it; false when none is left.
bool ThreadPool::take(uint64_t epoch, int thread) {
  const void* task = task_.load(std::memory_order_acquire);
  const Call call = call_.load(std::memory_order_acquire);
  uint64_t state = state_.load(std::memory_order_acquire);
  do {
    if (state >> 40 != epoch || (state & kField) >= (state >> 20 & kField)) return false;
  } while (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel));
  call(task, static_cast<uint32_t>(state & kField), thread);
  done_.fetch_add(1, std::memory_order_acq_rel);
  return true;
}

void ThreadPool::start(uint32_t count, const void* task, Call call) {
  task_.store(task, std::memory_order_release);
  call_.store(call, std::memory_order_release);
  done_.store(0, std::memory_order_release);
  const uint64_t epoch = ((state_.load(std::memory_order_relaxed) >> 40) + 1) & 0xFFFFFF;
  state_.store(epoch << 40 | uint64_t{count} << 20, std::memory_order_seq_cst);
  wake_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
  while (take(epoch, 0)) {
  }
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
    const uint64_t epoch = state_.load(std::memory_order_acquire) >> 40;
    while (take(epoch, thread)) {
    }
  }
}

}  // namespace opml
