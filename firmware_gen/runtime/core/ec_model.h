/* What the server and a host need to know of a generated model; each model's source defines one of these. */
#ifndef EC_MODEL_H
#define EC_MODEL_H

#include "ec_faults.h"
#include "ec_protocol.h"
#include "ec_types.h"

/* One task of the model; all heads take their input from the same buffer, `input`, as it comes over the wire. Offsets are in bytes of the state. */
typedef struct ec_head {
    uint32_t input_bytes;
    uint32_t logits_at; /* int32 [logits] */
    uint32_t read_at;   /* int8 [read_bytes]: what the last matrix read */
    uint32_t read_bytes;
    uint16_t logits;
} ec_head;

typedef struct ec_model {
    const ec_head *head;
    uint32_t input_at;
    uint32_t parameters_at;       /* int32 [parameters]: the k of each ThermalNoise, in node order */
    const int32_t *parameter_max; /* [parameters]: 0..max keeps every proof */
    uint8_t heads;
    uint8_t parameters;
    uint8_t model_hash[32];
    uint8_t firmware_hash[32];
    void (*init)(void *state);
    /* As <model>_run: 0 and the class, or an EC_ERROR_ number. */
    uint8_t (*run)(void *state, uint8_t head, uint32_t seed, uint32_t sample, uint16_t *label);
#if EC_FAULTS
    uint32_t faults_at;
    ec_sites sites;
#endif
} ec_model;

EC_C_BEGIN

/* As <model>_set_input and <model>_logits, of any model. */
uint8_t ec_model_set_input(const ec_model *model, void *state, uint8_t head, const void *bytes, uint32_t count);
const int32_t *ec_model_logits(const ec_model *model, const void *state, uint8_t head);

EC_C_END

#endif
