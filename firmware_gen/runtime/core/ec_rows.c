/* The event-driven product exists in several forms, with the same result. The plain loop vectorises on hosts. On 32-bit cores with
 * a 32 x 32 -> 64 multiply-accumulate the wide loop takes four weights with two multiplications: for a word w of bytes
 * b3 b2 b1 b0 and a small x >= 0,
 *
 *     full += w * x                             = S0 + 2^8 S1 + 2^16 S2 + 2^24 S3   (S_k = sum of b_k * x)
 *     part += (rotate(w, 16) & 0xFF0000FF) * x  = S2 + 2^24 S1
 *
 * and while every S_k < 2^24, as of one list of events, the four sums can be taken apart again: three instructions for four products.
 * Packed weights have one form: eight sums stay in registers while the rows pass by.
 */
#include "ec_rows.h"

#include <string.h>

#include "ec_avx2.h"

/* 1 where the kernel takes the offset off every weight, and not its sum off the result. */
#define EC_SIGNED_ROWS (EC_AVX2 && !EC_WIDE)

/* Packed codes have none, but nibbles. */
static inline int32_t offset_of(const ec_matrix *matrix)
{
    return EC_SIGNED_ROWS || (EC_PACKED && matrix->bits < (EC_NIBBLES ? 4u : 8u)) ? 0 : matrix->offset;
}

#if EC_WIDE && defined(EC_ADD_ROWS_S)

void ec_add_rows(ec_rows *rows); /* ec_add_rows.S */
void ec_add_nibbles(ec_rows *rows); /* ec_add_nibbles.S */

/* The last columns have no eight sums of their own. */
static void add_blocks(const ec_matrix *matrix, ec_rows rows, void (*add)(ec_rows *rows))
{
    const uint32_t left = matrix->outputs % 8u;
    int32_t last[8] = {0}, *to;
    rows.blocks = matrix->outputs / 8u;
    rows.phase = 0;
    if (rows.blocks > 0u)
        add(&rows);
    if (left == 0u)
        return;
    to = rows.to;
    memcpy(last, rows.from, left * sizeof *last);
    rows.from = rows.to = last;
    rows.blocks = 1;
    add(&rows);
    memcpy(to, last, left * sizeof *last);
}

static void add_rows(const ec_matrix *matrix, ec_rows rows)
{
    add_blocks(matrix, rows, ec_add_rows);
}

#else

static void begin_sums(const ec_rows *rows, uint32_t outputs)
{
    for (uint32_t o = 0; o < outputs; o++)
        rows->to[o] = rows->from[o] + rows->add;
}

#if EC_WIDE

static inline uint32_t load_word(const void *p)
{
    uint32_t word;
    EC_COPY_WORD(&word, p);
    return word;
}

/* Of four columns: sum[k] += sign * S_k. */
static void add_four(const ec_rows *rows, const uint8_t *column, int32_t *sum)
{
    uint64_t full = 0, part = 0, rest;
    uint32_t s1, s2;
    for (const uint32_t *event = rows->event; event != rows->end; event += 2) {
        const uint32_t w = load_word(column + event[0]);
        full += (uint64_t)w * event[1];
        part += (uint64_t)(((w >> 16) | (w << 16)) & 0xFF0000FFu) * event[1];
    }
    s2 = (uint32_t)part & 0xFFFFFFu;
    s1 = (uint32_t)(part >> 24);
    rest = full - ((uint64_t)s1 << 8) - ((uint64_t)s2 << 16);
    sum[0] += rows->sign * (int32_t)((uint32_t)rest & 0xFFFFFFu);
    sum[1] += rows->sign * (int32_t)s1;
    sum[2] += rows->sign * (int32_t)s2;
    sum[3] += rows->sign * (int32_t)(uint32_t)(rest >> 24);
}

static void add_rows(const ec_matrix *matrix, ec_rows rows)
{
    begin_sums(&rows, matrix->outputs);
    for (uint32_t o = 0; o < matrix->outputs; o += 4u) { /* rows are padded to whole eights */
        int32_t sum[4] = {0};
        add_four(&rows, matrix->rows + o, sum);
        for (uint32_t k = 0; k < 4u && o + k < matrix->outputs; k++)
            rows.to[o + k] += sum[k];
    }
}

#elif EC_AVX2

static void add_rows(const ec_matrix *matrix, ec_rows rows)
{
    int32_t *const acc = rows.to;
    uint32_t o = 0;
    begin_sums(&rows, matrix->outputs);
    for (; o + 32u <= matrix->outputs; o += 32u)
        ec_add_32_columns(matrix->rows + o, rows.event, rows.end, rows.sign, acc + o);
    for (; o + 8u <= matrix->outputs; o += 8u)
        ec_add_8_columns(matrix->rows + o, rows.event, rows.end, rows.sign, acc + o);
    if (o < matrix->outputs) { /* rows are padded to whole eights */
        int32_t last[8] = {0};
        ec_add_8_columns(matrix->rows + o, rows.event, rows.end, rows.sign, last);
        for (uint32_t k = o; k < matrix->outputs; k++)
            acc[k] += last[k - o];
    }
}

#else

/* Columns whose sums stay in registers while the rows pass by; a constant, so that the compiler unrolls. */
#define EC_COLUMNS 64u

