/* Loops of the host library for processors with AVX2; the portable loops beside their callers define the result. */
#ifndef EC_AVX2_H
#define EC_AVX2_H

#include "ec_types.h"

#ifndef EC_AVX2
#if defined(__AVX2__) && EC_SPECULATIVE
#define EC_AVX2 1
#else
#define EC_AVX2 0
#endif
#endif

#if EC_AVX2

#include <immintrin.h>

static inline __m256i ec_load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* Bit 7 of every byte of two vectors. */
static inline uint64_t ec_high_bits(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Bit k: input k of 64 is not 0. */
static inline uint64_t ec_active_64(const int8_t *x)
{
    const __m256i zero = _mm256_setzero_si256();
    return ~ec_high_bits(_mm256_cmpeq_epi8(ec_load_256(x), zero), _mm256_cmpeq_epi8(ec_load_256(x + 32), zero));
}

/* Bit k: input k of 64 is below 0. */
static inline uint64_t ec_negative_64(const int8_t *x)
{
    return ec_high_bits(ec_load_256(x), ec_load_256(x + 32));
}

/* sums + x . w for four events of eight columns, whose four weights lie side by side. Two products of |x| <= 128 and a
 * weight of 8 bits fit 16 bits: nothing saturates.
 */
static inline __m256i ec_add_four(__m256i sums, __m256i x, __m256i w)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
}

/* acc[p] += sign * sums */
static inline void ec_add_to(int32_t *acc, int32_t sign, __m128i sums)
{
    const __m128i old = _mm_loadu_si128((const __m128i *)(const void *)acc);
    _mm_storeu_si128((__m128i *)(void *)acc, _mm_add_epi32(old, _mm_sign_epi32(sums, _mm_set1_epi32(sign))));
}

/* |x| of four events, one a byte. */
static inline int32_t ec_four_inputs(const uint32_t *event)
{
    return (int32_t)(event[1] | event[3] << 8 | event[5] << 16 | event[7] << 24);
}

/* Of 32 columns, sums of (stored byte - 128) * x over whole groups of four events. acc: [32] */
static inline void ec_add_32_columns(const uint8_t *rows, const uint32_t *event, const uint32_t *end, int32_t sign, int32_t *acc)
{
    const __m256i offset = _mm256_set1_epi8(-128);
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    for (; event != end; event += 8) {
        const __m256i x = _mm256_set1_epi32(ec_four_inputs(event));
        const __m256i a = _mm256_xor_si256(ec_load_256(rows + event[0]), offset);
        const __m256i b = _mm256_xor_si256(ec_load_256(rows + event[2]), offset);
        const __m256i c = _mm256_xor_si256(ec_load_256(rows + event[4]), offset);
        const __m256i d = _mm256_xor_si256(ec_load_256(rows + event[6]), offset);
        const __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
        const __m256i cd0 = _mm256_unpacklo_epi8(c, d), cd1 = _mm256_unpackhi_epi8(c, d);
        s0 = ec_add_four(s0, x, _mm256_unpacklo_epi16(ab0, cd0)); /* columns 0..3 and 16..19 */
        s1 = ec_add_four(s1, x, _mm256_unpackhi_epi16(ab0, cd0)); /* 4..7 and 20..23 */
        s2 = ec_add_four(s2, x, _mm256_unpacklo_epi16(ab1, cd1));
        s3 = ec_add_four(s3, x, _mm256_unpackhi_epi16(ab1, cd1));
    }
    ec_add_to(acc, sign, _mm256_castsi256_si128(s0));
    ec_add_to(acc + 4, sign, _mm256_castsi256_si128(s1));
    ec_add_to(acc + 8, sign, _mm256_castsi256_si128(s2));
    ec_add_to(acc + 12, sign, _mm256_castsi256_si128(s3));
    ec_add_to(acc + 16, sign, _mm256_extracti128_si256(s0, 1));
    ec_add_to(acc + 20, sign, _mm256_extracti128_si256(s1, 1));
    ec_add_to(acc + 24, sign, _mm256_extracti128_si256(s2, 1));
    ec_add_to(acc + 28, sign, _mm256_extracti128_si256(s3, 1));
}

static inline __m128i ec_load_64(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

/* The same of eight columns. acc: [8] */
static inline void ec_add_8_columns(const uint8_t *rows, const uint32_t *event, const uint32_t *end, int32_t sign, int32_t *acc)
{
    __m256i sums = _mm256_setzero_si256();
    for (; event != end; event += 8) {
        const __m128i ab = _mm_unpacklo_epi8(ec_load_64(rows + event[0]), ec_load_64(rows + event[2]));
        const __m128i cd = _mm_unpacklo_epi8(ec_load_64(rows + event[4]), ec_load_64(rows + event[6]));
        const __m256i w = _mm256_set_m128i(_mm_unpackhi_epi16(ab, cd), _mm_unpacklo_epi16(ab, cd));
        sums = ec_add_four(sums, _mm256_set1_epi32(ec_four_inputs(event)), _mm256_xor_si256(w, _mm256_set1_epi8(-128)));
    }
    ec_add_to(acc, sign, _mm256_castsi256_si128(sums));
    ec_add_to(acc + 4, sign, _mm256_extracti128_si256(sums, 1));
}

/* sums[p] = sum of w * codes at four positions, laid out as in ec_conv_dense.h. */
static inline void ec_sum_block(const int8_t *w, const int16_t *codes, const int16_t *end, int32_t *sums)
{
    /* Each byte into the high half of 16 bits: w0 and w2 four times, w1 and w3 four times. */
    const __m256i spread = _mm256_set_epi32((int32_t)0x03800180u, (int32_t)0x03800180u, (int32_t)0x03800180u, (int32_t)0x03800180u,
                                            (int32_t)0x02800080u, (int32_t)0x02800080u, (int32_t)0x02800080u, (int32_t)0x02800080u);
    __m256i total = _mm256_setzero_si256();
    for (; codes != end; codes += 16, w += 4) {
        int32_t word;
        __builtin_memcpy(&word, w, sizeof word);
        const __m256i pairs = _mm256_srai_epi16(_mm256_shuffle_epi8(_mm256_set1_epi32(word), spread), 8);
        total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ec_load_256(codes)));
    }
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1)));
}

#endif

#endif
