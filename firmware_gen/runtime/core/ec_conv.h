/* Convolutions: windows that move over an image [channels][height][width]. */
#ifndef EC_CONV_H
#define EC_CONV_H

#include "ec_conv_dense.h"
#include "ec_conv_pairs.h"
#include "ec_layers.h"
#include "ec_run.h"

/* acc[o][y][x] = bias[o] + sum over the window at (y, x) of weight[o] * codes, int32 [outputs][rows][columns].
 * Beyond its edges the image continues with code 0. Event-driven and packed weights take every window as one input of the
 * matrix, so that what serves matrices serves convolutions; dense weights have kernels of their own (ec_conv_dense.h, ec_conv_pairs.h).
 */
void ec_conv(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc);

#endif
