/* STM32L4R5 on a Nucleo-144. Registers and sequences: RM0432 (STM32L4+ reference manual). Compiled and linked in the
 * tests; not yet run on silicon.
 */
#include "cortex_m.h"
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"

/* RCC */
#define RCC_CR EC_REGISTER(0x40021000u)
#define RCC_CFGR EC_REGISTER(0x40021008u)
#define RCC_PLLCFGR EC_REGISTER(0x4002100Cu)
#define RCC_AHB2ENR EC_REGISTER(0x4002104Cu)
#define RCC_APB1ENR1 EC_REGISTER(0x40021058u)
#define RCC_APB1ENR2 EC_REGISTER(0x4002105Cu)
#define RCC_CCIPR EC_REGISTER(0x40021088u)
#define RCC_CSR EC_REGISTER(0x40021094u)
/* PWR */
#define PWR_CR2 EC_REGISTER(0x40007004u)
#define PWR_SR2 EC_REGISTER(0x40007014u)
#define PWR_CR5 EC_REGISTER(0x40007080u)
/* FLASH */
#define FLASH_ACR EC_REGISTER(0x40022000u)
/* GPIO */
#define GPIOG 0x48001800u
#define GPIO_MODER(port) EC_REGISTER((port) + 0x00u)
#define GPIO_BSRR(port) EC_REGISTER((port) + 0x18u)
#define GPIO_AFRL(port) EC_REGISTER((port) + 0x20u)
#define GPIO_AFRH(port) EC_REGISTER((port) + 0x24u)
/* LPUART */
#define LPUART_CR1 EC_REGISTER(EC_SERIAL_BASE + 0x00u)
#define LPUART_BRR EC_REGISTER(EC_SERIAL_BASE + 0x0Cu)
#define LPUART_ISR EC_REGISTER(EC_SERIAL_BASE + 0x1Cu)
#define LPUART_ICR EC_REGISTER(EC_SERIAL_BASE + 0x20u)
#define LPUART_RDR EC_REGISTER(EC_SERIAL_BASE + 0x24u)
#define LPUART_TDR EC_REGISTER(EC_SERIAL_BASE + 0x28u)

#define HSI_HZ 16000000u
#define UID_BASE 0x1FFF7590u /* 96 bits */

static uint8_t reset_cause;

static void wait_set(volatile uint32_t *reg, uint32_t bits)
{
    while ((*reg & bits) != bits) {
    }
}

static void replace(volatile uint32_t *reg, uint32_t mask, uint32_t bits)
{
    *reg = (*reg & ~mask) | bits;
}

/* HSI16 / 2 * 30 / 2 = 120 MHz in range 1 boost; the AHB runs at half speed while switching. */
static void start_clock(void)
{
    RCC_APB1ENR1 |= 1u << 28; /* PWREN */
    (void)RCC_APB1ENR1;
    PWR_CR5 &= ~(1u << 8); /* R1MODE = 0: boost */
    while ((PWR_SR2 & (1u << 10)) != 0u) { /* VOSF */
    }
    RCC_CR |= 1u << 8; /* HSION */
    wait_set(&RCC_CR, 1u << 10);
    FLASH_ACR = (1u << 10) | (1u << 9) | (1u << 8) | 5u; /* data and instruction cache, prefetch, 5 wait states */
    while ((FLASH_ACR & 15u) != 5u) {
    }
    RCC_PLLCFGR = (1u << 24) | (30u << 8) | (1u << 4) | 2u; /* R = 2 on, N = 30, M = 2, from HSI16 */
    RCC_CR |= 1u << 24;                                     /* PLLON */
    wait_set(&RCC_CR, 1u << 25);
    replace(&RCC_CFGR, 15u << 4, 8u << 4); /* HPRE: / 2 */
    replace(&RCC_CFGR, 3u, 3u);            /* SW: PLL */
    wait_set(&RCC_CFGR, 3u << 2);
    for (volatile uint32_t k = 0; k < 100u; k++) { /* at least 1 us */
    }
    replace(&RCC_CFGR, 15u << 4, 0);
}

