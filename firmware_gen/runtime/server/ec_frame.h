/* Frames on a byte stream: 00 | COBS(head, payload, crc32) | 00, as ec_protocol.h and docs/protocol.md define them.
 *
 * The parser takes one byte at a time and never blocks. Garbage costs at most the frame it falls into: the next 00
 * begins anew.
 */
#ifndef EC_FRAME_H
#define EC_FRAME_H

#include "ec_config.h"
#include "ec_protocol.h"
#include "ec_types.h"

#define EC_FRAME_MAX (EC_FRAME_HEAD_BYTES + EC_MAX_PAYLOAD + EC_CRC_BYTES)

typedef struct ec_parser {
    uint8_t frame[EC_FRAME_MAX]; /* decoded bytes so far */
    uint32_t length;
    uint8_t block; /* code byte of the COBS block; 0 before the first */
    uint8_t left;  /* bytes still to come in the block */
    uint8_t overrun;
} ec_parser;

enum { EC_FRAME_NONE = 0, EC_FRAME_GOOD = 1, EC_FRAME_BAD = 2 };

EC_C_BEGIN

void ec_parser_reset(ec_parser *parser);

/* Takes one byte. GOOD: a whole frame whose CRC and length agree is in parser->frame[0..parser->length), until the next
 * call. BAD: something that is no frame has ended.
 */
int ec_parser_feed(ec_parser *parser, uint8_t byte);

/* CRC-32 (IEEE 802.3, as zlib's); start with crc = 0, continue with the value returned. */
uint32_t ec_crc32(uint32_t crc, const void *data, uint32_t length);

typedef void (*ec_write)(void *port, const uint8_t *bytes, uint32_t count);

/* Writes 00 | COBS(raw) | 00. */
void ec_frame_write(const uint8_t *raw, uint32_t length, ec_write write, void *port);

EC_C_END

#endif
