/* ATmega328P, 16 MHz, 57600 baud: clock, UART, I2C, pins and watchdog around the portable core.
 *
 * Pins (Arduino Uno / Nano names in brackets): PD2 (2) presence, active low; PD3 (3) emergency-open loop, normally
 * closed to ground, so that a broken wire opens; PB0 (8) gate relay; PB1 (9) lamp; PB2 (10) buzzer; PC4/PC5 (A4/A5)
 * SDA/SCL of an MLX90614.
 */
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <stdbool.h>
#include <util/atomic.h>

#include "../core/core.h"
#include "../core/crc.h"

#ifndef BUILD_HASH
#error "BUILD_HASH comes from the Makefile"
#endif

#define BAUD 57600UL
#define UBRR_2X ((F_CPU + BAUD * 4UL) / (BAUD * 8UL) - 1UL) /* -0.8 % at 16 MHz */
#define RX_BYTES 128u                                        /* a power of two, more than two frames */
#define SETTLE_MS 300u /* MLX90614 data sheet: valid 0.25 s after power-up */

static volatile uint32_t clock_ms;
static volatile uint8_t rx_ring[RX_BYTES];
static volatile uint8_t rx_head;
static uint8_t rx_tail;
static struct core core;
static uint8_t reset_cause __attribute__((section(".noinit")));

/* Before main: a watchdog reset leaves the watchdog running, and the cause must be read before it is cleared. */
void keep_reset_cause(void) __attribute__((naked, used, section(".init3")));
void keep_reset_cause(void)
{
    reset_cause = MCUSR;
    MCUSR = 0;
    wdt_disable();
}

ISR(TIMER0_COMPA_vect)
{
    clock_ms++;
}

ISR(USART_RX_vect)
{
    uint8_t next = (uint8_t)((rx_head + 1u) & (RX_BYTES - 1u));
    uint8_t byte = UDR0;
    if (next != rx_tail) { /* full: the frame's CRC will say so */
        rx_ring[rx_head] = byte;
        rx_head = next;
    }
}

ISR(USART_UDRE_vect)
{
    UCSR0B &= (uint8_t)~(1 << UDRIE0);
}

static uint32_t now(void)
{
    uint32_t ms;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        ms = clock_ms;
    }
    return ms;
}

/* ---- I2C: short, and no step without an end ---------------------------------------------------------------- */

#define MLX_ADDRESS 0x5Au
#define MLX_AMBIENT 0x06u
#define MLX_OBJECT 0x07u

static volatile bool twi_ready;

/* The interrupt only tells that a step is done: it switches itself off and leaves TWINT set, which holds the bus. */
ISR(TWI_vect)
{
    TWCR = 1 << TWEN;
    twi_ready = true;
}

/* Runs one step on the bus; false when it takes longer than about 1 ms (a byte takes 0.1 ms at 100 kHz). */
static bool twi_step(uint8_t extra, uint8_t *status)
{
    twi_ready = false;
    TWCR = (uint8_t)((1 << TWINT) | (1 << TWEN) | (1 << TWIE) | extra);
    for (uint16_t i = 0; i < 2000u; i++) {
        if (twi_ready) {
            *status = TWSR & 0xF8u;
            return true;
        }
    }
    return false;
}

static bool twi_start(uint8_t address)
{
    uint8_t status;
    if (!twi_step(1 << TWSTA, &status) || (status != 0x08u && status != 0x10u))
        return false;
    TWDR = address;
    /* Acknowledged for writing (18) or reading (40); simavr 1.6 says 28 for writing, which silicon never does here. */
    return twi_step(0, &status) && (status == 0x18u || status == 0x40u || status == 0x28u);
}

static bool twi_write(uint8_t byte)
{
    uint8_t status;
    TWDR = byte;
    return twi_step(0, &status) && status == 0x28u;
}

static bool twi_read(uint8_t *byte, bool last)
{
    uint8_t status;
    if (!twi_step(last ? 0 : 1 << TWEA, &status))
        return false;
    *byte = TWDR;
    return true;
}

static void twi_stop(void)
{
    TWCR = (1 << TWINT) | (1 << TWSTO) | (1 << TWEN);
    for (uint8_t i = 0; i < 200u && (TWCR & (1 << TWSTO)); i++)
        ; /* until the stop is on the bus */
}

