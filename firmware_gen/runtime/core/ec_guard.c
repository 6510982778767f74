/* Data words have the positions of a Hamming code that are no powers of two, here by whole eights: 8q..8q + 7 for q that are none either,
 * so that the sums over positions with a given bit are formed eight words at a time.
 */
#include "ec_guard.h"

#if EC_GUARDS

#include <string.h>

#define EIGHT 32u /* bytes of eight words */
#define BITS (EC_GUARD_CHECKS - 1u)

EC_STATIC_ASSERT(EC_GUARD_WORDS == 88u && EC_GUARD_CHECKS == 8u);

static inline uint32_t is_power(uint32_t n)
{
    return (n & (n - 1u)) == 0u;
}

static inline uint32_t word(const uint8_t *from, uint32_t k)
{
    uint32_t w;
    EC_COPY_WORD(&w, from + 4u * k);
    return w;
}

/* Where eight words begin; beyond the end of a table there are zeros. */
static inline const uint8_t *eight(const uint8_t *from, uint32_t left, uint8_t padded[EIGHT])
{
    if (left >= EIGHT)
        return from;
    memset(padded, 0, EIGHT);
    memcpy(padded, from, left);
    return padded;
}

/* The check words of up to EC_GUARD_WORDS words: of those whose position has bit k, then what makes the weight of every column odd. */
static void check_words(const uint8_t *from, uint32_t left, uint32_t s[EC_GUARD_CHECKS])
{
    uint32_t t[16], sum0 = 0, sum1 = 0, sum2 = 0, all;
    uint8_t padded[EIGHT];
    if (left < 4u * EC_GUARD_WORDS)
        memset(t, 0, sizeof t);
    for (uint32_t q = 3; left > 0u; q++) {
        const uint8_t *w;
        uint32_t w1, w3, w5, w7, low, high;
        if (is_power(q))
            continue;
        w = eight(from, left, padded);
        w1 = word(w, 1), w3 = word(w, 3), w5 = word(w, 5), w7 = word(w, 7);
        sum0 ^= w1 ^ w3 ^ w5 ^ w7;
        low = word(w, 2) ^ w3;
        high = word(w, 6) ^ w7;
        sum1 ^= low ^ high;
        low ^= word(w, 0) ^ w1;
        high ^= word(w, 4) ^ w5;
        sum2 ^= high;
        t[q] = low ^ high;
        from += EIGHT;
        left -= left < EIGHT ? left : EIGHT;
    }
    s[0] = sum0, s[1] = sum1, s[2] = sum2;
    s[3] = t[3] ^ t[5] ^ t[7] ^ t[9] ^ t[11] ^ t[13] ^ t[15];
    s[4] = t[3] ^ t[6] ^ t[7] ^ t[10] ^ t[11] ^ t[14] ^ t[15];
    s[5] = t[5] ^ t[6] ^ t[7] ^ t[12] ^ t[13] ^ t[14] ^ t[15];
    s[6] = t[9] ^ t[10] ^ t[11] ^ t[12] ^ t[13] ^ t[14] ^ t[15];
    all = s[3] ^ t[6] ^ t[10] ^ t[12] ^ t[14]; /* of all data */
    s[BITS] = all ^ s[0] ^ s[1] ^ s[2] ^ s[3] ^ s[4] ^ s[5] ^ s[6];
}

/* The word at a position, or 0xFFFFFFFF where no data word has it. */
static uint32_t word_at(uint32_t position)
{
    uint32_t powers = 0;
    for (uint32_t q = position >> 3; q > 0u; q >>= 1)
        powers++;
    return is_power(position >> 3) ? 0xFFFFFFFFu : 8u * ((position >> 3) - powers - 1u) + (position & 7u);
}

static uint32_t add_row(ec_guards *guards, uint32_t block, uint32_t k, uint32_t output, uint32_t input, int32_t delta)
{
    ec_patch *const patch = &guards->patch[guards->patches];
    if (guards->patches >= EC_CORRECTIONS)
        return 0;
    patch->delta = delta;
    patch->output = (uint16_t)output;
    patch->input = (uint16_t)input;
    patch->matrix = (uint8_t)k;
    guards->block[guards->patches++] = (uint16_t)block;
    return 1;
}

/* A row for each matrix that reads the table; where its bias has the products of the background already, those are right, and another row
 * keeps them. 0 where there is no room.
 */
