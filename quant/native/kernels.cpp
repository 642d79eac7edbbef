// Element-wise passes and attention of a training step, fused; float32 unless a name says otherwise.
//
// Legend: M tokens, K inputs, N outputs, I width of the MLP, n outlier channels, h key/value heads,
// r query heads a key/value head, D head size, P keys before the rows' own, R rows.
//
// A value that is not finite stays visible: the largest magnitude of a row is taken on the bits,
// where NaN and infinity are the largest, so the row's scale becomes what the row holds.
// Every function splits its work in the same way whatever the data, so runs repeat bit for bit.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
static int num_threads() { return omp_get_max_threads(); }
static int thread_number() { return omp_get_thread_num(); }
#else
static int num_threads() { return 1; }
static int thread_number() { return 0; }
#endif

namespace {

constexpr float kLevels = 127.0f;
constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer

typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64), aligned(4)));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec spread(float x) { return vec{} + x; }

inline float sum(vec v) {
    float total = 0;
    for (int i = 0; i < 16; ++i) total += v[i];
    return total;
}

// exp(x) for x <= about 88, relative error 2e-7: 2^round(x / ln 2) times a polynomial.
inline vec exp_vec(vec x) {
    x = x < -87.0f ? spread(-87.0f) : x;
    x = x > 88.0f ? spread(88.0f) : x;
    const vec shifted = x * 1.44269504f + kRound;
    const vec whole = shifted - kRound;
    vec f = x - whole * 0.693359375f;
    f = f + whole * 2.12194440e-4f;
    vec p = spread(1.9875691500e-4f);
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    const ivec exponent = (ivec)shifted << 23;
    return (vec)((ivec)p + exponent);
}

inline float exp_one(float x) { return exp_vec(spread(x))[0]; }

inline float largest(const float* x, int64_t K) {
    uint32_t bits = 0;
    for (int64_t k = 0; k < K; ++k) {
        uint32_t b;
        std::memcpy(&b, x + k, 4);
        b &= 0x7fffffffu;
        bits = b > bits ? b : bits;
    }
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// One row into int8; returns its scale. A row of zeros has scale 0.
inline float quantize(const float* x, int64_t K, int8_t* q) {
    const float amax = largest(x, K);
    const float inverse = amax > 0 ? kLevels / amax : 0.0f;
    for (int64_t k = 0; k < K; ++k) {
        const float shifted = x[k] * inverse + kRound;
        int32_t bits;
        std::memcpy(&bits, &shifted, 4);
        q[k] = static_cast<int8_t>(bits);
    }
    return amax / kLevels;
}

// Takes the outlier channels of a row aside and leaves zeros in their place.
inline void take_outliers(float* x, const int32_t* channels, int64_t n, float* taken) {
    for (int64_t j = 0; j < n; ++j) {
        taken[j] = x[channels[j]];
        x[channels[j]] = 0.0f;
    }
}

inline uint16_t to_bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return static_cast<uint16_t>(bits >> 16);
}

