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

constexpr int64_t kTileQueries = 96;  // their probabilities stay in a core's own cache
constexpr int64_t kBlockKeys = 128;   // values of so many keys, too
// Columns that four queries or keys add up at a time: their sums have to fit into the registers.
constexpr int64_t kColumns = (kLanes == 16 ? 4 : 2) * kLanes;

// One row of tokens and one key/value head, with everything laid out for the vector units; behind
// the keys come zeros.
struct Head {
    int64_t S = 0;       // keys: P before the row, then its own
    int64_t stride = 0;  // S rounded up to a multiple of 32
    float* kT = nullptr;  // [D, stride]
    float* vT = nullptr;  // [D, stride]
    float* k = nullptr;   // [stride, D]
    float* v = nullptr;   // [stride, D]
};

#ifdef __clang__
void transpose(const float* from, int64_t D, int64_t stride, float* to) {
    for (int64_t s = 0; s < stride; ++s)
        for (int64_t d = 0; d < D; ++d) to[d * stride + s] = from[s * D + d];
}
#else
// Each step swaps, between the vectors `kStep` apart, the lanes `kStep` apart; after steps of all
// powers of two the vectors are the columns of what they were the rows of.
template <int kStep>
inline void swap_lanes(vec rows[kLanes]) {
    ivec low, high;
    for (int i = 0; i < kLanes; ++i) {
        low[i] = i & kStep ? kLanes + i - kStep : i;
        high[i] = i & kStep ? kLanes + i : i + kStep;
    }
    for (int i = 0; i < kLanes; ++i) {
        if (i & kStep) continue;
        const vec a = rows[i], b = rows[i + kStep];
        rows[i] = __builtin_shuffle(a, b, low);
        rows[i + kStep] = __builtin_shuffle(a, b, high);
    }
}

// from [stride, D] -> to [D, stride]
void transpose(const float* from, int64_t D, int64_t stride, float* to) {
    for (int64_t s = 0; s < stride; s += kLanes)
        for (int64_t d = 0; d < D; d += kLanes) {
            vec rows[kLanes];
            for (int i = 0; i < kLanes; ++i) rows[i] = load(from + (s + i) * D + d);
            swap_lanes<1>(rows);
            swap_lanes<2>(rows);
            if constexpr (kLanes > 4) swap_lanes<4>(rows);
            if constexpr (kLanes > 8) swap_lanes<8>(rows);
            for (int i = 0; i < kLanes; ++i) store(to + (d + i) * stride + s, rows[i]);
        }
}
#endif

Head gather(const float* past_k, const float* past_v, int64_t P, const float* k, const float* v,
            int64_t T, int64_t N, int64_t D, bool backward) {
    Head head;
    head.S = P + T;
    head.stride = (head.S + 31) / 32 * 32;
    head.k = scratch_of(0, head.stride * D);
    head.v = scratch_of(1, head.stride * D);
    head.kT = scratch_of(2, head.stride * D);
    if (P) {
        std::memcpy(head.k, past_k, P * D * sizeof(float));
        std::memcpy(head.v, past_v, P * D * sizeof(float));
    }
    for (int64_t t = 0; t < T; ++t) {
        std::memcpy(head.k + (P + t) * D, k + t * N, D * sizeof(float));
        std::memcpy(head.v + (P + t) * D, v + t * N, D * sizeof(float));
    }
    const int64_t rest = (head.stride - head.S) * D * sizeof(float);
    std::memset(head.k + head.S * D, 0, rest);
    std::memset(head.v + head.S * D, 0, rest);
    transpose(head.k, D, head.stride, head.kT);
    if (backward) {
        head.vT = scratch_of(3, head.stride * D);
        transpose(head.v, D, head.stride, head.vT);
    }
    return head;
}

// One query of a tile.
struct Query {
    const float* x;   // [D]
    const float* go;  // [D], gradient of its output; backward only
    float* to;        // [D], what is computed
    float* log_sum;   // of its softmax
    int64_t first, last;  // keys that it sees
};

