/* Matrix times vector: dense kernels, and an event-driven one that reads only the rows of inputs that are not the background. */
#include "ec_matmul.h"

#include <string.h>

#include "ec_quads.h"
#include "ec_rows.h"
#include "ec_spikes.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARMEL__)
#include <arm_acle.h>
#define EC_SMLAD 1
#else
#define EC_SMLAD 0
#endif

#if EC_SMLAD

/* Four bytes as a word, whatever their type. The built-in also compiles to one load where -ffreestanding makes memcpy a
 * call. A weight row is aligned; four inputs of a tick need not be.
 */
static inline uint32_t load_word(const void *p)
{
    uint32_t word;
    EC_COPY_WORD(&word, p);
    return word;
}

/* Bytes 1 and 3 as a pair of 16 bits: SXTB16 with its rotation. GCC 12's arm_acle.h has no __ror. */
static inline int16x2_t odd_bytes(uint32_t word)
{
    return __sxtb16((int8x4_t)(word >> 8 | word << 24));
}

/* acc + a . b over four bytes: even and odd bytes as two pairs of 16 bits. */
static inline int32_t dot4(int16x2_t even, int16x2_t odd, const int8_t *w, int32_t acc)
{
    const uint32_t word = load_word(w);
    acc = __smlad(even, __sxtb16((int8x4_t)word), acc);
    return __smlad(odd, odd_bytes(word), acc);
}

/* Four rows over the first multiple of four inputs; returns how many inputs it took. Not inlined: with its own registers
 * the loop needs no spill.
 */
EC_NOINLINE static uint32_t dense_rows(const int8_t *w, uint32_t inputs, const int8_t *x, int32_t *acc)
{
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    const int8_t *const end = x + (inputs & ~3u);
    for (; x != end; x += 4, w += 4) {
        const uint32_t word = load_word(x);
        const int16x2_t even = __sxtb16((int8x4_t)word), odd = odd_bytes(word);
        a0 = dot4(even, odd, w, a0);
        a1 = dot4(even, odd, w + inputs, a1);
        a2 = dot4(even, odd, w + 2u * inputs, a2);
        a3 = dot4(even, odd, w + 3u * inputs, a3);
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
    return inputs & ~3u;
}

#else

static uint32_t dense_rows(const int8_t *w, uint32_t inputs, const int8_t *x, int32_t *acc)
{
    (void)w, (void)inputs, (void)x, (void)acc;
    return 0;
}

#endif

static void dense(const ec_matrix *matrix, const int8_t *x, int32_t *acc)
{
    const uint32_t inputs = matrix->inputs;
    const int8_t *w = matrix->dense;
    uint32_t o = 0;
    for (; o + 4u <= matrix->outputs; o += 4u, w += 4u * inputs) { /* four sums share each load of x */
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (uint32_t i = dense_rows(w, inputs, x, acc + o); i < inputs; i++) {
            const int32_t xi = x[i];
            a0 += xi * w[i];
            a1 += xi * w[inputs + i];
            a2 += xi * w[2u * inputs + i];
            a3 += xi * w[3u * inputs + i];
        }
        acc[o] += a0;
        acc[o + 1u] += a1;
        acc[o + 2u] += a2;
        acc[o + 3u] += a3;
    }
    for (; o < matrix->outputs; o++, w += inputs) {
        int32_t a = 0;
        for (uint32_t i = 0; i < inputs; i++)
            a += x[i] * w[i];
        acc[o] += a;
    }
}

/* List by list: the first one begins with `from`, every other with what the one before left. */
static void event_driven(const ec_matrix *matrix, const ec_run *run, const int8_t *x, const int32_t *from, int32_t *acc)
{
    const int8_t *const end = x + matrix->inputs;
    ec_events events;
    ec_events_begin(&events, matrix, ec_rows_first(matrix));
    do {
        x = ec_events_fill(&events, matrix, x, end, run->scratch);
        ec_rows_add(matrix, &events, run->scratch, from, acc);
        from = acc;
    } while (x != end);
}

/* What the sums begin with: the bias, unless a gain is to be in between. */
static inline const int32_t *begin(const ec_matrix *matrix, int32_t gain, int32_t *acc)
{
    return gain == 1 && matrix->bias != NULL ? matrix->bias : memset(acc, 0, matrix->outputs * sizeof *acc);
}

static inline void finish(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    if (gain != 1)
        for (uint32_t o = 0; o < matrix->outputs; o++)
            acc[o] = gain * acc[o] + (matrix->bias != NULL ? matrix->bias[o] : 0);
#if EC_FAULTS
    ec_patch_sums(run->faults->patch, run->faults->patches, matrix, gain, x, acc);
#endif
#if EC_GUARDS
    ec_patch_sums(run->guards->patch, run->guards->patches, matrix, gain, x, acc);
#endif
    (void)run, (void)x;
}

void ec_matmul_sums(const ec_matrix *matrix, const ec_run *run, const int8_t *x, int32_t *acc)
{
    event_driven(matrix, run, x, begin(matrix, 1, acc), acc);
}

void ec_matmul(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    event_driven(matrix, run, x, begin(matrix, gain, acc), acc);
    finish(matrix, run, gain, x, acc);
}

void ec_matmul_dense(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    const int32_t *const from = begin(matrix, gain, acc);
    if (from != acc)
        memcpy(acc, from, matrix->outputs * sizeof *acc);
    dense(matrix, x, acc);
    finish(matrix, run, gain, x, acc);
}

void ec_matmul_quads(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    ec_quads_matmul(matrix, run, x, begin(matrix, gain, acc), acc);
    finish(matrix, run, gain, x, acc);
}

void ec_matmul_spikes(const ec_matrix *matrix, const ec_run *run, int32_t gain, const int8_t *x, int32_t *acc)
{
    ec_spikes_matmul(matrix, run, x, begin(matrix, gain, acc), acc);
    finish(matrix, run, gain, x, acc);
}

uint16_t ec_argmax(const int32_t *logits, uint16_t count)
{
    uint16_t best = 0;
    for (uint16_t k = 1; k < count; k++)
        if (logits[k] > logits[best])
            best = k;
    return best;
}
