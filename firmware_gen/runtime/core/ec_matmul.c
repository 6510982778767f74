/* Matrix times vector: a dense kernel, and an event-driven one that reads only the rows of inputs that are not 0.
 *
 * The event-driven kernel exists twice, with the same result. The plain loop vectorises on hosts. On 32-bit cores with
 * a 32 x 32 -> 64 multiply-accumulate the wide loop takes four weights with two multiplications: for a word w of bytes
 * b3 b2 b1 b0 and a small x >= 0,
 *
 *     full += w * x                             = S0 + 2^8 S1 + 2^16 S2 + 2^24 S3   (S_k = sum of b_k * x)
 *     part += (rotate(w, 16) & 0xFF0000FF) * x  = S2 + 2^24 S1
 *
 * and while every S_k < 2^24 the four sums can be taken apart again: three instructions for four products.
 *
 * Packed weights have one kernel, event-driven too: eight sums stay in registers while the rows pass by.
 */
#include "ec_matmul.h"

#include <string.h>

#include "ec_avx2.h"

#ifndef EC_WIDE
#if defined(__ARM_ARCH) && !defined(__aarch64__) && __ARM_ARCH >= 7 && defined(__ARMEL__)
#define EC_WIDE 1
#else
#define EC_WIDE 0
#endif
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__ARMEL__)
#include <arm_acle.h>
#define EC_SMLAD 1
#else
#define EC_SMLAD 0
#endif

/* 1 where the kernel takes the offset off every weight, and not its sum off the result. */
#define EC_SIGNED_ROWS (EC_AVX2 && !EC_WIDE)

/* 255 * 128 * 512 < 2^24: so many events of |x| <= 128 fit the wide sums. */
#define EC_WIDE_EVENTS 512u

typedef struct events {
    const uint32_t *pair; /* (row offset, |x|) */
    uint32_t count;       /* a multiple of EC_EVENT_GROUP */
} events;

#if EC_WIDE || EC_SMLAD || !EC_SPECULATIVE

/* Four bytes as a word, whatever their type. The built-in also compiles to one load where -ffreestanding makes memcpy a
 * call. A weight row is aligned; four inputs of a tick need not be.
 */
static inline uint32_t load_word(const void *p)
{
    uint32_t word;
    EC_COPY_WORD(&word, p);
    return word;
}

#endif

#if EC_SMLAD

/* Bytes 1 and 3 as a pair of 16 bits: SXTB16 with its rotation. GCC 12's arm_acle.h has no __ror. */
static inline int16x2_t odd_bytes(uint32_t word)
{
    return __sxtb16((int8x4_t)(word >> 8 | word << 24));
}

/* acc + a . b over four bytes: even and odd bytes as two pairs of 16 bits. */
static inline int32_t dot4(int16x2_t even, int16x2_t odd, const int8_t *w, int32_t acc)
{
    const uint32_t word = load_word(w);
    acc = __smlad(even, __sxtb16((int8x4_t)word), acc);
    return __smlad(odd, odd_bytes(word), acc);
}

/* Four rows over the first multiple of four inputs; returns how many inputs it took. Not inlined: with its own registers
 * the loop needs no spill.
 */