// The queries of some tokens of a row, for all heads that share keys and values; by tokens, then
// heads. The last one is repeated until there are whole fours; what it gives goes nowhere.
struct Tile {
    std::vector<Query> queries;
    int64_t count = 0;  // without the repeated ones
    int64_t limit = 0;  // keys that any of them sees
};

// out[q, s] = x[q] . y[s] of every four queries and the keys below their limit; yT [D, stride].
template <const float* Query::*kInput>
void scores(const Tile& tile, const float* yT, int64_t D, int64_t stride, float* out) {
    const int64_t num_queries = tile.queries.size();
    for (int64_t s = 0; s < tile.limit; s += 2 * kLanes)
        for (int64_t q = 0; q < num_queries; q += 4) {
            const int64_t limit = tile.queries[q + 3].last;
            if (s >= limit) continue;
            const Query* four = &tile.queries[q];
            const float* x0 = four[0].*kInput;
            const float* x1 = four[1].*kInput;
            const float* x2 = four[2].*kInput;
            const float* x3 = four[3].*kInput;
            float* to = out + q * stride + s;
            if (limit - s > kLanes) {
                vec a[4][2] = {};
                for (int64_t d = 0; d < D; ++d) {
                    vec y0 = load(yT + d * stride + s);
                    vec y1 = load(yT + d * stride + s + kLanes);
                    hold(y0), hold(y1);
                    a[0][0] += y0 * x0[d], a[0][1] += y1 * x0[d];
                    a[1][0] += y0 * x1[d], a[1][1] += y1 * x1[d];
                    a[2][0] += y0 * x2[d], a[2][1] += y1 * x2[d];
                    a[3][0] += y0 * x3[d], a[3][1] += y1 * x3[d];
                }
                for (int i = 0; i < 4; ++i)
                    store(to + i * stride, a[i][0]), store(to + i * stride + kLanes, a[i][1]);
            } else {
                vec a[4] = {};
                for (int64_t d = 0; d < D; ++d) {
                    const vec y = load(yT + d * stride + s);
                    a[0] += y * x0[d], a[1] += y * x1[d], a[2] += y * x2[d], a[3] += y * x3[d];
                }
                for (int i = 0; i < 4; ++i) store(to + i * stride, a[i]);
            }
        }
}

// to[q] = sum over the keys that it sees of p[q, s] * y[s]; y [S, D].
template <int kVectors>
void mix_columns(const Tile& tile, const float* p, int64_t stride, const float* y, int64_t D,
                 int64_t d) {
    const int64_t num_queries = tile.queries.size();
    for (int64_t block = 0; block < tile.limit; block += kBlockKeys)
        for (int64_t q = 0; q < num_queries; q += 4) {
            const int64_t limit = tile.queries[q + 3].last, first = tile.queries[q].first;
            const int64_t begin = first > block ? first : block;
            const int64_t end = limit < block + kBlockKeys ? limit : block + kBlockKeys;
            const bool is_first = block == 0;
            if (begin >= end && !is_first) continue;
            vec a[4][kVectors] = {};
            const float* row = p + q * stride;
            for (int64_t s = begin; s < end; ++s) {
                const float* from = y + s * D + d;
                for (int i = 0; i < kVectors; ++i) {
                    vec value = load(from + kLanes * i);
                    hold(value);
                    a[0][i] += value * row[s];
                    a[1][i] += value * row[stride + s];
                    a[2][i] += value * row[2 * stride + s];
                    a[3][i] += value * row[3 * stride + s];
                }
            }
            for (int j = 0; j < 4; ++j) {
                float* to = tile.queries[q + j].to + d;
                for (int i = 0; i < kVectors; ++i)
                    store(to + kLanes * i, is_first ? a[j][i] : load(to + kLanes * i) + a[j][i]);
            }
        }
}

void mix(const Tile& tile, const float* p, int64_t stride, const float* y, int64_t D) {
    int64_t d = 0;
    for (; d + kColumns <= D; d += kColumns) mix_columns<kColumns / kLanes>(tile, p, stride, y, D, d);
    for (; d < D; d += kLanes) mix_columns<1>(tile, p, stride, y, D, d);
}

