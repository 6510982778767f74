/* The codes are spread to 16 bits once for all outputs, a part of the inputs at a time, so that the memory does not grow with them.
 * Cores with SMLAD have the sums in ec_dot_quads.S.
 */
#include "ec_quads.h"

#include <string.h>

/* Whole fours of outputs over some codes: to[o] = from[o] + sum. */
typedef struct ec_quads {
    const int16_t *weight;
    const int16_t *codes; /* eights of them, by fours as 0, 2, 1, 3 */
    const int16_t *end;
    const int32_t *from;
    int32_t *to;
    uint32_t count; /* of fours of outputs, at least 1 */
    uint32_t step;  /* bytes from behind the weights of four outputs to those of the next */
} ec_quads;

#if defined(EC_DOT_QUADS_S)

void ec_dot_quads(ec_quads *quads);                                  /* ec_dot_quads.S */
void ec_spread(const int8_t *x, const int8_t *end, int16_t *codes); /* sixteens of inputs */

#else

static void ec_dot_quads(ec_quads *quads)
{
    const uint32_t words = (uint32_t)(quads->end - quads->codes) / 2u;
    for (; quads->count > 0u; quads->count--, quads->from += 4, quads->to += 4) {
        for (uint32_t o = 0; o < 4u; o++) {
            int32_t sum = 0;
            for (uint32_t k = 0; k < words; k++) {
                const int16_t *const two = quads->weight + 4u * k + (o & 2u);
                sum += ec_paired_weight(two[0], o) * quads->codes[2u * k] + ec_paired_weight(two[1], o) * quads->codes[2u * k + 1u];
            }
            quads->to[o] = quads->from[o] + sum;
        }
        quads->weight += 4u * words + quads->step / sizeof *quads->weight;
    }
}

#endif

/* Codes for inputs up to a multiple of eight, zeros behind the last; returns where they end. */
static const int16_t *spread(const int8_t *x, uint32_t inputs, int16_t *codes)
{
    uint32_t k = 0;
#if defined(EC_DOT_QUADS_S)
    k = inputs & ~15u;
    if (k > 0u)
        ec_spread(x, x + k, codes);
#endif
    for (; k < ((inputs + 7u) & ~7u); k++) {
        const uint32_t place = (k & ~3u) + ((k & 1u) << 1) + (k >> 1 & 1u);
        codes[place] = k < inputs ? x[k] : 0;
    }
    return codes + k;
}

void ec_quads_matmul(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc)
{
    int16_t *const codes = run->scratch->block;
    const uint32_t whole = matrix->outputs / 4u, left = matrix->outputs % 4u, row = matrix->stride / sizeof(int16_t);
    for (uint32_t first = 0; first < matrix->inputs; first += EC_QUAD_CODES, from = acc) {
        const uint32_t inputs = matrix->inputs - first < EC_QUAD_CODES ? matrix->inputs - first : EC_QUAD_CODES;
        const int16_t *const end = spread(x + first, inputs, codes);
        const int16_t *const weight = (const int16_t *)(const void *)matrix->dense + 2u * first;
        ec_quads quads = {weight, codes, end, from, acc, whole, matrix->stride - 4u * (uint32_t)(end - codes)};
        if (whole > 0u)
            ec_dot_quads(&quads);
        if (left > 0u) {
            int32_t last[4] = {0};
            memcpy(last, from + 4u * whole, (size_t)left * sizeof *last);
            quads.weight = weight + whole * row;
            quads.from = quads.to = last;
            quads.count = 1;
            ec_dot_quads(&quads);
            memcpy(acc + 4u * whole, last, (size_t)left * sizeof *last);
        }
    }
}
