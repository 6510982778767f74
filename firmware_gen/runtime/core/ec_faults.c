/* Fault setters, each of which checks what it stores, and the hooks that apply it. */
#include "ec_faults.h"

#if EC_FAULTS

#include <string.h>

#include "ec_protocol.h"
#include "ec_random.h"

static uint32_t mask_bytes(uint32_t neurons)
{
    return (neurons + 7u) / 8u;
}

static uint8_t refuse(uint8_t code, uint32_t about, uint32_t *detail)
{
    *detail = about;
    return code;
}

void ec_faults_clear(ec_faults *faults, const ec_sites *sites)
{
    memset(faults->word, 0, sizeof faults->word);
    faults->patches = 0;
    faults->set = 0;
    for (uint32_t k = 0; k < sites->slots; k++) {
        const ec_slot *const slot = &sites->slot[k];
        if (slot->clean != NULL)
            memcpy(faults->word + slot->at, slot->clean, slot->length * sizeof *faults->word);
    }
}

static uint32_t entry(const uint8_t *bytes, uint32_t width)
{
    return width == 1u ? bytes[0] : width == 2u ? ec_get16(bytes) : ec_get32(bytes);
}

uint8_t ec_faults_set(ec_faults *faults, const ec_sites *sites, uint32_t slot, uint32_t first, const uint8_t *bytes, uint32_t count,
                      uint32_t *detail)
{
    const ec_slot *s;
    uint32_t width, end;
    if (slot >= sites->slots)
        return refuse(EC_ERROR_OUT_OF_RANGE, slot, detail);
    s = &sites->slot[slot];
    width = s->width;
    if (s->length == 0u)
        return refuse(EC_ERROR_REFUSED, slot, detail);
    if (width == 0u) { /* bits behind the last entry are there, and mean nothing */
        end = first + 8u * count;
        if (first % 8u != 0u || end > 8u * mask_bytes(s->length))
            return refuse(EC_ERROR_OUT_OF_RANGE, first % 8u != 0u ? first : end, detail);
        memcpy((uint8_t *)(faults->word + s->at) + first / 8u, bytes, (size_t)count);
        faults->set = 1;
        return 0;
    }
    if (count % width != 0u)
        return refuse(EC_ERROR_BAD_LENGTH, count, detail);
    end = first + count / width;
    if (end > s->length)
        return refuse(EC_ERROR_OUT_OF_RANGE, end, detail);
    /* Modulo the entry's width, a signed one is as far above the least as an unsigned one. */
    for (uint32_t store = 0; store < 2u; store++) {
        for (uint32_t k = first; k < end; k++) {
            const uint32_t value = entry(bytes + (k - first) * width, width);
            const uint32_t above = (value - s->low) & (0xFFFFFFFFu >> (32u - 8u * width));
            if (above > s->span)
                return refuse(EC_ERROR_OUT_OF_RANGE, value, detail);
            if (store)
                faults->word[s->at + k] = s->low + above;
        }
    }
    faults->set = 1;
    return 0;
}

/* Orders patches as hosts send them: by matrix, output, input, the bias before the weights. */
static uint64_t site_of(const ec_patch *patch)
{
    return ((uint64_t)patch->matrix << 32) | ((uint32_t)patch->output << 16) | (uint16_t)(patch->input + 1u);
}

uint8_t ec_faults_add_patch(ec_faults *faults, const ec_sites *sites, ec_patch patch, uint32_t *detail)
{
    const ec_matrix *matrix;
    int64_t lowest, highest, word;
    if (patch.matrix >= sites->matrices)
        return refuse(EC_ERROR_OUT_OF_RANGE, patch.matrix, detail);
#if EC_REPAIR_BYTES
    matrix = faults->in_use.matrix[patch.matrix];
#else
    matrix = sites->matrix[patch.matrix];
#endif
    if (patch.output >= matrix->outputs)
        return refuse(EC_ERROR_OUT_OF_RANGE, patch.output, detail);
    if (patch.input == EC_BIAS_INPUT ? matrix->bias == NULL : patch.input >= matrix->inputs)
        return refuse(EC_ERROR_OUT_OF_RANGE, patch.input, detail);
    if (faults->patches >= EC_PATCH_CAPACITY)
        return refuse(EC_ERROR_NO_SPACE, EC_PATCH_CAPACITY, detail);
    if (patch.input == EC_BIAS_INPUT) {
        word = (int64_t)matrix->bias[patch.output] - (matrix->folded != NULL ? matrix->folded[patch.output] : 0);
        highest = matrix->bias_limit;
        lowest = -highest;
    } else {
        word = ec_weight_at(matrix, patch.output, patch.input);
        highest = matrix->offset - 1;
        lowest = -(int64_t)matrix->offset;
    }
    /* A word's flips arrive as one row; the faulty word must still be one that the proof knows. */
    if (word + patch.delta < lowest || word + patch.delta > highest)
        return refuse(EC_ERROR_OUT_OF_RANGE, (uint32_t)patch.delta, detail);
    if (faults->patches == 0u || site_of(&faults->patch[faults->highest]) < site_of(&patch)) {
        faults->highest = faults->patches;
    } else {
        for (uint32_t k = 0; k < faults->patches; k++)
            if (site_of(&faults->patch[k]) == site_of(&patch))
                return refuse(EC_ERROR_OUT_OF_RANGE, k, detail);
    }
    faults->patch[faults->patches++] = patch;
    return 0;
}

