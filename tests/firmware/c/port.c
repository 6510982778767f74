/* What surrounds the server under test (ld --wrap): a clock that gains a set amount a look, a pin that counts its edges, and a memory
 * that may be full.
 */
#include <stddef.h>
#include <stdint.h>

void *__real_realloc(void *old, size_t size);
void *__real_calloc(size_t count, size_t size);

static int full;

void *__wrap_realloc(void *old, size_t size)
{
    return full ? NULL : __real_realloc(old, size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return full ? NULL : __real_calloc(count, size);
}

void test_memory_is_full(int yes)
{
    full = yes;
}

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
    edges += to == !level;
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
