/* One loop for four pairs of types. */
#include "ec_requantize.h"

#define EC_REQUANTIZE(name, in_type, out_type)                                                                          \
    void name(const ec_scaling *scaling, uint32_t ticks, const in_type *x, out_type *out)                               \
    {                                                                                                                   \
        for (; ticks > 0u; ticks--)                                                                                     \
            for (uint32_t k = 0; k < scaling->channels; k++) {                                                          \
                const int32_t multiplier = scaling->multiplier[k];                                                      \
                const uint32_t shift = scaling->shift[k];                                                               \
                for (const in_type *const end = x + scaling->span; x != end;)                                           \
                    *out++ = (out_type)ec_requantize(*x++, multiplier, shift, scaling->low, scaling->high);             \
            }                                                                                                           \
    }

EC_REQUANTIZE(ec_requantize_int32_int8, int32_t, int8_t)
EC_REQUANTIZE(ec_requantize_int32_int16, int32_t, int16_t)
EC_REQUANTIZE(ec_requantize_int16_int8, int16_t, int8_t)
EC_REQUANTIZE(ec_requantize_int16_int16, int16_t, int16_t)
