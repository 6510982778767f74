/* What belongs to a compiler and not to C99: linkage from C++, alignment, inlining, sections. No other file has an attribute. */
#ifndef EC_COMPILER_H
#define EC_COMPILER_H

/* Around declarations that a C++ file may include. */
#ifdef __cplusplus
#define EC_C_BEGIN extern "C" {
#define EC_C_END }
#else
#define EC_C_BEGIN
#define EC_C_END
#endif

#if defined(__GNUC__) /* GCC, clang, and compilers that follow them */
#define EC_ALIGNED __attribute__((aligned(4)))
#define EC_NOINLINE __attribute__((noinline))
#define EC_SECTION(name) __attribute__((section(name), used))
#define EC_COPY_WORD(to, from) __builtin_memcpy(to, from, 4)
#else
#ifndef EC_ALIGNED
#error "how does this compiler align an array to 4 bytes? define EC_ALIGNED, which stands behind the declarator"
#endif
#define EC_NOINLINE
#define EC_COPY_WORD(to, from) memcpy(to, from, 4)
#endif

#endif
