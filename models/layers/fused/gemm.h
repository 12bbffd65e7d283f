// Products of blocks that are in cache, by one thread, in float32.
#pragma once

#include "values.h"
#include <cstdlib>
#include <memory>
#include <omp.h>
#include <type_traits>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr Int LANES = 16, VECTORS = 4, REGISTERS = 32;
#elif defined(__AVX__)
constexpr Int LANES = 8, VECTORS = 2, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr Int LANES = 4, VECTORS = 2, REGISTERS = 32;
#else
constexpr Int LANES = 4, VECTORS = 2, REGISTERS = 16;
#endif
constexpr Int WIDE = VECTORS * LANES;  // of a tile of C
constexpr Int DEEP = 128;          // columns of a block of rows
constexpr Int STRIDE = DEEP + 16;  // between its rows; not a power of two, for the cache's sets
constexpr Int BLOCK = 126;         // its rows, a multiple of every tile's height
constexpr Int SIZE = BLOCK * STRIDE;

typedef float Lanes __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

struct Free {
    void operator()(float* data) const { std::free(data); }
};
using Buffer = std::unique_ptr<float[], Free>;

// float32 values that begin at a cache line.
inline Buffer buffer_of(Int size) {
    return Buffer((float*)std::aligned_alloc(64, (size * 4 + 63) / 64 * 64));
}

// As many sums as there are registers, beside a row of B and a value of A.
constexpr Int height(Int vectors) {
    return std::min<Int>(14, (REGISTERS - 1) / vectors - 1);
}

// C [M, V * LANES] += A [M, K] B. Steps between A's rows are known to the compiler.
template <Int M, Int V, Int a_row, Int a_column>
__attribute__((noinline)) void tile(const float* a, const float* b, Int b_row, float* c,
                                    Int c_row, Int K, bool add) {
    Lanes sum[M][V] = {};
    for (Int k = 0; k < K; k++, a += a_column, b += b_row) {
        Lanes row[V];
#pragma GCC unroll 4
        for (Int j = 0; j < V; j++) row[j] = *(const Lanes*)(b + j * LANES);
#pragma GCC unroll 16
        for (Int i = 0; i < M; i++)
#pragma GCC unroll 4
            for (Int j = 0; j < V; j++) sum[i][j] += a[i * a_row] * row[j];
    }
    // Added last, so that a sum is the same whether it began here or in another thread's memory.
#pragma GCC unroll 16
    for (Int i = 0; i < M; i++)
#pragma GCC unroll 4
        for (Int j = 0; j < V; j++) {
            Lanes* to = (Lanes*)(c + i * c_row + j * LANES);
            *to = add ? *to + sum[i][j] : sum[i][j];
        }
}

template <Int V, Int a_row, Int a_column>
void column(const float* a, const float* b, Int b_row, float* c, Int c_row, Int M, Int K,
            bool add) {
    const auto rows = [&](auto count) {
        constexpr Int tall = decltype(count)::value;
        for (; M >= tall; M -= tall, a += tall * a_row, c += tall * c_row)
            tile<tall, V, a_row, a_column>(a, b, b_row, c, c_row, K, add);
    };
    rows(std::integral_constant<Int, height(V)>());
    if (height(V) > 6) rows(std::integral_constant<Int, 6>());
    rows(std::integral_constant<Int, 4>());
    rows(std::integral_constant<Int, 2>());
    rows(std::integral_constant<Int, 1>());
}

// Only as many vectors of a column of tiles as `columns` need.
template <Int a_row, Int a_column, Int V = VECTORS>
void column(Int columns, const float* a, const float* b, Int b_row, float* c, Int c_row, Int M, Int K,
            bool add) {
    if constexpr (V > 1)
        if (columns <= (V - 1) * LANES)
            return column<a_row, a_column, V - 1>(columns, a, b, b_row, c, c_row, M, K, add);
    column<V, a_row, a_column>(a, b, b_row, c, c_row, M, K, add);
}

// B [K, N] in columns of WIDE: as `pack` writes it, or a block of rows in place.
struct Right {
    const float* data;
    Int row, column;  // steps from row to row and from column to column of tiles
};

// C [M, N] = A B, or C += A B. Steps within A are 1 and STRIDE, or STRIDE and 1.
template <Int a_row>
void multiply(const float* a, Right b, float* c, Int c_row, Int M, Int N, Int K, bool add) {
    constexpr Int a_column = a_row == 1 ? STRIDE : 1;
    float edge[BLOCK * WIDE];
    for (Int n = 0; n < N; n += WIDE) {
        const float* columns = b.data + n / WIDE * b.column;
        const Int count = std::min(WIDE, N - n);
        if (count % LANES == 0) {
            column<a_row, a_column>(count, a, columns, b.row, c + n, c_row, M, K, add);
            continue;
        }
        for (Int m = 0; m < M; m += BLOCK) {
            const Int rows = std::min(BLOCK, M - m);
            column<a_row, a_column>(count, a + m * a_row, columns, b.row, edge, WIDE, rows, K, false);
            for (Int i = 0; i < rows; i++)
                for (Int j = 0; j < count; j++) {
                    float& to = c[(m + i) * c_row + n + j];
                    to = add ? to + edge[i * WIDE + j] : edge[i * WIDE + j];
                }
        }
    }
}