/* PG7 and PG8 are supplied by VDDIO2, which is isolated after reset. */
static void start_serial(void)
{
    PWR_CR2 |= 1u << 9;                     /* IOSV */
    RCC_AHB2ENR |= (1u << 5) | (1u << 6);   /* GPIOF, GPIOG */
    replace(&RCC_CCIPR, 3u << 10, 2u << 10); /* LPUART1 from HSI16 */
    RCC_APB1ENR2 |= 1u;                     /* LPUART1EN */
    (void)RCC_APB1ENR2;
    replace(&GPIO_AFRL(GPIOG), 15u << 28, 8u << 28); /* PG7: AF8 */
    replace(&GPIO_AFRH(GPIOG), 15u, 8u);             /* PG8: AF8 */
    replace(&GPIO_MODER(GPIOG), (3u << 14) | (3u << 16), (2u << 14) | (2u << 16));
    LPUART_BRR = (uint32_t)((256ull * HSI_HZ + EC_SERIAL_BAUD / 2u) / EC_SERIAL_BAUD);
    LPUART_CR1 = (1u << 5) | (1u << 3) | (1u << 2) | 1u;                                 /* RXNEIE, TE, RE, UE */
    EC_NVIC_ISER(EC_SERIAL_IRQ) = 1u << (EC_SERIAL_IRQ % 32u);
}

static uint8_t read_reset_cause(void)
{
    const uint32_t flags = RCC_CSR, recorded = ec_survivor_cause();
    RCC_CSR |= 1u << 23; /* RMVF: the next reset begins with no flags */
    if ((flags & ((1u << 29) | (1u << 30))) != 0u)
        return EC_RESET_WATCHDOG;
    if ((flags & (1u << 28)) != 0u)
        return recorded == EC_RESET_FAULT ? EC_RESET_FAULT : EC_RESET_SOFTWARE;
    if ((flags & (1u << 27)) != 0u)
        return EC_RESET_POWER_ON;
    return (flags & (1u << 26)) != 0u ? EC_RESET_PIN : EC_RESET_UNKNOWN;
}

void ec_port_init(void)
{
    start_clock();
    start_serial();
    replace(&GPIO_MODER(EC_EDGE_BASE), 3u << (2u * EC_EDGE_PIN), 1u << (2u * EC_EDGE_PIN));
    ec_port_gpio(0);
    EC_DEMCR |= 1u << 24; /* TRCENA */
    EC_DWT_CYCCNT = 0;
    EC_DWT_CTRL |= 1u;
    reset_cause = read_reset_cause();
}

int ec_port_rx(void)
{
    const uint32_t status = LPUART_ISR;
    if ((status & 8u) != 0u)
        LPUART_ICR = 8u; /* overrun: the frame's CRC will tell */
    return (status & (1u << 5)) != 0u ? (int)(LPUART_RDR & 0xFFu) : -1;
}

void ec_port_tx(uint8_t byte)
{
    wait_set(&LPUART_ISR, 1u << 7);
    LPUART_TDR = byte;
}

void ec_port_idle(void)
{
    ec_cortex_m_wait(EC_SERIAL_IRQ); /* RXNE keeps the interrupt pending until the byte is read: none is missed */
}

void ec_port_gpio(int level)
{
    GPIO_BSRR(EC_EDGE_BASE) = 1u << (level != 0 ? EC_EDGE_PIN : EC_EDGE_PIN + 16u);
}

uint32_t ec_port_timer(void)
{
    return EC_DWT_CYCCNT;
}

uint8_t ec_port_reset_cause(void)
{
    return reset_cause;
}

void ec_port_uid(uint8_t uid[16])
{
    for (uint32_t k = 0; k < 16u; k++)
        uid[k] = k < 12u ? ((const volatile uint8_t *)(uintptr_t)UID_BASE)[k] : 0u;
}

void ec_port_reset(void)
{
    wait_set(&LPUART_ISR, 1u << 6); /* the acknowledgement must leave first */
    ec_cortex_m_reset(EC_RESET_SOFTWARE);
}
