/* The sum of two tensors of different scale. */
#ifndef EC_ADD_H
#define EC_ADD_H

#include "ec_types.h"

/* out[i] = gain * x[i] + other_gain * other[i]; gains 1..32767, so that no sum reaches 2^24. No two arrays overlap. */
void ec_add(uint32_t size, int32_t gain, const int8_t *x, int32_t other_gain, const int8_t *other, int32_t *out);

#endif
