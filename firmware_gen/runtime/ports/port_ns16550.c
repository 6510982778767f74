/* A 16550 serial port behind a PLIC, as QEMU's RISC-V board `virt` has it. National Semiconductor PC16550D (1995), registers. */
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"
#include "riscv.h"

#define UART_DATA EC_REGISTER8(EC_SERIAL_BASE + 0u)
#define UART_INTERRUPTS EC_REGISTER8(EC_SERIAL_BASE + 1u) /* bit 0: received */
#define UART_FIFO EC_REGISTER8(EC_SERIAL_BASE + 2u)
#define UART_LINE EC_REGISTER8(EC_SERIAL_BASE + 3u)
#define UART_STATUS EC_REGISTER8(EC_SERIAL_BASE + 5u) /* bit 0: received, bit 5: transmit register empty */
#define EDGE EC_REGISTER(EC_EDGE_BASE + 4u * EC_EDGE_PIN) /* a word of RAM: the board has no pins */

void ec_port_init(void)
{
    const uint32_t divisor = EC_CLOCK_HZ / (16u * EC_SERIAL_BAUD);
    UART_LINE = 0x80u; /* the next two bytes are the divisor */
    UART_DATA = (uint8_t)divisor;
    UART_INTERRUPTS = (uint8_t)(divisor >> 8);
    UART_LINE = 3u; /* 8N1 */
    UART_FIFO = 1u;
    UART_INTERRUPTS = 1u;
    ec_riscv_wake_by(EC_SERIAL_IRQ);
    EDGE = 0;
}

int ec_port_rx(void)
{
    return (UART_STATUS & 1u) != 0u ? (int)UART_DATA : -1;
}

void ec_port_tx(uint8_t byte)
{
    while ((UART_STATUS & 1u << 5) == 0u) {
    }
    UART_DATA = byte;
}

void ec_port_idle(void)
{
    ec_riscv_wait();
}

void ec_port_gpio(int level)
{
    EDGE = (uint32_t)level;
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