inline float from_bfloat16(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// out[0:count] = accumulator * scale * channel_scales + outliers . outlier_weights (+ bias)
inline void dequantize_part(const int32_t* acc, float scale, const float* channel_scales,
                            const float* outliers, const float* outlier_weights, int64_t n,
                            int64_t N, const float* bias, int64_t count, float* out) {
    for (int64_t i = 0; i < count; ++i)
        out[i] = static_cast<float>(acc[i]) * (scale * channel_scales[i]);
    for (int64_t j = 0; j < n; ++j) {
        const float x = outliers[j];
        const float* w = outlier_weights + j * N;
        for (int64_t i = 0; i < count; ++i) out[i] += x * w[i];
    }
    if (bias)
        for (int64_t i = 0; i < count; ++i) out[i] += bias[i];
}

constexpr int64_t kPart = 64;  // outputs kept in registers while the outliers are added

template <typename Finish>
inline void dequantize_row(const int32_t* acc, float scale, const float* channel_scales,
                           const float* outliers, const float* outlier_weights, int64_t n,
                           int64_t N, const float* bias, Finish finish) {
    float part[kPart];
    for (int64_t start = 0; start < N; start += kPart) {
        const int64_t count = N - start < kPart ? N - start : kPart;
        if (count == kPart)
            dequantize_part(acc + start, scale, channel_scales + start, outliers,
                            outlier_weights + start, n, N, bias ? bias + start : nullptr, kPart,
                            part);
        else
            dequantize_part(acc + start, scale, channel_scales + start, outliers,
                            outlier_weights + start, n, N, bias ? bias + start : nullptr, count,
                            part);
        finish(start, count, part);
    }
}

inline float rms_inverse(const float* x, int64_t K, float epsilon) {
    vec total = spread(0);
    int64_t k = 0;
    for (; k + 16 <= K; k += 16) total += load(x + k) * load(x + k);
    float squares = sum(total);
    for (; k < K; ++k) squares += x[k] * x[k];
    return 1.0f / std::sqrt(squares / static_cast<float>(K) + epsilon);
}

// Gradient of an RMSNorm's input, added to `gradient` (what comes around the branch).
inline void rms_backward_row(const float* x, const float* weight, float inverse, const float* g,
                             int64_t K, float* gradient) {
    vec total = spread(0);
    int64_t k = 0;
    for (; k + 16 <= K; k += 16) total += load(g + k) * load(weight + k) * load(x + k);
    float dot = sum(total);
    for (; k < K; ++k) dot += g[k] * weight[k] * x[k];
    const float shift = dot * inverse * inverse * inverse / static_cast<float>(K);
    for (k = 0; k < K; ++k) gradient[k] += g[k] * weight[k] * inverse - x[k] * shift;
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exp_one(-x)); }

inline void rotate(float* x, const float* cosines, const float* sines, int64_t D, float sign) {
    const int64_t half = D / 2;
    for (int64_t d = 0; d < half; ++d) {
        const float a = x[d], b = x[d + half];
        x[d] = a * cosines[d] - sign * b * sines[d];
        x[d + half] = b * cosines[d + half] + sign * a * sines[d + half];
    }
}

std::vector<float>& scratch(size_t slot) {
    thread_local std::vector<float> buffers[8];
    return buffers[slot];
}

float* scratch_of(size_t slot, size_t size) {
    std::vector<float>& buffer = scratch(slot);
    if (buffer.size() < size) buffer.resize(size);
    return buffer.data();
}

}  // namespace

extern "C" {

// x [M, K] -> codes int8 [M, K], scales [M], outliers [M, n]; multiplied by `factors` [K] first
// where that is given.
void quantize_rows(const float* x, const float* factors, int64_t M, int64_t K,
                   const int32_t* channels, int64_t n, int8_t* codes, float* scales,
                   float* outliers) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* row = scratch_of(0, K);
        if (factors)
            for (int64_t k = 0; k < K; ++k) row[k] = x[m * K + k] * factors[k];
        else
            std::memcpy(row, x + m * K, K * sizeof(float));
        take_outliers(row, channels, n, outliers + m * n);
        scales[m] = quantize(row, K, codes + m * K);
    }
}

// RMSNorm of x [M, K], quantised; inverses [M] are kept for the backward pass.
void rms_quantize_rows(const float* x, const float* weight, float epsilon, int64_t M, int64_t K,
                       const int32_t* channels, int64_t n, float* inverses, int8_t* codes,
                       float* scales, float* outliers) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* row = scratch_of(0, K);
        const float inverse = rms_inverse(x + m * K, K, epsilon);
        inverses[m] = inverse;
        for (int64_t k = 0; k < K; ++k) row[k] = x[m * K + k] * inverse * weight[k];
        take_outliers(row, channels, n, outliers + m * n);
        scales[m] = quantize(row, K, codes + m * K);
    }
}

// RMSNorm of x [M, K] in floats.
void rms_rows(const float* x, const float* weight, float epsilon, int64_t M, int64_t K,
              float* inverses, float* out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        const float inverse = rms_inverse(x + m * K, K, epsilon);
        inverses[m] = inverse;
        for (int64_t k = 0; k < K; ++k) out[m * K + k] = x[m * K + k] * inverse * weight[k];
    }
}

