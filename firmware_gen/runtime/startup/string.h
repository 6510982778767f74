/* The part of <string.h> that freestanding C lacks and compilers' support libraries define. */
#ifndef EC_STRING_H
#define EC_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memset(void *to, int value, size_t count);

#endif
