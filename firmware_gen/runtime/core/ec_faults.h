/* Faults as data: what the HIL host loads between inferences. Compiled out entirely with EC_FAULTS 0.
 *
 * What a fault may set is a slot: entries in RAM that kernels read in place of constants. The generated table says of each where it
 * begins, what it may hold, and what it holds while there is no fault. Capacities are macros of ec_config.h. Every setter checks what it is given, because it comes over a wire: whatever
 * is accepted leaves every proved bound intact. A setter returns 0 or an error code of ec_protocol.h and sets *detail.
 */
#ifndef EC_FAULTS_H
#define EC_FAULTS_H

#include "ec_config.h"
#include "ec_layers.h"
#include "ec_patch.h"
#include "ec_types.h"

#if EC_FAULTS

typedef struct ec_faults {
#if EC_REPAIR_BYTES
    union {
        const ec_matrix *const *matrix; /* by their numbers on the wire: as flashed, or the copies of a repair */
        uint64_t space;                 /* one size on every ABI */
    } in_use;
#endif
    uint32_t word[EC_AT_LEAST_1(EC_SLOT_WORDS)]; /* the slots one after another: a word an entry, or bits, entry n in bit n % 8 of byte n / 8 */
    ec_patch patch[EC_AT_LEAST_1(EC_PATCH_CAPACITY)];
    uint16_t patches;
    uint16_t highest; /* the patch of the highest site so far: sites in ascending order need no search */
    uint16_t set;     /* 1: some slot was set since all were cleared; before that no hook looks further */
} ec_faults;

typedef struct ec_slot {
    const void *clean; /* [length] words that CLEAR restores; NULL: zeros */
    uint32_t at;       /* first word in ec_faults.word */
    uint32_t low;      /* an entry is low .. low + span, as 32 bits, whatever its sign */
    uint32_t span;
    uint16_t length; /* entries; 0: its node cannot have it set */
    uint8_t width;   /* bytes of an entry on the wire: 1, 2, 4; 0: a bit */
} ec_slot;

/* The slots and matrices of a model, by their numbers on the wire. */
typedef struct ec_sites {
    const ec_slot *slot;
    const ec_matrix *const *matrix;
    uint32_t slots_crc; /* of names, types, lengths and limits */
    uint16_t slots;
    uint8_t matrices;
} ec_sites;

void ec_faults_clear(ec_faults *faults, const ec_sites *sites);
/* Entries from `first` on, as they come over the wire in `count` bytes; all of them or none. */
uint8_t ec_faults_set(ec_faults *faults, const ec_sites *sites, uint32_t slot, uint32_t first, const uint8_t *bytes, uint32_t count,
                      uint32_t *detail);
uint8_t ec_faults_add_patch(ec_faults *faults, const ec_sites *sites, ec_patch patch, uint32_t *detail);

#if EC_REPAIR_BYTES
/* The address of the description that begins with matrix k. */
#define EC_IN_USE(kind, run, k) ((const kind *)(const void *)(run)->faults->in_use.matrix[k])
#endif

/* The hooks that kernels call. */

static inline const uint8_t *ec_mask(const ec_faults *faults, uint32_t at)
{
    return (const uint8_t *)(faults->word + at);
}

static inline uint32_t ec_mask_bit(const uint8_t *mask, uint32_t n)
{
    return (unsigned)(mask[n >> 3] >> (n & 7u)) & 1u;
}

/* 1 where the neuron is dead or stuck: its own drive does not matter (in a parallel tick). */
static inline uint32_t ec_faults_masked(const ec_faults *faults, const ec_chaos_layer *layer, uint32_t neuron)
{
    if (faults->set == 0u)
        return 0;
    return ec_mask_bit(ec_mask(faults, layer->dead_at), neuron) | ec_mask_bit(ec_mask(faults, layer->stuck_at), neuron);
}

/* Writes the spikes of stuck-at-1 neurons into what a layer emits, or into one tick's spikes. */
void ec_faults_stick(const ec_faults *faults, const ec_chaos_layer *layer, int8_t *out);
void ec_faults_stick_tick(const ec_faults *faults, const ec_chaos_layer *layer, uint8_t *spikes);

/* Writes 0 over the codes of the dead units of a plain layer, their code over those of stuck ones, [ticks][units][span]. */
void ec_faults_silence_units(const ec_faults *faults, const ec_units *layer, uint32_t ticks, int8_t *out);

static inline void ec_faults_silence(const ec_faults *faults, const ec_units *layer, uint32_t ticks, int8_t *out)
{
    if (faults->set != 0u)
        ec_faults_silence_units(faults, layer, ticks, out);
}

/* Where random words come from. */
typedef struct ec_origin {
    uint32_t seed, stream, sample, tick, neurons;
} ec_origin;

/* The four words at `at` (clear, set, period, repeat), or NULL where all of them are 0. */
static inline const uint32_t *ec_faults_generator(const ec_faults *faults, uint32_t at)
{
    const uint32_t *const w = faults->word + at;
    return faults->set == 0u || (w[0] | w[1] | w[2] | w[3]) == 0u ? NULL : w;
}

/* The word of a neuron from a generator with faults. */
uint32_t ec_faults_word(const uint32_t *generator, ec_origin origin, uint32_t neuron);

/* Changes the membranes or the refractoriness before tick t; `at`: where the layer's faulty state begins in ec_faults.word. */
void ec_faults_state(const ec_faults *faults, uint32_t at, uint32_t t, uint32_t neurons, int16_t *membrane, uint16_t *refractory);

#endif
#endif
