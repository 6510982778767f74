/* Cortex-M start-up and what survives a reset. Source: Armv7-M Architecture Reference Manual (DDI 0403), B3.2. */
#ifndef EC_CORTEX_M_H
#define EC_CORTEX_M_H

#include <stdint.h>

#define EC_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define EC_AIRCR EC_REGISTER(0xE000ED0Cu) /* writing 0x05FA0004 requests a system reset */
#define EC_DEMCR EC_REGISTER(0xE000EDFCu)
#define EC_DWT_CTRL EC_REGISTER(0xE0001000u)
#define EC_DWT_CYCCNT EC_REGISTER(0xE0001004u)
#define EC_NVIC_ISER(irq) EC_REGISTER(0xE000E100u + 4u * ((irq) / 32u))
#define EC_NVIC_ICPR(irq) EC_REGISTER(0xE000E280u + 4u * ((irq) / 32u))

/* RAM that start-up does not clear: counts the starts since power-on and remembers why the last one came. */
typedef struct ec_survivor {
    uint32_t magic;
    uint32_t boots;
    uint32_t cause; /* an EC_RESET_ number of ec_protocol.h */
} ec_survivor;

#define EC_SURVIVOR_MAGIC 0xEC5EED01u
extern ec_survivor ec_survived;

/* Counts this start; call once. Without a valid record this is a power-on. */
void ec_survivor_begin(void);

/* Records why, then resets. */
void ec_cortex_m_reset(uint32_t cause);

/* Sleeps until the interrupt is pending, without ever taking it: PRIMASK stays set. */
void ec_cortex_m_wait(uint32_t irq);

#endif
