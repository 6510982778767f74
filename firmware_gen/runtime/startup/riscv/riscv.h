/* RISC-V in machine mode with a PLIC: start-up, and sleep that no interrupt ends in a handler.
 * Sources: RISC-V Privileged Architecture (20211203), 3.1 and 3.3.3; RISC-V Platform-Level Interrupt Controller Specification 1.0.
 */
#ifndef EC_RISCV_H
#define EC_RISCV_H

#include "survivor.h"

#define EC_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define EC_REGISTER8(address) (*(volatile uint8_t *)(uintptr_t)(address))

/* The first hart's context in machine mode is context 0 of the PLIC. */
#define EC_PLIC 0x0C000000u
#define EC_PLIC_PRIORITY(irq) EC_REGISTER(EC_PLIC + 4u * (irq))
#define EC_PLIC_ENABLE(irq) EC_REGISTER(EC_PLIC + 0x2000u + 4u * ((irq) / 32u))
#define EC_PLIC_THRESHOLD EC_REGISTER(EC_PLIC + 0x200000u)
#define EC_PLIC_CLAIM EC_REGISTER(EC_PLIC + 0x200004u)

/* Records why, then begins again at the reset handler: the core has no reset of its own. */
void ec_riscv_restart(uint32_t cause);

/* Lets an interrupt end `wfi`; mstatus.MIE stays 0, so that none is ever taken. */
void ec_riscv_wake_by(uint32_t irq);

/* Sleeps until an interrupt is pending. */
void ec_riscv_wait(void);

#endif
