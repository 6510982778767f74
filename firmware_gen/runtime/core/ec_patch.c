/* Rows are few: each is looked at by every matrix. */
#include "ec_patch.h"

#include <string.h>

#include "ec_protocol.h"

#if EC_FAULTS || EC_GUARDS

int32_t ec_weight_at(const ec_matrix *matrix, uint32_t output, uint32_t input)
{
    if (EC_NIBBLES && matrix->bits == 4u && matrix->rows != NULL)
        return (ec_packed_code(matrix->rows + input * matrix->stride, 4, output) & 15) - 8;
    if (matrix->bits < 8u && matrix->rows != NULL)
        return ec_packed_code(matrix->rows + input * matrix->stride, matrix->bits, output);
    if (matrix->bits < 8u)
        return ec_packed_code(matrix->dense + output * matrix->stride, matrix->bits, input);
#if EC_FAULTS
    if (matrix->paired == 2u) {
        const uint32_t eight = output / 4u * (matrix->stride / 32u) + input / 8u, pair = (input >> 1 & 2u) + (input & 1u);
        const int16_t *const two = (const int16_t *)(const void *)matrix->dense + (eight * 4u + pair) * 4u;
        return ec_paired_weight(two[(output & 2u) + (input >> 1 & 1u)], output);
    }
    if (matrix->paired == 3u)
        return (int32_t)matrix->rows[ec_spike_row(matrix, input) * matrix->stride + output] - matrix->offset;
    if (matrix->paired == 1u) {
        const uint32_t row = input / 3u, pair = output / 4u * ((matrix->inputs / 3u + 1u) / 2u) + row / 2u;
        const int16_t *const two = (const int16_t *)(const void *)matrix->dense + (pair * 3u + input % 3u) * 4u;
        return ec_paired_weight(two[(output & 2u) + (row & 1u)], output);
    }
#endif
    if (matrix->rows != NULL)
        return (int32_t)matrix->rows[input * matrix->stride + output] - matrix->offset;
    return matrix->dense[output * matrix->stride + input];
}

void ec_patch_sums(const ec_patch *row, uint32_t rows, const ec_matrix *matrix, int32_t gain, const int8_t *x, int32_t *acc)
{
    for (uint32_t k = 0; k < rows; k++) {
        const ec_patch *const patch = &row[k];
        if (patch->matrix != matrix->index)
            continue;
        if (patch->input == EC_BIAS_INPUT)
            acc[patch->output] += patch->delta;
        else
            acc[patch->output] += gain * (patch->delta * x[patch->input]);
    }
}

/* Adds delta times the input (channel, i, j) of every window that has it. */
static void patch_plane(const ec_windows *w, uint32_t input, int32_t delta, const int8_t *x, int32_t *plane)
{
    const uint32_t whole = (uint32_t)w->kernel_rows * w->kernel_columns;
    const int32_t i = (int32_t)(input % whole / w->kernel_columns) - w->pad_rows;
    const int32_t j = (int32_t)(input % w->kernel_columns) - w->pad_columns;
    const int8_t *const image = x + input / whole * w->height * w->width;
    for (uint32_t row = 0; row < w->rows; row++) {
        const uint32_t y = row * w->stride_rows + (uint32_t)i; /* beyond an edge it is large, whichever edge */
        for (uint32_t column = 0; column < w->columns && y < w->height; column++) {
            const uint32_t k = column * w->stride_columns + (uint32_t)j;
            if (k < w->width)
                plane[row * w->columns + column] += delta * image[y * w->width + k];
        }
    }
}

void ec_patch_windows(const ec_patch *row, uint32_t rows, const ec_conv_layer *layer, const int8_t *x, int32_t *acc)
{
    const ec_windows *const w = &layer->windows;
    const uint32_t positions = (uint32_t)w->rows * w->columns;
    for (uint32_t k = 0; k < rows; k++) {
        const ec_patch *const patch = &row[k];
        int32_t *plane;
        if (patch->matrix != layer->matrix.index)
            continue;
        plane = acc + patch->output * positions;
        if (patch->input != EC_BIAS_INPUT)
            patch_plane(w, patch->input, patch->delta, x, plane);
        for (uint32_t p = 0; p < positions && patch->input == EC_BIAS_INPUT; p++)
            plane[p] += patch->delta;
    }
}

void ec_patch_bag(const ec_patch *row, uint32_t rows, const ec_embedding *bag, const uint8_t *ids, int32_t *sums)
{
    uint32_t seen[32]; /* by the low ten bits of a token: most rows of a large vocabulary are not in the text */
    if (rows == 0u)
        return;
    memset(seen, 0, sizeof seen);
    for (uint32_t t = 0; t < bag->tokens; t++) {
        const uint32_t id = ec_token(bag, ids, t);
        seen[id >> 5 & 31u] |= (uint32_t)1 << (id & 31u);
    }
    for (uint32_t k = 0; k < rows; k++) {
        const ec_patch *const patch = &row[k];
        const uint32_t token = patch->output;
        if (patch->matrix != bag->table.index || token == EC_TOKEN_PAD || (seen[token >> 5 & 31u] >> (token & 31u) & 1u) == 0u)
            continue;
        for (uint32_t t = 0; t < bag->tokens; t++)
            if (ec_token(bag, ids, t) == token)
                sums[patch->input] += patch->delta;
    }
}

#endif
