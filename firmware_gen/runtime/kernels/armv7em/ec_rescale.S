/* void ec_rescale(const ec_rescaling *rescaling, uint32_t ticks, const void *x, void *out)
 *
 * As in ec_rescale.c, for Armv7E-M: SMMLA, ASR and a saturation, exact. Values of one channel share its terms (a run); where each value is
 * a channel, two channels' terms come in one load. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_rescale, "ax", %progbits
    .global ec_rescale
    .type ec_rescale, %function
    .p2align 2

    .macro scale r, m, c, s, sat, bits
    smmla   \r, \r, \m, \c
    asr     \r, \r, \s
    \sat    \r, #\bits, \r
    .endm

    /* r0: x, r1: out, r2: values, r8-r10: terms; keeps r3, r11, r12. x: whether it comes in words. */
    .macro run words, sat, bits, store, width
    subs    r2, r2, #8
    blo     2f
1:
    .rept 2
    .if \words
    ldm     r0!, {r4-r7}
    .else
    ldrsh   r5, [r0, #2]
    ldrsh   r6, [r0, #4]
    ldrsh   r7, [r0, #6]
    ldrsh   r4, [r0], #8
    .endif
    scale   r4, r8, r9, r10, \sat, \bits
    scale   r5, r8, r9, r10, \sat, \bits
    scale   r6, r8, r9, r10, \sat, \bits
    scale   r7, r8, r9, r10, \sat, \bits
    \store  r5, [r1, #\width]
    \store  r6, [r1, #(2 * \width)]
    \store  r7, [r1, #(3 * \width)]
    \store  r4, [r1], #(4 * \width)
    .endr
    subs    r2, r2, #8
    bhs     1b
2:
    adds    r2, r2, #8
    beq     4f
3:
    .if \words
    ldr     r4, [r0], #4
    .else
    ldrsh   r4, [r0], #2
    .endif
    scale   r4, r8, r9, r10, \sat, \bits
    \store  r4, [r1], #\width
    subs    r2, r2, #1
    bne     3b
4:
    .endm

    /* Every word has terms of its own, at r3. */
    .macro each sat, bits, store, width
    push    {r11, r12}
    subs    r2, r2, #8
    blo     2f
1:
    .rept 2
    ldm     r0!, {r4, r5, r11, r12}
    ldm     r3!, {r6-r10, lr}
    scale   r4, r6, r8, r10, \sat, \bits
    scale   r5, r7, r9, lr, \sat, \bits
    ldm     r3!, {r6-r10, lr}
    scale   r11, r6, r8, r10, \sat, \bits
    scale   r12, r7, r9, lr, \sat, \bits
    \store  r5, [r1, #\width]
    \store  r11, [r1, #(2 * \width)]
    \store  r12, [r1, #(3 * \width)]
    \store  r4, [r1], #(4 * \width)
    .endr
    subs    r2, r2, #8
    bhs     1b
2:
    adds    r2, r2, #8
    beq     4f
3:
    ldm     r3!, {r6-r10, lr}
    ldr     r4, [r0], #4
    scale   r4, r6, r8, r10, \sat, \bits
    \store  r4, [r1], #\width
    subs    r2, r2, #1
    beq     4f
    ldr     r5, [r0], #4
    scale   r5, r7, r9, lr, \sat, \bits
    \store  r5, [r1], #\width
    subs    r2, r2, #1
    bne     3b
4:
    pop     {r11, r12}
    .endm

ec_rescale:
    push    {r3-r11, lr}
    mov     r12, r1                     /* ticks */
    mov     r1, r3
    mov     r11, r0
    mov     r0, r2
.Ltick:
    ldm     r11, {r3-r6}                /* terms, channels, span, form */
    cmp     r4, #1
    beq     1f
    cmp     r5, #1
    beq     .Leach
1:
    str     r4, [sp]                    /* channels left */
    mov     lr, #4
.Lchannel:
    ldr     r8, [r3]
    ldr     r9, [r3, #8]
    ldr     r10, [r3, #16]
    ldr     r4, [r11, #12]
    ldr     r2, [r11, #8]
    tbh     [pc, r4, lsl #1]
5:  .hword  (6f - 5b) / 2, (7f - 5b) / 2, (8f - 5b) / 2, (9f - 5b) / 2
6:  run     1, ssat, 8, strb, 1
    b       .Lnext
7:  run     1, usat, 7, strb, 1
    b       .Lnext
8:  run     1, ssat, 16, strh, 2
    b       .Lnext
9:  run     0, ssat, 8, strb, 1
.Lnext:
    ldr     r4, [sp]
    add     r3, r3, lr                  /* of two channels the second begins a word later */
    eor     lr, lr, #(4 ^ 20)
    subs    r4, r4, #1
    str     r4, [sp]
    bne     .Lchannel
    b       .Lticked
.Leach:
    mov     r2, r4
    cmp     r6, #1
    bhi     8f
    beq     7f
    each    ssat, 8, strb, 1
    b       .Lticked
7:  each    usat, 7, strb, 1
    b       .Lticked
8:  each    ssat, 16, strh, 2
.Lticked:
    subs    r12, r12, #1
    bne     .Ltick
    pop     {r3-r11, pc}
    .size ec_rescale, . - ec_rescale
