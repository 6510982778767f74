/* Spiking layers with intermittent spike loss, as docs/semantics.md defines them. */
#ifndef EC_CHAOS_H
#define EC_CHAOS_H

#include "ec_layers.h"
#include "ec_run.h"

/* Every tick starts from zero state: spike iff drive + noise > threshold, and not lost.
 * drive: [neurons] or [ticks][neurons] as layer->ticked_drive says; out: as layer->emit_spikes says.
 */
void ec_chaos_parallel(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive, int8_t *out);

/* Membrane int16 and refractoriness carry over from tick to tick. drive, out: as above, drive int16. */
void ec_chaos_stateful(const ec_chaos_layer *layer, const ec_run *run, const int16_t *drive, int8_t *out);

/* Parallel ticks without noise, sampled at once: each count is one binomial draw, or (expected) 0/1 "would spike".
 * drive, out: [neurons].
 */
void ec_chaos_sampled(const ec_chaos_layer *layer, const ec_run *run, const int32_t *drive, int8_t *out);

/* The mean count of a neuron that fires, times 256: the readout's gain after an expected layer. */
int32_t ec_chaos_expected_gain(const ec_chaos_layer *layer, const ec_run *run);

#endif
