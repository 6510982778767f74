/* void ec_add_nibbles(ec_rows *rows)
 *
 * The loop of ec_add_rows.S for weights of 4 bits, stored as code + 8, eight outputs a word n7 .. n0: with sums below 2^20, as of one list of
 * events, n0 + 2^20 n5, n1 + 2^20 n6, n4 + 2^28 n3 and the word itself hold all eight, nine instructions an event. An event's row is an
 * address less 4. AAPCS (IHI 0042); the list is not empty.
 */
#if defined(__OPTIMIZE_SIZE__)
#define PHASES 4
#define EVENTS 2
#else
#define PHASES 8
#define EVENTS 8
#endif

    .syntax unified
    .thumb
    .section .text.ec_add_nibbles, "ax", %progbits
    .global ec_add_nibbles
    .type ec_add_nibbles, %function
    .p2align 2

    .macro products word, spare
    and     \spare, lr, \word
    umlal   r2, r3, \spare, r11
    and     \spare, lr, \word, lsr #4
    umlal   r4, r5, \spare, r11
    umlal   r6, r7, \word, r11
    and     \word, r1, \word, ror #16
    umlal   r8, r9, \word, r11
    .endm

    .macro block offset
    adr     r11, 1f
    add     r10, r10, r10, lsl #3
    add     r11, r11, r10, lsr #1       /* 36 bytes of code an event of 8 bytes */
    mov     pc, r11
    .p2align 2
1:
    .rept EVENTS
    ldrd    r10, r11, [r0], #8          /* row, x */
    ldr.w   r10, [r10, #\offset]        /* eight weights */
    products r10, r12
    .endr
    ldr     r10, [sp]
    cmp     r0, r10
    bne.w   1b
    .endm

    /* \low = the lowest `bits` bits, \high = the rest */
    .macro apart low, high, bits
    lsl     \high, \high, #32 - \bits
    orr     \high, \high, \low, lsr #\bits
    ubfx    \low, \low, #0, #\bits
    .endm

    .macro less sum, bits               /* off the word's sums */
    subs    r6, r6, \sum, lsl #\bits
    sbc     r7, r7, \sum, lsr #32 - \bits
    .endm

    .macro store first, second
    ldrd    r0, r1, [r10], #8
    mla     r0, \first, lr, r0
    mla     r1, \second, lr, r1
    add     r0, r0, r12
    add     r1, r1, r12
    strd    r0, r1, [r11], #8
    .endm

ec_add_nibbles:
    push    {r0, r4-r11, lr}
    ldr     r1, [r0, #4]
    ldr     r12, [r0, #28]              /* phase */
    push    {r1, r2}                    /* [sp]: end, [sp, #8]: rows */
5:
    adr     r10, 4f
    ldr     r0, [r0]                    /* list */
    ldr     r11, [sp]
    ldm     r10, {r1-r9, lr}            /* masks and zeros */
    sub     r10, r0, r11
    and     r10, r10, #8 * (EVENTS - 1) /* events that are missing to EVENTS, times 8 */
    tbh     [pc, r12, lsl #1]
6:  .short  (10f - 6b) / 2
    .short  (11f - 6b) / 2
    .short  (12f - 6b) / 2
#if PHASES == 8
    .short  (13f - 6b) / 2
    .short  (14f - 6b) / 2
    .short  (15f - 6b) / 2
    .short  (16f - 6b) / 2
#endif
    .short  (17f - 6b) / 2
10: block   4
    b.w     7f
11: block   8
    b.w     7f
12: block   12
    b.w     7f
#if PHASES == 8
13: block   16
    b.w     7f
14: block   20
    b.w     7f
15: block   24
    b.w     7f
16: block   28
    b.w     7f
#endif
17:
    adr     r11, 1f
    add     r10, r10, r10, lsl #2
    add     r11, r11, r10               /* 40 bytes of code an event */
    mov     pc, r11
    .p2align 2
1:
    .rept EVENTS
    ldrd    r10, r11, [r0]
    ldr     r12, [r10, #4 * PHASES]!
    str     r10, [r0], #8
    products r12, r10
    .endr
    ldr     r10, [sp]
    cmp     r0, r10
    bne.w   1b
7:
    apart   r2, r3, 20                  /* S0, S5 */
    apart   r4, r5, 20                  /* S1, S6 */
    apart   r8, r9, 28                  /* S4, S3 */
    subs    r6, r6, r2
    sbc     r7, r7, #0
    less    r4, 4
    less    r9, 12
    less    r8, 16
    less    r3, 20
    less    r5, 24
    apart   r6, r7, 28
    lsr     r6, r6, #8                  /* S2, S7 */
    ldr     r0, [sp, #8]
    ldrd    r10, r11, [r0, #8]          /* from, to */
    ldrd    r12, lr, [r0, #16]          /* add, sign */
    store   r2, r4
    store   r6, r9
    store   r8, r3
    store   r5, r7
    ldr     r0, [sp, #8]
    strd    r10, r11, [r0, #8]
    ldrd    r10, r12, [r0, #24]         /* blocks left, phase */
    add     r12, r12, #1
    and     r12, r12, #PHASES - 1
    subs    r10, r10, #1
    strd    r10, r12, [r0, #24]
    bne.w   5b
    add     sp, sp, #8
    pop     {r0, r4-r11, pc}
    .p2align 2
4:  .word   0xF000000F, 0, 0, 0, 0, 0, 0, 0, 0, 0x00F0000F
    .size ec_add_nibbles, . - ec_add_nibbles
