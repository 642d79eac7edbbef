// Element-wise passes over rows of a training step, fused; float32 unless a name says otherwise.
//
// Legend: M tokens, K inputs, N outputs, I width of the MLP, n outlier channels, D head size.
//
// A value that is not finite stays visible: the largest magnitude of a row is taken on the bits,
// where NaN and infinity are the largest, so the row's scale becomes what the row holds.

#include "vectors.h"

namespace {

constexpr float kLevels = 127.0f;

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
    for (; k + kLanes <= K; k += kLanes) total += load(x + k) * load(x + k);
    float squares = sum(total);
    for (; k < K; ++k) squares += x[k] * x[k];
    return 1.0f / std::sqrt(squares / static_cast<float>(K) + epsilon);
}

// Gradient of an RMSNorm's input, added to `gradient` (what comes around the branch).
inline void rms_backward_row(const float* x, const float* weight, float inverse, const float* g,
                             int64_t K, float* gradient) {
    vec total = spread(0);
    int64_t k = 0;
    for (; k + kLanes <= K; k += kLanes) total += load(g + k) * load(weight + k) * load(x + k);
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
        for (; i + kLanes <= I; i += kLanes) {
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
    for (; i + kLanes <= I; i += kLanes) {
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
        for (; i + kLanes <= I; i += kLanes) {
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
