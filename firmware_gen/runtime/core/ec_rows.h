/* Rows of weights times the x of events, added to sums. */
#ifndef EC_ROWS_H
#define EC_ROWS_H

#include "ec_events.h"

/* 1: the portable form of the wide loop too, on a core that has no ec_add_rows.S. */
#ifndef EC_WIDE
#if defined(__ARM_ARCH) && !defined(__aarch64__) && __ARM_ARCH >= 7 && defined(__ARMEL__)
#define EC_WIDE 1
#else
#define EC_WIDE 0
#endif
#endif

/* One list of events, and what becomes of its sums: to[o] = from[o] + add + sign * sum. */
typedef struct ec_rows {
    uint32_t *event;
    const uint32_t *end;
    const int32_t *from;
    int32_t *to;
    int32_t add;
    int32_t sign; /* of rows that are taken once: not 0 where further columns follow in another call */
    uint32_t blocks; /* of columns, the first of them number `phase` of those that an event's row serves */
    uint32_t phase;
} ec_rows;

#if defined(EC_ADD_SPIKES_S)
/* Rows of int8 taken once each, blocks of 16 columns, of a list of addresses plus 16. ec_add_spikes.S */
void ec_add_tokens(ec_rows *rows);
#endif

/* What the events of a matrix call the row of input 0. */
uint32_t ec_rows_first(const ec_matrix *matrix);

/* acc[o] = from[o] + sum over all events of (x - background) * w[o]; acc, from: [outputs], and may be the same. The list is used up. */
void ec_rows_add(const ec_matrix *matrix, const ec_events *events, ec_scratch *scratch, const int32_t *from, int32_t *acc);

#endif