// A block of rows times B.
inline void rows_times(const float* a, Right b, float* c, Int c_row, Int M, Int N, Int K, bool add) {
    multiply<STRIDE>(a, b, c, c_row, M, N, K, add);
}

// Copies rows of K values to blocks of DEEP columns.
template <typename T> void stage(const T* a, Int a_row, float* blocks, Int M, Int K) {
    for (Int k = 0; k < K; k += DEEP, blocks += SIZE)
        for (Int i = 0; i < M; i++)
            for (Int j = 0; j < std::min(DEEP, K - k); j++)
                blocks[i * STRIDE + j] = (float)a[i * a_row + k + j];
}

// C += A^T B for staged rows of M values, and a block B of as many rows.
inline void transposed_times(const float* staged, const float* b, float* c, Int c_row, Int M, Int N,
                             Int rows) {
    for (Int m = 0; m < M; m += DEEP, staged += SIZE)
        multiply<1>(staged, {b, STRIDE, WIDE}, c + m * c_row, c_row, std::min(DEEP, M - m), N, rows,
                    true);
}

// Matrices [K, N] in columns of WIDE, the last one filled up with zeros.
class Packed {
  public:
    Packed(Int count, Int K, Int N)
        : K(K), N(N), size(blocks_of(N, WIDE) * WIDE * K), buffer(buffer_of(count * size)) {}

    // Value (k, n) is at b[k * over_k + n * over_n].
    template <typename T> void pack(Int i, const T* b, Int over_k, Int over_n) {
        float* to = buffer.get() + i * size;
        for (Int n = 0; n < N; n += WIDE)
            for (Int k = 0; k < K; k++, to += WIDE)
                for (Int j = 0; j < WIDE; j++)
                    to[j] = n + j < N ? (float)b[k * over_k + (n + j) * over_n] : 0.0f;
    }

    // Rows from k, columns from n, which is a multiple of WIDE.
    Right at(Int i, Int k = 0, Int n = 0) const {
        return {buffer.get() + i * size + (n / WIDE * K + k) * WIDE, WIDE, K * WIDE};
    }

  private:
    Int K, N, size;
    Buffer buffer;
};

// Memory of this thread, kept for its next call.
inline float* scratch(Int size) {
    static thread_local Buffer buffer;
    static thread_local Int held = 0;
    if (size > held) buffer = buffer_of(held = size);
    return buffer.get();
}

struct Sum {
    float* data;
    Int size;
};

// Calls `work(block, sums)` on all threads. What it adds to the memory at sums[i] is added to that of
// sums[i] given here, block by block in order, so that results do not depend on the number of threads.
template <typename Work> void sum_blocks(Int blocks, const std::vector<Sum>& sums, Work work) {
    if (omp_get_max_threads() == 1 || blocks == 1) {
        for (Int block = 0; block < blocks; block++) work(block, sums);
        return;
    }
    Int size = 0;
    for (const Sum& sum : sums) size += sum.size;
    std::vector<float*> partial(omp_get_max_threads());
#pragma omp parallel
    {
        const Int count = omp_get_num_threads(), mine = omp_get_thread_num();
        const Buffer buffer = buffer_of(size);
        float* data = partial[mine] = buffer.get();
        std::vector<Sum> own;
        Int start = 0;
        for (const Sum& sum : sums) own.push_back({data + start, sum.size}), start += sum.size;
        for (Int first = 0; first < blocks; first += count) {
            std::fill(data, data + size, 0.0f);
            if (first + mine < blocks) work(first + mine, own);
#pragma omp barrier
            Int start = 0;
            for (const Sum& sum : sums) {
#pragma omp for
                for (Int i = 0; i < sum.size; i++)
                    for (Int t = 0; t < count && first + t < blocks; t++)
                        sum.data[i] += partial[t][start + i];
                start += sum.size;
            }
        }
    }
}

// Calls `work(e, block, sums)` as sum_blocks does, with `sums_of(e)` for each of E experts. A thread
// has whole experts, which share nothing; all threads have the blocks of those that remain.
template <typename SumsOf, typename Work>
void sum_blocks_of_experts(Int E, Int blocks, SumsOf sums_of, Work work) {
    const Int shared = E % omp_get_max_threads();
#pragma omp parallel for schedule(static, 1)
    for (Int e = shared; e < E; e++) {
        const std::vector<Sum> sums = sums_of(e);
        for (Int block = 0; block < blocks; block++) work(e, block, sums);
    }
    for (Int e = 0; e < shared; e++)
        sum_blocks(blocks, sums_of(e),
                   [&](Int block, const std::vector<Sum>& sums) { work(e, block, sums); });
}

}  // namespace
