#include "ec_add.h"

void ec_add(uint32_t size, int32_t gain, const int8_t *x, int32_t other_gain, const int8_t *other, int32_t *out)
{
    for (uint32_t i = 0; i < size; i++)
        out[i] = gain * x[i] + other_gain * other[i];
}
