/* Convolutions three columns wide whose weights of two outputs share a half word. */
#ifndef EC_CONV_PAIRS_H
#define EC_CONV_PAIRS_H

#include "ec_layers.h"
#include "ec_run.h"

/* As `ec_conv_dense`, for a matrix of layout EC_PAIRS: kernels of three columns, columns at steps of 1, an output of at least two columns. */
void ec_conv_pairs(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc);

/* Positions of an output row that are worked on together: their codes, with two columns more, fill 16 words or 32. */
#define EC_STRIP_COLUMNS 30u

/* Whole fours of outputs at some neighboring positions of a row. */
typedef struct ec_conv_strip {
    const uint32_t *codes; /* [pairs][wide]: codes of two rows of the window in each word, the upper row below */
    const int16_t *weight; /* [quads][pairs][3][2][2], as of EC_PAIRS */
    const int32_t *bias;   /* [4 * quads] */
    int32_t *acc;          /* of the first output */
    uint32_t plane;        /* bytes from an output's sums to the next one's */
    uint32_t columns;      /* 2..wide - 2 */
    uint32_t pairs;        /* rows of a window over all channels, two by two */
    uint32_t quads;        /* >= 1 */
    uint32_t wide;         /* 16 or 32 */
} ec_conv_strip;

/* acc[o * plane / 4 + c] = bias[o] + sum over pairs and taps of weight * codes[c + tap]. */
void ec_conv_quads(const ec_conv_strip *strip);

/* pairs[k]: low[k] in its lower half, high[k] in its upper one. */
void ec_widen(const int8_t *low, const int8_t *high, uint32_t count, uint32_t *pairs);

#endif
