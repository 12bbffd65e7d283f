// Soft masks on the inputs of experts, and the experts' first Linear; see gated_linear.py.
//
// A mask is sum_l 2 weights_l sigmoid(low_l up_l): low [E, B, L * R], weights [E, B, L], up dense
// [L, E, R, F]. An input x that all experts share has a stride of 0 over e.
#pragma once

#include "linear.h"

namespace {

struct Sizes {
    Int L, E, B, F, R;
};

// As weights [L * E, R, F], of products with low or, if `backward` is false, with their gradient.
template <typename T> Packed pack_up(const T* up, Sizes z, bool backward) {
    return pack_weights(up, z.L * z.E, z.R, z.F, backward);
}

// Staged rows of one low_l.
inline Int low_size(Sizes z) { return blocks_of(z.R, DEEP) * SIZE; }

// Columns c0 to c0 + n of some rows of one expert.
struct Cells {
    Int e, b0, rows, c0, n;
};

// Row i of the mask; replaces the products by their sigmoids.
template <typename T>
void mask_row(float* high, Int i, const T* weights, float* __restrict mask, Cells c, Sizes z) {
    std::fill(mask, mask + c.n, 0.0f);
    for (Int l = 0; l < z.L; l++) {
        float* __restrict s = high + l * SIZE + i * STRIDE;
        const float twice = 2.0f * (float)weights[l];
#pragma omp simd
        for (Int f = 0; f < c.n; f++) {
            s[f] = sigmoid(s[f]);
            mask[f] += twice * s[f];
        }
    }
}

// Writes x times its mask for these cells, row i to `out(i)`.
template <typename T, typename Out>
void mask_cells(View x, View weights, float* high, Out out, Cells c, Sizes z) {
    float mask[DEEP];
    for (Int i = 0; i < c.rows; i++) {
        mask_row(high, i, weights.row<T>(c.e, c.b0 + i), mask, c, z);
        const T* __restrict row = x.row<T>(c.e, c.b0 + i) + c.c0;
        auto* __restrict o = out(i);
        prefetch(x.row<T>(c.e, c.b0 + std::min(i + AHEAD, c.rows - 1)) + c.c0, c.n);
#pragma omp simd
        for (Int f = 0; f < c.n; f++) o[f] = (float)row[f] * mask[f];
    }
}

// The gradients for these cells. Row i of the masked x's gradient, `dout(i)`, becomes the masked x;
// dhigh(l, i) becomes the gradient of low_l up_l; dx(i) is added to, or written, and dots [L] [BLOCK]
// are added to.
template <typename T, typename Dout, typename Dhigh, typename Dx>
void mask_cells_backward(View x, View weights, float* high, Dout dout, Dhigh dhigh, Dx dx, bool add,
                         float* dots, Cells c, Sizes z) {
    float mask[DEEP], dmask[DEEP];
    for (Int i = 0; i < c.rows; i++) {
        const T* w = weights.row<T>(c.e, c.b0 + i);
        mask_row(high, i, w, mask, c, z);
        const T* __restrict row = x.row<T>(c.e, c.b0 + i) + c.c0;
        auto* __restrict g = dout(i);
        float* __restrict d = dx(i);
        const Int next = std::min(i + AHEAD, c.rows - 1);
        prefetch(x.row<T>(c.e, c.b0 + next) + c.c0, c.n);
        prefetch(dx(next), c.n);
#pragma omp simd
        for (Int f = 0; f < c.n; f++) {
            const float value = row[f], gradient = g[f];
            d[f] = (add ? d[f] : 0.0f) + mask[f] * gradient;
            dmask[f] = gradient * value;
            g[f] = mask[f] * value;
        }
        for (Int l = 0; l < z.L; l++) {
            const float* s = high + l * SIZE + i * STRIDE;
            auto* dh = dhigh(l, i);  // may be s
            const float twice = 2.0f * (float)w[l];
            float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
            for (Int f = 0; f < c.n; f++) {
                const float ds = dmask[f] * s[f];
                dot += ds;
                dh[f] = (ds - ds * s[f]) * twice;
            }
            dots[l * BLOCK + i] += dot;
        }
    }
}

// Calls `work(cells, high)` for all columns of a block of rows, with staged low at `memory` and
// low_l up_l in block l at `high`.
template <typename T, typename Work>
void for_columns(View low, const Packed& up, float* memory, Int e, Int block, Sizes z, Work work) {
    const Int b0 = block * BLOCK, rows = std::min(BLOCK, z.B - b0);
    for (Int l = 0; l < z.L; l++)
        stage(low.row<T>(e, b0) + l * z.R, low.over_b, memory + l * low_size(z), rows, z.R);
    float* high = memory + z.L * low_size(z);
    for (Int c0 = 0; c0 < z.F; c0 += DEEP) {
        const Cells cells{e, b0, rows, c0, std::min(DEEP, z.F - c0)};
        for (Int l = 0; l < z.L; l++)
            staged_times(memory + l * low_size(z), up, l * z.E + e, c0, high + l * SIZE, STRIDE, rows,
                         cells.n, z.R);
        work(cells, high);
    }
}

inline Int memory_of(Sizes z, Int more) { return z.L * (low_size(z) + SIZE) + more * SIZE; }

template <typename T> void dots_to(View dweights, const float* dots, Int e, Int block, Sizes z) {
    for (Int b = block * BLOCK; b < std::min((block + 1) * BLOCK, z.B); b++)
        for (Int l = 0; l < z.L; l++)
            dweights.row<T>(e, b)[l] = T(2.0f * dots[l * BLOCK + b - block * BLOCK]);
}

// out [E, B, F] = x masked
template <typename T> void gate(View x, View low, View weights, View out, const T* up, Sizes z) {
    const Packed packed = pack_up(up, z, true);
    for_rows(z.E, blocks_of(z.B, BLOCK), [&](Int e, Int block) {
        for_columns<T>(low, packed, scratch(memory_of(z, 0)), e, block, z, [&](Cells c, float* high) {
            mask_cells<T>(x, weights, high, [&](Int i) { return out.row<T>(e, c.b0 + i) + c.c0; }, c,
                          z);
        });
    });
}

// Replaces dout by the masked x; dhigh [L * E, B, F].
template <typename T>
void gate_backward(View x, View low, View weights, View dout, View dx, View dweights, View dhigh,
                   const T* up, Sizes z) {
    const bool shared = x.over_e == 0;
    const Packed packed = pack_up(up, z, true);
#pragma omp parallel for
    for (Int block = 0; block < blocks_of(z.B, BLOCK); block++) {
        std::vector<float> sums(BLOCK * z.F), dots(z.L * BLOCK);
        for (Int e = 0; e < z.E; e++) {
            std::fill(dots.begin(), dots.end(), 0.0f);
            const auto work = [&](Cells c, float* high) {
                mask_cells_backward<T>(
                    x, weights, high, [&](Int i) { return dout.row<T>(e, c.b0 + i) + c.c0; },
                    [&](Int l, Int i) { return dhigh.row<T>(l * z.E + e, c.b0 + i) + c.c0; },
                    [&](Int i) { return &sums[i * z.F + c.c0]; }, shared && e > 0, dots.data(), c, z);
            };
            for_columns<T>(low, packed, scratch(memory_of(z, 0)), e, block, z, work);
            dots_to<T>(dweights, dots.data(), e, block, z);
            if (shared && e + 1 < z.E) continue;
            for (Int i = 0; i < std::min(BLOCK, z.B - block * BLOCK); i++)
                for (Int f = 0; f < z.F; f++)
                    dx.row<T>(e, block * BLOCK + i)[f] = T(sums[i * z.F + f]);
        }
    }
}

// h [E, B, H] = (x masked) W, W dense [E, H, F]
inline void gated_linear(View x, View low, View weights, View h, const float* up, const float* W, Int H,
                         Sizes z) {
    const Packed packed = pack_up(up, z, true);
    const Packed columns = pack_weights(W, z.E, H, z.F, false);
    for_rows(z.E, blocks_of(z.B, BLOCK), [&](Int e, Int block) {
        float *memory = scratch(memory_of(z, 1)), *masked = memory + memory_of(z, 0);
        for_columns<float>(low, packed, memory, e, block, z, [&](Cells c, float* high) {
            mask_cells<float>(x, weights, high, [&](Int i) { return masked + i * STRIDE; }, c, z);
            rows_times(masked, columns.at(e, c.c0), h.row<float>(e, c.b0), h.over_b, c.rows, H, c.n,
                       c.c0 > 0);
        });
    });
}

// dup and dW begin as zeros.
inline void gated_linear_backward(View x, View low, View weights, View dh, View dx, View dlow,
                                  View dweights, const float* up, float* dup, const float* W, float* dW,
                                  Int H, Sizes z) {
    const bool shared = x.over_e == 0;
    const Packed packed = pack_up(up, z, true), columns_of_up = pack_up(up, z, false);
    const Packed rows_of_W = pack_weights(W, z.E, H, z.F, true);
    const Int deep = blocks_of(H, DEEP);
    const auto sums_of = [=](Int e) {
        std::vector<Sum> sums{{dW + e * H * z.F, H * z.F}};
        for (Int l = 0; l < z.L; l++)
            sums.push_back({dup + (l * z.E + e) * z.R * z.F, z.R * z.F});
        return sums;
    };
    const auto work = [&](Int e, Int block, const std::vector<Sum>& sums) {
        float *memory = scratch(memory_of(z, 1 + deep)), *dmasked = memory + memory_of(z, 0);
        float* gradients = dmasked + SIZE;
        std::vector<float> dots(z.L * BLOCK);
        const Int b0 = block * BLOCK;
        stage(dh.row<float>(e, b0), dh.over_b, gradients, std::min(BLOCK, z.B - b0), H);
        for_columns<float>(low, packed, memory, e, block, z, [&](Cells c, float* high) {
            staged_times(gradients, rows_of_W, e, c.c0, dmasked, STRIDE, c.rows, c.n, H);
            mask_cells_backward<float>(
                x, weights, high, [&](Int i) { return dmasked + i * STRIDE; },
                [&](Int l, Int i) { return high + l * SIZE + i * STRIDE; },
                [&](Int i) { return dx.row<float>(e, b0 + i) + c.c0; }, shared && e > 0,
                dots.data(), c, z);
            transposed_times(gradients, dmasked, sums[0].data + c.c0, z.F, H, c.n, c.rows);
            for (Int l = 0; l < z.L; l++) {
                transposed_times(memory + l * low_size(z), high + l * SIZE, sums[1 + l].data + c.c0,
                                 z.F, z.R, c.n, c.rows);
                rows_times(high + l * SIZE, columns_of_up.at(l * z.E + e, c.c0),
                           dlow.row<float>(e, b0) + l * z.R, dlow.over_b, c.rows, z.R, c.n,
                           c.c0 > 0);
            }
        });
        dots_to<float>(dweights, dots.data(), e, block, z);
    };
    const Int blocks = blocks_of(z.B, BLOCK);
    if (!shared) return sum_blocks_of_experts(z.E, blocks, sums_of, work);
    for (Int e = 0; e < z.E; e++)
        sum_blocks(blocks, sums_of(e),
                   [&](Int block, const std::vector<Sum>& sums) { work(e, block, sums); });
}

}  // namespace
