/* Everything a board must provide: implement these ten functions and the server runs (docs/firmware.md). */
#ifndef EC_PORT_H
#define EC_PORT_H

#include <stdint.h>

#include "ec_compiler.h"

EC_C_BEGIN

/* Clocks, pins, serial port, timer. Called once, before anything else. */
void ec_port_init(void);

/* The next received byte, or -1 at once where there is none. */
int ec_port_rx(void);

/* Sends one byte; may wait for the transmitter. */
void ec_port_tx(uint8_t byte);

/* Returns when a byte may have arrived; it may return earlier. Sleep here. */
void ec_port_idle(void);

/* Drives the measurement pin: 1 while inferring, 0 otherwise. Nothing may be sent or received in between. */
void ec_port_gpio(int level);

/* A free-running 32-bit up-counter, EC_TIMER_HZ of ec_board.h; 0 where there is none. */
uint32_t ec_port_timer(void);

/* Why the device started: an EC_RESET_ number of ec_protocol.h. */
uint8_t ec_port_reset_cause(void);

/* Starts since power-on, this one included. */
uint32_t ec_port_boot_counter(void);

/* 16 bytes that no other board of the bench has. */
void ec_port_uid(uint8_t uid[16]);

/* Restarts the device; does not return. */
void ec_port_reset(void);

EC_C_END

#endif
