/* All ticks of one neuron after another, where nothing but the loss of its spikes is drawn: for cores whose registers hold its state. */
#ifndef EC_TICKS_H
#define EC_TICKS_H

#include "ec_random.h"

/* The prefixes of a stream's ticks, the last tick first: a, and b times EC_MUL_2, as (y + b) * m = y * m + b * m takes one multiply-add. */
static inline void ec_tick_prefixes(ec_prefix stream, uint32_t ticks, uint32_t *prefix)
{
    while (ticks-- > 0u) {
        const ec_prefix tick = ec_tick_prefix(stream, ticks);
        *prefix++ = tick.a;
        *prefix++ = tick.b * EC_MUL_2;
    }
}

/* hits[k]: in how many of the ticks neuron list[k], which fires at each, delivers its spike. prefix: of ec_tick_prefixes; fail_q >= 1. */
void ec_deliver_ticks(const uint16_t *list, uint32_t count, const uint32_t *prefix, uint32_t ticks, uint32_t fail_q, uint8_t *hits);

/* A stateful layer without noise, with one drive for all ticks, of which the counts are wanted. */
typedef struct ec_stateful {
    const int16_t *drive;
    const int32_t *threshold;
    int8_t *out;
    uint32_t neurons;
    uint32_t ticks;
    const uint32_t *prefix; /* of ec_tick_prefixes; not read where fail_q is 0 */
    uint32_t fail_q;
    int32_t keep_membrane;   /* 32768 - decay */
    int32_t keep_refractory;
} ec_stateful;

void ec_stateful_ticks(const ec_stateful *layer);

#endif