// y[s] += sum over the queries that see it of p[q, s] * x[q], for all keys below the tile's limit;
// own keys are seen by the queries of their own and later tokens.
template <const float* Query::*kInput, int kVectors>
void collect_columns(const Tile& tile, const float* p, int64_t stride, int64_t D, int64_t d,
                     float* y) {
    int64_t begin = 0;
    for (int64_t s = 0; s < tile.limit; s += 4) {
        while (begin < tile.count && tile.queries[begin].last <= s) ++begin;
        vec a[4][kVectors] = {};
        for (int64_t q = begin; q < tile.count; ++q) {
            const float* from = tile.queries[q].*kInput + d;
            const float* row = p + q * stride + s;
            for (int i = 0; i < kVectors; ++i) {
                vec value = load(from + kLanes * i);
                hold(value);
                a[0][i] += value * row[0];
                a[1][i] += value * row[1];
                a[2][i] += value * row[2];
                a[3][i] += value * row[3];
            }
        }
        for (int j = 0; j < 4; ++j)
            for (int i = 0; i < kVectors; ++i) {
                float* to = y + (s + j) * D + d + kLanes * i;
                store(to, load(to) + a[j][i]);
            }
    }
}

template <const float* Query::*kInput>
void collect(const Tile& tile, const float* p, int64_t stride, int64_t D, float* y) {
    int64_t d = 0;
    for (; d + kColumns <= D; d += kColumns)
        collect_columns<kInput, kColumns / kLanes>(tile, p, stride, D, d, y);
    for (; d < D; d += kLanes) collect_columns<kInput, 1>(tile, p, stride, D, d, y);
}

// Keys that the query at own column t sees: [first, last).
inline int64_t first_key(int64_t P, int64_t t, int64_t window) {
    const int64_t first = window > 0 ? P + t - window + 1 : 0;
    return first > 0 ? first : 0;
}

// The lanes of the vector at s that hold keys in [first, last).
inline ivec seen(int64_t s, int64_t first, int64_t last) {
    const ivec key = counted() + static_cast<int32_t>(s);
    return (key >= static_cast<int32_t>(first)) & (key < static_cast<int32_t>(last));
}

inline int64_t whole_vectors(int64_t size) { return (size + kLanes - 1) / kLanes * kLanes; }

inline void clear(float* row, int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; s += kLanes) store(row + s, vec{});
}

// Scores of one query into probabilities, zeros elsewhere below `limit`; returns the log of their
// sum.
float softmax(float* row, int64_t first, int64_t last, int64_t limit, float scale) {
    const int64_t begin = first / kLanes * kLanes, end = whole_vectors(last);
    vec tops = spread(-INFINITY);
    for (int64_t s = begin; s < end; s += kLanes) {
        const vec x = seen(s, first, last) ? load(row + s) : spread(-INFINITY);
        tops = x > tops ? x : tops;
    }
    const float top = largest(tops);
    vec total = {};
    for (int64_t s = begin; s < end; s += kLanes) {
        const vec e = seen(s, first, last) ? exp_vec((load(row + s) - top) * scale) : spread(0.0f);
        total += e;
        store(row + s, e);
    }
    const float all = sum(total);
    const float inverse = 1.0f / all;
    for (int64_t s = begin; s < end; s += kLanes) store(row + s, load(row + s) * inverse);
    clear(row, 0, begin);
    clear(row, end, whole_vectors(limit));
    return top * scale + std::log(all);
}

// Scores of one query into probabilities, and the gradient of probabilities into that of scores;
// zeros elsewhere below `limit`.
void softmax_backward(float* row, float* gradient, int64_t first, int64_t last, int64_t limit,
                      float scale, float log_sum) {
    const int64_t begin = first / kLanes * kLanes, end = whole_vectors(last);
    vec total = {};
    for (int64_t s = begin; s < end; s += kLanes) {
        const ivec is_seen = seen(s, first, last);
        const vec p = is_seen ? exp_vec(load(row + s) * scale - log_sum) : spread(0.0f);
        const vec g = is_seen ? load(gradient + s) : spread(0.0f);
        store(row + s, p);
        store(gradient + s, g);
        total += p * g;
    }
    const float delta = sum(total);
    for (int64_t s = begin; s < end; s += kLanes)
        store(gradient + s, load(row + s) * (load(gradient + s) - delta) * scale);
    for (float* each : {row, gradient}) {
        clear(each, 0, begin);
        clear(each, end, whole_vectors(limit));
    }
}

