/* The model as a shared library: batches of inferences, and the protocol server over memory, which loads
 * faults as on a board. Every function takes the handle of one independent instance; instances share nothing that is written.
 */
#ifndef EC_HOST_H
#define EC_HOST_H

#include "ec_server.h"
#include "ec_target.h"

EC_C_BEGIN

typedef struct ec_host ec_host;

/* NULL where there is no memory. boot_counter and reset_cause are what HELLO will say. */
ec_host *ec_host_new(uint32_t boot_counter, uint8_t reset_cause);
void ec_host_free(ec_host *host);

const uint8_t *ec_host_model_hash(void);    /* 32 bytes */
const uint8_t *ec_host_firmware_hash(void); /* 32 bytes */

/* count items: codes [count][input], samples [count] -> logits [count][logits], labels [count]. Returns 0, or
 * EC_ERROR_OUT_OF_RANGE where there is no such head, or EC_ERROR_MEMORY where a guard has found what it cannot correct.
 */
uint8_t ec_host_infer(ec_host *host, uint8_t head, uint32_t count, const int8_t *codes, const uint32_t *samples, uint32_t seed,
                      int32_t *logits, uint16_t *labels);

/* Of the last inference of a head; returns as ec_host_infer. */
uint8_t ec_host_state_hash(const ec_host *host, uint8_t head, uint32_t *hash);

/* The server: bytes in, bytes out. feed returns the bytes that wait to be read; read moves at most `capacity` of them.
 * wants_reset: a RESET was acknowledged; make a new instance.
 */
uint32_t ec_host_feed(ec_host *host, const uint8_t *bytes, uint32_t count);
uint32_t ec_host_read(ec_host *host, uint8_t *bytes, uint32_t capacity);
uint8_t ec_host_wants_reset(const ec_host *host);

EC_C_END

#endif
