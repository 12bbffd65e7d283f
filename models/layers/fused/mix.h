// Mixtures of experts, row by row.
#pragma once

#include "values.h"

namespace {

// out[d] = sum_i weight(i) row(i)[d]; what `row` returns is dense, as `out` is.
template <typename T, typename Weight, typename Row>
void weighted_sum(Int count, Int D, Weight weight, Row row, T* __restrict out) {
    for (Int start = 0; start < D; start += COLUMNS) {
        const Int n = std::min(COLUMNS, D - start);
        float sum[COLUMNS] = {};
        for (Int i = 0; i < count; i++) {
            const float w = weight(i);
            if (w == 0.0f) continue;  // an expert out of a gate's sight
            const T* __restrict values = row(i) + start;
#pragma omp simd
            for (Int d = 0; d < n; d++) sum[d] += w * (float)values[d];
        }
#pragma omp simd
        for (Int d = 0; d < n; d++) out[start + d] = T(sum[d]);
    }
}

// out[b, m] = sum_e weights[b, m, e] x[e, b], [B, M, D].
template <typename T>
void mix(View weights, View x, View out, Int M, Int E, Int B, Int D) {
    for_rows(B, M, [=](Int b, Int m) {
        weighted_sum(
            E, D, [=](Int e) { return (float)weights.row<T>(b, m)[e]; },
            [=](Int e) { return x.row<T>(e, b); }, out.row<T>(b, m));
    });
}

template <typename T>
void mix_backward(View weights, View x, View dout, View dweights, View dx, Int M, Int E, Int B, Int D) {
    const auto row_backward = [=](Int b, Int e) {
        const T* __restrict row = x.row<T>(e, b);
        weighted_sum(
            M, D, [=](Int m) { return (float)weights.row<T>(b, m)[e]; },
            [=](Int m) { return dout.row<T>(b, m); }, dx.row<T>(e, b));
        for (Int m = 0; m < M; m++) {
            const T* __restrict g = dout.row<T>(b, m);
            float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
            for (Int d = 0; d < D; d++) dot += (float)row[d] * (float)g[d];
            dweights.row<T>(b, m)[e] = T(dot);
        }
    };
    // By blocks of rows, whose dout stays in cache for all experts.
    for_rows(blocks_of(B, ROWS), E, [=](Int block, Int e) {
        for (Int b = block * ROWS; b < std::min(B, (block + 1) * ROWS); b++) row_backward(b, e);
    });
}

}  // namespace
