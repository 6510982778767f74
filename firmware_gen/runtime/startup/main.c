/* The HIL server over a board's serial port. */
#include "ec_board.h"
#include "ec_port.h"
#include "ec_server.h"
#include "ec_target.h"

static EC_TARGET_STATE state;
static ec_server server;

static void send(void *port, const uint8_t *bytes, uint32_t count)
{
    (void)port;
    while (count-- > 0u)
        ec_port_tx(*bytes++);
}

int main(void)
{
    static ec_identity identity;
    ec_port_init();
    identity.timer_hz = EC_TIMER_HZ;
    identity.boot_counter = ec_port_boot_counter();
    identity.reset_cause = ec_port_reset_cause();
    ec_port_uid(identity.uid);
    ec_server_init(&server, &EC_TARGET_MODEL, &state, &identity, send, NULL);
    for (;;) {
        const int byte = ec_port_rx();
        if (byte < 0)
            ec_port_idle();
        else
            ec_server_feed(&server, (uint8_t)byte);
        if (server.reset_wanted)
            ec_port_reset();
    }
}
