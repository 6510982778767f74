/* ST STM32F405 with USART1 and GPIOA at its reset clock. RM0090: 7.3 RCC, 8.4 GPIO, 30.6 USART. */
#include "cortex_m.h"
#include "ec_board.h"
#include "ec_port.h"
#include "ec_protocol.h"

#define RCC_AHB1ENR EC_REGISTER(0x40023830u)
#define RCC_APB2ENR EC_REGISTER(0x40023844u)
#define GPIO_MODER EC_REGISTER(EC_EDGE_BASE + 0x00u)
#define GPIO_BSRR EC_REGISTER(EC_EDGE_BASE + 0x18u)
#define GPIO_AFRH EC_REGISTER(EC_EDGE_BASE + 0x24u)
#define USART_SR EC_REGISTER(EC_SERIAL_BASE + 0x00u) /* bit 5: received, bit 7: transmit register empty */
#define USART_DR EC_REGISTER(EC_SERIAL_BASE + 0x04u)
#define USART_BRR EC_REGISTER(EC_SERIAL_BASE + 0x08u)
#define USART_CR1 EC_REGISTER(EC_SERIAL_BASE + 0x0Cu)

void ec_port_init(void)
{
    RCC_AHB1ENR |= 1u;
    RCC_APB2ENR |= 1u << 4;
    GPIO_AFRH = 7u << 4 | 7u << 8; /* PA9 and PA10: USART1 */
    GPIO_MODER = (GPIO_MODER & ~(3u << (2u * EC_EDGE_PIN))) | 2u << 18 | 2u << 20 | 1u << (2u * EC_EDGE_PIN);
    USART_BRR = 16000000u / EC_SERIAL_BAUD; /* of HSI */
    USART_CR1 = 1u << 13 | 1u << 5 | 1u << 3 | 1u << 2; /* on, RX interrupt, TX, RX */
    EC_NVIC_ISER(EC_SERIAL_IRQ) = 1u << (EC_SERIAL_IRQ % 32u);
}

int ec_port_rx(void)
{
    return (USART_SR & 1u << 5) != 0u ? (int)(USART_DR & 0xFFu) : -1;
}

void ec_port_tx(uint8_t byte)
{
    while ((USART_SR & 1u << 7) == 0u) {
    }
    USART_DR = byte;
}

void ec_port_idle(void)
{
    ec_cortex_m_wait(EC_SERIAL_IRQ);
}

void ec_port_gpio(int level)
{
    GPIO_BSRR = level != 0 ? 1u << EC_EDGE_PIN : 1u << (EC_EDGE_PIN + 16u);
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
    ec_survivor_uid(uid); /* its unique ID (39.1) is a bus fault in QEMU */
}

void ec_port_reset(void)
{
    ec_cortex_m_reset(EC_RESET_SOFTWARE);
}
