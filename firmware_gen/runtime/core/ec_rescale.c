/* floor((x * m + 2^(s-1)) / 2^s) is (floor(x * m / 2^32) + 2^(s-33)) >> (s - 32) for s >= 33: the high word of a product is enough, which
 * is what SMMLA adds (ec_rescale.S).
 */
#include "ec_rescale.h"

#if !defined(EC_RESCALE_S)

#define EC_RESCALE_LOOP(in_type, out_type, low, high)                                                                        \
    for (uint32_t n = 0; n < span; n++)                                                                                      \
        ((out_type *)out)[at + n] =                                                                                          \
            (out_type)ec_clip(((int32_t)(((int64_t)((const in_type *)x)[at + n] * m) >> 32) + half) >> shift, low, high);

void ec_rescale(const ec_rescaling *rescaling, uint32_t ticks, const void *x, void *out)
{
    const uint32_t span = rescaling->span, form = rescaling->form;
    uint32_t at = 0;
    for (; ticks > 0u; ticks--)
        for (uint32_t k = 0; k < rescaling->channels; k++, at += span) {
            const int32_t *const terms = rescaling->terms + 6u * (k >> 1) + (k & 1u);
            const int32_t m = terms[0], half = terms[2], shift = terms[4];
            if (form == EC_WORDS_INT8)
                EC_RESCALE_LOOP(int32_t, int8_t, INT8_MIN, INT8_MAX)
            else if (form == EC_WORDS_RELU)
                EC_RESCALE_LOOP(int32_t, int8_t, 0, INT8_MAX)
            else if (form == EC_WORDS_INT16)
                EC_RESCALE_LOOP(int32_t, int16_t, INT16_MIN, INT16_MAX)
            else
                EC_RESCALE_LOOP(int16_t, int8_t, INT8_MIN, INT8_MAX)
        }
}

#endif
