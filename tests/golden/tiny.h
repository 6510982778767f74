/* Model 'tiny', 0000000000000000, by EdgeChaos 0.1.0 for mps2-an386.
 * Generated: do not edit. Meaning of every line: docs/semantics.md.
 */
#ifndef EC_MODEL_TINY_H
#define EC_MODEL_TINY_H

#include "ec_model.h"
#include "ec_run.h"

/* All memory of the model, static or on any stack, aligned to 4 bytes.
 * input: what the head that runs next takes, int8 codes or little-endian uint16 token ids, row by row.
 * Values whose lifetimes do not overlap share words, halves, codes.
 */
typedef struct tiny_state {
    int32_t words[4];
    int8_t input[8];
    int16_t halves[1];
    int8_t codes[4];
    ec_scratch scratch;
#if EC_FAULTS
    ec_faults faults;
#endif
} tiny_state;
EC_STATIC_ASSERT(sizeof(tiny_state) == 12492u);

extern const ec_model tiny_model;

/* Before the first run: clears everything, faults included. tiny_reset does the same later. */
void tiny_init(tiny_state *state);
void tiny_reset(tiny_state *state);

/* Runs one head (0 'main') on state->input; returns the class. The logits stay in
 * state->words until the next run.
 */
uint16_t tiny_run(tiny_state *state, uint8_t head, uint32_t seed, uint32_t sample);

#endif
