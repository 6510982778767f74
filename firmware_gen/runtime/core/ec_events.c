/* Lists of events. On a handwritten digit four of five inputs are background, and they come in runs: 16 inputs are looked at together
 * (ec_list_codes.S), on 64-bit cores 64. The memory does not grow with the input: a full list is used and begun anew.
 */
#include "ec_events.h"

#include <string.h>

#include "ec_avx2.h"

static inline void put(ec_events *events, int32_t distance)
{
    events->sum += distance;
    if (distance > 0) {
        events->front[0] = events->row;
        events->front[1] = (uint32_t)distance;
        events->front += 2;
    } else if (distance < 0) {
        events->back -= 2;
        events->back[0] = events->row;
        events->back[1] = (uint32_t)-distance;
    }
}

#if EC_SPECULATIVE

/* 64 inputs as bits: those that are not 0. */
#if EC_AVX2

static inline uint64_t active_of(const int8_t *x)
{
    return ec_active_64(x);
}

#else

/* Bit k of the result: bit 7 of byte k of v. */
static inline uint64_t high_bits(uint64_t v)
{
    return (((v & 0x8080808080808080u) >> 7) * 0x0102040810204080u) >> 56;
}

static inline uint64_t active_of(const int8_t *x)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    uint64_t chunk[8], found = 0;
    memcpy(chunk, x, sizeof chunk);
    for (uint32_t k = 0; k < 8u; k++)
        found |= high_bits(((chunk[k] & low) + low) | chunk[k]) << (8u * k);
    return found;
}

#endif

/* Of `count` <= 64 inputs. */
static inline uint64_t active_of_some(const int8_t *x, uint32_t count)
{
    int8_t last[64] = {0};
    if (count == sizeof last)
        return active_of(x);
    memcpy(last, x, count);
    return active_of(last);
}

/* The background is 0. */
static const int8_t *list(ec_events *events, const ec_matrix *matrix, const int8_t *x, const int8_t *end)
{
    const uint32_t first = events->row;
    const int8_t *const begin = x;
    (void)matrix;
    while (x != end) {
        const uint32_t count = end - x < 64 ? (uint32_t)(end - x) : 64u;
        if ((uint32_t)(events->back - events->front) < 2u * (count + 2u * (EC_EVENT_GROUP - 1u)))
            break;
        for (uint64_t mask = active_of_some(x, count); mask != 0u; mask &= mask - 1u) {
            const uint32_t k = (uint32_t)__builtin_ctzll(mask);
            events->row = first + ((uint32_t)(x - begin) + k) * events->stride;
            put(events, x[k]);
        }
        x += count;
    }
    events->row = first + (uint32_t)(x - begin) * events->stride;
    return x;
}

#else

#if defined(EC_LIST_CODES_S)
/* Whole sixteens of inputs from x on while there is room for sixteen events; x: aligned to 4, end - x: a multiple of 16. ec_list_codes:
 * the background is 0. ec_list_above: no input is below it. Both return the first input that has not been looked at. ec_list_codes.S
 */
const int8_t *ec_list_codes(const int8_t *x, const int8_t *end, ec_events *events);
const int8_t *ec_list_above(const int8_t *x, const int8_t *end, ec_events *events);

static inline const int8_t *list_sixteens(ec_events *events, const int8_t *x, const int8_t *end)
{
    if (((uintptr_t)x & 3u) != 0u)
        return x;
    return events->background == 0u ? ec_list_codes(x, end, events) : ec_list_above(x, end, events);
}
#else
static inline const int8_t *list_sixteens(ec_events *events, const int8_t *x, const int8_t *end)
{
    (void)events, (void)end;
    return x;
}
#endif

static const int8_t *list(ec_events *events, const ec_matrix *matrix, const int8_t *x, const int8_t *end)
{
    const int8_t *const whole = x + ((uint32_t)(end - x) & ~15u);
    x = list_sixteens(events, x, whole);
    for (; x != end && events->front != events->back; x++) {
        put(events, *x - matrix->background);
        events->row += events->stride;
    }
    return x;
}

#endif

void ec_events_begin(ec_events *events, const ec_matrix *matrix, uint32_t row)
{
    events->row = row;
    events->stride = matrix->stride;
    events->background = (uint8_t)matrix->background * 0x01010101u;
}

const int8_t *ec_events_fill(ec_events *events, const ec_matrix *matrix, const int8_t *x, const int8_t *end, ec_scratch *scratch)
{
    events->front = scratch->event;
    events->back = EC_EVENTS_END(scratch);
    events->sum = 0;
    return list(events, matrix, x, end);
}
