/* Counter-based random words: the same 32 bits for (seed, sample, tick, stream, neuron) as on every other target.
 *
 * A word costs two multiplications and is drawn only where it can change the result, in any order. All arithmetic is
 * modulo 2^32. Source: docs/semantics.md, "Random words".
 */
#ifndef EC_RANDOM_H
#define EC_RANDOM_H

#include "ec_config.h"
#include "ec_types.h"

#define EC_GOLDEN 0x9E3779B9u
#define EC_MUL_1 0x21F0AAADu
#define EC_MUL_2 0xD35A2D97u
#define EC_SECOND_PREFIX 0x85EBCA6Bu

/* Two independent prefixes: one alone repeats whole blocks of draws. */
typedef struct ec_prefix {
    uint32_t a;
    uint32_t b;
} ec_prefix;

static inline uint32_t ec_mix(uint32_t x)
{
    x ^= x >> 16;
    x *= EC_MUL_1;
    x ^= x >> 15;
    x *= EC_MUL_2;
    return x ^ (x >> 15);
}

/* What the ticks of one (seed, stream, sample) share. */
static inline ec_prefix ec_stream_prefix(uint32_t seed, uint32_t stream, uint32_t sample)
{
    const uint32_t head = ec_mix(seed ^ (EC_GOLDEN * (stream + 1u)));
    const ec_prefix prefix = {ec_mix(head ^ sample), ec_mix(ec_mix(head + EC_SECOND_PREFIX) + sample)};
    return prefix;
}

static inline ec_prefix ec_tick_prefix(ec_prefix stream, uint32_t tick)
{
    const ec_prefix prefix = {ec_mix(stream.a ^ tick), ec_mix(stream.b + tick)};
    return prefix;
}

static inline uint32_t ec_word(ec_prefix tick, uint32_t neuron)
{
    uint32_t x = tick.a + neuron * EC_GOLDEN;
    x ^= x >> 16;
    x *= EC_MUL_1;
    x ^= x >> 15;
    x += tick.b;
    x *= EC_MUL_2;
    return x ^ (x >> 16);
}

/* 1 where an omission probability of fail_q / 65536 loses the spike; 0 never, 65536 always. */
static inline uint32_t ec_lost(uint32_t word, uint32_t fail_q)
{
    return (word & 0xFFFFu) < fail_q;
}

#if EC_NOISE
/* 1,024 Gaussian quantiles in units of 2^-13 standard deviations, and the largest of them. */
extern const int16_t ec_gaussian[1024];

/* One table-Gaussian draw times sigma: |result| <= ec_noise_bound(sigma, shift). */
static inline int32_t ec_noise(uint32_t word, int32_t sigma, uint32_t shift)
{
    return ec_rounded_shift(ec_gaussian[word >> 22] * sigma, shift);
}

static inline int32_t ec_noise_bound(int32_t sigma, uint32_t shift)
{
    return ec_rounded_shift(EC_GAUSSIAN_MAX * sigma, shift);
}
#endif

#endif
