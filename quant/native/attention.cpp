// Attention of packed rows over shared keys and values, forward and backward, in float32.
//
// Legend: M tokens, N columns of queries, keys and values, h key/value heads, r query heads a
// key/value head, D head size, P keys before the rows' own, R rows, T tokens of a row, S keys.
//
// A unit of work is one row and one key/value head. Units are split in the same way whatever the
// data, so runs with one number of threads repeat bit for bit.

#include "vectors.h"

#ifdef _OPENMP
#include <omp.h>
static int num_threads() { return omp_get_max_threads(); }
static int thread_number() { return omp_get_thread_num(); }
#else
static int num_threads() { return 1; }
static int thread_number() { return 0; }
#endif

namespace {

// One row of tokens and one key/value head, with everything laid out for the vector units.
struct Head {
    int64_t S = 0;       // keys: P before the row, then its own
    int64_t stride = 0;  // S rounded up to whole vectors
    float* kT = nullptr;  // [D, stride]
    float* vT = nullptr;  // [D, stride]
    float* k = nullptr;   // [S, D]
    float* v = nullptr;   // [S, D]
};

void transpose(const float* from, int64_t S, int64_t D, int64_t stride, float* to) {
    for (int64_t s = 0; s < S; ++s)
        for (int64_t d = 0; d < D; ++d) to[d * stride + s] = from[s * D + d];
    for (int64_t d = 0; d < D; ++d)
        for (int64_t s = S; s < stride; ++s) to[d * stride + s] = 0.0f;
}

Head gather(const float* past_k, const float* past_v, int64_t P, const float* k, const float* v,
            int64_t T, int64_t N, int64_t D, bool backward) {
    Head head;
    head.S = P + T;
    head.stride = (head.S + 15) / 16 * 16;
    head.k = scratch_of(0, head.S * D);
    head.v = scratch_of(1, head.S * D);
    head.kT = scratch_of(2, head.stride * D);
    if (P) {
        std::memcpy(head.k, past_k, P * D * sizeof(float));
        std::memcpy(head.v, past_v, P * D * sizeof(float));
    }
    for (int64_t t = 0; t < T; ++t) {
        std::memcpy(head.k + (P + t) * D, k + t * N, D * sizeof(float));
        std::memcpy(head.v + (P + t) * D, v + t * N, D * sizeof(float));
    }
    transpose(head.k, head.S, D, head.stride, head.kT);
    if (backward) {
        head.vT = scratch_of(3, head.stride * D);
        transpose(head.v, head.S, D, head.stride, head.vT);
    }
    return head;
}

// out[q, s] = x[q] . y[s] for 4 queries and all keys below `limit`; yT is [D, stride].
void scores4(const float* const x[4], const float* yT, int64_t D, int64_t stride, int64_t limit,
             float* out) {
    int64_t s = 0;
    for (; s + 32 <= stride && s < limit; s += 32) {
        vec a[4][2] = {};
        for (int64_t d = 0; d < D; ++d) {
            const vec y0 = load(yT + d * stride + s), y1 = load(yT + d * stride + s + 16);
            for (int q = 0; q < 4; ++q) {
                a[q][0] += y0 * x[q][d];
                a[q][1] += y1 * x[q][d];
            }
        }
        for (int q = 0; q < 4; ++q) {
            store(out + q * stride + s, a[q][0]);
            store(out + q * stride + s + 16, a[q][1]);
        }
    }
    for (; s < limit; s += 16) {
        vec a[4] = {};
        for (int64_t d = 0; d < D; ++d) {
            const vec y = load(yT + d * stride + s);
            for (int q = 0; q < 4; ++q) a[q] += y * x[q][d];
        }
        for (int q = 0; q < 4; ++q) store(out + q * stride + s, a[q]);
    }
}

// out[q] = sum over keys in [first, limit) of p[q, s] * y[s], y [S, D].
template <int kVectors>
void mix4_fixed(const float* p, int64_t stride, const float* y, int64_t first, int64_t limit,
                float* const out[4]) {
    vec a[4][kVectors] = {};
    constexpr int64_t D = 16 * kVectors;
    for (int64_t s = first; s < limit; ++s) {
        for (int i = 0; i < kVectors; ++i) {
            const vec value = load(y + s * D + 16 * i);
            for (int q = 0; q < 4; ++q) a[q][i] += value * p[q * stride + s];
        }
    }
    for (int q = 0; q < 4; ++q)
        for (int i = 0; i < kVectors; ++i) store(out[q] + 16 * i, a[q][i]);
}

void mix4(const float* p, int64_t stride, const float* y, int64_t D, int64_t first, int64_t limit,
          float* const out[4]) {
    if (D == 64) return mix4_fixed<4>(p, stride, y, first, limit, out);
    for (int64_t start = 0; start < D; start += 16)
        for (int q = 0; q < 4; ++q) {
            vec a = {};
            for (int64_t s = first; s < limit; ++s)
                a += load(y + s * D + start) * p[q * stride + s];
            store(out[q] + start, a);
        }
}

// y[s] += sum over 4 queries of p[q, s] * x[q] for keys in [first, limit).
template <int kVectors>
void spread4_fixed(const float* p, int64_t stride, const float* const x[4], int64_t first,
                   int64_t limit, float* y) {
    constexpr int64_t D = 16 * kVectors;
    vec value[4][kVectors];
    for (int q = 0; q < 4; ++q)
        for (int i = 0; i < kVectors; ++i) value[q][i] = load(x[q] + 16 * i);
    for (int64_t s = first; s < limit; ++s)
        for (int i = 0; i < kVectors; ++i) {
            vec a = load(y + s * D + 16 * i);
            for (int q = 0; q < 4; ++q) a += value[q][i] * p[q * stride + s];
            store(y + s * D + 16 * i, a);
        }
}

void spread4(const float* p, int64_t stride, const float* const x[4], int64_t D, int64_t first,
             int64_t limit, float* y) {
    if (D == 64) return spread4_fixed<4>(p, stride, x, first, limit, y);
    for (int64_t s = first; s < limit; ++s)
        for (int64_t start = 0; start < D; start += 16) {
            vec a = load(y + s * D + start);
            for (int q = 0; q < 4; ++q) a += load(x[q] + start) * p[q * stride + s];
            store(y + s * D + start, a);
        }
}

// Keys that the query at own column t sees: [first, last).
inline int64_t first_key(int64_t P, int64_t t, int64_t window) {
    const int64_t first = window > 0 ? P + t - window + 1 : 0;
    return first > 0 ? first : 0;
}

// Scores of one query into probabilities; returns the log of their sum.
float softmax(float* row, int64_t first, int64_t last, int64_t stride, float scale) {
    float top = -INFINITY;
    for (int64_t s = first; s < last; ++s) top = row[s] > top ? row[s] : top;
    for (int64_t s = 0; s < first; ++s) row[s] = 0.0f;
    for (int64_t s = last; s < stride; ++s) row[s] = 0.0f;
    vec total = {};
    const int64_t begin = first / 16 * 16, end = (last + 15) / 16 * 16;
    for (int64_t s = begin; s < end; s += 16) {
        vec e = exp_vec((load(row + s) - top) * scale);
        if (s < first || s + 16 > last)
            for (int i = 0; i < 16; ++i)
                if (s + i < first || s + i >= last) e[i] = 0.0f;
        total += e;
        store(row + s, e);
    }
    const float all = sum(total);
    const float inverse = 1.0f / all;
    for (int64_t s = begin; s < end; s += 16) store(row + s, load(row + s) * inverse);
    return top * scale + std::log(all);
}

// Scores of one query into probabilities, and the gradient of probabilities into that of scores.
void softmax_backward(float* row, float* gradient, int64_t first, int64_t last, int64_t limit,
                      float scale, float log_sum) {
    const int64_t end = (limit + 15) / 16 * 16;
    vec total = {};
    for (int64_t s = 0; s < end; s += 16) {
        vec e = exp_vec(load(row + s) * scale - log_sum);
        if (s < first || s + 16 > last)
            for (int i = 0; i < 16; ++i)
                if (s + i < first || s + i >= last) e[i] = 0.0f;
        store(row + s, e);
        total += e * load(gradient + s);
    }
    const float delta = sum(total);
    for (int64_t s = 0; s < end; s += 16)
        store(gradient + s, load(row + s) * (load(gradient + s) - delta) * scale);
}

struct Four {
    int64_t t[4];  // own columns; the last is repeated where fewer than four are left
    int count;
    int64_t limit;  // keys that any of them sees, in whole vectors
};

Four four_from(int64_t t, int64_t T, int64_t P) {
    Four four;
    four.count = T - t < 4 ? static_cast<int>(T - t) : 4;
    for (int q = 0; q < 4; ++q) four.t[q] = q < four.count ? t + q : t + four.count - 1;
    four.limit = P + four.t[3] + 1;
    return four;
}

}  // namespace

