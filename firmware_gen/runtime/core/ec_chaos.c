/* Spiking layers. Work that cannot change the result is left out: a neuron that cannot reach its threshold is compared
 * once and forgotten, noise is drawn only where its proven bound straddles the threshold, and the loss of a spike is
 * drawn only where there is one, and where a spike can be lost at all. Counter-based words make every such shortcut exact.
 */
#include "ec_chaos.h"

#include <string.h>

#include "ec_draws.h"
#include "ec_ticks.h"

static inline uint32_t fail_q(const ec_chaos_layer *layer, const ec_run *run)
{
#if EC_FAULTS
    return run->faults->word[layer->fail_q_at];
#else
    (void)run;
    return layer->fail_q;
#endif
}

static inline const int32_t *thresholds(const ec_chaos_layer *layer, const ec_run *run)
{
#if EC_FAULTS
    return (const int32_t *)(run->faults->word + layer->threshold_at);
#else
    (void)run;
    return layer->threshold;
#endif
}

/* 1 where a fault decides for the neuron: it is left out of every list. */
static inline uint32_t overruled(const ec_chaos_layer *layer, const ec_run *run, uint32_t neuron)
{
#if EC_FAULTS
    return ec_faults_masked(run->faults, layer, neuron);
#else
    (void)layer, (void)run, (void)neuron;
    return 0;
#endif
}

/* Neurons that fire whatever the noise at the front of scratch->list, those that need a draw at its back. */
typedef struct candidates {
    uint32_t sure;
    uint32_t unsure;
} candidates;

#if EC_SPECULATIVE

#define EC_COMPARED 64u

/* state[k]: 2 where neuron first + k fires whatever the noise, 1 where that needs a draw, 0 where it cannot fire. Plain loops
 * over local arrays, which compilers vectorise.
 */
static void compare(const ec_chaos_layer *layer, const ec_run *run, uint32_t first, uint32_t count, const int32_t *drive, uint8_t *state)
{
    const int32_t *const threshold = thresholds(layer, run) + first;
    int32_t reach[EC_COMPARED] = {0};
    uint8_t found[EC_COMPARED] = {0};
#if EC_NOISE
    const int32_t *const sigma = layer->sigma;
    const uint32_t shift = layer->sigma_shift;
    for (uint32_t k = 0; sigma != NULL && k < count; k++)
        reach[k] = ec_noise_bound(sigma[first + k], shift);
#endif
    for (uint32_t k = 0; k < count; k++)
        found[k] = (uint8_t)((drive[first + k] + reach[k] > threshold[k]) + (drive[first + k] - reach[k] > threshold[k]));
    memcpy(state, found, count);
}

/* Both lists are written and one is kept; where the two places meet, they get the same neuron. */
static candidates compare_all(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive)
{
    uint16_t *const list = run->scratch->list;
    const uint32_t neurons = layer->neurons;
    candidates found = {0, 0};
    uint8_t state[EC_COMPARED];
    for (uint32_t n = 0; n < neurons; n++) {
        const uint32_t k = n % EC_COMPARED;
        if (k == 0u)
            compare(layer, run, n, neurons - n < EC_COMPARED ? neurons - n : EC_COMPARED, drive, state);
        const uint32_t fires = state[k];
        list[found.sure] = (uint16_t)n;
        list[neurons - 1u - found.unsure] = (uint16_t)n;
        found.sure += fires >> 1;
        found.unsure += fires & 1u;
    }
    return found;
}

#else

static candidates compare_all(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive)
{
    uint16_t *const list = run->scratch->list;
    const int32_t *const threshold = thresholds(layer, run);
    const uint32_t neurons = layer->neurons;
    candidates found = {0, 0};
    for (uint32_t n = 0; n < neurons; n++) {
        int32_t reach = 0;
#if EC_NOISE
        if (layer->sigma != NULL)
            reach = ec_noise_bound(layer->sigma[n], layer->sigma_shift);
#endif
        if (drive[n] + reach <= threshold[n])
            continue;
        if (drive[n] - reach > threshold[n])
            list[found.sure++] = (uint16_t)n;
        else
            list[neurons - ++found.unsure] = (uint16_t)n;
    }
    return found;
}

