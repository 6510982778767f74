/* The port of the server under test (ld --wrap): a clock that gains a set amount a look, a pin that counts its edges. */
#include <stdint.h>

static uint32_t clock, gain = 1000u, edges, looks, between;
static int level;

uint32_t __wrap_ec_port_timer(void)
{
    looks += level != 0;
    clock += gain;
    return clock;
}

void __wrap_ec_port_gpio(int to)
{
    edges += to != level;
    level = to;
    if (to == 0)
        between = looks;
}

void test_reset_port(void)
{
    clock = 0u - gain;
    edges = looks = between = 0u;
    level = 0;
}

void test_clock_gains(uint32_t by)
{
    gain = by;
}

uint32_t test_edges(void)
{
    return edges;
}

uint32_t test_inferences_between(void)
{
    return between;
}