EC_NOINLINE static uint32_t dense_rows(const int8_t *w, uint32_t inputs, const int8_t *x, int32_t *acc)
{
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    const int8_t *const end = x + (inputs & ~3u);
    for (; x != end; x += 4, w += 4) {
        const uint32_t word = load_word(x);
        const int16x2_t even = __sxtb16((int8x4_t)word), odd = odd_bytes(word);
        a0 = dot4(even, odd, w, a0);
        a1 = dot4(even, odd, w + inputs, a1);
        a2 = dot4(even, odd, w + 2u * inputs, a2);
        a3 = dot4(even, odd, w + 3u * inputs, a3);
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
    return inputs & ~3u;
}

#else

static uint32_t dense_rows(const int8_t *w, uint32_t inputs, const int8_t *x, int32_t *acc)
{
    (void)w, (void)inputs, (void)x, (void)acc;
    return 0;
}

#endif

static void dense(const ec_matrix *matrix, const int8_t *x, int32_t *acc)
{
    const uint32_t inputs = matrix->inputs;
    const int8_t *w = matrix->dense;
    uint32_t o = 0;
    for (; o + 4u <= matrix->outputs; o += 4u, w += 4u * inputs) { /* four sums share each load of x */
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (uint32_t i = dense_rows(w, inputs, x, acc + o); i < inputs; i++) {
            const int32_t xi = x[i];
            a0 += xi * w[i];
            a1 += xi * w[inputs + i];
            a2 += xi * w[2u * inputs + i];
            a3 += xi * w[3u * inputs + i];
        }
        acc[o] += a0;
        acc[o + 1u] += a1;
        acc[o + 2u] += a2;
        acc[o + 3u] += a3;
    }
    for (; o < matrix->outputs; o++, w += inputs) {
        int32_t a = 0;
        for (uint32_t i = 0; i < inputs; i++)
            a += x[i] * w[i];
        acc[o] += a;
    }
}

static inline uint32_t *put_event(uint32_t *pair, uint32_t row, int32_t x)
{
    pair[0] = row;
    pair[1] = (uint32_t)x;
    return pair;
}

#if EC_SPECULATIVE

/* 64 inputs as bits: those that are not 0, and those below 0. */
typedef struct signs {
    uint64_t active;
    uint64_t negative;
} signs;

#if EC_AVX2

static inline signs signs_of(const int8_t *x)
{
    const signs found = {ec_active_64(x), ec_negative_64(x)};
    return found;
}

#else

/* Bit k of the result: bit 7 of byte k of v. */
static inline uint64_t high_bits(uint64_t v)
{
    return (((v & 0x8080808080808080u) >> 7) * 0x0102040810204080u) >> 56;
}

static inline signs signs_of(const int8_t *x)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    uint64_t chunk[8];
    signs found = {0, 0};
    memcpy(chunk, x, sizeof chunk);
    for (uint32_t k = 0; k < 8u; k++) {
        found.active |= high_bits(((chunk[k] & low) + low) | chunk[k]) << (8u * k);
        found.negative |= high_bits(chunk[k]) << (8u * k);
    }
    return found;
}

#endif

/* Of the next `count` <= 64 inputs. */
static inline signs signs_of_some(const int8_t *x, uint32_t count)
{
    int8_t last[64] = {0};
    if (count == sizeof last)
        return signs_of(x);
    memcpy(last, x, count);
    return signs_of(last);
}

#endif

/* Fills `pair` with positive inputs from the front and negative ones from the back, each list padded with events of 0 to
 * whole groups; returns the sum of all x.
 */
static int32_t find_events(const ec_matrix *matrix, const int8_t *x, uint32_t *pair, events *positive, events *negative)
{
    const uint32_t inputs = matrix->inputs, stride = matrix->stride;
    uint32_t *front = pair, *const end = pair + 2u * (inputs + 2u * (EC_EVENT_GROUP - 1u)), *back = end;
    int32_t sum = 0;
#if EC_SPECULATIVE
    for (uint32_t first = 0; first < inputs; first += 64u) {
        const signs found = signs_of_some(x + first, inputs - first < 64u ? inputs - first : 64u);
        for (uint64_t mask = found.active & ~found.negative; mask != 0u; mask &= mask - 1u, front += 2) {
            const uint32_t i = first + (uint32_t)__builtin_ctzll(mask);
            sum += x[i];
            put_event(front, i * stride, x[i]);
        }
        for (uint64_t mask = found.negative; mask != 0u; mask &= mask - 1u) {
            const uint32_t i = first + (uint32_t)__builtin_ctzll(mask);
            sum += x[i];
            back = put_event(back - 2, i * stride, -x[i]);
        }
    }
#else
    for (uint32_t i = 0; i < inputs;) {
        if (i + 4u <= inputs && load_word(x + i) == 0u) { /* zeros come in runs: four at once */
            i += 4u;
            continue;
        }
        for (const uint32_t stop = i + 4u < inputs ? i + 4u : inputs; i < stop; i++) {
            const int32_t xi = x[i];
            sum += xi;
            if (xi > 0)
                front = put_event(front, i * stride, xi) + 2;
            else if (xi < 0)
                back = put_event(back - 2, i * stride, -xi);
        }
    }
#endif
    while ((uint32_t)(front - pair) % (2u * EC_EVENT_GROUP) != 0u)
        front = put_event(front, 0, 0) + 2;
    while ((uint32_t)(end - back) % (2u * EC_EVENT_GROUP) != 0u)
        back = put_event(back - 2, 0, 0);
    positive->pair = pair;
    positive->count = (uint32_t)(front - pair) / 2u;
    negative->pair = back;
    negative->count = (uint32_t)(end - back) / 2u;
    return sum;
}

