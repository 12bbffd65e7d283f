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

// Cephes' expf, 2 units in the last place. NaN stays NaN: comparisons with it are false.
inline float exponential(float x) {
    x = x > 89.0f ? 89.0f : x;  // infinity
    x = x < -87.0f ? -87.0f : x;
    const float n = rintf(x * 1.44269504f);
    const float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r + 1.0f);
    const int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// Swish or ReLU; as in torch, ReLU passes NaN on.
template <bool swish> inline float activation(float x) {
    return swish ? x * sigmoid(x) : (x <= 0.0f ? 0.0f : x);
}

constexpr Int COLUMNS = 64, ROWS = 32;  // of a block that stays in the first cache

// Calls `work(e, b)` for all rows, on all threads.
template <typename Work> void for_rows(Int E, Int B, Work work) {
#pragma omp parallel for collapse(2)
    for (Int e = 0; e < E; e++)
        for (Int b = 0; b < B; b++) work(e, b);
}

}  // namespace