#endif

/* Without those for which a fault decides. */
static candidates find_candidates(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive)
{
    candidates found = compare_all(layer, run, drive);
#if EC_FAULTS
    if (run->faults->set != 0u) {
        uint16_t *const list = run->scratch->list, *const last = list + layer->neurons - 1u;
        candidates kept = {0, 0};
        for (uint32_t k = 0; k < found.sure; k++)
            if (!overruled(layer, run, list[k]))
                list[kept.sure++] = list[k];
        for (uint32_t k = 0; k < found.unsure; k++)
            if (!overruled(layer, run, *(last - k)))
                *(last - kept.unsure++) = *(last - k);
        return kept;
    }
#endif
    return found;
}

static inline ec_draws draws_of(const ec_chaos_layer *layer, const ec_run *run, uint32_t stream)
{
#if EC_FAULTS
    return ec_draws_of(run, stream, layer->neurons, layer->draw_at);
#else
    return ec_draws_of(run, stream, layer->neurons, 0);
#endif
}

/* 1 where the spike is lost; at probability 0 no word is drawn, and the tick of `fail` is not set. */
static inline uint32_t lost(const ec_draws *fail, uint32_t neuron, uint32_t loss)
{
    return loss > 0u && ec_lost(ec_draw(fail, neuron), loss);
}

/* hits[k] += 1 for every neuron of the list whose spike is delivered. */
static void deliver(const uint16_t *restrict list, uint32_t count, const ec_draws *fail, uint32_t loss, uint8_t *restrict hits)
{
    const ec_prefix tick = fail->tick;
#if EC_FAULTS
    if (fail->broken != NULL) {
        for (uint32_t k = 0; k < count; k++)
            hits[k] = (uint8_t)(hits[k] + 1u - ec_lost(ec_draw(fail, list[k]), loss));
        return;
    }
#endif
    for (uint32_t k = 0; k < count; k++)
        hits[k] = (uint8_t)(hits[k] + 1u - ec_lost(ec_word(tick, list[k]), loss));
}

#if EC_NOISE
static inline void deliver_unsure(const ec_chaos_layer *layer, const ec_run *run, uint32_t count, const ec_draws *noise,
                                  const ec_draws *fail, const int32_t *drive, uint32_t work)
{
    const uint32_t loss = fail_q(layer, run), first = layer->neurons - count;
    const int32_t *const threshold = thresholds(layer, run);
    for (uint32_t k = first; k < layer->neurons; k++) {
        const uint32_t n = run->scratch->list[k];
        const int32_t added = ec_noise(work ? ec_word(noise->tick, n) : ec_draw(noise, n), layer->sigma[n], layer->sigma_shift);
        if (drive[n] + added > threshold[n] && !(work ? loss > 0u && ec_lost(ec_word(fail->tick, n), loss) : lost(fail, n, loss)))
            run->scratch->hits[k]++;
    }
}
#endif

/* Moves the hits of list[first..end) to their neurons. */
static void collect(ec_scratch *scratch, uint32_t first, uint32_t end, int8_t *out)
{
    for (uint32_t k = first; k < end; k++) {
        int8_t *const to = out + scratch->list[k];
        *to = (int8_t)(*to + scratch->hits[k]);
        scratch->hits[k] = 0;
    }
}

