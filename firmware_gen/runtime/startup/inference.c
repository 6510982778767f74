/* Inference alone, without the HIL server: the codes of one input of head 0 come over the serial port, class and logits go back. */
#include "ec_board.h"
#include "ec_port.h"
#include "ec_target.h"

static EC_TARGET_STATE state;

static void send(uint32_t value, uint32_t bytes)
{
    for (; bytes > 0u; bytes--, value >>= 8)
        ec_port_tx((uint8_t)value);
}

static uint8_t receive(void)
{
    int byte = ec_port_rx();
    while (byte < 0) {
        ec_port_idle();
        byte = ec_port_rx();
    }
    return (uint8_t)byte;
}

int main(void)
{
    const ec_model *const model = &EC_TARGET_MODEL;
    const ec_head *const head = model->head;
    uint8_t *const input = (uint8_t *)&state + model->input_at;
    ec_port_init();
    model->init(&state);
    for (uint32_t sample = 0;; sample++) {
        const int32_t *logits;
        uint16_t label = 0;
        for (uint32_t k = 0; k < head->input_bytes; k++)
            input[k] = receive();
        ec_port_gpio(1);
        (void)model->run(&state, 0, 0, sample, &label);
        ec_port_gpio(0);
        logits = ec_model_logits(model, &state, 0);
        send(label, 2);
        for (uint32_t k = 0; k < head->logits; k++)
            send((uint32_t)logits[k], 4);
    }
}
