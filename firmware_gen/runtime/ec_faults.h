/* Faults as data: what the HIL host loads between inferences. Compiled out entirely with EC_FAULTS 0.
 *
 * The capacities are macros of ec_config.h. Every setter checks what it is given, because it comes over a wire: whatever
 * is accepted leaves every proved bound intact. A setter returns 0 or an error code of ec_protocol.h and sets *detail.
 */
#ifndef EC_FAULTS_H
#define EC_FAULTS_H

#include "ec_config.h"
#include "ec_layers.h"
#include "ec_types.h"

#if EC_FAULTS

/* acc[output] += delta * x[input], or += delta where input is EC_BIAS_INPUT. Of an EmbeddingBag: token `output` adds delta
 * to sum `input`.
 */
typedef struct ec_patch {
    int32_t delta;
    uint16_t output;
    uint16_t input;
    uint8_t matrix;
} ec_patch;

typedef struct ec_faults {
    uint32_t fail_q[EC_AT_LEAST_1(EC_LAYERS)];
    uint32_t table[EC_AT_LEAST_1(EC_TABLE_WORDS)];  /* binomial layers one after another, [ticks] each */
    uint8_t dead[EC_AT_LEAST_1(EC_MASK_BYTES)];     /* layers one after another; bit n of byte k is neuron 8 k + n */
    uint8_t stuck[EC_AT_LEAST_1(EC_MASK_BYTES)];
    ec_patch patch[EC_AT_LEAST_1(EC_PATCH_CAPACITY)];
    uint16_t patches;
    uint16_t highest; /* the patch of the highest site so far: sites in ascending order need no search */
} ec_faults;

/* The layers and matrices of a model, by their numbers on the wire; masks number TopK nodes after the spiking layers, and
 * plain layers after those.
 */
typedef struct ec_sites {
    const ec_chaos_layer *const *layer;
    const ec_units *masked;
    const ec_matrix *const *matrix;
    uint8_t layers;
    uint8_t masks;
    uint8_t matrices;
} ec_sites;

void ec_faults_clear(ec_faults *faults, const ec_sites *sites);
uint8_t ec_faults_set_mask(ec_faults *faults, const ec_sites *sites, uint8_t layer, uint8_t kind, uint32_t first_byte,
                           const uint8_t *bytes, uint32_t count, uint32_t *detail);
/* A binomial layer draws from its table alone, which the host computes exactly and sends next. */
uint8_t ec_faults_set_fail_q(ec_faults *faults, const ec_sites *sites, uint8_t layer, uint32_t fail_q, uint32_t *detail);
/* entries: little-endian uint32, not aligned. */
uint8_t ec_faults_set_table(ec_faults *faults, const ec_sites *sites, uint8_t layer, uint32_t first, const uint8_t *entries,
                            uint32_t count, uint32_t *detail);
uint8_t ec_faults_add_patch(ec_faults *faults, const ec_sites *sites, ec_patch patch, uint32_t *detail);

/* The hooks that kernels call. */

static inline uint32_t ec_mask_bit(const uint8_t *mask, uint32_t n)
{
    return (mask[n >> 3] >> (n & 7u)) & 1u;
}

/* 1 where the neuron is dead or stuck: its own drive does not matter (in a parallel tick). */
static inline uint32_t ec_faults_masked(const ec_faults *faults, const ec_chaos_layer *layer, uint32_t neuron)
{
    return ec_mask_bit(faults->dead + layer->mask_at, neuron) | ec_mask_bit(faults->stuck + layer->mask_at, neuron);
}

/* Writes the spikes of stuck-at-1 neurons into what a layer emits, or into one tick's spikes. */
void ec_faults_stick(const ec_faults *faults, const ec_chaos_layer *layer, int8_t *out);
void ec_faults_stick_tick(const ec_faults *faults, const ec_chaos_layer *layer, uint8_t *spikes);

/* Writes 0 over the codes of the dead units of a plain layer, [ticks][units][span]. */
void ec_faults_silence(const ec_faults *faults, const ec_units *layer, uint32_t ticks, int8_t *out);

void ec_faults_patch_sums(const ec_faults *faults, const ec_matrix *matrix, int32_t gain, const int8_t *x, int32_t *acc);
/* acc: the whole output of the convolution; a flipped weight counts at every position where its input exists. */
void ec_faults_patch_windows(const ec_faults *faults, const ec_conv_layer *layer, const int8_t *x, int32_t *acc);
void ec_faults_patch_bag(const ec_faults *faults, const ec_embedding *bag, const uint8_t *ids, int32_t *sums);

#endif
#endif
