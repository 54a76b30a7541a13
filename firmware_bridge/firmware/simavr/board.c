/* Runs the real ATmega328P image in simavr: its UART on a pty, an MLX90614 on its I2C bus, its pins as lines of text.
 *
 * A separate test program and no part of the product: simavr is under the GPL, version 3 or later, and so is this file.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Prints `port PATH` first, then `pin NAME LEVEL MS` at each edge. Reads commands from standard input:
 *   object CELSIUS | ambient CELSIUS | presence 0/1 | emergency 0/1 | sensor ok/silent/badpec/error | hang | quit
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "avr_ioport.h"
#include "avr_twi.h"
#include "avr_uart.h"
#include "sim_avr.h"
#include "sim_elf.h"
#include "sim_irq.h"
#include "uart_pty.h"

#define MLX_WRITE (0x5A << 1)
#define CYCLES_PER_MS 16000u

static avr_t *avr;
static uart_pty_t uart;

/* ---- the thermometer on the bus ---------------------------------------------------------------------------------- */

static struct {
    avr_irq_t *irq;
    double object, ambient;
    enum { OK, SILENT, BAD_PEC, ERROR_FLAG } mood;
    int selected;
    uint8_t command, out[3];
    int written, given;
    unsigned jitter;
} mlx = {.object = 25.0, .ambient = 25.0};

static uint8_t pec_add(uint8_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = (uint8_t)(crc & 0x80 ? crc << 1 ^ 0x07 : crc << 1);
    return crc;
}

static void prepare(void)
{
    double celsius = mlx.command == 0x07 ? mlx.object : mlx.ambient;
    unsigned raw = (unsigned)((celsius + 273.15) / 0.02 + 0.5);
    mlx.jitter = mlx.jitter * 1103515245u + 12345u; /* a live sensor jitters by a step or two */
    raw += (mlx.jitter >> 16) % 3u;
    if (mlx.mood == ERROR_FLAG)
        raw |= 0x8000u;
    mlx.out[0] = (uint8_t)raw;
    mlx.out[1] = (uint8_t)(raw >> 8);
    uint8_t pec = 0;
    const uint8_t said[] = {MLX_WRITE, mlx.command, MLX_WRITE | 1, mlx.out[0], mlx.out[1]};
    for (size_t i = 0; i < sizeof said; i++)
        pec = pec_add(pec, said[i]);
    mlx.out[2] = (uint8_t)(mlx.mood == BAD_PEC ? pec ^ 1 : pec);
    mlx.given = 0;
}

static void on_bus(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)param;
    avr_twi_msg_irq_t message = {.u.v = value};
    if (message.u.twi.msg & TWI_COND_STOP)
        mlx.selected = 0;
    if (message.u.twi.msg & TWI_COND_START) {
        mlx.selected = 0;
        if (mlx.mood != SILENT && (message.u.twi.addr & 0xFE) == MLX_WRITE) {
            mlx.selected = message.u.twi.addr;
            mlx.written = 0;
            if (message.u.twi.addr & 1)
                prepare();
            avr_raise_irq(mlx.irq + TWI_IRQ_INPUT, avr_twi_irq_msg(TWI_COND_ACK, (uint8_t)mlx.selected, 1));
        }
    }
    if (!mlx.selected)
        return;
    if (message.u.twi.msg & TWI_COND_WRITE) {
        if (mlx.written++ == 0)
            mlx.command = message.u.twi.data;
        avr_raise_irq(mlx.irq + TWI_IRQ_INPUT, avr_twi_irq_msg(TWI_COND_ACK, (uint8_t)mlx.selected, 1));
    }
    if (message.u.twi.msg & TWI_COND_READ) {
        uint8_t byte = mlx.given < 3 ? mlx.out[mlx.given++] : 0xFF;
        avr_raise_irq(mlx.irq + TWI_IRQ_INPUT, avr_twi_irq_msg(TWI_COND_READ, (uint8_t)mlx.selected, byte));
    }
}

/* ---- pins ---------------------------------------------------------------------------------------------------------- */

static void on_pin(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    printf("pin %s %u %.1f\n", (const char *)param, value & 1u, (double)avr->cycle / CYCLES_PER_MS);
    fflush(stdout);
}