void ec_chaos_parallel(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive, int8_t *out)
{
    const uint32_t neurons = layer->neurons, ticks = layer->ticks, loss = fail_q(layer, run);
    /* Where no spike can be lost, what fires whatever the noise delivers all its spikes at the first tick. */
    const uint32_t once = !layer->emit_spikes && !layer->ticked_drive;
    ec_draws fail = draws_of(layer, run, layer->fail_stream);
#if EC_NOISE
    ec_draws noise = draws_of(layer, run, layer->noise_stream);
#endif
    candidates found = {0, 0};
    uint32_t drawn = loss == 0u; /* 1: the losses of those that fire whatever the noise are known */
    memset(out, 0, (size_t)(layer->emit_spikes ? ticks * neurons : neurons));
    memset(run->scratch->hits, 0, (size_t)neurons);
    for (uint32_t t = 0; t < ticks; t++) {
        if (t == 0u || layer->ticked_drive)
            found = find_candidates(layer, run, drive);
#if defined(EC_DELIVER_TICKS_S)
        if (t == 0u && once && loss > 0u && ec_draws_work(&fail)) {
            ec_tick_prefixes(fail.stream, ticks, (uint32_t *)run->scratch->sums);
            ec_deliver_ticks(run->scratch->list, found.sure, (const uint32_t *)run->scratch->sums, ticks, loss, run->scratch->hits);
            drawn = 1;
        }
#endif
        if (loss > 0u && !(drawn && found.unsure == 0u))
            ec_draws_tick(&fail, t);
        if (!drawn)
            deliver(run->scratch->list, found.sure, &fail, loss, run->scratch->hits);
        else if (loss == 0u && (t == 0u || !once))
            for (uint32_t k = 0; k < found.sure; k++)
                run->scratch->hits[k] = (uint8_t)(once ? ticks : 1u);
#if EC_NOISE
        if (found.unsure > 0u) {
            ec_draws_tick(&noise, t);
            if (ec_draws_work(&noise)) /* the faults of a layer's generator strike both of its streams */
                deliver_unsure(layer, run, found.unsure, &noise, &fail, drive, 1);
#if EC_FAULTS
            else
                deliver_unsure(layer, run, found.unsure, &noise, &fail, drive, 0);
#endif
        }
#endif
        if (layer->emit_spikes || layer->ticked_drive || t + 1u == ticks) {
            int8_t *const to = layer->emit_spikes ? out + t * neurons : out;
            collect(run->scratch, 0, found.sure, to);
            collect(run->scratch, neurons - found.unsure, neurons, to);
        }
        if (layer->ticked_drive)
            drive += neurons;
    }
#if EC_FAULTS
    if (run->faults->set != 0u)
        ec_faults_stick(run->faults, layer, out);
#endif
}

#if defined(EC_STATEFUL_TICKS_S)
/* 1 where no fault decides for a neuron or changes its state. */
static inline uint32_t undisturbed(const ec_chaos_layer *layer, const ec_run *run)
{
#if EC_FAULTS
    const uint32_t *const word = run->faults->word;
    uint32_t set = word[layer->state_at + 2u * layer->neurons + 1u];
    for (uint32_t k = 0; 32u * k < layer->neurons; k++)
        set |= word[layer->dead_at + k] | word[layer->stuck_at + k];
    return run->faults->set == 0u || set == 0u;
#else
    (void)layer, (void)run;
    return 1;
#endif
}
#endif

