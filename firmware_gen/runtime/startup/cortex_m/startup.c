/* Vector table, start-up and fault handling of a Cortex-M. Armv7-M Architecture Reference Manual (DDI 0403), B1.5. */
#include "cortex_m.h"
#include "ec_compiler.h"
#include "ec_port.h"
#include "ec_protocol.h"

extern uint32_t ec_stack_top, ec_data_load, ec_data_start, ec_data_end, ec_bss_start, ec_bss_end;
int main(void);

void ec_cortex_m_reset(uint32_t cause)
{
    ec_survived.cause = cause;
    __asm__ volatile("dsb" ::: "memory");
    EC_AIRCR = 0x05FA0004u;
    for (;;) {
    }
}

void ec_cortex_m_wait(uint32_t irq)
{
    __asm__ volatile("cpsid i\n\twfi" ::: "memory");
    EC_NVIC_ICPR(irq) = 1u << (irq % 32u);
}

void Reset_Handler(void)
{
    const uint32_t *from = &ec_data_load;
    for (uint32_t *to = &ec_data_start; to < &ec_data_end;)
        *to++ = *from++;
    for (uint32_t *to = &ec_bss_start; to < &ec_bss_end;)
        *to++ = 0;
    ec_survivor_begin();
    main();
}

/* Any fault or unexpected exception: the next HELLO tells the host. */
void Fault_Handler(void)
{
    ec_cortex_m_reset(EC_RESET_FAULT);
}

typedef union vector {
    void *stack;
    void (*handler)(void);
} vector;

/* No interrupt is ever taken, so the 16 system vectors are all there are. */
EC_SECTION(".vectors") static const vector vectors[16] = {
    {.stack = &ec_stack_top},    {.handler = Reset_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler},
    {.handler = Fault_Handler},  {.handler = Fault_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler},
    {.handler = Fault_Handler},  {.handler = Fault_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler},
    {.handler = Fault_Handler},  {.handler = Fault_Handler}, {.handler = Fault_Handler}, {.handler = Fault_Handler},
};
