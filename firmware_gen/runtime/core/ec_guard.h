/* Check words beside tables in flash or RAM: parity notices a changed word, SEC-DED corrects it. Compiled in where a model has guards.
 *
 * The 32 bit positions of a block of words are codewords of their own, checked at once by the XOR of whole words: what costs is a load and
 * two XORs a word, and a burst of up to 32 neighboring bits is one error in each codeword. A block has EC_GUARD_WORDS words with
 * EC_GUARD_CHECKS check words behind one another (SEC-DED), or EC_PARITY_WORDS with one (parity). Source: Hamming, "Error detecting and
 * error correcting codes" (1950), extended by a parity, that is with columns of odd weight as in Hsiao (1970).
 */
#ifndef EC_GUARD_H
#define EC_GUARD_H

#include "ec_config.h"
#include "ec_faults.h"
#include "ec_layers.h"
#include "ec_protocol.h"

#if EC_GUARDS

typedef struct ec_guard {
    const void *table;     /* 4-byte aligned */
    const uint32_t *check; /* of its blocks, one after another */
    void *mend;            /* the table, where it lies in RAM and is corrected in place; else corrections are rows */
    uint32_t bytes;
    uint8_t corrects; /* 1: SEC-DED, 0: parity */
} ec_guard;

/* What the checks have found. A wrong weight stays in flash: its product is corrected after the sum, by a row. */
typedef struct ec_guards {
    ec_patch patch[EC_CORRECTIONS];
    uint16_t block[EC_CORRECTIONS]; /* whose row it is: rows stay until their block is checked again */
    uint16_t patches;
    uint16_t phase; /* 0..EC_GUARD_SPREAD - 1: the blocks of which number, modulo the spread, are checked next */
    uint16_t bad;   /* so many inferences more give no result: nothing was corrected when a block was last checked */
} ec_guards;

/* The same address, of which the compiler knows nothing. */
static inline const void *ec_unknown(const void *address)
{
    const void *volatile hidden = address;
    return hidden;
}

/* Checks every EC_GUARD_SPREAD-th block. matrix: [matrices], as kernels read them. Returns 0, or EC_ERROR_MEMORY where words are wrong
 * and not corrected.
 */
uint8_t ec_guards_check(ec_guards *guards, const ec_guard *guard, uint32_t count, const ec_matrix *const *matrix, uint32_t matrices);

#endif
#endif