#if EC_WIDE

/* The sums of eight columns over a list of events. */
typedef struct ec_wide_sums {
    uint64_t full0, part0, full1, part1;
} ec_wide_sums;

#if defined(EC_SUM_ROWS_S)

void ec_sum_rows(const uint32_t *event, const uint8_t *column, const uint32_t *end, ec_wide_sums *sums); /* ec_sum_rows.S */

#else

static inline uint32_t outer_bytes(uint32_t w)
{
    return ((w >> 16) | (w << 16)) & 0xFF0000FFu;
}

static void ec_sum_rows(const uint32_t *event, const uint8_t *column, const uint32_t *end, ec_wide_sums *sums)
{
    uint64_t full0 = 0, part0 = 0, full1 = 0, part1 = 0;
    for (; event != end; event += 2) {
        const uint8_t *const w = column + event[0];
        const uint32_t x = event[1], w0 = load_word(w), w1 = load_word(w + 4);
        full0 += (uint64_t)w0 * x;
        part0 += (uint64_t)outer_bytes(w0) * x;
        full1 += (uint64_t)w1 * x;
        part1 += (uint64_t)outer_bytes(w1) * x;
    }
    sums->full0 = full0;
    sums->part0 = part0;
    sums->full1 = full1;
    sums->part1 = part1;
}

#endif

/* acc[0..3] += sign * (S0, S1, S2, S3) */
static inline void add_sums(uint64_t full, uint64_t part, int32_t sign, int32_t *acc)
{
    const uint32_t s2 = (uint32_t)part & 0xFFFFFFu, s1 = (uint32_t)(part >> 24);
    const uint64_t rest = full - ((uint64_t)s1 << 8) - ((uint64_t)s2 << 16);
    acc[0] += sign * (int32_t)((uint32_t)rest & 0xFFFFFFu);
    acc[1] += sign * (int32_t)s1;
    acc[2] += sign * (int32_t)s2;
    acc[3] += sign * (int32_t)(uint32_t)(rest >> 24);
}

static void add_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
    for (uint32_t done = 0; done < all.count; done += EC_WIDE_EVENTS) {
        const uint32_t count = all.count - done < EC_WIDE_EVENTS ? all.count - done : EC_WIDE_EVENTS;
        const uint32_t *const first = all.pair + 2u * done, *const end = first + 2u * count;
        for (uint32_t o = 0; o < matrix->outputs; o += 8u) {
            int32_t last[8] = {0}, *to = acc + o;
            ec_wide_sums sums;
            ec_sum_rows(first, matrix->rows + o, end, &sums);
            if (o + 8u > matrix->outputs)
                to = last;
            add_sums(sums.full0, sums.part0, sign, to);
            add_sums(sums.full1, sums.part1, sign, to + 4);
            for (uint32_t k = o; to == last && k < matrix->outputs; k++)
                acc[k] += last[k - o];
        }
    }
}

#elif EC_AVX2

static void add_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
    const uint32_t *const end = all.pair + 2u * all.count;
    uint32_t o = 0;
    for (; o + 32u <= matrix->outputs; o += 32u)
        ec_add_32_columns(matrix->rows + o, all.pair, end, sign, acc + o);
    for (; o + 8u <= matrix->outputs; o += 8u)
        ec_add_8_columns(matrix->rows + o, all.pair, end, sign, acc + o);
    if (o < matrix->outputs) { /* rows are padded to whole eights */
        int32_t last[8] = {0};
        ec_add_8_columns(matrix->rows + o, all.pair, end, sign, last);
        for (uint32_t k = o; k < matrix->outputs; k++)
            acc[k] += last[k - o];
    }
}

#else

/* Columns whose sums stay in registers while the rows pass by; a constant, so that the compiler unrolls. */
#define EC_COLUMNS 64u

static inline void add_columns(const uint8_t *rows, events all, int32_t sign, uint32_t columns, int32_t *acc)
{
    const uint32_t *const end = all.pair + 2u * all.count;
    int32_t sums[EC_COLUMNS] = {0};
    for (const uint32_t *event = all.pair; event != end; event += 2) {
        const uint8_t *const w = rows + event[0];
        const int32_t x = (int32_t)event[1];
        for (uint32_t o = 0; o < columns; o++)
            sums[o] += w[o] * x;
    }
    for (uint32_t o = 0; o < columns; o++)
        acc[o] += sign * sums[o];
}

