/* From accumulators back to codes, where the shift is beyond 32 and the codes are all that a type has, or those of a ReLU. */
#ifndef EC_RESCALE_H
#define EC_RESCALE_H

#include "ec_layers.h"

/* From int32 to int8, to 0..127, to int16; from int16 to int8. */
enum { EC_WORDS_INT8 = 0, EC_WORDS_RELU = 1, EC_WORDS_INT16 = 2, EC_HALVES_INT8 = 3 };

typedef struct ec_rescaling {
    const int32_t *terms; /* [channels / 2, rounded up][3][2]: multiplier, 2^(shift - 33), shift - 32 of two channels */
    uint32_t channels;
    uint32_t span; /* values of a channel and tick */
    uint32_t form; /* EC_HALVES_INT8 with one channel only */
} ec_rescaling;

/* As ec_requantize_<in>_<out>, with the same integers. */
void ec_rescale(const ec_rescaling *rescaling, uint32_t ticks, const void *x, void *out);

#endif
