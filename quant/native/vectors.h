// Sixteen floats at a time, and work space that each thread keeps.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

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

// Memory of one thread by number; it grows to the largest size asked for and is kept.
inline float* scratch_of(size_t slot, size_t size) {
    thread_local std::vector<float> buffers[8];
    std::vector<float>& buffer = buffers[slot];
    if (buffer.size() < size) buffer.resize(size);
    return buffer.data();
}
