/* void ec_add_spikes(ec_rows *rows)     rows of bytes 0..255, weight + 128
 * void ec_add_tokens(ec_rows *rows)     rows of bytes -128..127
 *
 * Rows taken once each, 16 columns at a time, two events a turn. Sums begin with `add` and stay in eight pairs of 16 bits, which hold 252
 * rows: with -128 a row, of those of weight + 128, they are numbers of 16 bits again. The list has one word an event, the row's address plus
 * 16: two blocks of columns stand on either side of it, then all addresses move on. Behind the list's end there is memory up to a multiple of
 * eight words. AAPCS (IHI 0042); the list is not empty.
 */
#if defined(__OPTIMIZE_SIZE__)
#define PAIRS 2
#else
#define PAIRS 8
#endif

    .syntax unified
    .thumb

    .macro eight add
    \add    r4, r4, r0
    \add    r5, r5, r0, ror #8
    \add    r6, r6, r1
    \add    r7, r7, r1, ror #8
    \add    r8, r8, r2
    \add    r9, r9, r2, ror #8
    \add    r10, r10, r3
    \add    r11, r11, r3, ror #8
    .endm

    .macro columns load, add            /* r12: list; [sp]: its end */
    ldr     r1, [sp]
    sub     r2, r1, r12
    tst     r2, #4
    beq     2f
    ldr     r0, [r12], #4               /* of an odd number */
    \load   r0, {r0-r3}
    eight   \add
    ldr     r1, [sp]
    cmp     r12, r1
    beq.w   3f
2:  sub     r2, r12, r1
    and     r2, r2, #8 * (PAIRS - 1)    /* pairs of events that are missing to PAIRS, times 8 */
    adr     r1, 1f
    add     r0, r2, r2, lsl #3
    add     r0, r0, r2, lsr #1          /* 76 bytes of code a pair */
    add     r1, r1, r0
    mov     pc, r1
    .p2align 2
1:
    .rept PAIRS
    ldrd    r0, lr, [r12], #8
    \load   r0, {r0-r3}
    eight   \add
    \load   lr, {r0-r3}
    eight   \add
    .endr
    ldr     r0, [sp]
    cmp     r12, r0
    bne.w   1b
3:
    .endm

    .macro two even, odd, rotation
    ldrd    r0, r1, [r2], #8
    sxtah   r0, r0, \even, ror #\rotation
    sxtah   r1, r1, \odd, ror #\rotation
    strd    r0, r1, [r3], #8
    .endm

    .macro function name, add
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .p2align 2
\name:
    push    {r0, r4-r11, lr}
    ldr     r1, [r0, #4]
    push    {r1}                        /* [sp]: end, [sp, #4]: rows */
5:
    ldr     r4, [r0, #16]               /* add, which any sum of a list is a 16-bit number with */
    ldr     r12, [r0]
    pkhbt   r4, r4, r4, lsl #16
    .irp register, r5, r6, r7, r8, r9, r10, r11
    mov     \register, r4
    .endr
    ldr     r1, [r0, #28]               /* 0: the columns before the address */
    cmp     r1, #0
    bne.w   6f
    columns ldmdb, \add
    b.w     7f
6:  columns ldmia.w, \add
7:
    ldr     r0, [sp, #4]
    ldrd    r2, r3, [r0, #8]            /* from, to */
    two     r4, r5, 0
    two     r4, r5, 16
    two     r6, r7, 0
    two     r6, r7, 16
    two     r8, r9, 0
    two     r8, r9, 16
    two     r10, r11, 0
    two     r10, r11, 16
    ldr     r0, [sp, #4]
    strd    r2, r3, [r0, #8]
    ldrd    r1, r2, [r0, #24]           /* blocks left, phase */
    eor     r2, r2, #1
    subs    r1, r1, #1
    strd    r1, r2, [r0, #24]
    cmp     r2, #0
    bne     3f
    ldr     r2, [r0, #20]               /* not 0: columns follow in another call */
    orrs    r2, r2, r1
    beq     8f
    ldrd    r12, r1, [r0]
4:
    ldm     r12, {r4-r11}
    .irp register, r4, r5, r6, r7, r8, r9, r10, r11
    add     \register, \register, #32
    .endr
    stm     r12!, {r4-r11}
    cmp     r12, r1
    blo     4b
    ldr     r1, [r0, #24]
3:  cmp     r1, #0
    bne.w   5b
8:  add     sp, sp, #4
    pop     {r0, r4-r11, pc}
    .size \name, . - \name
    .endm

    function ec_add_spikes, uxtab16
    function ec_add_tokens, sxtab16
