/* Cortex-M start-up. Source: Armv7-M Architecture Reference Manual (DDI 0403), B3.2. */
#ifndef EC_CORTEX_M_H
#define EC_CORTEX_M_H

#include <stdint.h>

#include "survivor.h"

#define EC_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define EC_AIRCR EC_REGISTER(0xE000ED0Cu) /* writing 0x05FA0004 requests a system reset */
#define EC_DEMCR EC_REGISTER(0xE000EDFCu)
#define EC_DWT_CTRL EC_REGISTER(0xE0001000u)
#define EC_DWT_CYCCNT EC_REGISTER(0xE0001004u)
#define EC_NVIC_ISER(irq) EC_REGISTER(0xE000E100u + 4u * ((irq) / 32u))
#define EC_NVIC_ICPR(irq) EC_REGISTER(0xE000E280u + 4u * ((irq) / 32u))

/* Records why, then resets. */
void ec_cortex_m_reset(uint32_t cause);

/* Sleeps until the interrupt is pending, without ever taking it: PRIMASK stays set. */
void ec_cortex_m_wait(uint32_t irq);

#endif