static void add_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
    const uint8_t *rows = matrix->rows;
    uint32_t left = matrix->outputs;
    for (; left >= EC_COLUMNS; left -= EC_COLUMNS, rows += EC_COLUMNS, acc += EC_COLUMNS)
        add_columns(rows, all, sign, EC_COLUMNS, acc);
    for (; left > 0u; rows += 8u, acc += 8u, left -= left < 8u ? left : 8u) { /* rows are padded to whole eights */
        int32_t last[8] = {0};
        add_columns(rows, all, sign, 8u, last);
        for (uint32_t o = 0; o < 8u && o < left; o++)
            acc[o] += last[o];
    }
}

#endif

#if EC_PACKED

/* Code k of a group of eight. */
static inline int32_t field(uint32_t group, uint32_t bits, uint32_t k)
{
    return (int32_t)(group << (32u - bits - bits * k)) >> (32u - bits);
}

/* bits: a constant, so that every shift is one, too. */
static inline void add_packed_rows(const ec_matrix *matrix, events all, int32_t sign, uint32_t bits, int32_t *acc)
{
    const uint32_t *const end = all.pair + 2u * all.count;
    for (uint32_t o = 0; o < matrix->outputs; o += 8u) {
        const uint8_t *const column = matrix->rows + o * bits / 8u;
        int32_t sums[8] = {0}, s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (const uint32_t *event = all.pair; event != end; event += 2) {
            const uint32_t group = bits == 4u ? ec_get32(column + event[0]) : ec_get16(column + event[0]);
            const int32_t x = (int32_t)event[1];
            s0 += x * field(group, bits, 0);
            s1 += x * field(group, bits, 1);
            s2 += x * field(group, bits, 2);
            s3 += x * field(group, bits, 3);
            s4 += x * field(group, bits, 4);
            s5 += x * field(group, bits, 5);
            s6 += x * field(group, bits, 6);
            s7 += x * field(group, bits, 7);
        }
        sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
        sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
        for (uint32_t k = 0; k < 8u && o + k < matrix->outputs; k++)
            acc[o + k] += sign * sums[k];
    }
}

static void add_packed(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
    if (matrix->bits == 4u)
        add_packed_rows(matrix, all, sign, 4, acc);
    else
        add_packed_rows(matrix, all, sign, 2, acc);
}

#endif

static void add_active_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
#if EC_PACKED
    if (matrix->bits < 8u) {
        add_packed(matrix, all, sign, acc);
        return;
    }
#endif
    add_rows(matrix, all, sign, acc);
}

void ec_matmul_sums(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    const uint32_t outputs = matrix->outputs;
    const int32_t *const bias = matrix->bias;
    events positive = {NULL, 0}, negative = {NULL, 0};
    int32_t start = 0;
    if (matrix->rows != NULL) /* the stored offset, taken off in advance, keeps every partial sum inside the proof */
        start = -(int32_t)matrix->offset * find_events(matrix, x, run->scratch->event, &positive, &negative);
#if EC_SIGNED_ROWS || EC_PACKED
    if (EC_SIGNED_ROWS || matrix->bits < 8u) /* packed codes have no offset */
        start = 0;
#endif
    for (uint32_t o = 0; o < outputs; o++)
        acc[o] = start + (gain == 1 && bias != NULL ? bias[o] : 0);
    if (matrix->rows != NULL) {
        add_active_rows(matrix, positive, 1, acc);
        add_active_rows(matrix, negative, -1, acc);
    } else {
        dense(matrix, x, acc);
    }
    if (gain != 1)
        for (uint32_t o = 0; o < outputs; o++)
            acc[o] = gain * acc[o] + (bias != NULL ? bias[o] : 0);
}

void ec_matmul(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    ec_matmul_sums(matrix, run, gain, x, acc);
#if EC_FAULTS
    ec_faults_patch_sums(run->faults, matrix, gain, x, acc);
#endif
}

uint16_t ec_argmax(const int32_t *logits, uint16_t count)
{
    uint16_t best = 0;
    for (uint16_t k = 1; k < count; k++)
        if (logits[k] > logits[best])
            best = k;
    return best;
}
