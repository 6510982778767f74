/* A list of rows at a time, so that the memory does not grow with the inputs and their sums fit 16 bits. Cores with SXTAB16 have the list in
 * ec_list_spikes.S and the sums in ec_add_spikes.S.
 */
#include "ec_spikes.h"

#include <string.h>

#include "ec_rows.h"

#if defined(EC_LIST_SPIKES_S) && defined(EC_ADD_SPIKES_S)

uint32_t *ec_list_spikes(const int8_t *x, const int8_t *end, uint32_t *list, const uint32_t row[2]); /* ec_list_spikes.S */
void ec_add_spikes(ec_rows *rows);                                                                     /* ec_add_spikes.S */

/* The rows of some inputs; those behind the last 32 stand in their own order. */
static uint32_t *list(const ec_matrix *matrix, const int8_t *x, uint32_t first, uint32_t end, uint32_t *to)
{
    const uint32_t whole = first + ((end - first) & ~31u);
    uint32_t row[2] = {(uint32_t)(uintptr_t)matrix->rows + first * matrix->stride + 16u, matrix->stride};
    if (whole > first)
        to = ec_list_spikes(x + first, x + whole, to, row);
    for (uint32_t i = whole; i < end; i++)
        if (x[i] != 0)
            *to++ = (uint32_t)(uintptr_t)matrix->rows + i * matrix->stride + 16u;
    return to;
}

static void add(const ec_matrix *matrix, ec_rows rows)
{
    const uint32_t left = matrix->outputs % 16u;
    int32_t last[16] = {0}, *to;
    rows.blocks = matrix->outputs / 16u;
    rows.sign = (int32_t)left;
    if (rows.blocks > 0u)
        ec_add_spikes(&rows);
    if (left == 0u)
        return;
    to = rows.to;
    memcpy(last, rows.from, left * sizeof *last);
    rows.from = rows.to = last;
    rows.blocks = 1;
    ec_add_spikes(&rows);
    memcpy(to, last, left * sizeof *last);
}

void ec_spikes_matmul(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc)
{
    uint32_t *const begin = run->scratch->event, *end = begin;
    for (uint32_t first = 0, next; first < matrix->inputs; first = next) {
        const uint32_t room = EC_SPIKES - (uint32_t)(end - begin), left = matrix->inputs - first;
        next = first + (left <= room ? left : room & ~31u);
        end = list(matrix, x, first, next, end);
        if (next == matrix->inputs || EC_SPIKES - (uint32_t)(end - begin) < 32u) {
            const ec_rows rows = {begin, end, from, acc, -(int32_t)matrix->offset * (int32_t)(end - begin), 0, 0, 0};
            if (begin != end)
                add(matrix, rows);
            else if (from != acc)
                memcpy(acc, from, matrix->outputs * sizeof *acc);
            from = acc;
            end = begin;
        }
    }
}

#else

/* Of the stored rows in whatever order; the input of a row is found. */
void ec_spikes_matmul(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc)
{
    (void)run;
    if (from != acc)
        memcpy(acc, from, matrix->outputs * sizeof *acc);
    for (uint32_t i = 0; i < matrix->inputs; i++) {
        const uint8_t *const row = matrix->rows + ec_spike_row(matrix, i) * matrix->stride;
        for (uint32_t o = 0; o < matrix->outputs && x[i] != 0; o++)
            acc[o] += row[o] - matrix->offset;
    }
}

#endif
