/* Matrix times vector, int8 x int8 -> int32. */
#ifndef EC_MATMUL_H
#define EC_MATMUL_H

#include "ec_layers.h"
#include "ec_run.h"

/* acc[o] = gain * sum_i w[o][i] * x[i] + bias[o].
 * x: [inputs]; acc: [outputs]; gain 1, or an expected count times 256. No bound is checked: all are proved.
 */
void ec_matmul(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc);

/* The class: index of the largest logit, ties to the lowest index. count >= 1. */
uint16_t ec_argmax(const int32_t *logits, uint16_t count);

/* q = clip((int64(acc) * multiplier + 2^(shift-1)) >> shift); ties up; |acc| < 2^30. Both arrays [ticks][channels]. */
void ec_requantize_int8(const ec_scaling *scaling, uint8_t ticks, const int32_t *acc, int8_t *out);
void ec_requantize_int16(const ec_scaling *scaling, uint8_t ticks, const int32_t *acc, int16_t *out);

#endif
