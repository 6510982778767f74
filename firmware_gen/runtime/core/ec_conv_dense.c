/* The windows of four positions are gathered as 16-bit pairs, once for all outputs. Each weight is then read once for four
 * products; pairs are what SMLAD and its wider relatives multiply. Cores with SMLAD have the sums in ec_conv_sums.S.
 */
#include "ec_conv_dense.h"

#include <string.h>

#include "ec_avx2.h"

#define LANES (4u * EC_CONV_BLOCK)

/* From input k of a window in a block to input k + 1: of four, the even ones come first. */
static inline int32_t to_next(uint32_t k)
{
    return (k & 1u) == 0u ? 8 : (k & 2u) == 0u ? -7 : 7;
}

/* One input of every position; the first one's code is from[0], and `step` codes lie between two. */
static inline void put(int16_t *to, const int8_t *from, uint32_t step)
{
    to[0] = from[0];
    to[2] = from[step];
    to[4] = from[2u * step];
    to[6] = from[3u * step];
}

static inline int16_t code_at(const int8_t *row, uint32_t at, uint32_t width)
{
    return at < width ? row[at] : 0;
}

/* The same where some position lies beyond an edge. at: the first one's column, huge where it is left of the image. */
static inline void put_clipped(int16_t *to, const int8_t *row, uint32_t at, uint32_t step, uint32_t width)
{
    to[0] = code_at(row, at, width);
    to[2] = code_at(row, at + step, width);
    to[4] = code_at(row, at + 2u * step, width);
    to[6] = code_at(row, at + 3u * step, width);
}

/* The windows of the positions from `column` on. */
static void gather(const ec_windows *w, uint32_t row, uint32_t column, const int8_t *x, int16_t *to)
{
    const uint32_t step = w->stride_columns, width = w->width, kernel_columns = w->kernel_columns;
    const uint32_t top = row * w->stride_rows - w->pad_rows, left = column * step - w->pad_columns; /* modulo 2^32 */
    const uint32_t whole = left < width && left + (EC_CONV_BLOCK - 1u) * step + kernel_columns <= width;
    uint32_t k = 0;
    for (uint32_t c = 0; c < w->channels; c++, x += (uint32_t)w->height * width)
        for (uint32_t i = 0; i < w->kernel_rows; i++) {
            const uint32_t y = top + i, end = k + kernel_columns;
            const int8_t *from = x + (y < w->height ? y * width : 0u);
            if (whole && y < w->height)
                for (from += left; k < end; to += to_next(k++))
                    put(to, from++, step);
            else
                for (uint32_t at = left; k < end; to += to_next(k++))
                    put_clipped(to, from, at++, step, y < w->height ? width : 0u);
        }
}

#if !defined(EC_CONV_SUMS_S)

#if !EC_AVX2
static void ec_sum_block(const int8_t *w, const int16_t *codes, const int16_t *end, int32_t *sums)
{
    memset(sums, 0, EC_CONV_BLOCK * sizeof *sums);
    for (; codes != end; codes += LANES, w += 4)
        for (uint32_t p = 0; p < EC_CONV_BLOCK; p++)
            sums[p] += w[0] * codes[2u * p] + w[2] * codes[2u * p + 1u] + w[1] * codes[8u + 2u * p] + w[3] * codes[9u + 2u * p];
}
#endif

void ec_conv_sums(const ec_conv_block *block, int32_t *acc)
{
    const int8_t *w = block->weight;
    const int32_t *bias = block->bias;
    for (uint32_t o = 0; o < block->outputs; o++) {
        int32_t sums[EC_CONV_BLOCK];
        ec_sum_block(w, block->codes, block->end, sums);
        for (uint32_t p = 0; p < EC_CONV_BLOCK; p++)
            acc[p] = *bias + sums[p];
        w += (block->end - block->codes) / (int32_t)EC_CONV_BLOCK;
        bias += block->bias_step / sizeof *bias;
        acc += block->plane / sizeof *acc;
    }
}

#endif

void ec_conv_dense(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc)
{
    static const int32_t none = 0;
    const ec_matrix *const matrix = &layer->matrix;
    const ec_windows *const w = &layer->windows;
    const uint32_t columns = w->columns, positions = (uint32_t)w->rows * columns, quads = (matrix->inputs + 3u) / 4u;
    const uint32_t narrow = columns < EC_CONV_BLOCK; /* a block is wider than a row: its sums pass through the scratch memory */
    int16_t *const codes = run->scratch->block;
    ec_conv_block block;
    block.weight = matrix->dense;
    block.codes = codes;
    block.end = codes + LANES * quads;
    block.bias = matrix->bias != NULL ? matrix->bias : &none;
    block.bias_step = matrix->bias != NULL ? sizeof none : 0u;
    block.outputs = matrix->outputs;
    block.plane = (narrow ? EC_CONV_BLOCK : positions) * sizeof *acc;
    memset(codes + LANES * (quads - 1u), 0, LANES * sizeof *codes); /* the padding of the last four inputs stays 0 */
    for (uint32_t row = 0; row < w->rows; row++)
        for (uint32_t first = 0; first < columns; first += EC_CONV_BLOCK) {
            const uint32_t room = columns - first; /* the last block of a row begins early and repeats some sums */
            const uint32_t column = narrow || room >= EC_CONV_BLOCK ? first : columns - EC_CONV_BLOCK;
            int32_t *const to = acc + row * columns + column;
            gather(w, row, column, x, codes);
            ec_conv_sums(&block, narrow ? run->scratch->sums : to);
            for (uint32_t o = 0; narrow && o < matrix->outputs; o++)
                memcpy(to + o * positions, run->scratch->sums + o * EC_CONV_BLOCK, (size_t)columns * sizeof *to);
        }
#if EC_FAULTS
    ec_patch_windows(run->faults->patch, run->faults->patches, layer, x, acc);
#endif
#if EC_GUARDS
    ec_patch_windows(run->guards->patch, run->guards->patches, layer, x, acc);
#endif
}
