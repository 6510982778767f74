/* Model 'tiny', 0000000000000000, by EdgeChaos 0.1.0 for mps2-an386.
 * Generated: do not edit. Meaning of every line: docs/semantics.md.
 */
#ifndef EC_MODEL_TINY_H
#define EC_MODEL_TINY_H

#include "ec_model.h"
#include "ec_run.h"

/* Heads: the number, bytes of the input, logits, and the place of the first logit in state->words. */
#define TINY_HEAD_MAIN 0u
#define TINY_INPUT_BYTES_MAIN 6u
#define TINY_LOGITS_MAIN 3u
#define TINY_FIRST_LOGIT_MAIN 0u

/* All memory of the model, static or on any stack, aligned to 4 bytes.
 * input: what the head that runs next takes, int8 codes or little-endian uint16 token ids, row by row.
 * Values whose lifetimes do not overlap share words, halves, codes.
 */
typedef struct tiny_state {
    int32_t words[4];
    int8_t input[8] EC_ALIGNED;
    int16_t halves[1];
    int8_t codes[4] EC_ALIGNED;
    ec_scratch scratch;
#if EC_FAULTS
    ec_faults faults;
#endif
} tiny_state;
EC_STATIC_ASSERT(sizeof(tiny_state) <= 12524u);

EC_C_BEGIN

extern const ec_model tiny_model;

/* Before the first run: clears everything, faults included. tiny_reset does the same later. */
void tiny_init(tiny_state *state);
void tiny_reset(tiny_state *state);

/* Writes state->input: exactly what a head reads. Returns 0, EC_ERROR_OUT_OF_RANGE where there is no such head, or
 * EC_ERROR_BAD_LENGTH for any other count.
 */
uint8_t tiny_set_input(tiny_state *state, uint8_t head, const void *bytes, uint32_t count);

/* Runs a head on state->input; *label becomes the class. Returns 0, or EC_ERROR_OUT_OF_RANGE where there is no such head. */
uint8_t tiny_run(tiny_state *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label);

/* The logits of a head's last run; they stay until the next run of any head. NULL where there is no such head. */
const int32_t *tiny_logits(const tiny_state *state, uint8_t head);

EC_C_END

#endif
