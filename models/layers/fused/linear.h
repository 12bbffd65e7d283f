// Linear layers of E experts, for products too small for a library's batched one.
#pragma once

#include "gemm.h"

namespace {

// Weights [E, O, D], dense, as the right factor of products with x [.., D] or, if `backward`, with
// gradients [.., O].
template <typename T> Packed pack_weights(const T* W, Int E, Int O, Int D, bool backward) {
    Packed packed(E, backward ? O : D, backward ? D : O);
#pragma omp parallel for
    for (Int e = 0; e < E; e++) packed.pack(e, W + e * O * D, backward ? D : 1, backward ? 1 : D);
    return packed;
}

// Product of staged rows of K values and B, N wide.
inline void staged_times(const float* staged, const Packed& b, Int e, Int n0, float* c, Int c_row,
                         Int rows, Int N, Int K) {
    for (Int k = 0; k < K; k += DEEP, staged += SIZE)
        rows_times(staged, b.at(e, k, n0), c, c_row, rows, N, std::min(DEEP, K - k), k > 0);
}

// h [E, B, O] = x W
inline void linear(View x, View h, const float* W, Int O, Int E, Int B, Int D) {
    const Packed columns = pack_weights(W, E, O, D, false);
    for_rows(E, blocks_of(B, BLOCK), [&](Int e, Int block) {
        const Int b0 = block * BLOCK, rows = std::min(BLOCK, B - b0);
        float* staged = scratch(blocks_of(D, DEEP) * SIZE);
        stage(x.row<float>(e, b0), x.over_b, staged, rows, D);
        staged_times(staged, columns, e, 0, h.row<float>(e, b0), h.over_b, rows, O, D);
    });
}

// dW begins as zeros.
inline void linear_backward(View x, View dh, View dx, const float* W, float* dW, Int O, Int E, Int B,
                            Int D) {
    const Packed rows_of_W = pack_weights(W, E, O, D, true);
    const Int deep = blocks_of(O, DEEP);
    const auto sums_of = [=](Int e) { return std::vector<Sum>{{dW + e * O * D, O * D}}; };
    sum_blocks_of_experts(E, blocks_of(B, BLOCK), sums_of, [&](Int e, Int block, const auto& sums) {
        const Int b0 = block * BLOCK, rows = std::min(BLOCK, B - b0);
        float *gradients = scratch((deep + blocks_of(D, DEEP)) * SIZE), *values = gradients + deep * SIZE;
        stage(dh.row<float>(e, b0), dh.over_b, gradients, rows, O);
        stage(x.row<float>(e, b0), x.over_b, values, rows, D);
        staged_times(gradients, rows_of_W, e, 0, dx.row<float>(e, b0), dx.over_b, rows, D, O);
        for (Int d0 = 0; d0 < D; d0 += DEEP, values += SIZE)
            transposed_times(gradients, values, sums[0].data + d0, D, O, std::min(DEEP, D - d0), rows);
    });
}

}  // namespace
