/* void ec_stateful_ticks(const ec_stateful *layer)
 *
 * Ticks of ec_chaos_stateful for Armv7-M: a neuron's state stays in registers, 14 instructions for a tick without a spike. The tick that is
 * left stands in the high byte of a word whose low byte counts spikes. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_stateful_ticks, "ax", %progbits
    .global ec_stateful_ticks
    .type ec_stateful_ticks, %function
    .p2align 2

    .equ    OUT, 8
    .equ    NEURONS, 12
    .equ    TICKS, 16
    .equ    PREFIX, 20
    .equ    FAIL_Q, 24
    .equ    KEEP, 28

ec_stateful_ticks:
    push    {r4-r11, lr}
    sub     sp, sp, #36
    mov     r12, sp
    ldm     r0, {r1-r9}
    sub     r5, r5, #1
    lsl     r5, r5, #24                 /* ticks - 1, no spike */
    stm     r12, {r1-r9}
    mov     r0, sp
    movw    r9, #0xAAAD
    movt    r9, #0x21F0
    movw    r10, #0x2D97
    movt    r10, #0xD35A
    mov     r11, #0                     /* neuron times EC_GOLDEN */
    mov     r7, #16384
    ldrd    r8, r12, [r0, #KEEP]        /* membrane, refractoriness */
1:
    ldrd    r1, r4, [r0]                /* drive, threshold */
    ldrsh   r2, [r1], #2
    ldr     r3, [r4], #4
    strd    r1, r4, [r0]
    ldr     r6, [r0, #TICKS]
    mov     r4, #0                      /* membrane */
    mov     r5, #32768                  /* 32768 - refractoriness */
2:
    add     r4, r4, r2
    ssat    r4, #16, r4
    mla     r4, r4, r5, r7
    rsb     r5, r5, #32768
    mla     r5, r5, r12, r7
    asr     r4, r4, #15
    cmp     r4, r3
    lsr     r5, r5, #15
    bgt     4f
3:
    mla     r4, r4, r8, r7
    rsb     r5, r5, #32768
    subs    r6, r6, #0x1000000
    asr     r4, r4, #15
    bhs     2b
    ldrd    r1, r2, [r0, #OUT]          /* out, neurons */
    strb    r6, [r1], #1
    movw    r3, #0x79B9
    movt    r3, #0x9E37
    add     r11, r11, r3
    subs    r2, r2, #1
    strd    r1, r2, [r0, #OUT]
    bne     1b
    add     sp, sp, #36
    pop     {r4-r11, pc}
4:
    ldr     r1, [r0, #FAIL_Q]
    cbz     r1, 5f
    ldr     r1, [r0, #PREFIX]
    lsr     lr, r6, #24
    add     lr, r1, lr, lsl #3
    ldrd    r1, lr, [lr]
    add     r1, r1, r11
    eor     r1, r1, r1, lsr #16
    mul     r1, r1, r9
    eor     r1, r1, r1, lsr #15
    mla     r1, r1, r10, lr
    ldr     lr, [r0, #FAIL_Q]
    eor     r1, r1, r1, lsr #16
    uxth    r1, r1
    cmp     r1, lr
    blo     3b
5:
    adds    r6, r6, #1
    mov     r5, #32768                  /* as refractory as can be, whatever was left */
    b       3b
    .size ec_stateful_ticks, . - ec_stateful_ticks
