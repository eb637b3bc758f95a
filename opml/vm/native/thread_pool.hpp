// A pool of threads that share numbered tasks. The caller works too; idle threads spin for a bounded time, then sleep.
// Nothing that is computed may depend on which thread takes which task.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace opml {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // task(number, thread) for each number in 0 ... count - 1; returns when all are done. Not reentrant.
  // Each thread walks a range of its own and then helps others from the far end of theirs: neighbouring tasks read
  // neighbouring memory, which a processor fetches ahead for the core that is there already.
  template <class Task>
  void run(uint32_t count, const Task& task) {
    if (count <= 1 || workers_.empty()) {
      for (uint32_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    for (uint32_t first = 0; first < count; first += kMostTasks) {
      const auto part = [&](uint32_t number, int thread) { task(first + number, thread); };
      start(std::min(count - first, kMostTasks), &part, [](const void* t, uint32_t number, int thread) {
        (*static_cast<const decltype(part)*>(t))(number, thread);
      });
    }
  }

 private:
  using Call = void (*)(const void* task, uint32_t number, int thread);
  static constexpr uint32_t kMostTasks = 0xFFFF;
  // epoch (32 bits), end (16), next (16): the tasks of a thread's range that nobody took. A word of an earlier epoch stands
  // for the whole range.
  struct alignas(64) Range {
    std::atomic<uint64_t> word{0};
  };

  void start(uint32_t count, const void* task, Call call);
  void work_on(uint64_t epoch, uint32_t count, int thread);
  bool take(uint64_t epoch, uint32_t count, int of, bool last, uint32_t* number);
  void work(int thread);

  std::atomic<uint64_t> state_{0};  // epoch (48 bits), count of tasks (16)
  std::atomic<uint32_t> wake_{0}, done_{0};
  std::atomic<const void*> task_{nullptr};
  std::atomic<Call> call_{nullptr};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleepers_{0};
  std::vector<Range> ranges_;  // one a thread
  std::vector<std::thread> workers_;
};

}  // namespace opml