/* Pins of port D that something outside holds; without this, the firmware's pull-ups would win. */
static void drive(int pin, int level)
{
    static avr_ioport_external_t outside = {.name = 'D'};
    outside.mask |= 1u << pin;
    outside.value = (outside.value & ~(1u << pin)) | (unsigned)level << pin;
    avr_ioctl(avr, AVR_IOCTL_IOPORT_SET_EXTERNAL('D'), &outside);
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), pin), (uint32_t)level);
}

/* The main loop never comes back, while interrupts go on: jumps to the endless loop behind exit() (rjmp .-2). */
static void stand_still(void)
{
    for (avr_flashaddr_t at = 0; at + 1 <= avr->flashend; at += 2) {
        if (avr->flash[at] == 0xFF && avr->flash[at + 1] == 0xCF) {
            avr->pc = at;
            avr->state = cpu_Running;
            return;
        }
    }
}

/* ---- commands -------------------------------------------------------------------------------------------------------- */

static int obey(const char *line)
{
    char word[16];
    double number;
    if (sscanf(line, "object %lf", &number) == 1)
        mlx.object = number;
    else if (sscanf(line, "ambient %lf", &number) == 1)
        mlx.ambient = number;
    else if (sscanf(line, "presence %lf", &number) == 1)
        drive(2, number == 0.0); /* active low */
    else if (sscanf(line, "emergency %lf", &number) == 1)
        drive(3, number != 0.0); /* the loop is open */
    else if (sscanf(line, "sensor %15s", word) == 1)
        mlx.mood = !strcmp(word, "silent") ? SILENT : !strcmp(word, "badpec") ? BAD_PEC
                 : !strcmp(word, "error")  ? ERROR_FLAG : OK;
    else if (!strncmp(line, "hang", 4))
        stand_still();
    else if (!strncmp(line, "quit", 4))
        return 1;
    return 0;
}

static int read_commands(void)
{
    static char buffer[512];
    static size_t used;
    ssize_t got = read(STDIN_FILENO, buffer + used, sizeof buffer - used - 1);
    if (got == 0)
        return 1; /* the test has ended */
    if (got < 0)
        return 0;
    used += (size_t)got;
    buffer[used] = 0;
    char *end;
    while ((end = strchr(buffer, '\n'))) {
        *end = 0;
        if (obey(buffer))
            return 1;
        used -= (size_t)(end + 1 - buffer);
        memmove(buffer, end + 1, used + 1);
    }
    return 0;
}

int main(int argc, char **argv)
{
    elf_firmware_t firmware = {{0}};
    if (argc != 2 || elf_read_firmware(argv[1], &firmware) != 0) {
        fprintf(stderr, "usage: board FIRMWARE.elf\n");
        return 2;
    }
    avr = avr_make_mcu_by_name("atmega328p");
    if (!avr)
        return 2;
    avr_init(avr);
    avr->frequency = 16000000;
    avr_load_firmware(avr, &firmware);

    uart_pty_init(avr, &uart);
    uart_pty_connect(&uart, '0');
    static const char *const names[] = {"mlx.in", "mlx.out"};
    mlx.irq = avr_alloc_irq(&avr->irq_pool, 0, 2, (const char **)names);
    avr_irq_register_notify(mlx.irq + TWI_IRQ_OUTPUT, on_bus, NULL);
    avr_connect_irq(mlx.irq + TWI_IRQ_INPUT, avr_io_getirq(avr, AVR_IOCTL_TWI_GETIRQ(0), TWI_IRQ_INPUT));
    avr_connect_irq(avr_io_getirq(avr, AVR_IOCTL_TWI_GETIRQ(0), TWI_IRQ_OUTPUT), mlx.irq + TWI_IRQ_OUTPUT);
    static char *pins[] = {"gate", "lamp", "buzzer"};
    for (int pin = 0; pin < 3; pin++)
        avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), pin), on_pin, pins[pin]);
    drive(2, 1);
    drive(3, 0);

    printf("port %s\n", uart.pty.slavename);
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    for (avr_cycle_count_t look = 0;;) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed)
            break;
        if (avr->cycle >= look) {
            look = avr->cycle + CYCLES_PER_MS;
            if (read_commands())
                break;
        }
    }
    uart_pty_stop(&uart);
    avr_terminate(avr);
    return 0;
}
