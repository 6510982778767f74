/* void ec_conv_sums(const ec_conv_block *block, int32_t *acc)
 *
 * The sums of ec_conv_dense.c for Armv7E-M: 15 instructions for 16 products. Four sums, eight pairs of codes in two loads,
 * a word of weights as two pairs and the pointers take all fourteen registers: compilers spill. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_conv_sums, "ax", %progbits
    .global ec_conv_sums
    .type ec_conv_sums, %function
    .p2align 2

    .macro multiply_add weights
    ldm     r1!, {r8-r11}               /* a pair of codes for each position */
    smlad   r4, \weights, r8, r4
    smlad   r5, \weights, r9, r5
    smlad   r6, \weights, r10, r6
    smlad   r7, \weights, r11, r7
    .endm

ec_conv_sums:
    push    {r0, r1, r4-r11, lr}        /* [sp]: block, [sp, #4]: acc */
    ldrd    r3, r12, [r0, #12]          /* bias, bias_step */
    ldr     r1, [r0, #20]               /* outputs */
    ldr     lr, [r0, #8]                /* end */
    push    {r1, r3, r12}               /* [sp]: outputs left, [sp, #4]: bias, [sp, #8]: bias_step */
    mov     r2, r0
    ldr     r0, [r2]                    /* weight */
1:
    ldr     r1, [r2, #4]                /* codes */
    ldrd    r3, r12, [sp, #4]
    ldr     r4, [r3]
    add     r3, r3, r12
    str     r3, [sp, #4]
    mov     r5, r4
    mov     r6, r4
    mov     r7, r4
2:
    ldr     r3, [r0], #4
    sxtb16  r12, r3, ror #8             /* inputs 1 and 3 */
    sxtb16  r3, r3                      /* inputs 0 and 2 */
    multiply_add r3
    multiply_add r12
    cmp     r1, lr
    bne     2b
    ldr     r3, [sp, #16]               /* acc */
    ldr     r12, [r2, #24]              /* plane */
    stm     r3, {r4-r7}
    add     r3, r3, r12
    str     r3, [sp, #16]
    ldr     r3, [sp]
    subs    r3, r3, #1
    str     r3, [sp]
    bne     1b
    add     sp, sp, #20
    pop     {r4-r11, pc}
    .size ec_conv_sums, . - ec_conv_sums
