// What a tensor is here, and the functions of one value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

using Int = int64_t;

struct bf16 {
    uint16_t bits;
    operator float() const {
        const uint32_t wide = (uint32_t)bits << 16;
        float value;
        std::memcpy(&value, &wide, 4);
        return value;
    }
    bf16() = default;
    bf16(float value) {
        uint32_t wide;
        std::memcpy(&wide, &value, 4);
        const uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;  // to nearest, even
        bits = value != value ? 0x7fc0 : rounded;
    }
};

struct View {  // of a tensor [E, B, D]
    void* data;
    Int over_e, over_b;
    template <typename T> T* row(Int e, Int b) const { return (T*)data + e * over_e + b * over_b; }
};

// exp(-x), 3 units in the last place; NaN if x is not finite.
inline float exponential_of_minus(float x) {
    constexpr float LOG2E = 1.44269502f, REST = 1.92596303e-8f;
    constexpr float ROUND = 0x1.8p23f + 127.0f;  // adding it rounds to integers, in the low bits
    // To -88 .. 87, as integers: their minimum is one instruction, that of floats that keeps NaN
    // is not. Positive floats are ordered as integers, negative ones as unsigned ones.
    int32_t ordered;
    std::memcpy(&ordered, &x, 4);
    const uint32_t clamped = std::min<uint32_t>(std::min(ordered, 0x42ae0000), 0xc2b00000);
    float y;
    std::memcpy(&y, &clamped, 4);
    const float shifted = fmaf(y, -LOG2E, ROUND), n = shifted - ROUND;
    const float f = fmaf(y, -REST, fmaf(y, -LOG2E, -n));
    float p = 1.53458124e-4f;  // 2^f on [-1/2, 1/2], by least relative error
    p = fmaf(p, f, 1.33999309e-3f);
    p = fmaf(p, f, 9.61848907e-3f);
    p = fmaf(p, f, 5.55032864e-2f);
    p = fmaf(p, f, 2.40226462e-1f);
    p = fmaf(p, f, 6.93147182e-1f);
    p = fmaf(p, f, 1.0f);
    uint32_t bits;
    std::memcpy(&bits, &shifted, 4);
    bits <<= 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return fmaf(p, power, x - x);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential_of_minus(x)); }

// Swish or ReLU; as in torch, ReLU passes NaN on.
template <bool swish> inline float activation(float x) {
    return swish ? x * sigmoid(x) : (x <= 0.0f ? 0.0f : x);
}

constexpr Int COLUMNS = 256, ROWS = 32;  // of a block that stays in the first cache

// Brings n values of a row to the first cache: processors do not foresee rows far from each other.
constexpr Int AHEAD = 8;  // rows until it is read
template <typename T> void prefetch(const T* row, Int n) {
    for (Int i = 0; i < n; i += 64 / (Int)sizeof(T)) __builtin_prefetch(row + i);
}

inline Int blocks_of(Int count, Int size) { return (count + size - 1) / size; }

// Calls `work(e, b)` for all rows, on all threads.
template <typename Work> void for_rows(Int E, Int B, Work work) {
#pragma omp parallel for collapse(2)
    for (Int e = 0; e < E; e++)
        for (Int b = 0; b < B; b++) work(e, b);
}

}  // namespace
