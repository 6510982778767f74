/* Dense matrices whose weights share half words: four outputs at a time. */
#ifndef EC_QUADS_H
#define EC_QUADS_H

#include "ec_layers.h"
#include "ec_run.h"

/* Codes that are spread at a time: 127 * 128 * 512 < 2^23, of which the eight bits above a sum of B are left. */
#define EC_QUAD_CODES 512u

/* acc[o] = from[o] + sum_i w[o][i] * x[i]; from: [outputs], and may be acc. */
void ec_quads_matmul(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc);

#endif
