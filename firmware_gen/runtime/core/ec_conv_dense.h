/* Convolutions with dense 8-bit weights: four neighboring positions at a time. */
#ifndef EC_CONV_DENSE_H
#define EC_CONV_DENSE_H

#include "ec_layers.h"
#include "ec_run.h"

/* Positions of an output row whose sums share each load of a weight. */
#define EC_CONV_BLOCK 4u

/* As `ec_conv`, for matrix.dense; rows of weights are padded with zeros to whole fours. */
void ec_conv_dense(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc);

/* What the sums of one block are made of. */
typedef struct ec_conv_block {
    const int8_t *weight;    /* [outputs][4 * quads] */
    const int16_t *codes;    /* [quads][2][EC_CONV_BLOCK][2]: of four inputs the even ones, then the odd ones; 4-byte aligned */
    const int16_t *end;      /* codes + 16 * quads, quads >= 1 */
    const int32_t *bias;     /* [outputs] at steps of bias_step bytes: 4, or 0 where one word serves all */
    uint32_t bias_step;
    uint32_t outputs;        /* >= 1 */
    uint32_t plane;          /* bytes from an output's sums to the next one's */
} ec_conv_block;

/* acc[o * plane / 4 + p] = bias[o] + sum over inputs of weight[o] * codes at position p. */
void ec_conv_sums(const ec_conv_block *block, int32_t *acc);

#endif
