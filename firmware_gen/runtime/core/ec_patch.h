/* Words of matrices that are other than stored: what a row changes is added after the sum. Faults are such rows, and the corrections of guards. */
#ifndef EC_PATCH_H
#define EC_PATCH_H

#include "ec_config.h"
#include "ec_layers.h"

#if EC_FAULTS || EC_GUARDS

/* acc[output] += delta * x[input], or += delta where input is EC_BIAS_INPUT. Of an EmbeddingBag: token `output` adds delta
 * to sum `input`.
 */
typedef struct ec_patch {
    int32_t delta;
    uint16_t output;
    uint16_t input;
    uint8_t matrix;
} ec_patch;

/* The stored weight at (output, input). */
int32_t ec_weight_at(const ec_matrix *matrix, uint32_t output, uint32_t input);

void ec_patch_sums(const ec_patch *row, uint32_t rows, const ec_matrix *matrix, int32_t gain, const int8_t *x, int32_t *acc);
/* acc: the whole output of the convolution; a changed weight counts at every position where its input exists. */
void ec_patch_windows(const ec_patch *row, uint32_t rows, const ec_conv_layer *layer, const int8_t *x, int32_t *acc);
void ec_patch_bag(const ec_patch *row, uint32_t rows, const ec_embedding *bag, const uint8_t *ids, int32_t *sums);

#endif
#endif
