/* void ec_pool_squares(const ec_pool_strip *strip)
 *
 * As in ec_pool.c, for Armv7E-M: two windows in 10 instructions (the largest: SSUB8 and SEL, rows first, then columns) or 9 (sums in two
 * halves). A row begins with its single
 * column, where it has one, and with the block from which on there are just enough. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_pool_squares, "ax", %progbits
    .global ec_pool_squares
    .type ec_pool_squares, %function
    .p2align 2

    .equ    BLOCKS, 8
    .equ    BLOCK_BYTES, 36            /* of either block */

    .macro largest                      /* r0: upper row, r1: out, r3: width */
    ldr.w   r5, [r0, r3]
    ldr     r4, [r0], #4
    ssub8   r12, r4, r5
    sel     r4, r4, r5
    rev16   r5, r4
    ssub8   r12, r4, r5
    sel     r4, r4, r5
    lsr.w   r5, r4, #16
    strb    r5, [r1, #1]
    strb    r4, [r1], #2
    .endm

    .macro sums
    ldr.w   r5, [r0, r3]
    ldr     r4, [r0], #4
    sxtb16  r12, r4
    sxtab16 r12, r12, r4, ror #8
    sxtab16 r12, r12, r5
    sxtab16 r12, r12, r5, ror #8
    sxth.w  r4, r12
    asr.w   r5, r12, #16
    strd    r4, r5, [r1], #8
    .endm

    .macro rows single, block
    adr     r11, 3f
    rsb     r10, r6, #BLOCKS
    mov     r12, #BLOCK_BYTES
    mla     r11, r10, r12, r11
    orr     r11, r11, #1
    adr     r10, 2f
    orr     r10, r10, #1
    cmp     r7, #0
    it      eq
    moveq   r10, r11
1:
    bx      r10
    .p2align 2
2:
    \single
    bx      r11
    .p2align 2
3:
    .rept BLOCKS
    \block
    .endr
    add     r0, r0, r8
    add     r1, r1, r9
    subs    r2, r2, #1
    bne.w   1b
    pop     {r4-r11, pc}
    .endm

    .macro one_largest
    ldrh.w  r5, [r0, r3]
    ldrh    r4, [r0], #2
    ssub8   r12, r4, r5
    sel     r4, r4, r5
    lsrs    r5, r4, #8
    ssub8   r12, r4, r5
    sel     r4, r4, r5
    strb    r4, [r1], #1
    .endm

    .macro one_sum
    add     r4, r0, r3
    ldrsb   r5, [r4, #1]
    ldrsb   r4, [r4]
    add     r4, r4, r5
    ldrsb   r5, [r0, #1]
    ldrsb   r12, [r0], #2
    add     r4, r4, r5
    add     r4, r4, r12
    str     r4, [r1], #4
    .endm

ec_pool_squares:
    push    {r4-r11, lr}
    ldr     lr, [r0, #32]
    ldm     r0, {r0-r3, r6-r9}          /* x, out, rows, width, blocks, single, x_step, out_step */
    cmp     lr, #0
    bne.w   .Lsums
    rows    one_largest, largest
.Lsums:
    rows    one_sum, sums
    .size ec_pool_squares, . - ec_pool_squares
