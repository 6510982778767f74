/* Fixed-width types and the few integer helpers that every kernel shares.
 *
 * Two's complement with arithmetic right shift is asserted here, once, because C99 leaves `>>` of a negative number to
 * the compiler. Signed sums cannot overflow: the generator proves every bound before it writes a line of C.
 */
#ifndef EC_TYPES_H
#define EC_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "ec_compiler.h"

#define EC_ASSERT_NAME_(line) ec_static_assert_##line
#define EC_ASSERT_NAME(line) EC_ASSERT_NAME_(line)
#define EC_STATIC_ASSERT(condition) typedef char EC_ASSERT_NAME(__LINE__)[(condition) ? 1 : -1]

EC_STATIC_ASSERT((-1 >> 1) == -1 && (int32_t)0x80000000u < 0);

/* 1 on 64-bit out-of-order cores: they lose more to a wrong guess than to a store that is thrown away. */
#ifndef EC_SPECULATIVE
#if defined(__x86_64__) || (defined(__aarch64__) && defined(__AARCH64EL__))
#define EC_SPECULATIVE 1
#else
#define EC_SPECULATIVE 0
#endif
#endif

#define EC_AT_LEAST_1(n) ((n) > 0 ? (n) : 1)

/* (x + 2^(shift-1)) >> shift, ties up; |x| < 2^30, shift 1..30. */
static inline int32_t ec_rounded_shift(int32_t x, uint32_t shift)
{
    return (x + (int32_t)((uint32_t)1 << (shift - 1u))) >> shift;
}

static inline int32_t ec_clip(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* Little-endian access to unaligned bytes. */
static inline uint16_t ec_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint16_t)((uint16_t)p[1] << 8));
}

static inline uint32_t ec_get32(const uint8_t *p)
{
    return (uint32_t)ec_get16(p) | ((uint32_t)ec_get16(p + 2) << 16);
}

static inline uint8_t *ec_put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    return p + 2;
}

static inline uint8_t *ec_put32(uint8_t *p, uint32_t value)
{
    return ec_put16(ec_put16(p, value & 0xFFFFu), value >> 16);
}

#endif
