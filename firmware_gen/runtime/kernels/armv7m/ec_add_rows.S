/* void ec_add_rows(ec_rows *rows)
 *
 * The wide loop of ec_rows.c for Armv7-M: eight instructions for an event of eight outputs, and one more in every PHASES-th block, which
 * moves the events' rows on by what the blocks have passed. Eight words of sums, the mask, two words of weights, x and the list take all
 * fourteen registers; compilers spill. An event's row is an address less 8. The loops are entered where what is left of the list is a
 * multiple of EVENTS. AAPCS (IHI 0042); the list is not empty.
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
    .section .text.ec_add_rows, "ax", %progbits
    .global ec_add_rows
    .type ec_add_rows, %function
    .p2align 2

    .macro products first, second
    umlal   r2, r3, \first, r11
    and     \first, lr, \first, ror #16
    umlal   r4, r5, \first, r11
    umlal   r6, r7, \second, r11
    and     \second, lr, \second, ror #16
    umlal   r8, r9, \second, r11
    .endm

    .macro block offset
    adr     r11, 1f
    add     r11, r11, r10, lsl #2       /* 32 bytes of code an event of 8 bytes */
    mov     pc, r11
    .p2align 2
1:
    .rept EVENTS
    ldrd    r10, r11, [r0], #8          /* row, x */
    ldrd    r10, r12, [r10, #\offset]   /* eight weights */
    products r10, r12
    .endr
    cmp     r0, r1
    bne.w   1b
    .endm

    /* low = S0, high = S3, part_low = S2, part_high = S1 */
    .macro apart low, high, part_low, part_high
    lsl     \part_high, \part_high, #8
    orr     \part_high, \part_high, \part_low, lsr #24
    ubfx    \part_low, \part_low, #0, #24
    subs    \low, \low, \part_high, lsl #8
    sbc     \high, \high, \part_high, lsr #24
    subs    \low, \low, \part_low, lsl #16
    sbc     \high, \high, \part_low, lsr #16
    lsl     \high, \high, #8
    orr     \high, \high, \low, lsr #24
    ubfx    \low, \low, #0, #24
    .endm

    .macro store first, second
    ldrd    r0, r1, [r10], #8
    mla     r0, \first, lr, r0
    mla     r1, \second, lr, r1
    add     r0, r0, r12
    add     r1, r1, r12
    strd    r0, r1, [r11], #8
    .endm

ec_add_rows:
    push    {r0, r4-r11, lr}
    ldr     r12, [r0, #28]              /* phase */
5:
    adr     r10, 4f
    ldm     r10, {r2-r9, lr}            /* zeros, and the mask */
    ldrd    r0, r1, [r0]                /* list, end */
    sub     r10, r0, r1
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
10: block   8
    b.w     7f
11: block   16
    b.w     7f
12: block   24
    b.w     7f
#if PHASES == 8
13: block   32
    b.w     7f
14: block   40
    b.w     7f
15: block   48
    b.w     7f
16: block   56
    b.w     7f
#endif
17:
    push    {r1}
    adr     r11, 1f
    add     r10, r10, r10, lsl #3
    add     r11, r11, r10, lsr #1       /* 36 bytes of code an event */
    mov     pc, r11
    .p2align 2
1:
    .rept EVENTS
    ldrd    r10, r11, [r0]
    ldrd    r1, r12, [r10, #8 * PHASES]!
    str     r10, [r0], #8
    products r1, r12
    .endr
    ldr     r10, [sp]
    cmp     r0, r10
    bne.w   1b
    add     sp, sp, #4
7:
    apart   r2, r3, r4, r5
    apart   r6, r7, r8, r9
    ldr     r0, [sp]
    ldrd    r10, r11, [r0, #8]          /* from, to */
    ldrd    r12, lr, [r0, #16]          /* add, sign */
    store   r2, r5
    store   r4, r3
    store   r6, r9
    store   r8, r7
    ldr     r0, [sp]
    strd    r10, r11, [r0, #8]
    ldrd    r10, r12, [r0, #24]         /* blocks left, phase */
    add     r12, r12, #1
    and     r12, r12, #PHASES - 1
    subs    r10, r10, #1
    strd    r10, r12, [r0, #24]
    bne.w   5b
    pop     {r0, r4-r11, pc}
    .p2align 2
4:  .word   0, 0, 0, 0, 0, 0, 0, 0, 0xFF0000FF
    .size ec_add_rows, . - ec_add_rows
