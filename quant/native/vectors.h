// As many floats at a time as a register holds, bfloat16, and work space that each thread keeps.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer

// A vector that no register holds would be computed float by float.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float vec __attribute__((vector_size(4 * kLanes), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * kLanes), aligned(4)));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec spread(float x) { return vec{} + x; }

// Holds a vector that several products use in a register; the compiler would load it for each.
inline void hold(vec& v) {
#ifdef __AVX512F__
    asm("" : "+v"(v));
#elif defined(__AVX__)
    asm("" : "+x"(v));
#else
    (void)v;
#endif
}

inline ivec counted() {
    ivec numbers;
    for (int i = 0; i < kLanes; ++i) numbers[i] = i;
    return numbers;
}

// Halves are added to halves: one float after the other would take as long as a row of keys.
inline float sum(vec v) {
    float parts[kLanes];
    store(parts, v);
    for (int size = kLanes / 2; size; size /= 2)
        for (int i = 0; i < size; ++i) parts[i] += parts[i + size];
    return parts[0];
}

inline float largest(vec v) {
    float parts[kLanes];
    store(parts, v);
    for (int size = kLanes / 2; size; size /= 2)
        for (int i = 0; i < size; ++i)
            parts[i] = parts[i] > parts[i + size] ? parts[i] : parts[i + size];
    return parts[0];
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