static inline void add_columns(const ec_rows *rows, const uint8_t *column, uint32_t columns, int32_t *acc)
{
    int32_t sums[EC_COLUMNS] = {0};
    for (const uint32_t *event = rows->event; event != rows->end; event += 2) {
        const uint8_t *const w = column + event[0];
        const int32_t x = (int32_t)event[1];
        for (uint32_t o = 0; o < columns; o++)
            sums[o] += w[o] * x;
    }
    for (uint32_t o = 0; o < columns; o++)
        acc[o] += rows->sign * sums[o];
}

static void add_rows(const ec_matrix *matrix, ec_rows rows)
{
    const uint8_t *column = matrix->rows;
    int32_t *acc = rows.to;
    uint32_t left = matrix->outputs;
    begin_sums(&rows, matrix->outputs);
    for (; left >= EC_COLUMNS; left -= EC_COLUMNS, column += EC_COLUMNS, acc += EC_COLUMNS)
        add_columns(&rows, column, EC_COLUMNS, acc);
    for (; left > 0u; column += 8u, acc += 8u, left -= left < 8u ? left : 8u) { /* rows are padded to whole eights */
        int32_t last[8] = {0};
        add_columns(&rows, column, 8u, last);
        for (uint32_t o = 0; o < 8u && o < left; o++)
            acc[o] += last[o];
    }
}

#endif
#endif

#if EC_PACKED

/* Code k of a group of eight. */
static inline int32_t field(uint32_t group, uint32_t bits, uint32_t k)
{
    return (int32_t)(group << (32u - bits - bits * k)) >> (32u - bits);
}

/* bits: a constant, so that every shift is one, too. */
static inline void add_packed_rows(const ec_matrix *matrix, const ec_rows *rows, uint32_t bits)
{
    for (uint32_t o = 0; o < matrix->outputs; o += 8u) {
        const uint8_t *const column = matrix->rows + o * bits / 8u;
        int32_t sums[8] = {0}, s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (const uint32_t *event = rows->event; event != rows->end; event += 2) {
            const uint32_t group = bits == 4u ? ec_get32(column + event[0]) : ec_get16(column + event[0]);
            const int32_t x = (int32_t)event[1];
            s0 += x * field(group, bits, 0);
            s1 += x * field(group, bits, 1);
            s2 += x * field(group, bits, 2);
            s3 += x * field(group, bits, 3);
            s4 += x * field(group, bits, 4);
            s5 += x * field(group, bits, 5);
            s6 += x * field(group, bits, 6);
            s7 += x * field(group, bits, 7);
        }
        sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
        sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
        for (uint32_t k = 0; k < 8u && o + k < matrix->outputs; k++)
            rows->to[o + k] = rows->from[o + k] + rows->sign * sums[k];
    }
}

#endif

/* Of one list. */
static void add_list(const ec_matrix *matrix, ec_rows rows)
{
#if EC_PACKED
    if (matrix->bits == 4u) {
#if EC_NIBBLES
        add_blocks(matrix, rows, ec_add_nibbles);
#else
        add_packed_rows(matrix, &rows, 4);
#endif
        return;
    }
    if (matrix->bits == 2u) {
        add_packed_rows(matrix, &rows, 2);
        return;
    }
#endif
    add_rows(matrix, rows);
}

uint32_t ec_rows_first(const ec_matrix *matrix)
{
#if EC_WIDE && defined(EC_ADD_ROWS_S)
    if (!EC_PACKED || matrix->bits == 8u)
        return (uint32_t)(uintptr_t)matrix->rows - 8u;
    if (EC_NIBBLES && matrix->bits == 4u)
        return (uint32_t)(uintptr_t)matrix->rows - 4u;
#endif
    (void)matrix;
    return 0;
}

#if EC_SIGNED_ROWS

/* Events of 0 up to whole groups: there is room behind either list (ec_run.h). */
static void pad(uint32_t *event, uint32_t count, int32_t step)
{
    for (; count % EC_EVENT_GROUP != 0u; count++, event += step)
        event[0] = event[1] = 0;
}

#endif

void ec_rows_add(const ec_matrix *matrix, const ec_events *events, ec_scratch *scratch, const int32_t *from, int32_t *acc)
{
    /* the stored offset, taken off in advance, keeps every partial sum inside the proof */
    ec_rows rows = {scratch->event, events->front, from, acc, -offset_of(matrix) * events->sum, 1, 0, 0};
    uint32_t *below = events->back;
    const uint32_t *const end = EC_EVENTS_END(scratch);
#if EC_SIGNED_ROWS
    const uint32_t above = (uint32_t)(events->front - scratch->event) / 2u, count = (uint32_t)(end - below) / 2u;
    pad(events->front, above, 2);
    pad(below - 2, count, -2);
    rows.end = scratch->event + 2u * (above + (0u - above) % EC_EVENT_GROUP);
    below -= 2u * ((0u - count) % EC_EVENT_GROUP);
#endif
    if (rows.event != rows.end)
        add_list(matrix, rows);
    else
        for (uint32_t o = 0; o < matrix->outputs; o++)
            acc[o] = from[o] + rows.add;
    if (below == end)
        return;
    rows.event = below;
    rows.end = end;
    rows.from = acc;
    rows.add = 0;
    rows.sign = -1;
    add_list(matrix, rows);
}
