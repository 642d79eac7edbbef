// Codes in blocks to floats, bit for bit as `quant.packing` does it in torch: one rounding an
// operation, so this file is compiled without fused multiply-add.
//
// Legend: n rows, K columns, G blocks a row, C bytes a block.

#include <cstdint>

namespace {

template <int kBlock>
void block4(const uint8_t* codes, float scale, float shift, bool is_offset, int64_t size,
            float* out) {
    float values[kBlock];
    for (int j = 0; j < kBlock / 2; ++j) {
        values[2 * j] = static_cast<float>(codes[j] & 15);
        values[2 * j + 1] = static_cast<float>(codes[j] >> 4);
    }
    if (is_offset)
        for (int j = 0; j < kBlock; ++j) values[j] = values[j] * scale + shift;
    else
        for (int j = 0; j < kBlock; ++j) values[j] = (values[j] - shift) * scale;
    for (int64_t j = 0; j < size; ++j) out[j] = values[j];
}

void block8(const uint8_t* codes, float scale, float shift, bool is_offset, int64_t size,
            float* out) {
    if (is_offset)
        for (int64_t j = 0; j < size; ++j) out[j] = static_cast<float>(codes[j]) * scale + shift;
    else
        for (int64_t j = 0; j < size; ++j) out[j] = (static_cast<float>(codes[j]) - shift) * scale;
}

}  // namespace

extern "C" {

// codes [n, G, C], scales [n, G]; zero points packed like the codes, or offsets [n, G], or neither
// (then the zero point is in the middle) -> out [n, K]. Blocks of 32 where bits is 4.
void dequantize_blocks(const uint8_t* codes, int64_t bits, int64_t block, const float* scales,
                       const uint8_t* zero_points, const float* offsets, int64_t n, int64_t K,
                       float* out) {
    const int64_t G = (K + block - 1) / block, C = block * bits / 8;
    const int64_t packed = (G * bits + 7) / 8;
    const float middle = static_cast<float>(1 << (bits - 1));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n; ++row) {
        for (int64_t g = 0; g < G; ++g) {
            float shift = middle;
            if (offsets) {
                shift = offsets[row * G + g];
            } else if (zero_points) {
                const uint8_t* points = zero_points + row * packed;
                const int point = bits == 8 ? points[g] : (points[g / 2] >> (4 * (g % 2))) & 15;
                shift = static_cast<float>(point);
            }
            const int64_t size = K - g * block < block ? K - g * block : block;
            const uint8_t* from = codes + (row * G + g) * C;
            float* to = out + row * K + g * block;
            if (bits == 8)
                block8(from, scales[row * G + g], shift, offsets, size, to);
            else
                block4<32>(from, scales[row * G + g], shift, offsets, size, to);
        }
    }
}
}
