/* COBS (Cheshire and Baker, 1999) and CRC-32, a byte at a time. */
#include "ec_frame.h"

#include <string.h>

void ec_parser_reset(ec_parser *parser)
{
    parser->length = 0;
    parser->block = 0;
    parser->left = 0;
    parser->overrun = 0;
}

static void append(ec_parser *parser, uint8_t byte)
{
    if (parser->length < EC_FRAME_MAX)
        parser->frame[parser->length++] = byte;
    else
        parser->overrun = 1;
}

static int check(const ec_parser *parser)
{
    const uint32_t least = EC_FRAME_HEAD_BYTES + EC_CRC_BYTES;
    const uint32_t covered = parser->length - EC_CRC_BYTES;
    if (parser->overrun || parser->left > 0u || parser->length < least)
        return EC_FRAME_BAD;
    if (ec_get16(parser->frame + 4) != parser->length - least)
        return EC_FRAME_BAD;
    return ec_crc32(0, parser->frame, covered) == ec_get32(parser->frame + covered) ? EC_FRAME_GOOD : EC_FRAME_BAD;
}

int ec_parser_feed(ec_parser *parser, uint8_t byte)
{
    if (byte == 0u) {
        const int verdict = parser->block == 0u ? EC_FRAME_NONE : check(parser);
        const uint32_t length = parser->length;
        ec_parser_reset(parser);
        parser->length = verdict == EC_FRAME_GOOD ? length : 0u;
        return verdict;
    }
    if (parser->left > 0u) {
        parser->left--;
        append(parser, byte);
        return EC_FRAME_NONE;
    }
    if (parser->block == 0u)
        parser->length = 0; /* the first byte after a frame: its buffer is free again */
    else if (parser->block != 0xFFu)
        append(parser, 0);
    parser->block = byte;
    parser->left = (uint8_t)(byte - 1u);
    return EC_FRAME_NONE;
}

uint32_t ec_crc32(uint32_t crc, const void *data, uint32_t length)
{
    /* Half a byte at a time: 64 bytes of table instead of 1,024. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *bytes = data;
    crc = ~crc;
    for (uint32_t k = 0; k < length; k++) {
        crc ^= bytes[k];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

void ec_frame_write(const uint8_t *raw, uint32_t length, ec_write write, void *port)
{
    static const uint8_t zero = 0;
    uint32_t at = 0;
    int open = 1; /* a block must follow: the frame is empty so far, or its last block stands for a zero */
    write(port, &zero, 1);
    while (open || at < length) {
        const uint32_t most = length - at < 254u ? length - at : 254u;
        uint32_t run = 0;
        uint8_t code;
        while (run < most && raw[at + run] != 0u)
            run++;
        code = (uint8_t)(run + 1u);
        write(port, &code, 1);
        if (run > 0u)
            write(port, raw + at, run);
        at += run;
        open = run < 254u && at < length; /* the block ended at a zero byte, which its code stands for */
        at += (uint32_t)open;
    }
    write(port, &zero, 1);
}