// accumulators int32 [M, N] -> floats [M, N]; added to `residual` [M, N] where that is given.
void dequantize_rows(const int32_t* acc, const float* scales, const float* channel_scales,
                     const float* outliers, const float* outlier_weights, int64_t n,
                     const float* bias, const float* residual, int64_t M, int64_t N, float* out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        dequantize_row(acc + m * N, scales[m], channel_scales, outliers + m * n, outlier_weights, n,
                       N, bias, [&](int64_t start, int64_t count, const float* part) {
                           float* to = out + m * N + start;
                           if (residual) {
                               const float* from = residual + m * N + start;
                               for (int64_t i = 0; i < count; ++i) to[i] = from[i] + part[i];
                           } else {
                               std::memcpy(to, part, count * sizeof(float));
                           }
                       });
    }
}

// accumulators int32 [M, N] of a gradient -> floats [M, N]
void dequantize_gradient(const int32_t* acc, const float* scales, int64_t M, int64_t N,
                         float* out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m)
        for (int64_t i = 0; i < N; ++i)
            out[m * N + i] = static_cast<float>(acc[m * N + i]) * scales[m];
}

// gate and up of an MLP from accumulators int32 [M, 2I]: kept as bfloat16 [M, 2I]; their product
// silu(gate) * up quantised into codes [M, I].
void swiglu_quantize_rows(const int32_t* acc, const float* scales, const float* channel_scales,
                          const float* outliers, const float* outlier_weights, int64_t n,
                          const float* bias, int64_t M, int64_t I, const int32_t* channels_out,
                          int64_t n_out, uint16_t* kept, int8_t* codes, float* scales_out,
                          float* outliers_out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* both = scratch_of(0, 2 * I);
        dequantize_row(acc + m * 2 * I, scales[m], channel_scales, outliers + m * n,
                       outlier_weights, n, 2 * I, bias,
                       [&](int64_t start, int64_t count, const float* part) {
                           std::memcpy(both + start, part, count * sizeof(float));
                       });
        uint16_t* keep = kept + m * 2 * I;
        for (int64_t i = 0; i < 2 * I; ++i) keep[i] = to_bfloat16(both[i]);
        int64_t i = 0;
        for (; i + 16 <= I; i += 16) {
            const vec gate = load(both + i);
            store(both + i, gate / (exp_vec(-gate) + 1.0f) * load(both + I + i));
        }
        for (; i < I; ++i) both[i] = both[i] * sigmoid(both[i]) * both[I + i];
        take_outliers(both, channels_out, n_out, outliers_out + m * n_out);
        scales_out[m] = quantize(both, I, codes + m * I);
    }
}

static inline void swiglu_backward_row(const float* gate, const float* up, const float* g,
                                       int64_t I, float* d_gate, float* d_up) {
    int64_t i = 0;
    for (; i + 16 <= I; i += 16) {
        const vec a = load(gate + i), u = load(up + i), go = load(g + i);
        const vec s = spread(1.0f) / (exp_vec(-a) + 1.0f);
        store(d_gate + i, go * u * s * (a * (1.0f - s) + 1.0f));
        store(d_up + i, go * a * s);
    }
    for (; i < I; ++i) {
        const float a = gate[i], u = up[i], go = g[i], s = sigmoid(a);
        d_gate[i] = go * u * s * (a * (1.0f - s) + 1.0f);
        d_up[i] = go * a * s;
    }
}

