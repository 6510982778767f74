/* Pools: windows that move over an image [channels][height][width], without padding. */
#ifndef EC_POOL_H
#define EC_POOL_H

#include "ec_layers.h"

/* The largest code of each window; out: [channels][rows][columns]. */
void ec_max_pool(const ec_windows *windows, const int8_t *x, int8_t *out);

/* The sum of each window: what comes next divides. */
void ec_average_pool(const ec_windows *windows, const int8_t *x, int32_t *out);

#if defined(EC_POOL_SQUARES_S)

/* Some columns of windows 2x2 at steps of 2. */
typedef struct ec_pool_strip {
    const int8_t *x;
    void *out;         /* int8_t, or int32_t of sums */
    uint32_t rows;     /* of the output, over all channels that follow each other without a gap */
    uint32_t width;    /* bytes of a row of x */
    uint32_t blocks;   /* of two columns, 0..8 */
    uint32_t single;   /* 1: one column more */
    uint32_t x_step;   /* bytes from behind a row to the next but one */
    uint32_t out_step; /* bytes from behind a row to the next */
    uint32_t sums;     /* 1: the sum of each window, 0: its largest code */
} ec_pool_strip;

void ec_pool_squares(const ec_pool_strip *strip);

#endif
#endif
