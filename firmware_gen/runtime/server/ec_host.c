/* The shared library's side of ec_host.h. Unlike the runtime it may allocate: it never runs on a board. */
#include "ec_host.h"

#include <stdlib.h>
#include <string.h>

#include "ec_port.h"

struct ec_host {
    EC_TARGET_STATE state;
    ec_identity identity;
    ec_server server;
    uint8_t *out;
    size_t out_length;
    size_t out_capacity;
};

/* What the server needs of a port; time and pins mean nothing here. */
void ec_port_gpio(int level)
{
    (void)level;
}

uint32_t ec_port_timer(void)
{
    return 0;
}

static void collect(void *port, const uint8_t *bytes, uint32_t count)
{
    ec_host *const host = port;
    if (count > host->out_capacity - host->out_length) {
        const size_t wanted = 2u * (host->out_length + count);
        uint8_t *const grown = realloc(host->out, wanted);
        if (grown == NULL)
            return; /* the frame is lost, as on a wire */
        host->out = grown;
        host->out_capacity = wanted;
    }
    memcpy(host->out + host->out_length, bytes, count);
    host->out_length += count;
}

ec_host *ec_host_new(uint32_t boot_counter, uint8_t reset_cause)
{
    static const uint8_t uid[16] = "host";
    ec_host *const host = calloc(1, sizeof *host);
    if (host == NULL)
        return NULL;
    host->identity.boot_counter = boot_counter;
    host->identity.reset_cause = reset_cause;
    memcpy(host->identity.uid, uid, sizeof uid);
    ec_server_init(&host->server, &EC_TARGET_MODEL, &host->state, &host->identity, collect, host);
    return host;
}

void ec_host_free(ec_host *host)
{
    if (host != NULL)
        free(host->out);
    free(host);
}

const uint8_t *ec_host_model_hash(void)
{
    return EC_TARGET_MODEL.model_hash;
}

const uint8_t *ec_host_firmware_hash(void)
{
    return EC_TARGET_MODEL.firmware_hash;
}

uint8_t ec_host_infer(ec_host *host, uint8_t head, uint32_t count, const int8_t *codes, const uint32_t *samples, uint32_t seed,
                      int32_t *logits, uint16_t *labels)
{
    const ec_model *const model = &EC_TARGET_MODEL;
    if (head >= model->heads)
        return EC_ERROR_OUT_OF_RANGE;
    for (uint32_t k = 0; k < count; k++) {
        const ec_head *const h = &model->head[head];
        uint8_t code;
        memcpy(host->state.input, codes + (size_t)k * h->input_bytes, h->input_bytes);
        code = model->run(&host->state, head, seed, samples[k], &labels[k]);
        if (code != 0u)
            return code;
        memcpy(logits + (size_t)k * h->logits, (const uint8_t *)&host->state + h->logits_at, h->logits * sizeof *logits);
    }
    return 0;
}

uint8_t ec_host_state_hash(const ec_host *host, uint8_t head, uint32_t *hash)
{
    if (head >= EC_TARGET_MODEL.heads)
        return EC_ERROR_OUT_OF_RANGE;
    *hash = ec_state_hash(&EC_TARGET_MODEL, &host->state, head);
    return 0;
}

uint32_t ec_host_feed(ec_host *host, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t k = 0; k < count && !host->server.reset_wanted; k++)
        ec_server_feed(&host->server, bytes[k]);
    return (uint32_t)host->out_length;
}

uint32_t ec_host_read(ec_host *host, uint8_t *bytes, uint32_t capacity)
{
    const uint32_t count = host->out_length < capacity ? (uint32_t)host->out_length : capacity;
    if (count > 0u) {
        memcpy(bytes, host->out, count);
        memmove(host->out, host->out + count, host->out_length - count);
        host->out_length -= count;
    }
    return count;
}

uint8_t ec_host_wants_reset(const ec_host *host)
{
    return host->server.reset_wanted;
}
