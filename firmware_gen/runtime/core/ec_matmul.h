/* Matrix times vector, int8 x int8 -> int32. */
#ifndef EC_MATMUL_H
#define EC_MATMUL_H

#include "ec_layers.h"
#include "ec_run.h"

/* acc[o] = gain * sum_i w[o][i] * x[i] + bias[o].
 * x: [inputs]; acc: [outputs]; gain 1, or an expected count times 256. No bound is checked: all are proved.
 * ec_matmul: of `rows`, by events; ec_matmul_dense: of `dense`; ec_matmul_quads: of `dense` where it is in quads;
 * ec_matmul_spikes: of `rows` of spikes, inputs 0 or 1.
 */
void ec_matmul(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc);
void ec_matmul_dense(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc);
void ec_matmul_quads(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc);
void ec_matmul_spikes(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc);

/* As ec_matmul at gain 1, of the stored words alone, without faults. */
void ec_matmul_sums(const ec_matrix *matrix, const ec_run *run, const int8_t *x, int32_t *acc);

/* The class: index of the largest logit, ties to the lowest index. count >= 1. */
uint16_t ec_argmax(const int32_t *logits, uint16_t count);

#endif
