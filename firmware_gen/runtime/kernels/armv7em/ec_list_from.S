/* uint32_t ec_list_from(const int16_t *x, uint32_t units, int32_t least, int16_t *out, uint16_t *list)
 *
 * As in ec_activate.c, for Armv7E-M: where none of eight values is listed, 19 instructions. AAPCS (IHI 0042).
 */
    .syntax unified
    .thumb
    .section .text.ec_list_from, "ax", %progbits
    .global ec_list_from
    .type ec_list_from, %function
    .p2align 2

ec_list_from:
    push    {r4-r11, lr}
    ldr     r12, [sp, #36]              /* list */
    pkhbt   r2, r2, r2, lsl #16
    mov     r10, #0
    mvn     r11, #0
    subs    r1, r1, #8
    push    {r0, r12}
    blo     4f
1:
    ldm     r0!, {r4-r7}
    .irp    word, r4, r5, r6, r7
    ssub16  r8, \word, r2
    sel     \word, r11, r10             /* ones where the value is not below */
    .endr
    strd    r10, r10, [r3], #8
    orr     r8, r4, r5
    orr     r9, r6, r7
    strd    r10, r10, [r3], #8
    orrs    r8, r8, r9
    bne     3f
2:
    subs    r1, r1, #8
    bhs     1b
4:
    adds    r1, r1, #8
    beq     6f
    ldr     r9, [sp]
    sub     r9, r0, r9
    lsrs    r9, r9, #1
    sxth    r2, r2
5:
    ldrsh   r4, [r0], #2
    strh    r10, [r3], #2
    cmp     r4, r2
    it      ge
    strhge  r9, [r12], #2
    adds    r9, r9, #1
    subs    r1, r1, #1
    bne     5b
6:
    ldr     r0, [sp, #4]
    sub     r0, r12, r0
    lsrs    r0, r0, #1
    add     sp, sp, #8
    pop     {r4-r11, pc}
3:
    ldr     r9, [sp]
    sub     r9, r0, r9
    lsrs    r9, r9, #1
    subs    r9, r9, #8                  /* the index of the first of the eight */
    .irp    word, r4, r5, r6, r7
    cbz     \word, 7f
    lsls    r8, \word, #16
    it      ne
    strhne  r9, [r12], #2
    add     lr, r9, #1
    lsrs    r8, \word, #16
    it      ne
    strhne  lr, [r12], #2
7:
    adds    r9, r9, #2
    .endr
    b       2b
    .size ec_list_from, . - ec_list_from
