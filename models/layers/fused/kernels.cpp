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

// Beside products in bfloat16, for which processors have units of their own and torch calls them.
void gate_bfloat16(View x, View low, View weights, View out, const void* up, Sizes sizes) {
    gate<bf16>(x, low, weights, out, (const bf16*)up, sizes);
}
void gate_backward_bfloat16(View x, View low, View weights, View dout, View dx, View dweights,
                            View dhigh, const void* up, Sizes sizes) {
    gate_backward<bf16>(x, low, weights, dout, dx, dweights, dhigh, (const bf16*)up, sizes);
}

void linear_float32(View x, View h, const float* W, Int O, Int E, Int B, Int D) {
    linear(x, h, W, O, E, B, D);
}
void linear_backward_float32(View x, View dh, View dx, const float* W, float* dW, Int O, Int E, Int B,
                             Int D) {
    linear_backward(x, dh, dx, W, dW, O, E, B, D);
}
void gated_linear_float32(View x, View low, View weights, View h, const float* up, const float* W, Int H,
                          Sizes sizes) {
    gated_linear(x, low, weights, h, up, W, H, sizes);
}
void gated_linear_backward_float32(View x, View low, View weights, View dh, View dx, View dlow,
                                   View dweights, const float* up, float* dup, const float* W, float* dW,
                                   Int H, Sizes sizes) {
    gated_linear_backward(x, low, weights, dh, dx, dlow, dweights, up, dup, W, dW, H, sizes);
}
void affine_linear_float32(View x, View h, const float* scale, const float* shift, int swish,
                           const float* W, Int O, Int E, Int B, Int D) {
    (swish ? affine_linear<true> : affine_linear<false>)(x, h, scale, shift, W, O, E, B, D);
}
void affine_linear_backward_float32(View x, View dh, View dx, const float* scale, const float* shift,
                                    const float* center, double* totals, int swish, const float* W,
                                    float* dW, Int O, Int E, Int B, Int D) {
    (swish ? affine_linear_backward<true> : affine_linear_backward<false>)(
        x, dh, dx, scale, shift, center, totals, W, dW, O, E, B, D);
}
}