void ec_chaos_stateful(const ec_chaos_layer *layer, const ec_run *run, const int16_t *drive, int8_t *out)
{
    const uint32_t neurons = layer->neurons, ticks = layer->ticks, loss = fail_q(layer, run);
#if EC_FAULTS
    const int32_t decay = (int32_t)run->faults->word[layer->decay_q15_at];
    const int32_t keep_refractory = (int32_t)run->faults->word[layer->refractory_decay_q15_at];
#else
    const int32_t decay = layer->decay_q15, keep_refractory = layer->refractory_decay_q15;
#endif
    const int32_t keep_membrane = 32768 - decay;
    ec_draws fail = draws_of(layer, run, layer->fail_stream);
    const int32_t *const threshold = thresholds(layer, run);
    int32_t *const noise = run->scratch->noise;
    int16_t *const membrane = run->scratch->membrane;
    uint16_t *const refractory = run->scratch->refractory;
    uint8_t *const spikes = run->scratch->hits;
#if defined(EC_STATEFUL_TICKS_S)
    if (layer->sigma == NULL && !layer->emit_spikes && !layer->ticked_drive && ec_draws_work(&fail) && undisturbed(layer, run)) {
        uint32_t *const prefix = (uint32_t *)run->scratch->sums;
        const ec_stateful all = {drive, threshold, out, neurons, ticks, prefix, loss, keep_membrane, keep_refractory};
        if (loss > 0u)
            ec_tick_prefixes(fail.stream, ticks, prefix);
        ec_stateful_ticks(&all);
        return;
    }
#endif
    memset(noise, 0, (size_t)neurons * sizeof *noise);
    memset(membrane, 0, (size_t)neurons * sizeof *membrane);
    memset(refractory, 0, (size_t)neurons * sizeof *refractory);
    if (!layer->emit_spikes)
        memset(out, 0, (size_t)neurons);
    for (uint32_t t = 0; t < ticks; t++) {
#if EC_FAULTS
        if (run->faults->set != 0u)
            ec_faults_state(run->faults, layer->state_at, t, neurons, membrane, refractory);
#endif
        if (loss > 0u)
            ec_draws_tick(&fail, t);
#if EC_NOISE
        if (layer->sigma != NULL) {
            ec_draws words = draws_of(layer, run, layer->noise_stream);
            ec_draws_tick(&words, t);
            for (uint32_t n = 0; n < neurons; n++)
                noise[n] = ec_noise(ec_draw(&words, n), layer->sigma[n], layer->sigma_shift);
        }
#endif
        for (uint32_t n = 0; n < neurons; n++) {
            const int32_t sum = ec_clip(membrane[n] + drive[n] + noise[n], INT16_MIN, INT16_MAX);
            membrane[n] = (int16_t)ec_rounded_shift(sum * (32768 - refractory[n]), 15);
            spikes[n] = membrane[n] > threshold[n];
        }
        for (uint32_t n = 0; n < neurons; n++)
            if (spikes[n])
                spikes[n] = !overruled(layer, run, n) && !lost(&fail, n, loss);
#if EC_FAULTS
        if (run->faults->set != 0u)
            ec_faults_stick_tick(run->faults, layer, spikes);
#endif
        for (uint32_t n = 0; n < neurons; n++) {
            const int32_t next = ec_rounded_shift(refractory[n] * keep_refractory, 15) + (spikes[n] ? 32768 : 0);
            refractory[n] = (uint16_t)(next > 32768 ? 32768 : next);
            membrane[n] = (int16_t)ec_rounded_shift(membrane[n] * keep_membrane, 15);
            out[n] = layer->emit_spikes ? (int8_t)spikes[n] : (int8_t)(out[n] + spikes[n]);
        }
        if (layer->emit_spikes)
            out += neurons;
        if (layer->ticked_drive)
            drive += neurons;
    }
}

void ec_chaos_sampled(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive, int8_t *out)
{
    ec_draws draws = draws_of(layer, run, layer->fail_stream);
    const int32_t *const threshold = thresholds(layer, run);
    const uint32_t *table = layer->table;
#if EC_FAULTS
    if (layer->sampling == EC_SAMPLE_BINOMIAL)
        table = run->faults->word + layer->table_at;
#endif
    ec_draws_tick(&draws, 0);
    for (uint32_t n = 0; n < layer->neurons; n++) {
        uint32_t count = drive[n] > threshold[n] && !overruled(layer, run, n);
        if (count > 0u && layer->sampling == EC_SAMPLE_BINOMIAL) {
            const uint32_t word = ec_draw(&draws, n) >> 1;
            for (count = 0; count < layer->ticks && table[count] <= word; count++) {
            }
        }
        out[n] = (int8_t)count;
    }
}

int32_t ec_chaos_expected_gain(const ec_chaos_layer *layer, const ec_run *run)
{
    return (int32_t)((layer->ticks * (65536u - fail_q(layer, run)) + 128u) >> 8);
}
