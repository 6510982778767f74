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
    return ec_mask_bit(ec_mask(run->faults, topk->dead_at), unit);
#else
    (void)topk, (void)run, (void)unit;
    return 0;
#endif
}

/* The order of int16 as unsigned numbers of 16 bits. */
static inline uint32_t rank_of(int16_t x)
{
    return (uint32_t)((int32_t)x + 0x8000);
}

/* The bin, counted from the top, in which the wanted-th falls; *wanted becomes its number within the bin. */
static uint32_t bin_of(const uint16_t *count, uint32_t *wanted)
{
    uint32_t bin = 255;
    while (bin > 0u && count[bin] < *wanted)
        *wanted -= count[bin--];
    return bin;
}

#if EC_FAULTS
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

/* Two passes find the k-th largest value, its high byte and then its low byte: no sorting, whatever the values are. */
void ec_topk_select(const ec_topk *topk, const ec_run *run, const int16_t *x, int16_t *out)
{
    uint16_t count[256]; /* at most 65535 units */
    uint32_t wanted = topk->k, high, least;
#if EC_FAULTS
    wanted += run->faults->word[topk->k_shift_at];
#endif
    memset(count, 0, sizeof count);
    for (uint32_t n = 0; n < topk->units; n++)
        if (!dead(topk, run, n))
            count[rank_of(x[n]) >> 8]++;
    high = bin_of(count, &wanted);
    memset(count, 0, sizeof count);
    for (uint32_t n = 0; n < topk->units; n++)
        if (!dead(topk, run, n) && rank_of(x[n]) >> 8 == high)
            count[rank_of(x[n]) & 0xFFu]++;
    least = high << 8;
    least |= bin_of(count, &wanted); /* `wanted` units of exactly this value are among the k */
    for (uint32_t n = 0; n < topk->units; n++) {
        const uint32_t rank = rank_of(x[n]);
        uint32_t wins = rank > least;
        if (rank == least && wanted > 0u && !dead(topk, run, n)) {
            wins = 1;
            wanted--;
        }
        out[n] = wins && !dead(topk, run, n) ? x[n] : 0;
    }
#if EC_FAULTS
    drop(topk, run, run->faults->word[topk->dropped_at], x, out);
#endif
}
