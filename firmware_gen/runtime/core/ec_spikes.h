/* Matrices whose inputs are 0 or 1: the rows of spikes, taken once each. */
#ifndef EC_SPIKES_H
#define EC_SPIKES_H

#include "ec_layers.h"
#include "ec_run.h"

/* Spikes of one list: 255 * 240 < 2^16, and whole eights of words behind it. */
#define EC_SPIKES 240u

/* acc[o] = from[o] + sum of w[o][i] over all x[i] that are 1; from: [outputs], and may be acc. Inputs that come in ticks come in fours. */
void ec_spikes_matmul(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc);

#endif
