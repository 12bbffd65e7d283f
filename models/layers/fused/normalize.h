// Scale, shift and activation, and the sums that normalization and its gradient need.
#pragma once

#include "values.h"
#include <type_traits>

namespace {

// Calls `add(e, b, first column, number of columns, sums)`, which adds a row's two values per column,
// and adds the sums over B to `totals` [2, E, D].
template <typename Add> void column_sums(Int E, Int B, Int D, double* totals, Add add) {
    const Int blocks = (D + COLUMNS - 1) / COLUMNS;
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
void affine(View x, View out, const float* scale, const float* shift, Int E, Int B, Int D) {
    for_rows(E, B, [=](Int e, Int b) {
        const T* __restrict row = x.row<T>(e, b);
        T* __restrict o = out.row<T>(e, b);
        const float *__restrict a = scale + e * D, *__restrict c = shift + e * D;
#pragma omp simd
        for (Int d = 0; d < D; d++) o[d] = T(activation<swish>((float)row[d] * a[d] + c[d]));
    });
}

// Writes dx = dy * scale and adds the sums of dy and dy * (x - center); `out`, if there is one,
// becomes the output.
template <typename T, bool swish>
void affine_backward(View x, View dout, View dx, View out, const float* scale, const float* shift,
                     const float* center, double* totals, Int E, Int B, Int D) {
    column_sums(E, B, D, totals, [=](Int e, Int b, Int start, Int n, float (*part)[COLUMNS]) {
        const T *row = x.row<T>(e, b) + start, *g = dout.row<T>(e, b) + start;
        T *o = dx.row<T>(e, b) + start, *y = out.row<T>(e, b) + start;
        const float *a = scale + e * D + start, *c = shift + e * D + start;
        const float* m = center + e * D + start;
        float *sum = part[0], *products = part[1];
        const auto add = [&](auto wants_out) {
#pragma omp simd
            for (Int d = 0; d < n; d++) {
                const float value = row[d], pre = value * a[d] + c[d];
                const float s = swish ? sigmoid(pre) : (pre <= 0.0f ? 0.0f : 1.0f);
                const float dy = (float)g[d] * (swish ? s * (1.0f + pre * (1.0f - s)) : s);
                o[d] = T(dy * a[d]);
                if (wants_out) y[d] = T(swish ? pre * s : (pre <= 0.0f ? 0.0f : pre));
                sum[d] += dy;
                products[d] += dy * (value - m[d]);
            }
        };
        out.data ? add(std::true_type()) : add(std::false_type());
    });
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
