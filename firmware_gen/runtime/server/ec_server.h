/* The device's side of the protocol: bytes in, replies out, one request at a time.
 *
 * It owns no hardware: the main program feeds it bytes and gives it a function that writes. docs/protocol.md has the
 * verbs, the layouts and the replay rule.
 */
#ifndef EC_SERVER_H
#define EC_SERVER_H

#include "ec_frame.h"
#include "ec_model.h"
#include "ec_repair.h"

/* What a device says of itself in HELLO besides its model. */
typedef struct ec_identity {
    uint32_t timer_hz; /* 0: no timer */
    uint32_t boot_counter;
    uint8_t reset_cause;
    uint8_t uid[16];
} ec_identity;

typedef struct ec_server {
    const ec_model *model;
    void *state;
    const ec_identity *identity;
    ec_write write;
    void *port;
    ec_parser parser;
    uint8_t reply[EC_FRAME_MAX]; /* the last reply, whole, for replay */
    uint32_t reply_length;
    uint32_t request_crc; /* of the request that `reply` answers */
    uint32_t inferences;
    uint32_t good_frames;
    uint32_t bad_frames;
    uint32_t replayed;
    uint64_t timer_ticks;
    uint8_t session[EC_SESSION_BYTES]; /* the host's number; zero from every start until the host gives one */
    uint16_t request_seq;
    uint8_t replayable;
    uint8_t has_result;
    uint8_t last_head;
    uint8_t reset_wanted; /* set once a RESET has been acknowledged: the main program restarts the device */
#if EC_FAULTS && EC_REPAIR_BYTES
    ec_repair repair; /* last: its pool is not cleared */
#endif
} ec_server;

EC_C_BEGIN

/* Initialises the model's state, too. All pointers must outlive the server. */
void ec_server_init(ec_server *server, const ec_model *model, void *state, const ec_identity *identity, ec_write write, void *port);

/* Takes one byte from the link; answers when it completes a request. */
void ec_server_feed(ec_server *server, uint8_t byte);

/* CRC-32 of what the last matrix read (int8), then of the logits (int32), of a head's last inference. */
uint32_t ec_state_hash(const ec_model *model, const void *state, uint8_t head);

EC_C_END

#endif