// Backward of silu(gate) * up: accumulators int32 [M, I] of the product's gradient -> the gradient
// of gate and up, times `factors` [2I] (the weights' channel scales), in codes [M, 2I].
void swiglu_backward_quantize_rows(const int32_t* acc, const float* scales, const uint16_t* kept,
                                   const float* factors, int64_t M, int64_t I, int8_t* codes,
                                   float* scales_out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* both = scratch_of(0, 2 * I);
        float* d = scratch_of(1, 2 * I);
        float* g = scratch_of(2, I);
        const uint16_t* keep = kept + m * 2 * I;
        for (int64_t i = 0; i < 2 * I; ++i) both[i] = from_bfloat16(keep[i]);
        for (int64_t i = 0; i < I; ++i) g[i] = static_cast<float>(acc[m * I + i]) * scales[m];
        swiglu_backward_row(both, both + I, g, I, d, d + I);
        for (int64_t i = 0; i < 2 * I; ++i) d[i] *= factors[i];
        scales_out[m] = quantize(d, 2 * I, codes + m * 2 * I);
    }
}

// silu(gate) * up of floats [M, 2I] -> [M, I]
void swiglu_rows(const float* both, int64_t M, int64_t I, float* out) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        const float* gate = both + m * 2 * I;
        const float* up = gate + I;
        float* to = out + m * I;
        int64_t i = 0;
        for (; i + 16 <= I; i += 16) {
            const vec a = load(gate + i);
            store(to + i, a / (exp_vec(-a) + 1.0f) * load(up + i));
        }
        for (; i < I; ++i) to[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
}

// Gradient of gate and up, written over them: both [M, 2I], g [M, I].
void swiglu_backward_rows(float* both, const float* g, int64_t M, int64_t I) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* gate = both + m * 2 * I;
        swiglu_backward_row(gate, gate + I, g + m * I, I, gate, gate + I);
    }
}

// gradient [M, K] += backward of an RMSNorm of x, from accumulators int32 [M, K] with scales [M].
void rms_backward_quantized_rows(const int32_t* acc, const float* scales, const float* x,
                                 const float* weight, const float* inverses, int64_t M, int64_t K,
                                 float* gradient) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        float* g = scratch_of(0, K);
        for (int64_t k = 0; k < K; ++k) g[k] = static_cast<float>(acc[m * K + k]) * scales[m];
        rms_backward_row(x + m * K, weight, inverses[m], g, K, gradient + m * K);
    }
}

// The same from floats g [M, K].
void rms_backward_rows(const float* g, const float* x, const float* weight, const float* inverses,
                       int64_t M, int64_t K, float* gradient) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m)
        rms_backward_row(x + m * K, weight, inverses[m], g + m * K, K, gradient + m * K);
}

// Rotary embedding in place (https://arxiv.org/abs/2104.09864, halves paired as in Llama) on the
// first `heads` heads of x [M, N]; cosines and sines [positions, D]; sign -1 turns back.
void rotate_rows(float* x, int64_t M, int64_t N, int64_t heads, int64_t D, const int32_t* positions,
                 const float* cosines, const float* sines, float sign) {
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < M; ++m) {
        const float* c = cosines + positions[m] * D;
        const float* s = sines + positions[m] * D;
        for (int64_t head = 0; head < heads; ++head) rotate(x + m * N + head * D, c, s, D, sign);
    }
}
}  // extern "C"

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

// out[q] = sum over keys in [first, limit) of p[q, s] * y[s], y [S, D]; added where `add`.
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
                    float* pq = p + q * head.stride;
                    float* dq = ds + q * head.stride;
                    const int64_t from = first_key(P, four.t[q], window), last = P + four.t[q] + 1;
                    const float log_sum = log_sums[(m0 + four.t[q]) * heads + number];
                    const int64_t end = (four.limit + 15) / 16 * 16;
                    vec total = {};
                    for (int64_t s = 0; s < end; s += 16) {
                        vec e = exp_vec(load(pq + s) * scale - log_sum);
                        if (q >= four.count)
                            e = vec{};
                        else if (s < from || s + 16 > last)
                            for (int i = 0; i < 16; ++i)
                                if (s + i < from || s + i >= last) e[i] = 0.0f;
                        store(pq + s, e);
                        total += e * load(dq + s);
                    }
                    const float delta = sum(total);
                    for (int64_t s = 0; s < end; s += 16)
                        store(dq + s, load(pq + s) * (load(dq + s) - delta) * scale);
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
