/* What one inference hands to every kernel: the draws, the scratch memory and, where compiled in, the faults. */
#ifndef EC_RUN_H
#define EC_RUN_H

#include "ec_config.h"
#include "ec_faults.h"
#include "ec_guard.h"
#include "ec_types.h"

/* On 64-bit cores event lists are padded to whole groups: one list grows up, another down. */
#if EC_SPECULATIVE
#define EC_EVENT_GROUP 4u
#else
#define EC_EVENT_GROUP 1u
#endif
#define EC_EVENT_PAIRS (EC_SCRATCH_EVENTS > 0 ? EC_SCRATCH_EVENTS + 2u * (EC_EVENT_GROUP - 1u) : 1u)

/* Working memory that no value outlives; each array as long as the largest layer needs (ec_config.h). */
typedef struct ec_scratch {
    uint32_t event[2u * EC_EVENT_PAIRS]; /* lists of events (ec_events.h) */
    int32_t noise[EC_AT_LEAST_1(EC_SCRATCH_STATEFUL)];
    int16_t membrane[EC_AT_LEAST_1(EC_SCRATCH_STATEFUL)];
    uint16_t refractory[EC_AT_LEAST_1(EC_SCRATCH_STATEFUL)]; /* 0..32768 = 0..1 */
    uint16_t list[EC_AT_LEAST_1(EC_SCRATCH_NEURONS)];        /* neurons that may fire */
    uint8_t hits[EC_AT_LEAST_1(EC_SCRATCH_NEURONS)];         /* spikes they delivered */
    int32_t sums[EC_AT_LEAST_1(EC_SCRATCH_SUMS)];            /* of windows, of a text; prefixes of ticks */
    int16_t block[EC_AT_LEAST_1(EC_SCRATCH_BLOCK)];          /* what a dense convolution sees, or units that may win; aligned as sums */
    int8_t window[EC_AT_LEAST_1(EC_SCRATCH_WINDOW)];         /* what any other convolution sees at one position */
} ec_scratch;

typedef struct ec_run {
    uint32_t seed;
    uint32_t sample;
    ec_scratch *scratch;
    const int32_t *parameter; /* one per ThermalNoise, in node order */
#if EC_FAULTS
    const ec_faults *faults;
#endif
#if EC_GUARDS
    const ec_guards *guards;
#endif
} ec_run;

#endif
