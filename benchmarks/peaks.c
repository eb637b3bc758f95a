// peaks THREADS BYTES: peaks of this processor, for rooflines, as "name value" lines. Built by roofline.py with -march=native.
// Rates are over each thread's processor time, so that other work on the machine distorts them little.
//   read        bytes a second at which `threads` threads read the given number of bytes over and over, each its share: where a
//               cache holds them, it counts as it does for a model
//   clock       cycles a second, from a chain of dependent additions of registers (processors may do those of constants in no time)
//   fma         f32 multiply-adds a second, all threads
//   int8        8-bit multiply-adds a second, all threads: with vpdpbusd (AVX512-VNNI), else with vpmaddubsw and vpaddw
//   logic       vector logic instructions a second, all threads: three-way ones of 512 bits with AVX-512, else of 256 bits
//   rotate      512-bit rotations a second, all threads, else 256-bit shifts
//   lanes       64-bit words of such a vector; 0 without AVX2
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static size_t bytes;  // of one thread
static volatile uint64_t sink;

typedef struct {
  uint8_t* data;
  int kind;
  uint64_t done;
  double rate;
} Job;

#define REPEAT10(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)

// Several streams at once, which keeps more prefetches under way than one does.
static void read_all(Job* job) {
  enum { kStreams = 4, kAhead = 80 };
  uint64_t sums[kStreams] = {0};
  const size_t words = bytes / 8 / kStreams / 8 * 8;
  const uint64_t* p = (const uint64_t*)job->data;
  for (size_t i = 0; i < words; i += 8)
    for (int j = 0; j < kStreams; ++j) {
      __builtin_prefetch(p + j * words + i + kAhead);
      for (int k = 0; k < 8; ++k) sums[j] ^= p[j * words + i + k];
    }
  sink = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  job->done = words * 8 * kStreams;
}

static void chain(Job* job) {
  uint64_t x = sink, y = x | 1;
  const uint64_t n = 200000000;
  for (uint64_t i = 0; i < n; i += 10) {
#define ADD(k) __asm__ volatile("add %1, %0" : "+r"(x) : "r"(y));
    REPEAT10(ADD)
  }
  sink = x;
  job->done = n;
}

// Ten independent chains of one instruction, kept in registers.
#define DECLARE(k) V a##k = x;
#define JOIN(k) x = _mm512_xor_si512(x, a##k);
#define PEAK(NAME, INSTRUCTION, VALUE, PER_INSTRUCTION)   \
  static void NAME(Job* job) {                            \
    const uint64_t n = 20000000;                          \
    V x = VALUE;                                          \
    REPEAT10(DECLARE)                                     \
    for (uint64_t i = 0; i < n; ++i) {                    \
      REPEAT10(INSTRUCTION)                               \
    }                                                     \
    REPEAT10(JOIN)                                        \
    memcpy((void*)&sink, &x, sizeof sink);                \
    job->done = n * 10 * (PER_INSTRUCTION);               \
  }
#define ABSENT(NAME) \
  static void NAME(Job* job) { (void)job; }

#ifdef __AVX512F__
typedef __m512i V;
#define FMA(k) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(a##k) : "v"(x));
#define LOGIC(k) __asm__ volatile("vpternlogq $0x96, %1, %1, %0" : "+v"(a##k) : "v"(x));
#define ROTATE(k) __asm__ volatile("vprolq $7, %0, %0" : "+v"(a##k));
PEAK(fma_peak, FMA, _mm512_castps_si512(_mm512_set1_ps(0.5f)), 16)
PEAK(logic_peak, LOGIC, _mm512_set1_epi8(1), 1)
PEAK(rotate_peak, ROTATE, _mm512_set1_epi8(1), 1)
#else
#ifdef __FMA__
typedef __m256i V;
#undef JOIN
#define JOIN(k) x = _mm256_xor_si256(x, a##k);
#define FMA(k) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+x"(a##k) : "x"(x));
PEAK(fma_peak, FMA, _mm256_castps_si256(_mm256_set1_ps(0.5f)), 8)
#else
ABSENT(fma_peak)
#endif
#ifdef __AVX2__
#define LOGIC(k) __asm__ volatile("vpxor %1, %0, %0" : "+x"(a##k) : "x"(x));
#define SHIFT(k) __asm__ volatile("vpsllq $7, %0, %0" : "+x"(a##k));
PEAK(logic_peak, LOGIC, _mm256_set1_epi8(1), 1)
PEAK(rotate_peak, SHIFT, _mm256_set1_epi8(1), 1)
#else
ABSENT(logic_peak)
ABSENT(rotate_peak)
#endif
#endif

#if defined(__AVX512VNNI__)
#define DOT(k) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(a##k) : "v"(x));
PEAK(int8_peak, DOT, _mm512_set1_epi8(1), 64)
#elif defined(__AVX512BW__)
#define DOT(k) \
  __asm__ volatile("vpmaddubsw %1, %1, %%zmm15\n\tvpaddw %%zmm15, %0, %0" : "+v"(a##k) : "v"(x) : "xmm15");
PEAK(int8_peak, DOT, _mm512_set1_epi8(1), 64)
#elif defined(__AVX2__)
#define DOT(k) \
  __asm__ volatile("vpmaddubsw %1, %1, %%ymm15\n\tvpaddw %%ymm15, %0, %0" : "+x"(a##k) : "x"(x) : "xmm15");
PEAK(int8_peak, DOT, _mm256_set1_epi8(1), 32)
#else
ABSENT(int8_peak)
#endif

static void* work(void* argument) {
  Job* job = argument;
  void (*const kinds[])(Job*) = {read_all, chain, fma_peak, int8_peak, logic_peak, rotate_peak};
  job->done = 0;
  const double start = now();
  kinds[job->kind](job);
  job->rate = job->done / (now() - start);
  return NULL;
}

int main(int argc, char** argv) {
  const int threads = argc == 3 ? atoi(argv[1]) : 0, most = 64;
  if (threads < 1 || threads > most) return 2;
  bytes = (strtoull(argv[2], NULL, 10) / threads + 4095) / 4096 * 4096;
  Job jobs[64];
  for (int i = 0; i < threads; ++i) {
    jobs[i].data = aligned_alloc(4096, bytes);
    if (jobs[i].data == NULL) return 1;
    memset(jobs[i].data, i + 1, bytes);
  }
  const char* names[] = {"read", "clock", "fma", "int8", "logic", "rotate"};
  for (int kind = 0; kind < 6; ++kind) {
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      pthread_t ids[64];
      for (int i = 0; i < threads; ++i) {
        jobs[i].kind = kind;
        if (pthread_create(&ids[i], NULL, work, &jobs[i]) != 0) return 1;
      }
      double rate = 0;
      for (int i = 0; i < threads; ++i) {
        pthread_join(ids[i], NULL);
        rate += jobs[i].rate;
      }
      if (rate > best) best = rate;
    }
    printf("%s %.6g\n", names[kind], kind == 1 ? best / threads : best);
  }
#if defined(__AVX512F__)
  printf("lanes 8\n");
#elif defined(__AVX2__)
  printf("lanes 4\n");
#else
  printf("lanes 0\n");
#endif
  return 0;
}
