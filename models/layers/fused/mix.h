// Mixtures of experts, row by row.
#pragma once

#include "values.h"

namespace {

// out[b, m] = sum_e weights[b, m, e] x[e, b], [B, M, D].
template <typename T>
void mix(View weights, View x, View out, Int M, Int E, Int B, Int D) {
#pragma omp parallel for
    for (Int b = 0; b < B; b++)
        for (Int start = 0; start < D; start += COLUMNS) {
            const Int n = std::min(COLUMNS, D - start);
            for (Int m = 0; m < M; m++) {
                float sum[COLUMNS] = {};
                for (Int e = 0; e < E; e++) {
                    const T* __restrict row = x.row<T>(e, b) + start;
                    const float w = weights.row<T>(b, m)[e];
#pragma omp simd
                    for (Int d = 0; d < n; d++) sum[d] += w * (float)row[d];
                }
                T* __restrict o = out.row<T>(b, m) + start;
#pragma omp simd
                for (Int d = 0; d < n; d++) o[d] = T(sum[d]);
            }
        }
}

template <typename T>
void mix_backward(View weights, View x, View dout, View dweights, View dx, Int M, Int E, Int B, Int D) {
#pragma omp parallel for
    for (Int b = 0; b < B; b++)
        for (Int e = 0; e < E; e++) {
            const T* __restrict row = x.row<T>(e, b);
            for (Int start = 0; start < D; start += COLUMNS) {
                const Int n = std::min(COLUMNS, D - start);
                float sum[COLUMNS] = {};
                for (Int m = 0; m < M; m++) {
                    const T* __restrict g = dout.row<T>(b, m) + start;
                    const float w = weights.row<T>(b, m)[e];
#pragma omp simd
                    for (Int d = 0; d < n; d++) sum[d] += w * (float)g[d];
                }
                T* __restrict o = dx.row<T>(e, b) + start;
#pragma omp simd
                for (Int d = 0; d < n; d++) o[d] = T(sum[d]);
            }
            for (Int m = 0; m < M; m++) {
                const T* __restrict g = dout.row<T>(b, m);
                float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
                for (Int d = 0; d < D; d++) dot += (float)row[d] * (float)g[d];
                dweights.row<T>(b, m)[e] = T(dot);
            }
        }
}

}  // namespace
