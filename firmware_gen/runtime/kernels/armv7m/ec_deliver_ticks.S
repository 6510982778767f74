/* void ec_deliver_ticks(const uint16_t *list, uint32_t count, const uint32_t *prefix, uint32_t ticks, uint32_t fail_q, uint8_t *hits)
 *
 * Random words of ec_random.h, eight instructions each with their comparison (ec_ticks.h), for Armv7-M. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_deliver_ticks, "ax", %progbits
    .global ec_deliver_ticks
    .type ec_deliver_ticks, %function
    .p2align 2

    .macro draw a, b                    /* r7 += 1 where the word's lower half is below fail_q: shifted up, not above r8 */
    add     \a, \a, r6
    eor     \a, \a, \a, lsr #16
    mul     \a, \a, r9
    eor     \a, \a, \a, lsr #15
    mla     \a, \a, r10, \b
    eor     \a, \a, \a, lsr #16
    cmp     r8, \a, lsl #16
    adc     r7, r7, #0
    .endm

ec_deliver_ticks:
    cmp     r1, #0
    it      eq
    bxeq    lr
    push    {r4-r11, lr}
    ldrd    r8, r12, [sp, #36]          /* fail_q, hits */
    lsl     r8, r8, #16
    sub     r8, r8, #1                  /* of 65536: all ones */
    movw    r9, #0xAAAD
    movt    r9, #0x21F0
    movw    r10, #0x2D97
    movt    r10, #0xD35A
    add     lr, r2, r3, lsl #3          /* end of the prefixes */
    add     r1, r0, r1, lsl #1
    push    {r2, r3, r12}
1:
    movw    r6, #0x79B9
    movt    r6, #0x9E37
    ldrh    r7, [r0], #2
    ldrd    r11, r3, [sp]               /* prefixes, ticks */
    mul     r6, r6, r7
    rsb     r7, r3, #0                  /* lost - ticks */
    lsls    r3, r3, #31
    beq     2f
    ldrd    r4, r5, [r11], #8
    draw    r4, r5
    cmp     r11, lr
    beq     3f
2:
    ldm     r11!, {r2-r5}
    draw    r2, r3
    draw    r4, r5
    cmp     r11, lr
    bne     2b
3:
    ldr     r3, [sp, #8]
    rsbs    r7, r7, #0
    strb    r7, [r3], #1
    str     r3, [sp, #8]
    cmp     r0, r1
    bne     1b
    add     sp, sp, #12
    pop     {r4-r11, pc}
    .size ec_deliver_ticks, . - ec_deliver_ticks
