/* Arm MPS2. UART and GPIO: Arm Cortex-M System Design Kit TRM (DDI 0479), 4.3 APB UART and 4.1 AHB GPIO. */
#include "cortex_m.h"
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"

#define UART_DATA EC_REGISTER(EC_SERIAL_BASE + 0x00u)
#define UART_STATE EC_REGISTER(EC_SERIAL_BASE + 0x04u) /* bit 0: transmit buffer full, bit 1: receive buffer full */
#define UART_CTRL EC_REGISTER(EC_SERIAL_BASE + 0x08u)  /* bit 0: TX on, 1: RX on, 3: RX interrupt */
#define UART_INTCLEAR EC_REGISTER(EC_SERIAL_BASE + 0x0Cu)
#define UART_BAUDDIV EC_REGISTER(EC_SERIAL_BASE + 0x10u)
#define GPIO_DATAOUT EC_REGISTER(EC_EDGE_BASE + 0x04u)
#define GPIO_OUTENSET EC_REGISTER(EC_EDGE_BASE + 0x10u)

void ec_port_init(void)
{
    UART_BAUDDIV = EC_CLOCK_HZ / EC_SERIAL_BAUD;
    UART_CTRL = 0x0Bu;
    EC_NVIC_ISER(EC_SERIAL_IRQ) = 1u << (EC_SERIAL_IRQ % 32u);
    GPIO_DATAOUT = 0;
    GPIO_OUTENSET = 1u << EC_EDGE_PIN;
}

int ec_port_rx(void)
{
    return (UART_STATE & 2u) != 0u ? (int)(UART_DATA & 0xFFu) : -1;
}

void ec_port_tx(uint8_t byte)
{
    while ((UART_STATE & 1u) != 0u) {
    }
    UART_DATA = byte;
}

void ec_port_idle(void)
{
    ec_cortex_m_wait(EC_SERIAL_IRQ);
    UART_INTCLEAR = 2u; /* before the next look at STATE: a byte that comes now is seen there */
}

void ec_port_gpio(int level)
{
    GPIO_DATAOUT = level != 0 ? 1u << EC_EDGE_PIN : 0u;
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
    ec_cortex_m_reset(EC_RESET_SOFTWARE);
}
