// Codes in blocks to floats, bit for bit as `quant.packing` does it in torch: one rounding an
// operation, so this file is compiled without fused multiply-add. To bfloat16 it is one rounding
// more, to the nearest even.
//
// Legend: n rows, K columns, G blocks a row, C bytes a block.

#include "vectors.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kBlock4 = 32;  // elements of a block of 4 bits

inline void put(float value, float* out) { *out = value; }
inline void put(float value, uint16_t* out) { *out = to_bfloat16(value); }

// How a block's codes become values: code * scale + shift, or (code - shift) * scale.
struct Line {
    float scale, shift;
    bool is_offset;
    template <typename Number>
    Number operator()(Number code) const {
        return is_offset ? code * scale + shift : (code - shift) * scale;
    }
};

template <typename Out>
void block8(const uint8_t* codes, Line line, int64_t size, Out* out) {
    for (int64_t j = 0; j < size; ++j) put(line(static_cast<float>(codes[j])), out + j);
}

template <typename Out>
void block4(const uint8_t* codes, Line line, int64_t size, Out* out) {
    float values[kBlock4];
    for (int j = 0; j < kBlock4 / 2; ++j) {
        values[2 * j] = static_cast<float>(codes[j] & 15);
        values[2 * j + 1] = static_cast<float>(codes[j] >> 4);
    }
    for (int j = 0; j < kBlock4; ++j) values[j] = line(values[j]);
    for (int64_t j = 0; j < size; ++j) put(values[j], out + j);
}

#ifdef __AVX512F__
inline void put16(__m512i found, float* out) { _mm512_storeu_si512(out, found); }
inline void put16(__m512i found, uint16_t* out) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(found));
}
inline __m512i bits_of(vec values, float) { return (__m512i)values; }
inline __m512i bits_of(vec values, uint16_t) {
    const ivec bits = (ivec)values;
    return (__m512i)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A whole block of 4 bits has 16 values at most: they are computed once and looked up.
template <typename Out>
void whole_block4(const uint8_t* codes, Line line, Out* out) {
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i nibbles = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
    const __m512i behind = _mm512_add_epi32(pairs, _mm512_set1_epi32(8));
    const vec numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i values = bits_of(line(numbers), Out());
    const __m512i bytes =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
    const __m512i first = _mm512_srlv_epi32(_mm512_permutexvar_epi32(pairs, bytes), nibbles);
    const __m512i second = _mm512_srlv_epi32(_mm512_permutexvar_epi32(behind, bytes), nibbles);
    // Only the lowest four bits of an index count.
    put16(_mm512_permutexvar_epi32(first, values), out);
    put16(_mm512_permutexvar_epi32(second, values), out + 16);
}
#else
template <typename Out>
void whole_block4(const uint8_t* codes, Line line, Out* out) {
    block4(codes, line, kBlock4, out);
}
#endif

template <typename Out>
void dequantize(const uint8_t* codes, int64_t bits, int64_t block, const float* scales,
                const uint8_t* zero_points, const float* offsets, int64_t n, int64_t K, Out* out) {
    const int64_t G = (K + block - 1) / block, C = block * bits / 8;
    const int64_t packed = (G * bits + 7) / 8;
    const float middle = static_cast<float>(1 << (bits - 1));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n; ++row) {
        for (int64_t g = 0; g < G; ++g) {
            Line line = {scales[row * G + g], middle, offsets != nullptr};
            if (offsets) {
                line.shift = offsets[row * G + g];
            } else if (zero_points) {
                const uint8_t* points = zero_points + row * packed;
                const int point = bits == 8 ? points[g] : (points[g / 2] >> (4 * (g % 2))) & 15;
                line.shift = static_cast<float>(point);
            }
            const int64_t size = K - g * block < block ? K - g * block : block;
            const uint8_t* from = codes + (row * G + g) * C;
            Out* to = out + row * K + g * block;
            if (bits == 8)
                block8(from, line, size, to);
            else if (size == kBlock4)
                whole_block4(from, line, to);
            else
                block4(from, line, size, to);
        }
    }
}

}  // namespace

extern "C" {

// codes [n, G, C], scales [n, G]; zero points packed like the codes, or offsets [n, G], or neither
// (then the zero point is in the middle) -> out [n, K], float32 or bfloat16. Blocks of 32 where
// bits is 4.
void dequantize_blocks(const uint8_t* codes, int64_t bits, int64_t block, const float* scales,
                       const uint8_t* zero_points, const float* offsets, int64_t n, int64_t K,
                       void* out, int64_t is_bfloat16) {
    if (is_bfloat16)
        dequantize(codes, bits, block, scales, zero_points, offsets, n, K,
                   static_cast<uint16_t*>(out));
    else
        dequantize(codes, bits, block, scales, zero_points, offsets, n, K,
                   static_cast<float*>(out));
}
}
