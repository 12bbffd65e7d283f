// Scale, shift and activation, and the sums that normalization and its gradient need.
#pragma once

#include "linear.h"

namespace {

// Calls `add(e, b, first column, number of columns, sums)`, which adds a row's two values per column,
// and adds the sums over B to `totals` [2, E, D].
template <typename Add> void column_sums(Int E, Int B, Int D, double* totals, Add add) {
    const Int blocks = blocks_of(D, COLUMNS);
#pragma omp parallel for collapse(2)
    for (Int e = 0; e < E; e++)
        for (Int block = 0; block < blocks; block++) {
            const Int start = block * COLUMNS, n = D - start < COLUMNS ? D - start : COLUMNS;
            for (Int b0 = 0; b0 < B; b0 += ROWS) {
                float part[2][COLUMNS] = {};
                for (Int b = b0; b < B && b < b0 + ROWS; b++) add(e, b, start, n, part);
                for (Int i = 0; i < 2; i++)
                    for (Int d = 0; d < n; d++) totals[(i * E + e) * D + start + d] += part[i][d];
            }
        }
}

template <typename T> void moments(View x, const float* first, double* totals, Int E, Int B, Int D) {
    column_sums(E, B, D, totals, [=](Int e, Int b, Int start, Int n, float (*part)[COLUMNS]) {
        const T* row = x.row<T>(e, b) + start;
        const float* f = first + e * D + start;
        float *sum = part[0], *squares = part[1];
#pragma omp simd
        for (Int d = 0; d < n; d++) {
            const float difference = (float)row[d] - f[d];
            sum[d] += difference;
            squares[d] += difference * difference;
        }
    });
}

template <typename T, bool swish>
void affine_row(const T* __restrict x, T* __restrict out, const float* __restrict scale,
                const float* __restrict shift, Int n) {
#pragma omp simd
    for (Int d = 0; d < n; d++) out[d] = T(activation<swish>((float)x[d] * scale[d] + shift[d]));
}

template <typename T, bool swish>
void affine(View x, View out, const float* scale, const float* shift, Int E, Int B, Int D) {
    for_rows(E, B, [=](Int e, Int b) {
        affine_row<T, swish>(x.row<T>(e, b), out.row<T>(e, b), scale + e * D, shift + e * D, D);
    });
}

// n values of a row: writes dx = dy * scale and adds dy and dy * (x - center) to two rows of sums;
// `out`, if there is one, becomes the output. It may be g.
template <typename T, bool swish, typename G, typename Out>
void affine_row_backward(const T* x, const G* g, T* dx, Out* out, const float* scale,
                         const float* shift, const float* center, float* sum, float* products, Int n) {
    const auto add = [&](auto wants_out) {
#pragma omp simd
        for (Int d = 0; d < n; d++) {
            const float value = x[d], pre = value * scale[d] + shift[d];
            const float s = swish ? sigmoid(pre) : (pre <= 0.0f ? 0.0f : 1.0f);
            const float dy = (float)g[d] * (swish ? s * (1.0f + pre * (1.0f - s)) : s);
            dx[d] = T(dy * scale[d]);
            if (wants_out) out[d] = Out(swish ? pre * s : (pre <= 0.0f ? 0.0f : pre));
            sum[d] += dy;
            products[d] += dy * (value - center[d]);
        }
    };
    out ? add(std::true_type()) : add(std::false_type());
}

template <typename T, bool swish>
void affine_backward(View x, View dout, View dx, View out, const float* scale, const float* shift,
                     const float* center, double* totals, Int E, Int B, Int D) {
    column_sums(E, B, D, totals, [=](Int e, Int b, Int start, Int n, float (*part)[COLUMNS]) {
        const Int at = e * D + start;
        affine_row_backward<T, swish>(x.row<T>(e, b) + start, dout.row<T>(e, b) + start,
                                      dx.row<T>(e, b) + start,
                                      out.data ? out.row<T>(e, b) + start : (T*)nullptr, scale + at,
                                      shift + at, center + at, part[0], part[1], n);
    });
}

// h [E, B, O] = activation(x * scale + shift) W, W dense [E, O, D]
template <bool swish>
void affine_linear(View x, View h, const float* scale, const float* shift, const float* W, Int O, Int E,
                   Int B, Int D) {
    const Packed columns = pack_weights(W, E, O, D, false);
    for_rows(E, blocks_of(B, BLOCK), [&](Int e, Int block) {
        const Int b0 = block * BLOCK, rows = std::min(BLOCK, B - b0);
        float* out = scratch(SIZE);
        for (Int d0 = 0; d0 < D; d0 += DEEP) {
            const Int n = std::min(DEEP, D - d0), at = e * D + d0;
            for (Int i = 0; i < rows; i++) {
                prefetch(x.row<float>(e, b0 + std::min(i + AHEAD, rows - 1)) + d0, n);
                affine_row<float, swish>(x.row<float>(e, b0 + i) + d0, out + i * STRIDE, scale + at,
                                         shift + at, n);
            }
            rows_times(out, columns.at(e, d0), h.row<float>(e, b0), h.over_b, rows, O, n, d0 > 0);
        }
    });
}

// The gradients of affine_linear, as affine_backward; dW begins as zeros.
template <bool swish>
void affine_linear_backward(View x, View dh, View dx, const float* scale, const float* shift,
                            const float* center, double* totals, const float* W, float* dW, Int O, Int E,
                            Int B, Int D) {
    const Packed rows_of_W = pack_weights(W, E, O, D, true);
    const Int blocks = blocks_of(B, BLOCK), deep = blocks_of(O, DEEP);
    std::vector<float> parts(E * blocks * 2 * D);  // sums of each block
    const auto sums_of = [=](Int e) { return std::vector<Sum>{{dW + e * O * D, O * D}}; };
    sum_blocks_of_experts(E, blocks, sums_of, [&](Int e, Int block, const std::vector<Sum>& sums) {
        const Int b0 = block * BLOCK, rows = std::min(BLOCK, B - b0);
        float *gradients = scratch((deep + 1) * SIZE), *out = gradients + deep * SIZE;
        stage(dh.row<float>(e, b0), dh.over_b, gradients, rows, O);
        for (Int d0 = 0; d0 < D; d0 += DEEP) {
            const Int n = std::min(DEEP, D - d0), at = e * D + d0;
            staged_times(gradients, rows_of_W, e, d0, out, STRIDE, rows, n, O);
            float *sum = &parts[(e * blocks + block) * 2 * D + d0], *products = sum + D;
            for (Int i = 0; i < rows; i++) {
                const Int next = b0 + std::min(i + AHEAD, rows - 1);
                prefetch(x.row<float>(e, next) + d0, n);
                prefetch(dx.row<float>(e, next) + d0, n);
                affine_row_backward<float, swish>(
                    x.row<float>(e, b0 + i) + d0, out + i * STRIDE, dx.row<float>(e, b0 + i) + d0,
                    out + i * STRIDE, scale + at, shift + at, center + at, sum, products, n);
            }
            transposed_times(gradients, out, sums[0].data + d0, D, O, n, rows);
        }
    });
    for (Int e = 0; e < E; e++)
        for (Int block = 0; block < blocks; block++)
            for (Int i = 0; i < 2; i++)
                for (Int d = 0; d < D; d++)
                    totals[(i * E + e) * D + d] += parts[((e * blocks + block) * 2 + i) * D + d];
}

// dx += x * linear + constant
template <typename T>
void add_affine(View x, View dx, const float* linear, const float* constant, Int E, Int B, Int D) {
    for_rows(E, B, [=](Int e, Int b) {
        const T* __restrict row = x.row<T>(e, b);
        T* __restrict o = dx.row<T>(e, b);
        const float *__restrict l = linear + e * D, *__restrict k = constant + e * D;
#pragma omp simd
        for (Int d = 0; d < D; d++) o[d] = T((float)o[d] + (float)row[d] * l[d] + k[d]);
    });
}

}  // namespace
