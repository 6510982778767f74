/* A seeded storm of frames, broken frames and garbage into the protocol server; runs under the sanitizers. The argument is
 * the number of rounds. Every well-formed request must be answered by a frame that the parser itself accepts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ec_host.h"

static uint32_t state = 0x5EED1234u;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

static uint8_t stream[4 * EC_FRAME_MAX];
static uint32_t length;

static void collect(void *port, const uint8_t *bytes, uint32_t count)
{
    (void)port;
    if (length + count <= sizeof stream)
        memcpy(stream + length, bytes, count);
    length += count;
}

/* A request with a plausible verb and a payload of small numbers, so that checks pass now and then. */
static void make_request(void)
{
    static uint8_t raw[EC_FRAME_MAX];
    const uint8_t verb = (uint8_t)(draw(8) ? 1u + draw(11) : draw(256));
    uint32_t payload = draw(4) ? draw(24) : draw(EC_MAX_PAYLOAD + 1);
    if (verb == EC_VERB_INFER)
        payload = EC_INFER_HEAD_BYTES;
    raw[0] = (uint8_t)(draw(50) ? EC_PROTOCOL_VERSION : draw(256));
    raw[1] = verb == EC_VERB_RESET ? EC_VERB_HELLO : verb;
    ec_put16(raw + 2, draw(4));
    ec_put16(raw + 4, payload);
    for (uint32_t k = 0; k < payload; k++)
        raw[6 + k] = (uint8_t)(draw(3) ? draw(4) : draw(256));
    if (verb == EC_VERB_INFER)
        ec_put32(raw + 6 + 9, draw(3)); /* count */
    ec_put32(raw + 6 + payload, ec_crc32(0, raw, 6 + payload));
    length = 0;
    ec_frame_write(raw, 6 + payload + 4, collect, NULL);
}

int main(int argc, char **argv)
{
    const long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    static uint8_t answer[8 * EC_FRAME_MAX];
    ec_host *const host = ec_host_new(1, 0);
    ec_parser parser;
    long answered = 0;
    if (host == NULL)
        return 1;
    ec_parser_reset(&parser);
    for (long round = 0; round < rounds; round++) {
        uint32_t count, good = 0;
        const uint32_t kind = draw(4);
        make_request();
        if (kind == 0)
            stream[1 + draw(length - 1)] ^= (uint8_t)(1u + draw(255));
        if (kind == 1)
            length = draw(length);
        ec_host_feed(host, stream, length);
        while ((count = ec_host_read(host, answer, sizeof answer)) > 0)
            for (uint32_t k = 0; k < count; k++)
                good += ec_parser_feed(&parser, answer[k]) == EC_FRAME_GOOD;
        answered += good;
        if (kind > 1 && good == 0) {
            fprintf(stderr, "round %ld: a good request was not answered\n", round);
            return 1;
        }
    }
    printf("%ld answers\n", answered);
    ec_host_free(host);
    return 0;
}
