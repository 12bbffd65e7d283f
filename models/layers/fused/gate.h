// Soft masks on the inputs of experts; see gated_linear.py.
#pragma once

#include "values.h"
#include <vector>

namespace {

constexpr Int TILE = 4;  // rows that share the values of `up`, in registers

// One tile of low [TILE, R] times up [R, F]; `up` points to the first of its n columns. With
// whole tiles the sums stay in registers.
template <typename T, bool whole>
void tile_product(const T* const* low, const T* up, float (*high)[COLUMNS], Int R, Int F, Int n) {
    float sum[TILE][COLUMNS] = {};
    for (Int k = 0; k < R; k++, up += F)
        for (Int i = 0; i < TILE; i++) {
            const float factor = low[i][k];
            for (Int f = 0; f < (whole ? COLUMNS : n); f++) sum[i][f] += factor * (float)up[f];
        }
    std::memcpy(high, sum, sizeof sum);
}

template <typename T>
void product(View low, Int e, Int b, Int rows, const T* up, float (*high)[COLUMNS], Int R, Int F,
             Int n) {
    const T* of_row[TILE];
    for (Int i = 0; i < TILE; i++) of_row[i] = low.row<T>(e, b + (i < rows ? i : 0));
    (n == COLUMNS ? tile_product<T, true> : tile_product<T, false>)(of_row, up, high, R, F, n);
}

// Adds mask l of a tile, and writes its sigmoids.
template <typename T>
void add_mask(View low, View weights, const T* up, Int l, Int e, Int b, Int rows, Int start, Int n,
              Int E, Int F, Int R, float (*sigmoids)[COLUMNS], float (*mask)[COLUMNS]) {
    product(low, l * E + e, b, rows, up + (l * E + e) * R * F + start, sigmoids, R, F, n);
    for (Int i = 0; i < rows; i++) {
        const float twice = 2.0f * weights.row<T>(e, b + i)[l];
        float *__restrict s = sigmoids[i], *__restrict m = mask[i];
#pragma omp simd
        for (Int f = 0; f < n; f++) {
            s[f] = sigmoid(s[f]);
            m[f] += twice * s[f];
        }
    }
}

// A mask is sum_l 2 weights_l sigmoid(low_l up_l); low [L * E, B, R], up dense [L, E, R, F].
template <typename T>
void gate(View x, View low, View weights, View out, const T* up, Int L, Int E, Int B, Int F, Int R) {
#pragma omp parallel for collapse(2)
    for (Int e = 0; e < E; e++)
        for (Int b = 0; b < B; b += TILE)
            for (Int start = 0; start < F; start += COLUMNS) {
                const Int rows = std::min(TILE, B - b), n = std::min(COLUMNS, F - start);
                float mask[TILE][COLUMNS] = {}, sigmoids[TILE][COLUMNS];
                for (Int l = 0; l < L; l++)
                    add_mask(low, weights, up, l, e, b, rows, start, n, E, F, R, sigmoids, mask);
                for (Int i = 0; i < rows; i++) {
                    const T* __restrict row = x.row<T>(e, b + i) + start;
                    T* __restrict o = out.row<T>(e, b + i) + start;
#pragma omp simd
                    for (Int f = 0; f < n; f++) o[f] = T((float)row[f] * mask[i][f]);
                }
            }
}

// Writes dx, dweights and dhigh, the gradient of `low up`, and replaces dout by the masked x. An
// input shared by all experts has a stride of 0 over e; its dx is their sum, in order.
template <typename T>
void gate_backward(View x, View low, View weights, View dout, View dx, View dweights, View dhigh,
                   const T* up, Int L, Int E, Int B, Int F, Int R) {
    const bool shared = x.over_e == 0;
#pragma omp parallel
    {
        std::vector<float> values(L * TILE * COLUMNS), dots(L * TILE), sums(ROWS * F);
        float(*sigmoids)[TILE][COLUMNS] = (float(*)[TILE][COLUMNS])values.data();
        // The gradients of one tile, from its mask and sigmoids.
        const auto tile = [&](Int e, Int b, Int i, Int start, Int n, const float* mask, float* sum) {
            const T* __restrict row = x.row<T>(e, b + i) + start;
            T* __restrict g = dout.row<T>(e, b + i) + start;
            float dmask[COLUMNS];
#pragma omp simd
            for (Int f = 0; f < n; f++) {
                sum[f] += mask[f] * (float)g[f];
                dmask[f] = (float)g[f] * (float)row[f];
                g[f] = T(mask[f] * (float)row[f]);
            }
            for (Int l = 0; l < L; l++) {
                T* __restrict dh = dhigh.row<T>(l * E + e, b + i) + start;
                const float* __restrict s = sigmoids[l][i];
                const float twice = 2.0f * weights.row<T>(e, b + i)[l];
                float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
                for (Int f = 0; f < n; f++) {
                    const float ds = dmask[f] * s[f];
                    dot += ds;
                    dh[f] = T((ds - ds * s[f]) * twice);
                }
                dots[l * TILE + i] += dot;
            }
        };
#pragma omp for
        for (Int b0 = 0; b0 < B; b0 += ROWS)
            for (Int e = 0; e < E; e++) {
                const Int b1 = std::min(b0 + ROWS, B);
                if (e == 0 || !shared) std::fill(sums.begin(), sums.end(), 0.0f);
                for (Int b = b0; b < b1; b += TILE) {
                    const Int rows = std::min(TILE, b1 - b);
                    std::fill(dots.begin(), dots.end(), 0.0f);
                    for (Int start = 0; start < F; start += COLUMNS) {
                        const Int n = std::min(COLUMNS, F - start);
                        float mask[TILE][COLUMNS] = {};
                        for (Int l = 0; l < L; l++)
                            add_mask(low, weights, up, l, e, b, rows, start, n, E, F, R, sigmoids[l],
                                     mask);
                        for (Int i = 0; i < rows; i++)
                            tile(e, b, i, start, n, mask[i], &sums[(b - b0 + i) * F + start]);
                    }
                    for (Int i = 0; i < rows; i++)
                        for (Int l = 0; l < L; l++)
                            dweights.row<T>(e, b + i)[l] = T(2.0f * dots[l * TILE + i]);
                }
                if (shared && e + 1 < E) continue;
                for (Int b = b0; b < b1; b++) {
                    T* __restrict o = dx.row<T>(e, b);
#pragma omp simd
                    for (Int f = 0; f < F; f++) o[f] = T(sums[(b - b0) * F + f]);
                }
            }
    }
}

}  // namespace
