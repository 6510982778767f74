/* void ec_conv_quads(const ec_conv_strip *strip)
 *
 * The sums of ec_conv_pairs.c for Armv7E-M: 12 instructions for 16 products. A word of weights holds two outputs, 256 B + A, at two rows;
 * SMLAD adds 256 S_B + S_A, and after SXTB16 S_A alone. Two neighboring positions of four outputs take eight sums. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_conv_quads, "ax", %progbits
    .global ec_conv_quads
    .type ec_conv_quads, %function
    .p2align 2

    .equ    ENTRY, 40                   /* frame: codes, weights, eight first sums; where the first round of the loop begins */
    .equ    WEIGHT_END, 44
    .equ    SUMS, 48                    /* where the four outputs go */
    .equ    PAIRS_END, 64               /* codes behind the last pair of positions */
    .equ    CODES, 68
    .equ    QUADS, 72
    .equ    BIAS, 76
    .equ    ACC, 80
    .equ    PLANE, 84
    .equ    WEIGHT_BYTES, 88
    .equ    COLUMNS, 92                 /* of the output, in bytes of a sum */
    .equ    FRAME, 96

    .macro tap step
    ldrd    r10, r11, [r0], #\step
    ldrd    r12, lr, [r1], #8
    smlad   r3, r12, r10, r3
    smlad   r7, r12, r11, r7
    sxtb16  r12, r12
    smlad   r2, r12, r10, r2
    smlad   r6, r12, r11, r6
    smlad   r5, lr, r10, r5
    smlad   r9, lr, r11, r9
    sxtb16  lr, lr
    smlad   r4, lr, r10, r4
    smlad   r8, lr, r11, r8
    .endm

    .macro rounds wide                  /* three pairs of rows, 144 bytes each: the first round begins at any of them */
    .rept 3
    tap     4
    tap     4
    tap     (4 * \wide - 8)
    .endr
    ldr     r10, [sp, #WEIGHT_END]
    cmp     r1, r10
    .endm

ec_conv_quads:
    push    {r4-r11, lr}
    sub     sp, sp, #FRAME
    ldm     r0, {r0-r8}                 /* codes, weight, bias, acc, plane, columns, pairs, quads, wide */
    str     r0, [sp, #CODES]
    str     r1, [sp, #WEIGHT_END]
    strd    r7, r2, [sp, #QUADS]
    strd    r3, r4, [sp, #ACC]
    mov     r9, #24
    mul     r9, r9, r6                  /* three taps of two words for each pair of rows */
    lsl     r5, r5, #2
    strd    r9, r5, [sp, #WEIGHT_BYTES]
    adr     r9, 2f
    cmp     r8, #16
    it      eq
    adreq   r9, 3f
    mov     r10, #3
    udiv    r11, r6, r10
    mls     r11, r11, r10, r6           /* pairs modulo 3: skip 0, 2, 1 */
    cmp     r11, #0
    it      ne
    rsbne   r11, r11, #3
    mov     r10, #144
    mla     r9, r11, r10, r9
    orr     r9, r9, #1
    str     r9, [sp, #ENTRY]
.Lquad:
    ldr     r0, [sp, #BIAS]
    ldr     r1, [sp, #WEIGHT_END]
    ldm     r0!, {r2-r5}
    ldr     r12, [sp, #WEIGHT_BYTES]
    str     r0, [sp, #BIAS]
    ldr     r0, [sp, #CODES]
    add     r12, r12, r1
    str     r12, [sp, #WEIGHT_END]
    add     r3, r2, r3, lsl #8
    add     r5, r4, r5, lsl #8
    mov     r6, r2
    mov     r7, r3
    mov     r8, r4
    mov     r9, r5
    stm     sp, {r0-r9}
    ldrd    r2, r6, [sp, #ACC]
    ldr     r8, [sp, #COLUMNS]
    add     r3, r2, r6
    add     r4, r3, r6
    add     r5, r4, r6
    add     r6, r5, r6
    str     r6, [sp, #ACC]
    bic     r8, r8, #4
    add     r6, r8, r0
    add     r7, sp, #SUMS
    stm     r7, {r2-r6}
.Lposition:
    ldm     sp, {r0-r9}
    ldr     pc, [sp, #ENTRY]
    .p2align 2
3:
    rounds  16
    bne.w   3b
    b.w     4f
    .p2align 2
2:
    rounds  32
    bne.w   2b
4:
    sub     r3, r3, r2                  /* 256 S_B */
    sub     r5, r5, r4
    sub     r7, r7, r6
    sub     r9, r9, r8
    asr     r3, r3, #8
    asr     r5, r5, #8
    asr     r7, r7, #8
    asr     r9, r9, #8
    add     r0, sp, #SUMS
    ldm     r0, {r10-r12, lr}
    strd    r2, r6, [r10], #8
    strd    r3, r7, [r11], #8
    strd    r4, r8, [r12], #8
    strd    r5, r9, [lr], #8
    stm     r0, {r10-r12, lr}
    ldr     r0, [sp]
    ldr     r1, [sp, #PAIRS_END]
    adds    r0, r0, #8
    str     r0, [sp]
    cmp     r0, r1
    bne.w   .Lposition
    ldr     r2, [sp, #CODES]
    ldr     r3, [sp, #COLUMNS]
    add     r2, r2, r3
    cmp     r0, r2
    beq     5f
    subs    r0, r0, #4                  /* an odd column is left: once more, one column back */
    str     r0, [sp]
    adds    r0, r0, #8
    str     r0, [sp, #PAIRS_END]
    sub     r10, r10, #4
    sub     r11, r11, #4
    sub     r12, r12, #4
    sub     lr, lr, #4
    add     r0, sp, #SUMS
    stm     r0, {r10-r12, lr}
    b.w     .Lposition
5:
    ldr     r0, [sp, #QUADS]
    subs    r0, r0, #1
    str     r0, [sp, #QUADS]
    bne.w   .Lquad
    add     sp, sp, #FRAME
    pop     {r4-r11, pc}
    .size ec_conv_quads, . - ec_conv_quads
