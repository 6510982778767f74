/* uint32_t *ec_list_spikes(const int8_t *x, const int8_t *end, uint32_t *list, const uint32_t row[2])
 *
 * The rows of inputs that are 1, of inputs 0 or 1: 32 of them become one word, bit 8 k + j that of input 4 j + k, and CLZ finds them; rows are
 * stored in that order, from the highest bit down. row: of the first input, and bytes of a row. AAPCS (IHI 0042); x: aligned to 4, a
 * multiple of 32 inputs, at least one.
 */
    .syntax unified
    .thumb
    .section .text.ec_list_spikes, "ax", %progbits
    .global ec_list_spikes
    .type ec_list_spikes, %function
    .p2align 2
ec_list_spikes:
    push    {r4-r11, lr}
    mov     r4, r1
    mov     r1, r2
    mov     r2, r4
    ldrd    r3, r12, [r3]
    mov     lr, #0x80000000
1:
    ldm     r0!, {r4-r11}
    orr     r4, r4, r5, lsl #1
    orr     r6, r6, r7, lsl #1
    orr     r8, r8, r9, lsl #1
    orr     r10, r10, r11, lsl #1
    orr     r4, r4, r6, lsl #2
    orr     r8, r8, r10, lsl #2
    orrs    r4, r4, r8, lsl #4
    beq     3f
2:  clz     r5, r4
    mla     r6, r5, r12, r3
    lsr     r7, lr, r5
    str     r6, [r1], #4
    eors    r4, r4, r7
    bne     2b
3:  add     r3, r3, r12, lsl #5
    cmp     r0, r2
    bne     1b
    mov     r0, r1
    pop     {r4-r11, pc}
    .size ec_list_spikes, . - ec_list_spikes
