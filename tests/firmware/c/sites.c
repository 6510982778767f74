/* Slots and matrices of a made-up model, each table with one entry behind its end: whoever looks there is seen. And a server that begins
 * in memory where something stood.
 */
#include <string.h>

#include "ec_faults.h"
#include "ec_server.h"
#include "ec_target.h"

enum { TEST_SLOTS = 7, TEST_MATRICES = 6 };

static const uint32_t clean[2] = {11u, 22u}, behind[1] = {99u};
static const ec_slot slot[TEST_SLOTS + 1] = {
    {NULL, 0, 0, 1, 11, 0},                              /* bits */
    {clean, 1, 3, 40, 2, 1},                             /* 3..43 */
    {NULL, 3, 0xFFFFFFFBu, 10, 3, 2},                    /* -5..5 */
    {NULL, 6, 0x80000000u, 0xFFFFFFFFu, 2, 4},          /* any int32 */
    {NULL, 8, 7, 0, 0, 4},                              /* refused */
    {NULL, 9, 1, 1, 1, 4},                              /* 1..2 */
    {NULL, 10, 0, 65535, 2, 2},                          /* any uint16 */
    {behind, 12, 0, 1, 1, 4},
};
static const int8_t dense[8] = {0, 10, -20, 30, 1, 2, 3, 4}, packed[4] = {0x21, (int8_t)0x83, 0x7F, 0x65};
static const uint8_t rows[8] = {128, 138, 108, 158, 1, 2, 3, 4};
static const int32_t bias[3] = {0, 1000, -1000};
#define MATRIX(d, r, b, o, i, s, width, n) \
    {.dense = d, .rows = r, .bias = b, .outputs = o, .inputs = i, .stride = s, .offset = (uint8_t)(1 << ((width) - 1)), \
     .bits = width, .index = n, .bias_limit = 1005}
static const ec_matrix matrices[TEST_MATRICES + 1] = {
    MATRIX(dense, NULL, bias, 2, 2, 2, 8, 0),
    MATRIX(NULL, rows, NULL, 2, 2, 2, 8, 1),
    MATRIX(packed, NULL, NULL, 2, 4, 2, 4, 2),
    MATRIX(NULL, (const uint8_t *)packed, NULL, 4, 2, 2, 4, 3),
    MATRIX(packed, NULL, NULL, 2, 8, 2, 2, 4),
    MATRIX(dense, NULL, bias, 2, 4, 4, 8, 5),
    MATRIX(dense, NULL, bias, 2, 2, 2, 8, 6),
};
static const ec_matrix *const matrix[TEST_MATRICES + 1] = {
    &matrices[0], &matrices[1], &matrices[2], &matrices[3], &matrices[4], &matrices[5], &matrices[6],
};
static const ec_sites sites = {slot, matrix, 0, TEST_SLOTS, TEST_MATRICES};
static ec_faults faults;

const uint32_t *test_words(void)
{
    return faults.word;
}

void test_clear(void)
{
    ec_faults_clear(&faults, &sites);
}

uint8_t test_set(uint32_t number, uint32_t first, const uint8_t *bytes, uint32_t count, uint32_t *detail)
{
    return ec_faults_set(&faults, &sites, number, first, bytes, count, detail);
}

uint8_t test_patch(uint8_t index, uint16_t output, uint16_t input, int32_t delta, uint32_t *detail)
{
    const ec_patch patch = {delta, output, input, index};
#if EC_REPAIR_BYTES
    faults.in_use.matrix = matrix;
#endif
    return ec_faults_add_patch(&faults, &sites, patch, detail);
}

static uint8_t *answer;

static void keep(void *port, const uint8_t *bytes, uint32_t count)
{
    (void)port;
    memcpy(answer, bytes, count);
    answer += count;
}

/* What a server answers that was started where every byte was 0xFF; returns the bytes written to `out`. */
uint32_t test_begin(const uint8_t *bytes, uint32_t count, uint8_t *out)
{
    static const ec_identity identity;
    static EC_TARGET_STATE state;
    static ec_server server;
    memset(&state, 0xFF, sizeof state);
    memset(&server, 0xFF, sizeof server);
    answer = out;
    ec_server_init(&server, &EC_TARGET_MODEL, &state, &identity, keep, NULL);
    for (uint32_t k = 0; k < count; k++)
        ec_server_feed(&server, bytes[k]);
    return (uint32_t)(answer - out);
}
