/* The device's side of the protocol. Every length and index is checked here or in the fault setters: a request is
 * hostile until then.
 */
#include "ec_server.h"

#include <string.h>

#include "ec_port.h"

/* A request's payload, and where its reply's payload goes. */
typedef struct exchange {
    const uint8_t *in;
    uint32_t length;
    uint8_t *out;
    uint32_t detail;
} exchange;

uint32_t ec_state_hash(const ec_model *model, const void *state, uint8_t head)
{
    const ec_head *const h = &model->head[head];
    const int32_t *const logits = ec_model_logits(model, state, head);
    uint32_t crc = ec_crc32(0, (const uint8_t *)state + h->read_at, h->read_bytes);
    for (uint32_t k = 0; k < h->logits; k++) {
        uint8_t bytes[4];
        ec_put32(bytes, (uint32_t)logits[k]);
        crc = ec_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

static uint8_t *put64(uint8_t *p, uint64_t value)
{
    return ec_put32(ec_put32(p, (uint32_t)value), (uint32_t)(value >> 32));
}

static uint8_t *put_bytes(uint8_t *p, const uint8_t *bytes, uint32_t count)
{
    memcpy(p, bytes, (size_t)count);
    return p + count;
}

/* As many logits as the rest of the reply holds, from `first` on. */
static uint8_t *put_logits(const ec_server *server, uint8_t *start, uint8_t *p, uint32_t first)
{
    const int32_t *const logits = ec_model_logits(server->model, server->state, server->last_head);
    const uint32_t count = server->model->head[server->last_head].logits;
    for (uint32_t k = first; k < count && (uint32_t)(p - start) + 4u <= EC_MAX_PAYLOAD; k++)
        p = ec_put32(p, (uint32_t)logits[k]);
    return p;
}

static uint8_t *hello(const ec_server *server, uint8_t *p)
{
    const ec_identity *const me = server->identity;
    *p++ = EC_PROTOCOL_VERSION;
    p = ec_put32(p, EC_RANDOM_ID);
#if EC_FAULTS
    p = ec_put16(ec_put32(p, EC_LEVEL_MODEL), EC_MAX_PAYLOAD);
    p = ec_put16(p, EC_PATCH_CAPACITY);
    p = ec_put32(ec_put16(p, server->model->sites.slots), server->model->sites.slots_crc);
#else
    p = ec_put16(ec_put32(p, 0u), EC_MAX_PAYLOAD);
    p = ec_put32(ec_put32(p, 0u), 0u);
#endif
    p = ec_put32(p, me->timer_hz);
    p = ec_put32(p, me->boot_counter);
    p = put_bytes(p, server->session, sizeof server->session);
    *p++ = me->reset_cause;
    p = put_bytes(p, me->uid, sizeof me->uid);
#if EC_FAULTS && EC_REPAIR_BYTES
    p = put_bytes(p, server->repair.committed ? server->repair.hash : server->model->model_hash, 32);
#else
    p = put_bytes(p, server->model->model_hash, 32);
#endif
    return put_bytes(p, server->model->firmware_hash, 32);
}

#if EC_FAULTS

static ec_faults *faults_of(ec_server *server)
{
    return (ec_faults *)(void *)((uint8_t *)server->state + server->model->faults_at);
}

#endif

/* Everything of the model anew, but for what a repair has changed. */
static void init_model(ec_server *server)
{
    server->model->init(server->state);
#if EC_FAULTS && EC_REPAIR_BYTES
    faults_of(server)->in_use.matrix = server->repair.matrix;
#endif
}

/* Begins a session, with nothing of the one before: a host that was killed may have left faults. The number lies in RAM that
 * every start clears, as the faults do: while HELLO returns it, they are there.
 */
static uint8_t begin_session(ec_server *server, const exchange *x)
{
    uint8_t any = 0;
    for (uint32_t k = 0; k < EC_SESSION_BYTES; k++)
        any |= x->in[k];
    if (any == 0u)
        return EC_ERROR_OUT_OF_RANGE;
    init_model(server);
    server->has_result = 0;
    memcpy(server->session, x->in, EC_SESSION_BYTES);
    return 0;
}

static uint8_t infer(ec_server *server, exchange *x)
{
    const uint8_t head = x->in[0];
    const uint32_t seed = ec_get32(x->in + 1), sample = ec_get32(x->in + 5), count = ec_get32(x->in + 9);
    uint64_t ticks = 0;
    uint16_t label = 0;
#if EC_GUARDS
    uint8_t code = 0;
#else
    const uint8_t code = 0; /* the head is one that there is: nothing else can fail */
#endif
    uint8_t *const start = x->out;
    if (head >= server->model->heads || count == 0u) {
        x->detail = head;
        return EC_ERROR_OUT_OF_RANGE;
    }
    ec_port_gpio(1);
    for (uint32_t k = 0; k < count && code == 0u; k++) {
        const uint32_t begun = ec_port_timer();
#if EC_GUARDS
        code = server->model->run(server->state, head, seed, sample + k, &label);
#else
        (void)server->model->run(server->state, head, seed, sample + k, &label);
#endif
        ticks += (uint32_t)(ec_port_timer() - begun);
    }
    ec_port_gpio(0);
    if (code != 0u) {
        server->has_result = 0;
        x->detail = 0;
        return code;
    }
    server->inferences += count;
    server->timer_ticks += ticks;
    server->last_head = head;
    server->has_result = 1;
    x->out = put_logits(server, start, put64(ec_put16(start, label), ticks), 0);
    return 0;
}

static uint8_t input(ec_server *server, exchange *x)
{
    const uint32_t offset = ec_get32(x->in), count = x->length - EC_INPUT_HEAD_BYTES;
    if (offset > EC_INPUT_BYTES || count > EC_INPUT_BYTES - offset) {
        x->detail = offset;
        return EC_ERROR_OUT_OF_RANGE;
    }
    memcpy((uint8_t *)server->state + server->model->input_at + offset, x->in + EC_INPUT_HEAD_BYTES, (size_t)count);
    return 0;
}

static uint8_t result(ec_server *server, exchange *x)
{
    const uint32_t first = ec_get16(x->in);
    if (!server->has_result)
        return EC_ERROR_NO_RESULT;
    if (first >= server->model->head[server->last_head].logits) {
        x->detail = first;
        return EC_ERROR_OUT_OF_RANGE;
    }
    x->out = put_logits(server, x->out, x->out, first);
    return 0;
}

static uint8_t param(ec_server *server, exchange *x)
{
    const ec_model *const model = server->model;
    const uint8_t index = x->in[0];
    const uint32_t k = ec_get32(x->in + 1);
    x->detail = index;
    if (index >= model->parameters)
        return EC_ERROR_OUT_OF_RANGE;
    x->detail = k;
    if (k > (uint32_t)model->parameter_max[index])
        return EC_ERROR_OUT_OF_RANGE;
    ((int32_t *)(void *)((uint8_t *)server->state + model->parameters_at))[index] = (int32_t)k;
    return 0;
}

#if EC_FAULTS

static uint8_t set_slot(ec_server *server, exchange *x)
{
    return ec_faults_set(faults_of(server), &server->model->sites, ec_get16(x->in), ec_get16(x->in + 2), x->in + EC_SET_HEAD_BYTES,
                         x->length - EC_SET_HEAD_BYTES, &x->detail);
}

static uint8_t patch_words(ec_server *server, exchange *x)
{
    uint8_t code = x->length % EC_PATCH_ROW_BYTES == 0u ? 0u : EC_ERROR_BAD_LENGTH;
    for (uint32_t at = 0; at < x->length && code == 0u; at += EC_PATCH_ROW_BYTES) {
        const uint8_t *const row = x->in + at;
        ec_patch patch;
        patch.matrix = row[0];
        patch.output = ec_get16(row + 1);
        patch.input = ec_get16(row + 3);
        patch.delta = (int32_t)ec_get32(row + 5);
        code = ec_faults_add_patch(faults_of(server), &server->model->sites, patch, &x->detail);
    }
    return code;
}

#if EC_REPAIR_BYTES

static uint8_t commit(ec_server *server, exchange *x)
{
    uint8_t code = 0;
    server->has_result = 0;
    if (x->length == 0u)
        ec_repair_revert(&server->repair, &server->model->sites);
    else
        code = ec_repair_commit(&server->repair, faults_of(server), &server->model->sites, &x->detail);
    if (x->length == 0u || code != 0u)
        return code;
    memcpy(server->repair.hash, x->in, EC_COMMIT_BYTES);
    server->repair.committed = 1;
    return 0;
}

#endif
#endif

/* Least and greatest payload of a verb. 0: the verb is not known. */
static int length_fits(uint8_t verb, uint32_t length)
{
    switch (verb) {
    case EC_VERB_SET:
        return length >= EC_SET_HEAD_BYTES;
    case EC_VERB_PATCH:
        return 1;
    case EC_VERB_INPUT:
        return length >= EC_INPUT_HEAD_BYTES;
    case EC_VERB_INFER:
        return length == EC_INFER_HEAD_BYTES;
    case EC_VERB_PARAM:
        return length == EC_PARAM_BYTES;
    case EC_VERB_SESSION:
        return length == EC_SESSION_BYTES;
    case EC_VERB_COMMIT:
        return length == 0u || length == EC_COMMIT_BYTES;
    case EC_VERB_RESULT:
        return length == EC_RESULT_HEAD_BYTES;
    default:
        return length == 0u;
    }
}

/* Runs one verb; returns 0 or an error code. */
static uint8_t perform(ec_server *server, uint8_t verb, exchange *x)
{
    x->detail = x->length;
    if (!length_fits(verb, x->length) && verb >= EC_VERB_HELLO && verb <= EC_VERB_COMMIT)
        return EC_ERROR_BAD_LENGTH;
    switch (verb) {
    case EC_VERB_HELLO:
        x->out = hello(server, x->out);
        return 0;
    case EC_VERB_INPUT:
        return input(server, x);
    case EC_VERB_INFER:
        return infer(server, x);
    case EC_VERB_RESULT:
        return result(server, x);
    case EC_VERB_STATE_HASH:
        if (!server->has_result)
            return EC_ERROR_NO_RESULT;
        x->out = ec_put32(x->out, ec_state_hash(server->model, server->state, server->last_head));
        return 0;
    case EC_VERB_COUNTERS:
        x->out = ec_put32(ec_put32(x->out, server->inferences), server->good_frames);
        x->out = put64(ec_put32(ec_put32(x->out, server->bad_frames), server->replayed), server->timer_ticks);
        return 0;
    case EC_VERB_RESET:
        server->reset_wanted = 1;
        return 0;
    case EC_VERB_PARAM:
        return param(server, x);
    case EC_VERB_SESSION:
        x->detail = 0;
        return begin_session(server, x);
#if EC_FAULTS
    case EC_VERB_SET:
        return set_slot(server, x);
    case EC_VERB_PATCH:
        return patch_words(server, x);
    case EC_VERB_CLEAR:
        ec_faults_clear(faults_of(server), &server->model->sites);
        return 0;
#if EC_REPAIR_BYTES
    case EC_VERB_COMMIT:
        return commit(server, x);
#else
    case EC_VERB_COMMIT: /* there is never a repair to give up */
        x->detail = 0;
        return x->length == 0u ? 0u : EC_ERROR_NO_SPACE;
#endif
#else
    case EC_VERB_SET:
    case EC_VERB_PATCH:
    case EC_VERB_COMMIT:
        return EC_ERROR_FAULTS_COMPILED_OUT;
    case EC_VERB_CLEAR:
        return 0;
#endif
    default:
        x->detail = verb;
        return EC_ERROR_BAD_VERB;
    }
}

static void answer(ec_server *server)
{
    const uint8_t *const frame = server->parser.frame;
    const uint8_t verb = frame[1];
    const uint16_t seq = ec_get16(frame + 2);
    const uint32_t crc = ec_get32(frame + server->parser.length - EC_CRC_BYTES);
    uint8_t *const reply = server->reply;
    exchange x = {frame + EC_FRAME_HEAD_BYTES, ec_get16(frame + 4), reply + EC_FRAME_HEAD_BYTES, 0};
    uint8_t code, type = (uint8_t)(verb | EC_REPLY);
    uint32_t length;
    if (server->replayable && verb != EC_VERB_HELLO && seq == server->request_seq && crc == server->request_crc) {
        server->replayed++;
        ec_frame_write(reply, server->reply_length, server->write, server->port);
        return;
    }
    x.detail = frame[0];
    code = frame[0] == EC_PROTOCOL_VERSION ? perform(server, verb, &x) : EC_ERROR_BAD_VERSION;
    if (code != 0u) {
        type = EC_VERB_ERROR | EC_REPLY;
        x.out = reply + EC_FRAME_HEAD_BYTES;
        *x.out++ = code;
        x.out = ec_put32(x.out, x.detail);
    }
    length = (uint32_t)(x.out - reply);
    reply[0] = EC_PROTOCOL_VERSION;
    reply[1] = type;
    ec_put16(reply + 2, seq);
    ec_put16(reply + 4, length - EC_FRAME_HEAD_BYTES);
    ec_put32(reply + length, ec_crc32(0, reply, length));
    server->reply_length = length + EC_CRC_BYTES;
    server->request_seq = seq;
    server->request_crc = crc;
    server->replayable = verb != EC_VERB_HELLO;
    ec_frame_write(reply, server->reply_length, server->write, server->port);
}

void ec_server_init(ec_server *server, const ec_model *model, void *state, const ec_identity *identity, ec_write write, void *port)
{
#if EC_FAULTS && EC_REPAIR_BYTES
    memset(server, 0, offsetof(ec_server, repair));
    ec_repair_revert(&server->repair, &model->sites);
#else
    memset(server, 0, sizeof *server);
#endif
    server->model = model;
    server->state = state;
    server->identity = identity;
    server->write = write;
    server->port = port;
    init_model(server);
}

void ec_server_feed(ec_server *server, uint8_t byte)
{
    const int verdict = ec_parser_feed(&server->parser, byte);
    if (verdict == EC_FRAME_GOOD) {
        server->good_frames++;
        answer(server);
    }
    if (verdict == EC_FRAME_BAD)
        server->bad_frames++;
}
