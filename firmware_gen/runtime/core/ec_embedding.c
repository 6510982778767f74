/* Rows of a table, added and rescaled. Cores with ec_list_tokens.S take the rows of a text as events (ec_add_spikes.S). */
#include "ec_embedding.h"

#include <string.h>

#include "ec_requantize.h"
#include "ec_rows.h"

#if defined(EC_LIST_TOKENS_S) && defined(EC_ADD_SPIKES_S)
#define EC_TOKEN_ROWS 1
#else
#define EC_TOKEN_ROWS 0
#endif

static void add_row(const ec_matrix *table, uint32_t id, int32_t *sums)
{
    const int8_t *const row = table->dense + id * table->stride;
    for (uint32_t d = 0; d < table->inputs; d++)
        sums[d] += table->bits == 8u ? row[d] : ec_packed_code(row, table->bits, d);
}

/* The rows of ids[first..end), one by one; returns how many tokens they are. */
static uint32_t add_rows(const ec_embedding *bag, const uint8_t *ids, uint32_t first, int32_t *sums)
{
    uint32_t count = 0;
    for (uint32_t t = first; t < bag->tokens; t++) {
        const uint32_t id = ec_token(bag, ids, t);
        if (id == EC_TOKEN_PAD)
            continue;
        add_row(&bag->table, id, sums);
        count++;
    }
    return count;
}

#if EC_TOKEN_ROWS

typedef struct ec_token_rows {
    uint32_t first;  /* what the list calls the row of id 0 */
    uint32_t stride; /* bytes of a row */
    uint32_t ids;
} ec_token_rows;

uint32_t *ec_list_tokens(const uint8_t *ids, const uint8_t *end, uint32_t *list, const ec_token_rows *rows); /* ec_list_tokens.S */

/* The first tokens, as many as make whole words, EC_TOKENS at a time; *first becomes their number. */
static uint32_t add_lists(const ec_embedding *bag, const ec_run *run, const uint8_t *ids, uint32_t *first, int32_t *sums)
{
    const ec_matrix *const table = &bag->table;
    const ec_token_rows about = {(uint32_t)(uintptr_t)table->dense + 16u, table->stride, table->outputs};
    const uint32_t whole = bag->tokens & ~1u;
    uint32_t *const list = run->scratch->event, count = 0;
    if (table->bits < 8u || table->inputs % 16u != 0u || ((uintptr_t)ids & 3u) != 0u)
        return 0;
    while (*first < whole) {
        const uint32_t next = whole - *first < EC_TOKENS ? whole : *first + EC_TOKENS;
        uint32_t *const end = ec_list_tokens(ids + 2u * *first, ids + 2u * next, list, &about);
        ec_rows rows = {list, end, sums, sums, 0, 0, table->inputs / 16u, 0};
        if (end != list)
            ec_add_tokens(&rows);
        count += (uint32_t)(end - list);
        *first = next;
    }
    return count;
}

#endif

void ec_embedding_bag(const ec_embedding *bag, const ec_run *run, const uint8_t *ids, int8_t *out)
{
    const uint32_t size = bag->table.inputs;
    int32_t *const sums = run->scratch->sums;
    uint32_t count = 0, listed = 0;
    memset(sums, 0, (size_t)size * sizeof *sums);
#if EC_TOKEN_ROWS
    count = add_lists(bag, run, ids, &listed, sums);
#endif
    count += add_rows(bag, ids, listed, sums);
#if EC_FAULTS
    ec_patch_bag(run->faults->patch, run->faults->patches, bag, ids, sums);
#endif
#if EC_GUARDS
    ec_patch_bag(run->guards->patch, run->guards->patches, bag, ids, sums);
#endif
    for (uint32_t d = 0; d < size; d++)
        out[d] = count == 0u ? 0 : (int8_t)ec_requantize(sums[d], bag->multiplier[count], bag->shift[count], bag->low, bag->high);
}
