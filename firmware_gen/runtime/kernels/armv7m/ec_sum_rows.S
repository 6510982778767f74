/* void ec_sum_rows(const uint32_t *event, const uint8_t *column, const uint32_t *end, ec_wide_sums *sums)
 *
 * The wide loop of ec_matmul.c for Armv7-M: 39 instructions for four events of eight outputs. Compilers unroll the C into
 * spills: eight words of sums, the mask, two words of weights, x, the row and two pointers take all fourteen registers, so
 * the end of the list waits on the stack. AAPCS (IHI 0042); the list is not empty and holds whole groups of four.
 */
    .syntax unified
    .thumb
    .section .text.ec_sum_rows, "ax", %progbits
    .global ec_sum_rows
    .type ec_sum_rows, %function
    .p2align 2

    .macro add_event
    ldrd    r10, r11, [r0], #8          /* row offset, x */
    add     r10, r10, r1
    ldrd    r10, r12, [r10]             /* eight weights */
    umlal   r2, r3, r10, r11
    and     r10, lr, r10, ror #16
    umlal   r4, r5, r10, r11
    umlal   r6, r7, r12, r11
    and     r12, lr, r12, ror #16
    umlal   r8, r9, r12, r11
    .endm

ec_sum_rows:
    push    {r2-r12, lr}
    mov     lr, #0x000000FF
    orr     lr, lr, #0xFF000000
    movs    r2, #0
    movs    r3, #0
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    mov     r8, #0
    mov     r9, #0
1:
    add_event
    add_event
    add_event
    add_event
    ldr     r10, [sp]
    cmp     r0, r10
    bne     1b
    ldr     r10, [sp, #4]
    stm     r10, {r2-r9}
    pop     {r2-r12, pc}
    .size ec_sum_rows, . - ec_sum_rows
