/* The model as a shared library: batches of inferences, the firmware's own fault setters, and the protocol server over
 * memory. Every function takes the handle of one independent instance; instances share nothing that is written.
 */
#ifndef EC_HOST_H
#define EC_HOST_H

#include "ec_server.h"
#include "ec_target.h"

typedef struct ec_host ec_host;

/* NULL where there is no memory. boot_counter and reset_cause are what HELLO will say. */
ec_host *ec_host_new(uint32_t boot_counter, uint8_t reset_cause);
void ec_host_free(ec_host *host);

const uint8_t *ec_host_model_hash(void);    /* 32 bytes */
const uint8_t *ec_host_firmware_hash(void); /* 32 bytes */
uint32_t ec_host_patch_capacity(void);      /* 0: built without fault hooks */

/* count items: codes [count][input], samples [count] -> logits [count][logits], labels [count]. Returns 0, or
 * EC_ERROR_OUT_OF_RANGE where there is no such head.
 */
uint8_t ec_host_infer(ec_host *host, uint8_t head, uint32_t count, const int8_t *codes, const uint32_t *samples, uint32_t seed,
                      int32_t *logits, uint16_t *labels);

/* Of the last inference of a head. */
uint32_t ec_host_state_hash(const ec_host *host, uint8_t head);

/* As in ec_faults.h: 0, or an error code and *detail. Without hooks: EC_ERROR_FAULTS_COMPILED_OUT. */
void ec_host_clear(ec_host *host);
uint8_t ec_host_set_mask(ec_host *host, uint8_t layer, uint8_t kind, uint32_t first_byte, const uint8_t *bytes, uint32_t count,
                         uint32_t *detail);
uint8_t ec_host_set_fail_q(ec_host *host, uint8_t layer, uint32_t fail_q, uint32_t *detail);
uint8_t ec_host_set_table(ec_host *host, uint8_t layer, uint32_t first, const uint8_t *entries, uint32_t count, uint32_t *detail);
uint8_t ec_host_add_patch(ec_host *host, uint8_t matrix, uint16_t output, uint16_t input, int32_t delta, uint32_t *detail);

/* The server: bytes in, bytes out. feed returns the bytes that wait to be read; read moves at most `capacity` of them.
 * wants_reset: a RESET was acknowledged; make a new instance.
 */
uint32_t ec_host_feed(ec_host *host, const uint8_t *bytes, uint32_t count);
uint32_t ec_host_read(ec_host *host, uint8_t *bytes, uint32_t capacity);
uint8_t ec_host_wants_reset(const ec_host *host);

#endif