static enum sensor_status mlx_read(uint8_t command, uint16_t *word)
{
    uint8_t low = 0, high = 0, pec = 0;
    bool answered = twi_start((uint8_t)(MLX_ADDRESS << 1)) && twi_write(command) &&
                    twi_start((uint8_t)(MLX_ADDRESS << 1 | 1u)) && twi_read(&low, false) && twi_read(&high, false) &&
                    twi_read(&pec, true);
    twi_stop();
    if (!answered)
        return SENSOR_NO_ANSWER;
    const uint8_t said[] = {(uint8_t)(MLX_ADDRESS << 1), command, (uint8_t)(MLX_ADDRESS << 1 | 1u), low, high};
    uint8_t crc = 0;
    for (uint8_t i = 0; i < sizeof said; i++)
        crc = crc8_add(crc, said[i]);
    if (crc != pec)
        return SENSOR_BAD_PEC;
    *word = (uint16_t)(low | (uint16_t)(high << 8));
    return (high & 0x80u) ? SENSOR_ERROR_FLAG : SENSOR_OK;
}

static void measure(void)
{
    uint16_t object = 0, ambient = 0;
    enum sensor_status status = mlx_read(MLX_OBJECT, &object);
    if (status == SENSOR_OK)
        status = mlx_read(MLX_AMBIENT, &ambient);
    core_measured(&core, status, object, ambient);
}

/* ---- start and loop ----------------------------------------------------------------------------------------------- */

/* Another number at each start: a counter in EEPROM (100 000 writes), spread so that neighbours look different. */
static uint32_t next_boot_nonce(uint32_t unique_id)
{
    uint32_t *place = (uint32_t *)4;
    uint32_t count = eeprom_read_dword(place) + 1u;
    eeprom_update_dword(place, count);
    return (count + unique_id) * 2654435761UL;
}

static void start(void)
{
    PORTD = (1 << PD2) | (1 << PD3); /* pull-ups */
    DDRB = (1 << PB0) | (1 << PB1) | (1 << PB2);
    OCR0A = (uint8_t)(F_CPU / 64UL / 1000UL - 1UL);
    TCCR0A = 1 << WGM01;
    TCCR0B = (1 << CS01) | (1 << CS00);
    TIMSK0 = 1 << OCIE0A;
    UBRR0 = (uint16_t)UBRR_2X;
    UCSR0A = 1 << U2X0;
    UCSR0C = (1 << UCSZ01) | (1 << UCSZ00);
    UCSR0B = (1 << RXEN0) | (1 << TXEN0) | (1 << RXCIE0);
    TWBR = (uint8_t)((F_CPU / 100000UL - 16UL) / 2UL);
    uint32_t unique_id = eeprom_read_dword((const uint32_t *)0);
    core_init(&core, BUILD_HASH, unique_id, next_boot_nonce(unique_id), reset_cause);
    SMCR = 0; /* idle: timer and UART keep running */
    wdt_enable(WDTO_500MS);
    sei();
}

static void set_pin(uint8_t pin, bool is_on)
{
    if (is_on)
        PORTB = (uint8_t)(PORTB | 1 << pin);
    else
        PORTB = (uint8_t)(PORTB & ~(1 << pin));
}

int main(void)
{
    uint32_t measured_ms = 0;
    start();
    for (;;) {
        uint32_t ms = now();
        core_tick(&core, ms, !(PIND & (1 << PD2)), (PIND & (1 << PD3)) != 0);
        while (rx_tail != rx_head) {
            core_rx(&core, rx_ring[rx_tail]);
            rx_tail = (uint8_t)((rx_tail + 1u) & (RX_BYTES - 1u));
        }
        uint16_t period = core_period_ms(&core);
        if (period != 0 && ms >= SETTLE_MS && ms - measured_ms >= period) {
            measured_ms = ms;
            measure();
        }
        set_pin(PB0, core_gate_pin(&core));
        set_pin(PB1, core_lamp_pin(&core));
        set_pin(PB2, core_buzzer_pin(&core));
        if (UCSR0A & (1 << UDRE0)) {
            int byte = core_tx(&core);
            if (byte >= 0) {
                UDR0 = (uint8_t)byte;
                UCSR0B |= 1 << UDRIE0; /* wakes this loop when the next byte fits */
            }
        }
        wdt_reset(); /* the only place: link and sensor have both run to here */
        SMCR |= 1 << SE;
        sleep_cpu(); /* until the next millisecond or byte; also what keeps a simulator at real speed */
        SMCR = 0;
    }
}
