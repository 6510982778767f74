/* uint32_t *ec_list_tokens(const uint8_t *ids, const uint8_t *end, uint32_t *list, const ec_token_rows *rows)
 *
 * The rows of the tokens of a text, two ids a word; id 0 has none, an id that there is not has that of 1. AAPCS (IHI 0042); ids: aligned
 * to 4, whole words of them.
 */
    .syntax unified
    .thumb
    .section .text.ec_list_tokens, "ax", %progbits
    .global ec_list_tokens
    .type ec_list_tokens, %function
    .p2align 2

    .macro token                        /* r4: id, not 0 */
    cmp     r4, r7
    it      hs
    movhs   r4, #1
    mla     r4, r4, r6, r5
    str     r4, [r2], #4
    .endm

ec_list_tokens:
    push    {r4-r7, lr}
    ldm     r3, {r5-r7}                 /* the row of id 0, bytes of a row, ids */
    cmp     r0, r1
    beq     4f
1:  ldr     r3, [r0], #4
    cbz     r3, 3f
    uxth    r4, r3
    cbz     r4, 2f
    token
2:  lsrs    r4, r3, #16
    beq     3f
    token
3:  cmp     r0, r1
    bne     1b
4:  mov     r0, r2
    pop     {r4-r7, pc}
    .size ec_list_tokens, . - ec_list_tokens
