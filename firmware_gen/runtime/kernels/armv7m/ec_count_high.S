/* void ec_count_high(const int16_t *x, uint32_t units, uint16_t *count)
 *
 * As in ec_activate.c, for Armv7-M: eight values in 35 instructions. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_count_high, "ax", %progbits
    .global ec_count_high
    .type ec_count_high, %function
    .p2align 2

    .macro one bin
    ldrh    r9, [r2, \bin, lsl #1]
    adds    r9, r9, #1
    strh    r9, [r2, \bin, lsl #1]
    .endm

ec_count_high:
    push    {r4-r9, lr}
    subs    r1, r1, #8
    blo     2f
1:
    ldm     r0!, {r4-r7}
    .irp    word, r4, r5, r6, r7
    ubfx    r8, \word, #8, #8
    one     r8
    lsrs    \word, \word, #24
    one     \word
    .endr
    subs    r1, r1, #8
    bhs     1b
2:
    adds    r1, r1, #8
    beq     4f
3:
    ldrb    r8, [r0, #1]
    adds    r0, r0, #2
    one     r8
    subs    r1, r1, #1
    bne     3b
4:
    pop     {r4-r9, pc}
    .size ec_count_high, . - ec_count_high
