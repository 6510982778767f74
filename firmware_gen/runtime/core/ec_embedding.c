/* Rows of a table, added and rescaled. */
#include "ec_embedding.h"

#include <string.h>

#include "ec_requantize.h"

static void add_row(const ec_matrix *table, uint32_t id, int32_t *sums)
{
    const int8_t *const row = table->dense + id * table->stride;
    for (uint32_t d = 0; d < table->inputs; d++)
        sums[d] += table->bits == 8u ? row[d] : ec_packed_code(row, table->bits, d);
}

void ec_embedding_bag(const ec_embedding *bag, const ec_run *run, const uint8_t *ids, int8_t *out)
{
    const uint32_t size = bag->table.inputs;
    int32_t *const sums = run->scratch->sums;
    uint32_t count = 0;
    memset(sums, 0, size * sizeof *sums);
    for (uint32_t t = 0; t < bag->tokens; t++) {
        const uint32_t id = ec_token(bag, ids, t);
        if (id == EC_TOKEN_PAD)
            continue;
        add_row(&bag->table, id, sums);
        count++;
    }
#if EC_FAULTS
    ec_faults_patch_bag(run->faults, bag, ids, sums);
#endif
    for (uint32_t d = 0; d < size; d++)
        out[d] = count == 0u ? 0 : (int8_t)ec_requantize(sums[d], bag->multiplier[count], bag->shift[count], bag->low, bag->high);
}
