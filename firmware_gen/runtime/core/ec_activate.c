/* Element by element: tables and the k largest. */
#include "ec_activate.h"

#include <string.h>

#if !defined(EC_LUT_MAP_S)

void ec_lut_map(const ec_lut *lut, const int8_t *x, int8_t *out)
{
    const int8_t *middle = lut->table + 128;
    for (uint32_t c = 0; c < lut->channels; c++, middle += 256)
        for (const int8_t *const end = x + lut->span; x != end;)
            *out++ = middle[*x++];
}

#endif

static inline uint32_t dead(const ec_topk *topk, const ec_run *run, uint32_t unit)
{
#if EC_FAULTS
    return run->faults->set != 0u && ec_mask_bit(ec_mask(run->faults, topk->dead_at), unit);
#else
    (void)topk, (void)run, (void)unit;
    return 0;
#endif
}

#if !defined(EC_COUNT_HIGH_S)

void ec_count_high(const int16_t *x, uint32_t units, uint16_t *count)
{
    for (uint32_t n = 0; n < units; n++)
        count[(uint16_t)x[n] >> 8]++;
}

#endif

#if !defined(EC_LIST_FROM_S)

uint32_t ec_list_from(const int16_t *x, uint32_t units, int32_t least, int16_t *out, uint16_t *list)
{
    uint32_t found = 0;
    for (uint32_t n = 0; n < units; n++) {
        out[n] = 0;
        list[found] = (uint16_t)n; /* written in any case, kept where it counts; a list of all units is never beyond them */
        found += x[n] >= least;
    }
    return found;
}

#endif

/* The bin, from `top` downwards modulo 256, in which the wanted-th falls, 1 <= wanted <= all that are counted; *wanted becomes its number
 * within the bin.
 */
static uint32_t bin_of(const uint16_t *count, uint32_t top, uint32_t *wanted)
{
    const uint16_t *bin = count + top + 1u;
    int32_t left = (int32_t)*wanted;
    while (bin != count && left > 0)
        left -= *--bin;
    for (bin = left > 0 ? count + 256u : bin; left > 0;)
        left -= *--bin;
    *wanted = (uint32_t)(left + *bin);
    return (uint32_t)(bin - count);
}

#if EC_FAULTS
/* The order of int16 as unsigned numbers of 16 bits. */
static inline uint32_t rank_of(int16_t x)
{
    return (uint32_t)((int32_t)x + 0x8000);
}

/* The winner of rank r sends nothing where bit r is set; rank 0 is the largest, among equals the one of lowest index. */
static void drop(const ec_topk *topk, const ec_run *run, uint32_t dropped, const int16_t *x, int16_t *out)
{
    uint32_t before = topk->units, rank_before = 0xFFFFu; /* the winner of the rank before; none yet: every unit comes after it */
    for (; dropped != 0u; dropped >>= 1) {
        uint32_t best = topk->units, best_rank = 0;
        for (uint32_t n = 0; n < topk->units; n++) {
            const uint32_t rank = rank_of(x[n]);
            const int after = rank < rank_before || (rank == rank_before && (before == topk->units || n > before));
            if (after && (best == topk->units || rank > best_rank) && !dead(topk, run, n)) {
                best = n;
                best_rank = rank;
            }
        }
        if (best == topk->units)
            return; /* fewer are alive than may win */
        if (dropped & 1u)
            out[best] = 0;
        before = best;
        rank_before = best_rank;
    }
}
#endif

/* Of units with the same high byte, the `wanted` with the largest low bytes keep their values; 1 <= wanted <= found. */
static void select_low(const int16_t *x, const uint16_t *list, uint32_t found, uint32_t wanted, uint16_t *count, int16_t *out)
{
    uint32_t least = 0, winners = wanted;
    if (found > wanted) {
        memset(count, 0, 256u * sizeof *count);
        for (uint32_t k = 0; k < found; k++)
            count[x[list[k]] & 0xFF]++;
        least = bin_of(count, 255, &wanted); /* `wanted` units of exactly this byte are among them */
    }
    for (uint32_t k = 0; winners > 0u; k++) {
        const uint32_t n = list[k], low = (uint32_t)x[n] & 0xFFu;
        if (low > least || (low == least && wanted > 0u)) {
            wanted -= low == least;
            out[n] = x[n];
            winners--;
        }
    }
}

#if EC_FAULTS
/* Takes dead units out of the bins; at most those that are alive can win. */
static uint32_t alive(const ec_topk *topk, const ec_run *run, const int16_t *x, uint16_t *count, uint32_t wanted)
{
    uint32_t units = topk->units;
    for (uint32_t k = 0; 32u * k < topk->units; k++)
        for (uint32_t n = 32u * k; run->faults->word[topk->dead_at + k] != 0u && n < 32u * k + 32u && n < topk->units; n++)
            if (dead(topk, run, n)) {
                count[(uint16_t)x[n] >> 8]--;
                units--;
            }
    return wanted < units ? wanted : units;
}
#endif

/* A histogram of high bytes says above which value a winner is; what is listed there is the winners and few others, most often. */
void ec_topk_select(const ec_topk *topk, const ec_run *run, const int16_t *x, int16_t *out)
{
    uint16_t count[256], *const list = (uint16_t *)run->scratch->block; /* at most 65535 units */
    uint32_t wanted = topk->k, high, listed, same = 0;
    memset(count, 0, sizeof count);
    ec_count_high(x, topk->units, count);
#if EC_FAULTS
    if (run->faults->set != 0u)
        wanted = alive(topk, run, x, count, wanted + run->faults->word[topk->k_shift_at]);
    if (wanted == 0u) {
        memset(out, 0, topk->units * sizeof *out);
        return;
    }
#endif
    high = bin_of(count, 127, &wanted);
    listed = ec_list_from(x, topk->units, (int16_t)(uint16_t)(high << 8), out, list);
    for (uint32_t k = 0; k < listed; k++) {
        const uint32_t n = list[k];
        if (dead(topk, run, n))
            continue;
        if ((uint16_t)x[n] >> 8 != high)
            out[n] = x[n];
        else
            list[same++] = (uint16_t)n;
    }
    select_low(x, list, same, wanted, count, out);
#if EC_FAULTS
    if (run->faults->set != 0u)
        drop(topk, run, run->faults->word[topk->dropped_at], x, out);
#endif
}
