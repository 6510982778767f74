/* The runtime's inline arithmetic as functions, so that the committed vectors can call it. */
#include "ec_matmul.h"
#include "ec_random.h"
#include "ec_requantize.h"

uint32_t test_mix(uint32_t x)
{
    return ec_mix(x);
}

uint32_t test_word(uint32_t seed, uint32_t sample, uint32_t tick, uint32_t stream, uint32_t neuron)
{
    return ec_word(ec_tick_prefix(ec_stream_prefix(seed, stream, sample), tick), neuron);
}

uint32_t test_lost(uint32_t word, uint32_t fail_q)
{
    return ec_lost(word, fail_q);
}

int32_t test_noise(uint32_t word, int32_t sigma, uint32_t shift)
{
    return ec_noise(word, sigma, shift);
}

int32_t test_rounded_shift(int32_t x, uint32_t shift)
{
    return ec_rounded_shift(x, shift);
}

int32_t test_requantize(int32_t acc, int32_t multiplier, uint8_t shift, int32_t low, int32_t high)
{
    const ec_scaling scaling = {&multiplier, &shift, 1, 1, low, high};
    int16_t out;
    ec_requantize_int32_int16(&scaling, 1, &acc, &out);
    return out;
}