void ec_faults_stick(const ec_faults *faults, const ec_chaos_layer *layer, int8_t *out)
{
    const uint8_t *const stuck = ec_mask(faults, layer->stuck_at);
    for (uint32_t k = 0; k < mask_bytes(layer->neurons); k++) {
        if (stuck[k] == 0u) /* most masks are empty: eight neurons a look */
            continue;
        for (uint32_t n = 8u * k; n < 8u * k + 8u && n < layer->neurons; n++) {
            if (!ec_mask_bit(stuck, n))
                continue;
            if (layer->emit_spikes)
                for (uint32_t t = 0; t < layer->ticks; t++)
                    out[t * layer->neurons + n] = 1;
            else
                out[n] = (int8_t)layer->ticks;
        }
    }
}

/* Not inlined: in the function that runs a head it costs the convolutions registers (44,000 loads of 2.2 million instructions). */
EC_NOINLINE void ec_faults_silence_units(const ec_faults *faults, const ec_units *layer, uint32_t ticks, int8_t *out)
{
    const uint8_t *const dead = ec_mask(faults, layer->dead_at);
    for (uint32_t k = 0; layer->dead_at != EC_NOWHERE && k < mask_bytes(layer->units); k++) {
        if (dead[k] == 0u) /* most masks are empty: eight units a look */
            continue;
        for (uint32_t n = 8u * k; n < 8u * k + 8u && n < layer->units; n++)
            for (uint32_t t = 0; ec_mask_bit(dead, n) && t < ticks; t++)
                memset(out + (t * layer->units + n) * layer->span, 0, (size_t)layer->span);
    }
    for (uint32_t n = 0; n < layer->units; n++)
        for (uint32_t t = 0; faults->word[layer->stuck_at + n] != 0u && t < ticks; t++)
            memset(out + (t * layer->units + n) * layer->span, (int)(layer->low + (int32_t)faults->word[layer->stuck_at + n] - 1),
                   (size_t)layer->span);
}

EC_NOINLINE uint32_t ec_faults_word(const uint32_t *generator, ec_origin origin, uint32_t neuron)
{
    const uint32_t clear = generator[0], set = generator[1], period = generator[2], repeat = generator[3];
    const uint32_t count = origin.tick * origin.neurons + neuron, at = period > 0u ? count % period : count;
    const uint32_t sample = repeat > 0u ? origin.sample % repeat : origin.sample;
    const ec_prefix tick = ec_tick_prefix(ec_stream_prefix(origin.seed, origin.stream, sample), at / origin.neurons);
    return (ec_word(tick, at % origin.neurons) & ~clear) | set;
}

EC_NOINLINE void ec_faults_state(const ec_faults *faults, uint32_t at, uint32_t t, uint32_t neurons, int16_t *membrane,
                                               uint16_t *refractory)
{
    const uint32_t *const clear = faults->word + at, *const flip = clear + neurons, *const when = flip + neurons;
    if (t - when[0] >= when[1]) /* before its first tick the difference is large */
        return;
    for (uint32_t n = 0; n < neurons; n++) {
        if (when[2] != 0u) {
            const uint32_t next = (refractory[n] & ~clear[n]) ^ flip[n];
            refractory[n] = (uint16_t)(next > 32768u ? 32768u : next);
        } else {
            membrane[n] = (int16_t)(uint16_t)(((uint16_t)membrane[n] & ~clear[n]) ^ flip[n]);
        }
    }
}

void ec_faults_stick_tick(const ec_faults *faults, const ec_chaos_layer *layer, uint8_t *spikes)
{
    for (uint32_t n = 0; n < layer->neurons; n++)
        spikes[n] |= (uint8_t)ec_mask_bit(ec_mask(faults, layer->stuck_at), n);
}

#endif
