/* void ec_dot_quads(ec_quads *quads)
 *
 * Four sums at a time over all codes, for Armv7E-M: 27 instructions for 32 products. A half word of weights is 256 B + A of two outputs: one
 * SMLAD adds both to a sum, and what SXTB16 leaves of the word gives that of A alone. The loop is entered where what is left of the codes is
 * a multiple of 64. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_dot_quads, "ax", %progbits
    .global ec_dot_quads
    .type ec_dot_quads, %function
    .p2align 2

    .macro two weights, codes, sum, both
    smlad   \both, \weights, \codes, \both
    sxtb16  \weights, \weights
    smlad   \sum, \weights, \codes, \sum
    .endm

    .macro eight_inputs                 /* 108 bytes of code */
    ldm.w   lr!, {r8-r11}
    ldm.w   r12!, {r0-r3}
    two     r0, r8, r4, r5
    two     r1, r8, r6, r7
    two     r2, r9, r4, r5
    two     r3, r9, r6, r7
    ldm.w   r12!, {r0-r3}
    two     r0, r10, r4, r5
    two     r1, r10, r6, r7
    two     r2, r11, r4, r5
    two     r3, r11, r6, r7
    .endm

ec_dot_quads:
    push    {r0, r4-r11, lr}
    ldrd    r12, r1, [r0]               /* weights, codes */
    ldr     r2, [r0, #8]                /* end */
    sub     r1, r1, r2
    and     r1, r1, #0x70               /* 16 bytes for every eight codes that are missing to 64 */
    movs    r3, #27
    mul     r1, r1, r3
    adr     r3, 1f
    add     r1, r3, r1, lsr #2
    orr     r1, r1, #1
    push    {r1, r2}                    /* [sp]: where the loop is entered, [sp, #4]: end, [sp, #8]: quads */
5:
    ldr     r0, [sp, #8]
    ldr     lr, [r0, #4]
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    ldr     pc, [sp]
    .p2align 2
1:
    .rept 8
    eight_inputs
    .endr
    ldr     r0, [sp, #4]
    cmp     lr, r0
    bne.w   1b
    ldr     r0, [sp, #8]
    sub     r5, r5, r4
    sub     r7, r7, r6
    ldrd    r1, r2, [r0, #12]           /* from, to */
    ldm     r1!, {r8-r11}
    add     r4, r4, r8
    add     r5, r9, r5, asr #8
    add     r6, r6, r10
    add     r7, r11, r7, asr #8
    stm     r2!, {r4-r7}
    strd    r1, r2, [r0, #12]
    ldrd    r8, r9, [r0, #20]           /* fours of outputs left, bytes to the weights of the next */
    add     r12, r12, r9
    subs    r8, r8, #1
    str     r8, [r0, #20]
    bne.w   5b
    add     sp, sp, #8
    pop     {r0, r4-r11, pc}
    .size ec_dot_quads, . - ec_dot_quads

/* void ec_spread(const int8_t *x, const int8_t *end, int16_t *codes): sixteens of inputs, by fours as 0, 2, 1, 3 */
    .section .text.ec_spread, "ax", %progbits
    .global ec_spread
    .type ec_spread, %function
    .p2align 2
ec_spread:
    push    {r4-r9, lr}
1:  ldr     r3, [r0], #4
    ldr     r5, [r0], #4
    ldr     r7, [r0], #4
    ldr     r9, [r0], #4
    sxtb16  r4, r3, ror #8
    sxtb16  r3, r3
    sxtb16  r6, r5, ror #8
    sxtb16  r5, r5
    sxtb16  r8, r7, ror #8
    sxtb16  r7, r7
    sxtb16  r12, r9, ror #8
    sxtb16  r9, r9
    cmp     r0, r1
    stm     r2!, {r3-r9, r12}
    bne     1b
    pop     {r4-r9, pc}
    .size ec_spread, . - ec_spread
