/* The norm by an integer square root of 16 steps, then one draw per output. */
#include "ec_thermal.h"

#include <string.h>

#include "ec_draws.h"

#if EC_NOISE

#if defined(__ARM_FEATURE_DSP) && defined(__ARMEL__)
#include <arm_acle.h>
#define EC_SQUARES 4u /* codes that are squared at a time */

/* sum + the squares of four codes: even and odd bytes as two pairs of 16 bits. */
static inline uint32_t add_squares(const int8_t *codes, uint32_t sum)
{
    uint32_t word;
    EC_COPY_WORD(&word, codes);
    const int16x2_t even = __sxtb16((int8x4_t)word), odd = __sxtb16((int8x4_t)(word >> 8 | word << 24));
    return (uint32_t)__smlad(even, even, __smlad(odd, odd, (int32_t)sum));
}

#else
#define EC_SQUARES 1u

static inline uint32_t add_squares(const int8_t *codes, uint32_t sum)
{
    return sum + (uint32_t)(codes[0] * codes[0]);
}

#endif

/* floor(sqrt(x)), x < 2^31: one bit of the root a step. */
static uint32_t square_root(uint32_t x)
{
    uint32_t root = 0;
    for (uint32_t bit = 1u << 15; bit > 0u; bit >>= 1)
        if ((root + bit) * (root + bit) <= x)
            root += bit;
    return root;
}

void ec_thermal_noise(const ec_thermal *layer, const ec_run *run, const int8_t *codes, const int32_t *x, int32_t *out)
{
#if EC_FAULTS
    ec_draws words = ec_draws_of(run, layer->stream, layer->outputs, layer->draw_at);
#else
    ec_draws words = ec_draws_of(run, layer->stream, layer->outputs, 0);
#endif
    const int32_t temperature = run->parameter[layer->index];
    uint32_t square = 0, k = 0;
    int32_t amplitude;
    if (temperature == 0) { /* without an amplitude the rounded noise is 0, whatever the words */
        memcpy(out, x, layer->outputs * sizeof *out);
        return;
    }
    ec_draws_tick(&words, 0);
    for (; k + EC_SQUARES <= layer->inputs; k += EC_SQUARES)
        square = add_squares(codes + k, square);
    for (; k < layer->inputs; k++)
        square += (uint32_t)(codes[k] * codes[k]);
    amplitude = ec_rounded_shift((int32_t)square_root(square) * temperature, layer->shift_a);
    if (amplitude > INT16_MAX)
        amplitude = INT16_MAX;
    for (uint32_t n = 0; n < layer->outputs && ec_draws_work(&words); n++)
        out[n] = x[n] + ec_noise(ec_word(words.tick, n), amplitude, layer->shift_b);
#if EC_FAULTS
    for (uint32_t n = 0; n < layer->outputs && !ec_draws_work(&words); n++)
        out[n] = x[n] + ec_noise(ec_draw(&words, n), amplitude, layer->shift_b);
#endif
}

#endif