static uint32_t add_rows(ec_guards *guards, uint32_t block, const void *table, uint32_t byte, uint32_t bit, const ec_matrix *const *matrix,
                         uint32_t matrices)
{
    for (uint32_t k = 0; k < matrices; k++) {
        const ec_matrix *const m = matrix[k];
        const uint32_t event = m->rows != NULL, at = bit % m->bits;
        const uint32_t biased = event && m->bits == 8u; /* without a sign: no bit counts negative */
        uint32_t row, column, output, input, stored;
        int32_t delta = (int32_t)1 << at;
        if ((event ? (const void *)m->rows : (const void *)m->dense) != table)
            continue;
        row = byte / m->stride, column = (8u * (byte % m->stride) + bit) / m->bits;
        output = event ? column : row, input = event ? row : column;
        if (output >= m->outputs || input >= m->inputs)
            continue; /* padding */
        stored = (uint32_t)ec_weight_at(m, output, input) + (biased ? m->offset : 0u);
        if ((stored >> at & 1u) != (!biased && at + 1u == m->bits))
            delta = -delta;
        if (!add_row(guards, block, k, output, input, delta))
            return 0;
        if (m->background != 0 && !add_row(guards, block, k, output, EC_BIAS_INPUT, -delta * m->background))
            return 0;
    }
    return 1;
}

/* Corrects what is wrong in one block; 0 where it cannot. */
static uint32_t check_block(ec_guards *guards, uint32_t block, const ec_guard *guard, const uint8_t *table, uint32_t first,
                            const uint32_t *check, const ec_matrix *const *matrix, uint32_t matrices)
{
    const uint32_t most = 4u * EC_GUARD_WORDS, left = guard->bytes - first < most ? guard->bytes - first : most;
    uint32_t s[EC_GUARD_CHECKS], any = 0, odd = 0;
    check_words(table + first, left, s);
    for (uint32_t k = 0; k < EC_GUARD_CHECKS; k++) {
        s[k] ^= check[k];
        any |= s[k];
        odd ^= s[k];
    }
    if ((any & ~odd) != 0u)
        return 0; /* two errors in one codeword */
    for (uint32_t bit = 0; bit < 32u && any != 0u; bit++) {
        uint32_t position = 0, byte;
        if ((odd >> bit & 1u) == 0u)
            continue;
        for (uint32_t k = 0; k < BITS; k++)
            position |= (s[k] >> bit & 1u) << k;
        if (is_power(position))
            continue; /* a check word is wrong, the data are not */
        byte = word_at(position) == 0xFFFFFFFFu ? left : 4u * word_at(position) + bit / 8u;
        if (byte >= left)
            return 0; /* no word is there: three errors or more */
        byte += first;
        if (guard->mend != NULL)
            ((uint8_t *)guard->mend)[byte] ^= (uint8_t)(1u << (bit & 7u));
        else if (!add_rows(guards, block, guard->table, byte, bit & 7u, matrix, matrices))
            return 0;
    }
    return 1;
}

static uint32_t even(const uint8_t *from, uint32_t left, uint32_t check)
{
    uint8_t padded[EIGHT];
    for (; left > 0u; left -= left < EIGHT ? left : EIGHT, from += EIGHT) {
        const uint8_t *const w = eight(from, left, padded);
        check ^= word(w, 0) ^ word(w, 1) ^ word(w, 2) ^ word(w, 3) ^ word(w, 4) ^ word(w, 5) ^ word(w, 6) ^ word(w, 7);
    }
    return check == 0u;
}

static void forget(ec_guards *guards)
{
    uint32_t kept = 0;
    for (uint32_t k = 0; k < guards->patches; k++)
        if (guards->block[k] % EC_GUARD_SPREAD != guards->phase) {
            guards->patch[kept] = guards->patch[k];
            guards->block[kept++] = guards->block[k];
        }
    guards->patches = (uint16_t)kept;
}

EC_NOINLINE uint8_t ec_guards_check(ec_guards *guards, const ec_guard *guard, uint32_t count, const ec_matrix *const *matrix,
                                    uint32_t matrices)
{
    uint32_t block = 0;
    if (guards->bad > 0u)
        guards->bad--;
    forget(guards);
    for (uint32_t g = 0; g < count; g++) {
        const ec_guard *const one = &guard[g];
        const uint8_t *const table = *(const void *const volatile *)&one->table; /* or compilers take constants for what they were */
        const uint32_t *check = one->check;
        const uint32_t bytes = 4u * (one->corrects ? EC_GUARD_WORDS : EC_PARITY_WORDS);
        for (uint32_t first = 0; first < one->bytes; first += bytes, block++) {
            uint32_t good = 1;
            if (block % EC_GUARD_SPREAD == guards->phase) {
                const uint32_t left = one->bytes - first < bytes ? one->bytes - first : bytes;
                good = one->corrects ? check_block(guards, block, one, table, first, check, matrix, matrices)
                                     : even(table + first, left, *check);
            }
            if (!good)
                guards->bad = EC_GUARD_SPREAD;
            check += one->corrects ? EC_GUARD_CHECKS : 1u;
        }
    }
    guards->phase = (uint16_t)((guards->phase + 1u) % EC_GUARD_SPREAD);
    return guards->bad > 0u ? EC_ERROR_MEMORY : 0u;
}

#endif
