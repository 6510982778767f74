/* The first instructions: where QEMU's and SiFive's boards begin is the first address of the image. */
    .section .vectors, "ax"
    .globl Reset_Handler
    .type Reset_Handler, @function
Reset_Handler:
    csrci mstatus, 8 /* MIE */
    la t0, ec_trap
    csrw mtvec, t0
    la sp, ec_stack_top
    tail ec_start
    .size Reset_Handler, . - Reset_Handler

    .balign 4
    .globl ec_trap
    .type ec_trap, @function
ec_trap: /* with a stack that is sound, whatever the trap was of */
    la sp, ec_stack_top
    tail Fault_Handler
    .size ec_trap, . - ec_trap
