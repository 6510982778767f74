/* The inputs of a matrix as events: a pair (row, |x - background|) for each that is not the background. */
#ifndef EC_EVENTS_H
#define EC_EVENTS_H

#include "ec_layers.h"
#include "ec_run.h"

/* Where a list stands. Events above the background grow up from the start of the memory, those below it down from its end. */
typedef struct ec_events {
    uint32_t *front;     /* behind the last event above the background */
    uint32_t *back;      /* the last event below it */
    uint32_t row;        /* of the next input */
    uint32_t stride;     /* from a row to the next */
    int32_t sum;         /* of x - background over all events */
    uint32_t background; /* as all four bytes of a word */
} ec_events;

/* Begins at the first input; `row`: what its events call their row. */
void ec_events_begin(ec_events *events, const ec_matrix *matrix, uint32_t row);

/* Empties the list and fills it from x on, until `end` or until the memory is full; returns the first input that has not been looked
 * at. At most EC_SCRATCH_EVENTS events: 255 * 255 * 252 < 2^24, and 128 * 252 < 2^15.
 */
const int8_t *ec_events_fill(ec_events *events, const ec_matrix *matrix, const int8_t *x, const int8_t *end, ec_scratch *scratch);

/* The events above the background are scratch->event .. events->front, those below it events->back .. EC_EVENTS_END. */
#define EC_EVENTS_END(scratch) ((scratch)->event + 2u * EC_EVENT_PAIRS)

#endif
