// Elementwise parts of an expert layer, each in one pass. kernels.py compiles and calls them.
//
// T is float or bf16: what tensors are stored in; arithmetic and statistics are float, long sums
// double. A tensor [E, B, D] is given by its first value and its strides over e and b, in values;
// D is dense. Results do not depend on the number of threads: a value is written, and a sum
// added up, by one thread in a fixed order.

#include "gate.h"
#include "mix.h"
#include "normalize.h"

#define EXPORT(T, suffix)                                                                         \
    void moments_##suffix(View x, const float* first, double* totals, Int E, Int B, Int D) {      \
        moments<T>(x, first, totals, E, B, D);                                                    \
    }                                                                                             \
    void affine_##suffix(View x, View out, const float* scale, const float* shift, int swish,     \
                         Int E, Int B, Int D) {                                                   \
        (swish ? affine<T, true> : affine<T, false>)(x, out, scale, shift, E, B, D);              \
    }                                                                                             \
    void affine_backward_##suffix(View x, View dout, View dx, View out, const float* scale,       \
                                  const float* shift, const float* center, double* totals,        \
                                  int swish, Int E, Int B, Int D) {                               \
        (swish ? affine_backward<T, true> : affine_backward<T, false>)(                           \
            x, dout, dx, out, scale, shift, center, totals, E, B, D);                             \
    }                                                                                             \
    void add_affine_##suffix(View x, View dx, const float* linear, const float* constant, Int E,  \
                             Int B, Int D) {                                                      \
        add_affine<T>(x, dx, linear, constant, E, B, D);                                          \
    }                                                                                             \
    void gate_##suffix(View x, View low, View weights, View out, const void* up, Int L, Int E,    \
                       Int B, Int F, Int R) {                                                     \
        gate<T>(x, low, weights, out, (const T*)up, L, E, B, F, R);                               \
    }                                                                                             \
    void gate_backward_##suffix(View x, View low, View weights, View dout, View dx,               \
                                View dweights, View dhigh, const void* up, Int L, Int E, Int B,   \
                                Int F, Int R) {                                                   \
        gate_backward<T>(x, low, weights, dout, dx, dweights, dhigh, (const T*)up, L, E, B, F,    \
                         R);                                                                      \
    }                                                                                             \
    void mix_##suffix(View weights, View x, View out, Int M, Int E, Int B, Int D) {               \
        mix<T>(weights, x, out, M, E, B, D);                                                      \
    }                                                                                             \
    void mix_backward_##suffix(View weights, View x, View dout, View dweights, View dx, Int M,    \
                               Int E, Int B, Int D) {                                             \
        mix_backward<T>(weights, x, dout, dweights, dx, M, E, B, D);                              \
    }

extern "C" {
EXPORT(float, float32)
EXPORT(bf16, bfloat16)
}
