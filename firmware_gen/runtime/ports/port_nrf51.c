/* Nordic nRF51 on a BBC micro:bit. nRF51 Series Reference Manual v3.0: 14 GPIO, 29 UART, 6.1 FICR. */
#include "cortex_m.h"
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"

#define GPIO_OUTSET EC_REGISTER(EC_EDGE_BASE + 0x08u)
#define GPIO_OUTCLR EC_REGISTER(EC_EDGE_BASE + 0x0Cu)
#define GPIO_DIRSET EC_REGISTER(EC_EDGE_BASE + 0x18u)
#define UART(offset) EC_REGISTER(EC_SERIAL_BASE + (offset))
#define UART_STARTRX UART(0x000u)
#define UART_STARTTX UART(0x008u)
#define UART_RXDRDY UART(0x108u)
#define UART_TXDRDY UART(0x11Cu)
#define UART_INTENSET UART(0x304u)
#define UART_ENABLE UART(0x500u)
#define UART_PSELTXD UART(0x50Cu)
#define UART_PSELRXD UART(0x514u)
#define UART_RXD UART(0x518u)
#define UART_TXD UART(0x51Cu)
#define UART_BAUDRATE UART(0x524u)
#define DEVICE_ID(word) EC_REGISTER(0x10000060u + 4u * (word))

enum { TX_PIN = 24, RX_PIN = 25 };

void ec_port_init(void)
{
    GPIO_OUTCLR = 1u << EC_EDGE_PIN;
    GPIO_DIRSET = 1u << EC_EDGE_PIN;
    UART_PSELTXD = TX_PIN;
    UART_PSELRXD = RX_PIN;
    UART_BAUDRATE = (uint32_t)(((uint64_t)EC_SERIAL_BAUD << 32) / 16000000u); /* of the fixed clock of 16 MHz */
    UART_ENABLE = 4u;
    UART_RXDRDY = 0;
    UART_INTENSET = 1u << 2; /* RXDRDY */
    EC_NVIC_ISER(EC_SERIAL_IRQ) = 1u << (EC_SERIAL_IRQ % 32u);
    UART_STARTTX = 1u;
    UART_STARTRX = 1u;
}

int ec_port_rx(void)
{
    if (UART_RXDRDY == 0u)
        return -1;
    UART_RXDRDY = 0; /* before the byte is read: the next one of its FIFO raises it again */
    return (int)(UART_RXD & 0xFFu);
}

void ec_port_tx(uint8_t byte)
{
    UART_TXDRDY = 0;
    UART_TXD = byte;
    while (UART_TXDRDY == 0u) {
    }
}

void ec_port_idle(void)
{
    ec_cortex_m_wait(EC_SERIAL_IRQ);
}

void ec_port_gpio(int level)
{
    if (level != 0)
        GPIO_OUTSET = 1u << EC_EDGE_PIN;
    else
        GPIO_OUTCLR = 1u << EC_EDGE_PIN;
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
    for (uint32_t k = 0; k < 16u; k++)
        uid[k] = k < 8u ? (uint8_t)(DEVICE_ID(k / 4u) >> (8u * (k % 4u))) : 0u;
}

void ec_port_reset(void)
{
    ec_cortex_m_reset(EC_RESET_SOFTWARE);
}
