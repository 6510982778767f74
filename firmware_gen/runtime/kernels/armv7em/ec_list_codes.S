/* const int8_t *ec_list_codes(const int8_t *x, const int8_t *end, ec_events *events)
 * const int8_t *ec_list_above(const int8_t *x, const int8_t *end, ec_events *events)
 *
 * The list of ec_events.c for Armv7E-M, four words of inputs a turn; a word of background costs a comparison and an addition. Of four
 * codes that are not below the background, USUB8 makes the distances and USADA8 their sum. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb

    .macro begin
    push    {r2, r4-r11, lr}
    mov     r11, r1
    ldrd    r1, lr, [r2]                /* front, back */
    ldrd    r8, r12, [r2, #8]           /* row, stride */
    ldrd    r9, r10, [r2, #16]          /* sum, background */
    mov     r2, r11
    mov     r11, #0
    .endm

    .macro distances word               /* each byte 0..255 */
    usada8  r9, \word, r11, r9
    uxtb    r3, \word
    one_above
    uxtb    r3, \word, ror #8
    one_above
    uxtb    r3, \word, ror #16
    one_above
    lsrs    r3, \word, #24
    one_above
    .endm

    .macro one_above
    cbz     r3, 2f
    strd    r8, r3, [r1], #8
2:  add     r8, r8, r12
    .endm

    .macro turn                         /* back to 1 while there are inputs, and room for sixteen events */
3:  cmp     r0, r2
    beq     4f
    sub     r3, lr, r1
    cmp     r3, #128
    bhs.w   1b
4:  ldr     r2, [sp]
    strd    r1, lr, [r2]
    str     r8, [r2, #8]
    str     r9, [r2, #16]
    pop     {r2, r4-r11, pc}
    .endm

    .section .text.ec_list_codes, "ax", %progbits
    .global ec_list_codes
    .type ec_list_codes, %function
    .p2align 2
ec_list_codes:
    begin
    b       3f
1:
    ldm     r0!, {r4-r7}
    .irp word, r4, r5, r6, r7
    cbz     \word, 8f
    tst     \word, #0x80808080
    beq     6f
    mov     r11, \word
    adr     r10, 9f
    b       5f
6:  distances \word
    b       9f
8:  add     r8, r8, r12, lsl #2
9:
    .endr
    turn
5:                                      /* a word with codes below 0, in r11; back to r10 */
    .irp rotation, 0, 8, 16, 24
    sxtb    r3, r11, ror #\rotation
    add     r9, r9, r3
    cmp     r3, #0
    it      gt
    strdgt  r8, r3, [r1], #8
    itt     lt
    rsblt   r3, r3, #0
    strdlt  r8, r3, [lr, #-8]!
    add     r8, r8, r12
    .endr
    mov     r11, #0
    mov     pc, r10
    .size ec_list_codes, . - ec_list_codes

    .section .text.ec_list_above, "ax", %progbits
    .global ec_list_above
    .type ec_list_above, %function
    .p2align 2
ec_list_above:
    begin
    b       3f
1:
    ldm     r0!, {r4-r7}
    .irp word, r4, r5, r6, r7
    usub8   \word, \word, r10
    cbz     \word, 8f
    distances \word
    b       9f
8:  add     r8, r8, r12, lsl #2
9:
    .endr
    turn
    .size ec_list_above, . - ec_list_above
