// Keccak-f[1600] over a vector of lanes: V::Word holds one 64-bit word of each of V::lanes independent states.
// The round constants and rotations are those of FIPS 202, section 3.2.
#pragma once

#include <cstdint>
#include <cstring>

#include "keccak.hpp"

OPML_LEVEL_BEGIN

struct ScalarWords {
  using Word = uint64_t;
  static constexpr int lanes = 1;
  static Word zero() { return 0; }
  static Word set(uint64_t x) { return x; }
  static Word xor2(Word a, Word b) { return a ^ b; }
  static Word xor3(Word a, Word b, Word c) { return a ^ b ^ c; }
  static Word chi(Word a, Word b, Word c) { return a ^ (~b & c); }
  template <int n>
  static Word rotate(Word a) {
    return n == 0 ? a : (a << n) | (a >> ((64 - n) & 63));
  }
  // `take` bytes, then zeros up to the end of a block.
  static void pad(uint8_t* out, const uint8_t* data, uint64_t take) {
    std::memcpy(out, data, take);
    std::memset(out + take, 0, kKeccakRate - take);
  }
  // One rate block of each lane: its first word, and where the other sixteen lie.
  static void load(Word* words, const uint64_t* first, const uint8_t* const* rest) {
    words[0] = first[0];
    std::memcpy(words + 1, rest[0], kKeccakRate - 8);
  }
  static void store(const Word* words, int lane, uint8_t* digest) { std::memcpy(digest, words + lane, 32); }
};

inline constexpr uint64_t kKeccakRounds[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B, 0x0000000080000001,
    0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
    0x000000000000800A, 0x800000008000000A, 0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

// The state is held in local variables all through: kept in memory, its loads and stores take longer than the rounds.
template <class V>
inline void keccak_permute(typename V::Word* state) {
  using W = typename V::Word;
  W a[25];
#pragma GCC unroll 25
  for (int i = 0; i < 25; ++i) a[i] = state[i];
#pragma GCC unroll 1
  for (int round = 0; round < 24; ++round) {
    W c[5], d[5], z[25];
#pragma GCC unroll 5
    for (int x = 0; x < 5; ++x) c[x] = V::xor3(V::xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20]);
#pragma GCC unroll 5
    for (int x = 0; x < 5; ++x) d[x] = V::xor2(c[(x + 4) % 5], V::template rotate<1>(c[(x + 1) % 5]));
    // A row of the result after the other: its five words are read nowhere else, so that 32 registers nearly hold all.
#define OPML_TURN(from, n) V::template rotate<n>(V::xor2(a[from], d[(from) % 5]))
#define OPML_ROW(y, a0, n0, a1, n1, a2, n2, a3, n3, a4, n4)                                                              \
  {                                                                                                                     \
    const W b0 = OPML_TURN(a0, n0), b1 = OPML_TURN(a1, n1), b2 = OPML_TURN(a2, n2), b3 = OPML_TURN(a3, n3),             \
            b4 = OPML_TURN(a4, n4);                                                                                     \
    z[y] = V::chi(b0, b1, b2), z[y + 1] = V::chi(b1, b2, b3), z[y + 2] = V::chi(b2, b3, b4);                            \
    z[y + 3] = V::chi(b3, b4, b0), z[y + 4] = V::chi(b4, b0, b1);                                                       \
  }
    OPML_ROW(0, 0, 0, 6, 44, 12, 43, 18, 21, 24, 14)
    OPML_ROW(5, 3, 28, 9, 20, 10, 3, 16, 45, 22, 61)
    OPML_ROW(10, 1, 1, 7, 6, 13, 25, 19, 8, 20, 18)
    OPML_ROW(15, 4, 27, 5, 36, 11, 10, 17, 15, 23, 56)
    OPML_ROW(20, 2, 62, 8, 55, 14, 39, 15, 41, 21, 2)
#undef OPML_ROW
#undef OPML_TURN
#pragma GCC unroll 25
    for (int i = 0; i < 25; ++i) a[i] = z[i];
    a[0] = V::xor2(a[0], V::set(kKeccakRounds[round]));
  }
#pragma GCC unroll 25
  for (int i = 0; i < 25; ++i) state[i] = a[i];
}

// Hashes tag || data for up to V::lanes messages at once; a lane that ends early idles. A block lies in the message but for
// its first word, where the tag shifts it, and but for the last one, which is put together in a buffer.
template <class V>
inline void keccak_lanes(const HashJob* jobs, int n) {
  alignas(64) uint8_t edge[V::lanes][kKeccakRate + 64];  // room for whole vectors
  alignas(64) typename V::Word state[25], words[17];
  alignas(64) uint64_t first[V::lanes];
  const uint8_t* rest[V::lanes];
  uint64_t blocks_of[V::lanes], most = 0;
  for (int lane = 0; lane < n; ++lane) {
    blocks_of[lane] = keccak_blocks(jobs[lane].length);
    most = blocks_of[lane] > most ? blocks_of[lane] : most;
  }
#pragma GCC unroll 25
  for (int i = 0; i < 25; ++i) state[i] = V::zero();  // unrolled: as a loop it becomes a slow string instruction
  for (uint64_t block = 0; block < most; ++block) {
    for (int lane = 0; lane < V::lanes; ++lane) {
      if (lane >= n || block >= blocks_of[lane]) {
        first[lane] = 0;
        rest[lane] = edge[lane];
        continue;
      }
      const HashJob& job = jobs[lane];
      const uint64_t start = block * kKeccakRate;  // of the tagged message; data lies one byte earlier
      if (block + 1 < blocks_of[lane]) {
        const uint8_t* const from = job.data + start;
        if (block == 0) {
          std::memcpy(&first[lane], from, 8);
          first[lane] = first[lane] << 8 | job.tag;
        } else {
          std::memcpy(&first[lane], from - 1, 8);
        }
        rest[lane] = from + 7;
        continue;
      }
      uint8_t* const whole = edge[lane];
      const uint64_t skipped = block == 0 ? 1 : 0, from = start + skipped - 1, take = job.length - from;
      if (block == 0) whole[0] = job.tag;
      V::pad(whole + skipped, job.data + from, take);
      whole[skipped + take] = 0x01;
      whole[kKeccakRate - 1] |= 0x80;
      rest[lane] = whole + 8;
      if (take < 8) {
        std::memcpy(&first[lane], whole, 8);
      } else {  // a load from what was just stored in pieces waits for it
        std::memcpy(&first[lane], job.data + from, 8);
        if (block == 0) first[lane] = first[lane] << 8 | job.tag;
      }
    }
    V::load(words, first, rest);
#pragma GCC unroll 17
    for (int i = 0; i < 17; ++i) state[i] = V::xor2(state[i], words[i]);
    keccak_permute<V>(state);
    for (int lane = 0; lane < n; ++lane)
      if (block + 1 == blocks_of[lane]) V::store(state, lane, jobs[lane].digest);
  }
}

template <class V>
void keccak_many(const HashJob* jobs, uint64_t n) {
  for (uint64_t i = 0; i < n; i += V::lanes) {
    const int take = n - i < static_cast<uint64_t>(V::lanes) ? static_cast<int>(n - i) : V::lanes;
    if (V::lanes > 1 && take == 1) {
      keccak_lanes<ScalarWords>(jobs + i, 1);
    } else {
      keccak_lanes<V>(jobs + i, take);
    }
  }
}

OPML_LEVEL_END