// The work space of one thread that is no plain memory.
inline Tile& tile_of_thread() {
    thread_local Tile tile;
    return tile;
}

// Fills a thread's tile; `query` makes the one at own column t and head j.
template <typename MakeQuery>
const Tile& tile_of(int64_t t, int64_t T, int64_t r, float* spare, MakeQuery query) {
    Tile& tile = tile_of_thread();
    tile.queries.clear();
    const int64_t num_tokens = kTileQueries / r > 1 ? kTileQueries / r : 1;
    const int64_t end = t + num_tokens < T ? t + num_tokens : T;
    for (; t < end; ++t)
        for (int64_t j = 0; j < r; ++j) tile.queries.push_back(query(t, j));
    tile.count = tile.queries.size();
    tile.limit = tile.queries.back().last;
    while (tile.queries.size() % 4) {
        Query repeated = tile.queries[tile.count - 1];
        repeated.to = spare;
        tile.queries.push_back(repeated);
    }
    return tile;
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
        float* spare = scratch_of(5, D);
        const auto query = [&](int64_t t, int64_t j) {
            const int64_t number = g * r + j, place = (m0 + t) * heads + number;
            return Query{base + t * N + number * D, nullptr,           out + place * D,
                         log_sums + place,          first_key(P, t, window), P + t + 1};
        };
        for (int64_t t = 0; t < T;) {
            const Tile& tile = tile_of(t, T, r, spare, query);
            float* p = scratch_of(4, tile.queries.size() * head.stride);
            scores<&Query::x>(tile, head.kT, D, head.stride, p);
            for (int64_t q = 0; q < tile.count; ++q) {
                const Query& one = tile.queries[q];
                *one.log_sum = softmax(p + q * head.stride, one.first, one.last, tile.limit, scale);
            }
            mix(tile, p, head.stride, head.v, D);
            t += tile.count / r;
        }
    }
}

// Its backward pass: d_out [M, h * r * D] -> d_qkv [M, (h * r + 2 * h) * D]; gradients of the
// shared keys and values are added to d_past_k, d_past_v [h, P, D].
void attention_backward(const float* qkv, const float* past_k, const float* past_v, int64_t P,
                        const int32_t* starts, int64_t R, int64_t h, int64_t r, int64_t D,
                        float scale, int64_t window, float* log_sums, const float* d_out,
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
        float* spare = scratch_of(5, D);
        float* dk = scratch_of(6, head.stride * D);
        float* dv = scratch_of(7, head.stride * D);
        std::memset(dk, 0, head.stride * D * sizeof(float));
        std::memset(dv, 0, head.stride * D * sizeof(float));
        const auto query = [&](int64_t t, int64_t j) {
            const int64_t number = g * r + j, place = (m0 + t) * heads + number;
            return Query{base + t * N + number * D, d_out + place * D,
                         d_qkv + (m0 + t) * N + number * D,
                         log_sums + place, first_key(P, t, window), P + t + 1};
        };
        for (int64_t t = 0; t < T;) {
            const Tile& tile = tile_of(t, T, r, spare, query);
            const int64_t size = tile.queries.size() * head.stride;
            float* p = scratch_of(4, 2 * size);
            float* ds = p + size;
            scores<&Query::x>(tile, head.kT, D, head.stride, p);
            scores<&Query::go>(tile, head.vT, D, head.stride, ds);
            for (int64_t q = 0; q < tile.count; ++q) {
                const Query& one = tile.queries[q];
                softmax_backward(p + q * head.stride, ds + q * head.stride, one.first, one.last,
                                 tile.limit, scale, *one.log_sum);
            }
            mix(tile, ds, head.stride, head.k, D);
            collect<&Query::x>(tile, ds, head.stride, D, dk);
            collect<&Query::go>(tile, p, head.stride, D, dv);
            t += tile.count / r;
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
