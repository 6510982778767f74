/* SiFive FE310-G000: UART 0 and GPIO. FE310-G000 Manual v3p2: 13 interrupts, 17 GPIO, 18 UART. */
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"
#include "riscv.h"

#define UART_TXDATA EC_REGISTER(EC_SERIAL_BASE + 0x00u) /* bit 31: full */
#define UART_RXDATA EC_REGISTER(EC_SERIAL_BASE + 0x04u) /* bit 31: empty */
#define UART_TXCTRL EC_REGISTER(EC_SERIAL_BASE + 0x08u)
#define UART_RXCTRL EC_REGISTER(EC_SERIAL_BASE + 0x0Cu)
#define UART_IE EC_REGISTER(EC_SERIAL_BASE + 0x10u) /* bit 1: received */
#define UART_DIV EC_REGISTER(EC_SERIAL_BASE + 0x18u)
#define GPIO_OUTPUT_EN EC_REGISTER(EC_EDGE_BASE + 0x08u)
#define GPIO_OUTPUT EC_REGISTER(EC_EDGE_BASE + 0x0Cu)

void ec_port_init(void)
{
    GPIO_OUTPUT = 0;
    GPIO_OUTPUT_EN = 1u << EC_EDGE_PIN;
    UART_DIV = EC_CLOCK_HZ / EC_SERIAL_BAUD - 1u;
    UART_TXCTRL = 1u;
    UART_RXCTRL = 1u;
    UART_IE = 2u;
    ec_riscv_wake_by(EC_SERIAL_IRQ);
}

int ec_port_rx(void)
{
    const uint32_t received = UART_RXDATA;
    return received >> 31 == 0u ? (int)(received & 0xFFu) : -1;
}

void ec_port_tx(uint8_t byte)
{
    while (UART_TXDATA >> 31 != 0u) {
    }
    UART_TXDATA = byte;
}

void ec_port_idle(void)
{
    ec_riscv_wait();
}

void ec_port_gpio(int level)
{
    GPIO_OUTPUT = level != 0 ? 1u << EC_EDGE_PIN : 0u;
}

uint32_t ec_port_timer(void)
{
    return 0;
}

uint8_t ec_port_reset_cause(void)
{
    return ec_survivor_cause();
}

void ec_port_uid(uint8_t uid[16])
{
    ec_survivor_uid(uid);
}

void ec_port_reset(void)
{
    ec_riscv_restart(EC_RESET_SOFTWARE);
}
