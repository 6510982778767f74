#include "ec_port.h"
#include "ec_protocol.h"
#include "riscv.h"

extern uint32_t ec_data_load, ec_data_start, ec_data_end, ec_bss_start, ec_bss_end;
int main(void);
void Reset_Handler(void);

void ec_start(void);

void ec_start(void)
{
    const uint32_t *from = &ec_data_load;
    for (uint32_t *to = &ec_data_start; to < &ec_data_end;)
        *to++ = *from++;
    for (uint32_t *to = &ec_bss_start; to < &ec_bss_end;)
        *to++ = 0;
    ec_survivor_begin();
    main();
}

void ec_riscv_restart(uint32_t cause)
{
    ec_survived.cause = cause;
    Reset_Handler();
}

void ec_riscv_wake_by(uint32_t irq)
{
    EC_PLIC_PRIORITY(irq) = 1u;
    EC_PLIC_ENABLE(irq) = 1u << (irq % 32u);
    EC_PLIC_THRESHOLD = 0;
    __asm__ volatile("csrs mie, %0" ::"r"(1u << 11));
}

void ec_riscv_wait(void)
{
    __asm__ volatile("wfi" ::: "memory");
    EC_PLIC_CLAIM = EC_PLIC_CLAIM; /* whatever is pending is done with: the port looks at its registers */
}

/* Any exception: the next HELLO tells the host. */
void Fault_Handler(void);

void Fault_Handler(void)
{
    ec_riscv_restart(EC_RESET_FAULT);
}
