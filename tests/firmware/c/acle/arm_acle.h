/* The few DSP intrinsics that the runtime uses, in plain C, so that their kernels run on any machine. Source: Arm C Language
 * Extensions, "32-bit SIMD".
 */
#ifndef ARM_ACLE_H
#define ARM_ACLE_H

#include <stdint.h>

typedef int32_t int16x2_t;
typedef int32_t int8x4_t;

static inline uint32_t __ror(uint32_t x, uint32_t n)
{
    return x >> n | x << (32u - n);
}

/* Bytes 0 and 2, each extended to 16 bits. */
static inline int16x2_t __sxtb16(int8x4_t x)
{
    return (int16x2_t)((uint16_t)(int8_t)x | (uint32_t)(uint16_t)(int8_t)(x >> 16) << 16);
}

static inline int32_t __smlad(int16x2_t a, int16x2_t b, int32_t acc)
{
    return acc + (int16_t)a * (int16_t)b + (a >> 16) * (b >> 16);
}

#endif
