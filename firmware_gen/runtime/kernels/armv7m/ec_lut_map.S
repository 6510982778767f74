/* void ec_lut_map(const ec_lut *lut, const int8_t *x, int8_t *out)
 *
 * As in ec_activate.c, for Armv7-M: eight codes in 28 instructions. Codes begin anywhere: words are loaded one by one. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_lut_map, "ax", %progbits
    .global ec_lut_map
    .type ec_lut_map, %function
    .p2align 2

    .macro four word
    sxtb    r5, \word
    ldrsb   r6, [r0, r5]
    sbfx    r5, \word, #8, #8
    strb    r6, [r2], #1
    ldrsb   r6, [r0, r5]
    sbfx    r5, \word, #16, #8
    strb    r6, [r2], #1
    ldrsb   r6, [r0, r5]
    asrs    r5, \word, #24
    strb    r6, [r2], #1
    ldrsb   r6, [r0, r5]
    strb    r6, [r2], #1
    .endm

ec_lut_map:
    push    {r4-r8, lr}
    ldm     r0, {r0, r7, r8}            /* table, channels, span */
    adds    r0, r0, #128                /* where code 0 stands */
1:
    subs    r3, r8, #8
    blo     3f
2:
    ldr     r4, [r1], #4
    ldr     r12, [r1], #4
    four    r4
    four    r12
    subs    r3, r3, #8
    bhs     2b
3:
    adds    r3, r3, #8
    beq     5f
4:
    ldrsb   r5, [r1], #1
    ldrsb   r6, [r0, r5]
    strb    r6, [r2], #1
    subs    r3, r3, #1
    bne     4b
5:
    add     r0, r0, #256
    subs    r7, r7, #1
    bne     1b
    pop     {r4-r8, pc}
    .size ec_lut_map, . - ec_lut_map
