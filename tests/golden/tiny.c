/* Model 'tiny', 0000000000000000, by EdgeChaos 0.1.0 for mps2-an386.
 * Generated: do not edit. Meaning of every line: docs/semantics.md.
 *
 * cortex0_matmul: MatMul input -> cortex0_acc int32[4]
 * cortex0: ChaosLayer cortex0_acc -> cortex0_count int8[4]
 * readout: Readout cortex0_count -> logits int32[3]
 * argmax: ArgMax logits -> label uint16[1]
 */
#include "tiny.h"

#include <string.h>

#include "ec_chaos.h"
#include "ec_hashes.h"
#include "ec_matmul.h"

/* cortex0_matmul: 4 outputs <- 6 inputs, 8-bit weights; event: activity not measured, event-driven pays below 0% */
/* [in][out], weight + 128, padded to 8 */
static const uint8_t cortex0_weight_rows[48] EC_ALIGNED = {
    217, 20, 129, 143, 128, 128, 128, 128, 163, 5, 155, 239, 128, 128, 128, 128, 131, 45, 248, 71, 128, 128, 128, 128,
    69, 208, 187, 209, 128, 128, 128, 128, 79, 166, 162, 172, 128, 128, 128, 128, 11, 233, 139, 1, 128, 128, 128, 128,
};

static const int32_t cortex0_bias[4] = {
    -424, 1430, 217, -1866,
};

static const ec_matrix cortex0_matmul_layer = {
    .dense = NULL,
    .rows = cortex0_weight_rows,
    .bias = cortex0_bias,
    .outputs = 4,
    .inputs = 6,
    .stride = 8,
    .offset = 128,
    .bits = 8,
    .background = 0,
#if EC_FAULTS
    .index = 0,
    .bias_limit = 2147385343,
#endif
};

/* cortex0: 4 neurons, 4 parallel ticks, sampled as ticks, fail_prob 20000/65536 = 0.305176 */
static const int32_t cortex0_threshold[4] = {
    6641, 6227, 7602, -287,
};

static const ec_chaos_layer cortex0_layer = {
    .threshold = cortex0_threshold,
    .sigma = NULL,
    .table = NULL,
    .fail_q = 20000u,
    .neurons = 4,
    .fail_stream = 0,
    .noise_stream = 1,
    .decay_q15 = 655,
    .refractory_decay_q15 = 31130,
    .ticks = 4,
    .sigma_shift = 0,
    .ticked_drive = 0,
    .emit_spikes = 0,
    .sampling = EC_SAMPLE_TICKS,
#if EC_FAULTS
    .dead_at = 0,
    .stuck_at = 1,
    .fail_q_at = 2,
    .threshold_at = 3,
    .draw_at = 7,
#endif
};

/* readout: 3 outputs <- 4 inputs, 8-bit weights; event: activity not measured, event-driven pays below 0% */
/* [in][out], weight + 128, padded to 8 */
static const uint8_t readout_weight_rows[32] EC_ALIGNED = {
    23, 21, 103, 128, 128, 128, 128, 128, 221, 77, 8, 128, 128, 128, 128, 128, 6, 123, 2, 128, 128, 128, 128, 128, 139,
    108, 32, 128, 128, 128, 128, 128,
};

static const int32_t readout_bias[3] = {
    -492, 171, 26,
};

static const ec_matrix readout_layer = {
    .dense = NULL,
    .rows = readout_weight_rows,
    .bias = readout_bias,
    .outputs = 3,
    .inputs = 4,
    .stride = 8,
    .offset = 128,
    .bits = 8,
    .background = 0,
#if EC_FAULTS
    .index = 1,
    .bias_limit = 2147481599,
#endif
};

#if EC_FAULTS
static const uint32_t cortex0_fail_q[1] = {
    20000u,
};

static const ec_slot all_slots[8] = {
    {NULL, 0, 0u, 1u, 4, 0}, /* 0: cortex0 dead */
    {NULL, 1, 0u, 1u, 4, 0}, /* 1: cortex0 stuck */
    {cortex0_fail_q, 2, 0u, 65536u, 1, 4}, /* 2: cortex0 fail_q */
    {cortex0_threshold, 3, 2147483648u, 4294967295u, 4, 4}, /* 3: cortex0 threshold */
    {NULL, 7, 0u, 4294967295u, 1, 4}, /* 4: cortex0 draw_clear */
    {NULL, 8, 0u, 4294967295u, 1, 4}, /* 5: cortex0 draw_set */
    {NULL, 9, 0u, 4294967295u, 1, 4}, /* 6: cortex0 draw_period */
    {NULL, 10, 0u, 4294967295u, 1, 4}, /* 7: cortex0 draw_repeat */
};
#endif

static uint16_t run_main(tiny_state *state, const ec_run *run)
{
    ec_matmul(&cortex0_matmul_layer, run, 1, state->input, state->words + 0);
    ec_chaos_parallel(&cortex0_layer, run, state->words + 0, state->codes + 0);
    ec_matmul(&readout_layer, run, 1, state->codes + 0, state->words + 0);
    return ec_argmax(state->words + 0, 3);
}

uint8_t tiny_run(tiny_state *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label)
{
    ec_run run;
    run.seed = seed;
    run.sample = sample;
    run.scratch = &state->scratch;
    run.parameter = NULL;
#if EC_FAULTS
    run.faults = &state->faults;
#endif
    switch (head) {
        case 0:
            *label = run_main(state, &run);
            return 0;
        default:
            return EC_ERROR_OUT_OF_RANGE;
    }
}

#if EC_FAULTS
static const ec_matrix *const all_matrices[2] = {&cortex0_matmul_layer, &readout_layer};
#endif

void tiny_init(tiny_state *state)
{
    memset(state, 0, sizeof *state);
#if EC_FAULTS
    ec_faults_clear(&state->faults, &tiny_model.sites);
#endif
}

void tiny_reset(tiny_state *state)
{
    tiny_init(state);
}

uint8_t tiny_set_input(tiny_state *state, uint8_t head, const void *bytes, uint32_t count)
{
    return ec_model_set_input(&tiny_model, state, head, bytes, count);
}

const int32_t *tiny_logits(const tiny_state *state, uint8_t head)
{
    return ec_model_logits(&tiny_model, state, head);
}

static void init_any(void *state)
{
    tiny_init(state);
}

static uint8_t run_any(void *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label)
{
    return tiny_run(state, head, seed, sample, label);
}

static const ec_head all_heads[1] = {
    {.input_bytes = 6, .logits_at = offsetof(tiny_state, words) + 0 * sizeof(int32_t), .read_at = offsetof(tiny_state, codes) + 0 * sizeof(int8_t), .read_bytes = 4, .logits = 3},
};

const ec_model tiny_model = {
    .head = all_heads,
    .input_at = offsetof(tiny_state, input),
    .heads = 1,
    .model_hash = EC_MODEL_HASH,
    .firmware_hash = EC_FIRMWARE_HASH,
    .init = init_any,
    .run = run_any,
#if EC_FAULTS
    .faults_at = offsetof(tiny_state, faults),
    .sites = {all_slots, all_matrices, 0xae976ef2u, 8, 2},
#endif
};
