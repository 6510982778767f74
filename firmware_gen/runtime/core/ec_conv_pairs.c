/* Two rows of a window stand side by side in one word, for which an image is widened, never gathered: neighboring positions read
 * neighboring words. A half word of weights holds two outputs A and B as 256 B + A; with 16-bit products and 32-bit sums, one
 * multiplication of that half and one of its lower byte give both (ec_conv_quads.S). The generator proves that 256 B + A is an int16 and
 * that the sum of B is below 2^23.
 */
#include "ec_conv_pairs.h"

#include <string.h>

#if !defined(EC_WIDEN_S)

void ec_widen(const int8_t *low, const int8_t *high, uint32_t count, uint32_t *pairs)
{
    for (uint32_t k = 0; k < count; k++)
        pairs[k] = (uint32_t)(uint16_t)low[k] | (uint32_t)(uint16_t)high[k] << 16;
}

#endif

#if !defined(EC_CONV_QUADS_S)

/* Of output o at column c. */
static int32_t sum_of(const ec_conv_strip *strip, uint32_t o, uint32_t c)
{
    int32_t sum = strip->bias[o];
    for (uint32_t p = 0; p < strip->pairs; p++)
        for (uint32_t tap = 0; tap < 3u; tap++) {
            const uint32_t word = strip->codes[p * strip->wide + c + tap];
            const int16_t *const two = strip->weight + (((o >> 2) * strip->pairs + p) * 3u + tap) * 4u + (o & 2u);
            sum += ec_paired_weight(two[0], o) * (int16_t)(uint16_t)word + ec_paired_weight(two[1], o) * (int16_t)(uint16_t)(word >> 16);
        }
    return sum;
}

void ec_conv_quads(const ec_conv_strip *strip)
{
    for (uint32_t o = 0; o < 4u * strip->quads; o++)
        for (uint32_t c = 0; c < strip->columns; c++)
            strip->acc[o * (strip->plane / sizeof *strip->acc) + c] = sum_of(strip, o, c);
}

#endif

/* The windows of an output row: `row` modulo 2^32 of the image, from the strip's first column on; `from`, `count`: of its columns, in the
 * image; `at`: where they stand among the strip's.
 */
static void widen(const ec_windows *w, uint32_t top, const int8_t *x, uint32_t from, uint32_t count, uint32_t *at, uint32_t wide)
{
    static const int8_t outside[EC_STRIP_COLUMNS + 2u] = {0};
    const uint32_t rows = (uint32_t)w->channels * w->kernel_rows;
    const int8_t *low = outside;
    uint32_t i = 0;
    x += from;
    for (uint32_t r = 0; r < rows; r++) {
        const int8_t *const row = top + i < w->height ? x + (top + i) * w->width : outside;
        if ((r & 1u) != 0u || r + 1u == rows) {
            ec_widen((r & 1u) != 0u ? low : row, (r & 1u) != 0u ? row : outside, count, at);
            at += wide;
        }
        low = row;
        if (++i == w->kernel_rows) {
            i = 0;
            x += (uint32_t)w->height * w->width;
        }
    }
}

void ec_conv_pairs(const ec_conv_layer *layer, const ec_run *run, const int8_t *x, int32_t *acc)
{
    const ec_matrix *const matrix = &layer->matrix;
    const ec_windows *const w = &layer->windows;
    const uint32_t columns = w->columns, positions = (uint32_t)w->rows * columns;
    const uint32_t whole = matrix->outputs / 4u, left = matrix->outputs % 4u;
    uint32_t *const codes = (uint32_t *)(void *)run->scratch->block;
    ec_conv_strip strip, last;
    strip.codes = codes;
    strip.weight = (const int16_t *)(const void *)matrix->dense;
    strip.bias = matrix->bias;
    strip.plane = positions * sizeof *acc;
    strip.pairs = ((uint32_t)w->channels * w->kernel_rows + 1u) / 2u;
    strip.quads = whole;
    strip.wide = columns <= 14u ? 16u : 32u;
    for (uint32_t first = 0; first < columns; first += strip.columns) {
        const uint32_t room = columns - first; /* no strip of one column */
        strip.columns = room <= EC_STRIP_COLUMNS ? room : room == EC_STRIP_COLUMNS + 1u ? EC_STRIP_COLUMNS - 1u : EC_STRIP_COLUMNS;
        const uint32_t before = first < w->pad_columns ? w->pad_columns - first : 0u, from = first + before - w->pad_columns;
        const uint32_t inside = w->width - from, needed = strip.columns + 2u - before;
        memset(codes, 0, (size_t)(strip.pairs * strip.wide) * sizeof *codes);
        for (uint32_t row = 0; row < w->rows; row++) {
            strip.acc = acc + row * columns + first;
            widen(w, row * w->stride_rows - w->pad_rows, x, from, inside < needed ? inside : needed, codes + before, strip.wide);
            if (whole > 0u)
                ec_conv_quads(&strip);
            if (left > 0u) { /* four sums, of which some have no place */
                last = strip;
                last.weight += 12u * whole * strip.pairs;
                last.bias += 4u * whole;
                last.acc = run->scratch->sums;
                last.plane = strip.columns * sizeof *acc;
                last.quads = 1;
                ec_conv_quads(&last);
                for (uint32_t o = 0; o < left; o++)
                    memcpy(strip.acc + (4u * whole + o) * positions, last.acc + o * strip.columns, (size_t)last.plane);
            }
        }
    }
#if EC_FAULTS
    ec_patch_windows(run->faults->patch, run->faults->patches, layer, x, acc);
#endif
#if EC_GUARDS
    ec_patch_windows(run->guards->patch, run->guards->patches, layer, x, acc);
#endif
}
