/* The two functions of C's library that a compiler calls by itself; clang brings them along. */
#include "ec_compiler.h"

#include <stddef.h>

#ifndef __clang__
void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memset(void *to, int value, size_t count);

/* The barriers keep the loops from becoming calls of themselves. */
EC_SECTION(".text.memcpy") void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    unsigned char *t = to;
    const unsigned char *f = from;
    for (; count > 0u; count--) {
        *t++ = *f++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

EC_SECTION(".text.memset") void *memset(void *to, int value, size_t count)
{
    unsigned char *t = to;
    for (; count > 0u; count--) {
        *t++ = (unsigned char)value;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}
#endif