extern "C" {

// Causal attention of packed rows over shared keys and values before them.
//
// qkv [M, (h * r + 2 * h) * D]: queries, keys and values, rotated; rows of tokens lie end to end,
// row i is starts[i]:starts[i + 1]. past_k, past_v [h, P, D] precede every row. `window` > 0 limits
// the distance of keys. out [M, h * r * D]; log_sums [M, h * r] are for the backward pass.
void attention(const float* qkv, const float* past_k, const float* past_v, int64_t P,
               const int32_t* starts, int64_t R, int64_t h, int64_t r, int64_t D, float scale,
               int64_t window, float* out, float* log_sums) {
    const int64_t heads = h * r, N = (heads + 2 * h) * D;
#pragma omp parallel for schedule(static)
    for (int64_t unit = 0; unit < R * h; ++unit) {
        const int64_t row = unit / h, g = unit % h;
        const int64_t m0 = starts[row], T = starts[row + 1] - m0;
        const float* base = qkv + m0 * N;
        const Head head = gather(past_k + g * P * D, past_v + g * P * D, P,
                                 base + (heads + g) * D, base + (heads + h + g) * D, T, N, D, false);
        float* p = scratch_of(4, 4 * head.stride);
        float* spare = scratch_of(5, D);
        for (int64_t j = 0; j < r; ++j) {
            const int64_t number = g * r + j;
            for (int64_t t = 0; t < T; t += 4) {
                const Four four = four_from(t, T, P);
                const float* x[4];
                float* to[4];
                for (int q = 0; q < 4; ++q) {
                    x[q] = base + four.t[q] * N + number * D;
                    to[q] = q < four.count ? out + ((m0 + four.t[q]) * heads + number) * D : spare;
                }
                scores4(x, head.kT, D, head.stride, four.limit, p);
                for (int q = 0; q < 4; ++q) {
                    const float log_sum =
                        softmax(p + q * head.stride, first_key(P, four.t[q], window),
                                P + four.t[q] + 1, head.stride, scale);
                    if (q < four.count) log_sums[(m0 + four.t[q]) * heads + number] = log_sum;
                }
                mix4(p, head.stride, head.v, D, first_key(P, t, window), four.limit, to);
            }
        }
    }
}

// Its backward pass: d_out [M, h * r * D] -> d_qkv [M, (h * r + 2 * h) * D]; gradients of the
// shared keys and values are added to d_past_k, d_past_v [h, P, D].
void attention_backward(const float* qkv, const float* past_k, const float* past_v, int64_t P,
                        const int32_t* starts, int64_t R, int64_t h, int64_t r, int64_t D,
                        float scale, int64_t window, const float* log_sums, const float* d_out,
                        float* d_qkv, float* d_past_k, float* d_past_v) {
    const int64_t heads = h * r, N = (heads + 2 * h) * D;
    const int64_t threads = num_threads(), past = h * P * D;
    std::vector<float> sums(2 * threads * past, 0.0f);
#pragma omp parallel for schedule(static)
    for (int64_t unit = 0; unit < R * h; ++unit) {
        const int64_t row = unit / h, g = unit % h;
        const int64_t m0 = starts[row], T = starts[row + 1] - m0;
        const float* base = qkv + m0 * N;
        const Head head = gather(past_k + g * P * D, past_v + g * P * D, P,
                                 base + (heads + g) * D, base + (heads + h + g) * D, T, N, D, true);
        float* p = scratch_of(4, 8 * head.stride);
        float* ds = p + 4 * head.stride;
        float* spare = scratch_of(5, D);
        float* dk = scratch_of(6, head.S * D);
        float* dv = scratch_of(7, head.S * D);
        std::memset(dk, 0, head.S * D * sizeof(float));
        std::memset(dv, 0, head.S * D * sizeof(float));
        for (int64_t j = 0; j < r; ++j) {
            const int64_t number = g * r + j;
            for (int64_t t = 0; t < T; t += 4) {
                const Four four = four_from(t, T, P);
                const int64_t first = first_key(P, t, window);
                const float* x[4];
                const float* go[4];
                float* to[4];
                for (int q = 0; q < 4; ++q) {
                    x[q] = base + four.t[q] * N + number * D;
                    go[q] = d_out + ((m0 + four.t[q]) * heads + number) * D;
                    to[q] = q < four.count ? d_qkv + (m0 + four.t[q]) * N + number * D : spare;
                }
                scores4(x, head.kT, D, head.stride, four.limit, p);
                scores4(go, head.vT, D, head.stride, four.limit, ds);
                for (int q = 0; q < 4; ++q) {
                    // A query that is repeated sees no key.
                    const int64_t last = q < four.count ? P + four.t[q] + 1 : 0;
                    softmax_backward(p + q * head.stride, ds + q * head.stride,
                                     first_key(P, four.t[q], window), last, four.limit, scale,
                                     log_sums[(m0 + four.t[q]) * heads + number]);
                }
                mix4(ds, head.stride, head.k, D, first, four.limit, to);
                spread4(ds, head.stride, x, D, first, four.limit, dk);
                spread4(p, head.stride, go, D, first, four.limit, dv);
            }
        }
        float* own = d_qkv + m0 * N;
        for (int64_t t = 0; t < T; ++t) {
            std::memcpy(own + t * N + (heads + g) * D, dk + (P + t) * D, D * sizeof(float));
            std::memcpy(own + t * N + (heads + h + g) * D, dv + (P + t) * D, D * sizeof(float));
        }
        float* sum_k = sums.data() + 2 * thread_number() * past + g * P * D;
        float* sum_v = sum_k + past;
        for (int64_t i = 0; i < P * D; ++i) {
            sum_k[i] += dk[i];
            sum_v[i] += dv[i];
        }
    }
    for (int64_t thread = 0; thread < threads; ++thread)
        for (int64_t i = 0; i < past; ++i) {
            d_past_k[i] += sums[2 * thread * past + i];
            d_past_v[i] += sums[2 * thread * past + past + i];
        }
}
}  // extern "C"
