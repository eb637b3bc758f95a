// A pool of threads that share numbered tasks. The caller works too; idle threads spin for a bounded time, then sleep.
// Nothing that is computed may depend on which thread takes which task.
#pragma once

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
  template <class Task>
  void run(uint32_t count, const Task& task) {
    if (count <= 1 || workers_.empty()) {
      for (uint32_t i = 0; i < count; ++i) task(i, 0);
      return;
    }
    start(count, &task, [](const void* t, uint32_t number, int thread) { (*static_cast<const Task*>(t))(number, thread); });
  }

 private:
  using Call = void (*)(const void* task, uint32_t number, int thread);

  void start(uint32_t count, const void* task, Call call);
  bool take(uint64_t epoch, int thread);
  void work(int thread);

  // epoch (24 bits), count of tasks (20), next task (20): one word, so that a thread that comes late takes nothing.
  std::atomic<uint64_t> state_{0};
  std::atomic<uint32_t> wake_{0}, done_{0};
  std::atomic<const void*> task_{nullptr};
  std::atomic<Call> call_{nullptr};
  std::atomic<bool> stop_{false};
  std::atomic<int> sleepers_{0};
  std::vector<std::thread> workers_;
};

}  // namespace opml
