// Runs pools of several sizes through many rounds of tasks; says which task did not run exactly once. Counts are plain
// memory, so that a task that two threads run at once is a race that a sanitizer sees.
#include "thread_pool.hpp"

#include <cstdint>
#include <cstdio>
#include <vector>

int main() {
  for (const int threads : {1, 2, 3, 8}) {
    opml::ThreadPool pool(threads);
    uint32_t state = 1;
    for (int round = 0; round < 5000; ++round) {
      state = state * 1664525 + 1013904223;
      const uint32_t count = round == 1000 ? 150000 : (state >> 16) % (round % 7 == 0 ? 200 : 9);
      std::vector<uint32_t> ran(count);
      pool.run(count, [&](uint32_t number, int thread) { ran[number] += thread < threads ? 1 : 2; });
      for (uint32_t i = 0; i < count; ++i) {
        if (ran[i] == 1) continue;
        std::printf("%d threads, round %d, task %u of %u: %u\n", threads, round, i, count, ran[i]);
        return 1;
      }
    }
  }
}
