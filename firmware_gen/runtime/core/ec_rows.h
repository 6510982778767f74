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

/* What the events of a matrix call the row of input 0. */
uint32_t ec_rows_first(const ec_matrix *matrix);

/* acc[o] = from[o] + sum over all events of (x - background) * w[o]; acc, from: [outputs], and may be the same. The list is used up. */
void ec_rows_add(const ec_matrix *matrix, const ec_events *events, ec_scratch *scratch, const int32_t *from, int32_t *acc);

#endif
