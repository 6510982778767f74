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
 */
#include "ec_matmul.h"

#include <string.h>

#ifndef EC_WIDE
#if defined(__ARM_ARCH) && !defined(__aarch64__) && (__ARM_ARCH >= 7) && defined(__ARMEL__)
#define EC_WIDE 1
#else
#define EC_WIDE 0
#endif
#endif

/* 255 * 128 * 512 < 2^24: so many events of |x| <= 128 fit the wide sums. */
#define EC_WIDE_EVENTS 512u

typedef struct events {
    const uint32_t *pair; /* (row offset, |x|) */
    uint32_t count;
} events;

static inline uint32_t load_word(const void *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static void dense(const ec_matrix *matrix, const int8_t *x, int32_t *acc)
{
    const uint32_t inputs = matrix->inputs;
    const int8_t *w = matrix->dense;
    uint32_t o = 0;
    for (; o + 4u <= matrix->outputs; o += 4u, w += 4u * inputs) { /* four sums share each load of x */
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (uint32_t i = 0; i < inputs; i++) {
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

/* Fills `pair` with positive inputs from the front and negative ones from the back; returns the sum of all x. */
static int32_t find_events(const ec_matrix *matrix, const int8_t *x, uint32_t *pair, events *positive, events *negative)
{
    const uint32_t inputs = matrix->inputs, stride = matrix->stride;
    uint32_t *front = pair, *back = pair + 2u * inputs;
    int32_t sum = 0;
    for (uint32_t i = 0; i < inputs;) {
        if (i + 4u <= inputs && load_word(x + i) == 0u) { /* zeros come in runs: four at once */
            i += 4u;
            continue;
        }
        for (const uint32_t end = i + 4u < inputs ? i + 4u : inputs; i < end; i++) {
            const int32_t xi = x[i];
            sum += xi;
            if (xi > 0) {
                front[0] = i * stride;
                front[1] = (uint32_t)xi;
                front += 2;
            } else if (xi < 0) {
                back -= 2;
                back[0] = i * stride;
                back[1] = (uint32_t)-xi;
            }
        }
    }
    positive->pair = pair;
    positive->count = (uint32_t)(front - pair) / 2u;
    negative->pair = back;
    negative->count = (uint32_t)(pair + 2u * inputs - back) / 2u;
    return sum;
}

#if EC_WIDE

static inline uint32_t outer_bytes(uint32_t w)
{
    return ((w >> 16) | (w << 16)) & 0xFF0000FFu;
}

/* acc[0..3] += sign * (S0, S1, S2, S3), the first `count` of them. */
static inline void add_sums(uint64_t full, uint64_t part, int32_t sign, uint32_t count, int32_t *acc)
{
    const uint32_t s2 = (uint32_t)part & 0xFFFFFFu, s1 = (uint32_t)(part >> 24);
    const uint64_t rest = full - ((uint64_t)s1 << 8) - ((uint64_t)s2 << 16);
    const uint32_t sums[4] = {(uint32_t)rest & 0xFFFFFFu, s1, s2, (uint32_t)(rest >> 24)};
    for (uint32_t k = 0; k < 4u && k < count; k++)
        acc[k] += sign * (int32_t)sums[k];
}

static void add_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *acc)
{
    const uint32_t outputs = matrix->outputs;
    for (uint32_t done = 0; done < all.count; done += EC_WIDE_EVENTS) {
        const uint32_t count = all.count - done < EC_WIDE_EVENTS ? all.count - done : EC_WIDE_EVENTS;
        const uint32_t *const first = all.pair + 2u * done, *const end = first + 2u * count;
        uint32_t o = 0;
        for (; o + 4u < outputs; o += 8u) { /* eight sums fill the registers of a Cortex-M */
            uint64_t full0 = 0, part0 = 0, full1 = 0, part1 = 0;
            const uint8_t *const column = matrix->rows + o;
            for (const uint32_t *event = first; event != end; event += 2) {
                const uint8_t *const w = column + event[0];
                const uint32_t x = event[1], w0 = load_word(w), w1 = load_word(w + 4);
                full0 += (uint64_t)w0 * x;
                part0 += (uint64_t)outer_bytes(w0) * x;
                full1 += (uint64_t)w1 * x;
                part1 += (uint64_t)outer_bytes(w1) * x;
            }
            add_sums(full0, part0, sign, 4u, acc + o);
            add_sums(full1, part1, sign, outputs - o - 4u, acc + o + 4);
        }
        if (o < outputs) {
            uint64_t full = 0, part = 0;
            for (const uint32_t *event = first; event != end; event += 2) {
                const uint32_t x = event[1], w = load_word(matrix->rows + o + event[0]);
                full += (uint64_t)w * x;
                part += (uint64_t)outer_bytes(w) * x;
            }
            add_sums(full, part, sign, outputs - o, acc + o);
        }
    }
}

#else

static void add_rows(const ec_matrix *matrix, events all, int32_t sign, int32_t *restrict acc)
{
    const uint32_t outputs = matrix->outputs;
    const uint32_t *event = all.pair;
    uint32_t left = all.count;
    for (; left >= 4u; left -= 4u, event += 8) { /* four rows share each load and store of the sums */
        const uint8_t *const w0 = matrix->rows + event[0], *const w1 = matrix->rows + event[2];
        const uint8_t *const w2 = matrix->rows + event[4], *const w3 = matrix->rows + event[6];
        const int32_t x0 = sign * (int32_t)event[1], x1 = sign * (int32_t)event[3];
        const int32_t x2 = sign * (int32_t)event[5], x3 = sign * (int32_t)event[7];
        for (uint32_t o = 0; o < outputs; o++)
            acc[o] += w0[o] * x0 + w1[o] * x1 + w2[o] * x2 + w3[o] * x3;
    }
    for (; left > 0u; left--, event += 2) {
        const uint8_t *const w = matrix->rows + event[0];
        const int32_t x = sign * (int32_t)event[1];
        for (uint32_t o = 0; o < outputs; o++)
            acc[o] += w[o] * x;
    }
}

#endif

void ec_matmul(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    const uint32_t outputs = matrix->outputs;
    const int32_t *const bias = matrix->bias;
    events positive = {NULL, 0}, negative = {NULL, 0};
    int32_t start = 0;
    if (matrix->rows != NULL) /* the stored offset, taken off in advance, keeps every partial sum inside the proof */
        start = -(int32_t)matrix->offset * find_events(matrix, x, run->scratch->event, &positive, &negative);
    for (uint32_t o = 0; o < outputs; o++)
        acc[o] = start + (gain == 1 && bias != NULL ? bias[o] : 0);
    if (matrix->rows != NULL) {
        add_rows(matrix, positive, 1, acc);
        add_rows(matrix, negative, -1, acc);
    } else {
        dense(matrix, x, acc);
    }
    if (gain != 1)
        for (uint32_t o = 0; o < outputs; o++)
            acc[o] = gain * acc[o] + (bias != NULL ? bias[o] : 0);
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

static inline int32_t requantize(const ec_scaling *scaling, uint32_t channel, int32_t acc)
{
    const uint32_t k = scaling->per_channel ? channel : 0u, shift = scaling->shift[k];
    const int64_t scaled = ((int64_t)acc * scaling->multiplier[k] + ((int64_t)1 << (shift - 1u))) >> shift;
    return ec_clip((int32_t)scaled, scaling->low, scaling->high); /* |acc| < 2^30, m < 2^31, shift >= 31: fits */
}

void ec_requantize_int8(const ec_scaling *scaling, uint8_t ticks, const int32_t *acc, int8_t *out)
{
    for (uint32_t t = 0; t < ticks; t++, acc += scaling->channels, out += scaling->channels)
        for (uint32_t k = 0; k < scaling->channels; k++)
            out[k] = (int8_t)requantize(scaling, k, acc[k]);
}

void ec_requantize_int16(const ec_scaling *scaling, uint8_t ticks, const int32_t *acc, int16_t *out)
{
    for (uint32_t t = 0; t < ticks; t++, acc += scaling->channels, out += scaling->channels)
        for (uint32_t k = 0; k < scaling->channels; k++)
            out[k] = (int16_t)requantize(scaling, k, acc[k]);
}
