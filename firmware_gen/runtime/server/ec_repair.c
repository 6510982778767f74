/* A matrix is copied whole when a row first changes one of its words, in the layout that its kernel reads. */
#include "ec_repair.h"

#if EC_FAULTS && EC_REPAIR_BYTES

#include <string.h>

#include "ec_protocol.h"

static uint32_t whole(uint32_t bytes)
{
    return (bytes + 7u) & ~7u;
}

static uint32_t weight_bytes(const ec_matrix *matrix)
{
    return matrix->stride * (matrix->rows != NULL ? matrix->inputs : matrix->outputs);
}

static uint32_t copied_bytes(const ec_matrix *matrix)
{
    const uint32_t tables = (matrix->bias != NULL ? 1u : 0u) + (matrix->folded != NULL ? 1u : 0u);
    return whole(matrix->described) + whole(weight_bytes(matrix)) + tables * whole(4u * matrix->outputs);
}

static uint8_t *take(ec_repair *repair, const void *from, uint32_t bytes)
{
    uint8_t *const copy = (uint8_t *)repair->pool + repair->used;
    memcpy(copy, from, bytes);
    repair->used += whole(bytes);
    return copy;
}

static void copy_matrix(ec_repair *repair, uint32_t k)
{
    const ec_matrix *const old = repair->matrix[k];
    ec_matrix *const copy = (ec_matrix *)(void *)take(repair, old, old->described);
    if (old->rows != NULL)
        copy->rows = take(repair, old->rows, weight_bytes(old));
    else
        copy->dense = (const int8_t *)take(repair, old->dense, weight_bytes(old));
    if (old->bias != NULL)
        copy->bias = (const int32_t *)(const void *)take(repair, old->bias, 4u * old->outputs);
    if (old->folded != NULL)
        copy->folded = (const int32_t *)(const void *)take(repair, old->folded, 4u * old->outputs);
    repair->matrix[k] = copy;
}

/* The copy's arrays are RAM, whatever its description says. */
static void put_weight(const ec_matrix *matrix, uint32_t output, uint32_t input, int32_t word)
{
    uint8_t *const bytes = (uint8_t *)(uintptr_t)(matrix->rows != NULL ? (const void *)matrix->rows : (const void *)matrix->dense);
    const uint32_t row = matrix->rows != NULL ? input : output, column = matrix->rows != NULL ? output : input;
    uint8_t *const at = bytes + row * matrix->stride;
    if (matrix->bits < 8u) {
        const uint32_t bit = column * matrix->bits, shift = bit & 7u, mask = ((1u << matrix->bits) - 1u) << shift;
        at[bit >> 3] = (uint8_t)((at[bit >> 3] & ~mask) | (((uint32_t)word << shift) & mask));
    } else {
        at[column] = (uint8_t)(matrix->rows != NULL ? word + matrix->offset : word);
    }
}

/* What the bias has of the background's products follows a changed weight. */
static void put_folded(const ec_matrix *matrix, uint32_t output, int32_t delta)
{
    if (matrix->folded == NULL)
        return;
    ((int32_t *)(uintptr_t)matrix->bias)[output] += matrix->background * delta;
    ((int32_t *)(uintptr_t)matrix->folded)[output] += matrix->background * delta;
}

void ec_repair_revert(ec_repair *repair, const ec_sites *sites)
{
    for (uint32_t k = 0; k < sites->matrices; k++)
        repair->matrix[k] = sites->matrix[k];
    repair->used = 0;
    repair->committed = 0;
}

uint8_t ec_repair_commit(ec_repair *repair, ec_faults *faults, const ec_sites *sites, uint32_t *detail)
{
    uint32_t needed = 0;
    for (uint32_t k = 0; k < sites->matrices; k++) {
        uint32_t rows = 0;
        for (uint32_t n = 0; n < faults->patches; n++)
            rows += faults->patch[n].matrix == k;
        if (rows == 0u || repair->matrix[k] != sites->matrix[k])
            continue;
        *detail = k;
        if (sites->matrix[k]->described == 0u)
            return EC_ERROR_REFUSED;
        needed += copied_bytes(sites->matrix[k]);
    }
    *detail = EC_REPAIR_BYTES;
    if (needed > EC_REPAIR_BYTES - repair->used)
        return EC_ERROR_NO_SPACE;
    for (uint32_t n = 0; n < faults->patches; n++) {
        const ec_patch *const row = &faults->patch[n];
        const ec_matrix *matrix;
        if (repair->matrix[row->matrix] == sites->matrix[row->matrix])
            copy_matrix(repair, row->matrix);
        matrix = repair->matrix[row->matrix];
        if (row->input == EC_BIAS_INPUT)
            ((int32_t *)(uintptr_t)matrix->bias)[row->output] += row->delta;
        else {
            put_weight(matrix, row->output, row->input, ec_weight_at(matrix, row->output, row->input) + row->delta);
            put_folded(matrix, row->output, row->delta);
        }
    }
    faults->patches = 0;
    return 0;
}

#endif
